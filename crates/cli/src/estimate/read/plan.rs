//! Sizes the sample so that a pool of incompressible pages fits beside it ([`Headroom`]).

use crate::estimate::{
    config::{DEFAULT_SAMPLE, EstimateConfig, PAGE, Sampling, Unit},
    error::EstimateError,
    read::{
        discover::Discovery,
        headroom::{self, Headroom},
        spool::Room,
    },
};

/// A sample of a quarter of a million pages strays by some 0.2 %; one of leaves, eight times as much.
fn margin(unit: Unit) -> f64 {
    match unit {
        Unit::Page => 0.99,
        Unit::Leaf => 0.95,
    }
}

/// For want of address space.
const SMALLEST: u64 = 1 << 20;

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) fraction: f64,
    pub(crate) room: Room,
    /// Bytes, roughly.
    pub(crate) expected: usize,
    pub(crate) cap: u64,
    /// Excludes the default sample.
    pub(crate) bound: Option<String>,
}

impl Plan {
    pub(crate) fn new(
        config: &EstimateConfig,
        discovery: &Discovery,
        headroom: &Headroom,
    ) -> Result<Self, EstimateError> {
        let known = discovery.known_bytes;
        let margin = margin(config.unit());
        // Any page may be shared.
        let shared_pages = if config.shared { known.div_ceil(PAGE as u64) } else { 0 };
        let fits = headroom.sample_max(config.threads.get(), shared_pages);
        // The pages of a base lie beside the sample.
        let fits = if config.base.is_some() { fits / 2 } else { fits };
        let most = match config.sampling {
            Sampling::Auto => DEFAULT_SAMPLE.min(fits),
            Sampling::Fraction(_) => fits,
        };
        let wanted = match config.sampling {
            _ if discovery.has_stream() => most,
            Sampling::Auto => known.min(most),
            Sampling::Fraction(fraction) => part(known, fraction).min(most),
        };
        let cap = if headroom.addresses_bounded { addressable(wanted, config)? } else { most };
        let bound = if cap < most { "ulimit -v" } else { &headroom.bound };
        let bound = (cap < DEFAULT_SAMPLE).then(|| bound.to_owned());
        let bytes = usize::try_from(cap).unwrap_or(usize::MAX);
        let (fraction, room) = match config.sampling {
            Sampling::Auto if known <= cap => (1.0, Room::Tighten { bytes }),
            Sampling::Auto => (cap as f64 / known as f64 * margin, Room::Tighten { bytes }),
            Sampling::Fraction(fraction) => {
                let wanted = part(known, fraction);
                if wanted > cap {
                    let bound = bound.unwrap_or_else(|| headroom.bound.clone());
                    let fits = round_down(cap as f64 / known as f64 * margin);
                    let advice = format!("--sample {fits} does");
                    return Err(EstimateError::SampleTooLarge { wanted, cap, bound, advice });
                }
                (fraction, Room::Refuse { bytes })
            }
        };
        // A stream may fill the room, a sample may stray; unused reservations cost nothing.
        let expected = if discovery.has_stream() || fraction < 1.0 {
            wanted.min(cap).max(part(known, fraction))
        } else {
            known
        };
        let expected = usize::try_from(expected).unwrap_or(usize::MAX);
        Ok(Self { fraction, room, expected, cap, bound })
    }
}

fn addressable(wanted: u64, config: &EstimateConfig) -> Result<u64, EstimateError> {
    let mut sample = wanted;
    loop {
        if usize::try_from(sample).is_ok_and(|sample| headroom::holds(sample, config)) {
            return Ok(sample);
        }
        if sample <= SMALLEST {
            return Err(EstimateError::AddressSpace);
        }
        sample = (sample / 4 * 3).max(SMALLEST);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a length in memory"
)]
fn part(bytes: u64, fraction: f64) -> u64 {
    (bytes as f64 * fraction) as u64
}

