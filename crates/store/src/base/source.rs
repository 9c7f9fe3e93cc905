//! What a base is made from.

use std::{borrow::Cow, fs::File, path::PathBuf};

use crate::space::Space;

/// What a base is made from, for [`Store::base`](crate::Store::base).
///
/// # Examples
/// ```
/// use pagefold_store::{BaseSource, SpaceConfig, Store};
///
/// let store = Store::builder().limit(16 << 20).build()?;
/// let template = vec![7; 10 * 4096];
/// let base = store.base(BaseSource::memory(&template).name("template"))?;
/// assert_eq!((base.name(), base.pages()), ("template", 10));
///
/// let clone = store.space(SpaceConfig::persistent(10).on(&base))?;
/// clone.put(3, &[7; 4096])?;
/// let mut page = [0; 4096];
/// clone.get(3, &mut page)?;
/// assert_eq!(page, [7; 4096]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BaseSource<'a> {
    pub(crate) kind: Kind<'a>,
    pub(crate) name: Option<String>,
    pub(crate) resident: Option<usize>,
    pub(crate) locked: bool,
    pub(crate) expected: Option<u128>,
}

#[derive(Debug)]
pub(crate) enum Kind<'a> {
    Path(PathBuf),
    File(File),
    Memory(Cow<'a, [u8]>),
    Space(&'a Space),
}

impl<'a> BaseSource<'a> {
    fn new(kind: Kind<'a>) -> Self {
        Self { kind, name: None, resident: None, locked: false, expected: None }
    }

    /// A file, opened for reading; its descriptor stays open. A last page that is not whole ends in zeros.
    ///
    /// Do not change the file: a page that changed is an error of each get that needs it.
    pub fn path(path: impl Into<PathBuf>) -> Self {
        Self::new(Kind::Path(path.into()))
    }

    /// As [`path`](Self::path), of an open file.
    pub fn file(file: File) -> Self {
        Self::new(Kind::File(file))
    }

    /// Bytes, which the store compresses once, in a space of its own that no call finds. A last page that is not whole
    /// ends in zeros.
    pub fn memory(bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        Self::new(Kind::Memory(bytes.into()))
    }

    /// A persistent space of the store, which is frozen until the base goes: calls that would change it say
    /// [`KeyError::Frozen`](crate::KeyError::Frozen). Keys that are not used are pages of zeros.
    pub fn space(space: &'a Space) -> Self {
        Self::new(Kind::Space(space))
    }

    /// For errors and statistics; by default the file's path, or the space's name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The budget for decoded base pages in memory, in bytes, charged to the limit when the base is made; by default none
    /// for a file, which the system keeps in its page cache, and else a 64th of the limit; never more than the base.
    pub fn resident(mut self, bytes: usize) -> Self {
        self.resident = Some(bytes);
        self
    }

    /// Keeps all pages in memory, decoded, but those of zeros. No get then needs the source, and
    /// [`try_get`](Space::try_get) never returns `WouldBlock` for a base page.
    pub fn locked(mut self) -> Self {
        self.locked = true;
        self
    }

    /// Refuses another content: see [`Base::fingerprint`](crate::Base::fingerprint).
    pub fn expect(mut self, fingerprint: u128) -> Self {
        self.expected = Some(fingerprint);
        self
    }
}
