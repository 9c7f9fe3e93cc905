//! `try_get` and `try_get_bytes` in a signal handler: they interrupt threads that are inside put, compact, remove, evict, passes
//! over idle pages, trainings, staged pages' turns, spills and reads of the backing, at random instants, wait for nothing and allocate nothing, and what
//! they find, in every form, is right.
//!
//! Two threads work, each with a timer of its own whose signal interrupts just that thread; the handler arms it again
//! with a random time. `PAGEFOLD_SIGNAL_SECONDS` makes the run longer than 3 s.
#![cfg(all(target_os = "linux", not(loom)))]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    env, mem, ptr,
    sync::{
        Barrier, OnceLock,
        atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use pagefold_pool::Allocator;
use pagefold_store::{
    BaseSource, GetError, Page, PutError, Space, SpaceConfig, Store, TryGetError, UpdateError,
    spill::{EXTENT_BYTES_MIN, HeapBacking, Spill},
};
use pagefold_testkit::seed::Seed;
use rand::RngExt;

/// Counts what is allocated while a handler runs.
struct Watching;

thread_local! {
    static IN_HANDLER: Cell<bool> = const { Cell::new(false) };
    /// What the thread is inside of.
    static ACTIVITY: Cell<usize> = const { Cell::new(0) };
}

static ALLOCATED_IN_HANDLER: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Watching = Watching;

fn watch() {
    if IN_HANDLER.get() {
        ALLOCATED_IN_HANDLER.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every method passes its arguments unchanged to `System`, which is a correct allocator, and returns what it
// returned; watching touches a thread-local cell and an atomic.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        watch();
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        watch();
        // SAFETY: `block` came from this allocator with `layout`, hence from `System`.
        unsafe { System.dealloc(block, layout) }
    }
}

/// A pass trains too, when that is due; maintaining ends turns of staged pages, and pages leave their clusters.
const ACTIVITIES: [&str; 11] = [
    "nothing", "put", "remove", "compact", "evict", "get", "update", "pass", "maintain", "spill",
    "clean",
];
/// Each must be read in a handler.
const FORMS: [&str; 10] = [
    "fresh",
    "base",
    "trained",
    "raw",
    "same-filled",
    "pattern",
    "member",
    "value",
    "equal",
    "delta",
];
const THREADS: usize = 2;
/// About as many as fit, so that a good part of the reads find something.
const KEYS: u64 = 4_000;

/// What the handler sees. Filled before the first signal, and never dropped.
struct Scene {
    /// The last one is on a base.
    spaces: [Space; 3],
    values: Space,
    timers: [AtomicPtr<libc::c_void>; THREADS],
    random: AtomicU64,
    running: AtomicBool,
    hits: AtomicU64,
    value_hits: AtomicU64,
    absent: AtomicU64,
    would_block: AtomicU64,
    wrong: AtomicU64,
    by_activity: [AtomicU64; ACTIVITIES.len()],
    by_form: [AtomicU64; FORMS.len()],
}

static SCENE: OnceLock<Scene> = OnceLock::new();

impl Scene {
    fn random(&self) -> u64 {
        let word = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        mix(word)
    }
}

fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// In the first word of a page of one repeated word: it fits the index word, or not.
const SAME: [u64; 2] = [1 << 40, 1 << 60];

/// A page that says who it is. By its version, it compresses to about a third or a half and shares words with its
/// neighbours, or does not compress, or is one repeated word.
fn fill(page: &mut Page, key: u64, version: u64) {
    let (words, _) = page.as_chunks_mut::<8>();
    if let Some(mark) = SAME.get(usize::try_from(version % 16).unwrap_or(0)) {
        words.fill((mark | key).to_ne_bytes());
        return;
    }
    let of = if version & NEAR == 0 { version } else { OF_BASE };
    let name = mix(key).wrapping_add(of);
    let every = if version & DENSE == 0 { 3 } else { 2 };
    for (at, word) in words.iter_mut().enumerate() {
        let own = mix(name.wrapping_add(at as u64));
        let value = match at {
            _ if version % 16 == 2 => own,
            _ if at % (2 * every) == 0 => mix(key / 8 * 512 + at as u64),
            _ if at % every == 0 => own,
            _ => name,
        };
        *word = value.to_ne_bytes();
    }
    words[0] = key.to_ne_bytes();
    words[1] = version.to_ne_bytes();
}

/// Of a version: its page is longer.
const DENSE: u64 = 1 << 40;
/// Of a version: its page differs in one word from that of `OF_BASE`, the version of base pages.
const NEAR: u64 = 1 << 50;
const OF_BASE: u64 = 5;

/// The version of a page to put in a space.
fn version_for(space: usize, rng: &mut impl RngExt, began: Instant) -> u64 {
    match rng.random_range(0..8) {
        0 | 1 if space == 2 => OF_BASE,
        2..6 if space == 2 => NEAR | rng.random_range(0..1000) << 4 | OF_BASE,
        _ => version(rng, began),
    }
}

/// What is put changes its nature now and then, so that the store trains again.
fn version(rng: &mut impl RngExt, began: Instant) -> u64 {
    let phase = began.elapsed().as_millis() / 400 % 2;
    u64::from(rng.random::<u32>()) | if phase == 0 { 0 } else { DENSE }
}

fn is_right(page: &Page, key: u64) -> bool {
    let (words, _) = page.as_chunks::<8>();
    let mut expected = [0; 4096];
    let first = u64::from_ne_bytes(words[0]);
    let same = (0..).zip(SAME).find(|(_, mark)| mark | key == first).map(|(version, _)| version);
    fill(&mut expected, key, same.unwrap_or_else(|| u64::from_ne_bytes(words[1])));
    *page == expected
}

/// So few that most of them are there.
const VALUE_KEYS: u64 = 300;
/// The longest value, in bytes.
const VALUE_MAX: usize = 9_000;
/// Before the words of a value: its key and version.
const VALUE_MIN: usize = 16;

/// A value that says who it is, of a length that follows from its key, and compresses to about a third.
fn fill_value(buffer: &mut [u8; VALUE_MAX], key: u64, version: u64) -> &mut [u8] {
    let len = VALUE_MIN + usize::try_from(mix(key) % (VALUE_MAX - VALUE_MIN) as u64).unwrap_or(0);
    let (words, _) = buffer.as_chunks_mut::<8>();
    let name = mix(key).wrapping_add(version);
    for (at, word) in words.iter_mut().enumerate() {
        let value = if at % 3 == 0 { mix(name.wrapping_add(at as u64)) } else { name };
        *word = value.to_ne_bytes();
    }
    words[0] = key.to_ne_bytes();
    words[1] = version.to_ne_bytes();
    &mut buffer[..len]
}

fn is_right_value(value: &[u8], key: u64) -> bool {
    let (words, _) = value.as_chunks::<8>();
    let mut expected = [0; VALUE_MAX];
    words.get(1).is_some_and(|version| {
        fill_value(&mut expected, key, u64::from_ne_bytes(*version)) == value
    })
}

/// Counts a read whose page had one form before and after it.
fn note_form(scene: &Scene, before: Option<&str>, after: Option<&str>) {
    if before == after
        && let Some(at) = FORMS.iter().position(|form| Some(*form) == before)
    {
        scene.by_form[at].fetch_add(1, Ordering::Relaxed);
    }
}

extern "C" fn handler(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let Some(scene) = SCENE.get() else { return };
    // SAFETY: the address of this thread's errno is valid as long as the thread.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: it belongs to this thread alone.
    let saved = unsafe { *errno };
    IN_HANDLER.set(true);
    scene.by_activity[ACTIVITY.get()].fetch_add(1, Ordering::Relaxed);
    let mut page = [0; 4096];
    for space in &scene.spaces {
        let key = scene.random() % KEYS;
        let form = space.form_of(key);
        let outcome = match space.try_get(key, &mut page) {
            Ok(()) if is_right(&page, key) => {
                note_form(scene, form, space.form_of(key));
                &scene.hits
            }
            Err(TryGetError::Get(GetError::Absent)) => &scene.absent,
            Err(TryGetError::WouldBlock) => &scene.would_block,
            Ok(()) | Err(TryGetError::Get(_)) => &scene.wrong,
        };
        outcome.fetch_add(1, Ordering::Relaxed);
    }
    let mut value = [0; VALUE_MAX];
    let key = scene.random() % VALUE_KEYS;
    let form = scene.values.form_of(key);
    let outcome = match scene.values.try_get_bytes(key, &mut value) {
        Ok(len) if is_right_value(&value[..len], key) => {
            note_form(scene, form, scene.values.form_of(key));
            &scene.value_hits
        }
        Err(TryGetError::Get(GetError::Absent)) => &scene.absent,
        Err(TryGetError::WouldBlock) => &scene.would_block,
        Ok(_) | Err(TryGetError::Get(_)) => &scene.wrong,
    };
    outcome.fetch_add(1, Ordering::Relaxed);
    IN_HANDLER.set(false);
    // SAFETY: with SA_SIGINFO the kernel passes a valid record.
    let info = unsafe { &*info };
    // SAFETY: the signal comes from a timer, whose records have a value.
    let timer = unsafe { info.si_value() }.sival_ptr.addr();
    arm(scene, timer);
    // SAFETY: as above.
    unsafe { *errno = saved };
}

/// Lets the timer go off once, after 5 to 260 microseconds.
fn arm(scene: &Scene, timer: usize) {
    let nanoseconds = if scene.running.load(Ordering::Relaxed) {
        5_000 + (scene.random() & 0x3_ffff).cast_signed()
    } else {
        0
    };
    let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let time = libc::itimerspec {
        it_interval: never,
        it_value: libc::timespec { tv_sec: 0, tv_nsec: nanoseconds },
    };
    let id = scene.timers[timer % THREADS].load(Ordering::Relaxed);
    // SAFETY: a timer that was made and is never deleted, and a valid time; fit for a signal handler.
    let set = unsafe { libc::timer_settime(id, 0, &raw const time, ptr::null_mut()) };
    if set != 0 {
        scene.wrong.fetch_add(1, Ordering::Relaxed);
    }
}

fn install_handler() {
    // SAFETY: all zeros is a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = (handler as extern "C" fn(_, _, _)) as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: a valid action with a handler of the form that SA_SIGINFO asks for.
    let set = unsafe { libc::sigaction(libc::SIGRTMIN(), &raw const action, ptr::null_mut()) };
    assert_eq!(set, 0, "the handler is installed");
}

/// Makes a timer whose signal interrupts this thread.
fn make_timer(scene: &Scene, number: usize) {
    // SAFETY: all zeros is a valid `sigevent`.
    let mut event: libc::sigevent = unsafe { mem::zeroed() };
    event.sigev_notify = libc::SIGEV_THREAD_ID;
    event.sigev_signo = libc::SIGRTMIN();
    event.sigev_value.sival_ptr = ptr::without_provenance_mut(number);
    // SAFETY: no arguments, always succeeds.
    event.sigev_notify_thread_id = unsafe { libc::gettid() };
    let mut id: libc::timer_t = ptr::null_mut();
    // SAFETY: a valid event, and a place for the id.
    let made = unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut id) };
    assert_eq!(made, 0, "a timer");
    scene.timers[number].store(id, Ordering::Relaxed);
}

