//! The kernel's structures and numbers (`userfaultfd(2)`, `ioctl_userfaultfd(2)`).

/// Only faults of user code are served.
pub(super) const USER_MODE_ONLY: i32 = 1;
pub(super) const API: u64 = 0xAA;
/// Writes to protected anonymous pages are faults (Linux 5.7).
pub const FEATURE_WP: u64 = 1;
pub(super) const FEATURE_SIGBUS: u64 = 1 << 7;
/// Pages can be moved (Linux 6.8).
pub const FEATURE_MOVE: u64 = 1 << 16;
pub(super) const MODE_MISSING: u64 = 1;
pub(super) const MODE_WP: u64 = 2;
pub(super) const COPY_WP: u64 = 2;
pub(super) const MOVE_HOLES: u64 = 2;
const EVENT_PAGEFAULT: u64 = 0x12;

#[repr(C)]
pub(super) struct Api {
    pub(super) api: u64,
    pub(super) features: u64,
    pub(super) ioctls: u64,
}

#[repr(C)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) len: u64,
}

#[repr(C)]
pub(super) struct Register {
    pub(super) range: Range,
    pub(super) mode: u64,
    pub(super) ioctls: u64,
}

#[repr(C)]
pub(super) struct Copy {
    pub(super) dst: u64,
    pub(super) src: u64,
    pub(super) len: u64,
    pub(super) mode: u64,
    pub(super) copy: i64,
}

#[repr(C)]
pub(super) struct Zero {
    pub(super) range: Range,
    pub(super) mode: u64,
    pub(super) zeropage: i64,
}

#[repr(C)]
pub(super) struct Move {
    pub(super) dst: u64,
    pub(super) src: u64,
    pub(super) len: u64,
    pub(super) mode: u64,
    pub(super) moved: i64,
}

#[repr(C)]
pub(super) struct WriteProtect {
    pub(super) range: Range,
    pub(super) mode: u64,
}

const READ: u64 = 2;
const READ_WRITE: u64 = 3;

const fn request<T>(direction: u64, number: u64) -> u64 {
    (direction << 30) | ((size_of::<T>() as u64) << 16) | (0xAA << 8) | number
}

pub(super) const UFFDIO_API: u64 = request::<Api>(READ_WRITE, 0x3f);
pub(super) const UFFDIO_REGISTER: u64 = request::<Register>(READ_WRITE, 0);
pub(super) const UFFDIO_WAKE: u64 = request::<Range>(READ, 2);
pub(super) const UFFDIO_COPY: u64 = request::<Copy>(READ_WRITE, 3);
pub(super) const UFFDIO_ZEROPAGE: u64 = request::<Zero>(READ_WRITE, 4);
pub(super) const UFFDIO_MOVE: u64 = request::<Move>(READ_WRITE, 5);
pub(super) const UFFDIO_WRITEPROTECT: u64 = request::<WriteProtect>(READ_WRITE, 6);

/// A fault that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Where.
    pub address: usize,
    /// Whether it is a write.
    pub is_write: bool,
}

impl Event {
    pub(super) fn of([kind, flags, address, _]: [u64; 4]) -> Option<Self> {
        let address = usize::try_from(address).ok()?;
        (kind & 0xff == EVENT_PAGEFAULT).then_some(Self { address, is_write: flags & 3 != 0 })
    }
}
