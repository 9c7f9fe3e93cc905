//! An operation as data, for property tests, fuzzers and replay.

use std::num::NonZeroU64;

use crate::faulty::FaultPlan;
use pagefold_pool::Handle;
use rand::{Rng, RngExt};

use super::{Checked, Eviction, Mismatch, agree};
use crate::{corpus::Lengths, pattern::Pattern};

/// One operation. A number selects a live (or dead) object; without one the operation does nothing. Contents follow
/// from `key`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are the arguments of the pool's methods and the numbers explained above"
)]
pub enum Op {
    /// Stores any length.
    Store { len: usize, key: u64 },
    /// Allocates zeros of any length.
    Alloc { len: usize },
    /// Frees a live object.
    Free { object: u64 },
    /// Frees the newest object.
    FreeLast,
    /// Replaces an object's bytes.
    Write { object: u64, key: u64 },
    /// Writes another length.
    WriteLength { object: u64, len: usize },
    /// Reads in all ways.
    Read { object: u64, capacity: usize },
    /// Frees an object during a read.
    FreeDuringRead { object: u64, victim: u64 },
    /// Writes an object during a read.
    WriteDuringRead { object: u64, target: u64, key: u64 },
    /// Stores, compacts and trims during a read.
    WorkDuringRead { object: u64, len: usize, key: u64 },
    /// Migrates a live object's frames.
    Migrate { object: u64 },
    /// Migrates a read object (refused) and another.
    MigrateDuringRead { object: u64, other: u64 },
    /// Allocates a range, uses an object, drops the range.
    AllocContiguous { frames: usize, align: usize, object: u64 },
    /// Allocates and drops a range during a read.
    ContiguousDuringRead { object: u64, frames: usize },
    /// Reclaims; bits, from the first victim, select refusals and panics.
    Reclaim { retries: u32, refused: u64, panics: u64 },
    /// Uses a dead handle in every way.
    Dead { object: u64 },
    /// Uses a word as a handle, unless live.
    Forged { word: NonZeroU64 },
    /// Compacts with this budget.
    Compact { budget: usize },
    /// Trims.
    Trim,
    /// Sets the limit.
    SetLimit { bytes: usize },
    /// Refuses grants from the k-th on, if possible.
    RefuseMemory { k: u64, count: u64 },
    /// Finds descriptors isolated, if possible.
    RefuseIsolations { count: u64 },
    /// Stops refusing.
    Heal,
    /// Compares everything.
    CheckAll,
}

impl Op {
    /// Any operation except [`SetLimit`](Self::SetLimit); more stores than frees.
    pub fn random(rng: &mut impl Rng, max_len: usize) -> Self {
        let len = Lengths::Wide.sample(rng, max_len);
        let [object, other, key] = rng.random();
        match rng.random_range(0..24) {
            0..5 => Self::Store { len, key },
            5 => Self::Alloc { len },
            6 | 7 => Self::Free { object },
            8 => Self::FreeLast,
            9 | 10 => Self::Write { object, key },
            11 => Self::WriteLength { object, len },
            12 => Self::Read { object, capacity: len },
            13 => {
                Self::FreeDuringRead { object, victim: if other % 2 == 0 { object } else { other } }
            }
            14 => Self::WriteDuringRead {
                object,
                target: if other % 2 == 0 { object } else { other },
                key,
            },
            15 => Self::WorkDuringRead { object, len, key },
            16 => Self::Dead { object },
            17 => Self::Forged { word: rng.random() },
            18 => Self::Compact { budget: 4 * len },
            19 => Self::Migrate { object },
            20 => Self::MigrateDuringRead { object, other },
            21 if other % 2 == 0 => Self::ContiguousDuringRead { object, frames: small(key, 9) },
            21 => Self::AllocContiguous {
                frames: small(other, 65),
                align: 1 << small(key, 7),
                object,
            },
            // Most are impossible.
            22 if other % 4 == 0 => {
                Self::AllocContiguous { frames: small(object, 2), align: small(key, 9), object }
            }
            // Rarely: it empties frames.
            22 if other % 16 == 1 => Self::Reclaim {
                retries: 1 + (key % 4) as u32,
                refused: key & object & 0xff,
                panics: 0,
            },
            22 => Self::Store { len, key },
            _ if other % 8 == 0 => Self::CheckAll,
            _ => Self::Trim,
        }
    }

