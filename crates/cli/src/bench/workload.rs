//! How programs use memory. Each workload is a function of the data alone, so its answer is the same wherever the data lies.

use super::config::Pattern;

/// A use of memory.
pub(super) struct Workload {
    pub(super) name: &'static str,
    pub(super) pattern: Pattern,
    /// Changes the words; its answer depends on all that it read.
    pub(super) run: fn(&mut [u64], &Plan) -> u64,
}

/// In the order of the table; the sort last, because it changes most.
pub(super) static ALL: [Workload; 8] = [
    Workload {
        name: "sequential, read",
        pattern: Pattern::Sequential,
        run: |words, _| in_order(words, 0),
    },
    Workload {
        name: "sequential, written",
        pattern: Pattern::Sequential,
        run: |words, _| in_order(words, 1),
    },
    Workload {
        name: "random, 5 % writes",
        pattern: Pattern::Random,
        run: |words, _| touches(words, 5, uniform),
    },
    Workload {
        name: "random, 95 % writes",
        pattern: Pattern::Random,
        run: |words, _| touches(words, 95, uniform),
    },
    Workload {
        name: "zipf, 5 % writes",
        pattern: Pattern::Zipf,
        run: |words, plan| touches(words, 5, |dice, _| plan.zipf(dice)),
    },
    Workload {
        name: "zipf, 95 % writes",
        pattern: Pattern::Zipf,
        run: |words, plan| touches(words, 95, |dice, _| plan.zipf(dice)),
    },
    Workload { name: "hash join", pattern: Pattern::Join, run: |words, _| join(words) },
    Workload { name: "sort", pattern: Pattern::Sort, run: |words, _| sort(words) },
];

/// What workloads choose by, made before their time is taken and outside of the memory that is measured.
pub(super) struct Plan {
    /// The sum of 1/rank of the pages up to each.
    sums: Vec<f64>,
    /// A number of pages and this have no common divisor: frequent pages are no neighbours.
    stride: usize,
}

impl Plan {
    pub(super) fn new(words: usize) -> Self {
        let pages = words / PAGE_WORDS;
        let mut sum = 0.0;
        let sums = (1..=pages).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        let has_common = |stride: usize| {
            let (mut a, mut b) = (pages, stride);
            while b > 0 {
                (a, b) = (b, a % b);
            }
            a > 1
        };
        let stride = (7919..).find(|&stride| pages <= 1 || !has_common(stride));
        Self { sums: sums.collect(), stride: stride.unwrap_or(1) }
    }

    /// A word of a page that is chosen by its rank: the n-th page 1/n as often as the first.
    fn zipf(&self, dice: u64) -> usize {
        let pages = self.sums.len();
        // 53 bits are what a fraction has.
        let fraction = (dice >> 11) as f64 / (1_u64 << 53) as f64;
        let wanted = fraction * self.sums.last().copied().unwrap_or(0.0);
        let rank = self.sums.partition_point(|&sum| sum <= wanted).min(pages - 1);
        rank * self.stride % pages * PAGE_WORDS + scaled(mix(dice), PAGE_WORDS)
    }
}

pub(super) const PAGE_WORDS: usize = 512;

/// The high bits of a product spread evenly.
pub(super) fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A number below `below`, from a fraction of 2^64.
fn scaled(fraction: u64, below: usize) -> usize {
    let product = u128::from(fraction) * below as u128;
    usize::try_from(product >> 64).unwrap_or(0)
}

fn uniform(fraction: u64, below: usize) -> usize {
    scaled(fraction, below)
}

/// All that a workload left.
pub(super) fn digest(words: &[u64]) -> u64 {
    words.iter().fold(0, |sum, &word| mix(sum ^ word).wrapping_add(word))
}

fn in_order(words: &mut [u64], add: u64) -> u64 {
    let mut sum = 0_u64;
    for word in words.iter_mut() {
        sum = sum.wrapping_mul(31).wrapping_add(*word);
        if add > 0 {
            *word = word.wrapping_add(add);
        }
    }
    sum
}

/// Four touches a page, on average.
fn touches(words: &mut [u64], write_percent: u64, pick: impl Fn(u64, usize) -> usize) -> u64 {
    let (below, mut sum) = (words.len() / PAGE_WORDS * PAGE_WORDS, 0_u64);
    for step in 0..words.len() / PAGE_WORDS * 4 {
        let dice = mix(step as u64 + 1);
        let at = pick(mix(dice), below);
        sum = sum.wrapping_mul(31).wrapping_add(words[at]);
        if dice % 100 < write_percent {
            words[at] = words[at].wrapping_add(1);
        }
    }
    sum
}

/// The first half becomes a table of open addresses; the second half looks its words up.
fn join(words: &mut [u64]) -> u64 {
    let (table, probes) = words.split_at_mut(words.len() / 2);
    table.fill(0);
    let slots = table.len();
    let keys = slots / 16;
    for key in probes[..keys].iter().map(|word| word | 1) {
        let mut at = scaled(mix(key), slots);
        while table[at] != 0 && table[at] != key {
            at = (at + 1) % slots;
        }
        table[at] = key;
    }
    let mut found = 0;
    for key in probes.iter().step_by(64).map(|word| word | 1) {
        let mut at = scaled(mix(key), slots);
        while table[at] != 0 && table[at] != key {
            at = (at + 1) % slots;
        }
        found += u64::from(table[at] == key);
    }
    found
}

fn sort(words: &mut [u64]) -> u64 {
    words.sort_unstable();
    assert!(words.is_sorted(), "a sort sorts");
    in_order(words, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_stay_inside_and_reach_every_page() {
        let below = 100 * PAGE_WORDS;
        let plan = Plan::new(below);
        let zipf = |dice, _| plan.zipf(dice);
        for pick in [&uniform as &dyn Fn(u64, usize) -> usize, &zipf] {
            let picked: Vec<usize> = (0..20_000).map(|step| pick(mix(step + 1), below)).collect();
            assert!(picked.iter().all(|&at| at < below));
            let mut pages: Vec<usize> = picked.iter().map(|at| at / PAGE_WORDS).collect();
            pages.sort_unstable();
            pages.dedup();
            assert_eq!(pages.len(), 100, "every page is touched");
        }
    }

    /// Of 1000 pages the first has 1 / 7.485 of the touches, the tenth a tenth of that.
    #[test]
    fn pages_are_as_frequent_as_zipf_says() {
        let plan = Plan::new(1000 * PAGE_WORDS);
        let mut counts = vec![0_u32; 1000];
        for step in 0..100_000 {
            counts[plan.zipf(mix(step + 1)) / PAGE_WORDS] += 1;
        }
        counts.sort_unstable_by(|one, other| other.cmp(one));
        assert!((12_800..13_900).contains(&counts[0]), "{}", counts[0]);
        assert!((1_200..1_500).contains(&counts[9]), "{}", counts[9]);
    }

    #[test]
    fn answers_and_digests_depend_on_the_data_alone() {
        let data: Vec<u64> = (0..64 * PAGE_WORDS as u64).map(mix).collect();
        let plan = Plan::new(data.len());
        for workload in &ALL {
            let [one, same, other] = [0, 0, 1].map(|change| {
                let mut words = data.clone();
                words[64 * PAGE_WORDS - 64] ^= change;
                ((workload.run)(&mut words, &plan), digest(&words))
            });
            assert_eq!(one, same, "{}", workload.name);
            assert_ne!(one.1, other.1, "{}: a bit of the data", workload.name);
        }
    }
}
