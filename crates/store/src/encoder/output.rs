//! The thread's output for a codec, which is copied into the put's buffer. Decision 0056.

use std::cell::RefCell;

use pagefold_codec::accept_len;

use crate::page::PAGE_BYTES;

/// Longer output is discarded.
const OUTPUT_BYTES: usize = accept_len(PAGE_BYTES);

thread_local! {
    /// Codec output for up to a page. Decision 0056.
    static OUTPUT: RefCell<[u8; OUTPUT_BYTES]> = const { RefCell::new([0; OUTPUT_BYTES]) };
}

pub(super) fn with_output<R>(f: impl FnOnce(&mut [u8; OUTPUT_BYTES]) -> R) -> R {
    let mut f = Some(f);
    let done = OUTPUT.try_with(|output| {
        let mut output = output.try_borrow_mut().ok()?;
        f.take().map(|f| f(&mut output))
    });
    match (done, f) {
        (Ok(Some(done)), _) => done,
        (_, Some(f)) => f(&mut [0; OUTPUT_BYTES]),
        (_, None) => unreachable!("`f` is taken when it is called"),
    }
}
