//! `--base-pid`: workers against the process that forked them; core files against each other.

use std::{path::Path, process::Command};

use super::{
    children::Talker,
    core_builder::{Core, READ, WRITE},
};
use crate::common::{PAGE, estimate_json, noise, number, write};

const SERVER: &str = "
import os, sys, time
pages = 4000
data = bytearray(os.urandom(pages * 4096))
at, done = os.pipe()
pids = []
for worker in range(2):
    pid = os.fork()
    if pid == 0:
        for page in range(0, pages, 2):
            data[page * 4096 + 7] ^= 1
        os.write(done, b'd')
        while True:
            time.sleep(100)
    pids.append(pid)
os.read(at, 1), os.read(at, 1)
print('ready', flush=True)
for line in sys.stdin:
    print(*pids, flush=True)
for pid in pids:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
";

#[test]
fn workers_of_a_server_that_forks() {
    let mut command = Command::new("python3");
    let Some(mut server) = Talker::start(command.args(["-c", SERVER])) else {
        return eprintln!("SKIPPED: python3 is not installed");
    };
    let pids = server.ask("pids");
    let (base, mut args) = (server.id().to_string(), vec!["--codec", "lz4"]);
    args.extend(["--base-pid", &base]);
    pids.split(' ').for_each(|pid| args.extend(["--pid", pid]));
    let document = estimate_json(&args, 0);
    let found = &document["base"];
    assert_eq!(found["name"], format!("process {base}"));
    // Each worker changed a byte of each second page.
    let deltas = number(found, "deltas");
    assert!((3950..4400).contains(&deltas), "{found}");
    assert!(number(found, "delta_bytes") < deltas * 40, "{found}");
    assert!(number(found, "not_in_base") < 400, "{found}");
    for pid in pids.split(' ') {
        // The server ends only those that it knows to be there.
        let _ = Command::new("kill").args(["-9", pid]).status();
    }
}

#[test]
fn core_files_are_compared_by_address() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (base, later) = (path("core.1"), path("core.2"));
    let memory = noise(30 * PAGE);
    let of = |address: u64, bytes: Vec<u8>| {
        Core { process: Some((4321, "server")), ..Core::default() }.segment(
            address,
            READ | WRITE,
            bytes,
        )
    };
    write(Path::new(&base), &of(0x50_0000, memory.clone()).build());
    let mut changed = memory[10 * PAGE..].to_vec();
    changed[5] ^= 1;
    // Another place in the file, the same addresses.
    let address = 0x50_0000 + 10 * PAGE as u64;
    let core = of(address, changed).segment(
        0x90_0000,
        READ | WRITE,
        noise(40 * PAGE)[35 * PAGE..].to_vec(),
    );
    write(Path::new(&later), &core.build());
    let document = estimate_json(["--codec", "lz4", "--base", &base, &later], 0);
    let found = &document["base"];
    let counts = ["equal", "deltas", "plain", "not_in_base"].map(|key| number(found, key));
    assert_eq!(counts, [19, 1, 5, 5], "{found}");
}
