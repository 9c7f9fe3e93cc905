//! Finds the private memory in a core file (ELF).
//!
//! * A process: writable `PT_LOAD` segments, except files and shared memory ([`NT_FILE`](super::core_notes)). Without
//!   that note every writable segment counts, and the report says so.
//! * A machine: each byte of the file once, by its physical address.
//!
//! The file is untrusted: every length is checked before use, and no field alone sizes an allocation. Formats:
//! `elf(5)`, `core(5)`.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use object::{
    Endianness, ReadCache,
    elf::{FileHeader64, PF_W, PT_LOAD, PT_NOTE, ProgramHeader64},
    read::elf::{FileHeader as _, ProgramHeader as _},
};

use crate::estimate::read::{core_error::CoreError, core_notes::Notes, extents::Extents};

const ET_CORE: u16 = 4;
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
/// Of a 64-bit file.
const HEADER_BYTES: u64 = 64;

/// A process has at most 65530 mappings by default.
const SEGMENTS_MAX: u32 = 1 << 20;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CoreFile {
    pub(crate) path: PathBuf,
    pub(crate) process_id: Option<u32>,
    /// The process's, or the file's path.
    pub(crate) name: String,
    /// By address.
    pub(crate) segments: Vec<Segment>,
    /// Without holes, roughly.
    pub(crate) data_bytes: u64,
    pub(crate) is_machine: bool,
    /// Bytes of files and shared memory.
    pub(crate) file_bytes: u64,
    /// Bytes of no file that are not writable.
    pub(crate) read_only_bytes: u64,
    pub(crate) files_known: bool,
}

/// Never empty, and within the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) address: u64,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    /// Contains the first thread's stack.
    pub(crate) is_stack: bool,
}

impl CoreFile {
    /// Returns `None` if `path` is no core file.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, CoreError> {
        let file = File::open(path)?;
        if !is_core(&file)? {
            return Ok(None);
        }
        let len = file.metadata()?.len();
        let segments = program_headers(&file, len)?;
        let mut notes = Notes::default();
        each_byte_once(segments.iter().filter(|header| header.is_note), len)?;
        for &SegmentHeader { offset, len, .. } in segments.iter().filter(|header| header.is_note) {
            notes.read(&file, offset..offset + len)?;
        }
        let mut core = Self {
            path: path.to_owned(),
            process_id: notes.process_id,
            name: notes.name.take().unwrap_or_else(|| path.display().to_string()),
            segments: Vec::new(),
            data_bytes: 0,
            is_machine: !notes.of_process && looks_like_a_machine(&segments),
            file_bytes: 0,
            read_only_bytes: 0,
            files_known: notes.files.is_some(),
        };
        if core.is_machine {
            core.segments = memory_of_machine(&segments);
        } else {
            each_byte_once(segments.iter(), len)?;
            core.sort_out(&segments, &notes)?;
        }
        if core.segments.is_empty() {
            let (files, read_only) = (core.file_bytes, core.read_only_bytes);
            return Err(if segments.iter().all(|header| header.is_note) {
                CoreError::NoSegments
            } else {
                CoreError::NothingPrivate { files, read_only }
            });
        }
        let mut extents = Extents::new(&file)?;
        let data = |part: &Segment| extents.data_bytes(&file, part.offset..part.offset + part.len);
        core.data_bytes = core.segments.iter().map(data).sum();
        Ok(Some(core))
    }

    fn sort_out(&mut self, headers: &[SegmentHeader], notes: &Notes) -> Result<(), CoreError> {
        for header in headers.iter().filter(|header| !header.is_note) {
            let &SegmentHeader { address, offset, len, memory, writable, .. } = header;
            let range = address..address + memory;
            if notes.names_a_file(&range) {
                self.file_bytes += len;
            } else if !writable {
                self.read_only_bytes += len;
            } else if len > 0 {
                let is_stack = notes.in_stack.is_some_and(|pointer| range.contains(&pointer));
                self.segments.push(Segment { address, offset, len, is_stack });
            }
        }
        self.segments.sort_unstable_by_key(|segment| segment.address);
        let overlap = |pair: &[Segment]| pair[0].address + pair[0].len > pair[1].address;
        if self.segments.windows(2).any(overlap) {
            return Err(CoreError::Damaged("two segments have the same addresses".to_owned()));
        }
        Ok(())
    }
}

/// No flags, or two segments with the same bytes of the file: neither occurs in a process's core file.
fn looks_like_a_machine(headers: &[SegmentHeader]) -> bool {
    let loads = || headers.iter().filter(|header| !header.is_note && header.len > 0);
    loads().next().is_some() && (loads().all(|header| !header.has_flags) || has_overlap(loads()))
}

fn has_overlap<'a>(headers: impl Iterator<Item = &'a SegmentHeader>) -> bool {
    let mut ranges: Vec<_> =
        headers.map(|header| (header.offset, header.offset + header.len)).collect();
    ranges.sort_unstable();
    ranges.windows(2).any(|pair| pair[0].1 > pair[1].0)
}

