//! 128-bit keyed hashes, with a random key per cache.
//!
//! The hash replaces the key: two of 2^40 collide by chance with probability 2^-49, and searching takes the secret key,
//! without which SipHash-2-4 is pseudo-random.

use std::hash::{BuildHasher, Hash, RandomState};

use siphasher::sip128::{Hasher128, SipHasher24};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyHash {
    pub(super) high: u64,
    pub(super) low: u64,
}

/// Not printable: its state is the key.
pub(super) struct KeyHasher(SipHasher24);

impl KeyHasher {
    /// The random key comes from std's hash maps.
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
