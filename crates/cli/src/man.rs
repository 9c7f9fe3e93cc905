//! `pagefold man`: one page, with a section for each command.
//!
//! `clap_mangen` would write a page per command and reflow aligned columns. This module sets the text after the options
//! line by line, as in `--help`.

use std::io;

use clap::Command;
use clap_mangen::Man;
use roff::{Roff, roman};

use crate::{
    console::{self, OutputError},
    exit::Exit,
};

pub(crate) fn print(table: Command) -> Result<Exit, OutputError> {
    let page = page(table)?;
    console::print(&page)?;
    Ok(Exit::Success)
}

fn page(mut table: Command) -> io::Result<Vec<u8>> {
    table.build();
    let mut page = Vec::new();
    // An empty date would not be quoted, and the next field would move up.
    let man = Man::new(table.clone()).manual("User Commands").date(" ");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for command in table.get_subcommands().filter(|command| command.get_name() != "help") {
        write_command(command, &mut page)?;
    }
    write_remarks(&table, "SH", &mut page)?;
    Ok(page)
}

/// One command, with the usual parts as subsections.
fn write_command(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let mut heading = Roff::new();
    heading.control("SH", [name.to_uppercase().as_str()]);
    page.extend(heading.to_roff().into_bytes());

    let man = Man::new(command.clone());
    let mut parts = Vec::new();
    man.render_synopsis_section(&mut parts)?;
    man.render_description_section(&mut parts)?;
    man.render_options_section(&mut parts)?;
    for line in parts.split_inclusive(|&byte| byte == b'\n') {
        match line.strip_prefix(b".SH ") {
            Some(title) => {
                page.extend_from_slice(b".SS ");
                page.extend_from_slice(title);
            }
            None => page.extend_from_slice(line),
        }
    }
    write_remarks(command, "SS", page)
}

/// The text after the options. A line that ends in a colon is a heading. Indented lines stay unchanged.
fn write_remarks(command: &Command, heading: &str, page: &mut Vec<u8>) -> io::Result<()> {
    let Some(remarks) = command.get_after_long_help().or_else(|| command.get_after_help()) else {
        return Ok(());
    };
    let remarks = remarks.to_string();
    let mut text = Roff::new();
    let mut as_it_is = false;
    for line in remarks.lines() {
        let indented = line.starts_with(' ');
        if indented != as_it_is {
            text.control(if indented { "nf" } else { "fi" }, []);
            as_it_is = indented;
        }
        match line.strip_suffix(':') {
            _ if line.is_empty() => {
                text.control("PP", []);
            }
            Some(title) if !indented => {
                text.control(heading, [title.to_uppercase().as_str()]);
            }
            _ => {
                text.text([roman(line)]);
            }
        }
    }
    if as_it_is {
        text.control("fi", []);
    }
    page.extend(text.to_roff().into_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn text_of(table: Command) -> String {
        String::from_utf8(page(table).expect("memory takes it")).expect("a page is text")
    }

    #[test]
    fn every_option_of_every_command_is_on_the_page() {
        let mut table = crate::args::table();
        let text = text_of(table.clone());
        table.build();
        let commands = table.get_subcommands().filter(|command| command.get_name() != "help");
        for argument in
            commands.flat_map(Command::get_arguments).filter(|argument| !argument.is_hide_set())
        {
            let Some(name) = argument.get_long() else { continue };
            assert!(
                text.contains(&format!("\\-\\-{}", name.replace('-', "\\-"))),
                "--{name}\n{text}"
            );
        }
    }

    #[test]
    fn examples_keep_their_lines_and_nothing_in_them_is_a_command_of_roff() {
        let remarks = "Examples:\n  tool a     one\n  .so b      two\n\nThe end.";
        let tool = Command::new("tool").after_help(remarks).arg(Arg::new("x").long("x"));
        let text = text_of(tool);
        assert!(text.contains(".SH EXAMPLES\n.nf\n"), "{text}");
        assert!(text.contains("  tool a     one\n") && text.contains("\n.fi\n"), "{text}");
        assert!(text.contains("The end."), "{text}");
        assert!(!text.lines().any(|line| line.starts_with(".so")), "{text}");
    }
}
