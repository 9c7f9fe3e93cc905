//! Conditional puts: by version, if absent, read-modify-write.

use super::{
    Space,
    version::{Expected, Version},
};
use crate::{
    GetError, KeyError, Page, PutError, PutIfError, UpdateError,
    counters::Count,
    word::{Entry, Word},
};

impl Space {
    /// As [`get`](Self::get); returns the version, for [`put_if`](Self::put_if).
    ///
    /// # Errors
    /// [`GetError`].
    ///
    /// # Examples
    /// A counter for several threads; [`update`](Self::update) is the loop around it.
    /// ```
    /// use pagefold_store::{PutIfError, SpaceConfig, Store};
    ///
    /// let store = Store::builder().limit(16 << 20).build()?;
    /// let space = store.space(SpaceConfig::persistent(10))?;
    /// space.put(7, &[0; 4096])?;
    ///
    /// let mut page = [0; 4096];
    /// let version = space.get_versioned(7, &mut page)?;
    /// page[0] += 1;
    /// let mine = space.put_if(7, &page, version)?;
    /// assert_ne!(mine, version);
    /// assert_eq!(space.put_if(7, &page, version), Err(PutIfError::Conflict));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_versioned(&self, key: u64, page: &mut Page) -> Result<Version, GetError> {
        self.read_versioned(key, || self.read_page(key, page))
    }

    /// As [`get_bytes`](Self::get_bytes), with the version.
    ///
    /// # Errors
    /// [`GetError`], never `WrongLength`.
    pub fn get_bytes_versioned(&self, key: u64) -> Result<(Vec<u8>, Version), GetError> {
        let mut value = Vec::new();
        let version = self.read_versioned(key, || self.read_value(key, &mut value))?;
        Ok((value, version))
    }

    /// The version that `read` found. A fresh page is compressed first: its turn in staging would change the version. So
    /// does a page in a cluster, when it leaves that.
    fn read_versioned(
        &self,
        key: u64,
        mut read: impl FnMut() -> Result<Word, GetError>,
    ) -> Result<Version, GetError> {
        loop {
            let epoch = self.store().epoch();
            let word = read()?;
            if !matches!(word.entry(), Entry::Fresh(_) | Entry::Member { .. }) {
                return Ok(Version::new(word, epoch));
            }
            let (key, _operation) = self.begin(key)?;
            match word.entry() {
                Entry::Fresh(_) => self.store().compress_now(self.state(), key),
                _ if self.store().leave_cluster(self.state(), key) => {}
                // Without room it stays in its cluster; the version is good until it leaves.
                _ => return Ok(Version::new(word, epoch)),
            }
        }
    }

    /// Puts a page if the key still has that version, atomically; returns the new version.
    ///
    /// # Errors
    /// [`PutIfError::Conflict`] when the key has another version, or none; also when making room dropped the page.
    /// Otherwise as [`put`](Self::put).
    ///
    /// # Concurrency
    /// As [`put`](Self::put). Of several puts by one version, one is accepted.
    pub fn put_if(&self, key: u64, page: &Page, version: Version) -> Result<Version, PutIfError> {
        self.put_page(key, page, Expected::Version(version))
    }

    /// As [`put_if`](Self::put_if), for a value.
    ///
    /// # Errors
    /// As [`put_if`](Self::put_if), and `TooLong`.
    pub fn put_bytes_if(
        &self,
        key: u64,
        value: &[u8],
        version: Version,
    ) -> Result<Version, PutIfError> {
        self.put_value(key, value, Expected::Version(version))
    }

    /// Puts a page if the key is empty, atomically; returns its version.
    ///
    /// # Errors
    /// [`PutIfError::Conflict`] when the key is used. Otherwise as [`put`](Self::put).
    ///
    /// # Examples
    /// ```
    /// use pagefold_store::{PutIfError, SpaceConfig, Store};
    ///
    /// let store = Store::builder().limit(16 << 20).build()?;
    /// let space = store.space(SpaceConfig::persistent(10))?;
    /// space.put_if_absent(7, &[1; 4096])?;
    /// assert_eq!(space.put_if_absent(7, &[2; 4096]), Err(PutIfError::Conflict));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put_if_absent(&self, key: u64, page: &Page) -> Result<Version, PutIfError> {
        self.put_page(key, page, Expected::Nothing)
    }

    /// As [`put_if_absent`](Self::put_if_absent), for a value.
    ///
    /// # Errors
    /// As [`put_if_absent`](Self::put_if_absent), and `TooLong`.
    pub fn put_bytes_if_absent(&self, key: u64, value: &[u8]) -> Result<Version, PutIfError> {
        self.put_value(key, value, Expected::Nothing)
    }

    /// Removes what is under a key if it is still that version; returns whether it was.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn remove_if(&self, key: u64, version: Version) -> Result<bool, KeyError> {
        let (key, _operation) = self.begin_change(key)?;
        let space = self.state();
        let word = space.index.load(key);
        if word.is_empty() || !Expected::Version(version).allows(self.store(), word) {
            return Ok(false);
        }
        // The word names the same object as long as it is there, in any epoch.
        let Ok(taken) = space.index.take_out(key, word) else { return Ok(false) };
        space.counters.add(Count::Removed, 1);
        self.store().retire(space, taken);
        Ok(true)
    }

    /// Changes a page atomically: gets it, calls `f`, puts the result if the page is unchanged, and otherwise starts
    /// over with the current page. `false` when there is no page.
    ///
    ///
    /// # Errors
    /// [`UpdateError`]. The page is then unchanged, except after [`Full`](PutError::Full) in an ephemeral space.
    ///
    /// # Panics
    /// When `f` does; the page is then unchanged.
    ///
    /// # Concurrency
    /// `f` runs without a lock and may use the store. An ephemeral space may drop the page before the put: then
    /// `false`.
    ///
    /// # Examples
    /// ```
    /// use pagefold_store::{SpaceConfig, Store};
    ///
    /// let store = Store::builder().limit(16 << 20).build()?;
    /// let space = store.space(SpaceConfig::persistent(10))?;
    /// space.put(7, &[0; 4096])?;
    /// std::thread::scope(|scope| {
    ///     for _ in 0..2 {
    ///         scope.spawn(|| (0..50).for_each(|_| _ = space.update(7, |page| page[0] += 1)));
    ///     }
    /// });
    /// let mut page = [0; 4096];
    /// space.get(7, &mut page)?;
    /// assert_eq!(page[0], 100);
    /// assert_eq!(space.update(8, |page| page[0] = 1), Ok(false));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update(&self, key: u64, mut f: impl FnMut(&mut Page)) -> Result<bool, UpdateError> {
        let mut page = [0; crate::PAGE_BYTES];
        updated(|| {
            let version = self.get_versioned(key, &mut page)?;
            f(&mut page);
            Ok(self.put_if(key, &page, version)?)
        })
    }

    /// As [`update`](Self::update), for a value; `f` may change its length.
    ///
    /// # Errors
    /// As [`update`](Self::update); `TooLong` when `f` made the value too long.
    ///
    /// # Panics
    /// When `f` does.
    pub fn update_bytes(
        &self,
        key: u64,
        mut f: impl FnMut(&mut Vec<u8>),
    ) -> Result<bool, UpdateError> {
        updated(|| {
            let (mut value, version) = self.get_bytes_versioned(key)?;
            f(&mut value);
            Ok(self.put_bytes_if(key, &value, version)?)
        })
    }
}

