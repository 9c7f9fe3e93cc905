//! The chain rule of the kernel's documentation, to compare with the table's own.
//!
//! It takes the highest use in whole percent, then the shortest chain; the table takes the fewest wasted bytes.
//!
//! Source: *zsmalloc* in the kernel's documentation: its example of a chain and its table of chain limits.

use pagefold_pool::classes::ClassConfig;
use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Outcome {
    pub(super) classes: usize,
    /// 0 if none shares frames.
    pub(super) huge_above_bytes: usize,
}

pub(super) fn outcome(config: &ClassConfig) -> Outcome {
    let ClassConfig { frame_bytes, smallest, step, .. } = *config;
    let sizes = (smallest..frame_bytes).step_by(step).chain([frame_bytes]);
    let (mut classes, mut last, mut huge_above_bytes) = (0, None, 0);
    for size in sizes {
        let frames = chain(size, config);
        let layout = (frames, frames * frame_bytes / size);
        classes += usize::from(last != Some(layout));
        last = Some(layout);
        if layout != (1, 1) {
            huge_above_bytes = size;
        }
    }
    Outcome { classes, huge_above_bytes }
}

fn chain(size: usize, config: &ClassConfig) -> usize {
    let percent = |frames: &usize| {
        let bytes = frames * config.frame_bytes;
        (bytes - bytes % size) * 100 / bytes
    };
    // Of equal ones the last, so the shortest chain.
    (1..=config.chain_max as usize).rev().max_by_key(percent).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_published_table_of_chain_limits() {
        for (chain_max, classes, huge_above_bytes) in [
            (4, 69, 3264),
            (5, 86, 3408),
            (6, 93, 3504),
            (7, 112, 3584),
            (8, 123, 3632),
            (9, 140, 3680),
            (10, 143, 3712),
            (11, 159, 3744),
            (12, 164, 3776),
            (13, 180, 3792),
            (14, 183, 3808),
            (15, 188, 3840),
            (16, 191, 3840),
        ] {
            let config = ClassConfig { chain_max, ..ClassConfig::default() };
            assert_eq!(
                outcome(&config),
                Outcome { classes, huge_above_bytes },
                "chains of {chain_max}"
            );
        }
    }

    #[test]
    fn it_takes_the_chain_of_the_published_example() {
        let config = ClassConfig { chain_max: 5, ..ClassConfig::default() };
        assert_eq!(chain(1568, &config), 5);
        let config = ClassConfig { chain_max: 4, ..ClassConfig::default() };
        assert_eq!((chain(1568, &config), chain(1632, &config), chain(1536, &config)), (2, 2, 3));
    }
}
