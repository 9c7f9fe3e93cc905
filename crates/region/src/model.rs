//! The region's protocol over memory that loom watches: the real table, credits, handler and evictor, and a backing of two flags a page.

use std::{io, ops::Range, ptr::NonNull};

use pagefold_codec::CodecSpec;
use pagefold_pool::Allocator;
use pagefold_store::{PAGE_BYTES, Page, SpaceConfig, Store};
use pagefold_sys::{
    faults::{Access, FaultSignal},
    quiesce::model_of_a_fork,
    sync::Mutex,
    userfault::Userfault,
};

use crate::{
    advise,
    backing::{Backing, Found},
    core::{Core, Parts, Settings},
    evict::Evictor,
    failure::FailurePolicy,
    fork, pin,
    resolve::resolve,
    table::PageIndex,
    word::State,
};

#[derive(Debug, Clone, Copy)]
struct Frame {
    /// All bytes of the page are this one.
    byte: u8,
    /// A write is a fault.
    is_protected: bool,
    /// Every touch is a fault; the page is there.
    is_guarded: bool,
}

/// What the kernel would have.
#[derive(Debug)]
struct Memory {
    frames: Vec<Mutex<Option<Frame>>>,
    /// As the backing `guard`: no clean pages, and chosen ones are unmapped.
    guards: bool,
}

impl Memory {
    fn frame<R>(&self, page: PageIndex, f: impl FnOnce(&mut Option<Frame>) -> R) -> R {
        f(&mut self.frames[page.0].lock())
    }

    fn open(&self, page: PageIndex, content: Option<u8>, clean: bool) -> io::Result<()> {
        self.frame(page, |frame| {
            if frame.is_some() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let is_protected = clean && !self.guards;
            *frame = Some(Frame { byte: content.unwrap_or(0), is_protected, is_guarded: false });
            Ok(())
        })
    }

    fn find(&self, page: PageIndex, access: Access) -> Found {
        self.frame(page, |frame| match frame {
            Some(frame) => {
                frame.is_guarded = false;
                frame.is_protected &= access == Access::Read;
                Found::There
            }
            None => panic!("page {page:?} is gone, and no call from outside took it"),
        })
    }
}

impl Backing for Memory {
    fn base(&self) -> NonNull<u8> {
        NonNull::dangling()
    }

    fn pages(&self) -> usize {
        self.frames.len()
    }

    fn sees_writes(&self) -> bool {
        !self.guards
    }

    fn unmaps_chosen(&self) -> bool {
        self.guards
    }

    fn place(&self, page: PageIndex, content: &Page, clean: bool) -> io::Result<()> {
        self.open(page, Some(content[0]), clean)
    }

    fn place_run(&self, first: PageIndex, content: &[Page], clean: bool) -> io::Result<usize> {
        for (at, content) in content.iter().enumerate() {
            self.place(PageIndex(first.0 + at), content, clean)?;
        }
        Ok(content.len())
    }

    fn place_zeros(&self, page: PageIndex) -> io::Result<()> {
        self.open(page, None, false)
    }

    fn refresh(&self, page: PageIndex, access: Access) -> io::Result<Found> {
        Ok(self.find(page, access))
    }

    fn rescue(&self, page: PageIndex, access: Access) -> io::Result<Found> {
        Ok(self.find(page, access))
    }

    fn choose(&self, pages: &[PageIndex], _: &dyn Fn(PageIndex) -> bool) -> io::Result<()> {
        for page in pages {
            self.frame(*page, |frame| {
                let frame = frame.as_mut().expect("a page that is chosen is there");
                (frame.is_protected, frame.is_guarded) = (!self.guards, self.guards);
            });
        }
        Ok(())
    }

    fn read(&self, pages: &[PageIndex], into: &mut [Page]) -> io::Result<usize> {
        for (page, into) in pages.iter().zip(into) {
            // Taken back and away meanwhile: any bytes, which no claim will accept.
            into.fill(self.frame(*page, |frame| frame.map_or(0xee, |frame| frame.byte)));
        }
        Ok(pages.len())
    }

