//! Whether what the store says of itself is true.

use pagefold_pool::Violation;

use crate::{counters::Count, form::Patience, index::REGION, inner::Inner, space::Tenant};

impl Inner {
    pub(crate) fn validate(&self) -> Result<(), Violation> {
        // The shrinker's thread is another one too.
        let _quiet = self.wake.quiet();
        self.pool.validate()?;
        let mut objects = 0;
        for tenant in self.tenants() {
            objects += self.audit(&tenant)?;
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

    /// Walks the index of a space; how many objects it names.
    fn audit(&self, tenant: &Tenant) -> Result<u64, Violation> {
        let name = &tenant.name;
        let (mut objects, mut counted, mut original, mut entries) = (0, 0, 0, 0);
        let (mut from, mut looks) = (0, usize::MAX);
        let mut by_region = vec![0_u64; tenant.index.pages().div_ceil(REGION)];
        while let Some((key, word)) = tenant.index.next_used(from, &mut looks) {
            let kept = word.kept();
            let len = self.len(kept, Patience::Waits).map_err(|error| {
                Violation(format!("I-WORD: key {key} of {name} names no object: {error:?}"))
            })?;
            objects += u64::from(kept.holds_memory());
            counted += kept.counted_bytes();
            original += len as u64;
            entries += 1;
            by_region[key / REGION] += 1;
            from = key + 1;
        }
        for (region, found) in by_region.iter().enumerate() {
            let said = tenant.index.used(region..region + 1);
            if said != *found {
                return Err(Violation(format!(
                    "I-OCCUPANCY: page {region} of the index of {name} has {found} entries and says {said}"
                )));
            }
        }
        let stats = tenant.stats();
        for (what, said, found) in [
            ("entries", stats.stored, entries),
            ("bytes of objects", stats.object_bytes, counted),
            ("counted bytes of objects", tenant.counters.sum(Count::Objects), counted),
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
