//! Several processes: by name, by control group, with shared and locked memory. The tests start all of them.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

use super::children::{Talker, python, wait_until_still};
use crate::common::{Outcome, Sleeper, estimate, estimate_json, number};

const MIB: u64 = 1 << 20;

fn processes(document: &Value) -> &[Value] {
    document["input"]["processes"].as_array().expect("`processes` is an array")
}

fn numbers(document: &Value) -> Vec<u64> {
    processes(document).iter().filter_map(|process| process["pid"].as_u64()).collect()
}

/// A name of no other process.
fn unique(what: &str) -> String {
    format!("pf{what}{}", std::process::id())
}

fn called(name: &str) -> Talker {
    python(&format!("open('/proc/self/comm', 'w').write('{name}')"))
}

#[test]
fn all_processes_of_a_name_are_measured() {
    let name = unique("name");
    let twins = [called(&name), called(&name)];
    let mut ids = twins.each_ref().map(|twin| u64::from(twin.id()));
    ids.sort_unstable();
    let document = estimate_json(["--codec", "lz4", "--pid", &name], 0);
    assert_eq!(numbers(&document), ids);
    // A process named twice counts once.
    let number = ids[0].to_string();
    let document = estimate_json(["--codec", "lz4", "--pid", &number, "--pid", &name], 0);
    assert_eq!(numbers(&document), ids);
}

#[test]
fn the_name_of_the_programs_file_is_a_name_too() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    // Longer than the kernel's copy of a name.
    let program = dir.path().join(unique("-a-program-with-a-long-name-"));
    let sleep = ["/bin/sleep", "/usr/bin/sleep"].into_iter().find(|path| Path::new(path).exists());
    fs::copy(sleep.expect("every system has it"), &program).expect("copied");
    let child = Command::new(&program).arg("600").stdin(Stdio::null()).spawn().expect("it runs");
    let sleeper = Sleeper(child);
    let name = program.file_name().and_then(|name| name.to_str()).expect("text");
    // Before `exec` the process is a copy of this one.
    while !fs::read_link(format!("/proc/{}/exe", sleeper.0.id())).is_ok_and(|exe| exe == program) {
        std::thread::yield_now();
    }
    let document = estimate_json(["--codec", "lz4", "--pid", name], 0);
    assert_eq!(numbers(&document), [u64::from(sleeper.0.id())]);
    estimate(["--pid", &name[..20]]).fails_without_report(1, &["no process has this name"]);
}

#[test]
fn a_control_group_is_all_its_processes_and_those_below() {
    let (first, second) = (python(""), python(""));
    let group = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(group.path().join("below")).expect("a directory");
    let list = |directory: &str, id: u32| {
        let path = group.path().join(directory).join("cgroup.procs");
        fs::write(path, format!("{id}\n")).expect("written");
    };
    list("", first.id());
    list("below", second.id());
    let path = group.path().display().to_string();
    let document = estimate_json(["--codec", "lz4", "--cgroup", &path], 0);
    let mut ids = [first.id(), second.id()].map(u64::from);
    ids.sort_unstable();
    assert_eq!(numbers(&document), ids);

    estimate(["--cgroup", "/nonexistent/group"])
        .fails_without_report(1, &["no such control group", "/proc/PID/cgroup"]);
    // The number of no process.
    list("", 4_194_303);
    let document = estimate_json(["--codec", "lz4", "--cgroup", &path], 0);
    assert_eq!(numbers(&document), [u64::from(second.id())]);
}

/// In the kernel's hierarchy; removed on drop.
struct Group(std::path::PathBuf);

