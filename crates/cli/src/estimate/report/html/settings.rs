//! The settings of a measurement: everything needed to repeat it.

use std::{ffi::OsString, time::SystemTime};

use crate::{
    bytes,
    estimate::{
        config::{DEFAULT_SAMPLE, EstimateConfig, Input, Sampling, Unit},
        report::html::date,
    },
};

#[derive(Debug)]
pub(crate) struct Settings {
    /// As a user could type it.
    pub(super) command: String,
    /// Names and values, defaults included.
    pub(super) options: Vec<(&'static str, String)>,
}

impl Settings {
    pub(crate) fn new(config: &EstimateConfig, words: impl Iterator<Item = OsString>) -> Self {
        let words = words.skip(1).map(|word| quote(&word.to_string_lossy()));
        let command = std::iter::once("pagefold".to_owned()).chain(words).collect::<Vec<_>>();
        let list = |names: Vec<String>| names.join(", ");
        let inputs = config.inputs.iter().map(|input| match input {
            Input::Stdin => "standard input".to_owned(),
            Input::Path(path) => path.display().to_string(),
            Input::List(list) => format!("the files listed in {}", list.display()),
            Input::Process(process_id) => format!("process {process_id}"),
            Input::ProcessName(name) => format!("processes called {name}"),
            Input::Cgroup(path) => format!("control group {}", path.display()),
            Input::EveryProcess => "every process".to_owned(),
        });
        let sample = match config.sampling {
            Sampling::Auto => format!("as much as {} holds", bytes::show(DEFAULT_SAMPLE)),
            Sampling::Fraction(fraction) => {
                let unit = match config.unit() {
                    Unit::Page => "page",
                    Unit::Leaf => "leaf of 64 neighbouring pages",
                };
                format!("each {unit} with probability {fraction}")
            }
        };
        let limit = config.limit.map_or_else(
            || "none: room for every page".to_owned(),
            |limit| bytes::show(limit as u64),
        );
        let lifecycle =
            if config.lifecycle { "fill, churn, free half, compact" } else { "fill only" };
        let tiers = config.idle.as_ref().map_or_else(
            || "not asked for".to_owned(),
            |idle| {
                let codecs = list(idle.codecs.iter().map(ToString::to_string).collect());
                format!("as if every page were idle: {codecs}")
            },
        );
        let base = match &config.base {
            Some(Input::Path(path)) => path.display().to_string(),
            Some(Input::Process(process_id)) => format!("process {process_id}"),
            _ => "not asked for".to_owned(),
        };
        let options = vec![
            ("Input", list(inputs.collect())),
            ("Codecs", list(config.codecs.iter().map(ToString::to_string).collect())),
            ("Allocators", list(config.allocators.iter().map(ToString::to_string).collect())),
            ("Sample", sample),
            ("Tiers", tiers),
            ("Base", base),
            ("Seed", config.seed.to_string()),
            ("Limit of each pool", limit),
            ("Threads", config.threads.to_string()),
            ("Phases", lifecycle.to_owned()),
            ("Version", format!("pagefold {}", env!("CARGO_PKG_VERSION"))),
            ("Written", date::show(SystemTime::now())),
        ];
        Self { command: command.join(" "), options }
    }
}

/// Quotes a word for a shell if necessary.
fn quote(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=,+@%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_take_them_apart() {
        for (word, quoted) in [
            ("zstd:-1", "zstd:-1"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("$x", "'$x'"),
        ] {
            assert_eq!(quote(word), quoted);
        }
    }
}
