//! jemalloc.

use std::ptr;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Purges the arena whose number stands for all of them.
const PURGE_ALL: &std::ffi::CStr = c"arena.4096.purge";

fn give_back() {
    // SAFETY: the name is a C string; this control neither reads nor writes a value, so null and 0 are what it takes.
    let refused = unsafe {
        tikv_jemalloc_sys::mallctl(
            PURGE_ALL.as_ptr(),
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            0,
        )
    };
    assert_eq!(refused, 0, "jemalloc did not purge");
}

fn main() {
    pagefold_peers::programs::main_of_boxed(give_back);
}