/// To two significant digits; `fraction` is in (0, 1).
fn round_down(fraction: f64) -> f64 {
    let digits = 1.0 - fraction.log10().floor();
    let shift = 10f64.powf(digits);
    (fraction * shift).floor() / shift
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::config::Walk;

    fn config(sampling: Sampling) -> EstimateConfig {
        EstimateConfig {
            inputs: Vec::new(),
            codecs: Vec::new(),
            allocators: vec![pagefold_pool::Allocator::nbud()],
            limit: None,
            sampling,
            seed: 1,
            threads: std::num::NonZeroUsize::MIN,
            lifecycle: false,
            maps: false,
            shared: false,
            walk: Walk::default(),
            like: None,
            idle: None,
            base: None,
        }
    }

    fn plan(sampling: Sampling, known_bytes: u64, bytes: u64) -> Result<Plan, EstimateError> {
        plan_for(&config(sampling), known_bytes, bytes)
    }

    fn plan_for(
        config: &EstimateConfig,
        known_bytes: u64,
        bytes: u64,
    ) -> Result<Plan, EstimateError> {
        let discovery = Discovery { known_bytes, ..Discovery::default() };
        let bound = "the cgroup x".to_owned();
        let headroom = Headroom { bytes, bound, addresses_bounded: false };
        Plan::new(config, &discovery, &headroom)
    }

    #[test]
    fn a_sample_leaves_room_for_a_pool_of_it() {
        let auto = plan(Sampling::Auto, 100 << 30, 24 << 30).expect("the default always fits");
        let expected = auto.expected as u64;
        assert!(expected <= DEFAULT_SAMPLE && expected > DEFAULT_SAMPLE * 98 / 100);
        assert_eq!((auto.cap, auto.bound), (DEFAULT_SAMPLE, None));

        let tight = plan(Sampling::Auto, 100 << 30, 400 << 20).expect("the default always fits");
        let Room::Tighten { bytes } = tight.room else { panic!("{tight:?}") };
        assert!((160 << 20..180 << 20).contains(&bytes) && tight.expected <= bytes, "{tight:?}");
        assert_eq!(tight.bound.as_deref(), Some("the cgroup x"));

        let whole = plan(Sampling::Auto, 100 << 20, 400 << 20).expect("the default always fits");
        assert_eq!((whole.fraction, whole.expected), (1.0, 100 << 20));
    }

    #[test]
    fn what_is_kept_of_shared_pages_leaves_room_for_less() {
        let alone = config(Sampling::Auto);
        let shared = EstimateConfig { shared: true, ..config(Sampling::Auto) };
        let cap = |config| plan_for(config, 4 << 30, 400 << 20).expect("the default fits").cap;
        // 64 bytes for each page of 4 GiB, of which a sample takes 2.1 times.
        let less = cap(&alone) - cap(&shared);
        assert!((29 << 20..31 << 20).contains(&less), "{less}");
    }

    #[test]
    fn a_sample_that_does_not_fit_is_refused_with_one_that_does() {
        let refused = plan(Sampling::Fraction(0.2), 100 << 30, 24 << 30)
            .expect_err("20 GiB and a pool are more than 24")
            .to_string();
        assert!(refused.contains("that the cgroup x leaves"), "{refused}");
        let advised = refused
            .split("--sample ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next())
            .expect("a fraction is named");
        assert_eq!(advised, "0.11", "{refused}");
        let advised = advised.parse().expect("what is named is a number");
        plan(Sampling::Fraction(advised), 100 << 30, 24 << 30).expect("the advice fits");
    }

    #[test]
    fn what_finds_address_space_is_kept() {
        // Without a bound every request succeeds that some machine could satisfy.
        let config = config(Sampling::Auto);
        assert_eq!(addressable(10 << 20, &config).ok(), Some(10 << 20));
        let large = addressable(1 << 60, &config).expect("a smaller one");
        assert!((SMALLEST..1 << 60).contains(&large), "{large}");
    }

    #[test]
    fn advice_is_rounded_down_to_two_digits() {
        for (fraction, rounded) in [(0.999, 0.99), (0.1199, 0.11), (0.00345, 0.0034), (0.5, 0.5)] {
            assert_eq!(round_down(fraction), rounded);
        }
    }
}
