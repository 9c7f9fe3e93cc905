//! mimalloc.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn give_back() {
    // SAFETY: `mi_collect` may be called at any time; it touches only free memory.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

fn main() {
    pagefold_peers::programs::main_of_boxed(give_back);
}
