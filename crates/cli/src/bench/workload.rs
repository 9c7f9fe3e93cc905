//! How programs use memory. Each workload is a function of the data alone, so its answer is the same wherever the data lies.

/// A use of memory.
pub(super) struct Workload {
    pub(super) name: &'static str,
    /// Changes the words; its answer depends on all that it read.
    pub(super) run: fn(&mut [u64]) -> u64,
}

/// In the order of the table; the sort last, because it changes most.
pub(super) const ALL: [Workload; 8] = [
    Workload { name: "in order, read", run: |words| in_order(words, 0) },
    Workload { name: "in order, written", run: |words| in_order(words, 1) },
    Workload { name: "random, 5 % writes", run: |words| random(words, 5, uniform) },
    Workload { name: "random, 50 % writes", run: |words| random(words, 50, uniform) },
    Workload { name: "skewed, 5 % writes", run: |words| random(words, 5, skewed) },
    Workload { name: "skewed, 50 % writes", run: |words| random(words, 50, skewed) },
    Workload { name: "hash join", run: join },
    Workload { name: "sort", run: sort },
];

const PAGE_WORDS: usize = 512;

/// The high bits of a product spread evenly.
fn mix(word: u64) -> u64 {
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

/// The fourth power of a fraction: half of the touches are in the first sixteenth. Pages are then spread by a prime.
fn skewed(fraction: u64, below: usize) -> usize {
    let square = (u128::from(fraction) * u128::from(fraction)) >> 64;
    let fourth = u64::try_from((square * square) >> 64).unwrap_or(0);
    let at = scaled(fourth, below);
    let (page, word) = (at / PAGE_WORDS, at % PAGE_WORDS);
    let pages = below / PAGE_WORDS;
    (page * 7919 % pages) * PAGE_WORDS + word
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

/// Four touches a page.
fn random(words: &mut [u64], write_percent: u64, pick: fn(u64, usize) -> usize) -> u64 {
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
    fn picks_stay_inside_and_differ() {
        let below = 100 * PAGE_WORDS;
        for pick in [uniform, skewed] {
            let picked: Vec<usize> = (0..10_000).map(|step| pick(mix(step), below)).collect();
            assert!(picked.iter().all(|&at| at < below));
            let mut pages: Vec<usize> = picked.iter().map(|at| at / PAGE_WORDS).collect();
            pages.sort_unstable();
            pages.dedup();
            assert_eq!(pages.len(), 100, "every page is touched");
        }
        let hot = (0..10_000).filter(|&step| skewed(mix(step), below) < PAGE_WORDS).count();
        assert!(hot > 2_000, "{hot} touches of the hottest page");
    }

    #[test]
    fn answers_depend_on_the_data_alone() {
        let data: Vec<u64> = (0..64 * PAGE_WORDS as u64).map(mix).collect();
        for workload in &ALL {
            let answers = [0, 0, 1].map(|change| {
                let mut words = data.clone();
                words[64 * PAGE_WORDS - 64] ^= change;
                (workload.run)(&mut words)
            });
            assert_eq!(answers[0], answers[1], "{}", workload.name);
        }
    }
}
