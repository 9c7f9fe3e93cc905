//! The codecs of a run: of each page, and of clusters.

use pagefold_codec::Codec;

/// Codecs with dictionaries trained from the pages, and the pages that have them.
pub(crate) struct Trained {
    codecs: Vec<Box<dyn Codec>>,
    /// By page: 0 for the run's own codec, else the number of one of `codecs`.
    pub(super) of_page: Vec<u8>,
}

impl Trained {
    /// # Panics
    /// If `of_page` has a number above that of `codecs`.
    pub(crate) fn new(codecs: Vec<Box<dyn Codec>>, of_page: Vec<u8>) -> Self {
        assert!(of_page.iter().all(|&number| usize::from(number) <= codecs.len()));
        Self { codecs, of_page }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Codecs<'a> {
    pub(crate) name: &'a str,
    pub(crate) own: &'a dyn Codec,
    pub(crate) trained: Option<&'a Trained>,
    /// Of the dictionary that the store has beside its pages.
    pub(crate) dictionary_bytes: Option<u64>,
    pub(crate) clusters: Option<ClusterCodec<'a>>,
}

/// The codec of idle pages, by the name of its setting.
#[derive(Clone, Copy)]
pub(crate) struct ClusterCodec<'a> {
    pub(crate) name: &'a str,
    pub(crate) codec: &'a dyn Codec,
}

impl<'a> Codecs<'a> {
    #[cfg(test)]
    pub(crate) fn of_one(codec: &'a dyn Codec) -> Self {
        let name = codec.name();
        Self { name, own: codec, trained: None, dictionary_bytes: None, clusters: None }
    }

    /// The codec of a page, by its index in the spool.
    pub(crate) fn of(&self, page: usize) -> &'a dyn Codec {
        let trained = self.trained.and_then(|trained| {
            let number = *trained.of_page.get(page)?;
            trained.codecs.get(usize::from(number).checked_sub(1)?)
        });
        trained.map_or(self.own, |codec| &**codec)
    }

    pub(crate) fn metadata_bytes(&self) -> u64 {
        // A store has one trained codec; a second one only measures the pages of the first.
        let trained = self.trained.and_then(|trained| trained.codecs.first());
        let bytes = self.own.metadata_bytes()
            + trained.map_or(0, |codec| codec.metadata_bytes())
            + self.clusters.map_or(0, |clusters| clusters.codec.metadata_bytes());
        bytes as u64
    }
}
