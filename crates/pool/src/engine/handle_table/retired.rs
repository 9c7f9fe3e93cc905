//! Indices after their last generation.
//!
//! A retired index is never given out again, so a table that is used long enough comes to its end. A caller that keeps
//! no handle of a freed object can recycle such indices.

use super::{Entry, Floor, Free, HandleTable, State};

impl HandleTable {
    /// Ends the use of the caller's retired index, which is on no list. Until then its page stays.
    pub(super) fn take_out_of_use(&self, index: u32) {
        let mut free = self.free.lock();
        self.store(index, Entry::out_of_use(self.naming.bits));
        free.retired += 1;
    }

    /// Retired indices, and all that the table can have.
    pub(crate) fn retired(&self) -> (usize, usize) {
        (self.free.lock().retired, self.entries.capacity())
    }

    /// Recycles all retired indices that are on no list, from their first generation on; returns how many.
    pub(crate) fn recycle_retired(&self) -> u64 {
        let mut recycled = 0;
        for page in 0.. {
            // Page by page, so that a thread that takes an index waits only briefly.
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
                // Their entries get the floor when the page is used again.
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
