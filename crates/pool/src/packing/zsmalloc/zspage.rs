//! A locked zspage. Its free slots are a list through themselves. Slots from `fresh` on were never used and are on no
//! list, so a new zspage is not touched.
//!
//! # Invariants (I-ZSPAGE)
//! - The free list has each free slot below `fresh` once, and no other.
//! - `live` is the number of used slots; all of them lie below `fresh`.

use std::cmp::min;

use pagefold_frame::{ChainBytes, ChainBytesMut, FRAME_BYTES};

use super::layout::{self, HEADER_BYTES, slot_offset};
use crate::{classes::Class, engine::Content};

/// 10 bytes of a zspage's descriptor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Body {
    pub(super) class: u16,
    pub(super) live: u16,
    /// First free slot + 1; 0 for none.
    free: u16,
    fresh: u16,
    pub(super) listed: u16,
}

impl Body {
    pub(super) fn new(class: usize) -> Self {
        let class = u16::try_from(class).expect("a table has at most 65536 classes");
        Self { class, ..Self::default() }
    }

    pub(super) fn class(&self) -> usize {
        usize::from(self.class)
    }
}

pub(super) trait FrameBytes {
    fn frame(&self, number: usize) -> &[u8];
}

pub(super) trait FrameBytesMut: FrameBytes {
    fn frame_mut(&mut self, number: usize) -> &mut [u8];
}

impl FrameBytes for ChainBytes<'_> {
    #[inline]
    fn frame(&self, number: usize) -> &[u8] {
        ChainBytes::frame(self, number)
    }
}

impl FrameBytes for ChainBytesMut<'_> {
    fn frame(&self, number: usize) -> &[u8] {
        ChainBytesMut::frame(self, number)
    }
}

impl FrameBytesMut for ChainBytesMut<'_> {
    fn frame_mut(&mut self, number: usize) -> &mut [u8] {
        ChainBytesMut::frame_mut(self, number)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The handle index; of a free slot, the next free one + 1.
    pub(super) index: u32,
    /// 0 when free.
    pub(super) len: u16,
}

#[inline]
pub(super) fn header(frames: &impl FrameBytes, size: usize, slot: u16) -> Header {
    let at = slot_offset(size, slot);
    let bytes = &frames.frame(at / FRAME_BYTES)[at % FRAME_BYTES..][..HEADER_BYTES];
    let [a, b, c, d, e, f]: [u8; HEADER_BYTES] = bytes.try_into().expect("six bytes");
    Header { index: u32::from_le_bytes([a, b, c, d]), len: u16::from_le_bytes([e, f]) }
}

#[derive(Debug)]
pub(super) struct Zspage<'a, F> {
    body: &'a mut Body,
    frames: F,
    class: Class,
}

