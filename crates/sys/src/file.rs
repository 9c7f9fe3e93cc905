//! Files: a read that does not wait for a disk, an early start of writing back, and holes.

use std::{
    fs::File,
    io::{self, IoSliceMut},
    os::fd::AsRawFd as _,
};

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::{ReadWriteFlags, preadv2, retry_on_intr},
};

/// Fills `into` from the page cache, without waiting for a disk (`RWF_NOWAIT`).
///
/// # Errors
/// `WouldBlock` unless the page cache has all of it, or where the file system cannot tell; `into` is unspecified then. `UnexpectedEof`
/// when the file ends before.
pub fn read_cached(file: &File, offset: u64, into: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < into.len() {
        let mut parts = [IoSliceMut::new(&mut into[done..])];
        let at = offset + done as u64;
        match retry_on_intr(|| preadv2(file, &mut parts, at, ReadWriteFlags::NOWAIT)) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => done += read,
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Asks the kernel to begin writing a range of the page cache to the disk (`sync_file_range`). Does not wait for the end; it may wait
/// for a place in the queue of the disk. No promise: neither that the bytes are on the disk, nor that the file system can do it.
pub fn start_writing_back(file: &File, offset: u64, bytes: u64) {
    let (Ok(offset), Ok(bytes)) = (i64::try_from(offset), i64::try_from(bytes)) else { return };
    // SAFETY: the call reads its numbers only; the descriptor is open while `file` is borrowed.
    let _ = unsafe {
        libc::sync_file_range(file.as_raw_fd(), offset, bytes, libc::SYNC_FILE_RANGE_WRITE)
    };
}

/// Gives the blocks of a range back to the file system; reads of it give zeros. The length of the file stays.
///
/// # Errors
/// `Unsupported` where the file system cannot do it.
pub fn punch_hole(file: &File, offset: u64, bytes: u64) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(retry_on_intr(|| fallocate(file, flags, offset, bytes))?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    use super::*;

    /// Without a name. Tests run beside each other.
    fn file() -> File {
        let own = format!("pagefold-sys-{}-{:?}", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(own);
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(true).open(&path);
        std::fs::remove_file(&path).expect("it was made");
        file.expect("the temporary directory can be written")
    }

    #[test]
    fn what_was_just_written_is_read_or_would_block() {
        let file = file();
        file.write_all_at(&[7; 10_000], 0).expect("room");
        let mut back = [0; 5000];
        match read_cached(&file, 4000, &mut back) {
            Ok(()) => assert_eq!(back, [7; 5000]),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }

    #[test]
    fn a_read_over_the_end_is_an_error() {
        let file = file();
        file.write_all_at(&[7; 100], 0).expect("room");
        let kind = read_cached(&file, 50, &mut [0; 51]).expect_err("too short").kind();
        assert!(matches!(kind, io::ErrorKind::UnexpectedEof | io::ErrorKind::WouldBlock), "{kind}");
    }

    #[test]
    fn a_hole_reads_as_zeros_and_takes_no_blocks() {
        let file = file();
        file.write_all_at(&[7; 1 << 20], 0).expect("room");
        file.sync_all().expect("a disk");
        match punch_hole(&file, 0, 1 << 20) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return,
            punched => punched.expect("supported"),
        }
        let metadata = file.metadata().expect("open");
        assert_eq!(metadata.len(), 1 << 20);
        assert!(metadata.blocks() * 512 < 1 << 18, "{} blocks", metadata.blocks());
        let mut back = [1; 4096];
        file.read_exact_at(&mut back, 8192).expect("there");
        assert_eq!(back, [0; 4096]);
    }
}
