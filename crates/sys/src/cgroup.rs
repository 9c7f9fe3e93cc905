//! The memory of a cgroup (version 2): use, bounds, and pressure.
//!
//! ```text
//!  /proc/self/cgroup       0::/PATH      which one
//!  /sys/fs/cgroup/PATH/    memory.current  memory.high  memory.max  memory.pressure
//! ```
//! Bounds of ancestors are read too. [`least_room`] includes version 1. Formats: *Control Group v2* and *PSI* in the
//! kernel's administration guide. Text of another form is a [`CgroupError::Parse`].

mod room;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

pub use self::room::{Room, least_room};

/// Why a cgroup could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// No cgroup of version 2, or not Linux.
    #[error("this process is in no cgroup of version 2")]
    None,
    /// A file could not be read.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A file does not have the documented form.
    #[error("{}: expected {expected}", file.display())]
    Parse {
        /// The file.
        file: PathBuf,
        /// The expected form.
        expected: &'static str,
    },
}

/// A cgroup, by its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    root: PathBuf,
    directory: PathBuf,
}

/// Memory of a cgroup, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CgroupMemory {
    /// Used, with page cache and kernel memory.
    pub current: u64,
    /// The kernel throttles and reclaims above this; the lowest of own and ancestors' bounds.
    pub high: Option<u64>,
    /// The kernel kills above this; the lowest of own and ancestors' bounds.
    pub max: Option<u64>,
}

/// The share of time in which a task waited, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Pressure {
    /// Over the last 10 seconds.
    pub avg10: f64,
    /// Over the last minute.
    pub avg60: f64,
}

impl Cgroup {
    /// This process's cgroup.
    ///
    /// # Errors
    /// [`CgroupError`].
    pub fn current() -> Result<Self, CgroupError> {
        Self::from_membership(
            &fs::read_to_string("/proc/self/cgroup").map_err(|_| CgroupError::None)?,
            Path::new("/sys/fs/cgroup"),
        )
    }

    /// The cgroup in this directory, below the root of the hierarchy.
    pub fn at(root: impl Into<PathBuf>, directory: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), directory: directory.into() }
    }

    fn from_membership(text: &str, root: &Path) -> Result<Self, CgroupError> {
        let path = text.lines().find_map(|line| line.strip_prefix("0::/"));
        let path = path.ok_or(CgroupError::None)?;
        // In a cgroup namespace the path may leave the mounted part.
        let inside = !Path::new(path).components().any(|part| part.as_os_str() == "..");
        let directory = if inside { root.join(path) } else { root.to_owned() };
        if !root.join("cgroup.controllers").exists() {
            return Err(CgroupError::None);
        }
        Ok(Self { root: root.to_owned(), directory })
    }

    /// Use and bounds.
    ///
    /// # Errors
    /// [`CgroupError`]: `Io` in the root cgroup, which has no such files.
    pub fn memory(&self) -> Result<CgroupMemory, CgroupError> {
        let current = self.directory.join("memory.current");
        let mut memory = CgroupMemory {
            current: number(&current)?
                .ok_or(CgroupError::Parse { file: current, expected: "a number of bytes" })?,
            ..CgroupMemory::default()
        };
        // The root too: in a container it is the container's cgroup.
        for directory in self.directory.ancestors().take_while(|path| path.starts_with(&self.root))
        {
            for (bound, name) in
                [(&mut memory.high, "memory.high"), (&mut memory.max, "memory.max")]
            {
                let file = directory.join(name);
                // A level without the controller has no such file.
                if file.exists()
                    && let Some(bytes) = number(&file)?
                {
                    *bound = Some(bound.map_or(bytes, |least| least.min(bytes)));
                }
            }
        }
        Ok(memory)
    }

    /// How much tasks of this cgroup waited for memory, else of the whole system; `None` if the kernel does not count
    /// it.
    ///
    /// # Errors
    /// [`CgroupError`].
    pub fn pressure(&self) -> Result<Option<Pressure>, CgroupError> {
        for file in [self.directory.join("memory.pressure"), "/proc/pressure/memory".into()] {
            // Reading fails if counting is off.
            if let Ok(text) = fs::read_to_string(&file) {
                let parsed = pressure(&text);
                return parsed
                    .map(Some)
                    .ok_or(CgroupError::Parse { file, expected: "some avg10=.. avg60=.." });
            }
        }
        Ok(None)
    }
}

fn number(file: &Path) -> Result<Option<u64>, CgroupError> {
    let text = fs::read_to_string(file)
        .map_err(|source| CgroupError::Io { file: file.to_owned(), source })?;
    match text.trim_end() {
        "max" => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| CgroupError::Parse {
            file: file.to_owned(),
            expected: "a number of bytes, or `max`",
        }),
    }
}

fn pressure(text: &str) -> Option<Pressure> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let field = |name: &str| {
        let mut fields = some.split_whitespace().filter_map(|field| field.split_once('='));
        fields.find(|(key, _)| *key == name)?.1.parse::<f64>().ok()
    };
    Some(Pressure { avg10: field("avg10")?, avg60: field("avg60")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_read_from_the_line_of_some() {
        let text = "some avg10=1.50 avg60=0.25 avg300=0.00 total=12\nfull avg10=9.00 avg60=9.00\n";
        assert_eq!(pressure(text), Some(Pressure { avg10: 1.5, avg60: 0.25 }));
        for text in ["", "full avg10=1 avg60=1", "some avg10=x avg60=1", "some avg60=1"] {
            assert_eq!(pressure(text), None, "{text}");
        }
    }

    #[test]
    fn the_lowest_bound_on_the_way_up_is_found() {
        let root = std::env::temp_dir().join(format!("pagefold-cgroup-{}", std::process::id()));
        let inner = root.join("outer/inner");
        fs::create_dir_all(&inner).expect("a temporary directory");
        let write = |name: &str, text: &str| fs::write(root.join(name), text).expect("writable");
        write("cgroup.controllers", "memory\n");
        write("outer/memory.high", "max\n");
        write("outer/memory.max", "5000\n");
        write("outer/inner/memory.current", "1234\n");
        write("outer/inner/memory.high", "4000\n");
        write("outer/inner/memory.max", "9000\n");
        write("outer/inner/memory.pressure", "some avg10=20.00 avg60=2.00 avg300=0 total=1\n");
        let cgroup = Cgroup::from_membership("1:name=x:/y\n0::/outer/inner\n", &root);
        let cgroup = cgroup.expect("a line of version 2");
        let memory = cgroup.memory().expect("well-formed");
        assert_eq!(memory, CgroupMemory { current: 1234, high: Some(4000), max: Some(5000) });
        assert_eq!(cgroup.pressure().expect("well-formed").map(|some| some.avg10), Some(20.0));
        // In a container the root has a bound.
        write("memory.max", "3000\n");
        write("memory.current", "2000\n");
        assert_eq!(cgroup.memory().expect("well-formed").max, Some(3000));
        let top = Cgroup::from_membership("0::/\n", &root).expect("a line of version 2");
        let memory = top.memory().expect("well-formed");
        assert_eq!(memory, CgroupMemory { current: 2000, high: None, max: Some(3000) });
        write("outer/inner/memory.high", "lots\n");
        assert!(matches!(cgroup.memory(), Err(CgroupError::Parse { .. })));
        assert!(matches!(Cgroup::from_membership("1:x:/\n", &root), Err(CgroupError::None)));
        fs::remove_dir_all(&root).expect("ours");
    }
}
