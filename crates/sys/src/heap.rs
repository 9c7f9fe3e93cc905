//! A global allocator for commands: without memory, the program prints one line and exits.
//!
//! Rust's default is an abort with a core file. Code that can go on without memory asks within [`fallible`].
//!
//! ```text
//!  System::alloc --null--> within fallible? --yes--> null: try_reserve gives its error
//!                                           --no---> one line on stderr, _exit(1)
//! ```
//! The line is formatted on the stack. No destructor runs.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

const EXIT_CODE: i32 = 1;

const LINE_BYTES: usize = 512;

thread_local! {
    /// This thread's nested `fallible` calls. Without destructor: usable at any moment.
    static FALLIBLE: Cell<u32> = const { Cell::new(0) };
}

/// The system's allocator; a failure prints a line on stderr and exits with code 1.
///
/// # Examples
/// ```
/// use pagefold_sys::heap::{ExitingAllocator, fallible};
///
/// #[global_allocator]
/// static ALLOCATOR: ExitingAllocator = ExitingAllocator::new("example", "use less");
///
/// let mut large: Vec<u8> = Vec::new();
/// assert!(fallible(|| large.try_reserve(usize::MAX / 4)).is_err());
/// ```
#[derive(Debug)]
pub struct ExitingAllocator {
    program: &'static str,
    advice: &'static str,
}

impl ExitingAllocator {
    /// The allocator of `program`; `advice` ends the line.
    pub const fn new(program: &'static str, advice: &'static str) -> Self {
        Self { program, advice }
    }

    fn checked(&self, block: *mut u8, bytes: usize) -> *mut u8 {
        if block.is_null() && FALLIBLE.get() == 0 {
            self.end(bytes);
        }
        block
    }

    #[cold]
    fn end(&self, bytes: usize) -> ! {
        let line = Line::new(self.program, bytes, self.advice);
        // SAFETY: the buffer is `len` bytes of this function's own.
        unsafe { libc::write(libc::STDERR_FILENO, line.bytes.as_ptr().cast(), line.len) };
        // SAFETY: it takes no pointer, and never returns.
        unsafe { libc::_exit(EXIT_CODE) }
    }
}

// SAFETY: every call goes to `System` unchanged, and so does its block back; nothing here unwinds or allocates.
unsafe impl GlobalAlloc for ExitingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by this function's contract.
        let block = unsafe { System.alloc(layout) };
        self.checked(block, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by this function's contract.
        let block = unsafe { System.alloc_zeroed(layout) };
        self.checked(block, layout.size())
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: by this function's contract; every block is the system's.
        unsafe { System.dealloc(block, layout) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: by this function's contract; every block is the system's.
        let block = unsafe { System.realloc(block, layout, bytes) };
        self.checked(block, bytes)
    }
}

/// Runs `f`, which handles failed allocations itself.
pub fn fallible<T>(f: impl FnOnce() -> T) -> T {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            FALLIBLE.set(FALLIBLE.get() - 1);
        }
    }
    FALLIBLE.set(FALLIBLE.get() + 1);
    let _leave = Leave;
    f()
}

/// `PROGRAM: out of memory: no room for N bytes; ADVICE`, truncated.
struct Line {
    bytes: [u8; LINE_BYTES],
    len: usize,
}

impl Line {
    fn new(program: &str, bytes: usize, advice: &str) -> Self {
        let mut line = Self { bytes: [0; LINE_BYTES], len: 0 };
        let (mut digits, mut from, mut rest) = ([0; 20], 20, bytes);
        loop {
            from -= 1;
            digits[from] = b"0123456789"[rest % 10];
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        for part in [
            program.as_bytes(),
            b": out of memory: no room for ",
            &digits[from..],
            b" bytes; ",
            advice.as_bytes(),
        ] {
            line.push(part);
        }
        line.len = line.len.min(LINE_BYTES - 1);
        line.push(b"\n");
        line
    }

    fn push(&mut self, part: &[u8]) {
        let len = part.len().min(LINE_BYTES - self.len);
        self.bytes[self.len..self.len + len].copy_from_slice(&part[..len]);
        self.len += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_much_and_what_to_do() {
        let text = |bytes, advice| {
            let line = Line::new("pagefold", bytes, advice);
            String::from_utf8(line.bytes[..line.len].to_vec()).expect("it is text")
        };
        let expected = "pagefold: out of memory: no room for 160 bytes; use less\n";
        assert_eq!(text(160, "use less"), expected);
        assert!(text(0, "").contains(" 0 bytes; \n"));
        assert!(text(usize::MAX, "").contains(" 18446744073709551615 bytes"));
        let long = text(1, &"x".repeat(2 * LINE_BYTES));
        assert!(long.len() == LINE_BYTES && long.ends_with("x\n"));
    }

    #[test]
    fn only_what_is_within_is_fallible() {
        assert_eq!(fallible(|| fallible(|| FALLIBLE.get())), 2);
        let panicked = std::panic::catch_unwind(|| fallible(|| panic!("on purpose")));
        assert!(panicked.is_err() && FALLIBLE.get() == 0);
        let allocator = ExitingAllocator::new("test", "");
        assert!(fallible(|| allocator.checked(std::ptr::null_mut(), 1)).is_null());
    }
}