    fn forget(&self, pages: &[PageIndex]) -> Result<(), (usize, io::Error)> {
        for page in pages {
            let before = self.frame(*page, Option::take);
            assert!(before.is_some(), "a page leaves memory once");
        }
        Ok(())
    }

    fn discard(&self, pages: &[PageIndex]) -> Result<(), (usize, io::Error)> {
        self.forget(pages)
    }

    fn open(&self, pages: &Range<usize>) -> io::Result<()> {
        pages.clone().for_each(|page| {
            self.find(PageIndex(page), Access::Write);
        });
        Ok(())
    }

    fn signal(&self) -> Option<FaultSignal> {
        None
    }

    fn events(&self) -> Option<&Userfault> {
        None
    }
}

/// A region of a few pages, each of one repeated byte.
#[derive(Debug)]
pub struct Model {
    core: Box<Core>,
    memory: &'static Memory,
}

/// The memory is the model's and the core's.
#[derive(Debug)]
struct Shared(&'static Memory);

macro_rules! forward {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
        impl Backing for Shared {
            $(fn $name(&self, $($argument: $kind),*) -> $result { Backing::$name(self.0, $($argument),*) })*
        }
    };
}

forward! {
    base() -> NonNull<u8>;
    pages() -> usize;
    sees_writes() -> bool;
    unmaps_chosen() -> bool;
    place(page: PageIndex, content: &Page, clean: bool) -> io::Result<()>;
    place_run(first: PageIndex, content: &[Page], clean: bool) -> io::Result<usize>;
    place_zeros(page: PageIndex) -> io::Result<()>;
    refresh(page: PageIndex, access: Access) -> io::Result<Found>;
    rescue(page: PageIndex, access: Access) -> io::Result<Found>;
    choose(pages: &[PageIndex], is_pinned: &dyn Fn(PageIndex) -> bool) -> io::Result<()>;
    read(pages: &[PageIndex], into: &mut [Page]) -> io::Result<usize>;
    forget(pages: &[PageIndex]) -> Result<(), (usize, io::Error)>;
    discard(pages: &[PageIndex]) -> Result<(), (usize, io::Error)>;
    open(pages: &Range<usize>) -> io::Result<()>;
    signal() -> Option<FaultSignal>;
    events() -> Option<&Userfault>;
}

impl Model {
    /// Zeros; at most `limit` pages are in memory.
    pub fn new(pages: usize, limit: usize, guards: bool) -> Self {
        Self::build(pages, limit, guards, false)
    }

    /// As [`new`](Self::new), with children that have the region; inline.
    pub fn with_snapshots(pages: usize, limit: usize) -> Self {
        Self::build(pages, limit, false, true)
    }

    fn build(pages: usize, limit: usize, guards: bool, snapshots: bool) -> Self {
        let frames = (0..pages).map(|_| Mutex::new(None)).collect();
        let memory: &'static Memory = Box::leak(Box::new(Memory { frames, guards }));
        let store = Store::builder()
            .allocator(Allocator::zbud())
            .codec("raw".parse::<CodecSpec>().expect("a codec"))
            .shrinker(false)
            .limit(1 << 20)
            .build()
            .expect("room");
        let space = store.space(SpaceConfig::persistent(pages as u64)).expect("room");
        let failure = FailurePolicy::Block;
        let settings = Settings {
            kept_max: pages,
            limbo_max: 0,
            neighbours_max: 0,
            evictors: 0,
            snapshots,
            failure,
        };
        let backing = Box::new(Shared(memory));
        let parts = Parts { backing, store, space, limit, buffers: 2, settings };
        let core = Box::new(Core::new(parts).expect("a model has room"));
        Self { core, memory }
    }

