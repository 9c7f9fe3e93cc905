//! The page table of a small virtual machine: 64 MiB of guest memory, of which 512 KiB are frames of the host at any time
//! and the rest is in a store, compressed.
//!
//! The guest sorts numbers in its memory and knows nothing of this. `cargo run -p pagefold --example page_table`
#![forbid(unsafe_code)]

use std::error::Error;

use pagefold::{GetError, Page, Space, SpaceConfig, Store};

const PAGE: usize = 4096;
const GUEST_PAGES: usize = 16 << 10;
const FRAMES: usize = 128;

/// Where a page of the guest is.
#[derive(Clone, Copy)]
enum Entry {
    /// In a frame of the host.
    Present(usize),
    /// In the store, or, if it was never written, nowhere: then it reads as zero.
    Away,
}

/// A frame of the host.
struct Frame {
    bytes: Box<Page>,
    page: Option<usize>,
    used: bool,
    dirty: bool,
}

struct Machine {
    table: Vec<Entry>,
    frames: Vec<Frame>,
    hand: usize,
    cold: Space,
    faults: u64,
}

impl Machine {
    fn new(store: &Store) -> Result<Self, Box<dyn Error>> {
        let frame = |_| Frame { bytes: Box::new([0; PAGE]), page: None, used: false, dirty: false };
        Ok(Self {
            table: vec![Entry::Away; GUEST_PAGES],
            frames: (0..FRAMES).map(frame).collect(),
            hand: 0,
            cold: store.space(SpaceConfig::persistent(GUEST_PAGES as u64).name("guest"))?,
            faults: 0,
        })
    }

    fn read(&mut self, address: usize) -> Result<u32, Box<dyn Error>> {
        let frame = self.frame(address / PAGE)?;
        frame.used = true;
        let at = address % PAGE;
        Ok(u32::from_le_bytes(frame.bytes[at..at + 4].try_into()?))
    }

    fn write(&mut self, address: usize, value: u32) -> Result<(), Box<dyn Error>> {
        let frame = self.frame(address / PAGE)?;
        (frame.used, frame.dirty) = (true, true);
        let at = address % PAGE;
        frame.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    /// The frame of a page, which is fetched if it is away.
    fn frame(&mut self, page: usize) -> Result<&mut Frame, Box<dyn Error>> {
        if let Entry::Present(frame) = self.table[page] {
            return Ok(&mut self.frames[frame]);
        }
        self.faults += 1;
        let number = self.free_frame()?;
        let frame = &mut self.frames[number];
        match self.cold.get(page as u64, &mut frame.bytes) {
            Ok(()) => {}
            Err(GetError::Absent) => frame.bytes.fill(0),
            Err(error) => return Err(error.into()),
        }
        (frame.page, frame.dirty) = (Some(page), false);
        self.table[page] = Entry::Present(number);
        Ok(frame)
    }

    /// A frame without a page: by the clock, and what was written goes to the store first.
    fn free_frame(&mut self) -> Result<usize, Box<dyn Error>> {
        loop {
            let number = self.hand;
            self.hand = (self.hand + 1) % FRAMES;
            let frame = &mut self.frames[number];
            if std::mem::take(&mut frame.used) {
                continue;
            }
            let Some(page) = frame.page else { return Ok(number) };
            if frame.dirty {
                // A store that is full refuses, and the machine stops with everything in place.
                self.cold.put(page as u64, &frame.bytes)?;
            }
            frame.page = None;
            self.table[page] = Entry::Away;
            return Ok(number);
        }
    }
}

/// What the guest does: sorts by counting, with a table and an output that together are far larger than the frames.
fn guest(machine: &mut Machine) -> Result<u64, Box<dyn Error>> {
    const NUMBERS: usize = 300_000;
    const VALUES: u32 = 100_000;
    let (input, counts, output) = (0, 16 << 20, 32 << 20);
    let mut number = 1_u32;
    for at in 0..NUMBERS {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        machine.write(input + 4 * at, (number >> 8) % VALUES)?;
    }
    for at in 0..NUMBERS {
        let count = counts + 4 * machine.read(input + 4 * at)? as usize;
        let more = machine.read(count)? + 1;
        machine.write(count, more)?;
    }
    let mut next = 0;
    for value in 0..VALUES {
        for _ in 0..machine.read(counts + 4 * value as usize)? {
            machine.write(output + 4 * next, value)?;
            next += 1;
        }
    }
    let (mut before, mut sum) = (0, 0);
    for at in 0..NUMBERS {
        let value = machine.read(output + 4 * at)?;
        assert!(before <= value, "the output is sorted");
        (before, sum) = (value, sum + u64::from(value));
    }
    let mut expected = 0;
    for at in 0..NUMBERS {
        expected += u64::from(machine.read(input + 4 * at)?);
    }
    assert_eq!((next, sum), (NUMBERS, expected), "and has the same numbers");
    Ok(sum)
}

/// What the run found, for the test that checks it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) faults: u64,
    pub(crate) stored: u64,
    pub(crate) original: u64,
    pub(crate) resident: usize,
    pub(crate) limit: usize,
}

pub(crate) fn run() -> Result<Outcome, Box<dyn Error>> {
    let store = Store::builder().limit(16 << 20).build()?;
    let mut machine = Machine::new(&store)?;
    guest(&mut machine)?;
    let stats = machine.cold.stats();
    Ok(Outcome {
        faults: machine.faults,
        stored: stats.stored,
        original: stats.original_bytes,
        resident: store.resident(),
        limit: store.limit(),
    })
}

#[expect(clippy::print_stdout, reason = "it is the program's output")]
#[cfg_attr(test, expect(dead_code, reason = "a test calls `run`"))]
fn main() -> Result<(), Box<dyn Error>> {
    let Outcome { faults, stored, original, resident, limit } = run()?;
    println!("{faults} faults; {stored} pages ({original} bytes) are in the store");
    println!("{resident} bytes may be resident, of a limit of {limit}");
    Ok(())
}
