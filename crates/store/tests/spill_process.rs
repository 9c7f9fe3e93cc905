//! A store with a backing in its process: forks, a file system that is full, a limit on the length of files, directories that cannot be used.
#![cfg(not(loom))]

use std::{
    env,
    ffi::CString,
    fs,
    os::unix::ffi::OsStrExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use pagefold_store::{
    GetError, Page, PutError, Space, SpaceConfig, Store,
    spill::{EXTENT_BYTES_MIN, FileBacking, Spill},
};
use pagefold_testkit::{corpus::Mix, seed::Seed};
use rand::RngExt as _;

fn pages() -> Vec<Page> {
    let pages = Mix::PROCESS.pages(&mut Seed::for_test(0x70).rng(0), 500);
    pages.iter().map(|page| page.as_slice().try_into().expect("a page")).collect()
}

/// It says which key and version it is.
fn page(pages: &[Page], key: u64, version: u64) -> Page {
    let mut page = pages[usize::try_from(key).expect("small") % pages.len()];
    page[..16].copy_from_slice(&[key.to_le_bytes(), version.to_le_bytes()].concat());
    page
}

/// The version of what lies under a key; `None` if that is no page of this key.
fn version(pages: &[Page], key: u64, found: &Page) -> Option<u64> {
    let version = u64::from_le_bytes(*found[8..].first_chunk()?);
    (*found == page(pages, key, version)).then_some(version)
}

fn store(directory: &Path, encrypts: bool, limit: usize) -> Store {
    let backing = FileBacking::new(directory, EXTENT_BYTES_MIN).expect("a file");
    let spill = Spill::builder(backing).extent_bytes(EXTENT_BYTES_MIN).encrypts(encrypts);
    let spill = spill.without_rests().build().expect("sensible");
    Store::builder().limit(limit).spill(spill).build().expect("room")
}

/// Says that it is over when it goes, by a failed assertion too.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Forks; the child's exit code says which of the answers of `f` was wrong, and is 0 if none was.
fn in_child<const N: usize>(f: impl FnOnce() -> [bool; N]) -> i32 {
    // SAFETY: the child calls what this file is about, and ends without running anything of the parent.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    if pid == 0 {
        let answers = catch_unwind(AssertUnwindSafe(f));
        let code = answers.map_or(99, |answers| {
            let wrong = answers.iter().position(|is_right| !is_right);
            wrong.map_or(0, |at| i32::try_from(at).expect("few") + 1)
        });
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: a child of this process, and a place for its status.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid);
    status
}

const COUNT: u64 = 8000;

/// What a child finds under all keys, and does. Each answer is whether it is right.
fn use_in_child(store: Store, space: Space, pages: &[Page], newest: u64) -> [bool; 6] {
    let mut back = [0; 4096];
    let mut all_right = true;
    let mut there = 0;
    for key in (0..COUNT).step_by(7) {
        match space.get(key, &mut back) {
            // Nothing newer than the fork.
            Ok(()) => match version(pages, key, &back) {
                Some(version) => {
                    all_right &= version <= newest;
                    there += 1;
                }
                None => all_right = false,
            },
            // The parent used the slot again.
            Err(GetError::Corrupt | GetError::Io(_) | GetError::Timeout) => {}
            Err(_) => all_right = false,
        }
    }
    let mut puts_are_right = true;
    for key in 0..500 {
        match space.put(key, &page(pages, key, newest + 1)) {
            Ok(()) => {
                let is_there = space.get(key, &mut back).is_ok();
                puts_are_right &= is_there && version(pages, key, &back) == Some(newest + 1);
            }
            Err(PutError::Full { .. }) => {}
            Err(_) => puts_are_right = false,
        }
    }
    let fits = store.resident() <= store.limit();
    let is_valid = store.validate().is_ok();
    let writes = store.stats().spill.is_some_and(|spill| spill.runs);
    space.remove_range(0..COUNT / 2).expect("alive");
    store.drop_space(&space);
    drop((space, store));
    [all_right, there > 0, puts_are_right, fits, is_valid, !writes]
}

