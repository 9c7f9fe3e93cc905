//! A group's memory in a pool, and the confidence interval of a sample.
//!
//! A sample has units: pages, or leaves of an index. Unit `i` of `x_i` bytes, `p_i` payload bytes and `o_i` objects
//! takes `y_i = c * p_i + m * o_i`: `c` is frames / payload, `m` metadata / objects, of the pool or of a sample's
//! [`projection`](super::projection).
//!
//! `s = sum(y) / sum(x)` is a ratio estimator. With `d_i = y_i - s * x_i` and `n` measured units of `N`, the delta
//! method gives
//!
//! ```text
//! se(s) = sqrt((1 - n / N) * n / (n - 1) * (sum(d^2) + d_raw^2 + d_same^2)) / sum(x)
//! ```
//!
//! and `s +- (1.96 se + u s)` contains the true share in 95 % of samples. The effective ratio is `1 / s`; `s` is
//! nearly normal, `1 / s` is not.
//!
//! `n / N` is taken from the pages. `d_raw` and `d_same` belong to an incompressible and a same-filled unit: a sample
//! without either leaves room for about `3 / n` of them. `u` bounds the projection's error: see [`Cost`].
//!
//! Sources: W. G. Cochran, *Sampling Techniques*; A. Agresti and B. A. Coull, *Approximate is Better than "Exact"*.

use crate::estimate::result::{
    cost::Cost,
    interval::Interval,
    kept::{CLUSTER_PAGES, Kept},
};

const UNITS_MIN: u64 = 30;

/// A page of a cluster has one part of its object.
const OBJECT_PARTS: u64 = CLUSTER_PAGES as u64;

/// 95 % of a normal distribution.
const SIGMAS: f64 = 1.96;

/// Sums over the pages of a unit, or over units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) stored: u64,
    pub(crate) raw: u64,
    pub(crate) same_filled: u64,
    pub(crate) original_bytes: u64,
    pub(crate) payload_bytes: u64,
    object_parts: u64,
}

impl Sums {
    /// A page whose share of an object has `payload` bytes.
    pub(crate) fn count(&mut self, kept: Kept, len: u64, payload: u64) {
        match kept {
            Kept::Nothing => return,
            Kept::SameFilled(_) => self.same_filled += 1,
            Kept::Compressed(_) | Kept::Member { .. } => self.stored += 1,
            Kept::Raw(_) => self.raw += 1,
        }
        self.object_parts += match kept {
            Kept::Nothing | Kept::SameFilled(_) => 0,
            Kept::Member { .. } => 1,
            Kept::Compressed(_) | Kept::Raw(_) => OBJECT_PARTS,
        };
        self.original_bytes += len;
        self.payload_bytes += payload;
    }

    fn add(&mut self, other: &Self) {
        self.stored += other.stored;
        self.raw += other.raw;
        self.same_filled += other.same_filled;
        self.original_bytes += other.original_bytes;
        self.payload_bytes += other.payload_bytes;
        self.object_parts += other.object_parts;
    }

    pub(crate) fn pages(&self) -> u64 {
        self.stored + self.raw + self.same_filled
    }

    fn objects(&self) -> f64 {
        self.object_parts as f64 / OBJECT_PARTS as f64
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) sums: Sums,
    units: u64,
    /// At most 2^24 for each of 2^32 pages, or 2^36 for each of 2^26 leaves.
    original_squared: u64,
    payload_squared: u64,
    parts_squared: u64,
    original_by_payload: u64,
    original_by_parts: u64,
    payload_by_parts: u64,
}

