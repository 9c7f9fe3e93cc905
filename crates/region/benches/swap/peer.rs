//! A swap device of zram, of this program's own, while a lock file is held.

use std::{fs, path::PathBuf, process::Command};

/// Reset and removed when dropped.
pub(super) struct Zram {
    number: u32,
    page_cluster: String,
}

const PAGE_CLUSTER: &str = "/proc/sys/vm/page-cluster";

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

impl Zram {
    pub(super) fn new(bytes: usize) -> Result<Self, String> {
        // SAFETY: no arguments, cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return Err("only root may add a swap device".to_owned());
        }
        let number = fs::read_to_string("/sys/class/zram-control/hot_add");
        let number = number.map_err(|error| format!("no zram: {error}"))?;
        let number = number.trim().parse().map_err(|_| "no number of a device".to_owned())?;
        let page_cluster = fs::read_to_string(PAGE_CLUSTER).map_err(|error| error.to_string())?;
        let zram = Self { number, page_cluster };
        zram.set("comp_algorithm", "lz4")?;
        zram.set("disksize", &bytes.to_string())?;
        run("mkswap", &[&zram.device()])?;
        run("swapon", &["-p", "32767", &zram.device()])?;
        fs::write(PAGE_CLUSTER, "0").map_err(|error| error.to_string())?;
        Ok(zram)
    }

    fn device(&self) -> String {
        format!("/dev/zram{}", self.number)
    }

    fn set(&self, name: &str, value: &str) -> Result<(), String> {
        let path = format!("/sys/block/zram{}/{name}", self.number);
        fs::write(&path, value).map_err(|error| format!("{path}: {error}"))
    }

    pub(super) fn statistics(&self) -> PathBuf {
        format!("/sys/block/zram{}/mm_stat", self.number).into()
    }
}

impl Drop for Zram {
    fn drop(&mut self) {
        let undone = [
            run("swapoff", &[&self.device()]),
            self.set("reset", "1"),
            fs::write(PAGE_CLUSTER, self.page_cluster.trim()).map_err(|error| error.to_string()),
            fs::write("/sys/class/zram-control/hot_remove", self.number.to_string())
                .map_err(|error| error.to_string()),
        ];
        for error in undone.into_iter().filter_map(Result::err) {
            eprintln!("zram{} is not as it was: {error}", self.number);
        }
    }
}
