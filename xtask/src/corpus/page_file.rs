//! A file of whole pages, hashed and counted during the write, and named when complete.

use std::{
    fs,
    io::{self, BufWriter, Write},
    path::Path,
};

use tempfile::NamedTempFile;
use xxhash_rust::xxh3::Xxh3;

/// Independent of the machine's page size.
pub(crate) const PAGE_BYTES: usize = 4096;

pub(crate) type Page = [u8; PAGE_BYTES];

pub(crate) struct PageFile {
    out: BufWriter<NamedTempFile>,
    hash: Xxh3,
    counts: PageCounts,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PageCounts {
    pub(crate) pages: u64,
    /// Pages of one repeated 64-bit word, with zero pages.
    pub(crate) same_filled: u64,
    pub(crate) zero: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) counts: PageCounts,
    /// 128-bit xxh3, as 32 hexadecimal digits.
    pub(crate) hash: String,
}

impl PageFile {
    pub(crate) fn begin(directory: &Path) -> io::Result<Self> {
        let file = NamedTempFile::new_in(directory)?;
        Ok(Self {
            out: BufWriter::with_capacity(1 << 20, file),
            hash: Xxh3::new(),
            counts: PageCounts::default(),
        })
    }

    pub(crate) fn push(&mut self, page: &Page) -> io::Result<()> {
        self.out.write_all(page)?;
        self.hash.update(page);
        self.counts.pages += 1;
        if same_filled(page) {
            self.counts.same_filled += 1;
            self.counts.zero += u64::from(page[0] == 0 && page[..8] == [0; 8]);
        }
        Ok(())
    }

    pub(crate) fn counts(&self) -> PageCounts {
        self.counts
    }

    pub(crate) fn finish(self, path: &Path) -> io::Result<Finished> {
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.persist(path).map_err(|error| error.error)?;
        make_readable(path)?;
        Ok(Finished { counts: self.counts, hash: format!("{:032x}", self.hash.digest128()) })
    }
}

/// Temporary files are their owner's alone.
#[cfg(unix)]
fn make_readable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_: &Path) -> io::Result<()> {
    Ok(())
}

fn same_filled(page: &Page) -> bool {
    page[8..] == page[..PAGE_BYTES - 8]
}

/// `wanted` indices below `total`, evenly spaced from 0; at most all.
pub(crate) fn even_sample(total: u64, wanted: u64) -> impl Iterator<Item = u64> {
    let count = wanted.min(total);
    // The product of two counts may exceed 64 bits.
    (0..count).map(move |index| {
        let place = u128::from(index) * u128::from(total) / u128::from(count);
        u64::try_from(place).expect("index < count, so the quotient is below total")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_even_and_distinct() {
        assert_eq!(even_sample(10, 5).collect::<Vec<_>>(), [0, 2, 4, 6, 8]);
        assert_eq!(even_sample(7, 3).collect::<Vec<_>>(), [0, 2, 4]);
        assert_eq!(even_sample(3, 5).collect::<Vec<_>>(), [0, 1, 2], "there are only three");
        assert_eq!(even_sample(0, 5).count() + even_sample(5, 0).count(), 0);
        for (total, wanted) in [(1000, 999), (1000, 1000), (16_400, 16_384), (u64::MAX, 1000)] {
            let sample: Vec<u64> = even_sample(total, wanted).collect();
            assert_eq!(sample.len() as u64, wanted);
            assert!(
                sample.is_sorted_by(|a, b| a < b) && sample.iter().all(|&index| index < total),
                "{total} {wanted}"
            );
            let gaps = sample.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(gaps.clone().max().unwrap() - gaps.min().unwrap() <= 1, "{total} {wanted}");
        }
    }

    #[test]
    fn same_filled_is_a_repeated_word() {
        assert!(same_filled(&[0; PAGE_BYTES]) && same_filled(&[7; PAGE_BYTES]));
        let mut words = [0; PAGE_BYTES];
        words.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]));
        assert!(same_filled(&words));
        words[PAGE_BYTES - 1] ^= 1;
        assert!(!same_filled(&words));
    }

    #[test]
    fn a_file_appears_when_finished_with_its_counts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.pages");
        let mut file = PageFile::begin(directory.path()).unwrap();
        for page in
            [[0; PAGE_BYTES], [9; PAGE_BYTES], std::array::from_fn(|index| index.to_le_bytes()[0])]
        {
            file.push(&page).unwrap();
            // The last one repeats after 256 bytes, not after 8.
        }
        assert!(!path.exists());
        let finished = file.finish(&path).unwrap();
        assert_eq!(finished.counts, PageCounts { pages: 3, same_filled: 2, zero: 1 });
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 3 * PAGE_BYTES);
        assert_eq!(finished.hash, format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&bytes)));
    }

    #[test]
    fn an_unfinished_file_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = PageFile::begin(directory.path()).unwrap();
        file.push(&[1; PAGE_BYTES]).unwrap();
        drop(file);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