#[test]
fn a_child_finds_what_its_parent_spilled_and_takes_nothing_from_it() {
    let pages = pages();
    for encrypts in [true, false] {
        let store = store(&env::temp_dir(), encrypts, 6 << 20);
        let space = store.space(SpaceConfig::persistent(COUNT)).expect("room");
        for key in 0..COUNT {
            space.put(key, &page(&pages, key, 0)).expect("room in the backing");
        }
        assert!(space.stats().spilled > COUNT / 4, "{:?}", space.stats());
        let (done, newest) = (AtomicBool::new(false), AtomicU64::new(0));
        let versions: Vec<AtomicU64> = (0..COUNT).map(|_| AtomicU64::new(0)).collect();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut rng = Seed::for_test(0xf5).rng(0);
                while !done.load(Ordering::Relaxed) {
                    let key = rng.random_range(0..COUNT);
                    // Before the put, so that a child knows of it.
                    let new = newest.fetch_add(1, Ordering::Relaxed) + 1;
                    space.put(key, &page(&pages, key, new)).expect("room in the backing");
                    let at = usize::try_from(key).expect("small");
                    versions[at].store(new, Ordering::Relaxed);
                }
            });
            let _over = Over(&done);
            let handles: Vec<_> = (0..12).map(|_| (store.clone(), space.clone())).collect();
            for (fork, (store, space)) in handles.into_iter().enumerate() {
                let status =
                    in_child(|| use_in_child(store, space, &pages, newest.load(Ordering::Relaxed)));
                assert_eq!(status >> 8, 0, "fork {fork}, encrypted: {encrypts}: a wrong answer");
                assert_eq!(status, 0, "fork {fork}: a signal");
            }
        });
        for (key, expected) in (0..).zip(&versions) {
            let mut back = [0; 4096];
            space.get(key, &mut back).expect("no child took it");
            assert_eq!(version(&pages, key, &back), Some(expected.load(Ordering::Relaxed)));
        }
        store.validate().expect("valid");
        let backing = store.stats().spill.expect("a backing").backing;
        assert_eq!((backing.corrupt, backing.read_failures), (0, 0), "{backing:?}");
    }
}

/// A small file system of its own.
struct Tmpfs(PathBuf);

impl Tmpfs {
    /// `None` without the right to mount.
    fn new(name: &str, options: &str) -> Option<Self> {
        let at = env::temp_dir().join(format!("pagefold-{name}-{}", std::process::id()));
        fs::create_dir_all(&at).expect("a directory");
        let path = CString::new(at.as_os_str().as_bytes()).expect("no zero");
        let options = CString::new(options).expect("no zero");
        // SAFETY: strings that end, and live as long as the call.
        let mounted = unsafe {
            libc::mount(
                c"tmpfs".as_ptr(),
                path.as_ptr(),
                c"tmpfs".as_ptr(),
                0,
                options.as_ptr().cast(),
            )
        };
        if mounted != 0 {
            fs::remove_dir(&at).expect("empty");
            eprintln!("skipped: mounting a tmpfs: {}", std::io::Error::last_os_error());
            return None;
        }
        Some(Self(at))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let path = CString::new(self.0.as_os_str().as_bytes()).expect("no zero");
        // SAFETY: a string that ends, and lives as long as the call.
        unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
        let _ = fs::remove_dir(&self.0);
    }
}

