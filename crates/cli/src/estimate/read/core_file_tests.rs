//! Which segments of a core file are private, and hostile files.

use std::io::Write as _;

use super::*;

#[path = "../../../tests/command/process/core_builder.rs"]
mod core_builder;

use core_builder::{Core, READ, WRITE};

const PAGE: usize = 4096;

fn open(bytes: &[u8]) -> Result<Option<CoreFile>, CoreError> {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("there is room");
    CoreFile::open(file.path())
}

fn private_bytes(core: &CoreFile) -> u64 {
    core.segments.iter().map(|segment| segment.len).sum()
}

/// A program's data, its heap, constants, a file's page, shared memory, the stack.
fn process() -> Core {
    let core = Core {
        files: Some(vec![(0x7000_0000, 0x7000_4000), (0x40_0000, 0x40_2000)]),
        process: Some((4321, "redis-server")),
        in_stack: Some(0x7ff0_0000_0800),
        ..Core::default()
    };
    core.segment(0x7ff0_0000_0000, READ | WRITE, vec![3; 2 * PAGE])
        .segment(0x40_0000, READ, vec![9; PAGE])
        .segment(0x40_1000, READ | WRITE, vec![1; PAGE])
        .segment(0x50_0000, READ | WRITE, vec![2; 3 * PAGE])
        .segment(0x60_0000, READ, vec![5; PAGE])
        .segment(0x7000_0000, READ | WRITE, vec![4; 4 * PAGE])
        .segment(0x8000_0000, READ | WRITE, Vec::new())
}

#[test]
fn private_segments_are_writable_and_of_no_file() {
    let core = open(&process().build()).expect("it is sound").expect("it is a core file");
    assert_eq!((core.process_id, core.name.as_str()), (Some(4321), "redis-server"));
    let segments: Vec<_> =
        core.segments.iter().map(|part| (part.address, part.len, part.is_stack)).collect();
    assert_eq!(
        segments,
        [(0x50_0000, 3 * PAGE as u64, false), (0x7ff0_0000_0000, 2 * PAGE as u64, true)]
    );
    assert_eq!((core.file_bytes, core.read_only_bytes), (6 * PAGE as u64, PAGE as u64));
    assert!(core.files_known);
}

#[test]
fn without_a_list_of_files_every_writable_segment_counts() {
    let core = Core { files: None, process: None, ..process() };
    let core = open(&core.build()).expect("it is sound").expect("it is a core file");
    assert_eq!((private_bytes(&core), core.file_bytes), (10 * PAGE as u64, 0));
    assert!(!core.files_known && core.process_id.is_none());
    assert!(core.name.starts_with('/'), "named after the file: {}", core.name);
}

#[test]
fn what_is_no_core_file_is_none() {
    let mut executable = process().build();
    executable[16] = 2;
    for bytes in [&executable[..], b"", b"\x7fELF", b"plain text of more than twenty bytes"] {
        assert_eq!(open(bytes).expect("it can be read"), None);
    }
}

#[test]
fn foreign_core_files_are_named() {
    let core = process().build();
    let foreign = |change: fn(&mut [u8])| {
        let mut bytes = core.clone();
        change(&mut bytes);
        open(&bytes).expect_err("it is foreign").to_string()
    };
    assert!(foreign(|bytes| bytes[4] = 1).contains("of a 32-bit process"));
    let big = |bytes: &mut [u8]| {
        bytes[5] = 2;
        bytes[16..18].reverse();
    };
    assert!(foreign(big).contains("of a big-endian process"));
}

#[test]
fn a_core_file_cut_anywhere_is_truncated_or_none() {
    let core = process().build();
    for len in (0..600).chain((600..core.len()).step_by(1009)).chain([core.len() - 1]) {
        match open(&core[..len]) {
            Ok(None) => assert!(len < 18, "{len}"),
            Err(CoreError::Truncated { needed, len: has }) => {
                assert!(has == len as u64 && needed > has, "{len}: {needed}");
            }
            other => panic!("cut to {len}: {other:?}"),
        }
    }
}

/// The offset of a field, at `at`, in program header `index`.
fn field(index: usize, at: usize) -> usize {
    64 + 56 * index + at
}

#[test]
fn lies_in_headers_are_errors() {
    let core = process().build();
    let notes_at = field(8, 0);
    let lie = |at: usize, bytes: &[u8]| {
        let mut core = core.clone();
        core[at..at + bytes.len()].copy_from_slice(bytes);
        open(&core)
    };
    let max = u64::MAX.to_le_bytes();
    for (what, outcome) in [
        ("a table beyond the file", lie(32, &max)),
        ("a segment beyond the file", lie(field(1, 8), &(1_u64 << 40).to_le_bytes())),
        ("more than a page of a segment", lie(field(1, 32), &(1_u64 << 40).to_le_bytes())),
    ] {
        assert!(matches!(outcome, Err(CoreError::Truncated { .. })), "{what}: {outcome:?}");
    }
    let count = |count: u32| {
        // A section header, here over the last segment, has the real count.
        let section = core.len() - 64;
        let mut core = core.clone();
        core[40..48].copy_from_slice(&(section as u64).to_le_bytes());
        core[56..58].copy_from_slice(&0xffff_u16.to_le_bytes());
        core[58..60].copy_from_slice(&64_u16.to_le_bytes());
        core[section + 44..section + 48].copy_from_slice(&count.to_le_bytes());
        open(&core)
    };
    assert!(count(8).is_ok(), "{:?}", count(8));
    assert!(matches!(count(u32::MAX), Err(CoreError::Truncated { .. })), "{:?}", count(u32::MAX));
    for (what, outcome) in [
        ("an endless segment", lie(field(1, 8), &max)),
        ("a segment at the end of all addresses", lie(field(1, 16), &max)),
        ("memory beyond all addresses", lie(field(1, 40), &max)),
        ("segments at one address", lie(field(4, 16), &0x7ff0_0000_0000_u64.to_le_bytes())),
        (
            "the same bytes twice",
            lie(field(7, 8), &{
                let mut bytes = 0_u64.to_le_bytes().to_vec();
                bytes.extend(0x8000_0000_u64.to_le_bytes());
                bytes.extend(0_u64.to_le_bytes());
                bytes.extend((8 * PAGE as u64).to_le_bytes());
                bytes
            }),
        ),
        ("a note longer than its segment", lie(notes_at + 4, &u32::MAX.to_le_bytes())),
        ("a name longer than its segment", lie(notes_at, &u32::MAX.to_le_bytes())),
        ("program headers of another size", lie(54, &57_u16.to_le_bytes())),
    ] {
        assert!(matches!(outcome, Err(CoreError::Damaged(_))), "{what}: {outcome:?}");
    }
}