    /// A touch, repeated until it is no fault.
    fn touch(&self, page: usize, access: Access, mut f: impl FnMut(&mut u8)) {
        let page = PageIndex(page);
        loop {
            let touched = self.memory.frame(page, |frame| match frame {
                Some(frame)
                    if frame.is_guarded || frame.is_protected && access == Access::Write =>
                {
                    false
                }
                Some(frame) => {
                    f(&mut frame.byte);
                    true
                }
                None => false,
            });
            if touched {
                return;
            }
            resolve(&self.core, page, access);
        }
    }

    /// What a program reads.
    pub fn read(&self, page: usize) -> u8 {
        let mut found = 0;
        self.touch(page, Access::Read, |byte| found = *byte);
        found
    }

    /// What a program writes.
    pub fn write(&self, page: usize, value: u8) {
        self.touch(page, Access::Write, |byte| *byte = value);
    }

    /// As hot as a page can be: coming back then does not change its word.
    pub fn warm(&self, page: usize) {
        let (page, table) = (PageIndex(page), &self.core.table);
        let word = table.load(page);
        assert!(
            table.amend(page, word, word.with_hot(crate::word::HOT_MAX)),
            "no thread is inside"
        );
    }

    /// Evicts what it can, once.
    pub fn evict(&self) {
        let mut evictor = Evictor::new();
        evictor.choose_range(&self.core, 0..self.core.table.len());
        evictor.drain(&self.core).expect("room in the store");
    }

    /// The page is zeros again.
    pub fn discard(&self, page: usize) {
        advise::discard(&self.core, page..page + 1);
    }

    /// Pins a page while `f` runs, which may look at the memory.
    pub fn pinned(&self, page: usize, f: impl FnOnce()) {
        let pins = pin::pin(&self.core, page..page + 1).expect("room");
        let is_open = |frame: &mut Option<Frame>| {
            let frame = frame.expect("a pinned page is there");
            assert!(!frame.is_protected && !frame.is_guarded, "the kernel may write it");
        };
        self.memory.frame(PageIndex(page), is_open);
        f();
        self.memory.frame(PageIndex(page), is_open);
        drop(pins);
    }

    /// Forks once no thread is inside; what the child reads of each page.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut found = Vec::new();
        model_of_a_fork(&[&self.core.gate], || {
            for page in (0..self.core.table.len()).map(PageIndex) {
                assert_ne!(
                    self.core.table.load(page).state(),
                    State::Busy,
                    "no claim has an owner"
                );
                let word = fork::in_child(self.core.table.load(page));
                let there = self.memory.frame(page, |frame| frame.map(|frame| frame.byte));
                found.push(match (word.state(), there) {
                    (State::Untouched, None) => 0,
                    (State::Resident | State::Clean, Some(byte)) => byte,
                    (State::Compressed, None) => {
                        let mut content = [0; PAGE_BYTES];
                        self.core.space.get(page.key(), &mut content).expect("its key");
                        content[0]
                    }
                    (state, there) => panic!("{state:?}, in memory {there:?}"),
                });
            }
            assert!(self.core.hand.try_lock().is_some(), "no lock has an owner");
        });
        found
    }

    /// What must hold when no thread is inside: I-CREDIT and I-KEY.
    pub fn check(&self) {
        let mut there = 0;
        for page in (0..self.core.table.len()).map(PageIndex) {
            let word = self.core.table.load(page);
            let in_memory = self.memory.frame(page, |frame| frame.is_some());
            let has_key = self.core.space.contains(page.key()).expect("a key");
            let (memory, key) = match word.state() {
                State::Untouched => (false, false),
                State::Resident => (true, word.is_stale()),
                State::Limbo => (true, word.is_stale() || word.is_copied()),
                State::Clean => (true, true),
                State::Compressed => (false, true),
                State::Busy => panic!("{page:?} is claimed for ever"),
            };
            assert_eq!((in_memory, has_key), (memory, key), "{page:?}: {word:?}");
            there += usize::from(in_memory);
        }
        assert_eq!(self.core.credits.used(), there, "credits");
        assert!(there <= self.core.credits.limit(), "the limit");
    }
}