    /// Performs the operation.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn apply(&self, on: &mut Checked<'_>) -> Result<(), Mismatch> {
        match *self {
            Self::Store { len, key } => _ = on.store(&contents(key, len))?,
            Self::Alloc { len } => _ = on.alloc(len)?,
            Self::FreeLast => {
                if let Some((handle, _)) = on.model().objects().last() {
                    _ = on.free(*handle)?;
                }
            }
            Self::Dead { object } => {
                if let Some(handle) = on.model().pick_dead(object) {
                    on.misuse(handle)?;
                }
            }
            Self::Forged { word } => {
                if let Some(handle) =
                    Handle::from_raw(word.get()).filter(|handle| on.model().get(*handle).is_none())
                {
                    on.misuse(handle)?;
                }
            }
            Self::Compact { budget } => _ = on.compact(budget)?,
            Self::Trim => _ = on.trim()?,
            Self::AllocContiguous { frames, align, object } => {
                _ =
                    on.alloc_contiguous(frames, align, &mut |on| match on.model().pick(object) {
                        Some(handle) => {
                            rewrite(on, handle, object)?;
                            _ = on.migrate(handle)?;
                            Ok(())
                        }
                        None => Ok(()),
                    })?;
            }
            Self::Reclaim { retries, refused, panics } => reclaim(on, retries, refused, panics)?,
            Self::RefuseMemory { k, count } => on.with_faults(|faults| faults.fail(k, count)),
            Self::RefuseIsolations { count } => {
                on.with_faults(|faults| faults.fail_isolations(count));
            }
            Self::Heal => on.with_faults(FaultPlan::heal),
            Self::SetLimit { bytes } => _ = on.set_limit(bytes)?,
            Self::CheckAll => on.check_all(16)?,
            Self::Free { object }
            | Self::Write { object, .. }
            | Self::WriteLength { object, .. }
            | Self::Read { object, .. }
            | Self::FreeDuringRead { object, .. }
            | Self::WriteDuringRead { object, .. }
            | Self::WorkDuringRead { object, .. }
            | Self::Migrate { object }
            | Self::MigrateDuringRead { object, .. }
            | Self::ContiguousDuringRead { object, .. } => {
                if let Some(handle) = on.model().pick(object) {
                    self.apply_to(handle, on)?;
                }
            }
        }
        Ok(())
    }

    fn apply_to(&self, handle: Handle, on: &mut Checked<'_>) -> Result<(), Mismatch> {
        match *self {
            Self::Free { .. } => _ = on.free(handle)?,
            Self::Write { key, .. } => rewrite(on, handle, key)?,
            Self::WriteLength { len, .. } => _ = on.write(handle, &contents(1, len))?,
            Self::Read { capacity, .. } => {
                _ = on.read(handle)?;
                _ = on.try_read(handle)?;
                _ = on.len(handle)?;
                _ = on.read_into(handle, capacity)?;
            }
            Self::FreeDuringRead { victim, .. } => {
                let victim = on.model().pick(victim).unwrap_or(handle);
                _ = on.during_read(handle, &mut |on| {
                    _ = on.free(victim)?;
                    on.misuse(victim)
                })?;
            }
            Self::WriteDuringRead { target, key, .. } => {
                let target = on.model().pick(target).unwrap_or(handle);
                _ = on.during_read(handle, &mut |on| rewrite(on, target, key))?;
            }
            Self::WorkDuringRead { len, key, .. } => {
                _ = on.during_read(handle, &mut |on| {
                    _ = on.store(&contents(key, len))?;
                    on.compact(usize::MAX)?;
                    on.trim()?;
                    _ = on.read(handle)?;
                    Ok(())
                })?;
            }
            Self::Migrate { .. } => _ = on.migrate(handle)?,
            Self::MigrateDuringRead { other, .. } => {
                let other = on.model().pick(other).unwrap_or(handle);
                _ = on.during_read(handle, &mut |on| {
                    let answer = on.migrate(handle)?;
                    agree!(answer.is_err(), "{handle:?} was migrated while it was read");
                    _ = on.migrate(other)?;
                    Ok(())
                })?;
            }
            Self::ContiguousDuringRead { frames, .. } => {
                _ = on.during_read(handle, &mut |on| {
                    _ = on.alloc_contiguous(frames, 1, &mut |on| on.read(handle).map(drop))?;
                    Ok(())
                })?;
            }
            _ => {}
        }
        Ok(())
    }
}

fn reclaim(on: &mut Checked<'_>, retries: u32, refused: u64, panics: u64) -> Result<(), Mismatch> {
    let mut asked = 0_u32;
    _ = on.reclaim_with_panics(retries, &mut |on, victim| {
        let bit = |bits: u64| bits.checked_shr(asked).unwrap_or(0) & 1 == 1;
        let (refuse, panic) = (bit(refused), bit(panics));
        asked += 1;
        _ = on.read(victim)?;
        Ok(match (panic, refuse) {
            (true, _) => Eviction::Panic,
            (_, true) => Eviction::Refuse,
            _ => Eviction::Free,
        })
    })?;
    Ok(())
}

fn small(number: u64, bound: usize) -> usize {
    usize::try_from(number % bound as u64).unwrap_or(0)
}

fn rewrite(on: &mut Checked<'_>, handle: Handle, key: u64) -> Result<(), Mismatch> {
    let len = on.model().get(handle).map_or(0, <[u8]>::len);
    _ = on.write(handle, &contents(key, len))?;
    Ok(())
}

fn contents(key: u64, len: usize) -> Vec<u8> {
    Pattern::new(key, 0, 0).bytes(len)
}
