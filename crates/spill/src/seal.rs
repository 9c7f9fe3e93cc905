//! Seals: what is written can be read by this process alone, and only where and when it was written.
//!
//! AES-256-GCM with a key from the operating system's generator. The nonce is the sequence of the write (8 bytes) and the
//! number of the object in it (4 bytes). **No nonce twice** (I-NONCE): one counter gives sequences and only grows, a write that fails has used its own up, an
//! extent has each number once, and the child of a fork does not seal ([`Sealer::seals_here`]).
//!
//! The additional data are slot, generation, label, note and length: what lies elsewhere, or was there before, does not open.
//!
//! Without encryption the 16 bytes are xxh3-128 of the object and the same numbers.

use pagefold_sys::{
    memory::MemoryError,
    quiesce::fork_generation,
    secret::{Secret, fill_random},
};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use thiserror::Error;
use xxhash_rust::xxh3::Xxh3;

use crate::end::Label;

/// Bytes that a seal adds.
pub(crate) const TAG_BYTES: usize = 16;
const KEY_BYTES: usize = 32;

/// No key could be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyMakingError {
    /// The generator of the operating system failed.
    #[error("the system gives no random bytes for a key")]
    Random(#[source] std::io::Error),
    /// No memory for the key.
    #[error("there is no memory for a key")]
    Memory(#[from] MemoryError),
}

/// What an object is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) sequence: u64,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    /// `u32::MAX`: the directory.
    pub(crate) number: u32,
    pub(crate) label: Label,
}

impl Binding {
    /// Of a sealed object; see the module for why it never comes twice.
    fn nonce(self) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&self.sequence.to_le_bytes());
        nonce[8..].copy_from_slice(&self.number.to_le_bytes());
        nonce
    }

    fn additional(self, len: usize) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&self.slot.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.generation.to_le_bytes());
        // A generation has 24 bits.
        bytes[7] = self.label.get();
        bytes[8..].copy_from_slice(&(len as u64).to_le_bytes());
        // A length has far less than 48.
        bytes[14..].copy_from_slice(&self.label.note().to_le_bytes());
        bytes
    }
}

#[derive(Debug)]
pub(crate) enum Sealer {
    Encrypts { cipher: Secret<LessSafeKey>, process: u64 },
    Checks { process: u64 },
}

/// The bytes are not those that were sealed there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DoesNotOpen;

impl Sealer {
    pub(crate) fn new(encrypts: bool) -> Result<Self, KeyMakingError> {
        if !encrypts {
            return Ok(Self::Checks { process: fork_generation() });
        }
        let mut key = Secret::new([0_u8; KEY_BYTES])?;
        let random = |bytes: &mut [u8]| fill_random(bytes).map_err(KeyMakingError::Random);
        random(&mut key[..])?;
        let cipher = UnboundKey::new(&AES_256_GCM, &key[..]).expect("its length");
        let cipher = LessSafeKey::new(cipher);
        Ok(Self::Encrypts { cipher: Secret::new(cipher)?, process: fork_generation() })
    }

    /// Whether this process may seal: the child of a fork would use its parent's nonces, and without encryption what it writes
    /// would pass for its parent's.
    pub(crate) fn seals_here(&self) -> bool {
        let (Self::Encrypts { process, .. } | Self::Checks { process }) = self;
        *process == fork_generation()
    }

    /// Whether the key stays out of swap; `None` without one.
    pub(crate) fn is_locked(&self) -> Option<bool> {
        match self {
            Self::Encrypts { cipher, .. } => Some(cipher.is_locked()),
            Self::Checks { .. } => None,
        }
    }

    pub(crate) fn seal(&self, binding: Binding, bytes: &mut [u8]) -> [u8; TAG_BYTES] {
        let additional = binding.additional(bytes.len());
        match self {
            Self::Encrypts { cipher, .. } => {
                let nonce = Nonce::assume_unique_for_key(binding.nonce());
                let sealed = cipher.seal_in_place_separate_tag(nonce, Aad::from(additional), bytes);
                let tag = sealed.expect("far below the 64 GiB of a message");
                *tag.as_ref().first_chunk().expect("a tag has 16 bytes")
            }
            Self::Checks { .. } => checksum(binding, &additional, bytes),
        }
    }

