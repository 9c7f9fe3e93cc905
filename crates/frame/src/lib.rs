//! Page frames, memory descriptors and the buddy allocator of pagefold
