//! The index against an ordered map, and under concurrency.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use pagefold_frame::{HeapSource, MemoryBudget};
use pagefold_testkit::seed::Seed;
use rand::RngExt as _;

use super::{Index, Nodes, Refused};
use crate::word::{Entry, Short, Word};

fn nodes(frames: usize) -> (Arc<MemoryBudget>, Arc<Nodes>) {
    let memory = Arc::new(MemoryBudget::new(Box::new(HeapSource::new()), frames));
    let nodes = Nodes::new(&memory, frames * 4096, true).expect("heap");
    (memory, Arc::new(nodes))
}

fn word(number: u64) -> Word {
    match number % 2 {
        0 => Word::new(Entry::Raw(Short(number + 2))),
        _ => Word::new(Entry::Same(number)),
    }
}

fn put(index: &Index, key: u64, word: Word) -> Word {
    index.publish(key, word, &|_| true).expect("room").word
}

fn key(kind: usize, random: u64) -> u64 {
    match kind {
        0 => random % 3000,
        1 => random % 300 * 4096,
        2 => random,
        3 => (random % 7) << 40 | random >> 50,
        _ => [random % 70, u64::MAX - 1 - random % 70][usize::from(random & 1 << 40 != 0)],
    }
}

#[test]
fn an_index_agrees_with_an_ordered_map() {
    let seed = Seed::for_test(0x1d3);
    for kind in 0..5 {
        let (memory, nodes) = nodes(20_000);
        let index = Index::new(&nodes, u64::MAX, true);
        let mut model = BTreeMap::new();
        let mut rng = seed.rng(kind as u64);
        for step in 0..6000_u64 {
            let key = key(kind, rng.random());
            let old = if rng.random_range(0..100) < if step < 3000 { 70 } else { 30 } {
                (put(&index, key, word(step)), model.insert(key, word(step)))
            } else {
                (index.take_any(key).word, model.remove(&key))
            };
            assert_eq!(old.0, old.1.unwrap_or(Word::EMPTY));
            let from = self::key(kind, rng.random());
            let next = model.range(from..).next().map(|(key, word)| (*key, *word));
            assert_eq!(index.next_used(from), next, "from {from:#x}");
            let droppable = model.range(from..).find(|(_, word)| word.entry().holds_memory());
            let found = index.next_droppable(from).map(|(key, found)| (key, found.word));
            assert_eq!(found, droppable.map(|(key, word)| (*key, *word)), "from {from:#x}");
            assert_eq!(index.load(from), model.get(&from).copied().unwrap_or(Word::EMPTY));
            if step % 64 == 0 {
                assert_eq!(index.audit(), Ok(nodes.in_use()));
            }
        }
        for key in std::mem::take(&mut model).into_keys() {
            assert!(!index.take_any(key).word.is_empty());
        }
        assert_eq!((index.audit(), nodes.in_use()), (Ok(0), 0));
        nodes.release();
        assert!(memory.used() <= 4, "{} frames for an empty index", memory.used());
    }
}

#[test]
fn a_refused_word_leaves_no_leaf() {
    let (_, nodes) = nodes(100);
    let index = Index::new(&nodes, u64::MAX, true);
    put(&index, 5, word(0));
    for key in [6, 1 << 20, 1 << 63] {
        assert_eq!(index.publish(key, word(2), &|_| false), Err(Refused::NotAdmitted));
        assert_eq!(index.audit(), Ok(1));
    }
}

#[test]
fn an_index_without_memory_for_a_node_stays_as_it_was() {
    // One frame each for words, headers, ages and the set: eight leaves.
    let (_, nodes) = nodes(4);
    let index = Index::new(&nodes, u64::MAX, true);
    let mut put_keys = Vec::new();
    for key in (0..100).map(|step: u64| step << 50) {
        match index.publish(key, word(2), &|_| true) {
            Ok(_) => put_keys.push(key),
            Err(error) => assert_eq!(error, Refused::OutOfFrames),
        }
        assert_eq!(index.audit(), Ok(nodes.in_use()));
    }
    assert!((2..8).contains(&put_keys.len()), "{put_keys:?}");
    for key in put_keys {
        assert_eq!(index.take_any(key).word, word(2));
    }
    assert_eq!(nodes.in_use(), 0);
}

#[test]
fn a_closed_index_and_a_key_beyond_take_nothing() {
    let (_, nodes) = nodes(100);
    let index = Index::new(&nodes, 100, false);
    assert_eq!(index.publish(100, word(0), &|_| true), Err(Refused::Beyond));
    index.set_pages(101);
    put(&index, 100, word(0));
    index.set_pages(50);
    assert_eq!(index.publish(60, word(0), &|_| true), Err(Refused::Beyond));
    assert_eq!(index.load(100), word(0), "stays until it is taken out");
    assert!(index.close() && !index.close());
    assert_eq!(index.publish(0, word(0), &|_| true), Err(Refused::Closed));
}

#[test]
fn a_reader_beside_nodes_that_come_and_go_finds_its_own_words() {
    // A word says its key, which shows words of other lives. One key stays.
    let (_, nodes) = nodes(20_000);
    let index = Index::new(&nodes, u64::MAX, true);
    let words_of = |key: u64| Word::new(Entry::Same(key >> 8));
    let keys: Vec<u64> = (0..64_u64).map(|step| (step * 0x0123_4567_89ab) << 9 & !0xff).collect();
    put(&index, keys[7], words_of(keys[7]));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (index, keys, done) = (&index, &keys, &done);
        let writers: Vec<_> = (0..2_u64)
            .map(|number| {
                scope.spawn(move || {
                    let mut rng = Seed::for_test(0x1d4).rng(number);
                    for _ in 0..60_000 {
                        let at = rng.random_range(0..keys.len());
                        if at != 7 && rng.random() {
                            put(index, keys[at], words_of(keys[at]));
                        } else if at != 7 {
                            index.take_any(keys[at]);
                        }
                    }
                })
            })
            .collect();
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                for &key in keys {
                    let found = index.find(key);
                    found.mark();
                    let word = found.word.unreferenced();
                    assert!(word.is_empty() || word == words_of(key), "{key:#x}: {word:?}");
                    assert!(key != keys[7] || !word.is_empty(), "the key that stays is there");
                }
            }
        });
        for writer in writers {
            writer.join().expect("no panic");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(index.audit(), Ok(nodes.in_use()));
}

#[test]
fn a_node_put_in_between_while_a_change_is_yet_to_be_told_hides_nothing() {
    // A thread that changed its leaf waits for the tree lock.
    for droppable in [true, false] {
        let (_, nodes) = nodes(100);
        let index = Index::new(&nodes, u64::MAX, true);
        let object = Word::new(Entry::Raw(Short(2)));
        let same = Word::new(Entry::Same(7));
        let (before, after) = if droppable { (same, object) } else { (object, same) };
        put(&index, 0, before);
        put(&index, 1 << 30, same);
        let leaf = index.leaf_held(0).expect("it has a key");
        leaf.cell(0).store(after.bits(), Ordering::Release);
        leaf.set_droppable(0, droppable);
        put(&index, 1 << 12, same);
        index.tell_droppable(0, droppable);
        assert_eq!(index.audit(), Ok(nodes.in_use()));
        let found = index.next_droppable(0).map(|(key, _)| key);
        assert_eq!(found, droppable.then_some(0));
    }
}
