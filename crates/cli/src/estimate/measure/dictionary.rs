//! Codecs with a dictionary, trained from some pages of the input.
//!
//! `Dictionary::train_for` gets a random quarter of the pages, at most [`PAGES_MAX`]. It tries several dictionaries and
//! takes none where none makes pages shorter. Then all pages are measured. The dictionary exists once, beside the pool,
//! and counts in the memory that the pages take. The times exclude training.

use pagefold_codec::{Codec, CodecError, Dictionary, TryCodecError};
use rand::{SeedableRng as _, seq::index};
use rand_chacha::ChaCha8Rng;

use crate::estimate::{
    codec_choice::CodecChoice, error::EstimateError, read::spool::Spool,
    result::dictionary_note::DictionaryNote,
};

/// One page in this many is trained on.
const TRAINED_ONE_IN: usize = 4;

/// A dictionary is at most one part in this many of the measured bytes: it is memory too, though not the pool's.
const SHARE_MAX: u64 = 32;

/// The most pages to train on: more lengthen the training and improve no dictionary.
const PAGES_MAX: usize = 1024;

/// A codec under the name of a choice, which says that it has a dictionary.
struct Named {
    name: String,
    codec: Box<dyn Codec>,
}

/// Makes the codec, and reports on its dictionary if one was asked for; without a dictionary there is no codec.
///
/// # Errors
/// When the codec cannot be made at all.
#[expect(clippy::type_complexity, reason = "two answers, either of which may be missing")]
pub(crate) fn build(
    choice: CodecChoice,
    spool: &Spool,
    seed: u64,
) -> Result<(Option<Box<dyn Codec>>, Option<DictionaryNote>), EstimateError> {
    if !choice.dictionary {
        let (name, codec) = (choice.to_string(), choice.spec.build()?);
        // A setting may be another codec by another name.
        let named = codec.name() == name;
        let codec = if named { codec } else { Box::new(Named { name, codec }) };
        return Ok((Some(codec), None));
    }
    let pages = training_pages(spool.len(), seed);
    let longest = longest(spool.total_bytes());
    let trained =
        Dictionary::train_for(choice.spec, pages.iter().map(|&page| spool.page(page)), longest);
    let name = choice.to_string();
    let mut note = DictionaryNote {
        codec: name.clone(),
        bytes: None,
        trained_pages: pages.len() as u64,
        why_none: None,
    };
    let codec = match trained {
        Ok(Some(dictionary)) => {
            note.bytes = Some(dictionary.as_bytes().len() as u64);
            let codec = choice.spec.build_with_dictionary(&dictionary)?;
            Some(Box::new(Named { name, codec }) as Box<dyn Codec>)
        }
        Ok(None) => {
            note.why_none = Some("none makes these pages shorter".to_owned());
            None
        }
        Err(error) => {
            note.why_none = Some(error.to_string());
            None
        }
    };
    Ok((codec, Some(note)))
}

pub(crate) fn bytes_of(notes: &[DictionaryNote], codec: &str) -> Option<u64> {
    notes.iter().find(|note| note.codec == codec)?.bytes
}

fn longest(bytes: u64) -> usize {
    let share = usize::try_from(bytes / SHARE_MAX).unwrap_or(usize::MAX);
    share.clamp(Dictionary::BYTES_MIN, Dictionary::BYTES_MAX)
}

/// The indices of the pages to train on, in order.
fn training_pages(pages: usize, seed: u64) -> Vec<usize> {
    let wanted = (pages / TRAINED_ONE_IN).min(PAGES_MAX);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut chosen = index::sample(&mut random, pages, wanted).into_vec();
    chosen.sort_unstable();
    chosen
}

impl Codec for Named {
    fn name(&self) -> &str {
        &self.name
    }

    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        self.codec.compress(src, dst)
    }

    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        self.codec.decompress(src, dst)
    }

    fn try_decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, TryCodecError> {
        self.codec.try_decompress(src, dst)
    }

    fn metadata_bytes(&self) -> usize {
        self.codec.metadata_bytes()
    }

    fn metadata_bytes_max(&self, len: usize) -> usize {
        self.codec.metadata_bytes_max(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_is_a_small_part_of_what_it_is_for() {
        assert_eq!(longest(0), Dictionary::BYTES_MIN);
        assert_eq!(longest(320 << 10), 10 << 10);
        assert_eq!(longest(u64::MAX), Dictionary::BYTES_MAX);
    }

    #[test]
    fn a_quarter_of_the_pages_is_learned_from_each_once_and_no_more_than_are_of_use() {
        for (pages, wanted) in [(0, 0), (3, 0), (400, 100), (1 << 20, PAGES_MAX)] {
            let chosen = training_pages(pages, 7);
            assert_eq!(chosen.len(), wanted, "{pages}");
            assert!(chosen.is_sorted_by(|a, b| a < b) && chosen.iter().all(|&page| page < pages));
        }
        assert_eq!(training_pages(400, 7), training_pages(400, 7));
        assert_ne!(training_pages(400, 7), training_pages(400, 8));
    }
}