/// Puts from `from` on, until one is refused; the first key that has no page.
fn fill(store: &Store, space: &Space, pages: &[Page], from: u64) -> u64 {
    for key in from..space.capacity() {
        match space.put(key, &page(pages, key, key)) {
            Ok(()) => assert!(store.resident() <= store.limit()),
            Err(PutError::Full { .. }) => return key,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("never full: {:?}", store.stats().spill);
}

fn all_there(space: &Space, pages: &[Page], keys: std::ops::Range<u64>) {
    let mut back = [0; 4096];
    for key in keys {
        let got = space.get(key, &mut back);
        assert!(got.is_ok() && back == page(pages, key, key), "page {key}: {got:?}");
    }
}

/// Fills memory and the room of a directory; `more_room` gives the directory at least 2 MiB more.
fn full_and_on(directory: &Path, more_room: impl FnOnce()) {
    let pages = pages();
    let store = store(directory, true, 6 << 20);
    let space = store.space(SpaceConfig::persistent(1 << 20)).expect("room");
    let first = fill(&store, &space, &pages, 0);
    let stats = || store.stats().spill.expect("a backing");
    assert!(stats().pages > 200, "some left memory: {:?}", stats());
    assert!(stats().backing.write_failures > 0, "the directory was full: {:?}", stats());
    all_there(&space, &pages, 0..first);
    store.validate().expect("valid");
    // Room in memory, while the directory is as full as it was.
    space.remove_range(0..first / 4).expect("alive");
    let second = fill(&store, &space, &pages, first);
    all_there(&space, &pages, first / 4..second);
    more_room();
    // The spiller tries again by itself.
    let until = Instant::now() + Duration::from_secs(60);
    while stats().refused {
        assert!(Instant::now() < until, "{:?}", stats());
        thread::sleep(Duration::from_millis(5));
    }
    let failures = stats().backing.write_failures;
    let third = fill(&store, &space, &pages, second);
    let more = (third - second) * 1000;
    assert!(more > 1 << 20, "2 MiB more took {} pages: {:?}", third - second, stats());
    assert!(stats().backing.write_failures > failures, "it is full again");
    all_there(&space, &pages, first / 4..third);
    store.validate().expect("valid");
    assert_eq!((stats().backing.corrupt, stats().backing.read_failures), (0, 0));
}

#[test]
fn a_full_file_system_loses_nothing_and_spilling_goes_on_when_there_is_room() {
    let Some(tmpfs) = Tmpfs::new("full", "size=5m") else { return };
    let other = tmpfs.0.join("other");
    fs::write(&other, vec![1; 2 << 20]).expect("room");
    full_and_on(&tmpfs.0, || fs::remove_file(&other).expect("there"));
}

const FILE_LIMIT: &str = "PAGEFOLD_TEST_FILE_LIMIT";

fn set_file_limit(bytes: libc::rlim_t) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: a limit that lives as long as the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) }, 0);
}

#[test]
fn a_limit_on_the_length_of_files_is_a_full_disk() {
    if env::var_os(FILE_LIMIT).is_none() {
        // The limit is of a whole process, which this is not the place for.
        let own = env::current_exe().expect("a path");
        let name = "a_limit_on_the_length_of_files_is_a_full_disk";
        let mut command = Command::new(own);
        command.args(["--exact", name, "--nocapture"]).env(FILE_LIMIT, "1");
        let output = command.output().expect("this program runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", output.status);
        return;
    }
    // Otherwise the first write beyond the limit ends the process.
    // SAFETY: a signal is ignored; no handler runs.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    set_file_limit(3 << 20);
    full_and_on(&env::temp_dir(), || set_file_limit(5 << 20));
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let refused = |directory: &Path| {
        let error = FileBacking::new(directory, EXTENT_BYTES_MIN).expect_err("no file there");
        let name = directory.to_str().expect("a plain name");
        assert!(error.to_string().contains(name), "{error}");
    };
    let own = env::current_exe().expect("a path");
    refused(&own);
    refused(&own.join("below"));
    refused(&env::temp_dir().join("pagefold-nothing-here"));
    refused(Path::new("/proc"));
    if let Some(tmpfs) = Tmpfs::new("read-only", "size=1m,ro") {
        refused(&tmpfs.0);
    }
}
