//! Vectors, maps and allocators in regions.

use hashbrown::{DefaultHashBuilder, HashMap};
use pagefold_region::{Region, RegionAllocator, RegionVec};

use crate::common::{PAGE, builder, mix, modes};

#[test]
fn a_vector_is_sorted_with_an_eighth_of_its_memory() {
    for mode in modes() {
        let numbers = RegionVec::<u64>::zeroed(1 << 20, |region| {
            region.fault_mode(mode).resident_limit(1 << 20)
        });
        let mut numbers = numbers.expect("a mode that works");
        for (at, number) in numbers.iter_mut().enumerate() {
            *number = mix(at as u64 + 1);
        }
        let sum = |numbers: &[u64]| numbers.iter().fold(0_u64, |sum, one| sum.wrapping_add(*one));
        let before = sum(&numbers);
        numbers.sort_unstable();
        assert!(numbers.is_sorted(), "{mode}");
        assert_eq!(sum(&numbers), before, "{mode}");
    }
}

#[test]
fn a_map_has_four_times_its_memory() {
    for mode in modes() {
        let region = builder(mode, 32 << 8, 2 << 8).build().expect("a mode that works");
        let allocator = RegionAllocator::new(region);
        let mut map: HashMap<u64, [u64; 3], DefaultHashBuilder, _> =
            HashMap::with_hasher_in(DefaultHashBuilder::default(), allocator.clone());
        for key in 0..200_000 {
            map.insert(key, [key, mix(key), 7]);
        }
        for key in (0..200_000).step_by(3) {
            assert_eq!(map.remove(&key), Some([key, mix(key), 7]));
        }
        for key in 0..200_000 {
            let expected = (key % 3 != 0).then_some([key, mix(key), 7]);
            assert_eq!(map.get(&key).copied(), expected, "{mode}: {key}");
        }
        drop(map);
        assert_eq!(allocator.room().longest, allocator.region().len(), "{mode}: all came back");
        assert_eq!(
            allocator.region().store().stats().stored,
            0,
            "{mode}: freed pages take no memory"
        );
    }
}

#[test]
fn blocks_of_threads_do_not_overlap() {
    use allocator_api2::vec::Vec;
    for mode in modes() {
        let region: Region = builder(mode, 4096, 256).build().expect("a mode that works");
        let allocator = RegionAllocator::new(region);
        std::thread::scope(|scope| {
            for me in 0..3_u64 {
                let allocator = allocator.clone();
                scope.spawn(move || {
                    for round in 0..20 {
                        let mut blocks = std::vec::Vec::new();
                        for size in 1..60 {
                            let mut block = Vec::with_capacity_in(size * 61, allocator.clone());
                            block.extend((0..size * 61).map(|at| mix(me << 32 | at as u64)));
                            blocks.push(block);
                        }
                        for block in &blocks {
                            for (at, word) in block.iter().enumerate() {
                                assert_eq!(*word, mix(me << 32 | at as u64), "{mode} {round}");
                            }
                        }
                    }
                });
            }
        });
        assert_eq!(allocator.room().longest, 4096 * PAGE);
    }
}
