//! Several pages or values in one call.

use super::{Space, get::Room};
use crate::{
    GetError, Page, PutManyError,
    state::spill::{Along, Fetch, Fetched},
};

/// Reads of the backing that wait together.
const TOGETHER: usize = 64;

impl Space {
    /// Puts pages, in order, until one is refused.
    ///
    /// # Errors
    /// [`PutManyError`] has the number accepted.
    pub fn put_many<'p>(
        &self,
        pages: impl IntoIterator<Item = (u64, &'p Page)>,
    ) -> Result<usize, PutManyError> {
        let mut accepted = 0;
        for (key, page) in pages {
            self.put(key, page).map_err(|error| PutManyError { accepted, error })?;
            accepted += 1;
        }
        Ok(accepted)
    }

    /// Calls [`get`](Self::get) for each page; returns the results in order. Reads of spilled pages, up to
    /// 64 at a time, wait together.
    pub fn get_many<'p>(
        &self,
        pages: impl IntoIterator<Item = (u64, &'p mut Page)>,
    ) -> Vec<Result<(), GetError>> {
        self.fetch_together(
            pages.into_iter(),
            |(key, _)| *key,
            |(key, page), fetched| self.read_page_with(key, page, fetched).map(drop),
        )
    }

    /// Calls [`get_bytes`](Self::get_bytes) for each key; returns the results in order. Reads of spilled values, up to 64 at a
    /// time, wait together.
    ///
    /// # Examples
    /// ```
    /// use pagefold_store::{GetError, SpaceConfig, Store};
    ///
    /// let store = Store::builder().limit(16 << 20).build()?;
    /// let space = store.space(SpaceConfig::persistent(10))?;
    /// space.put_bytes_many([(1, &b"one"[..]), (2, b"two")])?;
    /// let got = space.get_bytes_many([2, 3]);
    /// assert_eq!(got, [Ok(b"two".to_vec()), Err(GetError::Absent)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_bytes_many(
        &self,
        keys: impl IntoIterator<Item = u64>,
    ) -> Vec<Result<Vec<u8>, GetError>> {
        self.fetch_together(
            keys.into_iter(),
            |key| *key,
            |key, fetched| {
                let mut value = Vec::new();
                self.get_value_with(key, &mut Room::Grows(&mut value, 0), Along::Nothing, fetched)?;
                Ok(value)
            },
        )
    }

    /// Starts up to `TOGETHER` reads of the backing before it waits for the first. `get` has what was read for its key.
    fn fetch_together<T, R>(
        &self,
        mut wanted: impl Iterator<Item = T>,
        key: impl Fn(&T) -> u64,
        mut get: impl FnMut(T, Option<Fetched>) -> Result<R, GetError>,
    ) -> Vec<Result<R, GetError>> {
        if self.store().spilling.is_none() {
            return wanted.map(|one| get(one, None)).collect();
        }
        let mut results = Vec::new();
        loop {
            let some: Vec<T> = wanted.by_ref().take(TOGETHER).collect();
            if some.is_empty() {
                return results;
            }
            let started: Vec<_> = some.iter().map(|one| self.start_fetch(key(one))).collect();
            for (one, started) in some.into_iter().zip(started) {
                let fetched = started.map_or(Ok(None), |started| self.finish_fetch(started));
                results.push(fetched.and_then(|fetched| get(one, fetched)));
            }
        }
    }

    fn start_fetch(&self, key: u64) -> Option<Fetch<'_>> {
        let word = {
            let (key, _operation) = self.begin(key).ok()?;
            self.state().index.load(key)
        };
        self.store().start_fetch(word.entry(), Along::Nothing)
    }
}
