//! Reads the processes of a control group and of those below it. Formats: *Control Group v2* in the kernel's
//! administration guide, `proc_pid_mountinfo(5)`.

use std::{
    fs,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

use walkdir::WalkDir;

const MEMBERS: &str = "cgroup.procs";

/// Sorted process numbers, or a sentence why there are none.
pub(crate) fn members(group: &Path) -> Result<Vec<u32>, String> {
    let directory = locate(group).ok_or(
        "no such control group; give its directory, or its path as /proc/PID/cgroup has it",
    )?;
    let mut members: Vec<u32> = Vec::new();
    for entry in WalkDir::new(&directory).follow_links(false) {
        // The group was removed meanwhile.
        let Ok(entry) = entry else { continue };
        if !entry.file_type().is_file() || entry.file_name() != MEMBERS {
            continue;
        }
        match fs::read_to_string(entry.path()) {
            Ok(text) => {
                members.extend(text.lines().filter_map(|line| line.trim().parse::<u32>().ok()));
            }
            // A threaded group below lists no processes.
            Err(_) if entry.depth() > 1 => {}
            Err(error) => return Err(format!("{MEMBERS} cannot be read: {error}")),
        }
    }
    members.sort_unstable();
    members.dedup();
    // The kernel writes 0 for a process of another namespace.
    let hidden = members.first() == Some(&0);
    members.retain(|&member| member != 0);
    if members.is_empty() {
        let why =
            if hidden { "its processes cannot be seen from here" } else { "it has no process" };
        return Err(why.to_owned());
    }
    Ok(members)
}

fn locate(group: &Path) -> Option<PathBuf> {
    let is_group = |directory: &PathBuf| directory.join(MEMBERS).is_file();
    let as_given = group.to_path_buf();
    if is_group(&as_given) {
        return Some(as_given);
    }
    let below = group.strip_prefix("/").ok()?;
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    hierarchies(&mounts).into_iter().map(|mount| mount.join(below)).find(is_group)
}

/// The unified one first.
fn hierarchies(mountinfo: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in mountinfo.split(|&byte| byte == b'\n') {
        let words: Vec<_> = line.split(|&byte| byte == b' ').collect();
        // Six words, optional words, a dash, the file system's type.
        let Some(dash) = words.iter().position(|word| word == b"-") else { continue };
        let (Some(place), Some(kind)) = (words.get(4), words.get(dash + 1)) else { continue };
        if kind.starts_with(b"cgroup") {
            found.push((*kind != b"cgroup2", PathBuf::from(unescape(place))));
        }
    }
    found.sort_by_key(|(is_old, _)| *is_old);
    found.into_iter().map(|(_, place)| place).collect()
}

fn unescape(word: &[u8]) -> std::ffi::OsString {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [first, others @ ..] = rest {
        let code = others.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &others[3..];
            }
            _ => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    std::ffi::OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_those_of_the_group_and_below_each_once() {
        let group = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(group.path().join("worker")).expect("a directory");
        fs::write(group.path().join(MEMBERS), "30\n0\n4\n").expect("written");
        fs::write(group.path().join("worker").join(MEMBERS), "7\n30\n").expect("written");
        fs::write(group.path().join("worker/cgroup.threads"), "99\n").expect("written");
        assert_eq!(members(group.path()), Ok(vec![4, 7, 30]));
    }

    #[test]
    fn a_group_without_processes_and_what_is_no_group_are_told_apart() {
        let group = tempfile::tempdir().expect("a temporary directory");
        let why = |path: &Path| members(path).expect_err("nothing is there");
        assert!(why(group.path()).contains("no such control group"), "it has no list");
        fs::write(group.path().join(MEMBERS), "").expect("written");
        assert_eq!(why(group.path()), "it has no process");
        fs::write(group.path().join(MEMBERS), "0\n").expect("written");
        assert!(why(group.path()).contains("cannot be seen"));
        assert!(why(Path::new("/nonexistent/group")).contains("no such control group"));
    }

    #[test]
    fn the_unified_hierarchy_comes_first() {
        let mounts =
            b"30 24 0:26 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
            24 1 0:22 / /proc rw - proc proc rw\n\
            31 24 0:27 / /a\\040place rw master:1 shared:10 - cgroup2 cgroup2 rw\nbroken line\n";
        assert_eq!(
            hierarchies(mounts),
            [Path::new("/a place"), Path::new("/sys/fs/cgroup/memory")]
        );
    }
}
