//! `pagefold completions SHELL`, generated from the arguments' definitions.

use clap_complete::Shell;

use crate::{
    console::{self, OutputError},
    exit::Exit,
};

pub(crate) fn print(shell: Shell, mut table: clap::Command) -> Result<Exit, OutputError> {
    let name = table.get_name().to_owned();
    let mut script = Vec::new();
    // Into memory: the generator panics when a write fails.
    clap_complete::generate(shell, &mut table, name, &mut script);
    console::print(&script)?;
    Ok(Exit::Success)
}
