//! How long a new span is, so that similar objects do not leave similar gaps.
//!
//! Six objects of 2500 bytes leave 7 % of 16 KiB free for good; of 40 KiB they leave 2 %. So a shard now and then packs
//! its last sizes on paper and takes the densest length if it gains enough, since longer spans slide more.

use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use pagefold_frame::{FRAME_BYTES, FrameCount};

use super::span::SLOT_BYTES;

const SIZES: usize = 256;
const GAIN_MIN: f64 = 0.005;
/// Offsets have 16 bits.
const FRAMES_MAX: u32 = 16;
/// Spans between comparisons, after powers of two from `FIRST` on.
const AGAIN: u32 = 512;
const FIRST: u32 = 16;

#[derive(Debug)]
pub(crate) struct SpanSizing {
    usual: u32,
    chosen: AtomicU32,
    spans: AtomicU32,
    /// 0 for none yet.
    sizes: [AtomicU16; SIZES],
    next: AtomicU32,
}

// ORDERING (this file): Relaxed; estimates outside any protocol, so loom does not watch them.
impl SpanSizing {
    pub(crate) fn new(usual: FrameCount) -> Self {
        Self {
            usual: usual.get(),
            chosen: AtomicU32::new(usual.get()),
            spans: AtomicU32::new(0),
            sizes: [const { AtomicU16::new(0) }; SIZES],
            next: AtomicU32::new(0),
        }
    }

    #[inline]
    pub(crate) fn note(&self, len: usize) {
        let next = self.next.load(Ordering::Relaxed);
        self.next.store(next.wrapping_add(1), Ordering::Relaxed);
        let len = u16::try_from(len).unwrap_or(u16::MAX);
        self.sizes[next as usize % SIZES].store(len, Ordering::Relaxed);
    }

    pub(crate) fn frames(&self) -> FrameCount {
        let spans = self.spans.fetch_add(1, Ordering::Relaxed);
        let due = spans.is_multiple_of(AGAIN)
            || ((FIRST..AGAIN).contains(&spans) && spans.is_power_of_two());
        if due {
            let sizes: [usize; SIZES] =
                std::array::from_fn(|at| usize::from(self.sizes[at].load(Ordering::Relaxed)));
            if sizes.iter().all(|&size| size > 0) {
                self.chosen.store(best_frames(self.usual, &sizes), Ordering::Relaxed);
            }
        }
        FrameCount::new(self.chosen.load(Ordering::Relaxed))
    }
}

pub(crate) fn longest(usual: FrameCount) -> FrameCount {
    match usual.get() {
        1 => FrameCount::ONE,
        usual => FrameCount::new((3 * usual).min(FRAMES_MAX)),
    }
}

/// Whether the standard deviation is over a third of the mean.
fn are_wide(sizes: &[usize]) -> bool {
    let count = sizes.len() as f64;
    let mean = sizes.iter().sum::<usize>() as f64 / count;
    let variance = sizes.iter().map(|&size| (size as f64 - mean).powi(2)).sum::<f64>() / count;
    3.0 * variance.sqrt() > mean
}

/// The best length from one frame below usual to three times usual.
fn best_frames(usual: u32, sizes: &[usize]) -> u32 {
    if are_wide(sizes) {
        return usual;
    }
    let shortest = usual.saturating_sub(1).max(2).min(usual);
    let mut best = (usual, packed(usual, sizes));
    for frames in shortest..=longest(FrameCount::new(usual)).get() {
        let density = packed(frames, sizes);
        if density > best.1 + GAIN_MIN {
            best = (frames, density);
        }
    }
    best.0
}

/// The share of closed spans that objects take.
fn packed(frames: u32, sizes: &[usize]) -> f64 {
    let bytes = frames as usize * FRAME_BYTES;
    let (mut closed, mut open) = (Vec::with_capacity(64), bytes);
    for size in sizes {
        let needed = size + SLOT_BYTES;
        let tightest = closed.iter_mut().filter(|room| **room >= needed).min();
        if let Some(room) = tightest {
            *room -= needed;
        } else if needed <= open {
            open -= needed;
        } else {
            closed.push(open);
            open = bytes.saturating_sub(needed);
        }
    }
    let all = (closed.len() * bytes) as f64;
    if closed.is_empty() { 0.0 } else { 1.0 - closed.iter().sum::<usize>() as f64 / all }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(low: usize, high: usize) -> Vec<usize> {
        (0..SIZES).map(|at| low + at * 97 % (high - low)).collect()
    }

    #[test]
    fn alike_objects_get_a_length_that_they_fill() {
        for (low, high) in [(2300, 2700), (1250, 1290), (3400, 3600), (2900, 3200)] {
            let sizes = sizes(low, high);
            let best = best_frames(4, &sizes);
            assert!(
                packed(best, &sizes) > packed(4, &sizes) + GAIN_MIN,
                "{low} to {high}: {best} frames"
            );
            assert!(packed(best, &sizes) > 0.955, "{low} to {high}: {}", packed(best, &sizes));
        }
    }

    #[test]
    fn objects_that_fill_the_usual_length_get_it() {
        assert_eq!(best_frames(4, &[1357; SIZES]), 4, "12 objects of 1365 bytes fill 16 KiB");
        assert_eq!(best_frames(4, &sizes(100, 3000)), 4);
    }

    #[test]
    fn whatever_comes_the_length_is_within_bounds() {
        for usual in [1, 2, 4, 8, 16] {
            let (sizing, longest) =
                (SpanSizing::new(FrameCount::new(usual)), longest(FrameCount::new(usual)));
            assert_eq!(sizing.frames().get(), usual, "before anything was seen");
            for len in [1, 100, 1268, 2040, 4000, 32_760, 1] {
                (0..SIZES).for_each(|_| sizing.note(len));
                for _ in 0..=AGAIN {
                    let frames = sizing.frames();
                    assert!(frames <= longest && frames.get() + 1 >= usual);
                }
            }
        }
    }
}
