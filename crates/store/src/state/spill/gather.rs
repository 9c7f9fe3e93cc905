//! An object for the batch of an extent.

use std::{collections::HashSet, sync::Arc};

use pagefold_spill::{BatchFull, Owner};

use super::spilling::{Gathered, Turn, Words};
use crate::{
    encoder::decode::{SpilledForm, prefixed_len},
    index::Change,
    state::{SpaceState, StoreState},
    word::{Entry, Word},
};

/// A shorter value stays: an extent of 1 MiB has at most 4096 objects, and each takes six bytes of memory.
const VALUE_MIN: u64 = 32;

impl StoreState {
    /// Adds the object of a key; `false` if it has none that can be spilled. Notes the keys of a cluster as seen.
    pub(super) fn gather_object(
        &self,
        space: &Arc<SpaceState>,
        key: u64,
        turn: &mut Turn,
        seen: &mut HashSet<u64>,
    ) -> Result<bool, NoRoom> {
        let mut word = space.index.load(key);
        if let Entry::Fresh(_) = word.entry() {
            self.compress_now(space, key);
            word = space.index.load(key);
        }
        let entry = word.entry();
        let change = |(key, old): (u64, Word)| Change { key, old, new: Word::EMPTY };
        let (first, words) = match entry {
            Entry::Member { .. } => {
                let words = space.index.words_of_cluster(key, word);
                let Some(&(first, _)) = words.first() else { return Ok(false) };
                (first, Words::Several(words.into_iter().map(change).collect()))
            }
            _ => (key, Words::One(change((key, word)))),
        };
        let form = match entry {
            Entry::Value { len, .. } | Entry::Delta { len, .. } if len < VALUE_MIN => {
                return Ok(false);
            }
            Entry::Delta { .. } => SpilledForm::Delta,
            // Its length is known once it is read.
            Entry::Value { codec: Some(_), .. } => SpilledForm::Value(0),
            Entry::Value { codec: None, .. } => SpilledForm::RawValue,
            Entry::Page { codec, .. } => SpilledForm::Page(codec),
            Entry::Raw(_) => SpilledForm::Raw,
            Entry::Member { .. } => match self.cluster_codec(entry) {
                Some(id) => SpilledForm::Cluster(id),
                None => return Ok(false),
            },
            _ => return Ok(false),
        };
        let Some(at) = entry.handle() else { return Ok(false) };
        let mut pushed = Ok(false);
        let batch = &mut turn.batch;
        let read = self.pool.read(self.pool_id.handle(at.0), &mut |slices| {
            let owner = Owner(space.number, first);
            let form = match form {
                SpilledForm::Value(_) => match prefixed_len(slices) {
                    Ok(len) => SpilledForm::Value(len),
                    // A get says so.
                    Err(_) => return,
                },
                form => form,
            };
            pushed = match slices.contiguous() {
                Some(bytes) => batch.push(owner, form.label(), bytes),
                None => batch.push(owner, form.label(), &slices.to_vec()),
            }
            .map(|_| true);
        });
        let is_in = match pushed {
            // Longer than an extent.
            Err(BatchFull) if batch.is_empty() => false,
            Err(BatchFull) => return Err(NoRoom),
            Ok(is_in) => is_in,
        };
        if read.is_err() || !is_in {
            return Ok(false);
        }
        if let Words::Several(words) = &words {
            seen.extend(words.iter().map(|change| change.key));
        }
        turn.gathered.objects.push(Gathered { space: Arc::clone(space), words });
        Ok(true)
    }
}

/// The batch is full.
pub(super) struct NoRoom;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex, atomic::Ordering},
    };

    use pagefold_spill::{Backing, EXTENT_BYTES_MIN, Spill};

    use crate::{SpaceConfig, Store};

    type AtWrite = Box<dyn Fn() + Send>;

    /// Calls a closure at each write, and keeps nothing.
    #[derive(Clone, Default)]
    struct Hook(Arc<Mutex<Option<AtWrite>>>);

    impl std::fmt::Debug for Hook {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Hook")
        }
    }

    impl Backing for Hook {
        fn write(&self, _: u32, _: &[u8]) -> io::Result<()> {
            let hook = self.0.lock().expect("no panic");
            hook.iter().for_each(|hook| hook());
            Ok(())
        }

        fn read(&self, _: u32, _: u32, _: &mut [u8]) -> io::Result<()> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn discard(&self, _: u32) -> io::Result<()> {
            Ok(())
        }
    }

    /// Incompressible.
    fn value(key: u64) -> Vec<u8> {
        let mix = |at: u64| (key << 8 | at).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_right(29);
        (0..20).flat_map(|at| mix(mix(at)).to_le_bytes()).collect()
    }

    #[test]
    fn words_of_an_earlier_epoch_are_not_exchanged() {
        let hook = Hook::default();
        let spill = Spill::builder(hook.clone()).extent_bytes(EXTENT_BYTES_MIN);
        let builder = Store::builder().limit(8 << 20).spill(spill.build().expect("sensible"));
        let store = builder.without_spiller().build().expect("room");
        let space = store.space(SpaceConfig::persistent(100)).expect("room");
        for key in 0..100 {
            space.put_bytes(key, &value(key)).expect("room");
        }
        let handle = space.clone();
        // As a store does that takes retired handles back.
        let raise = move || _ = handle.store().epoch.fetch_add(1, Ordering::Release);
        *hook.0.lock().expect("no panic") = Some(Box::new(raise));
        store.spill_extent();
        assert_eq!(space.stats().spilled, 0);
        for key in 0..100 {
            assert_eq!(space.get_bytes(key), Ok(value(key)), "in memory");
        }
        store.validate().expect("valid: the backing has no live object");
        *hook.0.lock().expect("no panic") = None;
        store.spill_extent();
        assert!(space.stats().spilled > 0, "in one epoch they go");
    }
}
