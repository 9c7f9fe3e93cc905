//! Pages that cannot be brought back: the process ends with a message that names page and cause, and never reads wrong bytes.
//!
//! Each part writes the page that it touches next to a file, so that the page of the message can be compared.

use std::{
    env,
    os::unix::fs::FileExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use pagefold_codec::{Codec, CodecError, CodecSpec};
use pagefold_region::{FailurePolicy, Region};
use pagefold_store::{
    Store,
    spill::{EXTENT_BYTES_MIN, Spill},
};
use pagefold_testkit::backing::{FaultyBacking, ReadFault, WriteFault};

use crate::{
    common::{PAGE, builder, check, fill, modes},
    parts,
};

const CASE: &str = "PAGEFOLD_REGION_CASE";
const TOUCHED: &str = "PAGEFOLD_REGION_TOUCHED";
const PAGES: usize = 8192;
const RESIDENT: usize = 512;
const STORE_BYTES: usize = 12 << 20;

/// lz4, of whose objects the last byte is lost once it is armed.
struct Cut {
    inner: Box<dyn Codec>,
    is_armed: Arc<AtomicBool>,
}

impl Codec for Cut {
    fn name(&self) -> &'static str {
        "cut"
    }

    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        self.inner.compress(src, dst)
    }

    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        let lost = usize::from(self.is_armed.load(Ordering::Relaxed));
        self.inner.decompress(&src[..src.len() - lost], dst)
    }

    fn metadata_bytes(&self) -> usize {
        self.inner.metadata_bytes()
    }
}

fn lz4() -> CodecSpec {
    "lz4".parse().expect("a codec")
}

fn fill_all(region: &mut Region) {
    for (number, page) in region.as_mut_slice().chunks_mut(PAGE).enumerate() {
        fill(page, number, 1);
    }
}

fn read_all(region: &Region) {
    let path = env::var(TOUCHED).expect("set by the test");
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("a file");
    for (number, page) in region.as_slice().chunks(PAGE).enumerate() {
        file.write_all_at(&(number as u64).to_ne_bytes(), 0).expect("room");
        check(page, number, 1);
    }
}

fn spilling(spill: Spill) -> pagefold_store::StoreBuilder {
    Store::builder().limit(STORE_BYTES).codec(lz4()).spill(spill)
}

fn spill(backing: &Arc<FaultyBacking>) -> Spill {
    let spill = Spill::builder(Arc::clone(backing)).extent_bytes(EXTENT_BYTES_MIN);
    spill.limit(256 << 20).without_rests().build().expect("a limit")
}

#[test]
#[ignore = "run by what_cannot_be_brought_back_ends_the_process"]
fn part_broken() {
    let Some(mode) = parts::mode() else { return };
    let case = env::var(CASE).expect("set by the test");
    let policy = FailurePolicy::AbortAfter(Duration::from_secs(3));
    let build = |store| {
        let region = builder(mode, PAGES, RESIDENT).store(store).failure_policy(policy).build();
        region.expect("a mode that works")
    };
    if case == "memory" {
        let is_armed = Arc::new(AtomicBool::new(false));
        let inner = lz4().build().expect("a codec");
        let codec = Cut { inner, is_armed: Arc::clone(&is_armed) };
        let store = Store::builder().codec_with(Box::new(codec)).limit(64 << 20).idle_share(0);
        let mut region = build(store);
        fill_all(&mut region);
        is_armed.store(true, Ordering::Relaxed);
        read_all(&region);
        return;
    }
    let backing = Arc::new(FaultyBacking::new(case.ends_with("cached")));
    let (write, read) = match case.trim_end_matches(", cached") {
        "flipped" => (None, Some(ReadFault::Flipped)),
        "written wrong" => (Some(WriteFault::Flipped), None),
        "lost" => (Some(WriteFault::Lost), None),
        "times out" => (None, Some(ReadFault::TimesOut)),
        case => unreachable!("{case}"),
    };
    backing.fail_all(write, None);
    let mut region = build(spilling(spill(&backing)));
    fill_all(&mut region);
    backing.fail_all(write, read);
    read_all(&region);
}

#[test]
fn what_cannot_be_brought_back_ends_the_process() {
    const CORRUPT: &str = "its stored bytes are corrupt";
    const UNREADABLE: &str = "its backing cannot be read";
    let cases: [(&str, &[&str]); 7] = [
        ("memory", &[CORRUPT]),
        ("flipped", &[CORRUPT]),
        ("flipped, cached", &[CORRUPT]),
        ("written wrong", &[CORRUPT]),
        // Where a slot had an extent before, that one is found.
        ("lost", &[UNREADABLE, CORRUPT]),
        ("times out", &["its backing does not answer"]),
        ("times out, cached", &["its backing does not answer"]),
    ];
    for mode in modes() {
        for (case, causes) in cases {
            let touched = tempfile::NamedTempFile::new().expect("a file");
            let mut command = parts::command("corrupt::part_broken", mode);
            command.env(CASE, case).env(TOUCHED, touched.path());
            let ended = parts::wait(&mut command);
            ended.assert_killed(libc::SIGABRT);
            let mut page = [0; 8];
            touched.as_file().read_exact_at(&mut page, 0).expect("a page was touched");
            let page = u64::from_ne_bytes(page);
            let said = |cause: &&&str| {
                ended.stderr().contains(&format!("cannot bring back page {page}: {cause}"))
            };
            assert!(
                causes.iter().any(|cause| said(&cause)),
                "{mode}, {case}: page {page}: {}",
                ended.stderr()
            );
        }
    }
}

/// With `Block`, a backing that answers again is waited for.
#[test]
fn a_backing_that_comes_back_is_waited_for() {
    for mode in modes() {
        for cached in [false, true] {
            let backing = Arc::new(FaultyBacking::new(cached));
            let region = builder(mode, PAGES, RESIDENT)
                .store(spilling(spill(&backing)))
                .failure_policy(FailurePolicy::Block)
                .build();
            let mut region = region.expect("a mode that works");
            fill_all(&mut region);
            backing.fail_all(None, Some(ReadFault::Fails));
            let is_done = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    for (number, page) in region.as_slice().chunks(PAGE).enumerate() {
                        check(page, number, 1);
                    }
                    is_done.store(true, Ordering::Relaxed);
                });
                // However slow the machine is, no more than what is not spilled can be read.
                thread::sleep(Duration::from_millis(300));
                assert!(
                    !is_done.load(Ordering::Relaxed),
                    "{mode}: spilled pages came from nowhere"
                );
                backing.fail_all(None, None);
            });
        }
    }
}
