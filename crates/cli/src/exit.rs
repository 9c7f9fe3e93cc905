//! Exit codes: one table for all commands. Each command's error converts into an [`Exit`].

use std::process::ExitCode;

/// The table in `--help`, the manual page and `docs/`.
pub(crate) const CODES: &str = "\
Exit codes:
  0    done, and everything checked is right
  1    failed: nothing could be read, measured or printed
  2    invalid arguments: an option, a limit, a trace or an output
       file cannot be used, and nothing was done
  3    incomplete: an input was missing or could not be read
  4    an allocator failed: contents, accounts or an answer are wrong
  5    an allocator stalled: nothing was finished for a minute
  6    an injected bug was not caught
  130  interrupted; the report holds what was measured";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command did everything requested, without findings.
    Success,
    /// Nothing could be read, measured or printed.
    Failed,
    /// Invalid arguments or files; the command did nothing.
    Usage,
    /// An input is missing or unreadable; the report lacks it.
    Partial,
    /// A page read back with other content, or torture found an error.
    Wrong,
    /// No operation finished for a long time.
    Stalled,
    Missed,
    /// Ctrl-C or a request to terminate.
    Interrupted,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partial => 3,
            Self::Wrong => 4,
            Self::Stalled => 5,
            Self::Missed => 6,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_code_once_and_in_order() {
        let all = [
            Exit::Success,
            Exit::Failed,
            Exit::Usage,
            Exit::Partial,
            Exit::Wrong,
            Exit::Stalled,
            Exit::Missed,
            Exit::Interrupted,
        ];
        let listed = CODES.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok());
        assert_eq!(all.map(Exit::code).to_vec(), listed.collect::<Vec<u8>>());
    }
}
