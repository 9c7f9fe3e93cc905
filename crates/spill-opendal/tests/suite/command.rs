//! `pagefold-spill gc` through the binary: stores that were killed, addresses that are wrong, exit codes.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::Duration,
};

use pagefold_spill_opendal::{OpendalBacking, connect};
use serde_json::Value;

use crate::{
    proxy::{Fault, Proxy},
    servers::{self, Hand, Moto, Redis},
    stores::{self, options},
};

const ADDRESS: &str = "PAGEFOLD_TEST_ADDRESS";

fn gc(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pagefold-spill"));
    command.env_remove("PAGEFOLD_SPILL_URI").arg("gc").args(args);
    command.output().expect("the binary runs")
}

fn json(output: &Output, code: i32) -> Value {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// One line on standard error with the words, and nothing on standard output.
fn fails(output: &Output, code: i32, words: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.starts_with("pagefold-spill: ") && text.contains(words), "`{words}`: {text}");
    assert!(text.lines().count() == 1 && output.stdout.is_empty(), "{output:?}");
}

/// A process of its own with a store, when a test started it; no test otherwise.
#[test]
fn a_child_with_a_store() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let operator = connect(&address).expect("right");
    let page = |key: u64, _| {
        let mut page = [7; 4096];
        for (at, word) in page.chunks_exact_mut(8).enumerate() {
            let mixed = (key << 16 | at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            word.copy_from_slice(&mixed.to_le_bytes());
        }
        page
    };
    let (_store, space, home) = stores::store(operator, 3000, page);
    assert!(space.stats().spilled > 500);
    println!("\nhome {home}");
    // Until it is killed.
    std::thread::sleep(Duration::from_secs(600));
}

struct Store {
    child: Child,
    home: String,
    _output: BufReader<ChildStdout>,
}

impl Store {
    fn start(address: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "command::a_child_with_a_store", "--nocapture"])
            .env(ADDRESS, address)
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program runs");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        let home = loop {
            line.clear();
            assert_ne!(output.read_line(&mut line).expect("text"), 0, "it ended");
            if let Some(home) = line.trim().strip_prefix("home ") {
                break home.to_owned();
            }
        };
        Self { child, home, _output: output }
    }
}

impl Drop for Store {
    /// kill -9.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn killed_is_removed_and_living_stays(address: &str, count: impl Fn(&str) -> usize) {
    let hand = Hand::new(connect(address).expect("right"));
    let (alive, alive_home) = stores::backing(hand.operator.clone(), options());
    let store = Store::start(address);
    let home = store.home.clone();
    let found = json(&gc(&["--json", address]), 0);
    assert_eq!((&found["alive"], &found["removed"]), (&2.into(), &0.into()));
    drop(store);
    assert!(count(&home) > 5, "{} objects", count(&home));
    // Its last sign of life was just now.
    assert_eq!(json(&gc(&["--json", address]), 0)["alive"], 2);
    hand.age(&home);
    let dry = json(&gc(&["--json", "--dry-run", address]), 0);
    assert_eq!(
        (&dry["dead"], &dry["removed"], &dry["dry_run"]),
        (&1.into(), &0.into(), &true.into())
    );
    assert!(count(&home) > 5);
    let text = gc(&[address]);
    let text = String::from_utf8(text.stdout).expect("text");
    assert!(text.ends_with("1 alive, 1 removed\n"), "{text}");
    assert_eq!((count(&home), count(&alive_home)), (0, 1), "only the lease of the living one");
    let found = json(&gc(&["--json", address]), 0);
    assert_eq!((&found["alive"], &found["stores"].as_array().map(Vec::len)), (&1.into(), &Some(1)));
    let line = &found["stores"][0];
    assert_eq!(
        (&line["outcome"], alive_home.contains(line["id"].as_str().expect("an ID"))),
        (&"alive".into(), true)
    );
    assert!(line["age_s"].as_u64().is_some_and(|age| age < 100), "{line}");
    // Another prefix has none.
    assert_eq!(
        json(&gc(&["--json", "--prefix", "a//b/", address]), 0)["stores"],
        Value::Array(Vec::new())
    );
    drop(alive);
}

#[test]
fn a_killed_store_is_removed_from_redis() {
    let Some(server) = Redis::start() else { return };
    killed_is_removed_and_living_stays(&server.address(), |home| {
        server.call(&["keys", &format!("{home}*")]).lines().filter(|line| !line.is_empty()).count()
    });
    assert_eq!(server.keys(), "0");
}

#[test]
fn a_killed_store_is_removed_from_s3() {
    let Some(moto) = Moto::start() else { return };
    moto.bucket("killed");
    let address = moto.address("killed");
    let hand = Hand::new(connect(&address).expect("right"));
    killed_is_removed_and_living_stays(&address, |home| hand.objects(home).len());
    assert_eq!(hand.objects(""), [""; 0]);
}

