//! Tests of drawing.

use super::*;

#[test]
fn linear_ticks_are_round_and_few() {
    for (max, ticks) in [
        (1.0, vec![0.0, 0.5, 1.0]),
        (4.6, vec![0.0, 2.0, 4.0]),
        (1000.0, vec![0.0, 500.0, 1000.0]),
        (0.0, vec![0.0, 0.5, 1.0]),
    ] {
        assert_eq!(Scale::up_to(max).ticks(), ticks, "{max}");
    }
    let density = Scale::between(0.9, 1.0);
    assert_eq!(density.ticks().len(), 3, "{:?}", density.ticks());
    for wrong in [f64::NAN, f64::INFINITY, f64::MAX, -1.0] {
        assert_eq!(Scale::up_to(wrong).ticks(), [0.0, 0.5, 1.0], "{wrong}");
    }
    let mebibytes = |number: f64| number * f64::from(1 << 20);
    assert_eq!(Scale::bytes_up_to(mebibytes(35.0)).ticks(), [0.0, 10.0, 20.0, 30.0].map(mebibytes));
    assert_eq!(Scale::bytes_up_to(0.0).ticks()[0], 0.0);
}

#[test]
fn a_logarithmic_scale_holds_its_values_and_has_few_ticks() {
    for (min, max) in [(0.04, 0.05), (0.3, 21.0), (1.0, 1.0), (0.02, 60e6), (2.0, 5.0)] {
        let scale = Scale::log(min, max);
        let Scale::Log { from, to } = scale else { panic!("it is logarithmic") };
        assert!(from <= min * 1.001 && to > max, "{scale:?} for {min}..{max}");
        let ticks = scale.ticks();
        assert!((2..=7).contains(&ticks.len()), "{ticks:?}");
        assert!(scale.at(min) < scale.at(max) || min == max);
    }
}

#[test]
fn labels_of_an_axis_do_not_touch_and_its_ends_are_told() {
    let scale = Scale::log(1.2, 90.0);
    let label = |tick: f64| (scale.at(tick), format!("{} µs", trimmed(tick)));
    let labels = apart(scale.ticks().into_iter().map(label).collect());
    let names: Vec<_> = labels.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["1 µs", "2 µs", "5 µs", "10 µs", "20 µs", "100 µs"], "50 has no room");
    // 100 and 500 are 0.7 of a decade apart, in five: 39 of 279 pixels, and each label takes 41.
    let wide = Scale::log(0.6, 40_000.0);
    let label = |tick: f64| (wide.at(tick), format!("{} µs", trimmed(tick)));
    let labels = apart(vec![100.0, 500.0, 50_000.0].into_iter().map(label).collect());
    let names: Vec<_> = labels.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["100 µs", "50000 µs"]);
    assert_eq!(apart(Vec::new()), []);
    assert_eq!(apart(vec![(0.0, "0".to_owned())]).len(), 1);
}

#[test]
fn places_stay_inside() {
    for scale in [Scale::up_to(4.0), Scale::log(1.0, 10.0)] {
        for value in [-1.0, 0.0, 1.0, 3.0, 1e12, f64::INFINITY] {
            assert!((0.0..=100.0).contains(&scale.at(value)), "{value}: {}", scale.at(value));
        }
    }
}

#[test]
fn numbers_are_short_and_always_numbers() {
    for (number, text) in [
        (0.0, "0"),
        (12.5, "12.5"),
        (33.333, "33.33"),
        (100.0, "100"),
        (f64::NAN, "0"),
        (-5.5, "-5.5"),
    ] {
        assert_eq!(trimmed(number), text);
    }
}
