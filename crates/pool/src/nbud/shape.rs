//! How long a new span is: by the sizes that come in, so that alike objects do not leave alike gaps.
//!
//! Objects of many sizes fill a span of any length: what is left takes the next one that fits. Objects that are all
//! alike do not: 12 of 1268 bytes leave 7 % of 16 KiB, and nothing that comes fits in there. But 16 of them leave 1 %
//! of 20 KiB. So the mean and the spread of recent sizes are followed, and where the spread is small a new span gets
//! the number of frames that such objects fill best.

use pagefold_frame::{FRAME_BYTES, FrameCount};
use pagefold_sys::sync::{AtomicU32, Ordering};

/// Recent means about this many objects.
const MEMORY: f32 = 64.0;
/// The share of a span that another length must save to be worth leaving the usual one.
const GAIN_MIN: f32 = 0.01;
/// The longest span: offsets in it have 16 bits.
const FRAMES_MAX: u32 = 16;

/// See the module.
#[derive(Debug)]
pub(crate) struct Shape {
    usual: u32,
    /// Mean of the bytes an object takes with its slot, and its variance; bits of `f32`. 0 before the first.
    mean: AtomicU32,
    variance: AtomicU32,
}

impl Shape {
    /// Spans are `usual` frames unless sizes say otherwise.
    pub(crate) fn new(usual: FrameCount) -> Self {
        Self { usual: usual.get(), mean: AtomicU32::new(0), variance: AtomicU32::new(0) }
    }

    /// The longest span there will be.
    pub(crate) fn longest(&self) -> FrameCount {
        match self.usual {
            1 => FrameCount::ONE,
            usual => FrameCount::new((2 * usual).min(FRAMES_MAX)),
        }
    }

    // ORDERING (this type): Relaxed; estimates, and an update that is lost beside another is lost.

    /// Follows an object of `bytes` bytes, slot included.
    #[inline]
    pub(crate) fn note(&self, bytes: usize) {
        let (bytes, mean) = (bytes as f32, f32::from_bits(self.mean.load(Ordering::Relaxed)));
        if mean == 0.0 {
            self.mean.store(bytes.to_bits(), Ordering::Relaxed);
            return;
        }
        let off = bytes - mean;
        let variance = f32::from_bits(self.variance.load(Ordering::Relaxed));
        self.mean.store((mean + off / MEMORY).to_bits(), Ordering::Relaxed);
        self.variance
            .store((variance + (off * off - variance) / MEMORY).to_bits(), Ordering::Relaxed);
    }

    /// The frames of the next span.
    pub(crate) fn frames(&self) -> FrameCount {
        let mean = f32::from_bits(self.mean.load(Ordering::Relaxed));
        let spread = f32::from_bits(self.variance.load(Ordering::Relaxed)).sqrt();
        FrameCount::new(best_frames(self.usual, self.longest().get(), mean, spread))
    }
}

/// The frames, from one less than usual to `longest`, of which objects of this mean and spread waste least.
fn best_frames(usual: u32, longest: u32, mean: f32, spread: f32) -> u32 {
    let bytes = |frames: u32| (frames as usize * FRAME_BYTES) as f32;
    // The sum of n sizes spreads with the root of n. If that is half an object or more, any length is as good.
    let is_wide = 2.0 * spread * (bytes(usual) / mean).sqrt() >= mean;
    if mean == 0.0 || is_wide {
        return usual;
    }
    // What is left when as many objects went in as do so five times in six.
    let waste = |frames: u32| {
        let room = bytes(frames) - spread * (bytes(frames) / mean).sqrt();
        1.0 - (room / mean).floor() * mean / bytes(frames)
    };
    let shortest = usual.saturating_sub(1).max(2).min(usual);
    let best = (shortest..=longest).min_by(|&a, &b| waste(a).total_cmp(&waste(b))).unwrap_or(usual);
    if waste(best) + GAIN_MIN < waste(usual) { best } else { usual }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alike_objects_get_the_length_that_they_fill() {
        assert_eq!(best_frames(4, 8, 1268.0, 10.0), 5);
        assert_eq!(
            best_frames(4, 8, 1360.0, 3.0),
            4,
            "12 objects of 1360 bytes fill 16 KiB to 99.6 %"
        );
    }

    #[test]
    fn objects_of_many_sizes_get_the_usual_length() {
        for mean in [300.0, 1268.0, 2000.0, 3000.0] {
            assert_eq!(best_frames(4, 8, mean, mean * 0.6), 4);
        }
    }

    #[test]
    fn whatever_comes_the_length_is_within_bounds() {
        for usual in [1, 2, 4, 8, 16] {
            let shape = Shape::new(FrameCount::new(usual));
            assert_eq!(shape.frames().get(), usual, "before anything was seen");
            for bytes in [9, 100, 1268, 4000, 32_768, 9, 9, 9] {
                (0..200).for_each(|_| shape.note(bytes));
                let frames = shape.frames().get();
                assert!(
                    frames <= shape.longest().get() && frames + 1 >= usual,
                    "{frames} for {usual}"
                );
            }
        }
    }
}
