//! Keys as 128 bits: a keyed hash, under a key that no other cache has.
//!
//! The hash stands for the key, which is not kept. That is right as long as no two keys have one hash: by chance two of
//! 2^40 do so with a probability of 2^-49, and to look for two takes the key, which never leaves the process. SipHash-2-4
//! is made for that: a pseudo-random function of its input for all who do not know the key.

use std::hash::{BuildHasher, Hash, RandomState};

use siphasher::sip128::{Hasher128, SipHasher24};

/// A key of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyHash {
    pub(super) high: u64,
    pub(super) low: u64,
}

/// Hashes the keys of one cache. Not to be printed: its state is the random key.
pub(super) struct KeyHasher(SipHasher24);

impl KeyHasher {
    /// Under a random key, which comes from the system by way of std's hash maps.
    pub(super) fn new() -> Self {
        let random = RandomState::new();
        Self(SipHasher24::new_with_keys(random.hash_one(0_u8), random.hash_one(1_u8)))
    }

    pub(super) fn hash(&self, key: &(impl Hash + ?Sized)) -> KeyHash {
        let mut hasher = self.0;
        key.hash(&mut hasher);
        let hash = hasher.finish128();
        KeyHash { high: hash.h1, low: hash.h2 }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_have_one_hash_and_each_cache_another() {
        let (one, two) = (KeyHasher::new(), KeyHasher::new());
        assert_eq!(one.hash("key"), one.hash(&String::from("key")));
        assert_ne!(one.hash("key"), one.hash("kez"));
        assert_ne!(one.hash("key"), two.hash("key"));
        assert_ne!(one.hash(&(1_u8, 2_u8)), one.hash(&(2_u8, 1_u8)));
        let hash = one.hash("key");
        assert_ne!(hash.high, hash.low);
    }
}
