//! The memory that cgroups of version 1 and 2 leave this process.
//!
//! ```text
//!  /proc/self/cgroup       0::/PATH, N:memory:/PATH                     which ones
//!  /proc/self/mountinfo    where hierarchies are mounted, and which part of each
//!  version 2               memory.max  memory.high  memory.current  memory.stat
//!  version 1               memory.limit_in_bytes  memory.usage_in_bytes  memory.stat
//! ```
//! Each level up to the mount point leaves: bound, less used, plus droppable (pages of files). Unreadable files bound
//! nothing. Formats: *Control Group v2*, *Memory Resource Controller* and `proc_pid_mountinfo(5)`.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The memory that a level leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Bytes until its bound, or 0.
    pub bytes: u64,
    /// The level's directory.
    pub directory: PathBuf,
}

/// No bound: version 1 writes the largest number of pages.
const UNBOUNDED: u64 = 1 << 62;

struct Files {
    bounds: &'static [&'static str],
    used: &'static str,
    /// Memory that the kernel can drop, with levels below.
    droppable: &'static [&'static str],
}

const VERSION_2: Files = Files {
    bounds: &["memory.max", "memory.high"],
    used: "memory.current",
    droppable: &["inactive_file", "active_file", "slab_reclaimable"],
};

const VERSION_1: Files = Files {
    bounds: &["memory.limit_in_bytes"],
    used: "memory.usage_in_bytes",
    droppable: &["total_inactive_file", "total_active_file"],
};

/// The least that any level leaves; `None` without bounds.
///
/// # Examples
/// ```
/// if let Some(room) = pagefold_sys::cgroup::least_room() {
///     println!("{} bytes until the bound of {}", room.bytes, room.directory.display());
/// }
/// ```
pub fn least_room() -> Option<Room> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    least_of(&membership, &fs::read_to_string("/proc/self/mountinfo").ok()?)
}

fn least_of(membership: &str, mounts: &str) -> Option<Room> {
    let mounts: Vec<_> = mounts.lines().filter_map(Mount::parse).collect();
    let of = |version: u8, path: &str| {
        let files = if version == 2 { &VERSION_2 } else { &VERSION_1 };
        let hierarchy = mounts.iter().filter(move |mount| mount.version == version);
        let path = PathBuf::from(path);
        hierarchy.flat_map(move |mount| mount.levels(&path)).filter_map(|level| files.room(&level))
    };
    let rooms = membership.lines().filter_map(|line| {
        let (_, line) = line.split_once(':')?;
        let (controllers, path) = line.split_once(':')?;
        match controllers {
            "" => Some(of(2, path)),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                Some(of(1, path))
            }
            _ => None,
        }
    });
    rooms.flatten().min_by_key(|room| room.bytes)
}

struct Mount {
    version: u8,
    root: PathBuf,
    point: PathBuf,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (unescape(mount.next()?), unescape(mount.next()?));
        let mut file_system = file_system.split(' ');
        let version = match file_system.next()? {
            "cgroup2" => 2,
            "cgroup" if file_system.nth(1)?.split(',').any(|option| option == "memory") => 1,
            _ => return None,
        };
        Some(Self { version, root, point })
    }

    /// The directories from cgroup `path` up to the mount point.
    fn levels(&self, path: &Path) -> Vec<PathBuf> {
        let outside = |path: &Path| path.components().any(|part| part.as_os_str() == "..");
        // For a path outside the mounted part the mount point is nearest.
        let below = path.strip_prefix(&self.root).ok().filter(|below| !outside(below));
        let directory = below.map_or_else(|| self.point.clone(), |below| self.point.join(below));
        let levels = directory.ancestors().take_while(|level| level.starts_with(&self.point));
        levels.map(Path::to_path_buf).collect()
    }
}

/// Spaces and the like are octal after a backslash.
fn unescape(field: &str) -> PathBuf {
    let mut text = field.to_owned();
    for (escape, letter) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        text = text.replace(escape, letter);
    }
    text.into()
}

