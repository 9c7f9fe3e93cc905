//! One line of counts by reason. The JSON has the names; stderr has the first failure's.

use crate::{estimate::result::skipped::Skipped, numbers::count, printable::printable};

const REASONS_SHOWN: usize = 6;

/// `Skipped 31 inputs: 28 symbolic links, 2 sockets, Permission denied (1).`
pub(super) fn line(skipped: &[Skipped]) -> Option<String> {
    let inputs = match skipped.len() {
        0 => return None,
        1 => "1 input".to_owned(),
        several => format!("{} inputs", count(several as u64)),
    };
    let reasons = reasons_in_words(skipped);
    Some(printable(&format!("Skipped {inputs}: {reasons}; --json lists them.")))
}

/// `28 symbolic links, 2 sockets, Permission denied (1)`.
pub(super) fn reasons_in_words(skipped: &[Skipped]) -> String {
    let reasons = reasons(skipped);
    let (shown, rest) = reasons.split_at(reasons.len().min(REASONS_SHOWN));
    let mut parts: Vec<_> = shown.iter().map(|(reason, times)| phrase(reason, *times)).collect();
    if !rest.is_empty() {
        let times: u64 = rest.iter().map(|(_, times)| times).sum();
        parts.push(format!("{} for other reasons", count(times)));
    }
    parts.join(", ")
}

/// Failures first, then the most frequent.
fn reasons(skipped: &[Skipped]) -> Vec<(&str, u64)> {
    let mut reasons: Vec<(&str, bool, u64)> = Vec::new();
    for skipped in skipped {
        let reason = short(&skipped.why);
        match reasons
            .iter_mut()
            .find(|(known, failed, _)| (*known, *failed) == (reason, skipped.failed))
        {
            Some((.., times)) => *times += 1,
            None => reasons.push((reason, skipped.failed, 1)),
        }
    }
    reasons.sort_by_key(|&(_, failed, times)| (!failed, std::cmp::Reverse(times)));
    reasons.into_iter().map(|(reason, _, times)| (reason, times)).collect()
}

/// A reason without its explanation: the text before the first separator.
fn short(why: &str) -> &str {
    let end = ["; ", ", ", ": ", " (os error"].into_iter().filter_map(|stop| why.find(stop)).min();
    &why[..end.unwrap_or(why.len())]
}

/// `a socket` becomes `2 sockets`; other reasons get their number in brackets.
fn phrase(reason: &str, times: u64) -> String {
    let thing = reason.strip_prefix("a ").or_else(|| reason.strip_prefix("an "));
    // `a core file without a list` has its noun in the middle.
    match thing.filter(|thing| !thing.contains(" a ") && !thing.contains(" that ")) {
        Some(thing) if times == 1 => format!("1 {thing}"),
        Some(thing) => format!("{} {thing}s", count(times)),
        None => format!("{reason} ({})", count(times)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipped(why: &str, failed: bool) -> Skipped {
        Skipped { what: "x".to_owned(), why: why.to_owned(), failed }
    }

    #[test]
    fn skipped_inputs_are_one_line_of_counts_by_reason_failures_first() {
        let mut all = vec![skipped("a symbolic link, not followed", false); 1200];
        all.extend(vec![skipped("a socket", false); 2]);
        all.push(skipped("a kernel thread, which has no memory of its own", false));
        all.push(skipped("Permission denied (os error 13)", true));
        all.push(skipped("Permission denied (os error 13), after 3.0 MiB", true));
        let expected = "Skipped 1,205 inputs: Permission denied (2), 1,200 symbolic links, 2 sockets, \
            1 kernel thread; --json lists them.";
        assert_eq!(line(&all).as_deref(), Some(expected));
        assert_eq!(line(&[]), None);
        let one =
            line(&[skipped("a FIFO; its content can be piped to `pagefold estimate -`", true)]);
        assert_eq!(one.as_deref(), Some("Skipped 1 input: 1 FIFO; --json lists them."));
    }

    #[test]
    fn many_reasons_are_summed_up_and_cannot_write_on_the_screen() {
        let all: Vec<_> =
            (0..9).map(|number| skipped(&format!("why {number}\u{1b}[2J"), false)).collect();
        let line = line(&all).expect("nine were skipped");
        assert!(line.contains("why 5\u{fffd}[2J (1), 3 for other reasons;"), "{line}");
        assert!(!line.contains('\u{1b}') && line.lines().count() == 1, "{line}");
    }
}