fn doing<R>(activity: &str, f: impl FnOnce() -> R) -> R {
    let number = ACTIVITIES.iter().position(|name| *name == activity).expect("one of them");
    ACTIVITY.set(number);
    let result = f();
    ACTIVITY.set(0);
    result
}

/// Everything that a program does with a store, until the time is over; how many operations.
fn work(store: &Store, scene: &Scene, number: usize, until: Instant) -> u64 {
    let mut rng = Seed::new(0x516).rng(number as u64);
    let (mut page, mut back, mut value) = ([0; 4096], [0; 4096], [0; VALUE_MAX]);
    let (mut operations, began) = (0, Instant::now());
    while Instant::now() < until {
        for _ in 0..64 {
            let at = rng.random_range(0..3);
            let space = &scene.spaces[at];
            let key = rng.random_range(0..KEYS);
            match rng.random_range(0..400) {
                // Pages that no call uses between two passes join clusters.
                0 if rng.random_ratio(1, 8) => {
                    doing("pass", || (0..2).for_each(|_| _ = store.idle_pass()));
                    // Those that are read twice leave them.
                    for key in (key..KEYS).take(20).flat_map(|key| [key, key]) {
                        _ = doing("get", || space.get(key, &mut back));
                    }
                    doing("maintain", || store.maintain(32 * 4096));
                }
                0..5 => _ = doing("maintain", || store.maintain(16 << 10)),
                5..10 => {
                    let changed = doing("update", || {
                        space.update(key, |page| fill(page, key, version_for(at, &mut rng, began)))
                    });
                    match changed {
                        Ok(_) | Err(UpdateError::Put(PutError::Full { .. })) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                10..60 => {
                    let key = key % VALUE_KEYS;
                    let value = fill_value(&mut value, key, rng.random::<u32>().into());
                    match doing("put", || scene.values.put_bytes(key, value)) {
                        Ok(()) | Err(PutError::Full { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                60..200 => {
                    fill(&mut page, key, version_for(at, &mut rng, began));
                    match doing("put", || space.put(key, &page)) {
                        Ok(()) | Err(PutError::Full { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                200..280 => _ = doing("remove", || space.remove(key)).expect("a key"),
                280..380 => match doing("get", || space.get(key, &mut back)) {
                    Ok(()) => assert!(is_right(&back, key), "key {key} is another page"),
                    Err(error) => assert_eq!(error, GetError::Absent),
                },
                380..388 => _ = doing("compact", || store.compact(64 << 10)),
                388..396 => _ = doing("evict", || store.shrink(32 << 10)),
                396 => {
                    doing("spill", || store.spill_extent());
                    doing("clean", || store.clean_extent());
                }
                _ => _ = doing("remove", || space.remove_range(key..key + 20)).expect("alive"),
            }
            operations += 1;
        }
    }
    operations
}

#[test]
fn a_handler_reads_whatever_it_interrupts() {
    let seconds = env::var("PAGEFOLD_SIGNAL_SECONDS").ok().and_then(|text| text.parse().ok());
    let time = Duration::from_secs(seconds.unwrap_or(3));
    // Room for clusters. The threads that are interrupted do all the work.
    let builder = Store::builder().allocator(Allocator::nbud()).limit(40 << 20).workers(0);
    // Trains on few pages, and adopts what is shorter in any time.
    let builder = builder.training_steps(100, 200, u32::MAX);
    // Some pages; a handler that finds one would have to wait.
    let spill = Spill::builder(HeapBacking::default()).extent_bytes(EXTENT_BYTES_MIN);
    let spill = spill.limit(16 * EXTENT_BYTES_MIN as u64).build().expect("sensible");
    let store = builder.spill(spill).without_spiller().build().expect("room");
    let image: Vec<Page> = (0..KEYS / 8)
        .map(|key| {
            let mut page = [0; 4096];
            fill(&mut page, key, OF_BASE);
            page
        })
        .collect();
    let base = BaseSource::memory(image.as_flattened()).resident(256 << 10);
    let base = store.base(base).expect("room");
    let spaces = [
        SpaceConfig::persistent(KEYS).limit(4 << 20),
        SpaceConfig::ephemeral(KEYS),
        SpaceConfig::ephemeral(KEYS).on(&base),
    ]
    .map(|config| store.space(config).expect("room"));
    drop((base, image));
    let values = store.space(SpaceConfig::ephemeral(VALUE_KEYS)).expect("room");
    let scene = SCENE.get_or_init(|| Scene {
        spaces,
        timers: Default::default(),
        random: AtomicU64::new(1),
        running: AtomicBool::new(true),
        values,
        hits: AtomicU64::new(0),
        value_hits: AtomicU64::new(0),
        absent: AtomicU64::new(0),
        would_block: AtomicU64::new(0),
        wrong: AtomicU64::new(0),
        by_activity: Default::default(),
        by_form: Default::default(),
    });
    install_handler();
    let barrier = Barrier::new(THREADS);
    let until = Instant::now() + time;
    let operations: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let (store, barrier) = (&store, &barrier);
                scope.spawn(move || {
                    make_timer(scene, number);
                    barrier.wait();
                    arm(scene, number);
                    let operations = work(store, scene, number, until);
                    // No signal may come once the thread's stack is being taken down.
                    scene.running.store(false, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(5));
                    operations
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let by_activity: Vec<(&str, u64)> =
        ACTIVITIES.into_iter().zip(scene.by_activity.iter().map(count)).collect();
    eprintln!(
        "{operations} operations, {} signals: {by_activity:?}; hits {} and {}, absent {}, would block {}",
        by_activity.iter().map(|(_, signals)| signals).sum::<u64>(),
        count(&scene.hits),
        count(&scene.value_hits),
        count(&scene.absent),
        count(&scene.would_block),
    );
    let by_form: Vec<(&str, u64)> =
        FORMS.into_iter().zip(scene.by_form.iter().map(count)).collect();
    let stats = store.stats();
    eprintln!("reads by form: {by_form:?}");
    eprintln!("{:?}\n{:?}\n{:?}", stats.training, stats.idle, stats.spill);
    let spilled = stats.spill.as_ref().map_or((0, 0), |spill| (spill.spilled, spill.fetches));
    assert!(spilled.0 > 0 && spilled.1 > 0, "pages went to the backing and were read there");
    assert_eq!(count(&scene.wrong), 0, "pages that are wrong");
    assert_eq!(ALLOCATED_IN_HANDLER.load(Ordering::Relaxed), 0, "allocations in handlers");
    assert!(count(&scene.hits) > 100 && count(&scene.value_hits) > 100, "hits");
    for (form, reads) in &by_form {
        assert!(*reads > 0, "no page was read that is {form}");
    }
    let trainings = if seconds.is_some() { 2 } else { 1 };
    assert!(stats.training.trained >= trainings && stats.idle.returned > 0, "{stats:?}");
    for (activity, signals) in &by_activity[1..] {
        assert!(*signals > 0, "no signal interrupted {activity}");
    }
    store.validate().expect("valid");
}

/// The watching allocator sees what it should: otherwise the count above would always be 0.
#[test]
fn an_allocation_in_a_handler_would_be_seen() {
    // In a thread of its own, and taken back at once, so that the other test's count stays 0.
    thread::spawn(|| {
        IN_HANDLER.set(true);
        drop(std::hint::black_box(Box::new(1_u64)));
        IN_HANDLER.set(false);
        let seen = ALLOCATED_IN_HANDLER.fetch_sub(2, Ordering::Relaxed);
        assert!(seen >= 2, "one allocation and one free");
    })
    .join()
    .expect("no panic");
}
