//! Processes to measure; each answers questions, so that a test can check that it still works.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

const ATTEMPTS_MAX: u32 = 200;

/// Answers each line with a line; killed on drop.
pub(crate) struct Talker {
    pub(crate) child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Talker {
    /// Waits for the line `ready`; `None` without such a program.
    pub(crate) fn start(command: &mut Command) -> Option<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let (input, output) = (child.stdin.take()?, BufReader::new(child.stdout.take()?));
        let mut talker = Self { child, input, output };
        assert_eq!(talker.line(), "ready", "{command:?}");
        Some(talker)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a line and waits for the answer.
    pub(crate) fn ask(&mut self, question: &str) -> String {
        writeln!(self.input, "{question}").expect("it reads");
        self.line()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it writes");
        line.trim_end().to_owned()
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// The child may have ended already.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Runs `setup`, then evaluates each line.
pub(crate) fn python(setup: &str) -> Talker {
    let program = format!(
        "{setup}\nimport sys\nprint('ready', flush=True)\n\
         for line in sys.stdin:\n    print(eval(line), flush=True)\n"
    );
    let mut command = Command::new("python3");
    Talker::start(command.args(["-c", &program])).expect("these tests need python3")
}

/// Python with some 60 MiB of objects, noise and zeros; `digest()` hashes them.
pub(crate) fn python_with_a_heap() -> Talker {
    python(
        "import hashlib, random\n\
         random.seed(3)\n\
         noise = random.randbytes(8 << 20)\n\
         users = [{'id': i, 'name': f'user {i}', 'tags': [str(i * 7), 'cold']} for i in range(60000)]\n\
         zeros = bytearray(8 << 20)\n\
         zeros[::4096] = bytes(len(zeros) // 4096)\n\
         def digest():\n    return hashlib.sha256(noise + repr(users).encode() + bytes(zeros)).hexdigest()",
    )
}

/// Node with some objects; any line asks for their digest.
pub(crate) fn node() -> Option<Talker> {
    let program = "
        const users = Array.from({length: 200000}, (_, id) => ({id, name: 'user ' + id, tags: [id * 7, 'cold']}));
        const buffer = Buffer.alloc(16 << 20, 'pagefold ');
        const hash = () => require('crypto').createHash('sha256').update(JSON.stringify(users)).update(buffer).digest('hex');
        const lines = require('readline').createInterface({input: process.stdin});
        hash();
        lines.on('line', () => console.log(hash()));
        console.log('ready');";
    Talker::start(Command::new("node").args(["-e", program]))
}

/// A Redis server with keys, on its own socket.
pub(crate) struct Redis {
    child: Child,
    stream: UnixStream,
    _directory: tempfile::TempDir,
}

impl Redis {
    /// `None` if there is no server to start.
    pub(crate) fn start() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let socket = directory.path().join("redis.sock");
        let mut child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--dir"])
            .arg(directory.path())
            .arg("--unixsocket")
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        let Some(stream) = connect(&socket) else {
            end(&mut child);
            panic!("redis-server does not answer on {}", socket.display());
        };
        let mut redis = Self { child, stream, _directory: directory };
        for batch in 0..1000 {
            let pair = |key| format!(" user:{batch}:{key} {}", format!("{batch}{key}").repeat(40));
            let pairs: String = (0..100).map(pair).collect();
            assert_eq!(redis.ask(&format!("MSET{pairs}")), "+OK");
        }
        assert_eq!(redis.ask("SET before kept"), "+OK");
        Some(redis)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The answer has at most a few hundred bytes.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.stream.write_all(format!("{command}\r\n").as_bytes()).expect("it reads");
        let mut answer = [0; 512];
        let got = self.stream.read(&mut answer).expect("it answers");
        String::from_utf8_lossy(&answer[..got]).trim_end().to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn connect(socket: &Path) -> Option<UnixStream> {
    (0..ATTEMPTS_MAX).find_map(|_| {
        thread::sleep(Duration::from_millis(50));
        UnixStream::connect(socket).ok()
    })
}

/// A field of `/proc/PID/status` in bytes; `None` without process or field.
pub(crate) fn status_bytes(process_id: u32, field: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process_id}/status")).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

pub(crate) fn rss_anon(process_id: u32) -> u64 {
    status_bytes(process_id, "RssAnon").expect("the process is alive")
}

/// Waits until the process's memory stops changing, without a bound.
pub(crate) fn wait_until_still(process_id: u32) {
    let mut last = rss_anon(process_id);
    let mut still = 0;
    for _ in 0..ATTEMPTS_MAX {
        thread::sleep(Duration::from_millis(25));
        let now = rss_anon(process_id);
        still = if now == last { still + 1 } else { 0 };
        last = now;
        if still == 8 {
            return;
        }
    }
}
