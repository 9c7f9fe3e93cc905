//! The index word: an entry, or where its object lies.
//!
//! ```text
//!  bits   0..3  kind      3  referenced      4..8  codec      8..64  payload
//!
//!  kind     payload
//!  EMPTY    the word is 0
//!  FILL     8-byte pattern that fits 56 bits
//!  BYTE     the repeated byte
//!  PATTERN  8..56 handle of any other pattern
//!  PAGE     8..56 handle of a compressed page, 56..64 length in steps of 16 bytes
//!  RAW      8..56 handle of a raw page; codec 1: it is fresh, and waits in staging for its codec;
//!           codec 2: it is a delta against its base page, 56..64 length in steps of 16 bytes; codec 14: a spilled delta;
//!           codec 4 + n: page n of a cluster, 8..56 the cluster's handle, 56..64 the page's share in steps of 16 bytes;
//!           codec 8: it is spilled, 8..64 its place; codec 9 + n: page n of a spilled cluster, 8..64 the cluster's place;
//!           codec 13: a spilled value, 8..64 its place
//!  VALUE    8..56 handle of another value, 56..64 length to a sixteenth; codec 0 is uncompressed
//!  NIL      value of length 0; codec 1: the page is equal to its base page
//! ```
//! Handles are short (index and generation, 48 bits). Generations never repeat, so words of different objects differ
//! for ever and a compare-and-swap cannot confuse them (I-WORD). Up to four words name one cluster (I-CLUSTER).
//!
//! Gets set `referenced`; the eviction order clears it.

use pagefold_spill::Place;

use crate::PAGE_BYTES;

const KIND_MASK: u64 = 7;
const REFERENCED: u64 = 1 << 3;
const CODEC_SHIFT: u32 = 4;
const CODEC_MASK: u64 = 15;
const PAYLOAD_SHIFT: u32 = 8;
/// In the codec field of a RAW word.
const FRESH_MARK: u64 = 1;
/// As `FRESH_MARK`, for a delta.
const DELTA_MARK: u64 = 2;
/// As `FRESH_MARK`, for the first page of a cluster; the others follow.
const MEMBER_MARK: u64 = 4;
/// As `FRESH_MARK`, for a spilled page; the pages of a spilled cluster follow, then a spilled value.
const SPILLED_MARK: u64 = 8;
const SPILLED_VALUE_MARK: u64 = 13;
const SPILLED_DELTA_MARK: u64 = 14;
/// In the codec field of a NIL word.
const EQUAL_MARK: u64 = 1;
/// The pages of a cluster; a model has few keys in a leaf.
pub(crate) const CLUSTER_PAGES: usize = if cfg!(loom) { 2 } else { 4 };
const HANDLE_MASK: u64 = (1 << 48) - 1;
const STEPS_SHIFT: u32 = 56;
/// 255 steps are 4080 bytes, more than any compressed page.
const STEP_BYTES: u64 = 16;
const FILL_BITS: u32 = 56;

const FILL: u64 = 1;
const BYTE: u64 = 2;
const PATTERN: u64 = 3;
const PAGE: u64 = 4;
const RAW: u64 = 5;
const VALUE: u64 = 6;
const NIL: u64 = 7;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Short(pub(crate) u64);

/// From 1 to 15.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CodecId(pub(crate) u8);

impl CodecId {
    /// The base codec, which is never retired.
    pub(crate) const FIRST: Self = Self(1);
}

/// A decoded word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Nothing.
    Empty,
    /// Same-filled, in the word.
    Same(u64),
    /// Same-filled, as an object.
    Pattern(Short),
    /// `len` is rounded up to 16 bytes.
    Page { at: Short, codec: CodecId, len: u64 },
    /// Uncompressed.
    Raw(Short),
    /// A raw page that waits in staging for its codec.
    Fresh(Short),
    /// Equal to the base page of its key.
    Equal,
    /// What differs from the base page of its key; `len` is rounded up to 16 bytes.
    Delta { at: Short, len: u64 },
    /// Page `slot` of a cluster; `len` is its share, rounded up to 16 bytes.
    Member { at: Short, slot: u8, len: u64 },
    /// In the backing.
    Spilled { place: Place, part: Part },
    /// `len` is rounded up by at most a sixteenth.
    Value { at: Short, codec: Option<CodecId>, len: u64 },
    /// Length 0.
    Nil,
}

