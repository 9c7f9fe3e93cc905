//! A swap device of zram, of this program's own: the peer of a region.
//!
//! Other devices are not touched. While it is there, the whole machine may swap to it.

use std::{fs, io, path::Path, process::Command};

use thiserror::Error;

const CONTROL: &str = "/sys/class/zram-control";
const PAGE_CLUSTER: &str = "/proc/sys/vm/page-cluster";

/// Why there is no swap device, or why one could not be taken away.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ZramError(String);

/// Swap on a zram device, with page-cluster 0. When dropped, it is taken away and page-cluster is as before.
#[derive(Debug)]
pub struct ZramSwap {
    number: u32,
    algorithm: String,
    /// As it was before; `None` if it was not changed.
    page_cluster: Option<String>,
    is_on: bool,
}

/// Whether this process has the effective user root.
pub fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        ids.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
    })
}

fn run(program: &str, arguments: &[&str]) -> Result<(), ZramError> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| ZramError(format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(ZramError(format!("{program}: {}", said.trim())))
}

fn write(path: impl AsRef<Path>, text: &str) -> Result<(), ZramError> {
    let path = path.as_ref();
    fs::write(path, text).map_err(|error| ZramError(format!("{}: {error}", path.display())))
}

impl ZramSwap {
    /// Adds a device of `bytes` that compresses with `algorithm`, and swaps to it before any other.
    ///
    /// # Errors
    /// When the process is not root's, or the kernel has no zram or refuses a step; what was done is undone.
    pub fn new(algorithm: &str, bytes: u64) -> Result<Self, ZramError> {
        if !is_root() {
            return Err(ZramError("only root may add a swap device".to_owned()));
        }
        // Reading the file adds a device.
        let number = fs::read_to_string(Path::new(CONTROL).join("hot_add"));
        let number = number.map_err(|error| ZramError(format!("no zram device: {error}")))?;
        let number = number.trim().parse();
        let number = number.map_err(|_| ZramError("no number of a zram device".to_owned()))?;
        let mut zram =
            Self { number, algorithm: algorithm.to_owned(), page_cluster: None, is_on: false };
        write(zram.attribute("comp_algorithm"), algorithm)?;
        write(zram.attribute("disksize"), &bytes.to_string())?;
        run("mkswap", &[&zram.device()])?;
        run("swapon", &["-p", "32767", &zram.device()])?;
        zram.is_on = true;
        let before = fs::read_to_string(PAGE_CLUSTER);
        let before = before.map_err(|error| ZramError(format!("{PAGE_CLUSTER}: {error}")))?;
        write(PAGE_CLUSTER, "0")?;
        zram.page_cluster = Some(before.trim().to_owned());
        Ok(zram)
    }

    /// What it compresses with.
    pub fn algorithm(&self) -> &str {
        &self.algorithm
    }

    fn device(&self) -> String {
        format!("/dev/zram{}", self.number)
    }

    fn attribute(&self, name: &str) -> String {
        format!("/sys/block/zram{}/{name}", self.number)
    }

    /// The memory that it holds (`mem_used_total`), in bytes.
    ///
    /// # Errors
    /// The system's; `InvalidData` if the kernel says something else.
    pub fn held_bytes(&self) -> io::Result<u64> {
        let text = fs::read_to_string(self.attribute("mm_stat"))?;
        let field = text.split_whitespace().nth(2).and_then(|field| field.parse().ok());
        field.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl Drop for ZramSwap {
    fn drop(&mut self) {
        let mut undone = Vec::new();
        if self.is_on {
            undone.push(run("swapoff", &[&self.device()]));
        }
        if let Some(before) = &self.page_cluster {
            undone.push(write(PAGE_CLUSTER, before));
        }
        undone.push(write(self.attribute("reset"), "1"));
        undone.push(write(Path::new(CONTROL).join("hot_remove"), &self.number.to_string()));
        for error in undone.into_iter().filter_map(Result::err) {
            eprintln!("zram{} is not as it was: {error}", self.number);
        }
    }
}
