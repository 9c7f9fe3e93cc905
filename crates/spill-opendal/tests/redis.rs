//! A redis-server that the test starts: pages come back, also after it was killed, flushed and full.
#![cfg(feature = "redis")]

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use opendal::{Operator, services::Redis};
use pagefold_spill_opendal::{OpendalBacking, Options, opendal};
use pagefold_store::{
    GetError, Page, Space, SpaceConfig, Store,
    spill::{EXTENT_BYTES_MIN, Spill},
};

struct Server {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Server {
    /// `None` without the program.
    fn start(arguments: &[&str]) -> Option<Self> {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let directory = tempfile::tempdir().expect("a directory");
        let child = run(port, directory.path(), arguments)?;
        let server = Self { child, port, directory };
        server.wait();
        Some(server)
    }

    fn wait(&self) {
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "redis-server does not listen");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    fn restart(&mut self) {
        self.child = run(self.port, self.directory.path(), &[]).expect("it ran before");
        self.wait();
    }

    fn call(&self, arguments: &[&str]) {
        let done = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(arguments)
            .stdout(Stdio::null())
            .status();
        assert!(done.expect("redis-cli comes with redis-server").success());
    }

    fn operator(&self) -> Operator {
        let endpoint = format!("redis://127.0.0.1:{}", self.port);
        Operator::new(Redis::default().endpoint(&endpoint)).expect("sensible")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(port: u16, directory: &std::path::Path, arguments: &[&str]) -> Option<Child> {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--save", "", "--appendonly", "no", "--dir"])
        .arg(directory)
        .args(arguments)
        .stdout(Stdio::null())
        .spawn()
        .ok()
}

const COUNT: u64 = 6000;

/// Text that no page shares with another.
fn page(key: u64, version: u64) -> Page {
    let words = (0..).map(|at: u64| {
        let mixed = (key << 20 | at << 2 | version).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{} owner-{} ", mixed >> 40, key % 97)
    });
    let mut text = String::new();
    words
        .take_while(|word| {
            text.push_str(word);
            text.len() < 4096
        })
        .for_each(drop);
    *text.as_bytes().first_chunk().expect("longer than a page")
}

fn over(server: &Server) -> (Store, Space) {
    let options = Options::default().retries(1).timeout(Duration::from_millis(500));
    let backing = OpendalBacking::new(server.operator(), "pagefold", options).expect("it runs");
    let spill = Spill::builder(backing).extent_bytes(EXTENT_BYTES_MIN);
    let spill =
        spill.without_rests().read_deadline(Duration::from_secs(3)).build().expect("sensible");
    let store = Store::builder().limit(6 << 20).idle_share(0).spill(spill).build().expect("room");
    let space = store.space(SpaceConfig::persistent(COUNT)).expect("room");
    for key in 0..COUNT {
        space.put(key, &page(key, 0)).expect("room in the server");
    }
    (store, space)
}

fn get(space: &Space, key: u64) -> Result<Page, GetError> {
    let mut into = [0; 4096];
    space.get(key, &mut into).map(|()| into)
}

#[test]
fn what_a_server_keeps_comes_back_and_what_it_lost_is_an_error_of_its_key() {
    let Some(mut server) = Server::start(&[]) else {
        eprintln!("SKIPPED: there is no redis-server");
        return;
    };
    let (store, space) = over(&server);
    let spilled = space.stats().spilled;
    assert!(spilled > COUNT / 4, "{spilled}");
    for key in 0..COUNT {
        assert!(get(&space, key) == Ok(page(key, 0)), "page {key}");
    }

    // Killed: pages in memory are there, and the others are errors, in time.
    server.kill();
    let (mut there, mut away) = (0, 0);
    for key in (0..COUNT).step_by(7) {
        match get(&space, key) {
            Ok(found) => {
                assert!(found == page(key, 0));
                there += 1;
            }
            Err(GetError::Io(_) | GetError::Timeout) => away += 1,
            Err(error) => panic!("{error}"),
        }
        if away == 5 {
            break;
        }
    }
    assert!(away > 0, "{there} pages were there");

    // It comes back empty: what it had is lost, and each key says so; new pages go there again.
    server.restart();
    let mut lost = 0;
    for key in 0..COUNT {
        match get(&space, key) {
            Ok(found) => assert!(found == page(key, 0)),
            Err(GetError::Io(std::io::ErrorKind::NotFound) | GetError::Corrupt) => lost += 1,
            Err(error) => panic!("{error} of page {key}"),
        }
    }
    assert!(lost > 0);
    for key in 0..COUNT {
        space.put(key, &page(key, 1)).expect("room in the server");
    }
    for key in 0..COUNT {
        assert!(get(&space, key) == Ok(page(key, 1)), "page {key}");
    }
    store.validate().expect("valid");

    // Its key space is flushed beside the store.
    server.call(&["flushall"]);
    let gone = (0..COUNT).filter(|&key| match get(&space, key) {
        Ok(found) => {
            assert!(found == page(key, 1));
            false
        }
        Err(error) => {
            assert!(matches!(error, GetError::Io(_) | GetError::Corrupt), "{error}");
            true
        }
    });
    assert!(gone.count() > 0);
    store.validate().expect("valid");
}

#[test]
fn a_server_at_its_limit_refuses_and_nothing_is_lost() {
    let Some(server) = Server::start(&[]) else {
        eprintln!("SKIPPED: there is no redis-server");
        return;
    };
    let (store, space) = over(&server);
    server.call(&["config", "set", "maxmemory-policy", "noeviction"]);
    server.call(&["config", "set", "maxmemory", "1mb"]);
    let mut known = vec![0; usize::try_from(COUNT).expect("small")];
    for key in 0..COUNT {
        if space.put(key, &page(key, 1)).is_ok() {
            known[usize::try_from(key).expect("small")] = 1;
        }
    }
    for key in 0..COUNT {
        let version = known[usize::try_from(key).expect("small")];
        assert!(get(&space, key) == Ok(page(key, version)), "page {key}");
    }
    store.validate().expect("valid");
}

#[test]
fn a_dropped_store_leaves_nothing() {
    let Some(server) = Server::start(&[]) else {
        eprintln!("SKIPPED: there is no redis-server");
        return;
    };
    let keys = || {
        let output =
            Command::new("redis-cli").args(["-p", &server.port.to_string(), "dbsize"]).output();
        String::from_utf8(output.expect("redis-cli").stdout).expect("a number").trim().to_owned()
    };
    let (store, space) = over(&server);
    assert_ne!(keys(), "0");
    drop((space, store));
    assert_eq!(keys(), "0");
}
