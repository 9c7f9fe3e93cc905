use super::*;

fn linux(chain_max: u32) -> ClassTable {
    ClassTable::new(ClassConfig { chain_max, ..ClassConfig::default() }).expect("possible")
}

/// The kernel's published figures.
#[test]
fn with_the_parameters_of_linux_it_is_the_table_of_linux() {
    for (chain_max, classes, density, spanning) in
        [(4, 69, "0.930", "0.19"), (8, 119, "0.970", "0.30"), (16, 192, "0.985", "0.38")]
    {
        let table = linux(chain_max);
        assert_eq!((table.sizes(), table.classes().len()), (255, classes), "chain {chain_max}");
        let uniform = table.expect((32..=4096).map(|len| (len, 1)));
        let found = uniform.density().map(|density| format!("{density:.3}"));
        assert_eq!(found.as_deref(), Some(density), "chain {chain_max}");
        assert_eq!(format!("{:.2}", uniform.spanning), spanning, "chain {chain_max}");
        assert_eq!((uniform.objects(), uniform.too_long), (4065, 0));
    }
}

#[test]
fn every_table_of_the_grid_is_sound() {
    let mut tables = 0;
    for frame_bytes in [256, 1024, 4096, 16384] {
        for step in [1, 4, 8, 16, 24, 32, 64, 128] {
            for smallest in [1, 16, 32, 64, 256] {
                for chain_max in [1, 2, 3, 4, 7, 8, 16] {
                    let config =
                        ClassConfig { frame_bytes, smallest, step, chain_max, header_bytes: 6 };
                    let Ok(table) = ClassTable::new(config) else {
                        let steps = frame_bytes.wrapping_sub(smallest);
                        let whole = steps.is_multiple_of(step) || frame_bytes.is_multiple_of(step);
                        assert!(smallest > frame_bytes || !whole, "{config:?}");
                        continue;
                    };
                    assert_eq!(table.check(), Ok(()), "{config:?}");
                    tables += 1;
                }
            }
        }
    }
    assert!(tables > 300, "only {tables} tables");
}

#[test]
fn every_length_up_to_a_frame_has_a_place_that_holds_it() {
    for step in [16, 32] {
        for chain_max in [1, 4, 8] {
            let config = ClassConfig { step, chain_max, header_bytes: 6, ..Default::default() };
            let table = ClassTable::new(config).expect("possible");
            let mut last = 0;
            for len in 1..=4096 {
                let index = table.index_of(len).expect("up to a frame");
                assert!(index >= last, "longer objects are in larger classes");
                last = index;
                let class = table.classes()[index];
                let header = if class.is_huge() { 0 } else { config.header_bytes };
                assert!(len + header <= class.size, "{len} bytes in {class:?}");
                let below = index.checked_sub(1).map(|below| table.classes()[below]);
                assert!(below.is_none_or(|below| len + config.header_bytes > below.size));
            }
            assert_eq!(table.index_of(4097), None);
        }
    }
}

/// Published for kernels with 16 KiB pages: steps of a 256th of a page, chains of up to 8.
#[test]
fn larger_frames_have_the_steps_of_their_kernels_and_the_last_one_is_shorter() {
    for (frame_bytes, step, sizes) in [(16 << 10, 64, 257), (64 << 10, 256, 257)] {
        let config = ClassConfig { frame_bytes, step, ..ClassConfig::default() };
        let table = ClassTable::new(config).expect("possible");
        assert_eq!((table.check(), table.sizes()), (Ok(()), sizes));
        let last = table.classes().last().expect("there is one");
        assert_eq!((last.size, table.index_of(frame_bytes + 1)), (frame_bytes, None));
        let longest = table.class_of(frame_bytes).expect("a frame holds it");
        assert!(longest.is_huge() && table.index_for_size(frame_bytes + 1).is_none());
    }
    let config = ClassConfig { frame_bytes: 16 << 10, step: 64, ..ClassConfig::default() };
    let table = ClassTable::new(config).expect("possible");
    // 1072 to 1120 bytes, without a header, share places of 1120: 117 of them in 8 frames.
    for bytes in [1072, 1088, 1104, 1120] {
        let class = table.classes()[table.index_for_size(bytes).expect("a size")];
        assert_eq!((class.size, class.frames, class.objects), (1120, 8, 117), "{bytes}");
    }
}

#[test]
fn impossible_configurations_say_what_is_possible() {
    let good = ClassConfig::default();
    let cases = [
        (ClassConfig { frame_bytes: 4095, ..good }, "a power of two from 256 to 65536"),
        (ClassConfig { frame_bytes: 1 << 20, ..good }, "a power of two from 256 to 65536"),
        (ClassConfig { smallest: 0, ..good }, "choose 1 to 4096"),
        (ClassConfig { smallest: 5000, ..good }, "choose 1 to 4096"),
        (ClassConfig { step: 0, ..good }, "a divisor of 4064"),
        (ClassConfig { step: 17, ..good }, "a divisor of 4064"),
        (ClassConfig { chain_max: 0, ..good }, "choose 1 to 64"),
        (ClassConfig { chain_max: 65, ..good }, "choose 1 to 64"),
        (ClassConfig { header_bytes: 4096, ..good }, "leaves no room"),
    ];
    for (config, words) in cases {
        let text = ClassTable::new(config).expect_err("impossible").to_string();
        assert!(text.contains(words), "{config:?}: {text}");
    }
}

#[test]
fn a_place_in_two_frames_is_counted_by_its_bytes() {
    // 2720: 9 places in 6 frames; 3 in 2 would put one across.
    let within = Class { size_min: 1360, size: 1360, frames: 1, objects: 3 };
    let across = Class { size_min: 2720, size: 2720, frames: 2, objects: 3 };
    assert_eq!((within.spanning(4096), within.waste(4096)), (0, 16));
    assert_eq!((across.spanning(4096), across.waste(4096)), (1, 32));
}

#[test]
fn lengths_without_a_class_are_counted_apart() {
    let expected = linux(8).expect([(100, 2), (4096, 1), (4097, 3)]);
    assert_eq!((expected.objects(), expected.payload_bytes(), expected.too_long), (3, 4296, 3));
    let none = linux(8).expect([]);
    assert_eq!((none.density(), none.spanning), (None, 0.0));
}
