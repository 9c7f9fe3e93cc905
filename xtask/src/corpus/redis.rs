//! The heap of a Redis server full of JSON values.

use std::{
    fmt::Write as _,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{error::ClassError, json::Documents, live::LiveProcess};

const PROGRAM: &str = "redis-server";
pub(super) const SOCKET: &str = "socket";
pub(super) const REMEDY: &str = "apt-get install redis-server";
const START_LIMIT: Duration = Duration::from_secs(20);
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const BATCH: u64 = 500;

pub(super) fn version() -> Result<String, ClassError> {
    match Command::new(PROGRAM).arg("--version").stdin(Stdio::null()).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            let version = text.split_whitespace().find_map(|word| word.strip_prefix("v="));
            Ok(format!("Redis {}", version.unwrap_or("of unknown version")))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(ClassError::Missing { program: PROGRAM, remedy: REMEDY })
        }
        Err(source) => Err(ClassError::Start { program: PROGRAM, source }),
    }
}

pub(super) fn start(heap_bytes: u64, seed: u64) -> Result<LiveProcess, ClassError> {
    let (process, mut client) = serve()?;
    load(&mut client, heap_bytes, seed)?;
    Ok(process)
}

/// A server without keys; its socket is its own file `SOCKET`.
pub(super) fn start_empty() -> Result<LiveProcess, ClassError> {
    Ok(serve()?.0)
}

fn serve() -> Result<(LiveProcess, Client), ClassError> {
    let directory =
        tempfile::tempdir().map_err(|source| ClassError::Start { program: PROGRAM, source })?;
    let socket = directory.path().join(SOCKET);
    let mut command = Command::new(PROGRAM);
    // No port and no snapshots: nothing leaves the directory, and no fork shares the pages.
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no", "--dir"]);
    command.arg(directory.path()).arg("--unixsocket").arg(&socket);
    let mut process = LiveProcess::start(PROGRAM, command, directory)?;
    let client = connect(&mut process)?;
    Ok((process, client))
}

fn connect(process: &mut LiveProcess) -> Result<Client, ClassError> {
    let socket = process.own_file(SOCKET);
    let begin = Instant::now();
    loop {
        match UnixStream::connect(&socket) {
            Ok(stream) => {
                let failed = |source| ClassError::Io { path: socket.clone(), source };
                stream.set_read_timeout(Some(ANSWER_LIMIT)).map_err(failed)?;
                return Ok(Client { replies: BufReader::new(stream), path: socket });
            }
            Err(_) if process.has_ended() => return Err(process.ended()),
            Err(_) if begin.elapsed() > START_LIMIT => {
                return Err(ClassError::Timeout { program: PROGRAM, limit: START_LIMIT });
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Deletes every ninth document, which leaves holes in the heap.
fn load(client: &mut Client, heap_bytes: u64, seed: u64) -> Result<(), ClassError> {
    let mut documents = Documents::new(seed);
    let mut number = 0;
    while client.used_memory()? < heap_bytes {
        let mut commands = Vec::new();
        for _ in 0..BATCH {
            number += 1;
            commands.push(vec![
                "SET".to_owned(),
                format!("document:{number}"),
                documents.next_document(),
            ]);
            if number % 4 == 0 {
                let visits = (number * 7919 % 1000).to_string();
                let fields = [
                    "HSET",
                    &format!("session:{number}"),
                    "document",
                    &number.to_string(),
                    "visits",
                    &visits,
                ];
                commands.push(fields.map(str::to_owned).to_vec());
            }
            if number % 9 == 0 {
                commands.push(vec!["DEL".to_owned(), format!("document:{}", number - 4)]);
            }
        }
        client.pipeline(&commands)?;
    }
    Ok(())
}

/// The part of RESP that this module needs.
struct Client {
    replies: BufReader<UnixStream>,
    path: std::path::PathBuf,
}

impl Client {
    fn pipeline(&mut self, commands: &[Vec<String>]) -> Result<(), ClassError> {
        let request: String = commands.iter().map(|words| encode(words)).collect();
        self.send(&request)?;
        for _ in commands {
            let line = self.line()?;
            if !line.starts_with(['+', ':']) {
                return Err(unexpected(line, "a status or a number"));
            }
        }
        Ok(())
    }

    fn used_memory(&mut self) -> Result<u64, ClassError> {
        self.send(&encode(&["INFO".to_owned(), "memory".to_owned()]))?;
        let header = self.line()?;
        let length = header.strip_prefix('$').and_then(|length| length.parse::<u64>().ok());
        // A report of the server's memory is a few kilobytes long.
        let length = length
            .filter(|&length| length < 1 << 20)
            .ok_or_else(|| unexpected(header, "a string"))?;
        let mut report = String::new();
        self.replies
            .by_ref()
            .take(length + 2)
            .read_to_string(&mut report)
            .map_err(|error| self.failed(error))?;
        let used =
            report.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse().ok());
        used.ok_or_else(|| unexpected(report.chars().take(80).collect(), "used_memory"))
    }

    fn send(&mut self, request: &str) -> Result<(), ClassError> {
        self.replies.get_mut().write_all(request.as_bytes()).map_err(|error| self.failed(error))
    }

    fn line(&mut self) -> Result<String, ClassError> {
        let mut line = String::new();
        self.replies.read_line(&mut line).map_err(|error| self.failed(error))?;
        Ok(line.trim_end().to_owned())
    }

    fn failed(&self, source: io::Error) -> ClassError {
        ClassError::Io { path: self.path.clone(), source }
    }
}

fn unexpected(answer: String, expected: &'static str) -> ClassError {
    ClassError::Protocol { program: PROGRAM, answer, expected }
}

fn encode(words: &[String]) -> String {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        // A write to a string cannot fail.
        let _ = write!(request, "${}\r\n{word}\r\n", word.len());
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_arrays_of_counted_strings() {
        let words = ["SET", "k", "grün"].map(str::to_owned);
        assert_eq!(encode(&words), "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\ngrün\r\n");
    }

    #[test]
    fn a_small_server_is_filled() {
        match version() {
            Err(ClassError::Missing { .. }) => {
                return eprintln!("skipped: {PROGRAM} is not installed");
            }
            other => other.unwrap(),
        };
        let process = start(8 << 20, 3).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut out = super::super::page_file::PageFile::begin(directory.path()).unwrap();
        let snapshot = process.snapshot(256, &mut out).unwrap();
        assert!(snapshot.candidates > 1500, "{snapshot:?}");
        assert_eq!(out.counts().pages + snapshot.unreadable, 256);
    }
}
