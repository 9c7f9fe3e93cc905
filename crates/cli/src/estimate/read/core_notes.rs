//! Reads the notes of a core file. They are untrusted: each length is checked, and each kind of note allocates a
//! bounded amount. Formats: `elf(5)`, `core(5)`.

use std::{fs::File, ops::Range, os::unix::fs::FileExt as _};

use object::elf::{NT_AUXV, NT_FILE, NT_PRPSINFO};

use crate::estimate::read::core_error::CoreError;

/// A few notes a thread.
const NOTES_MAX: u32 = 1 << 20;
/// Of 24 bytes.
const FILES_MAX: u64 = 1 << 20;

/// Points into the first thread's stack.
const AT_RANDOM: u64 = 25;
const AUXV_BYTES_MAX: usize = 4096;

#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) process_id: Option<u32>,
    pub(crate) name: Option<String>,
    pub(crate) in_stack: Option<u64>,
    pub(crate) of_process: bool,
    pub(crate) files: Option<Vec<Range<u64>>>,
}

impl Notes {
    pub(crate) fn read(&mut self, file: &File, range: Range<u64>) -> Result<(), CoreError> {
        let mut at = range.start;
        for _ in 0..NOTES_MAX {
            if range.end - at < 12 {
                return Ok(());
            }
            let header = read_vec(file, at, 12)?;
            let (name_len, len, kind) = (word(&header, 0), word(&header, 4), word(&header, 8));
            // Name and description are each padded to four bytes.
            let description = at + 12 + u64::from(name_len).next_multiple_of(4);
            let end = description + u64::from(len);
            if end > range.end {
                return Err(CoreError::Damaged("a note is longer than its segment".to_owned()));
            }
            let name = read_vec(file, at + 12, name_len.min(5) as usize)?;
            if name == b"CORE\0" && name_len == 5 {
                self.read_one(file, kind, description, len as usize)?;
            }
            at = end.next_multiple_of(4).min(range.end);
        }
        Err(CoreError::Damaged(format!("it has more than {NOTES_MAX} notes")))
    }

    fn read_one(&mut self, file: &File, kind: u32, at: u64, len: usize) -> Result<(), CoreError> {
        self.of_process |= [NT_FILE.0, NT_AUXV.0, NT_PRPSINFO.0].contains(&kind);
        if kind == NT_FILE.0 && len >= 16 {
            self.files = Some(mapped_files(file, at, len as u64)?);
        } else if kind == NT_AUXV.0 {
            let vector = read_vec(file, at, len.min(AUXV_BYTES_MAX))?;
            let mut entries = vector.chunks_exact(16);
            let entry = entries.find(|entry| double_word(entry, 0) == AT_RANDOM);
            self.in_stack = entry.map(|entry| double_word(entry, 8));
        } else if kind == NT_PRPSINFO.0 && len >= 56 {
            // The number is at byte 24, the name at byte 40.
            let info = read_vec(file, at, 56)?;
            self.process_id = Some(word(&info, 24)).filter(|&number| number > 0);
            let name = info[40..].split(|&byte| byte == 0).next().unwrap_or_default();
            let name = String::from_utf8_lossy(name).into_owned();
            self.name = Some(name).filter(|name| !name.is_empty());
        }
        Ok(())
    }

    pub(crate) fn names_a_file(&self, range: &Range<u64>) -> bool {
        let files = self.files.as_deref().unwrap_or_default();
        let before = files.partition_point(|file| file.start < range.end);
        before > 0 && files[before - 1].end > range.start
    }
}

/// Layout: count, page size, then start, end and offset of each file.
fn mapped_files(file: &File, at: u64, len: u64) -> Result<Vec<Range<u64>>, CoreError> {
    let count = double_word(&read_vec(file, at, 16)?, 0);
    if count > FILES_MAX || 16 + count * 24 > len {
        return Err(CoreError::Damaged(format!("its list of files claims {count} of them")));
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most FILES_MAX entries")]
    let entries = read_vec(file, at + 16, (count * 24) as usize)?;
    let range = |entry: &[u8]| double_word(entry, 0)..double_word(entry, 8);
    let mut files: Vec<_> = entries.chunks_exact(24).map(range).collect();
    files.sort_unstable_by_key(|range| range.start);
    Ok(files)
}

fn read_vec(file: &File, at: u64, len: usize) -> Result<Vec<u8>, CoreError> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// `at` lies within `bytes`.
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes make a word"))
}

/// `at` lies within `bytes`.
fn double_word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes make a double word"))
}
