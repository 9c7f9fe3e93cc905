//! A child process as a source of heap pages: it builds its heap, is stopped, read and killed.
//!
//! The programs in `programs/` take the resident bytes to reach and a seed, print `ready PID`, and wait for the end
//! of standard input, so they never outlive this command.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use pagefold_procfs::{Pagemap, Process, ProcessMemory, maps, status};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{
    error::ClassError,
    page_file::{PAGE_BYTES, Page, PageFile, even_sample},
};

const READY_LIMIT: Duration = Duration::from_secs(600);
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A child process, killed when it is dropped.
pub(super) struct LiveProcess {
    program: &'static str,
    child: Child,
    /// The child, or the process that its wrapper script started.
    pid: u32,
    directory: TempDir,
}

impl LiveProcess {
    pub(super) fn start(
        program: &'static str,
        mut command: Command,
        directory: TempDir,
    ) -> Result<Self, ClassError> {
        let messages = directory.path().join("stderr");
        let stderr =
            File::create(&messages).map_err(|source| ClassError::Io { path: messages, source })?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|source| ClassError::Start { program, source })?;
        let pid = child.id();
        Ok(Self { program, child, pid, directory })
    }

    pub(super) fn wait_ready(mut self) -> Result<Self, ClassError> {
        let stdout =
            self.child.stdout.take().expect("standard output was made a pipe at the start");
        let program = self.program;
        match first_line(stdout).recv_timeout(READY_LIMIT) {
            Ok(Ok(line)) if !line.is_empty() => {
                let pid = line.strip_prefix("ready ").and_then(|pid| pid.trim_end().parse().ok());
                let expected = "`ready PID`";
                self.pid = pid.ok_or(ClassError::Protocol { program, answer: line, expected })?;
                Ok(self)
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                Err(ClassError::Timeout { program, limit: READY_LIMIT })
            }
            _ => Err(self.ended()),
        }
    }

    /// Its status and its last message.
    pub(super) fn ended(&mut self) -> ClassError {
        let program = self.program;
        let _ = self.child.kill();
        match self.child.wait() {
            Ok(status) => ClassError::Ended { program, status, message: self.last_message() },
            Err(source) => ClassError::Start { program, source },
        }
    }

    pub(super) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }

    fn last_message(&self) -> String {
        let read = |name: &str| -> io::Result<String> {
            let mut text = String::new();
            File::open(self.directory.path().join(name))?
                .take(1 << 20)
                .read_to_string(&mut text)?;
            Ok(text)
        };
        let text = read("stderr").unwrap_or_default();
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        last.unwrap_or("it left no message").trim().to_owned()
    }

    pub(super) fn own_file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Stops the process and writes `wanted` resident private anonymous pages, evenly spaced in order of address.
    pub(super) fn snapshot(&self, wanted: u64, out: &mut PageFile) -> Result<Snapshot, ClassError> {
        // A running process could drop a page before the read, which would then return zeros.
        self.signal(Signal::STOP).map_err(|source| ClassError::Stop { pid: self.pid, source })?;
        let process = Process::Id(self.pid);
        let pages = private_anonymous_pages(process)?;
        let memory = ProcessMemory::open(process)?;
        let mut page: Page = [0; PAGE_BYTES];
        let mut unreadable = 0;
        for index in even_sample(pages.len() as u64, wanted) {
            let address = pages[usize::try_from(index).expect("an index into a vector")];
            match memory.read_at(address, &mut page) {
                Ok(PAGE_BYTES) => {
                    let write = |source| ClassError::Io { path: "the page file".into(), source };
                    out.push(&page).map_err(write)?;
                }
                Ok(_) => unreadable += 1,
                Err(pagefold_procfs::ProcfsError::Io { .. }) => unreadable += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Snapshot { candidates: pages.len() as u64, unreadable })
    }

    pub(super) fn process(&self) -> Process {
        Process::Id(self.pid)
    }

    /// Stops the process and waits until it is stopped: the signal alone lets it run on for a while.
    pub(super) fn stop(&self) -> Result<(), ClassError> {
        self.signal(Signal::STOP).map_err(|source| ClassError::Stop { pid: self.pid, source })?;
        let begin = Instant::now();
        while status(self.process())?.state != 'T' {
            if begin.elapsed() > STOP_LIMIT {
                return Err(ClassError::RunsOn { pid: self.pid, limit: STOP_LIMIT });
            }
            thread::yield_now();
        }
        Ok(())
    }

    pub(super) fn resume(&self) -> Result<(), ClassError> {
        self.signal(Signal::CONT).map_err(|source| ClassError::Stop { pid: self.pid, source })
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(io::ErrorKind::InvalidInput)?;
        Ok(kill_process(pid, signal)?)
    }
}