/// 4 and 2 pages at two places, no flags, no note about a process.
fn machine() -> Vec<u8> {
    Core::default()
        .segment(0xffff_8000, 0, vec![1; 4 * PAGE])
        .segment(0xffff_9000_0000, 0, vec![2; 2 * PAGE])
        .build()
}

fn set(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn places(bytes: &[u8]) -> Vec<(u64, u64)> {
    let core = open(bytes).expect("it is sound").expect("it is a core file");
    assert!(core.is_machine && core.file_bytes + core.read_only_bytes == 0, "{core:?}");
    core.segments.iter().map(|part| (part.address, part.len)).collect()
}

const PAGES_4: u64 = 4 * PAGE as u64;
const PAGES_2: u64 = 2 * PAGE as u64;

#[test]
fn the_memory_of_a_machine_counts_whole_by_its_physical_address() {
    let mut core = machine();
    set(&mut core, field(1, 24), 0x10_0000);
    set(&mut core, field(2, 24), 0x1_0000_0000);
    assert_eq!(places(&core), [(0x10_0000, PAGES_4), (0x1_0000_0000, PAGES_2)]);
}

#[test]
fn addresses_that_do_not_tell_segments_apart_give_way_to_the_place_in_the_file() {
    let core = machine();
    let offset = u64::from_le_bytes(core[field(1, 8)..field(1, 16)].try_into().expect("8 bytes"));
    assert_eq!(places(&core), [(offset, PAGES_4), (offset + PAGES_4, PAGES_2)]);
}

#[test]
fn a_page_of_a_machine_that_is_mapped_twice_counts_once() {
    let mut core = machine();
    let offset = u64::from_le_bytes(core[field(1, 8)..field(1, 16)].try_into().expect("8 bytes"));
    set(&mut core, field(1, 24), 0x10_0000);
    // The second segment begins one page before the first ends.
    set(&mut core, field(2, 8), offset + 3 * PAGE as u64);
    set(&mut core, field(2, 24), 0x10_3000);
    assert_eq!(places(&core), [(0x10_0000, PAGES_4), (0x10_4000, PAGE as u64)]);
    // With flags as well.
    core[field(1, 4)] = 7;
    assert_eq!(places(&core).len(), 2);
    // A segment within another.
    set(&mut core, field(2, 8), offset + PAGE as u64);
    assert_eq!(places(&core), [(0x10_0000, PAGES_4)]);
}

#[test]
fn memory_that_was_not_dumped_lies_nowhere() {
    let mut core = machine();
    set(&mut core, field(1, 24), 0x10_0000);
    set(&mut core, field(2, 8), u64::MAX);
    set(&mut core, field(2, 32), 0);
    assert_eq!(places(&core), [(0x10_0000, PAGES_4)]);
}

#[test]
fn a_core_file_that_has_nothing_to_measure_says_why() {
    let none = open(&Core::default().build());
    assert!(matches!(none, Err(CoreError::NoSegments)), "{none:?}");
    let mut headless = machine();
    headless[56..58].fill(0);
    let headless = open(&headless);
    assert!(matches!(headless, Err(CoreError::NoSegments)), "{headless:?}");
    let program = Core { process: Some((1, "x")), ..Core::default() }
        .segment(0x40_0000, READ, vec![9; PAGE])
        .build();
    let program = open(&program);
    let left_out = |error: &CoreError| {
        matches!(error, CoreError::NothingPrivate { files: 0, read_only: 4096 })
    };
    assert!(program.as_ref().is_err_and(left_out), "{program:?}");
}

#[test]
fn a_list_of_files_may_not_claim_more_than_it_has() {
    let core = Core { process: None, in_stack: None, ..process() };
    let mut bytes = core.build();
    let kind = 0x4649_4c45_u32.to_le_bytes();
    let at = bytes.windows(4).position(|window| window == kind).expect("there is such a note");
    // Behind the kind and the padded name.
    let count = at + 4 + 8;
    for claim in [3, 1 << 30, u64::MAX] {
        bytes[count..count + 8].copy_from_slice(&claim.to_le_bytes());
        let outcome = open(&bytes);
        assert!(matches!(outcome, Err(CoreError::Damaged(_))), "{claim}: {outcome:?}");
    }
}

#[test]
fn any_byte_of_the_headers_may_be_wrong() {
    let core = process().build();
    let headers = field(8, 0) + 400;
    for at in 0..headers {
        for wrong in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut bytes = core.clone();
            bytes[at] = wrong;
            // However the bytes parse: no panic, and never more than the file has.
            if let Ok(Some(core)) = open(&bytes) {
                assert!(private_bytes(&core) <= bytes.len() as u64, "byte {at} as {wrong:#x}");
            }
        }
    }
}