#[test]
fn an_address_may_come_from_the_environment_and_have_a_path() {
    let Some(moto) = Moto::start() else { return };
    moto.bucket("environment");
    let hand = Hand::new(connect(&moto.address("environment")).expect("right"));
    let dead = "top/sub/0123456789abcdef0123456789abcdef/";
    hand.write(&format!("{dead}lease"), "1700000000 64 8");
    hand.write(&format!("{dead}slot-0"), "old");
    // What is no store's, and what is above the path.
    hand.write("top/sub/release", "1700000000");
    hand.write("0123456789abcdef0123456789abcdef/lease", "1700000000");
    let output = Command::new(env!("CARGO_BIN_EXE_pagefold-spill"))
        .args(["gc", "--json", "--prefix", ""])
        .env("PAGEFOLD_SPILL_URI", "s3://environment/top/sub")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", moto.port))
        .output()
        .expect("the binary runs");
    assert_eq!(json(&output, 0)["removed"], 1);
    let left = hand.objects("");
    assert_eq!(left, ["0123456789abcdef0123456789abcdef/lease", "top/sub/release"]);
}

/// As in a small container.
#[test]
fn a_machine_without_certificates_reaches_a_service_without_tls() {
    let Some(moto) = Moto::start() else { return };
    moto.bucket("container");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pagefold-spill"));
    command.env("SSL_CERT_FILE", "/dev/null").env("SSL_CERT_DIR", "/nonexistent").arg("gc");
    let address = moto.address("container");
    assert_eq!(
        json(&command.args(["--json", &address]).output().expect("it runs"), 0)["version"],
        1
    );
    let address = address.replace("http:", "https:");
    let args = ["gc", "--timeout", "500ms", &address];
    let mut command = Command::new(env!("CARGO_BIN_EXE_pagefold-spill"));
    command.env("SSL_CERT_FILE", "/dev/null").env("SSL_CERT_DIR", "/nonexistent").args(args);
    fails(&command.output().expect("it runs"), 1, "the service");
    // And TLS to what speaks none is an error, too.
    fails(
        &gc(&["--timeout", "500ms", &format!("rediss://127.0.0.1:{}", moto.port)]),
        1,
        "the service",
    );
}

#[test]
fn wrong_arguments_are_one_line_and_nothing_is_done() {
    for (args, words) in [
        (&[][..], "give an address"),
        (&["localhost:6379"], "it has no scheme"),
        (&["gopher://host"], "scheme is not registered"),
        (&["redis://u:geheim@host:port"], "is the port a number"),
        (&["s3://"], "no bucket"),
        (&["s3://k:geheim@bucket"], "access_key_id"),
        (&["--older-than", "0", "memory://"], "at least 2m"),
        (&["--older-than", "-1m", "memory://"], "a number and a unit"),
        (&["--older-than", "5", "memory://"], "a number and a unit"),
        (&["--prefix", "a/../b", "memory://"], "no names"),
        (&["--bogus", "memory://"], "--bogus"),
        (&["memory://", "more"], "more"),
    ] {
        let output = gc(args);
        fails(&output, 2, words);
        assert!(!String::from_utf8_lossy(&output.stderr).contains("geheim"));
    }
    assert_eq!(json(&gc(&["--json", "memory://"]), 0)["version"], 1);
    let help = gc(&["--help"]);
    let text = String::from_utf8(help.stdout).expect("text");
    assert!(help.status.success() && text.contains("Exit codes:") && text.contains("--older-than"));
}

#[test]
fn a_service_that_refuses_is_code_1_and_one_store_that_stays_code_3() {
    fails(&gc(&["--timeout", "300ms", "redis://127.0.0.1:1"]), 1, "the service");
    let Some(moto) = Moto::start() else { return };
    fails(&gc(&[&moto.address("no-such-bucket")]), 1, "NoSuchBucket");
    moto.bucket("refused");
    let proxy = Proxy::start(moto.port);
    let address = servers::address("refused", proxy.port);
    let hand = Hand::new(connect(&moto.address("refused")).expect("right"));
    let dead = "pagefold/0123456789abcdef0123456789abcdef/";
    hand.write(&format!("{dead}lease"), "1700000000 64 8");
    proxy.fail(Fault::Unavailable, "DELETE");
    let found = json(&gc(&["--json", &address]), 3);
    assert_eq!((&found["failed"], &found["removed"]), (&1.into(), &0.into()));
    assert!(
        found["stores"][0]["error"].as_str().is_some_and(|text| text.contains("503")),
        "{found}"
    );
    proxy.heal();
    assert_eq!(json(&gc(&["--json", &address]), 0)["removed"], 1);
}

/// A server with a password, and users that may not write.
#[test]
fn a_user_without_rights_is_told_so() {
    let Some(server) = Redis::start() else { return };
    server.call(&["acl", "setuser", "reader", "on", ">p@ss", "~*", "+@read", "+@connection"]);
    server.call(&["acl", "setuser", "default", "off"]);
    let at = |user: &str| format!("redis://{user}127.0.0.1:{}", server.port);
    let quick = ["--timeout", "500ms"];
    fails(&gc(&[&quick[..], &[&at("")]].concat()), 1, "the service");
    fails(&gc(&[&quick[..], &[&at("reader:wrong@")]].concat()), 1, "the service");
    let address = at("reader:p%40ss@");
    assert_eq!(json(&gc(&["--json", &address]), 0)["stores"], Value::Array(Vec::new()));
    let operator = connect(&address).expect("right");
    let refused =
        OpendalBacking::new(operator, "pagefold", options()).expect_err("it may not write");
    assert!(
        refused.to_string().contains("NOPERM") || refused.to_string().contains("permission"),
        "{refused}"
    );
}
