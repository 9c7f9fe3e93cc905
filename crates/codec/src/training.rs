//! Trains candidate dictionaries and measures them on other pages.
//!
//! A dictionary has *content*, in which zstd finds matches, and a *header* of symbol tables. Pages coded with these
//! tables need none of their own. But zstd's fast strategies use the tables even where a page's own would be shorter,
//! which costs pages of heaps four percent. So each dictionary has a second form whose sequence tables zstd ignores. It
//! keeps the table of literals: compression takes a sixth longer without.

use crate::{
    Dictionary, DictionaryError, ZstdLevel, accept_len, same_filled,
    zstd_bindings::{self, Encoder, Form, Trainer},
};

const HELD_BACK_ONE_IN: usize = 4;
/// The least gain of a candidate over cheaper ones, as a divisor.
const WON_AT_LEAST_ONE_IN: usize = 200;
/// The length of the pieces of content. Half or double is equal; a quarter loses 0.7 %.
const SEGMENT_BYTES: usize = 512;
/// The lowest level for table statistics: negative ones have no table of literals.
pub(crate) const TABLES_LEVEL_MIN: i32 = 1;
/// The lengths of candidates besides the longest and its quarter.
const SMALL_BYTES: [usize; 3] = [2 << 10, 4 << 10, 8 << 10];
const PREAMBLE_BYTES: usize = 8;
const OFFSETS_BYTES: usize = 12;
/// A sequence table for the symbols 0 and 1, half of the time each: 4 bits for 32 states and two times 5 bits for 16
/// (RFC 8878, 4.1.1).
const TWO_SYMBOLS: [u8; 2] = [0x10, 0x3f];

pub(crate) struct Samples {
    pub(crate) bytes: Vec<u8>,
    pub(crate) lengths: Vec<usize>,
}

impl Samples {
    pub(crate) fn new<'p>(pages: impl IntoIterator<Item = &'p [u8]>) -> Self {
        let (mut bytes, mut lengths) = (Vec::new(), Vec::new());
        for page in pages {
            if !page.is_empty() && same_filled(page).is_none() {
                bytes.extend_from_slice(page);
                lengths.push(page.len());
            }
        }
        Self { bytes, lengths }
    }

    fn pages(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        self.lengths.iter().map(move |&len| {
            let (page, others) = rest.split_at(len);
            rest = others;
            page
        })
    }

    fn split(&self) -> (Self, Vec<&[u8]>) {
        let is_held_back = |at: usize| at % HELD_BACK_ONE_IN == HELD_BACK_ONE_IN - 1;
        let part = |held_back| {
            let pages = self.pages().enumerate();
            pages.filter(move |&(at, _)| is_held_back(at) == held_back).map(|(_, page)| page)
        };
        (Self::new(part(false)), part(true).collect())
    }

    pub(crate) fn train(
        &self,
        bytes_max: usize,
        level: ZstdLevel,
    ) -> Result<Dictionary, DictionaryError> {
        let mut bytes = vec![0; bytes_max];
        let segment_bytes = u32::try_from(SEGMENT_BYTES.min(bytes_max / 8)).expect("at most 512");
        let samples = (&self.bytes[..], &self.lengths[..]);
        let level = level.get().max(TABLES_LEVEL_MIN);
        let trainer = Trainer { segment_bytes, table_log: 0, level };
        let trained = zstd_bindings::train(&mut bytes, samples, trainer);
        let too_few =
            DictionaryError::TooFew { pages: self.lengths.len(), bytes: self.bytes.len() };
        bytes.truncate(trained.map_err(|_| too_few)?);
        Dictionary::from_bytes(&bytes)
    }
}

/// `own` is the codec's dictionary without training.
pub(crate) fn best(
    level: ZstdLevel,
    own: Option<&Dictionary>,
    samples: &Samples,
    bytes_max: usize,
) -> Result<Option<Dictionary>, DictionaryError> {
    let (learned, held_back) = samples.split();
    let mut best = None;
    let mut least = kept_bytes(level, own, &held_back);
    let trained = lengths(bytes_max).into_iter().map(|bytes| learned.train(bytes, level));
    let full = trained.collect::<Result<Vec<_>, _>>()?;
    // At negative levels zstd codes no literals and is fast because it has no tables.
    let others = full.iter().filter(|_| level.get() > 0).filter_map(without_sequences);
    // The cheapest first: without tables compression takes longer.
    for candidate in full.iter().cloned().chain(others) {
        let bytes = kept_bytes(level, Some(&candidate), &held_back);
        if is_worth_it(bytes, least) {
            (best, least) = (Some(candidate), bytes);
        }
    }
    Ok(best)
}

