//! Seals: what is written can be read by this process alone, and only where and when it was written.
//!
//! AES-256-GCM with a key from the operating system's generator. The nonce is the sequence of the write (8 bytes) and the
//! number of the object in it (4 bytes). **No nonce twice** (I-NONCE): one counter gives sequences and only grows, a write that fails has used its own up, an
//! extent has each number once, and the child of a fork does not seal ([`Sealer::seals_here`]).
//!
//! The additional data are slot, generation, label, note and length: what lies elsewhere, or was there before, does not open.
//!
//! Without encryption the 16 bytes are xxh3-128 of the object and the same numbers.

use aes_gcm::{
    Aes256Gcm, Key, Nonce, Tag,
    aead::{AeadInOut as _, KeyInit as _, inout::InOutBuf},
};
use pagefold_sys::{
    memory::MemoryError,
    quiesce::fork_generation,
    secret::{Secret, fill_random},
};
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
    Encrypts { cipher: Secret<Aes256Gcm>, process: u64 },
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
        let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key));
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
                let nonce = Nonce::from(binding.nonce());
                let sealed =
                    cipher.encrypt_inout_detached(&nonce, &additional, InOutBuf::from(bytes));
                sealed.expect("far below the 64 GiB of a message").into()
            }
            Self::Checks { .. } => checksum(binding, &additional, bytes),
        }
    }

    /// After an error the content of `bytes` is unspecified.
    pub(crate) fn open(
        &self,
        binding: Binding,
        bytes: &mut [u8],
        tag: [u8; TAG_BYTES],
    ) -> Result<(), DoesNotOpen> {
        let additional = binding.additional(bytes.len());
        match self {
            Self::Encrypts { cipher, .. } => {
                let (nonce, tag) = (Nonce::from(binding.nonce()), Tag::from(tag));
                let bytes = InOutBuf::from(bytes);
                let opened = cipher.decrypt_inout_detached(&nonce, &additional, bytes, &tag);
                opened.map_err(|_| DoesNotOpen)
            }
            Self::Checks { .. } if checksum(binding, &additional, bytes) == tag => Ok(()),
            Self::Checks { .. } => Err(DoesNotOpen),
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
                let mut bytes = plain.clone();
                let tag = sealer.seal(HERE, &mut bytes);
                let mut back = bytes.clone();
                assert_eq!(sealer.open(HERE, &mut back, tag), Ok(()));
                assert_eq!(back, plain);
                let elsewhere = [
                    Binding { sequence: 8, ..HERE },
                    Binding { slot: 2, ..HERE },
                    Binding { generation: 1, ..HERE },
                    Binding { number: 0, ..HERE },
                    Binding { label: Label::new(1), ..HERE },
                    Binding { label: Label::NONE.with_note(1 << 15), ..HERE },
                ];
                for other in elsewhere {
                    let mut back = bytes.clone();
                    assert_eq!(sealer.open(other, &mut back, tag), Err(DoesNotOpen), "{other:?}");
                }
                for bit in 0..len * 8 {
                    let mut flipped = bytes.clone();
                    flipped[bit / 8] ^= 1 << (bit % 8);
                    assert_eq!(sealer.open(HERE, &mut flipped, tag), Err(DoesNotOpen));
                    if bit > 200 {
                        break;
                    }
                }
                for bit in 0..TAG_BYTES * 8 {
                    let mut other = tag;
                    other[bit / 8] ^= 1 << (bit % 8);
                    assert_eq!(sealer.open(HERE, &mut bytes.clone(), other), Err(DoesNotOpen));
                }
                if let Some(shorter) = len.checked_sub(1) {
                    let mut back = bytes[..shorter].to_vec();
                    assert_eq!(sealer.open(HERE, &mut back, tag), Err(DoesNotOpen));
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