impl<'a, F: FrameBytesMut> Zspage<'a, F> {
    pub(super) fn new((body, frames): (&'a mut Body, F), class: Class) -> Self {
        Self { body, frames, class }
    }

    pub(super) fn has_room(&self) -> bool {
        u32::from(self.body.live) < self.class.objects
    }

    fn header(&self, slot: u16) -> Header {
        header(&self.frames, self.class.size, slot)
    }

    fn set_header(&mut self, slot: u16, header: Header) {
        let at = slot_offset(self.class.size, slot);
        let [a, b, c, d] = header.index.to_le_bytes();
        let [e, f] = header.len.to_le_bytes();
        let frame = self.frames.frame_mut(at / FRAME_BYTES);
        frame[at % FRAME_BYTES..][..HEADER_BYTES].copy_from_slice(&[a, b, c, d, e, f]);
    }

    pub(super) fn used(&self, slot: u16) -> Option<Header> {
        (slot < self.body.fresh).then(|| self.header(slot)).filter(|header| header.len > 0)
    }

    pub(super) fn next_used(&self, from: u16) -> Option<(u16, Header)> {
        (from..self.body.fresh).find_map(|slot| Some((slot, self.used(slot)?)))
    }

    /// Its content is arbitrary.
    ///
    /// # Panics
    /// If there is no free slot, or it is too small.
    pub(super) fn place(&mut self, len: usize, index: u32) -> u16 {
        assert!(self.has_room(), "a zspage is asked for a slot that it has");
        assert!(len > 0 && len + HEADER_BYTES <= self.class.size, "a class holds its objects");
        let slot = match self.body.free.checked_sub(1) {
            Some(slot) => {
                let next = self.header(slot).index;
                self.body.free = u16::try_from(next).expect("I-ZSPAGE: a free slot names one");
                slot
            }
            None => {
                self.body.fresh += 1;
                self.body.fresh - 1
            }
        };
        self.body.live += 1;
        let len = u16::try_from(len).expect("less than a frame");
        self.set_header(slot, Header { index, len });
        slot
    }

    pub(super) fn write(&mut self, slot: u16, content: Content<'_>) {
        let (first, rest) = layout::object_extents(self.class.size, slot, content.len());
        let split = first.range.len();
        content.copy_to(0, &mut self.frames.frame_mut(first.frame)[first.range]);
        if let Some(rest) = rest {
            content.copy_to(split, &mut self.frames.frame_mut(rest.frame)[rest.range]);
        }
    }

    pub(super) fn copy_from<G: FrameBytesMut>(
        &mut self,
        slot: u16,
        from: &Zspage<'_, G>,
        from_slot: u16,
        len: usize,
    ) {
        let mut source = slot_offset(from.class.size, from_slot) + HEADER_BYTES;
        let mut target = slot_offset(self.class.size, slot) + HEADER_BYTES;
        let mut left = len;
        // A step ends where either object crosses into its next frame.
        while left > 0 {
            let to_end = |at: usize| FRAME_BYTES - at % FRAME_BYTES;
            let step = min(left, min(to_end(source), to_end(target)));
            let bytes = &from.frames.frame(source / FRAME_BYTES)[source % FRAME_BYTES..][..step];
            let frame = self.frames.frame_mut(target / FRAME_BYTES);
            frame[target % FRAME_BYTES..][..step].copy_from_slice(bytes);
            (source, target, left) = (source + step, target + step, left - step);
        }
    }

    /// Returns the object's length.
    ///
    /// # Panics
    /// If the slot is free.
    pub(super) fn remove(&mut self, slot: u16) -> usize {
        let Header { len, .. } = self.used(slot).expect("I-ZSPAGE: a slot is freed once");
        self.set_header(slot, Header { index: u32::from(self.body.free), len: 0 });
        self.body.free = slot + 1;
        self.body.live -= 1;
        if self.body.live == 0 {
            (self.body.free, self.body.fresh) = (0, 0);
        }
        usize::from(len)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let body = &self.body;
        if u32::from(body.fresh) > self.class.objects {
            return Err(format!("I-ZSPAGE: more slots than there are: {body:?}"));
        }
        let used = (0..body.fresh).filter_map(|slot| self.used(slot));
        let mut count = 0;
        for header in used {
            count += 1;
            if usize::from(header.len) + HEADER_BYTES > self.class.size {
                return Err(format!("I-ZSPAGE: {header:?} in a slot of {} bytes", self.class.size));
            }
        }
        let (mut at, mut free) = (u32::from(body.free), 0);
        while let Some(slot) = at.checked_sub(1) {
            let slot = u16::try_from(slot).map_err(|_| format!("I-ZSPAGE: slot {slot}"))?;
            let header = self.header(slot);
            free += 1;
            if slot >= body.fresh || header.len != 0 || free > body.fresh {
                return Err(format!("I-ZSPAGE: slot {slot} is wrongly on the free list: {body:?}"));
            }
            at = header.index;
        }
        if (count, count + free) != (body.live, body.fresh) {
            return Err(format!("I-ZSPAGE: {count} slots used and {free} free: {body:?}"));
        }
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::classes::{ClassConfig, ClassTable};

    impl FrameBytes for &mut Vec<[u8; FRAME_BYTES]> {
        fn frame(&self, number: usize) -> &[u8] {
            &self[number]
        }
    }

    impl FrameBytesMut for &mut Vec<[u8; FRAME_BYTES]> {
        fn frame_mut(&mut self, number: usize) -> &mut [u8] {
            &mut self[number]
        }
    }

    fn contents(key: usize, len: usize) -> Vec<u8> {
        (0..len).map(|at| (key * 31 + at * 7).to_le_bytes()[0]).collect()
    }

    fn read(zspage: &Zspage<'_, &mut Vec<[u8; FRAME_BYTES]>>, slot: u16, len: usize) -> Vec<u8> {
        let (first, rest) = layout::object_extents(zspage.class.size, slot, len);
        let mut bytes = zspage.frames[first.frame][first.range].to_vec();
        bytes.extend(
            rest.into_iter().flat_map(|rest| zspage.frames[rest.frame][rest.range].to_vec()),
        );
        bytes
    }

    fn table() -> ClassTable {
        let config = ClassConfig { header_bytes: HEADER_BYTES, ..ClassConfig::default() };
        ClassTable::new(config).expect("the usual one")
    }

    #[test]
    fn slots_are_given_out_once_and_keep_their_bytes() {
        for class in table().classes().iter().filter(|class| !class.is_huge()) {
            let mut frames = vec![[0xa5; FRAME_BYTES]; class.frames as usize];
            let mut body = Body::default();
            let mut zspage = Zspage::new((&mut body, &mut frames), *class);
            let (mut live, mut state) = (Vec::<(u16, usize)>::new(), 7_usize);
            for step in 0..4 * class.objects as usize {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let len = 1 + (state >> 33) % (class.size - HEADER_BYTES);
                if zspage.has_room() && (live.is_empty() || state >> 62 != 0) {
                    let slot = zspage.place(len, 9);
                    assert!(live.iter().all(|&(other, _)| other != slot));
                    zspage.write(slot, Content::Bytes(&contents(usize::from(slot), len)));
                    live.push((slot, len));
                } else {
                    let (slot, len) = live.swap_remove(step % live.len());
                    assert_eq!(read(&zspage, slot, len), contents(usize::from(slot), len));
                    assert_eq!(zspage.remove(slot), len);
                }
                assert_eq!(zspage.check(), Ok(()), "{class:?}");
            }
            for (slot, len) in live {
                assert_eq!(
                    zspage.used(slot),
                    Some(Header { index: 9, len: u16::try_from(len).expect("short") })
                );
                assert_eq!(read(&zspage, slot, len), contents(usize::from(slot), len));
            }
        }
    }

    /// Frame borders fall everywhere in both.
    #[test]
    fn an_object_is_copied_whole_whatever_borders_it_crosses() {
        let table = table();
        let classes: Vec<Class> =
            table.classes().iter().filter(|class| !class.is_huge()).copied().collect();
        for (at, from) in classes.iter().enumerate().step_by(3) {
            for to in classes[at..].iter().step_by(5) {
                let mut frames = vec![[0; FRAME_BYTES]; from.frames as usize];
                let mut other_frames = vec![[0; FRAME_BYTES]; to.frames as usize];
                let (mut body, mut other_body) = (Body::default(), Body::default());
                let mut source = Zspage::new((&mut body, &mut frames), *from);
                let mut target = Zspage::new((&mut other_body, &mut other_frames), *to);
                let len = from.size - HEADER_BYTES;
                for key in 0..min(from.objects, to.objects) as usize {
                    let slot = source.place(len, 1);
                    source.write(slot, Content::Bytes(&contents(key, len)));
                    let moved = target.place(len, 1);
                    target.copy_from(moved, &source, slot, len);
                    assert_eq!(read(&target, moved, len), contents(key, len), "{from:?}, {to:?}");
                }
                assert_eq!((source.check(), target.check()), (Ok(()), Ok(())));
            }
        }
    }

    #[test]
    #[should_panic(expected = "I-ZSPAGE")]
    fn a_slot_is_freed_once() {
        let class = Class { size_min: 64, size: 64, frames: 1, objects: 64 };
        let (mut frames, mut body) = (vec![[0; FRAME_BYTES]], Body::default());
        let mut zspage = Zspage::new((&mut body, &mut frames), class);
        let (slot, _) = (zspage.place(5, 1), zspage.place(5, 1));
        zspage.remove(slot);
        zspage.remove(slot);
    }
}