    /// What was sealed, of `sealed`, which ends with its tag. After an error the content of `sealed` is unspecified.
    pub(crate) fn open<'b>(
        &self,
        binding: Binding,
        sealed: &'b mut [u8],
    ) -> Result<&'b mut [u8], DoesNotOpen> {
        let len = sealed.len().checked_sub(TAG_BYTES).ok_or(DoesNotOpen)?;
        let additional = binding.additional(len);
        match self {
            Self::Encrypts { cipher, .. } => {
                let nonce = Nonce::assume_unique_for_key(binding.nonce());
                let opened = cipher.open_in_place(nonce, Aad::from(additional), sealed);
                opened.map_err(|_| DoesNotOpen)
            }
            Self::Checks { .. } => {
                let (bytes, tag) = sealed.split_at_mut(len);
                if checksum(binding, &additional, bytes) == *tag {
                    Ok(bytes)
                } else {
                    Err(DoesNotOpen)
                }
            }
        }
    }
}

fn checksum(binding: Binding, additional: &[u8], bytes: &[u8]) -> [u8; TAG_BYTES] {
    let mut hash = Xxh3::new();
    hash.update(&binding.nonce());
    hash.update(additional);
    hash.update(bytes);
    hash.digest128().to_le_bytes()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const HERE: Binding =
        Binding { sequence: 9, slot: 3, generation: 2, number: 1, label: Label::NONE };

    #[test]
    fn what_was_sealed_opens_there_and_nowhere_else() {
        for sealer in [true, false].map(|encrypts| Sealer::new(encrypts).expect("a key")) {
            for len in [0, 1, 16, 4097] {
                let plain: Vec<u8> =
                    (0..len).map(|at| u8::try_from(at % 251).expect("small")).collect();
                let mut sealed = plain.clone();
                let tag = sealer.seal(HERE, &mut sealed);
                sealed.extend(tag);
                assert_eq!(sealer.open(HERE, &mut sealed.clone()), Ok(&mut plain.clone()[..]));
                let elsewhere = [
                    Binding { sequence: 8, ..HERE },
                    Binding { slot: 2, ..HERE },
                    Binding { generation: 1, ..HERE },
                    Binding { number: 0, ..HERE },
                    Binding { label: Label::new(1), ..HERE },
                    Binding { label: Label::NONE.with_note(1 << 15), ..HERE },
                ];
                for other in elsewhere {
                    let opened = sealer.open(other, &mut sealed.clone()).is_ok();
                    assert!(!opened, "{other:?}");
                }
                let bits = sealed.len() * 8;
                for bit in (0..bits.min(200)).chain(bits - TAG_BYTES * 8..bits) {
                    let mut flipped = sealed.clone();
                    flipped[bit / 8] ^= 1 << (bit % 8);
                    assert_eq!(sealer.open(HERE, &mut flipped), Err(DoesNotOpen), "bit {bit}");
                }
                for end in [0, 1, TAG_BYTES - 1, sealed.len() - 1] {
                    let cut = &mut sealed.clone()[..end];
                    assert_eq!(sealer.open(HERE, cut), Err(DoesNotOpen), "{end} bytes");
                }
            }
        }
    }

    #[test]
    fn two_sealers_have_two_keys() {
        let [mut one, mut other] = [[0; 64]; 2];
        Sealer::new(true).expect("a key").seal(HERE, &mut one);
        Sealer::new(true).expect("a key").seal(HERE, &mut other);
        assert_ne!(one, other);
        assert_ne!(one, [0; 64]);
    }

    #[test]
    fn every_part_of_a_binding_that_may_repeat_is_in_the_nonce() {
        let nonces = [HERE, Binding { sequence: 10, ..HERE }, Binding { number: 2, ..HERE }];
        let nonces = nonces.map(Binding::nonce);
        assert!(nonces[0] != nonces[1] && nonces[0] != nonces[2] && nonces[1] != nonces[2]);
    }
}
