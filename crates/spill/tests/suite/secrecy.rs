//! What the backing sees tells nothing.

use std::{collections::HashSet, sync::Arc};

use pagefold_spill::{EXTENT_BYTES_MIN, Label, Owner, Spill};

use pagefold_testkit::backing::FaultyBacking;

const PLAIN: &[u8] = b"a sentence that each object has";

fn written(encrypts: bool) -> Vec<u8> {
    let backing = Arc::new(FaultyBacking::new(true));
    let builder = Spill::builder(Arc::clone(&backing)).extent_bytes(EXTENT_BYTES_MIN);
    let spill = builder.encrypts(encrypts).build().expect("sensible");
    let mut batch = spill.batch().expect("memory");
    for _ in 0..4 {
        for key in 0..100 {
            batch
                .push(
                    Owner(0x1234_5678_9abc_def0, 0x0f0e_0d0c_0b0a_0908 + key),
                    Label::NONE,
                    &PLAIN.repeat(10),
                )
                .expect("room");
        }
        let written = spill.write(&mut batch).expect("room");
        (0..100).for_each(|number| _ = written.keep(number));
    }
    backing.bytes()
}

fn has(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn no_content_no_owner_and_no_repetition() {
    let bytes = written(true);
    assert!(bytes.len() > 4 * 100 * PLAIN.len() * 10);
    assert!(!has(&bytes, &PLAIN[..8]));
    assert!(!has(&bytes, &0x1234_5678_9abc_def0_u64.to_le_bytes()));
    // Equal objects would show as equal blocks, if a nonce came twice.
    let mut blocks = HashSet::new();
    assert!(bytes.windows(16).all(|block| blocks.insert(block)), "16 bytes come twice");
    // The search finds what is there.
    let plain = written(false);
    assert!(has(&plain, &PLAIN[..8]) && has(&plain, &0x1234_5678_9abc_def0_u64.to_le_bytes()));
}
