//! The workspace, and running cargo in it.

use std::{
    env,
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
};

use serde::Deserialize;

use crate::error::XtaskError;

#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    #[serde(rename = "target_directory")]
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) targets: Vec<Target>,
    /// The registries allowed: all for `None`, none for an empty list.
    publish: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

impl Workspace {
    pub(crate) fn load() -> Result<Self, XtaskError> {
        let mut command = cargo();
        command
            .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
            .stderr(Stdio::inherit());
        let shown = show(&command);
        serde_json::from_str(&output(command)?)
            .map_err(|source| XtaskError::Output { command: shown, source })
    }

    pub(crate) fn published_libraries(&self) -> Vec<&str> {
        let may_publish =
            |package: &&Package| package.publish.as_ref().is_none_or(|to| !to.is_empty());
        let has_library = |package: &&Package| {
            package.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "lib"))
        };
        let published = self.packages.iter().filter(may_publish).filter(has_library);
        published.map(|package| package.name.as_str()).collect()
    }

    pub(crate) fn targets(&self, kind: &str) -> Vec<(&str, &str)> {
        let mut found = Vec::new();
        for package in &self.packages {
            for target in &package.targets {
                if target.kind.iter().any(|other| other == kind) {
                    found.push((package.name.as_str(), target.name.as_str()));
                }
            }
        }
        found
    }
}

pub(crate) fn corpus_directory() -> Result<PathBuf, XtaskError> {
    Ok(Workspace::load()?.root.join("corpus"))
}

pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

pub(crate) fn run(command: Command) -> Result<(), XtaskError> {
    let shown = show(&command);
    let status = status(command)?;
    if status.success() { Ok(()) } else { Err(XtaskError::Failed { command: shown, status }) }
}

pub(crate) fn status(mut command: Command) -> Result<ExitStatus, XtaskError> {
    let shown = show(&command);
    eprintln!("$ {shown}");
    command.status().map_err(|source| XtaskError::Start { program: shown, source })
}

pub(crate) fn output(mut command: Command) -> Result<String, XtaskError> {
    let shown = show(&command);
    let output =
        command.output().map_err(|source| XtaskError::Start { program: shown.clone(), source })?;
    if !output.status.success() {
        return Err(XtaskError::Failed { command: shown, status: output.status });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(crate) fn flags(variable: &str, more: &str) -> String {
    match env::var(variable) {
        Ok(flags) if !flags.is_empty() => format!("{flags} {more}"),
        _ => more.to_owned(),
    }
}

/// GCC marks zstd's constant tables dead at the end of their scope, so AddressSanitizer would report their next use.
pub(crate) const ASAN_C_FLAGS: &str = "-fno-sanitize-address-use-after-scope";

/// Without a choice, all known names.
pub(crate) fn choose<'a>(
    what: &'static str,
    known: &[&'a str],
    chosen: &[String],
) -> Result<Vec<&'a str>, XtaskError> {
    if known.is_empty() {
        return Err(XtaskError::Nothing { what });
    }
    if chosen.is_empty() {
        return Ok(known.to_vec());
    }
    let find = |name: &String| {
        let found = known.iter().find(|known| **known == name.as_str());
        found.copied().ok_or_else(|| XtaskError::Unknown {
            what,
            name: name.clone(),
            known: known.join(", "),
        })
    };
    chosen.iter().map(find).collect()
}

pub(crate) fn show(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!("{}={}", name.display(), quote(&value.to_string_lossy())));
        }
    }
    let program = PathBuf::from(command.get_program());
    words.push(program.file_name().unwrap_or_default().display().to_string());
    words.extend(command.get_args().map(|argument| quote(&argument.to_string_lossy())));
    words.join(" ")
}

fn quote(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_=./:,+@".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_typed() {
        let mut command = Command::new("/somewhere/cargo");
        command.args(["test", "-p", "it's", ""]).env("RUSTFLAGS", "--cfg loom");
        assert_eq!(show(&command), r"RUSTFLAGS='--cfg loom' cargo test -p 'it'\''s' ''");
    }

    #[test]
    fn names_are_chosen_or_refused() {
        let known = ["a", "b", "c"];
        assert_eq!(choose("letter", &known, &[]).unwrap(), known);
        assert_eq!(choose("letter", &known, &["c".into(), "a".into()]).unwrap(), ["c", "a"]);
        let error = choose("letter", &known, &["d".into()]).unwrap_err().to_string();
        assert_eq!(error, "no letter is called `d`; there are: a, b, c");
        assert!(matches!(choose("letter", &[], &[]), Err(XtaskError::Nothing { what: "letter" })));
    }

    #[test]
    fn targets_are_found_by_kind() {
        let text = r#"{"workspace_root":"/r","target_directory":"/t","packages":[{"name":"p","targets":[
            {"name":"p","kind":["lib"]},{"name":"loom","kind":["test"]},{"name":"fast","kind":["bench"]}]}]}"#;
        let workspace: Workspace = serde_json::from_str(text).unwrap();
        assert_eq!(workspace.targets("test"), [("p", "loom")]);
        assert!(workspace.targets("example").is_empty());
    }

    #[test]
    fn a_command_that_fails_is_named() {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 7"]);
        let error = run(command).unwrap_err().to_string();
        assert!(error.contains("sh -c 'exit 7'") && error.contains('7'), "{error}");
    }
}
