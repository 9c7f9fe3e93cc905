//! Validation of the store's accounts against indices and pool.

use std::collections::{HashMap, HashSet};

use pagefold_pool::Violation;
use pagefold_spill::Place;

use super::{SpaceState, StoreState};
use crate::{
    counters::Count,
    encoder::{
        clusters::Clusters,
        decode::{SpilledForm, Wait},
        trained::Tallies,
    },
    index::NODE_WORDS,
    word::{CLUSTER_PAGES, CodecId, Entry, Part, member_len, page_len},
};

impl StoreState {
    /// No operation may be under way.
    pub(crate) fn validate(&self) -> Result<(), Violation> {
        self.pool.validate()?;
        self.staging.audit().map_err(Violation)?;
        let (mut objects, mut total) = (0, Totals::default());
        for space in self.spaces() {
            objects += self.audit(&space, &mut total)?;
        }
        self.encoder.trained.audit(&total.of_codecs).map_err(Violation)?;
        if let Some(trained) = self.encoder.clusters.as_ref().and_then(Clusters::trained) {
            trained
                .audit(&total.of_cluster_codecs)
                .map_err(|what| Violation(format!("clusters: {what}")))?;
        }
        if !self.encoder.codec.is_intact() {
            return Err(Violation(
                "I-CODEC: the dictionary of the base codec was changed".to_owned(),
            ));
        }
        let (clusters, bytes) = (self.idle.clusters(), self.idle.bytes());
        if (clusters, bytes) != (total.clusters, total.bytes) {
            return Err(Violation(format!(
                "I-CLUSTER: {clusters} clusters of {bytes} bytes are counted, and {total:?} found"
            )));
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
        if let Some(spilling) = &self.spilling {
            spilling.audit(&total.places).map_err(Violation)?;
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

    fn audit(&self, space: &SpaceState, total: &mut Totals) -> Result<u64, Violation> {
        let name = &space.name;
        let (mut objects, mut counted, mut original, mut entries) = (0, 0, 0, 0);
        let (mut equal, mut deltas, mut delta_bytes) = (0, 0, 0);
        let (mut fresh, mut spilled, staged) = (0, 0, self.staging.keys_of(space));
        let mut clusters = ClusterAudit::default();
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
            if entry.is_on_base() {
                let mapping = space.mapping.as_ref();
                if mapping.and_then(|mapping| mapping.page_of(key)).is_none() {
                    return Err(Violation(format!(
                        "I-BASE: key {key} of {name} is {entry:?}, and has no base page"
                    )));
                }
                match entry {
                    Entry::Equal => equal += 1,
                    Entry::Delta { len, .. } => {
                        (deltas, delta_bytes) = (deltas + 1, delta_bytes + len);
                    }
                    _ => {}
                }
            }
            objects += match entry {
                Entry::Page { codec, len, .. } => {
                    let tally = &mut total.of_codecs[usize::from(codec.0)];
                    tally.objects += 1;
                    tally.bytes += len;
                    1
                }
                Entry::Member { .. } => {
                    self.audit_member(key, entry, &mut clusters).map_err(|what| {
                        Violation(format!("I-CLUSTER: key {key} of {name}: {what}"))
                    })?;
                    0
                }
                Entry::Spilled { place, part } => {
                    spilled += 1;
                    self.audit_spilled(key, (place, part), total).map_err(|what| {
                        Violation(format!("I-SPILL: key {key} of {name}: {what}"))
                    })?;
                    0
                }
                _ => u64::from(entry.holds_memory()),
            };
            counted += entry.counted_bytes();
            original += len as u64;
            entries += 1;
            from = key.checked_add(1);
        }
        for seen in clusters.seen.values() {
            let tally = &mut total.of_cluster_codecs[usize::from(seen.codec.0 & 15)];
            tally.objects += 1;
            tally.bytes += seen.len as u64;
        }
        objects += clusters.seen.len() as u64;
        total.clusters += clusters.seen.len() as u64;
        total.bytes += clusters.seen.values().map(|seen| seen.len as u64).sum::<u64>();
        let stats = space.stats();
        for (what, said, found) in [
            ("entries", stats.stored, entries),
            ("bytes of objects", stats.object_bytes, counted),
            ("counted bytes of objects", space.counters.sum(Count::Objects), counted),
            ("fresh pages", stats.fresh, fresh),
            ("pages in clusters", stats.clustered, clusters.pages),
            ("spilled pages", stats.spilled, spilled),
            ("equal pages", stats.equal, equal),
            ("deltas", stats.deltas, deltas),
            ("bytes of deltas", stats.delta_bytes, delta_bytes),
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

    fn audit_spilled(
        &self,
        key: u64,
        (place, part): (Place, Part),
        total: &mut Totals,
    ) -> Result<(), String> {
        let spilling = self.spilling.as_ref().ok_or("there is no backing")?;
        let (label, len) = spilling.spill.kept(place).ok_or("nothing live lies at its place")?;
        let form = SpilledForm::of(label);
        let is_member = matches!(part, Part::Member(_));
        let is_right = match form {
            SpilledForm::Cluster(_) => is_member,
            SpilledForm::Raw | SpilledForm::Page(_) => part == Part::Page,
            SpilledForm::RawValue | SpilledForm::Value(_) => part == Part::Value,
            SpilledForm::Delta => part == Part::Delta,
        };
        if !is_right {
            return Err(format!("{part:?} of an object that is {form:?}"));
        }
        let leaf = key / NODE_WORDS as u64;
        if total.places.insert(place, leaf).is_some_and(|other| other != leaf || !is_member) {
            return Err("its place has another key".to_owned());
        }
        let is_first = total.spilled_objects.insert(place);
        let tally = match form {
            SpilledForm::Page(id) => &mut total.of_codecs[usize::from(id.0 & 15)],
            SpilledForm::Cluster(id) => &mut total.of_cluster_codecs[usize::from(id.0 & 15)],
            SpilledForm::Raw
            | SpilledForm::Delta
            | SpilledForm::RawValue
            | SpilledForm::Value(_) => return Ok(()),
        };
        if is_first {
            tally.objects += 1;
            tally.bytes += if is_member { len as u64 } else { page_len(len) };
        }
        Ok(())
    }

    fn audit_member(&self, key: u64, entry: Entry, audit: &mut ClusterAudit) -> Result<(), String> {
        let Entry::Member { at, slot, len } = entry else { return Ok(()) };
        audit.pages += 1;
        let found = self.object_len(entry);
        let codec = self.cluster_codec(entry).ok_or("its cluster is empty")?;
        let seen =
            audit.seen.entry(at.0).or_insert(SeenCluster { len: found, codec, key, slots: 0 });
        if key / NODE_WORDS as u64 != seen.key / NODE_WORDS as u64 {
            return Err(format!("its cluster has a page {} of another leaf", seen.key));
        }
        if usize::from(slot) >= CLUSTER_PAGES || seen.slots >> slot & 1 == 1 {
            return Err(format!("page {slot} of its cluster has two keys, or there is none"));
        }
        seen.slots |= 1 << slot;
        if len != member_len(found) {
            return Err(format!("a share of {len} bytes in a cluster of {found}"));
        }
        Ok(())
    }
}

/// The clusters of a space, by handle.
#[derive(Debug, Default)]
struct ClusterAudit {
    seen: HashMap<u64, SeenCluster>,
    pages: u64,
}

#[derive(Debug)]
struct SeenCluster {
    len: usize,
    codec: CodecId,
    /// Of one of its pages.
    key: u64,
    slots: u8,
}

/// Of all spaces.
#[derive(Debug, Default)]
struct Totals {
    clusters: u64,
    bytes: u64,
    /// Of spilled objects, with the leaf of their keys.
    places: HashMap<Place, u64>,
    spilled_objects: HashSet<Place>,
    of_codecs: Tallies,
    of_cluster_codecs: Tallies,
}
