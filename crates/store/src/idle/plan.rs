//! What a pass does with a leaf: which pages join a cluster, and which leave one.

use crate::{
    index::{Aged, NODE_WORDS},
    word::{CLUSTER_PAGES, Entry, Short, Word},
};

/// With so many pages left, a cluster is split.
const SPARSE: usize = CLUSTER_PAGES / 2;

/// A page as the pass found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageAt {
    pub(crate) key: u64,
    pub(crate) word: Word,
}

/// Work on pages of one leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Job {
    /// Idle pages that may be shorter as a cluster.
    Join([PageAt; CLUSTER_PAGES]),
    /// All pages that a sparse cluster has left; each becomes an object of its own.
    Split(Vec<PageAt>),
}

/// The jobs of a leaf.
pub(crate) fn jobs(aged: &Aged) -> Vec<Job> {
    let page = |slot: usize| PageAt { key: aged.first + slot as u64, word: aged.words[slot] };
    let sparse = sparse_clusters(aged);
    // Whole clusters only: otherwise the old object stays beside the new one.
    let joins = sparse.iter().filter(|&&pages| pages & aged.idle == pages);
    let mut may_join = joins.fold(0, |all, pages| all | pages);
    for slot in slots(aged.idle & !aged.tried) {
        if let Entry::Page { .. } | Entry::Raw(_) = aged.words[slot].entry() {
            may_join |= 1 << slot;
        }
    }
    let (mut jobs, mut joined) = (Vec::new(), 0);
    let candidates: Vec<usize> = slots(may_join).collect();
    for group in candidates.chunks_exact(CLUSTER_PAGES) {
        let group = <[usize; CLUSTER_PAGES]>::try_from(group).expect("an exact chunk");
        let pages = group.iter().fold(0, |all, slot| all | 1 << slot);
        if pages & !aged.tried != 0 {
            joined |= pages;
            jobs.push(Job::Join(group.map(page)));
        }
    }
    // Between the two, a sparse cluster may become idle, and join.
    let is_due = |pages: u64| pages & aged.read != 0 || pages & aged.idle == pages;
    let splits =
        sparse.iter().filter(|&&pages| pages & (joined | aged.tried) == 0 && is_due(pages));
    jobs.extend(splits.map(|&pages| Job::Split(slots(pages).map(page).collect())));
    jobs
}

/// The pages of each sparse cluster.
fn sparse_clusters(aged: &Aged) -> Vec<u64> {
    let mut clusters: Vec<(Short, u64)> = Vec::new();
    for (slot, word) in aged.words.iter().enumerate() {
        if let Entry::Member { at, .. } = word.entry() {
            // Mostly the last one.
            match clusters.iter_mut().rev().find(|(cluster, _)| *cluster == at) {
                Some((_, pages)) => *pages |= 1 << slot,
                None => clusters.push((at, 1 << slot)),
            }
        }
    }
    let pages = clusters.into_iter().map(|(_, pages)| pages);
    pages.filter(|&pages| slots(pages).count() <= SPARSE).collect()
}

fn slots(bits: u64) -> impl Iterator<Item = usize> {
    (0..NODE_WORDS).filter(move |slot| bits >> slot & 1 == 1)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::word::{CodecId, member_len};

    fn single(number: u64) -> Word {
        Word::new(Entry::Page { at: Short(number), codec: CodecId::FIRST, len: 1600 })
    }

    fn member(cluster: u64, slot: u8) -> Word {
        Word::new(Entry::Member { at: Short(cluster), slot, len: member_len(4000) })
    }

    fn aged(words: &[Word], idle: u64) -> Aged {
        let mut aged = Aged {
            first: 128,
            words: [Word::EMPTY; NODE_WORDS],
            read: !idle,
            idle,
            tried: 0,
            was_idle: 0,
        };
        aged.words[..words.len()].copy_from_slice(words);
        aged
    }

    fn keys(job: &Job) -> Vec<u64> {
        match job {
            Job::Join(pages) => pages.iter().map(|page| page.key).collect(),
            Job::Split(pages) => pages.iter().map(|page| page.key).collect(),
        }
    }

    #[test]
    fn idle_pages_join_in_fours_in_the_order_of_their_keys() {
        let words: Vec<Word> = (1..=10).map(single).collect();
        let jobs = jobs(&aged(&words, 0b11_1110_1111));
        assert_eq!(
            jobs.iter().map(keys).collect::<Vec<_>>(),
            [[128, 129, 130, 131], [133, 134, 135, 136]]
        );
        assert!(jobs.iter().all(|job| matches!(job, Job::Join(_))));
    }

    #[test]
    fn same_filled_fresh_and_clustered_pages_do_not_join() {
        let others = [Entry::Same(7), Entry::Pattern(Short(1)), Entry::Fresh(Short(2)), Entry::Nil];
        let mut words: Vec<Word> = others.map(Word::new).to_vec();
        words.extend((0..4).map(|slot| member(9, slot)));
        words.push(Word::new(Entry::Raw(Short(3))));
        assert_eq!(jobs(&aged(&words, u64::MAX)), []);
    }

    #[test]
    fn a_cluster_with_two_pages_joins_again_if_it_is_idle_and_is_split_otherwise() {
        let words = [member(9, 1), single(1), member(9, 3), single(2), member(8, 0)];
        let together = jobs(&aged(&words, 0b01111));
        assert_eq!(
            together.iter().map(keys).collect::<Vec<_>>(),
            [vec![128, 129, 130, 131], vec![132]]
        );
        let apart = jobs(&aged(&words, 0b01110));
        assert!(apart.iter().all(|job| matches!(job, Job::Split(_))));
        assert_eq!(apart.iter().map(keys).collect::<Vec<_>>(), [vec![128, 130], vec![132]]);
        let tried = Aged { tried: 0b00001, ..aged(&words, 0) };
        assert_eq!(jobs(&tried).iter().map(keys).collect::<Vec<_>>(), [vec![132]]);
    }

    #[test]
    fn a_sparse_cluster_waits_until_it_is_idle() {
        let words = [member(9, 1), member(9, 3)];
        assert_eq!(jobs(&Aged { read: 0, ..aged(&words, 0) }), [], "not read, not idle yet");
        assert_eq!(jobs(&aged(&words, 0b11)).len(), 1, "idle, and alone");
        assert_eq!(jobs(&aged(&words, 0b01)).len(), 1, "read");
    }

    #[test]
    fn pages_that_were_tried_join_only_with_one_that_was_not() {
        let words = [member(9, 1), member(9, 3), member(8, 0), member(8, 1)];
        let tried = Aged { tried: 0b1111, ..aged(&words, 0b1111) };
        assert_eq!(jobs(&tried), []);
        let other = jobs(&Aged { tried: 0b0111, ..aged(&words, 0b1111) });
        assert_eq!(other.iter().map(keys).collect::<Vec<_>>(), [[128, 129, 130, 131]]);
    }

    #[test]
    fn a_cluster_with_three_pages_stays() {
        let words = [member(9, 0), member(9, 1), member(9, 2)];
        assert_eq!(jobs(&aged(&words, u64::MAX)), []);
    }
}
