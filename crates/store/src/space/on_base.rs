//! Pages on a base: what differs from the base page of the key goes in, and comes out with it.
//!
//! A base page is read before the object and outside of every pool lock. Where it is not at hand, a call leaves its
//! operation to read it, and begins again: no fork waits for a file.

use std::time::Instant;

use pagefold_codec::same_filled;

use super::{
    Space,
    attempt::Need,
    version::{Expected, Version},
};
use crate::{
    GetError, PAGE_BYTES, Page, PutIfError,
    base::{AtHand, Mapping},
    counters::Count,
    encoder::{
        decode::{ReadError, Wait},
        object::Object,
        on_base::OnBase,
    },
    state::spill::Fetched,
    word::{Entry, Part, Word, page_len},
};

/// What a read got outside of its operation.
#[derive(Default)]
pub(super) struct Beside {
    pub(super) fetched: Option<Fetched>,
    /// The base page of the key.
    base: Option<Box<Page>>,
}

impl Beside {
    pub(super) fn new(fetched: Option<Fetched>) -> Self {
        Self { fetched, base: None }
    }
}

impl Space {
    #[inline]
    fn mapped(&self, key: u64) -> Option<(&Mapping, u64)> {
        let mapping = self.state().mapping.as_ref()?;
        Some((mapping, mapping.page_of(key)?))
    }

    /// Reads what a word names. [`ReadError::Spilled`] and [`ReadError::Base`] say what is missing in `beside`.
    #[inline]
    pub(super) fn read_entry(
        &self,
        key: u64,
        entry: Entry,
        beside: Option<&Beside>,
        into: &mut [u8],
        wait: Wait,
    ) -> Result<(), ReadError> {
        if entry.is_on_base() {
            return self.read_on_base(key, entry, beside, into, wait);
        }
        match wait {
            Wait::Allowed => {
                let fetched = beside.and_then(|beside| beside.fetched.as_ref());
                self.store().read_with(entry, fetched, into)
            }
            Wait::Never => self.store().read(entry, into, wait),
        }
    }

    #[inline(never)]
    fn read_on_base(
        &self,
        key: u64,
        entry: Entry,
        beside: Option<&Beside>,
        into: &mut [u8],
        wait: Wait,
    ) -> Result<(), ReadError> {
        let page: &mut Page = into.try_into().map_err(|_| ReadError::Length(PAGE_BYTES))?;
        let fetched = beside.and_then(|beside| beside.fetched.as_ref());
        if let Entry::Spilled { place, .. } = entry
            && fetched.is_none_or(|fetched| !fetched.is_at(place))
        {
            return Err(ReadError::Spilled);
        }
        let (mapping, number) = self.mapped(key).ok_or(ReadError::Corrupt)?;
        let (how, missing) = match wait {
            Wait::Allowed => (AtHand::Soon, ReadError::Base),
            Wait::Never => (AtHand::Never, ReadError::WouldBlock),
        };
        match beside.and_then(|beside| beside.base.as_ref()) {
            Some(base) => page.copy_from_slice(&base[..]),
            None if mapping.base.at_hand(number, page, how) => {}
            None => return Err(missing),
        }
        match (entry, fetched) {
            (Entry::Equal, _) => Ok(()),
            (Entry::Delta { at, .. }, _) => self.store().read_delta(at, page, wait),
            (Entry::Spilled { part: Part::Delta, .. }, Some(fetched)) => {
                self.store().encoder.patch(fetched.object(), page, wait)
            }
            _ => Err(ReadError::Corrupt),
        }
    }

    /// Reads the base page of a key. Not inside an operation.
    pub(super) fn load_base(&self, key: u64, beside: &mut Beside) -> Result<(), GetError> {
        let (mapping, number) = self.mapped(key).ok_or(GetError::Corrupt)?;
        let page = beside.base.insert(Box::new([0; PAGE_BYTES]));
        let loaded = mapping.base.load(number, page);
        loaded.map_err(|fault| {
            beside.base = None;
            GetError::Base { base: mapping.base.name.clone(), page: number, fault }
        })
    }

    /// Puts a page as what differs from its base page. `None`: it goes in as any other.
    #[inline]
    pub(super) fn put_on_base(
        &self,
        key: u64,
        page: &Page,
        expected: Expected,
    ) -> Option<Result<Version, PutIfError>> {
        let (mapping, number) = self.mapped(key)?;
        self.put_mapped(key, page, expected, mapping, number)
    }

    #[inline(never)]
    fn put_mapped(
        &self,
        key: u64,
        page: &Page,
        expected: Expected,
        mapping: &Mapping,
        number: u64,
    ) -> Option<Result<Version, PutIfError>> {
        if same_filled(page).is_some() {
            return None;
        }
        let mut base = [0; PAGE_BYTES];
        let mut begun = self.begin_change(key).ok()?;
        if !mapping.base.at_hand(number, &mut base, AtHand::Soon) {
            drop(begun);
            mapping.base.load(number, &mut base).ok()?;
            begun = self.begin_change(key).ok()?;
        }
        let (key, _operation) = begun;
        let began = Instant::now();
        // Before anything is stored: see `version`.
        let epoch = self.store().epoch();
        let (mut copy, mut room) = (*page, [0; PAGE_BYTES]);
        let near = self.store().encoder.encode_near(&copy, &base, &mut room);
        let outcome = match near {
            Some(near) => {
                self.sample_plain(mapping, &copy);
                self.put_encoded(key, expected, near)
            }
            None => match self.stage(key, &copy, expected) {
                Some(outcome) => outcome,
                None => {
                    self.sample_plain(mapping, &copy);
                    let encoded = self.store().encoder.encode_page_on(&mut copy, &base);
                    self.put_encoded(key, expected, encoded)
                }
            },
        };
        self.state().counters.put_took(began.elapsed());
        Some(outcome.map(|word| Version::new(word, epoch)))
    }

    fn put_encoded(
        &self,
        key: u64,
        expected: Expected,
        encoded: OnBase<'_>,
    ) -> Result<Word, PutIfError> {
        match encoded {
            OnBase::Equal => {
                self.publish_word(Need::of_word(key, expected), Entry::Equal, PAGE_BYTES)
            }
            OnBase::Object(object) => self.put_compressed(key, expected, object),
        }
    }

    /// Stores an object that the codec of pages may have made.
    pub(super) fn put_compressed(
        &self,
        key: u64,
        expected: Expected,
        object: Object<'_>,
    ) -> Result<Word, PutIfError> {
        let word = self.put_object(Need::of(key, expected, object), object)?;
        self.store().note_compressed(self.state().number, key, word.entry());
        Ok(word)
    }

    /// Runs the plain codec too, for one page in some.
    #[inline]
    fn sample_plain(&self, mapping: &Mapping, page: &Page) {
        if mapping.samples() {
            let len = page_len(self.store().encoder.plain_len(page));
            self.state().counters.add(Count::Sampled, 1);
            self.state().counters.add(Count::SampledBytes, len);
        }
    }
}
