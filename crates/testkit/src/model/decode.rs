//! Decodes a fuzzer's bytes: one selects the operation, arguments of fixed width follow, missing bytes are 0. Small
//! changes of the input change little.

use std::num::NonZeroU64;

use super::Op;

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// Up to 64 KiB and a little more, mostly short.
    fn len(&mut self) -> usize {
        match self.byte() {
            short @ 0..128 => usize::from(short) * 16,
            128 => usize::from(self.word()) + 1024,
            longer => usize::from(longer & 0x7f) << 8 | usize::from(self.byte()),
        }
    }

    fn number(&mut self) -> u64 {
        self.byte().into()
    }
}

/// The operations in some bytes.
///
/// # Examples
/// ```
/// use pagefold_testkit::model::{Op, operations};
///
/// let ops: Vec<Op> = operations(&[1, 4, 7]).collect();
/// assert_eq!(ops, [Op::Store { len: 64, key: 7 }]);
/// ```
pub fn operations(bytes: &[u8]) -> impl Iterator<Item = Op> {
    let mut bytes = Bytes(bytes);
    std::iter::from_fn(move || (!bytes.0.is_empty()).then(|| next(&mut bytes)))
}

fn count(byte: u8) -> u64 {
    if byte < 192 { 1 + u64::from(byte % 8) } else { u64::MAX }
}

fn next(bytes: &mut Bytes<'_>) -> Op {
    match bytes.byte() % 32 {
        // Often, so that pools fill up.
        0..=5 => Op::Store { len: bytes.len(), key: bytes.number() },
        6 => Op::Alloc { len: bytes.len() },
        7 => Op::Free { object: bytes.number() },
        8 => Op::FreeLast,
        9 => Op::Write { object: bytes.number(), key: bytes.number() },
        10 => Op::WriteLength { object: bytes.number(), len: bytes.len() },
        11 => Op::Read { object: bytes.number(), capacity: bytes.len() },
        12 => Op::FreeDuringRead { object: bytes.number(), victim: bytes.number() },
        13 => Op::WriteDuringRead {
            object: bytes.number(),
            target: bytes.number(),
            key: bytes.number(),
        },
        14 => Op::WorkDuringRead { object: bytes.number(), len: bytes.len(), key: bytes.number() },
        15 => Op::Dead { object: bytes.number() },
        16 => {
            let raw = [(); 4].map(|()| bytes.word());
            let word = raw.into_iter().fold(0, |word, part| word << 16 | u64::from(part));
            Op::Forged { word: NonZeroU64::new(word).unwrap_or(NonZeroU64::MIN) }
        }
        17 => Op::Compact { budget: 4 * bytes.len() },
        18 => Op::Compact { budget: usize::MAX },
        19 => Op::Trim,
        20 => Op::SetLimit { bytes: usize::from(bytes.byte()) << 15 },
        21 => Op::CheckAll,
        22 => Op::Migrate { object: bytes.number() },
        23 => Op::MigrateDuringRead { object: bytes.number(), other: bytes.number() },
        24 => {
            let (frames, align) = (bytes.word(), bytes.byte());
            // Half of the alignments are powers of two.
            let align = if align < 128 { 1 << (align % 12) } else { usize::from(align - 128) };
            Op::AllocContiguous { frames: usize::from(frames % 600), align, object: bytes.number() }
        }
        25 => {
            Op::ContiguousDuringRead { object: bytes.number(), frames: usize::from(bytes.byte()) }
        }
        26 => Op::RefuseMemory { k: bytes.number() % 32, count: count(bytes.byte()) },
        27 => Op::RefuseIsolations { count: count(bytes.byte()) },
        28 => Op::Heal,
        29 => Op::Reclaim {
            retries: u32::from(bytes.byte() % 8),
            refused: bytes.number(),
            panics: bytes.number(),
        },
        _ => {
            Op::Reclaim { retries: u32::from(bytes.byte() % 8), refused: bytes.number(), panics: 0 }
        }
    }
}
