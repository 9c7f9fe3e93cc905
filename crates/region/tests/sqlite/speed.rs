//! SQLite's own speed test, `speedtest1`, in a library that `cargo xtask sqlite-speed` builds.
//!
//! Its main runs twice, each time in a process of its own, with the page cache in plain memory and then in a region. The first run tells how
//! many pages it wants; a quarter of them may be in memory in the second. `--verify` makes a hash of all its answers.

use std::{
    env,
    ffi::{CStr, CString, c_char, c_int, c_void},
    process::Command,
    time::Instant,
};

use pagefold_region::{FaultMode, Region};

const LIBRARY: &str = "PAGEFOLD_SPEEDTEST1";
const SIZE: &str = "PAGEFOLD_SPEEDTEST1_SIZE";
const MODE: &str = "PAGEFOLD_SPEEDTEST1_MODE";
/// In a part: the slots of the region; 0 for plain memory.
const SLOTS: &str = "PAGEFOLD_SPEEDTEST1_SLOTS";
/// A page, and what SQLite keeps beside it.
const SLOT: usize = 4096 + 512;
/// Of plain memory: more than the test wants at any size that is allowed. Untouched ones take nothing.
const SLOTS_MAX: usize = 1 << 19;

/// The numbers of SQLite's interface.
const CONFIG_PAGECACHE: c_int = 7;
const STATUS_PAGECACHE_USED: c_int = 1;
const STATUS_PAGECACHE_OVERFLOW: c_int = 2;

type Config = unsafe extern "C" fn(c_int, ...) -> c_int;
type Status = unsafe extern "C" fn(c_int, *mut c_int, *mut c_int, c_int) -> c_int;
type Main = unsafe extern "C" fn(c_int, *mut *mut c_char) -> c_int;

struct Library(*mut c_void);

impl Library {
    fn open(path: &str) -> Self {
        let path = CString::new(path).expect("a path");
        // SAFETY: a library that was built from known sources; its initialisers are the C library's.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null(), "{path:?} cannot be loaded");
        Self(handle)
    }

    fn symbol(&self, name: &CStr) -> *mut c_void {
        // SAFETY: a handle that was opened and is never closed.
        let symbol = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        assert!(!symbol.is_null(), "{name:?} is missing");
        symbol
    }

    fn config(&self) -> Config {
        // SAFETY: the type that SQLite documents.
        unsafe { std::mem::transmute::<*mut c_void, Config>(self.symbol(c"sqlite3_config")) }
    }

    /// Most pages in the cache that was lent, and most bytes of pages that did not fit it.
    fn most_used(&self) -> (usize, usize) {
        // SAFETY: the type that SQLite documents.
        let status =
            unsafe { std::mem::transmute::<*mut c_void, Status>(self.symbol(c"sqlite3_status")) };
        let most = |what| {
            let (mut now, mut most) = (0, 0);
            // SAFETY: room for two numbers.
            assert_eq!(unsafe { status(what, &raw mut now, &raw mut most, 0) }, 0);
            usize::try_from(most).expect("no negative count")
        };
        (most(STATUS_PAGECACHE_USED), most(STATUS_PAGECACHE_OVERFLOW))
    }

    fn main(&self, arguments: &[&str]) -> c_int {
        let arguments: Vec<CString> =
            arguments.iter().map(|one| CString::new(*one).expect("text")).collect();
        let mut pointers: Vec<*mut c_char> =
            arguments.iter().map(|one| one.as_ptr().cast_mut()).collect();
        pointers.push(std::ptr::null_mut());
        let count = c_int::try_from(arguments.len()).expect("few");
        // SAFETY: the type of a main.
        let main =
            unsafe { std::mem::transmute::<*mut c_void, Main>(self.symbol(c"speedtest1_main")) };
        // SAFETY: as many arguments as it says, and null after them; they live for the call.
        unsafe { main(count, pointers.as_mut_ptr()) }
    }
}