/// What a word names of a spilled object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Page,
    /// That page of a cluster.
    Member(u8),
    Value,
    /// A delta against the base page of the key.
    Delta,
}

impl Part {
    fn mark(self) -> u64 {
        match self {
            Self::Page => SPILLED_MARK,
            Self::Member(slot) => SPILLED_MARK + 1 + u64::from(slot),
            Self::Value => SPILLED_VALUE_MARK,
            Self::Delta => SPILLED_DELTA_MARK,
        }
    }

    fn of_mark(mark: u8) -> Self {
        match u64::from(mark) {
            SPILLED_MARK => Self::Page,
            SPILLED_VALUE_MARK => Self::Value,
            SPILLED_DELTA_MARK.. => Self::Delta,
            mark => Self::Member((mark - SPILLED_MARK - 1).to_le_bytes()[0]),
        }
    }
}

impl Entry {
    /// `None` if the pattern does not fit.
    pub(crate) fn same(pattern: u64) -> Option<Self> {
        (pattern >> FILL_BITS == 0 || is_byte(pattern)).then_some(Self::Same(pattern))
    }

    pub(crate) fn handle(self) -> Option<Short> {
        match self {
            Self::Empty | Self::Same(_) | Self::Nil | Self::Equal | Self::Spilled { .. } => None,
            Self::Pattern(at)
            | Self::Raw(at)
            | Self::Fresh(at)
            | Self::Page { at, .. }
            | Self::Delta { at, .. }
            | Self::Member { at, .. }
            | Self::Value { at, .. } => Some(at),
        }
    }

    /// The length of the object in memory, rounded as in the word.
    pub(crate) fn counted_bytes(self) -> u64 {
        match self {
            Self::Empty | Self::Same(_) | Self::Nil | Self::Equal | Self::Spilled { .. } => 0,
            Self::Pattern(_) => 8,
            Self::Raw(_) | Self::Fresh(_) => PAGE_BYTES as u64,
            Self::Page { len, .. }
            | Self::Delta { len, .. }
            | Self::Member { len, .. }
            | Self::Value { len, .. } => len,
        }
    }

    /// Whether a get needs the base page of its key.
    pub(crate) fn is_on_base(self) -> bool {
        matches!(self, Self::Equal | Self::Delta { .. } | Self::Spilled { part: Part::Delta, .. })
    }

    pub(crate) fn holds_memory(self) -> bool {
        self.handle().is_some()
    }

    /// Whether both name one cluster, in memory or in the backing.
    pub(crate) fn shares_cluster(self, other: Self) -> bool {
        match (self, other) {
            (Self::Member { at, .. }, Self::Member { at: cluster, .. }) => at == cluster,
            (
                Self::Spilled { place, part: Part::Member(_) },
                Self::Spilled { place: cluster, part: Part::Member(_) },
            ) => place == cluster,
            _ => false,
        }
    }
}

fn is_byte(pattern: u64) -> bool {
    pattern == (pattern & 0xff) * 0x0101_0101_0101_0101
}

/// Rounded up for the accounts.
pub(crate) fn page_len(len: usize) -> u64 {
    (len as u64).next_multiple_of(STEP_BYTES)
}

/// The share of each page in a cluster of `len` bytes.
pub(crate) fn member_len(len: usize) -> u64 {
    page_len(len.div_ceil(CLUSTER_PAGES))
}

/// Rounded up to five significant bits.
pub(crate) fn value_len(len: usize) -> u64 {
    (len as u64).next_multiple_of(1 << grain(len as u64))
}

/// Log2 of the rounding unit.
fn grain(len: u64) -> u32 {
    len.max(16).ilog2() - 4
}

