//! A backing of spilled pages, in memory, that fails as asked.

use std::{
    collections::HashMap,
    io,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use pagefold_spill::Backing;
use rand::RngExt as _;

use crate::seed::Seed;

/// How a write fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteFault {
    /// An error; the extent of before is half overwritten.
    Fails,
    /// `StorageFull`.
    NoSpace,
    /// Says that it worked, and wrote the first part.
    Torn,
    /// Says that it worked, and wrote nothing.
    Lost,
    /// Says that it worked, and wrote to another slot.
    Misdirected,
    /// Says that it worked; a bit is another one.
    Flipped,
    /// Takes [`HANGS`].
    Slow,
}

/// How a read fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFault {
    /// An error.
    Fails,
    /// `UnexpectedEof`.
    Short,
    /// A bit is another one, this time.
    Flipped,
    /// Gives what the slot had before.
    Replayed,
    /// Gives what another slot has.
    Misdirected,
    /// `TimedOut`.
    TimesOut,
    /// Takes [`HANGS`].
    Hangs,
    /// Panics.
    Panics,
}

/// All but the slow one.
pub const WRITE_FAULTS: [WriteFault; 6] = [
    WriteFault::Fails,
    WriteFault::NoSpace,
    WriteFault::Torn,
    WriteFault::Lost,
    WriteFault::Misdirected,
    WriteFault::Flipped,
];

/// All but the slow one.
pub const READ_FAULTS: [ReadFault; 7] = [
    ReadFault::Fails,
    ReadFault::Short,
    ReadFault::Flipped,
    ReadFault::Replayed,
    ReadFault::Misdirected,
    ReadFault::TimesOut,
    ReadFault::Panics,
];

/// How long a slow call takes.
pub const HANGS: Duration = Duration::from_millis(400);

#[derive(Debug, Default)]
struct Kept {
    now: HashMap<u32, Vec<u8>>,
    before: HashMap<u32, Vec<u8>>,
    next_write: Option<WriteFault>,
    next_read: Option<ReadFault>,
    every_read: Option<ReadFault>,
    every_write: Option<WriteFault>,
}

/// See the module. Threads share it.
#[derive(Debug)]
pub struct FaultyBacking {
    kept: Mutex<Kept>,
    /// Whether reads need no waiting.
    cached: bool,
    random: AtomicU64,
    /// Slots given back.
    pub discards: AtomicU64,
}

impl FaultyBacking {
    /// Without extents; `cached`: reads need no waiting.
    pub fn new(cached: bool) -> Self {
        Self {
            kept: Mutex::default(),
            cached,
            random: AtomicU64::new(1),
            discards: AtomicU64::new(0),
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().expect("no panic under it")
    }

    /// The next write fails so.
    pub fn fail_write(&self, fault: WriteFault) {
        self.kept().next_write = Some(fault);
    }

    /// The next read fails so.
    pub fn fail_read(&self, fault: ReadFault) {
        self.kept().next_read = Some(fault);
    }

    /// What was asked for and did not come to pass.
    pub fn disarm(&self) {
        let mut kept = self.kept();
        (kept.next_write, kept.next_read) = (None, None);
    }

    /// Every call fails so, from now on.
    pub fn fail_all(&self, write: Option<WriteFault>, read: Option<ReadFault>) {
        let mut kept = self.kept();
        (kept.every_write, kept.every_read) = (write, read);
    }

    /// All bytes that it keeps.
    pub fn bytes(&self) -> Vec<u8> {
        let kept = self.kept();
        let mut slots: Vec<_> = kept.now.iter().collect();
        slots.sort();
        slots.into_iter().flat_map(|(_, bytes)| bytes.clone()).collect()
    }

    /// Slots that have an extent.
    pub fn slots(&self) -> usize {
        self.kept().now.len()
    }

    fn flip(&self, bytes: &mut [u8]) {
        let number = self.random.fetch_add(1, Ordering::Relaxed);
        let mut rng = Seed::new(0xf11b).rng(number);
        if !bytes.is_empty() {
            let bit = rng.random_range(0..bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    fn read_now(&self, slot: u32, offset: u32, into: &mut [u8]) -> io::Result<()> {
        let mut kept = self.kept();
        let fault = kept.next_read.take().or(kept.every_read);
        let from = match fault {
            Some(ReadFault::Replayed) => kept.before.get(&slot).or(kept.now.get(&slot)),
            Some(ReadFault::Misdirected) => kept.now.get(&(slot + 1)).or(kept.now.get(&slot)),
            _ => kept.now.get(&slot),
        };
        let bytes = from.cloned().unwrap_or_default();
        drop(kept);
        match fault {
            Some(ReadFault::Fails) => return Err(io::Error::other("the disk is broken")),
            Some(ReadFault::TimesOut) => return Err(io::ErrorKind::TimedOut.into()),
            Some(ReadFault::Panics) => panic!("a backing that panics"),
            Some(ReadFault::Hangs) => thread::sleep(HANGS),
            Some(ReadFault::Short) => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => {}
        }
        let range = bytes.get(offset as usize..).and_then(|bytes| bytes.get(..into.len()));
        into.copy_from_slice(range.ok_or(io::ErrorKind::UnexpectedEof)?);
        if fault == Some(ReadFault::Flipped) {
            self.flip(into);
        }
        Ok(())
    }
}

impl Backing for FaultyBacking {
    fn write(&self, slot: u32, bytes: &[u8]) -> io::Result<()> {
        let mut kept = self.kept();
        let mut bytes = bytes.to_vec();
        let fault = kept.next_write.take().or(kept.every_write);
        if let Some(old) = kept.now.remove(&slot) {
            kept.before.insert(slot, old);
        }
        let mut into = slot;
        match fault {
            Some(WriteFault::Fails) => {
                bytes.truncate(bytes.len() / 2);
                kept.now.insert(slot, bytes);
                return Err(io::Error::other("the disk is broken"));
            }
            Some(WriteFault::NoSpace) => return Err(io::ErrorKind::StorageFull.into()),
            Some(WriteFault::Torn) => {
                let old = kept.before.get(&slot).cloned().unwrap_or_default();
                let half = bytes.len() / 2;
                bytes.truncate(half);
                bytes.extend(old.iter().skip(half));
            }
            Some(WriteFault::Lost) => {
                let old = kept.before.get(&slot).cloned().unwrap_or_default();
                bytes = old;
            }
            Some(WriteFault::Misdirected) => into = slot + 1,
            Some(WriteFault::Flipped) => self.flip(&mut bytes),
            Some(WriteFault::Slow) => thread::sleep(HANGS),
            None => {}
        }
        kept.now.insert(into, bytes);
        Ok(())
    }

    fn read(&self, slot: u32, offset: u32, into: &mut [u8]) -> io::Result<()> {
        self.read_now(slot, offset, into)
    }

    fn try_read(&self, slot: u32, offset: u32, into: &mut [u8]) -> io::Result<()> {
        if !self.cached {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.read_now(slot, offset, into)
    }

    fn discard(&self, slot: u32) -> io::Result<()> {
        let mut kept = self.kept();
        if let Some(old) = kept.now.remove(&slot) {
            kept.before.insert(slot, old);
        }
        self.discards.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
