//! Models of trained codecs: one that retires, beside a get, a get that never waits, and a put.

use loom::thread;
use pagefold_codec::{Codec, CodecError};
use pagefold_frame::HeapSource;
use pagefold_pool::NbudOptions;
use pagefold_store::{GetError, Space, SpaceConfig, Store, TryGetError};

use super::{get_halves, halves, model, model_of_staging, put_at};

/// Compresses a page of halves to `len` bytes, or twice as many from 128 on; restores only its own.
struct Learned {
    len: u8,
    /// Of this model; loom need not watch them.
    trainings: std::sync::Arc<std::sync::atomic::AtomicU8>,
}

impl Codec for Learned {
    fn name(&self) -> &str {
        "learned"
    }
    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        let len = usize::from(self.len) * if src[0] < 128 { 1 } else { 2 };
        dst[..len].fill(self.len);
        dst[1] = src[0];
        Some(len)
    }
    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        assert_eq!(src[0], self.len, "an object of another codec");
        halves(src[1], dst);
        Ok(dst.len())
    }
    fn metadata_bytes(&self) -> usize {
        0
    }
    fn trains(&self) -> bool {
        true
    }
    /// Shorter each time.
    fn train(&self, _pages: &[&[u8]]) -> Option<Box<dyn Codec>> {
        let before = self.trainings.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let trainings = std::sync::Arc::clone(&self.trainings);
        Some(Box::new(Learned { len: self.len - 16 * (before + 1), trainings }))
    }
}

/// A store whose first training was adopted, and whose second one is due.
fn trained_twice() -> (Store, Space) {
    let options = NbudOptions::new().span_frames(1);
    let builder = Store::builder().allocator(options).source(Box::new(HeapSource::new()));
    let codec = Box::new(Learned { len: 96, trainings: std::sync::Arc::default() });
    let builder = builder.codec_with(codec).limit(4 << 20).shrinker(false);
    let builder = builder.self_training(true).training_steps(2, 1, u32::MAX);
    let store = builder.build().expect("room");
    let space = store.space(SpaceConfig::persistent(4)).expect("room");
    (0..2).for_each(|key| put_at(&space, key, 1));
    store.maintain(usize::MAX);
    // A window to look away, one that drifts, and eight pages of which two are samples.
    (0..10).for_each(|_| put_at(&space, 0, 200));
    space.remove(1).expect("a key");
    assert_eq!(store.stats().training.current, 2);
    (store, space)
}

/// As [`trained_twice`], with the second codec current: key 0 has the only page of the first one.
fn page_of_a_former_codec() -> (Store, Space) {
    let (store, space) = trained_twice();
    put_at(&space, 0, 1);
    store.maintain(usize::MAX);
    assert_eq!(store.stats().training.current, 3);
    (store, space)
}

#[test]
fn a_dictionary_that_retires_beside_a_get_restores_its_page() {
    model_of_staging(|| {
        let (store, space) = page_of_a_former_codec();
        let reader = {
            let space = space.clone();
            thread::spawn(move || assert!(matches!(get_halves(&space), Some(1) | None)))
        };
        space.remove(0).expect("a key");
        store.maintain(0);
        reader.join().expect("no panic");
        store.maintain(0);
        assert_eq!(store.stats().training.retired, 1);
        store.validate().expect("valid");
    });
}

#[test]
fn a_dictionary_that_retires_beside_a_get_that_never_waits_restores_its_page() {
    model_of_staging(|| {
        let (store, space) = page_of_a_former_codec();
        let reader = {
            let space = space.clone();
            thread::spawn(move || {
                let mut page = vec![0; 4096];
                match space.try_get(0, (&mut page[..]).try_into().expect("a page")) {
                    Ok(()) => assert_eq!((page[0], page[2048]), (1, 0xfe)),
                    Err(TryGetError::WouldBlock | TryGetError::Get(GetError::Absent)) => {}
                    Err(error) => panic!("{error}"),
                }
            })
        };
        space.remove(0).expect("a key");
        store.maintain(0);
        reader.join().expect("no panic");
        store.validate().expect("valid");
    });
}

#[test]
fn a_dictionary_that_retires_beside_a_put_stays_for_its_page() {
    model(|| {
        let (store, space) = trained_twice();
        let worker = {
            let (store, space) = (store.clone(), space.clone());
            thread::spawn(move || {
                // Adopts another codec, and retires the first one if it has no page.
                store.maintain(usize::MAX);
                space.remove(0).expect("a key");
                store.maintain(0);
            })
        };
        // One preemption is enough: the put has the id that is given up, and stores its page afterwards.
        put_at(&space, 1, 1);
        worker.join().expect("no panic");
        let mut page = vec![0; 4096];
        space.get_into(1, &mut page).expect("there");
        assert_eq!((page[0], page[2048]), (1, 0xfe));
        let training = store.stats().training;
        assert_eq!((training.current, training.trained), (3, 2));
        store.validate().expect("valid");
        space.remove(1).expect("a key");
        store.maintain(0);
        assert_eq!((store.stats().training.retired, store.stats().payload_bytes), (1, 0));
    });
}