/// Each byte once, by physical address; by file offset if physical addresses overlap.
fn memory_of_machine(headers: &[SegmentHeader]) -> Vec<Segment> {
    let mut loads: Vec<_> =
        headers.iter().filter(|header| !header.is_note && header.len > 0).collect();
    loads.sort_unstable_by_key(|header| (header.offset, std::cmp::Reverse(header.len)));
    let (mut segments, mut done) = (Vec::new(), 0);
    for header in loads {
        let (offset, end) = (header.offset.max(done), header.offset + header.len);
        if offset < end {
            let address = header.physical.saturating_add(offset - header.offset);
            segments.push(Segment { address, offset, len: end - offset, is_stack: false });
            done = end;
        }
    }
    segments.sort_unstable_by_key(|segment| segment.address);
    let overlap = |pair: &[Segment]| pair[0].address.saturating_add(pair[0].len) > pair[1].address;
    if segments.windows(2).any(overlap) {
        segments.iter_mut().for_each(|segment| segment.address = segment.offset);
        segments.sort_unstable_by_key(|segment| segment.address);
    }
    segments
}

fn is_core(file: &File) -> Result<bool, CoreError> {
    let mut ident = [0; 18];
    match file.read_exact_at(&mut ident, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        outcome => outcome?,
    }
    let (class, data) = (ident[4], ident[5]);
    let kind = [ident[16], ident[17]];
    let little = data == LITTLE_ENDIAN;
    let kind = if little { u16::from_le_bytes(kind) } else { u16::from_be_bytes(kind) };
    if !ident.starts_with(b"\x7fELF") || kind != ET_CORE {
        return Ok(false);
    }
    match (class == CLASS_64, little) {
        (true, true) => Ok(true),
        (true, false) => Err(CoreError::Foreign("big-endian")),
        (false, true) => Err(CoreError::Foreign("32-bit")),
        (false, false) => Err(CoreError::Foreign("32-bit big-endian")),
    }
}

/// A `PT_LOAD` or `PT_NOTE`.
///
/// # Invariants
/// `offset + len` is within the file, and `address + memory` within 64 bits; `memory >= len`.
struct SegmentHeader {
    is_note: bool,
    has_flags: bool,
    writable: bool,
    address: u64,
    physical: u64,
    memory: u64,
    offset: u64,
    len: u64,
}

impl SegmentHeader {
    fn new(header: &ProgramHeader64<Endianness>, file_len: u64) -> Result<Self, CoreError> {
        let endian = Endianness::Little;
        let (offset, len) = header.file_range(endian);
        // Memory that was not dumped has no offset, or -1.
        let offset = if len == 0 { 0 } else { offset };
        let (address, memory) = (header.p_vaddr(endian), header.p_memsz(endian).max(len));
        let damaged = |what: &str| CoreError::Damaged(format!("{what} at address {address:#x}"));
        let needed = offset.checked_add(len).ok_or_else(|| damaged("an endless segment"))?;
        if needed > file_len {
            return Err(CoreError::Truncated { needed, len: file_len });
        }
        address.checked_add(memory).ok_or_else(|| damaged("a segment beyond all addresses"))?;
        Ok(Self {
            is_note: header.p_type(endian) == PT_NOTE,
            has_flags: header.p_flags(endian).0 != 0,
            writable: header.p_flags(endian).contains(PF_W),
            address,
            physical: header.p_paddr(endian),
            memory,
            offset,
            len,
        })
    }
}

fn program_headers(file: &File, len: u64) -> Result<Vec<SegmentHeader>, CoreError> {
    if len < HEADER_BYTES {
        return Err(CoreError::Truncated { needed: HEADER_BYTES, len });
    }
    let endian = Endianness::Little;
    let damaged = |error: object::read::Error| CoreError::Damaged(error.to_string());
    let cache = ReadCache::new(file);
    let header = FileHeader64::<Endianness>::parse(&cache).map_err(damaged)?;
    let count = header.phnum(endian, &cache).map_err(damaged)?;
    let table = u64::from(count) * size_of::<ProgramHeader64<Endianness>>() as u64;
    let needed = header.e_phoff(endian).saturating_add(table);
    if needed > len {
        return Err(CoreError::Truncated { needed, len });
    }
    if count > SEGMENTS_MAX {
        return Err(CoreError::Damaged(format!("it claims {count} segments")));
    }
    let headers = header.program_headers(endian, &cache).map_err(damaged)?;
    let used =
        |header: &&ProgramHeader64<Endianness>| [PT_LOAD, PT_NOTE].contains(&header.p_type(endian));
    headers.iter().filter(used).map(|header| SegmentHeader::new(header, len)).collect()
}

/// A process's bytes are dumped once each.
fn each_byte_once<'a>(
    segments: impl Iterator<Item = &'a SegmentHeader>,
    len: u64,
) -> Result<(), CoreError> {
    let claimed = segments.fold(0_u64, |sum, segment| sum.saturating_add(segment.len));
    if claimed > len {
        return Err(CoreError::Damaged("its segments claim the same bytes of the file".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
#[path = "core_file_tests.rs"]
mod tests;
