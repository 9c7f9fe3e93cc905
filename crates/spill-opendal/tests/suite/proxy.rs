//! A proxy before a server for S3, which fails as it is told.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// 503, and nothing is done.
    Unavailable,
    /// 503, after it was done.
    LostAnswer,
    /// No answer, and nothing is done.
    Silent,
    /// No answer; it is done once the test says so.
    Late,
    /// The connection ends without an answer.
    Closed,
    /// The answer ends in the middle.
    Truncated,
}

#[derive(Debug)]
struct State {
    upstream: u16,
    /// Of requests with this method; an empty one is every method.
    fault: Mutex<(Fault, &'static str)>,
    /// Requests that had the fault.
    hits: AtomicU64,
    late: Mutex<Vec<Vec<u8>>>,
    came: Condvar,
    ends: AtomicBool,
}

#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<State>,
}

impl Proxy {
    pub(crate) fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State {
            upstream,
            fault: Mutex::new((Fault::None, "")),
            hits: AtomicU64::new(0),
            late: Mutex::default(),
            came: Condvar::new(),
            ends: AtomicBool::new(false),
        });
        let own = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if own.ends.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), own) = (stream, Arc::clone(&own)) else { continue };
                // A client that goes away in the middle is no error.
                thread::spawn(move || own.serve(stream));
            }
        });
        Self { port, state }
    }

    pub(crate) fn fail(&self, fault: Fault, method: &'static str) {
        *self.state.fault.lock().expect("no panic") = (fault, method);
    }

    /// Every request is done again.
    pub(crate) fn heal(&self) {
        self.fail(Fault::None, "");
    }

    pub(crate) fn hits(&self) -> u64 {
        self.state.hits.load(Ordering::Relaxed)
    }

    /// Does the late requests, at least `count`; how many there were.
    pub(crate) fn release(&self, count: usize) -> usize {
        let mut late = self.state.late.lock().expect("no panic");
        while late.len() < count {
            late = self.state.came.wait(late).expect("no panic");
        }
        for request in late.iter() {
            let answer = self.state.forward(request).expect("the server answers");
            assert!(answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
        }
        std::mem::take(&mut *late).len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ends.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl State {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let request = read_request(&mut client)?;
        let (fault, method) = *self.fault.lock().expect("no panic");
        // Several objects at once are deleted by a post.
        let is_it = |method: &str| request.starts_with(method.as_bytes());
        let is_hit = is_it(method) || (method == "DELETE" && is_it("POST"));
        let fault = if is_hit { fault } else { Fault::None };
        if fault != Fault::None {
            self.hits.fetch_add(1, Ordering::Relaxed);
        }
        match fault {
            Fault::None => client.write_all(&self.forward(&request)?),
            Fault::Unavailable => client.write_all(UNAVAILABLE),
            Fault::LostAnswer => {
                self.forward(&request)?;
                client.write_all(UNAVAILABLE)
            }
            Fault::Silent => wait_for_end(client),
            Fault::Late => {
                self.late.lock().expect("no panic").push(request);
                self.came.notify_all();
                wait_for_end(client)
            }
            Fault::Closed => client.shutdown(Shutdown::Both),
            Fault::Truncated => {
                let answer = self.forward(&request)?;
                let body = find(&answer, b"\r\n\r\n").map_or(0, |at| at + 4);
                client.write_all(&answer[..body + (answer.len() - body) / 2])?;
                client.shutdown(Shutdown::Both)
            }
        }
    }

    /// The whole answer.
    fn forward(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut server = TcpStream::connect(("127.0.0.1", self.upstream))?;
        let line = find(request, b"\r\n").unwrap_or(request.len());
        server.write_all(&request[..line])?;
        server.write_all(b"\r\nConnection: close")?;
        server.write_all(&request[line..])?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

const UNAVAILABLE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

fn wait_for_end(mut client: TcpStream) -> io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(60)))?;
    client.read(&mut [0]).map(drop)
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn read_request(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let (mut request, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let len = client.read(&mut buffer)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        request.extend_from_slice(&buffer[..len]);
        let Some(end) = find(&request, b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.map_or(Ok(0), |text| text.trim().parse()).expect("a length");
        if request.len() >= end + 4 + length {
            return Ok(request);
        }
    }
}