/// The grain's exponent, and four bits below the leading one. Lengths under 16 have exponent 0 and no leading one.
fn to_float(len: u64) -> u64 {
    if len < 16 { len } else { u64::from(grain(len) + 1) << 4 | (len >> grain(len)) & 15 }
}

fn from_float(bits: u64) -> u64 {
    match (bits >> 4, bits & 15) {
        (0, low) => low,
        (exponent, low) => (16 | low) << (exponent - 1),
    }
}

impl Word {
    pub(crate) const EMPTY: Self = Self(0);

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// Not referenced.
    pub(crate) fn new(entry: Entry) -> Self {
        let handle = |kind: u64, at: Short| kind | (at.0 & HANDLE_MASK) << PAYLOAD_SHIFT;
        let made_by = |codec: CodecId| u64::from(codec.0) << CODEC_SHIFT;
        Self(match entry {
            Entry::Empty => 0,
            Entry::Same(pattern) if pattern >> FILL_BITS == 0 => FILL | pattern << PAYLOAD_SHIFT,
            Entry::Same(pattern) => {
                debug_assert!(is_byte(pattern), "other patterns are objects");
                BYTE | (pattern & 0xff) << PAYLOAD_SHIFT
            }
            Entry::Pattern(at) => handle(PATTERN, at),
            Entry::Page { at, codec, len } => {
                let steps = len.div_ceil(STEP_BYTES);
                debug_assert!(steps < 256, "a longer page is kept raw");
                handle(PAGE, at) | made_by(codec) | steps << STEPS_SHIFT
            }
            Entry::Raw(at) => handle(RAW, at),
            Entry::Fresh(at) => handle(RAW, at) | FRESH_MARK << CODEC_SHIFT,
            Entry::Member { at, slot, len } => {
                let steps = len.div_ceil(STEP_BYTES);
                debug_assert!(steps < 256, "a cluster is shorter than its pages");
                handle(RAW, at)
                    | (MEMBER_MARK + u64::from(slot)) << CODEC_SHIFT
                    | steps << STEPS_SHIFT
            }
            Entry::Spilled { place, part } => {
                RAW | part.mark() << CODEC_SHIFT | place.bits() << PAYLOAD_SHIFT
            }
            Entry::Value { at, codec, len } => {
                handle(VALUE, at) | codec.map_or(0, made_by) | to_float(len) << STEPS_SHIFT
            }
            Entry::Nil => NIL,
            Entry::Equal => NIL | EQUAL_MARK << CODEC_SHIFT,
            Entry::Delta { at, len } => {
                let steps = len.div_ceil(STEP_BYTES);
                debug_assert!(steps < 256, "a longer delta is no gain");
                handle(RAW, at) | DELTA_MARK << CODEC_SHIFT | steps << STEPS_SHIFT
            }
        })
    }

    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0 & KIND_MASK == 0
    }

    #[inline]
    pub(crate) fn is_referenced(self) -> bool {
        self.0 & REFERENCED != 0
    }

    pub(crate) fn referenced(self) -> Self {
        Self(self.0 | REFERENCED)
    }

    pub(crate) fn unreferenced(self) -> Self {
        Self(self.0 & !REFERENCED)
    }

    #[inline]
    pub(crate) fn entry(self) -> Entry {
        let payload = self.0 >> PAYLOAD_SHIFT;
        let at = Short(payload & HANDLE_MASK);
        let codec = u8::try_from(self.0 >> CODEC_SHIFT & CODEC_MASK).expect("four bits");
        match self.0 & KIND_MASK {
            FILL => Entry::Same(payload),
            BYTE => Entry::Same((payload & 0xff) * 0x0101_0101_0101_0101),
            PATTERN => Entry::Pattern(at),
            PAGE => {
                let len = (self.0 >> STEPS_SHIFT) * STEP_BYTES;
                Entry::Page { at, codec: CodecId(codec), len }
            }
            RAW if u64::from(codec) == FRESH_MARK => Entry::Fresh(at),
            RAW if u64::from(codec) == DELTA_MARK => {
                Entry::Delta { at, len: (self.0 >> STEPS_SHIFT) * STEP_BYTES }
            }
            RAW if u64::from(codec) >= SPILLED_MARK => {
                Entry::Spilled { place: Place::from_bits(payload), part: Part::of_mark(codec) }
            }
            RAW if u64::from(codec) >= MEMBER_MARK => {
                let slot = codec - u8::try_from(MEMBER_MARK).expect("four bits");
                Entry::Member { at, slot, len: (self.0 >> STEPS_SHIFT) * STEP_BYTES }
            }
            RAW => Entry::Raw(at),
            VALUE => {
                let len = from_float(self.0 >> STEPS_SHIFT);
                Entry::Value { at, codec: (codec != 0).then_some(CodecId(codec)), len }
            }
            NIL if u64::from(codec) == EQUAL_MARK => Entry::Equal,
            NIL => Entry::Nil,
            _ => Entry::Empty,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use pagefold_codec::accept_len;

    use super::*;

    #[test]
    fn what_is_put_in_a_word_comes_out() {
        let at = Short(0xabcd_1234_5678);
        let codec = CodecId(15);
        let mut words = vec![Word::EMPTY];
        for entry in [
            Entry::Same(0),
            Entry::Same((1 << 56) - 1),
            Entry::Same(u64::MAX),
            Entry::Same(0x8080_8080_8080_8080),
            Entry::Pattern(at),
            Entry::Page { at, codec, len: page_len(1) },
            Entry::Page { at, codec, len: page_len(accept_len(PAGE_BYTES)) },
            Entry::Raw(at),
            Entry::Fresh(at),
            Entry::Member { at, slot: 0, len: member_len(100) },
            Entry::Member { at, slot: 3, len: member_len(accept_len(4 * PAGE_BYTES)) },
            Entry::Spilled { place: Place::from_bits(0), part: Part::Page },
            Entry::Spilled { place: Place::from_bits(u64::MAX), part: Part::Page },
            Entry::Spilled { place: Place::from_bits(u64::MAX), part: Part::Member(0) },
            Entry::Spilled { place: Place::from_bits(u64::MAX), part: Part::Member(3) },
            Entry::Spilled { place: Place::from_bits(0), part: Part::Value },
            Entry::Spilled { place: Place::from_bits(u64::MAX), part: Part::Value },
            Entry::Value { at, codec: None, len: value_len(1) },
            Entry::Value { at, codec: Some(codec), len: value_len(65_536) },
            Entry::Nil,
            Entry::Equal,
            Entry::Delta { at, len: page_len(1) },
            Entry::Delta { at, len: page_len(accept_len(PAGE_BYTES)) },
            Entry::Spilled { place: Place::from_bits(0), part: Part::Delta },
            Entry::Spilled { place: Place::from_bits(u64::MAX), part: Part::Delta },
        ] {
            let word = Word::new(entry);
            assert_eq!(word.entry(), entry);
            assert_eq!(word.referenced().entry(), entry);
            assert!(word.referenced().is_referenced() && !word.is_referenced());
            assert_eq!(word.referenced().unreferenced(), word);
            assert!(!word.is_empty());
            assert!(!words.contains(&word), "{entry:?}");
            words.push(word);
        }
        assert_eq!(Word::EMPTY.entry(), Entry::Empty);
    }

    #[test]
    fn lengths_are_rounded_up_by_at_most_a_sixteenth() {
        for len in 1..=65_536_usize {
            let rounded = value_len(len);
            assert_eq!(from_float(to_float(rounded)), rounded, "{len}");
            assert!(to_float(rounded) < 256, "{len}");
            assert!(rounded >= len as u64 && rounded - len as u64 <= len as u64 / 16, "{len}");
        }
    }

    #[test]
    fn patterns_that_fit_need_no_object() {
        for pattern in [0, 1, 0xff, (1 << 56) - 1, u64::MAX, 0x4141_4141_4141_4141] {
            assert_eq!(Entry::same(pattern), Some(Entry::Same(pattern)));
        }
        for pattern in [1 << 56, 0x0123_4567_89ab_cdef, 0x4141_4141_4141_4142] {
            assert_eq!(Entry::same(pattern), None, "{pattern:#x}");
        }
    }
}
