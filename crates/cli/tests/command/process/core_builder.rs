//! Builds core files that a test may corrupt: ELF headers, notes, segments.

const HEADER: u16 = 64;
const PROGRAM_HEADER: u16 = 56;

pub(crate) const READ: u32 = 4;
pub(crate) const WRITE: u32 = 2;

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;

/// Address, permissions, content.
pub(crate) struct Segment {
    pub(crate) address: u64,
    pub(crate) flags: u32,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Default)]
pub(crate) struct Core {
    pub(crate) segments: Vec<Segment>,
    /// `NT_FILE`: start and end of each mapped file.
    pub(crate) files: Option<Vec<(u64, u64)>>,
    pub(crate) process: Option<(u32, &'static str)>,
    /// An address in the first thread's stack.
    pub(crate) in_stack: Option<u64>,
}

impl Core {
    pub(crate) fn segment(mut self, address: u64, flags: u32, bytes: Vec<u8>) -> Self {
        self.segments.push(Segment { address, flags, bytes });
        self
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let notes = self.notes();
        let count = self.segments.len() as u64 + 1;
        let mut bytes = header(count);
        let mut offset = u64::from(HEADER) + count * u64::from(PROGRAM_HEADER);
        bytes.extend(program_header(PT_NOTE, READ, 0, offset, notes.len() as u64));
        offset += notes.len() as u64;
        for Segment { address, flags, bytes: content } in &self.segments {
            bytes.extend(program_header(PT_LOAD, *flags, *address, offset, content.len() as u64));
            offset += content.len() as u64;
        }
        bytes.extend(notes);
        bytes.extend(self.segments.iter().flat_map(|segment| &segment.bytes));
        bytes
    }

    fn notes(&self) -> Vec<u8> {
        let mut notes = Vec::new();
        if let Some((number, name)) = self.process {
            let mut info = [0; 136];
            info[24..28].copy_from_slice(&number.to_le_bytes());
            info[40..40 + name.len()].copy_from_slice(name.as_bytes());
            notes.extend(note(b"CORE\0", 3, &info));
        }
        // A useless note whose name and length need padding.
        notes.extend(note(b"LINUX\0", 0x202, &[1; 13]));
        if let Some(address) = self.in_stack {
            let words = [6, 4096, 25, address, 0, 0];
            notes.extend(note(b"CORE\0", 6, &words.map(u64::to_le_bytes).concat()));
        }
        if let Some(files) = &self.files {
            let mut words = vec![files.len() as u64, 4096];
            words.extend(files.iter().flat_map(|&(start, end)| [start, end, 0]));
            let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
            bytes.extend(files.iter().flat_map(|_| *b"/lib/x\0"));
            notes.extend(note(b"CORE\0", 0x4649_4c45, &bytes));
        }
        notes
    }
}

fn header(program_headers: u64) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    // A core file of any machine, in the only version.
    bytes.extend([4, 0, 62, 0, 1, 0, 0, 0]);
    bytes.extend([0, u64::from(HEADER), 0].map(u64::to_le_bytes).concat());
    let count = u16::try_from(program_headers).expect("a few segments");
    let sizes = [HEADER, PROGRAM_HEADER, count, 0, 0, 0];
    bytes.extend([0; 4]);
    bytes.extend(sizes.map(u16::to_le_bytes).concat());
    bytes
}

fn program_header(kind: u32, flags: u32, address: u64, offset: u64, len: u64) -> Vec<u8> {
    let mut bytes = [kind, flags].map(u32::to_le_bytes).concat();
    bytes.extend([offset, address, 0, len, len, 1].map(u64::to_le_bytes).concat());
    bytes
}

fn note(name: &[u8], kind: u32, description: &[u8]) -> Vec<u8> {
    let len = |part: &[u8]| u32::try_from(part.len()).expect("a short note");
    let numbers = [len(name), len(description), kind];
    let mut bytes = numbers.map(u32::to_le_bytes).concat();
    for part in [name, description] {
        bytes.extend(part);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}