impl Drop for LiveProcess {
    fn drop(&mut self) {
        // A stopped process ignores the end of its input, so a wrapper's process is killed by its number.
        if self.pid != self.child.id() {
            let _ = self.signal(Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Snapshot {
    pub(super) candidates: u64,
    /// Chosen pages that the kernel refused to read.
    pub(super) unreadable: u64,
}

/// A separate thread allows a time limit; it ends with the process.
fn first_line(stdout: ChildStdout) -> mpsc::Receiver<io::Result<String>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let outcome = BufReader::new(stdout).read_line(&mut line).map(|_| line);
        // The receiver is gone after the limit.
        let _ = sender.send(outcome);
    });
    receiver
}

/// Their addresses, ascending.
pub(super) fn private_anonymous_pages(process: Process) -> Result<Vec<u64>, ClassError> {
    private_pages(process, true)
}

/// As [`private_anonymous_pages`]; without `exclusive` also those that a forked process still shares.
pub(super) fn private_pages(process: Process, exclusive: bool) -> Result<Vec<u64>, ClassError> {
    let pagemap = Pagemap::open(process)?;
    // A larger page of the machine is several of the corpus's pages.
    let parts = rustix::param::page_size() / PAGE_BYTES;
    let mut pages = Vec::new();
    for mapping in maps(process)? {
        if mapping.permissions.shared || !mapping.permissions.read {
            continue;
        }
        pagemap.scan(mapping.range(), |address, entry| {
            let is_anonymous = entry.present() && !entry.file_or_shared();
            if is_anonymous && (entry.exclusive() || !exclusive) {
                pages.extend((0..parts).map(|part| address + (part * PAGE_BYTES) as u64));
            }
        })?;
    }
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn start(script: &str) -> LiveProcess {
        LiveProcess::start("sh", shell(script), tempfile::tempdir().unwrap()).unwrap()
    }

    #[test]
    fn a_ready_process_gives_its_pages() {
        let process = start("echo ready $$; read line").wait_ready().unwrap();
        assert_eq!(process.pid, process.child.id());
        let directory = tempfile::tempdir().unwrap();
        let mut out = PageFile::begin(directory.path()).unwrap();
        let snapshot = process.snapshot(8, &mut out).unwrap();
        assert!(snapshot.candidates > 8, "{snapshot:?}");
        assert_eq!(out.counts().pages + snapshot.unreadable, 8);
    }

    #[test]
    fn a_process_that_fails_is_quoted() {
        let outcome = start("echo first >&2; echo no memory >&2; exit 3").wait_ready();
        let error = outcome.err().unwrap().to_string();
        assert!(error.contains("no memory") && error.contains("sh ended"), "{error}");
    }

    #[test]
    fn another_answer_is_a_protocol_error() {
        for answer in ["hello", "ready", "ready x", "ready -1"] {
            let error = start(&format!("echo {answer}; read line")).wait_ready().err().unwrap();
            assert!(matches!(error, ClassError::Protocol { .. }), "{answer}: {error}");
        }
    }

    #[test]
    fn a_stopped_process_rests_until_it_is_resumed() {
        let mut process = start("read line; exit 3");
        process.stop().unwrap();
        assert_eq!(status(process.process()).unwrap().state, 'T');
        drop(process.child.stdin.take());
        assert!(!process.has_ended(), "it cannot end while it is stopped");
        process.resume().unwrap();
        let error = process.wait_ready().err().unwrap().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
        let gone = start("exit 0").ended().to_string();
        assert!(gone.contains("sh ended"), "{gone}");
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let process = start("echo ready $$; read line").wait_ready().unwrap();
        let pid = process.pid;
        drop(process);
        assert!(maps(Process::Id(pid)).is_err());
    }
}
