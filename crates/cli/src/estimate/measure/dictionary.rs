//! Codecs with a dictionary, trained from some pages of the input.
//!
//! For one that was asked for, `Dictionary::train_for` gets a random quarter of the pages, at most [`PAGES_MAX`]. It tries several dictionaries and
//! takes none where none makes pages shorter. Then all pages are measured. The dictionary exists once, beside the pool,
//! and counts in the memory that the pages take. The times exclude training.

use pagefold_codec::{Codec, Dictionary};
use rand::{SeedableRng as _, seq::index};
use rand_chacha::ChaCha8Rng;

use crate::estimate::{
    codec_choice::CodecChoice,
    error::EstimateError,
    measure::{codecs::Trained, training},
    read::spool::Spool,
    result::dictionary_note::{DictionaryNote, Origin},
};

/// One page in this many is trained on.
const TRAINED_ONE_IN: usize = 4;

/// A dictionary is at most one part in this many of the measured bytes: it is memory too, though not the pool's.
const SHARE_MAX: u64 = 32;

/// The most pages to train on: more lengthen the training and improve no dictionary.
const PAGES_MAX: usize = 1024;

/// The codec of a choice.
pub(crate) struct Built {
    pub(crate) name: String,
    pub(crate) codec: Box<dyn Codec>,
    pub(crate) trained: Option<Trained>,
    pub(crate) dictionary_bytes: Option<u64>,
}

/// Makes the codec, and reports on its dictionary. Without a dictionary that was asked for there is no codec.
///
/// # Errors
/// When the codec cannot be made at all.
pub(crate) fn build(
    choice: CodecChoice,
    spool: &Spool,
    total_pages: u64,
    seed: u64,
) -> Result<(Option<Built>, Option<DictionaryNote>), EstimateError> {
    let name = choice.to_string();
    if !choice.dictionary {
        let codec = choice.spec.build()?;
        if !training::is_trained(choice.spec, &*codec) {
            return Ok((Some(Built { name, codec, trained: None, dictionary_bytes: None }), None));
        }
        let own = training::train(name.clone(), &*codec, spool, total_pages, seed);
        let (trained, dictionary_bytes) = (own.trained, own.note.bytes);
        return Ok((Some(Built { name, codec, trained, dictionary_bytes }), Some(own.note)));
    }
    let pages = training_pages(spool.len(), seed);
    let longest = longest(spool.total_bytes());
    let trained =
        Dictionary::train_for(choice.spec, pages.iter().map(|&page| spool.page(page)), longest);
    let mut note = DictionaryNote {
        codec: name.clone(),
        dictionary: None,
        bytes: None,
        trained_pages: pages.len() as u64,
        why_none: None,
        trial: None,
    };
    let built = match trained {
        Ok(Some(dictionary)) => {
            let bytes = Some(dictionary.as_bytes().len() as u64);
            (note.dictionary, note.bytes) = (Some(Origin::Trained), bytes);
            let codec = choice.spec.build_with_dictionary(&dictionary)?;
            Some(Built { name, codec, trained: None, dictionary_bytes: bytes })
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
    Ok((built, Some(note)))
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
