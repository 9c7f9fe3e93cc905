//! zbud by its own description, naively: which frame each object is in, and in which order the frames were filled.
//!
//! Everything is found by looking at everything. The only thing taken from below is that the lowest free number
//! becomes the number of a new frame; it decides which of two equally tight frames is filled.

use std::collections::{BTreeMap, BTreeSet};

/// Chunks in a frame.
const CHUNKS: usize = 64;

/// The number of an object.
pub(crate) type ObjectNo = usize;
/// The number of a frame.
pub(crate) type FrameNo = usize;

/// The objects at the two ends of a frame.
type Sides = [Option<ObjectNo>; 2];

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Model {
    lens: BTreeMap<ObjectNo, usize>,
    /// Frames with an object, and those under reclaim.
    frames: BTreeMap<FrameNo, Sides>,
    /// Frames without an object that the open read still holds.
    dying: BTreeSet<FrameNo>,
    /// Frames by the time they were filled, the oldest first.
    order: Vec<FrameNo>,
    /// The frame that is read.
    held: Option<FrameNo>,
}

fn chunks(len: usize) -> usize {
    len.div_ceil(64)
}

impl Model {
    pub(crate) fn objects(&self) -> usize {
        self.lens.len()
    }

    /// Frames that are allocated.
    pub(crate) fn frames(&self) -> usize {
        self.frames.len() + self.dying.len()
    }

    /// Frames that may be there beyond one for each object: those held without an object.
    pub(crate) fn excess(&self) -> usize {
        self.dying.len() + self.frames.values().filter(|sides| **sides == [None, None]).count()
    }

    fn frame_of(&self, object: ObjectNo) -> FrameNo {
        let has = |sides: &Sides| sides.contains(&Some(object));
        let found = self.frames.iter().find(|(_, sides)| has(sides));
        *found.expect("a live object is in a frame").0
    }

    fn is_seized(&self, frame: FrameNo) -> bool {
        !self.order.contains(&frame)
    }

    /// Free chunks and number of each frame with one object that is not under reclaim.
    fn lone(&self) -> Vec<(usize, FrameNo)> {
        let frames = self.frames.iter().filter(|(frame, _)| !self.is_seized(**frame));
        let lone = frames.filter_map(|(frame, sides)| match sides {
            [Some(only), None] | [None, Some(only)] => {
                Some((CHUNKS - chunks(self.lens[only]), *frame))
            }
            _ => None,
        });
        lone.collect()
    }

    /// The tightest frame with room that is not read, of those the one with the lowest number.
    fn tightest(&self, needed: usize, but: Option<FrameNo>) -> Option<FrameNo> {
        let fits = |(free, frame): &(usize, FrameNo)| {
            *free >= needed && Some(*frame) != but && Some(*frame) != self.held
        };
        self.lone().into_iter().filter(fits).min().map(|(_, frame)| frame)
    }

    fn touch(&mut self, frame: FrameNo) {
        self.order.retain(|other| *other != frame);
        self.order.push(frame);
    }

    fn put(&mut self, object: ObjectNo, frame: FrameNo) {
        let sides = self.frames.entry(frame).or_default();
        let empty = sides.iter_mut().find(|side| side.is_none());
        *empty.expect("the frame was chosen for its empty side") = Some(object);
    }

    /// Puts an object where a new one goes.
    fn place(&mut self, object: ObjectNo, len: usize) {
        let frame = self.tightest(chunks(len), None).unwrap_or_else(|| {
            let is_used =
                |frame: &FrameNo| self.frames.contains_key(frame) || self.dying.contains(frame);
            (0..).find(|frame| !is_used(frame)).expect("there are more numbers than frames")
        });
        self.put(object, frame);
        self.touch(frame);
    }

    /// Empties the side of a frame that an object was on.
    fn vacate(&mut self, object: ObjectNo, frame: FrameNo) {
        let seized = self.is_seized(frame);
        let sides = self.frames.get_mut(&frame).expect("the object was in it");
        let side = sides.iter_mut().find(|side| **side == Some(object));
        *side.expect("the object was in it") = None;
        if *sides == [None, None] && !seized {
            self.free(frame);
        }
    }

    fn free(&mut self, frame: FrameNo) {
        self.frames.remove(&frame);
        self.order.retain(|other| *other != frame);
        if self.held == Some(frame) {
            self.dying.insert(frame);
        }
    }

    pub(crate) fn store(&mut self, object: ObjectNo, len: usize) {
        self.place(object, len);
        self.lens.insert(object, len);
    }

    pub(crate) fn remove(&mut self, object: ObjectNo) {
        let frame = self.frame_of(object);
        self.vacate(object, frame);
        self.lens.remove(&object);
    }

    /// An overwrite: in place, unless the frame is read.
    pub(crate) fn write(&mut self, object: ObjectNo) {
        let frame = self.frame_of(object);
        if self.held != Some(frame) {
            return;
        }
        let len = self.lens[&object];
        // Both places exist for a moment.
        let moved = usize::MAX;
        self.place(moved, len);
        self.vacate(object, frame);
        let sides = self.frames.values_mut().flatten();
        sides.filter(|side| **side == Some(moved)).for_each(|side| *side = Some(object));
    }

    pub(crate) fn begin_read(&mut self, object: ObjectNo) {
        self.held = Some(self.frame_of(object));
    }

    pub(crate) fn end_read(&mut self) {
        self.held = None;
        self.dying.clear();
    }

    /// Joins objects of lone frames, the smallest first, each into the tightest frame that it fits; returns how many.
    pub(crate) fn compact(&mut self) -> usize {
        let mut joined = 0;
        let frames: Vec<FrameNo> = self.frames.keys().copied().collect();
        for free in (0..CHUNKS).rev() {
            for &frame in &frames {
                if !self.lone().contains(&(free, frame)) || self.held == Some(frame) {
                    continue;
                }
                if let Some(target) = self.tightest(CHUNKS - free, Some(frame)) {
                    let moved = self.frames[&frame].iter().flatten().next().copied();
                    let moved = moved.expect("a lone frame has an object");
                    self.put(moved, target);
                    self.free(frame);
                    joined += 1;
                }
            }
        }
        joined
    }

    /// Two lone objects that fit together and are not read.
    pub(crate) fn could_join(&self) -> Option<(FrameNo, FrameNo)> {
        let lone = self.lone();
        let pairs = lone.iter().flat_map(|one| lone.iter().map(move |other| (one, other)));
        let together = |(one, other): &(&(usize, FrameNo), &(usize, FrameNo))| {
            let free = ![one.1, other.1].iter().any(|frame| Some(*frame) == self.held);
            one.1 < other.1 && free && 2 * CHUNKS - one.0 - other.0 <= CHUNKS
        };
        pairs.filter(together).map(|(one, other)| (one.1, other.1)).next()
    }

    /// Takes the frame filled longest ago in hand, if there is one; with its objects, in their order.
    pub(crate) fn seize(&mut self) -> Option<(FrameNo, Vec<ObjectNo>)> {
        let frame = *self.order.first()?;
        self.order.remove(0);
        Some((frame, self.frames[&frame].iter().flatten().copied().collect()))
    }

    pub(crate) fn is_live(&self, object: ObjectNo) -> bool {
        self.lens.contains_key(&object)
    }

    /// Ends the reclaim of a frame. `Some`: it was won, and whether it is still read.
    pub(crate) fn put_back(&mut self, frame: FrameNo) -> Option<bool> {
        self.order.push(frame);
        (self.frames[&frame] == [None, None]).then(|| {
            self.free(frame);
            self.held == Some(frame)
        })
    }
}
