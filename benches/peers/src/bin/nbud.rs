//! The pool.
#![forbid(unsafe_code)]

fn main() {
    pagefold_peers::figures::main_of_pool();
}
