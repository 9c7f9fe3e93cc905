//! The arguments of `pagefold spill`, which its program parses.

use std::ffi::OsString;

use clap::Args;

pub(super) const ABOUT: &str = "\
Remove spilled pages that dead stores left in a service, such as Redis or S3.

Runs `pagefold-spill` with the given arguments: the program beside this one, or else the one in PATH. It is installed by \
itself: cargo install pagefold-spill-opendal --features command.";

pub(super) const EXAMPLES: &str = "\
Examples:
  pagefold spill gc redis://localhost:6379/0
      remove what stores left there that were killed
  pagefold spill gc --dry-run --json 's3://bucket?region=eu-west-1'
      only look
  pagefold spill gc --help
      its options, and how a service is named";

pub(super) const MORE: &str =
    "The codes of `pagefold-spill` have the same meaning. What lies in a service: docs/SPILL.md.";

#[derive(Debug, Args)]
pub(super) struct SpillArgs {
    /// A command of `pagefold-spill`, with its arguments
    #[arg(
        value_name = "ARG",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(super) args: Vec<OsString>,
}
