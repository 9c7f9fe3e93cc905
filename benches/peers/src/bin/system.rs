//! The allocator of the C library.

fn give_back() {
    // SAFETY: `malloc_trim` may be called at any time; it touches only free memory.
    unsafe { libc::malloc_trim(0) };
}

fn main() {
    pagefold_peers::programs::main_of_boxed(give_back);
}
