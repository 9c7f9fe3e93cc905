//! Runs `pagefold estimate` and reads its JSON.

use std::{
    ffi::OsString,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use serde::Deserialize;

use crate::{error::XtaskError, workspace::show};

const CODECS: &[&str] = &["lz4", "zstd:-1", "zstd:1"];

#[derive(Debug, Deserialize)]
pub(super) struct Report {
    pub(super) runs: Vec<Run>,
}

/// One codec and allocator after one phase.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Run {
    pub(super) codec: String,
    pub(super) allocator: String,
    pub(super) phase: Phase,
    /// Live pages, with same-filled ones.
    pub(super) pages: u64,
    pub(super) same_filled: u64,
    pub(super) frame_bytes: u64,
    pub(super) metadata_bytes: u64,
    /// Missing in the first version of the report.
    #[serde(default)]
    pub(super) idle_frame_bytes: u64,
    pub(super) density: f64,
    pub(super) rss_delta_bytes: i64,
    pub(super) verified: bool,
    /// Missing in the first version of the report.
    #[serde(default)]
    pub(super) limit_reached: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    Fill,
    Churn,
    HalfFreed,
    Compacted,
}

impl Run {
    /// Same-filled pages take no pool memory.
    pub(super) fn objects(&self) -> u64 {
        self.pages.saturating_sub(self.same_filled)
    }

    pub(super) fn metadata_per_object(&self) -> Option<f64> {
        let objects = self.objects();
        (objects > 0).then(|| self.metadata_bytes as f64 / objects as f64)
    }

    /// Growth of resident memory over the pool's own figure; `None` if that is 0.
    pub(super) fn resident_over_accounted(&self) -> Option<f64> {
        let accounted = self.frame_bytes + self.idle_frame_bytes + self.metadata_bytes;
        (accounted > 0).then(|| self.rss_delta_bytes as f64 / accounted as f64)
    }
}

/// Ends the command when `interrupted` is set.
pub(super) fn run(
    program: &Path,
    files: &[OsString],
    interrupted: &AtomicBool,
) -> Result<Report, XtaskError> {
    let mut command = Command::new(program);
    command.args(["estimate", "--lifecycle", "--json", "--quiet", "--sample", "1"]);
    // The targets are for nbud.
    command.args(["--allocator", "nbud"]);
    command.args(CODECS.iter().flat_map(|codec| ["--codec", codec])).args(files);
    let shown = show(&command);
    eprintln!("$ {shown}");
    let text = output_unless(command, interrupted)?;
    serde_json::from_str(&text).map_err(|source| XtaskError::Output { command: shown, source })
}

fn output_unless(mut command: Command, interrupted: &AtomicBool) -> Result<String, XtaskError> {
    let shown = show(&command);
    let failed = |source: io::Error| XtaskError::Start { program: shown.clone(), source };
    // A file: nothing reads during the run.
    let mut text = tempfile::tempfile().map_err(failed)?;
    let mut child = command.stdout(text.try_clone().map_err(failed)?).spawn().map_err(failed)?;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        // ORDERING: Relaxed; the flag carries no data.
        if interrupted.load(Ordering::Relaxed) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(XtaskError::Interrupted);
        }
        thread::sleep(Duration::from_millis(50));
    };
    // ORDERING: Relaxed; as above. Ctrl-C also ends the command, with partial results.
    if interrupted.load(Ordering::Relaxed) {
        return Err(XtaskError::Interrupted);
    }
    if !status.success() {
        return Err(XtaskError::Failed { command: shown, status });
    }
    let mut output = String::new();
    text.seek(SeekFrom::Start(0)).and_then(|_| text.read_to_string(&mut output)).map_err(failed)?;
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn the_documented_form_is_read() {
        let text = r#"{"version":1,"input":{"bytes":8192,"pages":2,"same_filled":1,"skipped":[]},"runs":[{"codec":"lz4",
            "allocator":"nbud","phase":"half_freed","pages":2,"stored":1,"raw":0,"same_filled":1,"payload_bytes":1000,
            "frame_bytes":4096,"metadata_bytes":48,"density":0.25,"effective_ratio":2.0,"rss_delta_bytes":-4096,
            "moved_bytes":0,"store_us":{"p50":1,"p99":2,"mean":1},"load_us":{"p50":1,"p99":2,"mean":1},
            "verified":true}]}"#;
        let report: Report = serde_json::from_str(text).unwrap();
        let run = &report.runs[0];
        assert_eq!(
            (run.phase, run.objects(), run.metadata_per_object()),
            (Phase::HalfFreed, 1, Some(48.0))
        );
        assert!(run.resident_over_accounted().unwrap() < 0.0);
        let all_same = Run { same_filled: 2, frame_bytes: 0, metadata_bytes: 0, ..run.clone() };
        assert_eq!(
            (all_same.metadata_per_object(), all_same.resident_over_accounted()),
            (None, None)
        );
    }

    #[test]
    fn output_failure_and_interruption_differ() {
        let quiet = AtomicBool::new(false);
        assert_eq!(output_unless(shell("echo yes"), &quiet).unwrap(), "yes\n");
        assert!(matches!(output_unless(shell("exit 4"), &quiet), Err(XtaskError::Failed { .. })));
        // Killed, or it outlasts any test.
        let interrupted = AtomicBool::new(true);
        assert!(matches!(
            output_unless(shell("exec sleep 86400"), &interrupted),
            Err(XtaskError::Interrupted)
        ));
    }
}