impl Files {
    fn room(&self, level: &Path) -> Option<Room> {
        let number = |name: &str| {
            let text = fs::read_to_string(level.join(name)).ok()?;
            text.trim_end().parse::<u64>().ok()
        };
        let bounds = self.bounds.iter().filter_map(|name| number(name));
        let bound = bounds.filter(|&bound| bound < UNBOUNDED).min()?;
        let stat = fs::read_to_string(level.join("memory.stat")).unwrap_or_default();
        let droppable = stat.lines().filter_map(|line| {
            let (name, bytes) = line.split_once(' ')?;
            self.droppable.contains(&name).then(|| bytes.trim().parse::<u64>().ok())?
        });
        let used = number(self.used)?.saturating_sub(droppable.sum());
        Some(Room { bytes: bound.saturating_sub(used), directory: level.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let id = std::process::id();
            Self(std::env::temp_dir().join(format!("pagefold-room-{name}-{id}")))
        }

        fn write(&self, name: &str, text: &str) {
            let file = self.0.join(name);
            fs::create_dir_all(file.parent().expect("it is below")).expect("a directory");
            fs::write(file, text).expect("writable");
        }

        fn mount(&self, root: &str, point: &str, kind: &str) -> String {
            let point = self.0.join(point);
            format!("31 23 0:28 {root} {} rw shared:1 - {kind}\n", point.display())
        }

        fn room(&self, bytes: u64, directory: &str) -> Option<Room> {
            let directory = self.0.join(directory);
            Some(Room { bytes, directory })
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn every_level_of_version_2_counts_with_what_it_can_drop() {
        let tree = Tree::new("v2");
        let mounts = tree.mount("/", "unified", "cgroup2 cgroup2 rw");
        tree.write("unified/a/b/memory.max", "max\n");
        tree.write("unified/a/b/memory.high", "9000\n");
        tree.write("unified/a/b/memory.current", "1000\n");
        tree.write("unified/a/memory.max", "5000\n");
        tree.write("unified/a/memory.current", "4500\n");
        tree.write("unified/a/memory.stat", "anon 4000\ninactive_file 300\nactive_file 100\n");
        assert_eq!(least_of("0::/a/b\n", &mounts), tree.room(900, "unified/a"));
        tree.write("unified/a/b/memory.high", "1200\n");
        assert_eq!(least_of("0::/a/b\n", &mounts), tree.room(200, "unified/a/b"));
        tree.write("unified/a/b/memory.high", "800\n");
        assert_eq!(least_of("0::/a/b\n", &mounts), tree.room(0, "unified/a/b"));
        assert_eq!(least_of("0::/c\n", &mounts), None);
    }

    #[test]
    fn version_1_is_found_among_the_controllers() {
        let tree = Tree::new("v1");
        let mounts = tree.mount("/", "cpu", "cgroup cgroup rw,cpu")
            + &tree.mount("/", "mem", "cgroup cgroup rw,memory")
            + &tree.mount("/", "unified", "cgroup2 cgroup2 rw");
        tree.write("mem/memory.limit_in_bytes", "9223372036854771712\n");
        tree.write("mem/memory.usage_in_bytes", "77\n");
        tree.write("mem/x/memory.limit_in_bytes", "4096\n");
        tree.write("mem/x/memory.usage_in_bytes", "3000\n");
        tree.write("mem/x/memory.stat", "inactive_file 1\ntotal_inactive_file 500\n");
        let membership = "3:cpu:/y\n2:hugetlb,memory:/x/deeper\n0::/\n";
        assert_eq!(least_of(membership, &mounts), tree.room(1596, "mem/x"));
        assert_eq!(least_of("3:cpu:/x\n0::/\n", &mounts), None);
        assert_eq!(least_of("2:memory:/\n", &mounts), None, "no bound at the root");
    }

    #[test]
    fn in_a_container_the_topmost_level_has_its_bound() {
        let tree = Tree::new("container");
        tree.write("own/memory.max", "4000\n");
        tree.write("own/memory.current", "1000\n");
        // With a cgroup namespace, without, and entered from outside.
        for (membership, root) in
            [("0::/\n", "/"), ("0::/pod/c1\n", "/pod/c1"), ("0::/../c2\n", "/")]
        {
            let mounts = tree.mount(root, "own", "cgroup2 cgroup rw,nsdelegate");
            assert_eq!(least_of(membership, &mounts), tree.room(3000, "own"), "{membership}");
        }
    }

    #[test]
    fn what_has_no_such_form_bounds_nothing() {
        let tree = Tree::new("hostile");
        let mounts = tree.mount("/", "with\\040space", "cgroup2 cgroup2 rw");
        tree.write("with space/memory.max", "4000\n");
        assert_eq!(least_of("0::/\n", &mounts), None, "no use is known");
        tree.write("with space/memory.current", "lots\n");
        assert_eq!(least_of("0::/\n", &mounts), None);
        tree.write("with space/memory.current", "1\n");
        tree.write("with space/memory.stat", "\ninactive_file\ninactive_file x\n");
        assert_eq!(least_of("0::/\n", &mounts), tree.room(3999, "with space"));
        for hostile in ["", ":", "::", "0:", "0::", "x", "0::..", "0::/../../.."] {
            let _ = least_of(hostile, &mounts);
        }
        for cut in 0..mounts.len() {
            let _ = least_of("0::/\n", &mounts[..cut]);
        }
    }
}
