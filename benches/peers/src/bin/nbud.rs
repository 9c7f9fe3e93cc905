//! The pool.
#![forbid(unsafe_code)]

fn main() {
    pagefold_peers::programs::main_of_pool();
}
