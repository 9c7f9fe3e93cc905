//! `pagefold completions SHELL`: a script that completes the command's words, made from the definitions of the arguments.

use clap_complete::Shell;

use crate::{
    console::{self, OutputError},
    exit::Exit,
};

/// Prints the script for this shell.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn print(shell: Shell, mut table: clap::Command) -> Result<Exit, OutputError> {
    let name = table.get_name().to_owned();
    let mut script = Vec::new();
    // Into memory first: the generator panics where it cannot write.
    clap_complete::generate(shell, &mut table, name, &mut script);
    console::print(&script)?;
    Ok(Exit::Success)
}