impl Tally {
    /// Adds a unit; one without pages is none.
    pub(crate) fn add_unit(&mut self, unit: &Sums) {
        if unit.pages() == 0 {
            return;
        }
        self.sums.add(unit);
        self.units += 1;
        let (x, p, parts) = (unit.original_bytes, unit.payload_bytes, unit.object_parts);
        self.original_squared += x * x;
        self.payload_squared += p * p;
        self.parts_squared += parts * parts;
        self.original_by_payload += x * p;
        self.original_by_parts += x * parts;
        self.payload_by_parts += p * parts;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.sums.add(&other.sums);
        self.units += other.units;
        self.original_squared += other.original_squared;
        self.payload_squared += other.payload_squared;
        self.parts_squared += other.parts_squared;
        self.original_by_payload += other.original_by_payload;
        self.original_by_parts += other.original_by_parts;
        self.payload_by_parts += other.payload_by_parts;
    }

    pub(crate) fn pages(&self) -> u64 {
        self.sums.pages()
    }

    #[cfg(test)]
    pub(crate) fn units(&self) -> u64 {
        self.units
    }

    pub(crate) fn memory_bytes(&self, cost: Cost) -> f64 {
        cost.payload_byte * self.sums.payload_bytes as f64 + cost.object * self.sums.objects()
    }

    /// `None` without original bytes or memory.
    pub(crate) fn effective_ratio(&self, cost: Cost) -> Option<f64> {
        let (original, memory) = (self.sums.original_bytes, self.memory_bytes(cost));
        (original > 0 && memory > 0.0).then(|| original as f64 / memory)
    }

    /// The 95 % interval; `None` if all of `total_pages` were measured, or too few units.
    pub(crate) fn interval(&self, cost: Cost, total_pages: u64) -> Option<Interval> {
        let pages = self.pages();
        if self.units < UNITS_MIN || pages >= total_pages || self.sums.object_parts == 0 {
            return None;
        }
        let (n, x) = (self.units as f64, self.sums.original_bytes as f64);
        let share = self.memory_bytes(cost) / x;
        let left_out = 1.0 - pages as f64 / total_pages as f64;
        let (raw, same_filled) = missed(cost, share, (x / n, pages as f64 / n));
        let squares = self.squared_deviations(cost, share) + raw * raw + same_filled * same_filled;
        let error = (left_out * n / (n - 1.0) * squares).sqrt() / x;
        let margin = SIGMAS * error + cost.doubt * share;
        let (least, most) = (share - margin, share + margin);
        Some(Interval { low: 1.0 / most, high: (least > 0.0).then(|| 1.0 / least) })
    }

    /// `sum((c p + m o - s x)^2)`.
    fn squared_deviations(&self, Cost { payload_byte: c, object, .. }: Cost, s: f64) -> f64 {
        let m = object / OBJECT_PARTS as f64;
        let squares = c * c * self.payload_squared as f64
            + m * m * self.parts_squared as f64
            + s * s * self.original_squared as f64;
        let products = c * m * self.payload_by_parts as f64
            - c * s * self.original_by_payload as f64
            - m * s * self.original_by_parts as f64;
        // Rounding may make it negative.
        (squares + 2.0 * products).max(0.0)
    }
}

/// Of an incompressible and a same-filled unit.
fn missed(cost: Cost, share: f64, (len, objects): (f64, f64)) -> (f64, f64) {
    (cost.payload_byte * len + cost.object * objects - share * len, -share * len)
}

#[cfg(test)]
mod tests {
    use pagefold_pool::Handle;
    use rand::{RngExt as _, SeedableRng as _, seq::index};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::estimate::result::row::test_row;

    const PAGE: u64 = 4096;
    const COST: Cost = Cost { payload_byte: 1.02, object: 24.0, doubt: 0.0 };

    /// A fifth same-filled, a tenth incompressible, the rest 200 to 2800 bytes.
    fn population(pages: usize, random: &mut ChaCha8Rng) -> Vec<u64> {
        let payload = |_| match random.random_range(0..10) {
            0 | 1 => 0,
            2 => PAGE,
            _ => random.random_range(200..2800),
        };
        (0..pages).map(payload).collect()
    }

