//! Validation of the store's accounts against indices and pool.

use pagefold_pool::Violation;

use super::{SpaceState, StoreState};
use crate::{
    counters::Count,
    encoder::{decode::Wait, trained::Tallies},
    word::Entry,
};

impl StoreState {
    /// No operation may be under way.
    pub(crate) fn validate(&self) -> Result<(), Violation> {
        self.pool.validate()?;
        self.staging.audit().map_err(Violation)?;
        let (mut objects, mut of_codecs) = (0, Tallies::default());
        for space in self.spaces() {
            objects += self.audit(&space, &mut of_codecs)?;
        }
        self.encoder.trained.audit(&of_codecs).map_err(Violation)?;
        if !self.encoder.codec.is_intact() {
            return Err(Violation(
                "I-CODEC: the dictionary of the base codec was changed".to_owned(),
            ));
        }
        let mut nodes = 0;
        for space in self.spaces() {
            let name = &space.name;
            nodes += space
                .index
                .audit()
                .map_err(|what| Violation(format!("{what} (index of {name})")))?;
        }
        let in_use = self.nodes.in_use();
        if in_use != nodes {
            return Err(Violation(format!(
                "I-TREE: the indices have {nodes} nodes, and {in_use} are in use"
            )));
        }
        let stats = self.pool.stats();
        if stats.objects != objects {
            return Err(Violation(format!(
                "I-WORD: the indices name {objects} objects and the pool has {}",
                stats.objects
            )));
        }
        if self.memory.used() > self.memory.limit() {
            return Err(Violation("I-LIMIT: more is charged than the limit allows".to_owned()));
        }
        Ok(())
    }

    fn audit(&self, space: &SpaceState, of_codecs: &mut Tallies) -> Result<u64, Violation> {
        let name = &space.name;
        let (mut objects, mut counted, mut original, mut entries) = (0, 0, 0, 0);
        let (mut fresh, staged) = (0, self.staging.keys_of(space));
        let mut from = Some(0);
        while let Some((key, word)) = from.and_then(|from| space.index.next_used(from)) {
            let entry = word.entry();
            let len = self.len(entry, Wait::Allowed).map_err(|error| {
                Violation(format!("I-WORD: key {key} of {name} names no object: {error:?}"))
            })?;
            if matches!(entry, Entry::Fresh(_)) {
                fresh += 1;
                if !staged.contains(&key) {
                    return Err(Violation(format!(
                        "I-STAGE: the fresh page {key} of {name} is not in the queue"
                    )));
                }
            }
            if let Entry::Page { codec, len, .. } = entry {
                let tally = &mut of_codecs[usize::from(codec.0)];
                tally.objects += 1;
                tally.bytes += len;
            }
            objects += u64::from(entry.holds_memory());
            counted += entry.counted_bytes();
            original += len as u64;
            entries += 1;
            from = key.checked_add(1);
        }
        let stats = space.stats();
        for (what, said, found) in [
            ("entries", stats.stored, entries),
            ("bytes of objects", stats.object_bytes, counted),
            ("counted bytes of objects", space.counters.sum(Count::Objects), counted),
            ("fresh pages", stats.fresh, fresh),
            ("original bytes", stats.original_bytes, original),
        ] {
            if said != found {
                return Err(Violation(format!(
                    "space {name} says {said} {what}, and its index {found}"
                )));
            }
        }
        Ok(objects)
    }
}
