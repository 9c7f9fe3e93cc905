//! The system calls of pagefold, behind one platform facade
