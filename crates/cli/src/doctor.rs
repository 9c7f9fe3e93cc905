//! `pagefold doctor`: what of a region this machine and this process may use, one line each, and what would change it.

use std::fs;

use pagefold_region::{Region, probe_modes};

use crate::{
    console::{self, OutputError},
    exit::Exit,
};

/// A line of the answer.
struct Line {
    name: &'static str,
    good: bool,
    text: String,
}

impl Line {
    fn new(name: &'static str, good: bool, text: impl Into<String>) -> Self {
        Self { name, good, text: text.into() }
    }
}

/// The first word of a file of the system; empty if there is none.
fn setting(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().split_whitespace().next().unwrap_or("").to_owned()
}

fn lines() -> Vec<Line> {
    let mut lines: Vec<Line> = probe_modes()
        .into_iter()
        .map(|report| {
            let text = match report.remedy.as_str() {
                "" => report.reason,
                remedy => format!("{}; needed: {remedy}", report.reason),
            };
            Line::new(report.mode.name(), report.works, text)
        })
        .collect();
    lines.push(match Region::builder(1 << 20).resident_limit(1 << 20).build() {
        Ok(region) => {
            let mode = region.fault_mode();
            Line::new("auto", true, format!("a region takes mode {}", mode.mode))
        }
        Err(error) => Line::new("auto", false, error.to_string()),
    });
    let kernel = setting("/proc/sys/kernel/osrelease");
    lines.push(Line::new("kernel", !kernel.is_empty(), format!("Linux {kernel}")));
    let filtered = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let filter = filtered.lines().find_map(|line| line.strip_prefix("Seccomp:")).map(str::trim);
    lines.push(match filter {
        Some("0") => Line::new("seccomp", true, "no filter of system calls"),
        Some(_) => {
            Line::new("seccomp", true, "a filter is on; the modes above passed or failed under it")
        }
        None => Line::new("seccomp", false, "not known"),
    });
    let allowed = setting("/proc/sys/vm/unprivileged_userfaultfd");
    let text =
        format!("vm.unprivileged_userfaultfd = {allowed}: without root, mode thread needs 1");
    lines.push(Line::new("sysctl", !allowed.is_empty(), text));
    lines
}

/// Prints the lines; fails if no region can be built.
pub(crate) fn run() -> Result<Exit, OutputError> {
    let lines = lines();
    let mut text = String::new();
    for line in &lines {
        let mark = if line.good { "ok" } else { "no" };
        text.push_str(&format!("{mark}  {:8} {}\n", line.name, line.text));
    }
    console::print(text.as_bytes())?;
    let works = lines.iter().any(|line| line.name == "auto" && line.good);
    Ok(if works { Exit::Success } else { Exit::Failed })
}
