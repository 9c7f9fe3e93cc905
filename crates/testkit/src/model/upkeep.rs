//! [`Checked`] for compacting, trimming and changing the limit.

use pagefold_pool::{CompactReport, LimitError, TrimReport};

use super::{Checked, Mismatch, agree};
use crate::corpus::PAGE_BYTES;

impl Checked<'_> {
    /// Compacts; no byte may change.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn compact(&mut self, budget: usize) -> Result<CompactReport, Mismatch> {
        let before = self.pool.stats();
        let report = self.pool.compact(budget);
        let after = self.pool.stats();
        let counted = after.compacted_bytes.checked_sub(before.compacted_bytes);
        agree!(
            counted == Some(report.moved_bytes),
            "compact reports {} moved bytes and stats() {counted:?}",
            report.moved_bytes
        );
        agree!(
            (report.moved_objects == 0) == (report.moved_bytes == 0),
            "compact reports {report:?}"
        );
        let copied = after.migration.bytes_copied.checked_sub(before.migration.bytes_copied);
        agree!(
            copied == Some(report.migrated_bytes),
            "compact reports {} bytes of moved frames and stats() {copied:?}",
            report.migrated_bytes
        );
        let freed = after.migration.pageblocks_freed.checked_sub(before.migration.pageblocks_freed);
        agree!(
            freed == Some(report.freed_pageblocks),
            "compact reports {} freed pageblocks and stats() {freed:?}",
            report.freed_pageblocks
        );
        self.check_depth()?;
        Ok(report)
    }

    /// Trims; resident bytes may only fall.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn trim(&mut self) -> Result<TrimReport, Mismatch> {
        let before = self.pool.stats();
        let report = self.pool.trim();
        let after = self.pool.stats();
        let (from, to) = (before.resident_bytes(), after.resident_bytes());
        agree!(to <= from, "trim raised the resident bytes from {from} to {to}");
        self.check_depth()?;
        Ok(report)
    }

    /// Changes the limit; after an error the old one stays.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn set_limit(&mut self, bytes: usize) -> Result<Result<(), LimitError>, Mismatch> {
        let before = self.pool.stats().limit_bytes;
        let answer = self.pool.set_limit(bytes);
        let after = self.pool.stats().limit_bytes;
        // A pool may round down to frames.
        let rounded = after <= bytes as u64 && bytes as u64 - after < PAGE_BYTES as u64;
        let in_force = if answer.is_ok() { rounded } else { after == before };
        agree!(
            in_force,
            "set_limit({bytes}) gave {answer:?}; the limit was {before} and is {after}"
        );
        let right = match answer {
            Ok(()) => true,
            Err(LimitError::TooSmall { limit, min }) => limit == bytes && bytes < min,
            Err(LimitError::TooLarge { limit, max }) => limit == bytes && bytes > max,
            Err(LimitError::InUse { limit, resident }) => limit == bytes && resident > bytes,
        };
        agree!(right, "set_limit({bytes}) gave {answer:?}");
        self.check_depth()?;
        Ok(answer)
    }
}
