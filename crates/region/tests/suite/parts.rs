//! Runs an ignored test of this program in a process of its own.

use std::{
    env,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use pagefold_region::FaultMode;

const MODE: &str = "PAGEFOLD_REGION_PART_MODE";

/// How a part ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) output: Output,
}

impl Ended {
    pub(crate) fn signal(&self) -> Option<i32> {
        self.output.status.signal()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    pub(crate) fn assert_passed(&self) {
        assert!(self.output.status.success(), "{}\n{}", self.output.status, self.text());
    }

    pub(crate) fn assert_killed(&self, signal: i32) {
        assert_eq!(self.signal(), Some(signal), "{}\n{}", self.output.status, self.text());
    }

    fn text(&self) -> String {
        format!("{}\n{}", String::from_utf8_lossy(&self.output.stdout), self.stderr())
    }
}

fn without_core_files() -> std::io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid limit.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
    Ok(())
}

pub(crate) fn command(part: &str, mode: FaultMode) -> Command {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.args([part, "--exact", "--ignored", "--nocapture", "--test-threads", "1"]);
    command.env(MODE, mode.name()).stdin(Stdio::null());
    // SAFETY: one system call in the child.
    unsafe { command.pre_exec(without_core_files) };
    command
}

/// Runs a part, which must end within a minute.
pub(crate) fn run(part: &str, mode: FaultMode) -> Ended {
    wait(&mut command(part, mode))
}

pub(crate) fn wait(command: &mut Command) -> Ended {
    wait_for(command, Duration::from_secs(120))
}

pub(crate) fn wait_for(command: &mut Command, most: Duration) -> Ended {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("this program can be run");
    let until = Instant::now() + most;
    while child.try_wait().expect("a child").is_none() {
        if Instant::now() > until {
            child.kill().expect("a child");
            panic!("a part does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ended { output: child.wait_with_output().expect("it has ended") }
}

/// In a part: the mode to use. `None` if it was not run by [`run`].
pub(crate) fn mode() -> Option<FaultMode> {
    let name = env::var(MODE).ok()?;
    [FaultMode::Inline, FaultMode::Guard, FaultMode::Thread, FaultMode::Auto]
        .into_iter()
        .find(|mode| mode.name() == name)
}