impl Group {
    fn new() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let unified = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
        let group = Path::new(unified.split(' ').nth(4)?).join(unique("group"));
        fs::create_dir(&group).ok()?;
        Some(Self(group))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_control_group_is_found_by_its_path_in_the_hierarchy() {
    let Some(group) = Group::new() else {
        eprintln!("SKIPPED: no control group can be made here");
        return;
    };
    let mut python = python("");
    let joined = fs::write(group.0.join("cgroup.procs"), python.id().to_string());
    if let Err(error) = joined {
        eprintln!("SKIPPED: the group takes no process: {error}");
        return;
    }
    let path = format!("/{}", unique("group"));
    let document = estimate_json(["--codec", "lz4", "--cgroup", &path], 0);
    assert_eq!(numbers(&document), [u64::from(python.id())]);
    python.child.kill().expect("it is ours");
    python.child.wait().expect("it ends");
    estimate(["--cgroup", &path]).fails_without_report(1, &[&path, "it has no process"]);
}

/// A prefork server: 24 MiB of text before the fork, 4 MiB of noise in each of three workers, which end with the
/// parent. Returns all four numbers.
fn prefork() -> (Talker, Vec<String>) {
    let mut parent = python(
        "import gc, os, random\n\
         data = [bytearray((b'the quick brown fox %d ' % i) * 60000)[:1 << 20] for i in range(24)]\n\
         gc.freeze()\n\
         workers, (end, kept) = [], os.pipe()\n\
         for number in range(3):\n\
         \x20   ready, done = os.pipe()\n\
         \x20   pid = os.fork()\n\
         \x20   if pid == 0:\n\
         \x20       os.close(kept)\n\
         \x20       own = [random.randbytes(1 << 20) for _ in range(4)]\n\
         \x20       os.write(done, b'x')\n\
         \x20       os.read(end, 1)\n\
         \x20       os._exit(0)\n\
         \x20   os.read(ready, 1)\n\
         \x20   workers.append(pid)\n",
    );
    let workers = parent.ask("' '.join(map(str, workers))");
    let mut ids = vec![parent.id().to_string()];
    ids.extend(workers.split(' ').map(str::to_owned));
    wait_until_still(parent.id());
    (parent, ids)
}

/// Shared pages: each process's figure, and the sum that counts them once.
fn shared_bytes(document: &Value) -> (Vec<u64>, u64) {
    let live = || processes(document).iter().filter(|process| process["pid"].is_u64());
    let each = live().map(|process| number(process, "shared_anonymous_bytes")).collect();
    let once =
        live().map(|process| number(&process["proportional"], "shared_anonymous_bytes")).sum();
    (each, once)
}

#[test]
fn pages_that_several_processes_share_count_once_and_are_measured_on_request() {
    let (_parent, ids) = prefork();
    let mut args = vec!["--codec", "lz4"];
    for id in &ids {
        args.extend(["--pid", id]);
    }
    let document = estimate_json(&args, 0);
    let (each, once) = shared_bytes(&document);
    assert!(each.len() == 4 && each.iter().all(|&bytes| bytes >= 24 * MIB), "{each:?}");
    // All sharers are here, so the sum is little more than the parent's share.
    assert!((24 * MIB..each.iter().sum::<u64>() / 3).contains(&once), "{once} of {each:?}");
    let private = number(&document["input"], "bytes");
    assert!((12 * MIB..40 * MIB).contains(&private), "the workers' own: {private}");

    args.push("--shared");
    let shared = estimate_json(&args, 0);
    let last = processes(&shared).last().expect("there are five");
    assert_eq!(
        (&last["pid"], number(last, "shared_by"), &last["complete"]),
        (&Value::Null, 4, &true.into())
    );
    let bytes = number(last, "bytes");
    assert!(bytes >= 24 * MIB && bytes.abs_diff(once) < once / 8, "{bytes} of {once}");
    assert!(number(&shared["input"], "bytes") >= private + 23 * MIB);
    assert_eq!(shared["runs"][0]["verified"], true);
    assert!(last["results"][0]["effective_ratio"].as_f64() > Some(4.0), "it is text: {last}");

    let text = estimate(&args);
    assert!(
        text.stdout.contains("\nshared by 4 ") && text.stdout.contains("of 4 processes;"),
        "{text:?}"
    );
    assert!(text.stdout.lines().all(|line| line.chars().count() <= 80), "{}", text.stdout);
}

/// Without `CAP_SYS_ADMIN` the kernel hides the frames; address and content tell pages apart.
#[test]
fn shared_pages_count_once_for_a_user_who_does_not_see_frames() {
    let (_parent, ids) = prefork();
    let mut command = Command::new("setpriv");
    command.args([
        "--bounding-set=-sys_admin",
        env!("CARGO_BIN_EXE_pagefold"),
        "estimate",
        "--json",
    ]);
    command.args(["--codec", "lz4", "--shared", "--sample", "0.5"]);
    for id in &ids {
        command.args(["--pid", id]);
    }
    let Ok(output) = command.output() else {
        eprintln!("SKIPPED: there is no setpriv");
        return;
    };
    let outcome = Outcome::from(output);
    if outcome.stderr.contains("setpriv") {
        eprintln!("SKIPPED: {}", outcome.stderr.trim());
        return;
    }
    let document = outcome.json(0);
    let last = processes(&document).last().expect("there are five");
    let (bytes, (_, once)) = (number(last, "bytes"), shared_bytes(&document));
    assert!(bytes >= 24 * MIB && bytes.abs_diff(once) < once / 8, "{bytes} of {once}");
    let kept = number(&last["results"][0], "pages");
    assert!((bytes / 4096 / 3..bytes / 4096 / 3 * 2).contains(&kept), "half of them: {kept}");
}

#[test]
fn locked_memory_is_told_apart() {
    let mut python = python(
        "import ctypes, mmap\n\
         libc = ctypes.CDLL(None, use_errno=True)\n\
         area = mmap.mmap(-1, 2 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n\
         area.write(b'locked in memory ' * 123000)\n\
         place = ctypes.addressof(ctypes.c_char.from_buffer(area))\n\
         locked = libc.mlock(ctypes.c_void_p(place), ctypes.c_size_t(2 << 20))",
    );
    let id = python.id().to_string();
    if python.ask("locked") != "0" {
        eprintln!("SKIPPED: this user may not lock 2 MiB");
        return;
    }
    let document = estimate_json(["--codec", "lz4", "--pid", &id], 0);
    let locked = number(&processes(&document)[0], "locked_bytes");
    assert!((2 * MIB..3 * MIB).contains(&locked), "{locked}");
    let text = estimate(["--codec", "lz4", "--pid", &id]);
    assert!(text.stdout.contains("\nLocked in memory: 2.0 MiB of the private memory."), "{text:?}");
}

#[test]
fn mappings_are_summed_up_by_kind() {
    let python = python("data = [bytearray(1 << 20) for _ in range(20)]");
    let text = estimate(["--codec", "lz4", "--maps", "--pid", &python.id().to_string()]);
    assert_eq!(text.code, Some(0), "{text:?}");
    let (_, kinds) = text.stdout.split_once(" by kind:\n").expect("a table of kinds");
    let (kinds, largest) = kinds.split_once("\n\nThe largest of them:\n").expect("two tables");
    let names: Vec<_> = kinds.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names[0], "kind");
    let mut once = names.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), names.len(), "each kind once: {kinds}");
    assert!(names.contains(&"anonymous") && names.contains(&"heap"), "{kinds}");
    assert!(largest.lines().count() > names.len(), "{largest}");
}
