//! The arguments as a whole.

use std::path::PathBuf;

use pagefold_pool::Allocator;

use super::{stop::one_line, *};
use crate::estimate::config::{EstimateConfig, Input, Sampling};

fn config(args: &[&str]) -> EstimateConfig {
    let args = ["pagefold", "estimate"].iter().chain(args).map(OsString::from);
    match parse(args).expect("these arguments are right") {
        Command::Estimate { config, .. } => config,
        other => panic!("{other:?}"),
    }
}

#[test]
fn clap_finds_no_contradiction_in_the_definitions() {
    table().debug_assert();
}

#[test]
fn defaults_are_the_documented_ones() {
    let config = config(&["."]);
    assert_eq!(
        config.codecs.iter().map(ToString::to_string).collect::<Vec<_>>(),
        estimate::DEFAULT_CODECS
    );
    assert_eq!(config.allocators, [Allocator::nbud()]);
    assert_eq!((config.sampling, config.seed, config.threads.get()), (Sampling::Auto, 1, 1));
    assert_eq!((config.limit, config.lifecycle), (None, false));
}

#[test]
fn a_lifecycle_compares_all_allocators_unless_some_are_named() {
    assert_eq!(config(&["--lifecycle", "."]).allocators, Allocator::ALL);
    for allocator in Allocator::ALL {
        let named = config(&["--lifecycle", "--allocator", allocator.name(), "."]);
        assert_eq!(named.allocators, [*allocator]);
    }
}

#[test]
fn help_names_every_allocator() {
    let mut table = table();
    let estimate = table.find_subcommand_mut("estimate").expect("it is a command");
    let help = estimate.render_long_help().to_string();
    for allocator in Allocator::ALL {
        assert!(help.contains(allocator.name()), "`{allocator}` is missing:\n{help}");
    }
}

#[test]
fn standard_input_counts_once() {
    let path = |name: &str| Input::Path(PathBuf::from(name));
    assert_eq!(config(&["-", "a", "-", "./-"]).inputs, [Input::Stdin, path("a"), path("./-")]);
}

#[test]
fn processes_stand_instead_of_paths() {
    let processes = config(&["--pid", "7", "--maps", "--pid", "4194304"]);
    assert_eq!(processes.inputs, [Input::Process(7), Input::Process(1 << 22)]);
    assert!(processes.maps);
    assert_eq!(config(&["--all"]).inputs, [Input::EveryProcess]);
    for wrong in [
        &["--pid", "7", "."][..],
        &["--all", "."],
        &["--all", "--pid", "7"],
        &["--maps"],
        &["--shared", "."],
    ] {
        let args = ["pagefold", "estimate"].iter().chain(wrong).map(OsString::from);
        assert!(parse(args).is_err(), "{wrong:?}");
    }
    let named = config(&["--pid", "redis-server", "--cgroup", "/a", "--shared"]);
    let name = Input::ProcessName("redis-server".to_owned());
    assert_eq!(named.inputs, [name, Input::Cgroup("/a".into())]);
    assert!(named.shared);
}

#[test]
fn a_dictionary_is_measured_beside_each_codec_that_takes_one() {
    let names =
        |args: &[&str]| config(args).codecs.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        names(&["--dictionary", "."]),
        ["lz4", "zstd:-1", "zstd:-1+dict", "zstd:1", "zstd:1+dict", "balanced"]
    );
    assert_eq!(names(&["--codec", "zstd:3+dict", "."]), ["zstd:3+dict"]);
    let args = ["pagefold", "estimate", "--dictionary", "--codec", "lz4", "."].map(OsString::from);
    assert!(parse(args).is_err(), "nothing takes one");
}

#[test]
fn tiers_are_those_of_the_named_codecs_or_of_the_default_one() {
    let idle = |args: &[&str]| {
        let idle = config(args).idle.expect("it was asked for");
        (idle.codecs.iter().map(ToString::to_string).collect::<Vec<_>>(), idle.allocators)
    };
    let nbud = vec![Allocator::nbud()];
    assert_eq!(idle(&["--tiers", "."]), (vec!["balanced".to_owned()], nbud.clone()));
    let named = ["--tiers", "--codec", "lz4", "--codec", "zstd:1+dict", "--allocator", "zbud", "."];
    let zbud = Allocator::ALL.iter().copied().filter(|allocator| allocator.name() == "zbud");
    let (codecs, allocators) = idle(&named);
    assert_eq!(
        (codecs, allocators),
        (vec!["lz4".to_owned(), "zstd:1+dict".to_owned()], zbud.collect())
    );
    // The kernel's allocator holds no cluster that is longer than a page.
    let like = ["--tiers", "--like", "zram", "."];
    assert_eq!(idle(&like), (vec!["balanced".to_owned()], nbud));
    assert_ne!(config(&like).allocators, [Allocator::nbud()]);
    assert_eq!(config(&["."]).idle, None);
    let args = ["pagefold", "estimate", "--tiers", "--trace", "x"].map(OsString::from);
    assert!(parse(args).is_err(), "a trace has no pages");
}

#[test]
fn no_remark_is_too_long_for_a_page_of_the_manual() {
    let table = table();
    for command in std::iter::once(&table).chain(table.get_subcommands()) {
        let remarks = command.get_after_long_help().or_else(|| command.get_after_help());
        let remarks = remarks.map(ToString::to_string).unwrap_or_default();
        for line in remarks.lines().filter(|line| line.starts_with(' ')) {
            assert!(line.chars().count() <= 71, "{}: {line}", command.get_name());
        }
    }
}

#[test]
fn every_column_of_the_tables_is_explained() {
    let headings = crate::estimate::report::headings();
    let told = |heading: &&str| !["p99", "mean", "process", "mapping"].contains(heading);
    for heading in headings.into_iter().filter(told) {
        let line = format!("\n  {} ", heading.trim_end_matches(" p50"));
        assert!(estimate_help::REMARKS.contains(&line), "`{heading}` is not explained");
    }
}

#[test]
fn every_error_is_one_line() {
    for args in [
        &["pagefold"][..],
        &["pagefold", "estimate"],
        &["pagefold", "estimate", "--bogus", "x"],
        &["pagefold", "fold"],
    ] {
        let Err(Stop(error)) = parse(args.iter().map(OsString::from)) else {
            panic!("{args:?} is wrong")
        };
        let line = one_line(&error);
        assert!(!line.contains('\n') && line.len() > 20, "{line}");
    }
}
