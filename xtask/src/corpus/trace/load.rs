//! `redis-benchmark` on a server: one run after another, each with values of one size.

use std::{
    fs::File,
    io,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

use super::{
    super::{error::ClassError, live::LiveProcess, redis},
    TraceArgs,
};

const PROGRAM: &str = "redis-benchmark";
const FILL_LIMIT: Duration = Duration::from_secs(600);
const MESSAGES: &str = "benchmark-stderr";
/// From a counter to a page.
pub(super) const VALUE_BYTES: [u32; 4] = [64, 256, 1024, 4096];

/// The clients; killed when dropped.
pub(super) struct Load<'a> {
    arguments: &'a TraceArgs,
    rng: ChaCha8Rng,
    /// Of the round that goes on, the last first.
    sizes: Vec<u32>,
    child: Child,
}

impl<'a> Load<'a> {
    /// Returns after a run of each size: the heap has its form then.
    pub(super) fn fill(server: &LiveProcess, arguments: &'a TraceArgs) -> Result<Self, ClassError> {
        let child = start(server, arguments, VALUE_BYTES[0])?;
        let rng = ChaCha8Rng::seed_from_u64(arguments.seed);
        let mut load = Self { arguments, rng, sizes: VALUE_BYTES[1..].to_vec(), child };
        let began = Instant::now();
        loop {
            if load.has_ended(server)? {
                match load.sizes.pop() {
                    Some(size) => load.child = start(server, arguments, size)?,
                    None => return Ok(load),
                }
            }
            if began.elapsed() > FILL_LIMIT {
                return Err(ClassError::Timeout { program: PROGRAM, limit: FILL_LIMIT });
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Starts the next run if the last one has ended.
    pub(super) fn go_on(&mut self, server: &mut LiveProcess) -> Result<(), ClassError> {
        if server.has_ended() {
            return Err(server.ended());
        }
        if self.has_ended(server)? {
            if self.sizes.is_empty() {
                self.sizes = VALUE_BYTES.to_vec();
                self.sizes.shuffle(&mut self.rng);
            }
            let size = self.sizes.pop().expect("filled above");
            self.child = start(server, self.arguments, size)?;
        }
        Ok(())
    }

    fn has_ended(&mut self, server: &LiveProcess) -> Result<bool, ClassError> {
        match self.child.try_wait() {
            Ok(None) => Ok(false),
            Ok(Some(status)) if status.success() => Ok(true),
            Ok(Some(status)) => {
                let text = std::fs::read_to_string(server.own_file(MESSAGES)).unwrap_or_default();
                let last = text.lines().rev().find(|line| !line.trim().is_empty());
                let message = last.unwrap_or("it left no message").trim().to_owned();
                Err(ClassError::Ended { program: PROGRAM, status, message })
            }
            Err(source) => Err(ClassError::Start { program: PROGRAM, source }),
        }
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(server: &LiveProcess, arguments: &TraceArgs, size: u32) -> Result<Child, ClassError> {
    let messages = server.own_file(MESSAGES);
    let stderr =
        File::create(&messages).map_err(|source| ClassError::Io { path: messages, source })?;
    let mut command = Command::new(PROGRAM);
    command.arg("-s").arg(server.own_file(redis::SOCKET)).args(["-q", "-t", "set,get"]);
    for (option, value) in [
        ("-d", u64::from(size)),
        ("-r", arguments.keys),
        ("-n", arguments.requests),
        ("-c", arguments.clients),
        ("-P", arguments.pipeline),
    ] {
        command.arg(option).arg(value.to_string());
    }
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn();
    child.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ClassError::Missing { program: PROGRAM, remedy: redis::REMEDY },
        _ => ClassError::Start { program: PROGRAM, source },
    })
}