    fn tally(payloads: impl IntoIterator<Item = u64>) -> Tally {
        let handle = || Kept::Compressed(Handle::from_raw(1).expect("a word that is not 0"));
        let mut tally = Tally::default();
        for payload in payloads {
            let mut page = Sums::default();
            page.count(if payload == 0 { Kept::SameFilled(0) } else { handle() }, PAGE, payload);
            tally.add_unit(&page);
        }
        tally
    }

    #[test]
    fn the_interval_holds_the_truth_in_about_95_of_100_samples() {
        const SEED: u64 = 11;
        const ROUNDS: usize = 2000;
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let population = population(20_000, &mut random);
        let truth = tally(population.iter().copied()).effective_ratio(COST).expect("it has pages");
        for sampled in [100, 1000, 15_000] {
            let holds = (0..ROUNDS).filter(|_| {
                let chosen = index::sample(&mut random, population.len(), sampled);
                let sample = tally(chosen.into_iter().map(|page| population[page]));
                let interval = sample.interval(COST, population.len() as u64).expect("a sample");
                interval.low <= truth && interval.high.is_none_or(|high| truth <= high)
            });
            let share = holds.count() as f64 / ROUNDS as f64;
            // 2000 rounds vary by half a percent.
            assert!((0.93..=0.97).contains(&share), "{sampled} pages, seed {SEED}: {share}");
        }
    }

