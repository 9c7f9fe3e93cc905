//! What a backing may give back, chosen by an enemy who knows everything but a key: for the fuzz target `spill_open`, and for a test of random bytes.
//!
//! Extents are written without encryption, so that the enemy can forge: it knows slot, sequence and length of each object, so it makes
//! tags that are right for any content. It cannot change what memory keeps: how many objects there are, how long each is, and its label.

use std::sync::Arc;

use pagefold_spill::{EXTENT_BYTES_MIN, HeapBacking, Label, Owner, Place, Spill};
use xxhash_rust::xxh3::xxh3_128;

const TAG_BYTES: usize = 16;
const OWNER_BYTES: usize = 16;
/// More would be slow, and say nothing new.
const ATTACKS_MAX: usize = 64;

/// The input, byte by byte; zeros after its end.
struct Input<'i>(&'i [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// Below `end`, which is at least 1.
    fn below(&mut self, end: usize) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()])) % end
    }
}

/// An object as it was written.
#[derive(Debug)]
struct Object {
    bytes: Vec<u8>,
    label: Label,
    place: Place,
    owner: Owner,
    /// In its extent.
    start: usize,
    sequence: u64,
    number: u32,
}

/// As the extents are sealed without encryption. `number`: `u32::MAX` for the directory. The slot is in its first life.
fn tag(sequence: u64, slot: u32, number: u32, label: Label, bytes: &[u8]) -> [u8; TAG_BYTES] {
    let mut all = Vec::new();
    all.extend(sequence.to_le_bytes());
    all.extend(number.to_le_bytes());
    all.extend(slot.to_le_bytes());
    all.extend([0, 0, 0, label.get()]);
    all.extend_from_slice(&(bytes.len() as u64).to_le_bytes()[..6]);
    all.extend(label.note().to_le_bytes());
    all.extend(bytes);
    xxh3_128(&all).to_le_bytes()
}

fn write(spill: &Spill, input: &mut Input<'_>, sequence: u64) -> Vec<Object> {
    let mut batch = spill.batch().expect("memory");
    let (mut objects, mut start) = (Vec::new(), 0);
    for number in 0..u32::from(input.byte() % 20) + 1 {
        let len = input.below(700);
        let mark = input.byte();
        let bytes: Vec<u8> = (0..len).map(|at| (at * 7).to_le_bytes()[0] ^ mark).collect();
        let label = Label::new(input.byte() % 64).with_note(u16::from(input.byte() % 3) * 999);
        let owner = Owner(sequence, u64::from(number));
        batch.push(owner, label, &bytes).expect("an extent is longer");
        objects.push((bytes, label, owner, start, number));
        start += len + TAG_BYTES;
    }
    let written = spill.write(&mut batch).expect("a slot is free");
    let object = |(bytes, label, owner, start, number): (Vec<u8>, _, _, _, u32)| Object {
        place: written.keep(usize::try_from(number).expect("few")),
        bytes,
        label,
        owner,
        start,
        sequence,
        number,
    };
    objects.into_iter().map(object).collect()
}

/// What the enemy does to the extents of `objects`; whether it forged a tag.
fn attack(
    extents: &HeapBacking,
    extent: &[Object],
    others: &[Object],
    input: &mut Input<'_>,
) -> bool {
    let mut kept = extents.extents();
    let (slot, other) = (extent[0].place.slot(), others[0].place.slot());
    let object = &extent[input.below(extent.len())];
    let elsewhere = kept.get(&other).cloned().unwrap_or_default();
    let Some(bytes) = kept.get_mut(&slot).filter(|bytes| !bytes.is_empty()) else { return false };
    let range = object.start..object.start + object.bytes.len();
    match input.byte() % 7 {
        0 => {
            let at = input.below(bytes.len());
            bytes[at] ^= input.byte();
        }
        1 => bytes.truncate(input.below(bytes.len())),
        2 => *bytes = elsewhere,
        3 => {
            let (from, to, len) =
                (input.below(bytes.len()), input.below(bytes.len()), input.below(600));
            let len = len.min(bytes.len() - from.max(to));
            bytes.copy_within(from..from + len, to);
        }
        4 => bytes.extend((0..input.below(3000)).map(|at| at.to_le_bytes()[0])),
        5 => {
            let Some(content) = bytes.get_mut(range.clone()) else { return false };
            content.iter_mut().for_each(|byte| *byte = input.byte());
            let forged = tag(object.sequence, slot, object.number, object.label, content);
            let Some(into) = bytes.get_mut(range.end..range.end + TAG_BYTES) else { return true };
            into.copy_from_slice(&forged);
            return true;
        }
        _ => {
            let last = extent.last().expect("one at least");
            let start = last.start + last.bytes.len() + TAG_BYTES;
            let end = start + extent.len() * OWNER_BYTES;
            let Some(owners) = bytes.get_mut(start..end) else { return false };
            owners.iter_mut().for_each(|byte| *byte = input.byte());
            let forged = tag(object.sequence, slot, u32::MAX, Label::NONE, owners);
            let Some(into) = bytes.get_mut(end..end + TAG_BYTES) else { return true };
            into.copy_from_slice(&forged);
            return true;
        }
    }
    false
}

/// How many reads gave what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Opened {
    /// The bytes that were written.
    pub right: u64,
    /// Others, with a forged tag.
    pub forged: u64,
    /// An error.
    pub errors: u64,
}

/// Writes objects, lets the input do what it says to their extents, and reads all of them. Every object comes with its own length and label, or is an
/// error; unless a tag was forged it comes with its own bytes.
///
/// # Panics
/// If something else comes.
pub fn open_hostile(input: &[u8]) -> Opened {
    let mut opened = Opened::default();
    let mut input = Input(input);
    let extents = Arc::new(HeapBacking::default());
    let spill = Spill::builder(Arc::clone(&extents)).extent_bytes(EXTENT_BYTES_MIN);
    let spill = spill.encrypts(false).build().expect("sensible");
    let two = [0, 1].map(|sequence| write(&spill, &mut input, sequence));
    let mut forged = false;
    for _ in 0..ATTACKS_MAX {
        if input.0.is_empty() {
            break;
        }
        let at = usize::from(input.byte() % 2);
        forged |= attack(&extents, &two[at], &two[1 - at], &mut input);
    }
    for extent in &two {
        let mut into = [0; 700];
        for object in extent {
            assert_eq!(spill.kept(object.place), Some((object.label, object.bytes.len())));
            match spill.read_object(object.place) {
                Ok((label, bytes)) => {
                    assert_eq!((label, bytes.len()), (object.label, object.bytes.len()));
                    let is_right = bytes == object.bytes;
                    assert!(forged || is_right, "another object");
                    *(if is_right { &mut opened.right } else { &mut opened.forged }) += 1;
                }
                Err(_) => opened.errors += 1,
            }
            if let Ok(len) = spill.read(object.place, &mut into) {
                assert_eq!(len, object.bytes.len());
            }
        }
        for live in spill.live_objects(extent[0].place.slot()).unwrap_or_default() {
            let object = extent.iter().find(|object| object.place == live.place);
            let object = object.expect("a place that was given");
            assert_eq!((live.label, live.bytes.len()), (object.label, object.bytes.len()));
            let is_right = live.bytes == object.bytes && live.owner == object.owner;
            assert!(forged || is_right, "another object");
        }
    }
    for object in two.iter().flatten() {
        let released = spill.release(object.place).expect("live");
        assert_eq!((released.label, released.bytes), (object.label, object.bytes.len()));
    }
    spill.audit().expect("right");
    assert_eq!(spill.stats().live_objects, 0);
    opened
}