fn number(variable: &str) -> usize {
    env::var(variable).ok().and_then(|text| text.parse().ok()).expect("a number")
}

fn mode() -> FaultMode {
    let name = env::var(MODE).unwrap_or_default();
    let modes = [FaultMode::Inline, FaultMode::Guard, FaultMode::Thread];
    modes.into_iter().find(|mode| mode.name() == name).unwrap_or(FaultMode::Auto)
}

#[test]
#[ignore = "run by speed_test_in_a_region"]
fn part_speed() {
    let Ok(path) = env::var(LIBRARY) else { return };
    let (library, slots) = (Library::open(&path), number(SLOTS));
    let mut region = (slots > 0).then(|| {
        let bytes = slots * SLOT;
        let region = Region::builder(bytes).resident_limit(bytes / 4).fault_mode(mode()).build();
        region.expect("a mode that works")
    });
    let mut plain = Vec::new();
    let (memory, lent) = match &mut region {
        Some(region) => (region.as_mut_ptr(), slots),
        None => {
            plain.resize(SLOTS_MAX * SLOT / 8, 0_u64);
            (plain.as_mut_ptr().cast(), SLOTS_MAX)
        }
    };
    let (slot, lent) = (c_int::try_from(SLOT).expect("small"), c_int::try_from(lent).expect("few"));
    // SAFETY: memory of `slot * lent` bytes that outlives all connections; none is open.
    let set = unsafe { library.config()(CONFIG_PAGECACHE, memory.cast::<c_void>(), slot, lent) };
    assert_eq!(set, 0);
    let began = Instant::now();
    let size = number(SIZE).to_string();
    assert_eq!(library.main(&["speedtest1", "--memdb", "--verify", "--size", &size]), 0);
    let seconds = began.elapsed().as_secs_f64();
    let (pages, overflow) = library.most_used();
    eprintln!("pages {pages} overflow {overflow}");
    eprintln!("{seconds:.2} s");
    if let Some(region) = &region {
        let stats = region.stats();
        assert!(stats.resident_bytes <= stats.resident_limit_bytes);
        assert!(stats.dropped > 0, "a quarter is in memory, so pages left it");
        eprintln!(
            "mode {}, limit {} KiB of {} KiB, {} pages left memory, {} of them clean",
            region.fault_mode().mode,
            stats.resident_limit_bytes >> 10,
            region.len() >> 10,
            stats.dropped,
            stats.dropped_clean
        );
    }
    drop(plain);
}

/// The hash of all answers, the most pages, the bytes that overflowed.
fn run(slots: usize) -> (String, usize, usize) {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.args(["speed::part_speed", "--exact", "--ignored", "--nocapture"]);
    let output = command.env(SLOTS, slots.to_string()).output().expect("this program runs");
    let (printed, said) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{}\n{printed}\n{said}", output.status);
    let hash = printed.lines().find(|line| line.contains("Verification Hash"));
    let hash = hash.unwrap_or_else(|| panic!("no hash: {printed}")).trim().to_owned();
    let figures =
        said.lines().find_map(|line| line.strip_prefix("pages ")?.split_once(" overflow "));
    let (pages, overflow) = figures.expect("figures");
    let total = printed.lines().find(|line| line.contains("TOTAL")).unwrap_or_default();
    eprintln!("{} slots in a region: {hash}\n{}\n{said}", slots, total.trim());
    (hash, pages.parse().expect("a number"), overflow.parse().expect("a number"))
}

#[test]
#[ignore = "run by cargo xtask sqlite-speed, which builds the library"]
fn speed_test_in_a_region() {
    assert!(env::var(LIBRARY).is_ok(), "run it by `cargo xtask sqlite-speed`");
    let (hash, wanted, overflow) = run(0);
    assert_eq!(overflow, 0, "all pages fit");
    let (in_region, pages, overflow) = run(wanted + 1);
    assert_eq!(in_region, hash, "the answers");
    assert_eq!((pages, overflow), (wanted, 0), "all pages were in the region");
}