    #[test]
    fn the_sums_give_what_the_pages_give() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let payloads = population(500, &mut random);
        let tally = tally(payloads.iter().copied());
        let share = tally.memory_bytes(COST) / tally.sums.original_bytes as f64;
        let deviation = |&payload: &u64| {
            let objects = f64::from(u8::from(payload > 0));
            COST.payload_byte * payload as f64 + COST.object * objects - share * PAGE as f64
        };
        let expected: f64 = payloads.iter().map(|payload| deviation(payload).powi(2)).sum();
        let found = tally.squared_deviations(COST, share);
        assert!((found / expected - 1.0).abs() < 1e-9, "{found} for {expected}");
        let zero: f64 = payloads.iter().map(deviation).sum();
        assert!(zero.abs() < 1e-6, "{zero}");
    }

    #[test]
    fn more_pages_make_it_narrower_and_all_of_them_make_it_none() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let population = population(10_000, &mut random);
        let width = |pages: usize| {
            let interval = tally(population[..pages].iter().copied()).interval(COST, 10_000)?;
            Some(interval.high? - interval.low)
        };
        assert!(width(100) > width(1000) && width(1000) > width(9000), "{:?}", width(100));
        assert_eq!((width(10_000), width(29)), (None, None));
    }

    #[test]
    fn rare_pages_that_a_sample_may_miss_are_held_as_often_as_others() {
        const SEED: u64 = 12;
        const ROUNDS: usize = 2000;
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        for (rare, sampled) in [(3, 100), (3, 300), (30, 30), (30, 100), (100, 100), (100, 1000)] {
            // `rare` of a thousand pages are incompressible.
            let population: Vec<_> =
                (0..20_000).map(|page| if page % 1000 < rare { PAGE } else { 80 }).collect();
            let truth = tally(population.iter().copied()).effective_ratio(COST).expect("pages");
            let holds = (0..ROUNDS).filter(|_| {
                let chosen = index::sample(&mut random, population.len(), sampled);
                let sample = tally(chosen.into_iter().map(|page| population[page]));
                let interval = sample.interval(COST, population.len() as u64).expect("a sample");
                interval.low <= truth && interval.high.is_none_or(|high| truth <= high)
            });
            let share = holds.count() as f64 / ROUNDS as f64;
            assert!(share >= 0.91, "{rare} of 1000, {sampled} pages, seed {SEED}: {share}");
        }
    }

    #[test]
    fn pages_that_are_all_alike_leave_room_for_the_pages_that_were_not_seen() {
        let truth_with = |raw: usize| {
            let pages = (0..10_000).map(|page| if page < raw { PAGE } else { 1000 });
            tally(pages).effective_ratio(COST).expect("it has pages")
        };
        let interval = tally([1000; 100]).interval(COST, 10_000).expect("a sample");
        let high = interval.high.expect("it is bounded");
        // 37 of 100 samples miss a page in a hundred.
        assert!(interval.low < truth_with(100) && truth_with(0) < high, "{interval:?}");
        assert!(interval.low > truth_with(500), "{interval:?}");
    }

    #[test]
    fn doubt_of_the_packing_widens_to_both_sides() {
        let alike = tally([1000; 5000]);
        let ratio = alike.effective_ratio(COST).expect("it has pages");
        let interval = alike.interval(Cost { doubt: 0.01, ..COST }, 10_000).expect("a sample");
        let high = interval.high.expect("it is bounded");
        assert!(interval.low < ratio / 1.01 && high > ratio / 0.99, "{interval:?} around {ratio}");
    }

    #[test]
    fn leaves_whose_pages_are_alike_give_a_wider_interval_that_holds_as_often() {
        const SEED: u64 = 13;
        const ROUNDS: usize = 2000;
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let handle = Handle::from_raw(1).expect("a word that is not 0");
        // Each leaf has a length of its own; two pages of three lie in clusters.
        let leaf = |random: &mut ChaCha8Rng| {
            let (mut leaf, len) = (Sums::default(), random.random_range(100..3000));
            for page in 0..random.random_range(1..=64_u64) {
                let single = page % 12 < 4;
                let member = Kept::Member { handle, page: 0 };
                let kept = if single { Kept::Compressed(handle) } else { member };
                leaf.count(kept, PAGE, len + page);
            }
            leaf
        };
        let leaves: Vec<_> = (0..5000).map(|_| leaf(&mut random)).collect();
        let tally = |leaves: &mut dyn Iterator<Item = Sums>| {
            let mut tally = Tally::default();
            leaves.for_each(|leaf| tally.add_unit(&leaf));
            tally
        };
        let all = tally(&mut leaves.iter().copied());
        let truth = all.effective_ratio(COST).expect("pages");
        for sampled in [40, 300] {
            let holds = (0..ROUNDS).filter(|_| {
                let chosen = index::sample(&mut random, leaves.len(), sampled);
                let sample = tally(&mut chosen.into_iter().map(|leaf| leaves[leaf]));
                let interval = sample.interval(COST, all.pages()).expect("a sample");
                interval.low <= truth && interval.high.is_none_or(|high| truth <= high)
            });
            let share = holds.count() as f64 / ROUNDS as f64;
            assert!((0.92..=0.98).contains(&share), "{sampled} leaves, seed {SEED}: {share}");
        }
    }

    #[test]
    fn nothing_gives_nothing() {
        assert_eq!(tally([0; 50]).interval(COST, 100), None);
        assert_eq!(Tally::default().effective_ratio(COST), None);
    }

    #[test]
    fn the_parts_of_a_pool_add_up_to_the_pool() {
        let mut row = test_row("lz4", 1, 1.0);
        (row.stored, row.raw, row.objects) = (90, 10, 100);
        (row.payload_bytes, row.frame_bytes, row.metadata_bytes) = (100_000, 102_400, 4000);
        let cost = row.cost();
        let mut all = tally([1000; 60]);
        all.add(&tally([1000; 40]));
        assert_eq!(all.pages(), 100);
        assert!((all.memory_bytes(cost) - 106_400.0).abs() < 1e-6);
        row.dictionary_bytes = Some(8192);
        assert!((all.memory_bytes(row.cost()) - 114_592.0).abs() < 1e-6);
        (row.objects, row.payload_bytes) = (0, 0);
        assert_eq!(tally([1000; 40]).memory_bytes(row.cost()), 0.0);
    }
}
