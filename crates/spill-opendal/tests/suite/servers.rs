//! Servers of the tests, which end with the test program.
#![cfg_attr(
    not(all(feature = "redis", feature = "s3")),
    expect(dead_code, reason = "for services")
)]

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use opendal::{Buffer, ErrorKind, Operator};
use pagefold_spill_opendal::{connect, opendal};

fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    free.local_addr().expect("an address").port()
}

fn wait_for(port: u16) {
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < Duration::from_secs(120), "the server does not listen");
        thread::sleep(Duration::from_millis(20));
    }
}

/// What a test does in a service beside the store.
pub(crate) struct Hand {
    pub(crate) operator: Operator,
    runtime: tokio::runtime::Runtime,
}

impl Hand {
    pub(crate) fn new(operator: Operator) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self { operator, runtime: runtime.expect("a runtime") }
    }

    /// Clones of an operator share a connection, which ends with the runtime of the store that made it. So the first call after a store has ended
    /// may fail.
    fn call<T, F: Future<Output = opendal::Result<T>>>(
        &self,
        call: impl Fn() -> F,
    ) -> opendal::Result<T> {
        let began = Instant::now();
        loop {
            match self.runtime.block_on(call()) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    if began.elapsed() > Duration::from_secs(20) {
                        return Err(error);
                    }
                    thread::sleep(Duration::from_millis(20));
                }
                done => return done,
            }
        }
    }

    /// `None` if it is not there.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        let text = match self.call(|| self.operator.read(path)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            text => text.expect("it answers"),
        };
        Some(String::from_utf8(text.to_vec()).expect("text"))
    }

    pub(crate) fn write(&self, path: &str, bytes: impl Into<Buffer>) {
        let bytes = bytes.into();
        self.call(|| self.operator.write(path, bytes.clone())).expect("room");
    }

    pub(crate) fn delete(&self, path: &str) {
        self.call(|| self.operator.delete(path)).expect("it answers");
    }

    /// The objects below a path, where the service can list.
    pub(crate) fn objects(&self, below: &str) -> Vec<String> {
        let listed =
            self.runtime.block_on(async { self.operator.list_with(below).recursive(true).await });
        let paths = listed.expect("it can list").into_iter().map(|entry| entry.path().to_owned());
        paths.filter(|path| !path.ends_with('/')).collect()
    }

    /// As if the store's last sign of life were hours ago. `home` ends in a slash.
    pub(crate) fn age(&self, home: &str) {
        let path = format!("{home}lease");
        let lease = self.read(&path).expect("a lease");
        let (_, counts) = lease.split_once(' ').expect("a time and counts");
        self.write(&path, format!("1700000000 {counts}"));
    }
}

pub(crate) struct Redis {
    child: Child,
    pub(crate) port: u16,
    directory: tempfile::TempDir,
}

impl Redis {
    /// `None`, with a message, without the program.
    pub(crate) fn start() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let Some(child) = run_redis(port, directory.path()) else {
            eprintln!("SKIPPED: there is no redis-server");
            return None;
        };
        wait_for(port);
        Some(Self { child, port, directory })
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    pub(crate) fn restart(&mut self) {
        self.child = run_redis(self.port, self.directory.path()).expect("it ran before");
        wait_for(self.port);
    }

    pub(crate) fn call(&self, arguments: &[&str]) -> String {
        let output =
            Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(arguments).output();
        let output = output.expect("redis-cli comes with redis-server");
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// Keys that there are.
    pub(crate) fn keys(&self) -> String {
        self.call(&["dbsize"])
    }

    pub(crate) fn address(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn operator(&self) -> Operator {
        connect(&self.address()).expect("sensible")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run_redis(port: u16, directory: &Path) -> Option<Child> {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--save", "", "--appendonly", "no", "--dir"])
        .arg(directory)
        .stdout(Stdio::null())
        .spawn()
        .ok()
}

/// One for all tests, because it takes seconds to start; `Some(None)` if there is none.
static MOTO: Mutex<Option<Option<Moto>>> = Mutex::new(None);

/// A server for S3.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moto {
    pub(crate) port: u16,
}

impl Moto {
    /// Program: `moto_server`, or what `PAGEFOLD_MOTO_SERVER` names. `None`, with a message, without it.
    pub(crate) fn start() -> Option<Self> {
        let found = *MOTO.lock().expect("no panic").get_or_insert_with(run_moto);
        if found.is_none() {
            eprintln!("SKIPPED: there is no moto_server (pip install 'moto[server]')");
        }
        found
    }

    /// A new, empty bucket.
    pub(crate) fn bucket(self, name: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        let request = format!(
            "PUT /{name} HTTP/1.1\r\nHost: localhost\r\nAuthorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    pub(crate) fn address(self, bucket: &str) -> String {
        address(bucket, self.port)
    }
}

/// Of a bucket behind a port.
pub(crate) fn address(bucket: &str, port: u16) -> String {
    format!(
        "s3://{bucket}?region=us-east-1&endpoint=http://127.0.0.1:{port}&access_key_id=test&secret_access_key=test\
         &disable_config_load=true&disable_ec2_metadata=true"
    )
}

fn run_moto() -> Option<Moto> {
    let program =
        std::env::var("PAGEFOLD_MOTO_SERVER").unwrap_or_else(|_| "moto_server".to_owned());
    if !Command::new(&program).arg("--help").stdout(Stdio::null()).status().ok()?.success() {
        return None;
    }
    let port = free_port();
    // The shell ends the server when its input does, which is when this process ends, however that is.
    let script = "\"$0\" -H 127.0.0.1 -p \"$1\" >/dev/null 2>&1 & read -r _; kill $!";
    let mut child = Command::new("sh")
        .args(["-c", script, &program, &port.to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .ok()?;
    // Open until the process ends.
    std::mem::forget(child.stdin.take());
    wait_for(port);
    Some(Moto { port })
}
