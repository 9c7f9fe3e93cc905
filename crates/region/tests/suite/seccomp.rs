//! Under filters of system calls: as in a container, and one that kills.

use std::{env, fs, os::unix::fs::PermissionsExt as _, os::unix::process::CommandExt as _};

use pagefold_region::{FaultMode, Region, probe_modes};

use crate::parts;

/// What Docker's default profile refuses to a container without privileges, as far as a region, a store or a test could call it.
const REFUSED: [i64; 22] = [
    libc::SYS_userfaultfd,
    libc::SYS_process_madvise,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_mbind,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    libc::SYS_set_mempolicy,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_kcmp,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

fn op(code: u32, jumps: (u8, u8), k: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).expect("16 bits"), jt: jumps.0, jf: jumps.1, k }
}

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const ANSWER: u32 = libc::BPF_RET | libc::BPF_K;

/// Refuses the calls of the list with `EPERM`.
fn of_a_container() -> Vec<libc::sock_filter> {
    let mut filter = vec![op(LOAD, (0, 0), 0)];
    for call in REFUSED {
        filter.push(op(EQUAL, (0, 1), u32::try_from(call).expect("a number")));
        filter.push(op(ANSWER, (0, 0), libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned()));
    }
    filter.push(op(ANSWER, (0, 0), libc::SECCOMP_RET_ALLOW));
    filter
}

/// Kills for userfaultfd, and for `madvise` with an advice that is newer than 30.
fn that_kills() -> Vec<libc::sock_filter> {
    let number = |call: i64| u32::try_from(call).expect("a number");
    vec![
        op(LOAD, (0, 0), 0),
        op(EQUAL, (0, 1), number(libc::SYS_userfaultfd)),
        op(ANSWER, (0, 0), libc::SECCOMP_RET_KILL_PROCESS),
        op(EQUAL, (0, 3), number(libc::SYS_madvise)),
        // The low half of the third argument.
        op(LOAD, (0, 0), 16 + 2 * 8),
        op(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, (0, 1), 30),
        op(ANSWER, (0, 0), libc::SECCOMP_RET_KILL_PROCESS),
        op(ANSWER, (0, 0), libc::SECCOMP_RET_ALLOW),
    ]
}

fn install(filter: &[libc::sock_filter]) -> std::io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).expect("short"),
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: numbers only.
    let no_more = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: a valid program, which the kernel copies.
    let set = unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0)
    };
    if no_more == 0 && set == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Another user than root, from here on.
fn become_another_user() -> std::io::Result<()> {
    const OTHER: u32 = 65_534;
    let check = |answer: i32| match answer {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    };
    // SAFETY: no arguments.
    if unsafe { libc::geteuid() } != 0 {
        return Ok(());
    }
    // SAFETY: an empty list.
    check(unsafe { libc::setgroups(0, std::ptr::null()) })?;
    // SAFETY: a number.
    check(unsafe { libc::setgid(OTHER) })?;
    // SAFETY: a number.
    check(unsafe { libc::setuid(OTHER) })
}

/// A copy of this program that every user may run.
fn program(directory: &std::path::Path) -> std::path::PathBuf {
    let copy = directory.join("suite");
    fs::copy(env::current_exe().expect("this program"), &copy).expect("room");
    for path in [directory, &copy] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the owner");
    }
    copy
}

/// All tests pass in a container, in guard mode.
#[test]
fn in_a_container_without_privileges() {
    if env::var_os("PAGEFOLD_REGION_CONTAINED").is_some() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = std::process::Command::new(program(directory.path()));
    command.args(["--nocapture", "--test-threads", "2", "--skip", "seccomp::in_a_container"]);
    command.env("PAGEFOLD_REGION_CONTAINED", "1").current_dir("/");
    let filter = of_a_container();
    // SAFETY: system calls in the child, before the program begins.
    unsafe { command.pre_exec(move || become_another_user().and_then(|()| install(&filter))) };
    let ended = parts::wait(&mut command);
    ended.assert_passed();
    assert!(ended.stderr().contains("skipped: inline"), "{}", ended.stderr());
}

#[test]
#[ignore = "run by the_mode_is_named"]
fn part_auto() {
    let Some(FaultMode::Auto) = parts::mode() else { return };
    let mut region = Region::builder(8 << 20).resident_limit(1 << 20).build().expect("guards");
    eprintln!("taken: {}", region.fault_mode().reason);
    assert_eq!(region.fault_mode().mode, FaultMode::Guard);
    region.as_mut_slice().fill(5);
    assert!(region.as_slice().iter().all(|&byte| byte == 5));
}

#[test]
fn the_mode_is_named() {
    let mut command = parts::command("seccomp::part_auto", FaultMode::Auto);
    let filter = of_a_container();
    // SAFETY: system calls in the child, before the program begins.
    unsafe { command.pre_exec(move || install(&filter)) };
    let ended = parts::wait(&mut command);
    ended.assert_passed();
    let text = ended.stderr();
    assert!(text.contains("a memory file with guard pages works"), "{text}");
    assert!(
        text.contains("userfaultfd in user mode is refused: Operation not permitted"),
        "{text}"
    );
}

#[test]
#[ignore = "run by a_filter_that_kills"]
fn part_killed() {
    let Some(mode) = parts::mode() else { return };
    for report in probe_modes() {
        eprintln!("{}: {}", report.mode, report.reason);
        assert!(!report.works, "{report:?}");
    }
    let error = Region::builder(8 << 20).fault_mode(mode).build().expect_err("killed");
    eprintln!("{error}");
}

#[test]
fn a_filter_that_kills() {
    let mut command = parts::command("seccomp::part_killed", FaultMode::Auto);
    let filter = that_kills();
    // SAFETY: system calls in the child, before the program begins.
    unsafe { command.pre_exec(move || install(&filter)) };
    let ended = parts::wait(&mut command);
    ended.assert_passed();
    assert!(
        ended.stderr().contains("a filter kills for a memory file with guard pages"),
        "{}",
        ended.stderr()
    );
}
