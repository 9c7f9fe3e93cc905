//! A group's memory in a pool, and the confidence interval of a sample.
//!
//! Page `i` of `x_i` bytes, `p_i` payload bytes and `o_i` objects (0 or 1) takes `y_i = c * p_i + m * o_i`: `c` is
//! frames / payload, `m` metadata / objects, of the pool or of a sample's [`projection`](super::projection).
//!
//! `s = sum(y) / sum(x)` is a ratio estimator. With `d_i = y_i - s * x_i` and `n` measured pages of `N`, the delta
//! method gives
//!
//! ```text
//! se(s) = sqrt((1 - n / N) * n / (n - 1) * (sum(d^2) + d_raw^2 + d_same^2)) / sum(x)
//! ```
//!
//! and `s +- (1.96 se + u s)` contains the true share in 95 % of samples. The effective ratio is `1 / s`; `s` is
//! nearly normal, `1 / s` is not.
//!
//! `d_raw` and `d_same` belong to an incompressible and a same-filled page: a sample without either leaves room for
//! about `3 / n` of them. `u` bounds the projection's error: see [`Cost`].
//!
//! Sources: W. G. Cochran, *Sampling Techniques*; A. Agresti and B. A. Coull, *Approximate is Better than "Exact"*.

use crate::estimate::result::{cost::Cost, interval::Interval, kept::Kept};

const PAGES_MIN: u64 = 30;

/// 95 % of a normal distribution.
const SIGMAS: f64 = 1.96;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) stored: u64,
    pub(crate) raw: u64,
    pub(crate) same_filled: u64,
    pub(crate) original_bytes: u64,
    pub(crate) payload_bytes: u64,
    /// Of pages stored as objects.
    object_bytes: u64,
    /// At most 2^24 for each of 2^32 pages.
    original_squared: u64,
    payload_squared: u64,
    original_by_payload: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, kept: Kept, len: u64, payload: u64) {
        match kept {
            Kept::Nothing => return,
            Kept::SameFilled(_) => self.same_filled += 1,
            Kept::Compressed(_) => self.stored += 1,
            Kept::Raw(_) => self.raw += 1,
        }
        self.original_bytes += len;
        self.payload_bytes += payload;
        if kept.handle().is_some() {
            self.object_bytes += len;
        }
        self.original_squared += len * len;
        self.payload_squared += payload * payload;
        self.original_by_payload += len * payload;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.stored += other.stored;
        self.raw += other.raw;
        self.same_filled += other.same_filled;
        self.original_bytes += other.original_bytes;
        self.payload_bytes += other.payload_bytes;
        self.object_bytes += other.object_bytes;
        self.original_squared += other.original_squared;
        self.payload_squared += other.payload_squared;
        self.original_by_payload += other.original_by_payload;
    }

    pub(crate) fn pages(&self) -> u64 {
        self.stored + self.raw + self.same_filled
    }

    fn objects(&self) -> u64 {
        self.stored + self.raw
    }

    pub(crate) fn memory_bytes(&self, cost: Cost) -> f64 {
        cost.payload_byte * self.payload_bytes as f64 + cost.object * self.objects() as f64
    }

    /// `None` without original bytes or memory.
    pub(crate) fn effective_ratio(&self, cost: Cost) -> Option<f64> {
        let memory = self.memory_bytes(cost);
        (self.original_bytes > 0 && memory > 0.0).then(|| self.original_bytes as f64 / memory)
    }

    /// The 95 % interval; `None` if all or too few of `total_pages` were measured.
    pub(crate) fn interval(&self, cost: Cost, total_pages: u64) -> Option<Interval> {
        let pages = self.pages();
        if pages < PAGES_MIN || pages >= total_pages || self.objects() == 0 {
            return None;
        }
        let (n, x) = (pages as f64, self.original_bytes as f64);
        let share = self.memory_bytes(cost) / x;
        let left_out = 1.0 - n / total_pages as f64;
        let (raw, same_filled) = missed(cost, share, x / n);
        let squares = self.squared_deviations(cost, share) + raw * raw + same_filled * same_filled;
        let error = (left_out * n / (n - 1.0) * squares).sqrt() / x;
        let margin = SIGMAS * error + cost.doubt * share;
        let (least, most) = (share - margin, share + margin);
        Some(Interval { low: 1.0 / most, high: (least > 0.0).then(|| 1.0 / least) })
    }

    /// `sum((c p + m o - s x)^2)`; `o` is its own square, and `p` is 0 where `o` is.
    fn squared_deviations(&self, Cost { payload_byte: c, object: m, .. }: Cost, s: f64) -> f64 {
        let squares = c * c * self.payload_squared as f64
            + m * m * self.objects() as f64
            + s * s * self.original_squared as f64;
        let products = c * m * self.payload_bytes as f64
            - c * s * self.original_by_payload as f64
            - m * s * self.object_bytes as f64;
        // Rounding may make it negative.
        (squares + 2.0 * products).max(0.0)
    }
}

/// Of an incompressible and a same-filled page.
fn missed(cost: Cost, share: f64, len: f64) -> (f64, f64) {
    (cost.payload_byte * len + cost.object - share * len, -share * len)
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
            tally.count(if payload == 0 { Kept::SameFilled(0) } else { handle() }, PAGE, payload);
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
        let share = tally.memory_bytes(COST) / tally.original_bytes as f64;
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
    fn nothing_gives_nothing() {
        assert_eq!(tally([0; 50]).interval(COST, 100), None);
        assert_eq!(Tally::default().effective_ratio(COST), None);
    }

    #[test]
    fn the_parts_of_a_pool_add_up_to_the_pool() {
        let mut row = test_row("lz4", 1, 1.0);
        (row.stored, row.raw) = (90, 10);
        (row.payload_bytes, row.frame_bytes, row.metadata_bytes) = (100_000, 102_400, 4000);
        let cost = row.cost();
        let mut all = tally([1000; 60]);
        all.add(&tally([1000; 40]));
        assert_eq!(all.pages(), 100);
        assert!((all.memory_bytes(cost) - 106_400.0).abs() < 1e-6);
        row.dictionary_bytes = Some(8192);
        assert!((all.memory_bytes(row.cost()) - 114_592.0).abs() < 1e-6);
        (row.stored, row.raw, row.payload_bytes) = (0, 0, 0);
        assert_eq!(tally([1000; 40]).memory_bytes(row.cost()), 0.0);
    }
}