enum Stopped {
    Get(GetError),
    Put(PutIfError),
}

impl From<GetError> for Stopped {
    fn from(error: GetError) -> Self {
        Self::Get(error)
    }
}

impl From<PutIfError> for Stopped {
    fn from(error: PutIfError) -> Self {
        Self::Put(error)
    }
}

fn updated(mut attempt: impl FnMut() -> Result<Version, Stopped>) -> Result<bool, UpdateError> {
    loop {
        match attempt() {
            Ok(_) => return Ok(true),
            Err(Stopped::Get(GetError::Absent)) => return Ok(false),
            Err(Stopped::Get(error)) => return Err(error.into()),
            Err(Stopped::Put(PutIfError::Put(error))) => return Err(error.into()),
            Err(Stopped::Put(PutIfError::Conflict)) => crate::spin::look_again(),
        }
    }
}

impl PutIfError {
    pub(super) fn unconditional(self) -> PutError {
        match self {
            Self::Put(error) => error,
            Self::Conflict => unreachable!("a put that expects anything has no conflict"),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::{SpaceConfig, Store};

    #[test]
    fn a_version_of_an_earlier_epoch_matches_nothing() {
        let store = Store::builder().limit(8 << 20).build().expect("room");
        let space = store.space(SpaceConfig::persistent(10)).expect("room");
        space.put_bytes(1, b"value").expect("room");
        let (_, version) = space.get_bytes_versioned(1).expect("there");
        let put = space.put_bytes_if(1, b"other", version).expect("still there");
        space.store().epoch.fetch_add(1, Ordering::Release);
        assert_eq!(space.put_bytes_if(1, b"third", put), Err(PutIfError::Conflict));
        assert_eq!(space.remove_if(1, put), Ok(false));
        let (value, version) = space.get_bytes_versioned(1).expect("there");
        assert_eq!((&value[..], version.word), (&b"other"[..], put.word));
        assert_eq!(space.remove_if(1, version), Ok(true));
    }
}
