//! Indices after their last generation. A caller without old handles can recycle them.

use super::{Entry, Floor, Free, HandleTable, State};

impl HandleTable {
    /// The index is on no list. Until then its page stays.
    pub(super) fn take_out_of_use(&self, index: u32) {
        let mut free = self.free.lock();
        self.store(index, Entry::out_of_use(self.naming.bits));
        free.retired += 1;
    }

    /// Retired indices, and the capacity.
    pub(crate) fn retired(&self) -> (usize, usize) {
        (self.free.lock().retired, self.entries.capacity())
    }

    /// From generation 0, unless on a list; returns how many.
    pub(crate) fn recycle_retired(&self) -> u64 {
        let mut recycled = 0;
        for page in 0.. {
            // Locked page by page, so that other threads wait briefly.
            let mut free = self.free.lock();
            if free.retired == 0 || self.indices_of(page).start >= free.next {
                break;
            }
            recycled += self.recycle_page(&mut free, page);
        }
        recycled
    }

    fn recycle_page(&self, free: &mut Free, page: usize) -> u64 {
        let floor = free.floors.get(page);
        let vacant = Entry::new(self.naming.bits, 0, State::Vacant { slot: 0, next: 0 });
        let mut recycled = 0;
        let indices = self.indices_of(page);
        for index in indices.start..indices.end.min(free.next) {
            match floor {
                Floor::InUse if self.cell_at(index).load().is_out_of_use() => {
                    self.cell_at(index).store(vacant);
                }
                Floor::InUse => continue,
                // Reuse of the page raises their entries.
                Floor::Generation(_) | Floor::Retired if free.is_free(index) => continue,
                Floor::Generation(_) | Floor::Retired => {}
            }
            free.insert(index);
            recycled += 1;
        }
        if floor == Floor::Retired {
            free.floors.set(page, Floor::Generation(0));
        }
        free.retired -= recycled;
        recycled as u64
    }
}
