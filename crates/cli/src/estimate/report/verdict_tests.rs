//! Tests of the sentences.

use super::*;
use crate::estimate::{
    report::test_report,
    result::{
        clusters::{Clusters, Groups},
        dictionary_note::DictionaryNote,
        interval::Interval,
        row::test_row,
    },
};

#[test]
fn the_densest_fill_speaks_and_the_fastest_is_named_beside_it() {
    let rows = vec![
        test_row("lz4", 400, 1.0),
        test_row("zstd:-1", 260, 2.0),
        test_row("zstd:1", 300, 4.0),
    ];
    assert_eq!(
        savings(&test_report(rows, 1200, 1200)),
        [
            "1.2 GiB would fit in 260.0 MiB (zstd:-1, nbud): 4.6x smaller.",
            "Fastest to load: lz4, nbud, 1.0 us a page (p50), in 400.0 MiB."
        ]
    );
}

#[test]
fn idle_pages_give_a_sentence_of_their_own_and_never_the_verdict() {
    let idle = |mebibytes| {
        let mut row = test_row("balanced+idle", mebibytes, 9.0);
        let groups = Groups { clusters: 50_000, not_shorter: 1, too_long: 700 };
        row.clusters = Some(Clusters::new("dense", groups, 4096));
        row
    };
    let report = test_report(vec![test_row("lz4", 400, 1.0), idle(200)], 1200, 1200);
    assert_eq!(
        savings(&report),
        [
            "1.2 GiB would fit in 400.0 MiB (lz4, nbud): 3.0x smaller.",
            "If every page were idle: 200.0 MiB (balanced+idle, nbud), 6.0x smaller."
        ]
    );
    assert_eq!(
        tiers(&report).collect::<Vec<_>>(),
        [
            "balanced+idle, nbud: as if every page were idle. 200,000 of 307,200 pages in 50,000 clusters of four, with dense; 1 group of four would save too little; 700 groups of four would be longer than 4.0 KiB, the longest object of nbud. The others stay alone."
        ]
    );
    let whole = savings(&test_report(vec![test_row("lz4", 400, 1.0), idle(200)], 1200, 12_000));
    assert!(
        whole.contains(
            &"If every page were idle: about 2.0 GiB (balanced+idle, nbud), 6.0x smaller."
                .to_owned()
        ),
        "{whole:?}"
    );
    let small = savings(&test_report(vec![idle(1195)], 1200, 1200));
    assert_eq!(small, ["If every page were idle: 1.2 GiB (balanced+idle, nbud)."]);
}

#[test]
fn a_dictionary_says_whose_it_is_and_why() {
    let mut report = test_report(Vec::new(), 1, 1);
    let trial = Trial { pages: 200, length: 0.93, time: 0.99 };
    let note = |dictionary, bytes, why: Option<&str>, trial| DictionaryNote {
        codec: "balanced".to_owned(),
        dictionary,
        bytes,
        trained_pages: 800,
        why_none: why.map(str::to_owned),
        trial,
    };
    report.input.dictionaries = vec![
        note(Some(Origin::Trained), Some(10_240), None, Some(trial)),
        note(Some(Origin::BuiltIn), None, Some("it does not win"), Some(trial)),
        note(Some(Origin::BuiltIn), None, Some("too few"), None),
        note(Some(Origin::Trained), Some(10_240), None, None),
        note(None, None, Some("none helps"), None),
    ];
    let said: Vec<_> = dictionaries(&report.input).collect();
    let parts = [
        "the store's own dictionary, trained on 800 pages (on 200 other pages 93.0 % of the length in 99 % of the time), counted with 10.0 KiB",
        "would not be adopted (on 200 other pages 93.0 %",
        "the built-in dictionary; too few.",
        "a dictionary of 10.0 KiB from 800 pages",
        "not measured, none helps.",
    ];
    assert_eq!(said.len(), parts.len());
    for (said, part) in said.iter().zip(parts) {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_sample_is_scaled_up_and_says_how_it_was_chosen() {
    let report = test_report(vec![test_row("lz4", 300, 1.0)], 1200, 12_000);
    assert_eq!(
        savings(&report),
        [
            "The whole 11.7 GiB would fit in about 2.9 GiB (lz4, nbud): 4.0x smaller.\nThe sample of 1.2 GiB fits in 300.0 MiB."
        ]
    );
    let text = sampling(&report.input);
    assert!(
        text.contains("10.0 %") && text.contains("seed 1") && text.contains("at most 1.0 GiB"),
        "{text}"
    );
}

#[test]
fn a_sample_that_memory_bounds_says_what_bounds_it() {
    let mut report = test_report(vec![test_row("lz4", 300, 1.0)], 170, 12_000);
    report.input.sample_max = 171 << 20;
    report.input.sample_bound = Some("the cgroup /sys/fs/cgroup/x".to_owned());
    let text = sampling(&report.input);
    let wanted = "at most 171.0 MiB is measured, for which the cgroup /sys/fs/cgroup/x leaves room";
    assert!(text.contains(wanted), "{text}");
}

#[test]
fn an_interval_says_whose_it_is() {
    let sampled = |allocator: &str| {
        let mut row = test_row("lz4", 300, 1.0);
        row.allocator = allocator.to_owned();
        row.effective_ratio_95 = Some(Interval { low: 3.0, high: Some(4.0) });
        row
    };
    let shown = |report: &EstimateReport| confidence(report).map(|text| text.replace(TIE, " "));
    let text = shown(&test_report(vec![sampled("nbud")], 1200, 12_000));
    assert!(text.is_some_and(|text| text.ends_with(": lz4 3.00 to 4.00.")));
    let rows = vec![sampled("nbud"), sampled("zbud")];
    let text = shown(&test_report(rows, 1200, 12_000)).expect("two intervals");
    assert!(text.ends_with(": lz4 with nbud 3.00 to 4.00, lz4 with zbud 3.00 to 4.00."), "{text}");
}

#[test]
fn what_does_not_pay_is_said_to_be_so() {
    let text = savings(&test_report(vec![test_row("lz4", 1190, 1.0)], 1200, 1200)).join(" ");
    assert!(text.contains("compression would not save memory on this input."), "{text}");

    let mut tiny = test_row("lz4", 1, 1.0);
    (tiny.original_bytes, tiny.metadata_bytes, tiny.effective_ratio) = (300 << 10, 2 << 20, 0.1);
    let text = savings(&test_report(vec![tiny], 1, 1)).join(" ");
    assert!(text.contains("too small an input"), "{text}");

    let mut scattered = test_row("lz4", 1190, 1.0);
    scattered.density = 0.2;
    let text = savings(&test_report(vec![scattered], 1200, 1200)).join(" ");
    assert!(text.contains("too small an input"), "{text}");
}

#[test]
fn a_run_that_was_stopped_or_not_checked_gives_no_verdict() {
    let mut limited = test_row("lz4", 400, 1.0);
    limited.limit_reached = true;
    let mut unchecked = test_row("zstd:1", 400, 1.0);
    unchecked.verified = false;
    let mut cut = test_row("zstd:3", 400, 1.0);
    cut.interrupted = true;
    let report = test_report(vec![limited, unchecked, cut], 2400, 2400);
    assert!(savings(&report).is_empty());
    let stops: Vec<_> = stops(&report).collect();
    assert_eq!(stops.len(), 2, "{stops:?}");
    assert!(
        stops[0].contains("limit of 2.0 GiB was reached") && stops[0].contains("of 2.3 GiB"),
        "{}",
        stops[0]
    );
    assert!(stops[1].contains("interrupted"), "{}", stops[1]);
}