/// The lengths of the candidates, the shortest first.
fn lengths(bytes_max: usize) -> Vec<usize> {
    let quarter = (bytes_max / 4).max(Dictionary::BYTES_MIN);
    let mut lengths: Vec<usize> = SMALL_BYTES
        .into_iter()
        .filter(|bytes| *bytes < bytes_max)
        .chain([quarter, bytes_max])
        .collect();
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

pub(crate) fn is_worth_it(bytes: usize, least: usize) -> bool {
    bytes < least - least / WON_AT_LEAST_ONE_IN
}

/// `usize::MAX` if zstd refuses the dictionary.
fn kept_bytes(level: ZstdLevel, dictionary: Option<&Dictionary>, pages: &[&[u8]]) -> usize {
    let Ok(Some(mut encoder)) = Encoder::new(level, Form::Pages) else { return usize::MAX };
    let digest = match dictionary.map(|dictionary| dictionary.digest(level, Form::Pages)) {
        Some(None) => return usize::MAX,
        digest => digest.flatten(),
    };
    let mut scratch = Vec::new();
    let kept = |page: &&[u8]| {
        scratch.resize(accept_len(page.len()), 0);
        encoder.compress(page, &mut scratch, digest.as_ref()).unwrap_or(page.len())
    };
    pages.iter().map(kept).sum()
}

/// The dictionary with sequence tables that zstd ignores. `None` if its form is unknown.
fn without_sequences(dictionary: &Dictionary) -> Option<Dictionary> {
    let bytes = dictionary.as_bytes();
    let (header, content) = bytes.split_at_checked(zstd_bindings::header_len(bytes).ok()?)?;
    // The table of literals begins with its length in bytes, or with 127 plus its number of 4-bit weights.
    let first = usize::from(*header.get(PREAMBLE_BYTES)?);
    let literals = if first < 128 { first } else { (first - 127).div_ceil(2) };
    let kept = header.get(..PREAMBLE_BYTES + 1 + literals)?;
    let offsets = header.get(header.len().checked_sub(OFFSETS_BYTES)?..)?;
    let tables = TWO_SYMBOLS.repeat(3);
    Dictionary::from_bytes(&[kept, &tables, offsets, content].concat()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CodecSpec;

    /// `common` of a hundred words are common to all pages.
    fn pages(common: u32) -> Vec<Vec<u8>> {
        let mut state = 7_u32;
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 16
        };
        let mut page = |own: u32| {
            let mut word = || {
                let number = random() % 900;
                let whose = if random() % 100 < common { 0 } else { own };
                format!("{:08x} ", (number + 900 * whose).wrapping_mul(2_654_435_761))
            };
            let text: String = (0..512).map(|_| word()).collect();
            text.as_bytes()[..4096].to_vec()
        };
        (1..401).map(&mut page).collect()
    }

    fn samples(pages: &[Vec<u8>]) -> Samples {
        Samples::new(pages.iter().map(Vec::as_slice))
    }

    fn level(level: i32) -> ZstdLevel {
        ZstdLevel::new(level).expect("a level")
    }

    #[test]
    fn a_candidate_wins_by_more_than_half_a_percent_or_not_at_all() {
        assert!(is_worth_it(9949, 10_000));
        assert!(!is_worth_it(9950, 10_000), "it wins a two-hundredth and no more");
        assert!(!is_worth_it(10_000, 10_000));
        assert!(!is_worth_it(usize::MAX, usize::MAX), "two that cannot be made");
    }

    #[test]
    fn short_dictionaries_are_tried_first_and_a_longer_one_must_win() {
        assert_eq!(lengths(64 << 10), [2, 4, 8, 16, 64].map(|kib: usize| kib << 10));
        assert_eq!(lengths(4 << 10), [1 << 10, 2 << 10, 4 << 10]);
        assert_eq!(lengths(300), [256, 300]);
        assert_eq!(lengths(256), [256]);
        let pages = pages(90);
        let chosen = |bytes_max| {
            let chosen = best(level(1), None, &samples(&pages), bytes_max).expect("trained");
            chosen.expect("they are alike").as_bytes().len()
        };
        // 900 words of 9 bytes are common: 8 KiB.
        assert!((6 << 10..=16 << 10).contains(&chosen(64 << 10)), "{}", chosen(64 << 10));
        assert!(chosen(2 << 10) <= 2 << 10);
    }

    #[test]
    fn a_dictionary_that_the_codec_has_must_be_beaten() {
        let pages = pages(90);
        let own = best(level(1), None, &samples(&pages), 64 << 10).expect("trained");
        let again = best(level(1), own.as_ref(), &samples(&pages), 64 << 10).expect("trained");
        assert_eq!(again, None, "the same samples give nothing better");
        assert!(best(level(1), None, &samples(&pages), 2 << 10).expect("trained").is_some());
    }

    #[test]
    fn one_page_in_four_is_held_back() {
        let pages = pages(50);
        let samples = samples(&pages);
        let (learned, held_back) = samples.split();
        assert_eq!((learned.lengths.len(), held_back.len()), (300, 100));
        assert_eq!(held_back[1], pages[7]);
        assert_eq!(learned.pages().nth(3), Some(&pages[4][..]));
    }

    #[test]
    fn a_dictionary_is_chosen_where_pages_are_alike_and_none_where_not() {
        for number in [-1, 1, 3] {
            let alike = best(level(number), None, &samples(&pages(90)), 16 << 10).expect("trained");
            assert!(alike.is_some(), "level {number}");
            let strange: Vec<Vec<u8>> = (0..400_u64)
                .map(|seed| {
                    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
                    let mut next = || {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed);
                        u8::try_from(state >> 56).expect("eight bits")
                    };
                    (0..4096).map(|_| next()).collect()
                })
                .collect();
            let none = best(level(number), None, &samples(&strange), 16 << 10).expect("trained");
            assert_eq!(none, None, "level {number}");
        }
    }

    #[test]
    fn pages_come_back_with_either_form() {
        let pages = pages(90);
        for number in [-1, 1, 2, 3, 5, 19] {
            let full = samples(&pages).train(16 << 10, level(number)).expect("trained");
            let other = without_sequences(&full).expect("the form of the bundled library");
            assert!(other.as_bytes().len() < full.as_bytes().len());
            for dictionary in [&full, &other] {
                let spec = CodecSpec::Zstd(level(number));
                let codec = spec.build_with_dictionary(dictionary).expect("built");
                for page in pages.iter().step_by(13) {
                    let (mut compressed, mut back) = ([0; 4200], [0; 4096]);
                    let len = codec.compress(page, &mut compressed).expect("room");
                    assert_eq!(codec.decompress(&compressed[..len], &mut back), Ok(4096));
                    assert_eq!(back, page[..], "level {number}");
                }
            }
        }
    }

    #[test]
    fn the_choice_is_a_dictionary_to_keep_and_codecs_without_get_none() {
        let pages = pages(90);
        let pages = || pages.iter().map(Vec::as_slice);
        let spec = CodecSpec::Zstd(level(1));
        let chosen = Dictionary::train_for(spec, pages(), 16 << 10).expect("trained");
        let chosen = chosen.expect("they are alike");
        assert_eq!(Dictionary::from_bytes(chosen.as_bytes()), Ok(chosen));
        assert_eq!(Dictionary::train_for(CodecSpec::Lz4, pages(), 16 << 10), Ok(None));
        let few = Dictionary::train_for(spec, pages().take(3), 16 << 10);
        assert!(matches!(few, Err(DictionaryError::TooFew { pages: 3, .. })), "{few:?}");

        let shortest = |codec: &dyn crate::Codec| {
            let compressed = |page: &[u8]| codec.compress(page, &mut [0; 4200]).expect("room");
            pages().map(compressed).sum::<usize>()
        };
        let (plain, fit) = (spec.build().expect("built"), spec.build_for(pages()).expect("built"));
        assert!(shortest(&*fit) < shortest(&*plain));
        let none = spec.build_for(pages().take(3)).expect("built all the same");
        assert_eq!(shortest(&*none), shortest(&*plain));
    }
}
