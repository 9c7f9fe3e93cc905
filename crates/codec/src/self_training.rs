//! How a codec trains itself: a dictionary from pages of its store, in a fraction of a second and little memory.
//!
//! Of the ways in [`training`](crate::training) it takes the cheap ones: short dictionaries, one form, small tables.

use pagefold_sys::memory::Buffer;

use crate::{
    Dictionary, ZstdLevel, accept_len,
    digested::Digested,
    same_filled,
    training::{TABLES_LEVEL_MIN, is_worth_it},
    zstd_bindings::{self, Encoder, Form, Trainer},
};

/// The lengths that a codec tries when it trains itself.
const LENGTHS: [usize; 3] = [2 << 10, 4 << 10, 8 << 10];
const SEGMENT_BYTES: u32 = 200;
/// Entries of the table of frequencies (log2).
const TABLE_LOG: u32 = 16;
/// The highest level whose symbols are counted: above, only the time grows.
const TABLES_LEVEL_MAX: i32 = 5;
/// Pages are held back in groups, which are the clusters of neighbours where the codec compresses clusters.
const GROUP_PAGES: usize = 4;
const GROUPS_HELD_BACK_ONE_IN: usize = 10;

/// A dictionary with the length that makes held-back pages shortest. `None` without memory or from too few pages.
pub(crate) fn train_own(level: ZstdLevel, form: Form, pages: &[&[u8]]) -> Option<Digested> {
    let useful = pages.iter().filter(|page| !page.is_empty() && same_filled(page).is_none());
    let useful: Vec<&[u8]> = useful.copied().collect();
    let groups = || useful.chunks(GROUP_PAGES).enumerate();
    let is_held_back =
        |index: usize| index % GROUPS_HELD_BACK_ONE_IN == GROUPS_HELD_BACK_ONE_IN - 1;
    let learned = groups().filter(|(index, _)| !is_held_back(*index)).flat_map(|(_, group)| group);
    let lengths: Vec<usize> = learned.clone().map(|page| page.len()).collect();
    let mut samples = Buffer::zeroed(lengths.iter().sum()).ok()?;
    let mut rest = &mut samples[..];
    for page in learned {
        let (into, after) = rest.split_at_mut(page.len());
        into.copy_from_slice(page);
        rest = after;
    }
    let held_back: Vec<&[&[u8]]> =
        groups().filter(|(index, _)| is_held_back(*index)).map(|(_, group)| group).collect();

    let mut encoder = Encoder::new(level, form).ok()??;
    let mut best: Option<(Digested, usize)> = None;
    for bytes in LENGTHS {
        let trained = train((&samples, &lengths), bytes, level);
        let Some(digest) = trained.and_then(|own| own.digest(level, form)) else { continue };
        let kept = stored_bytes(&mut encoder, form, &digest, &held_back);
        if best.as_ref().is_none_or(|(_, least)| is_worth_it(kept, *least)) {
            best = Some((digest, kept));
        }
    }
    best.map(|(digest, _)| digest)
}

fn train(samples: (&[u8], &[usize]), bytes: usize, level: ZstdLevel) -> Option<Dictionary> {
    let mut dictionary = vec![0; bytes];
    let trainer = Trainer {
        segment_bytes: SEGMENT_BYTES,
        table_log: TABLE_LOG,
        level: level.get().clamp(TABLES_LEVEL_MIN, TABLES_LEVEL_MAX),
    };
    let len = zstd_bindings::train(&mut dictionary, samples, trainer).ok()?;
    Dictionary::from_bytes(&dictionary[..len]).ok()
}

fn stored_bytes(
    encoder: &mut Encoder,
    form: Form,
    dictionary: &Digested,
    groups: &[&[&[u8]]],
) -> usize {
    let mut scratch = Vec::new();
    let mut stored = |input: &[u8]| {
        scratch.resize(accept_len(input.len()), 0);
        encoder.compress(input, &mut scratch, Some(dictionary)).unwrap_or(input.len())
    };
    let sizes = groups.iter().map(|group| match form {
        Form::Pages => group.iter().map(|page| stored(page)).sum::<usize>(),
        Form::Clusters => stored(&group.concat()),
    });
    sizes.sum()
}

/// The most memory that [`train_own`] takes for so many bytes of pages of at least 512 bytes, with what it returns.
pub(crate) fn bytes_max(pages: usize) -> usize {
    // The copy; three words for each page; the library's tables and the contexts.
    pages + pages / 512 * 3 * size_of::<usize>() + WORK_BYTES
}

/// The frequencies (two tables of 4 bytes an entry, one of 2). Then 230 KiB for the symbols, 500 KiB for an encoder at the
/// highest level, and 260 KiB for each of two digests, measured with the bundled library; a fifth more.
const WORK_BYTES: usize = (10 << TABLE_LOG) + (3 << 19);

/// The longest dictionary that [`train_own`] may give, as far as encoders are concerned: the header of `dictionary`, and
/// content.
pub(crate) fn longest_like(dictionary: &Dictionary) -> Dictionary {
    let mut bytes = dictionary.as_bytes().to_vec();
    bytes.resize(bytes.len().max(LENGTHS[LENGTHS.len() - 1]), 0);
    Dictionary::from_bytes(&bytes).expect("more content is no damage")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages of words that each page has a few of.
    fn pages(count: u32) -> Vec<Vec<u8>> {
        let mut state = 7_u32;
        let mut word = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            format!("{:08x} ", (state >> 16).wrapping_rem(700).wrapping_mul(2_654_435_761))
        };
        let mut page = || (0..456).map(|_| word()).collect::<String>().into_bytes();
        (0..count).map(|_| page()[..4096].to_vec()).collect()
    }

    fn level(level: i32) -> ZstdLevel {
        ZstdLevel::new(level).expect("a level")
    }

    #[test]
    fn the_length_follows_from_the_pages() {
        let pages = pages(400);
        let pages: Vec<&[u8]> = pages.iter().map(Vec::as_slice).collect();
        for form in [Form::Pages, Form::Clusters] {
            let digest = train_own(level(5), form, &pages).expect("trained");
            let least = digest.bytes();
            // 700 words of 9 bytes are common: more than 4 KiB.
            let lengths: Vec<usize> = pages.iter().map(|page| page.len()).collect();
            let short = train((&pages.concat(), &lengths), 2 << 10, level(5));
            let short = short.and_then(|own| own.digest(level(5), form)).expect("trained");
            assert!(least > short.bytes() + (4 << 10), "{form:?}: {least}, {}", short.bytes());
            assert!(digest.is_intact());
        }
    }

    #[test]
    fn what_it_returns_is_part_of_what_is_charged() {
        let pages = pages(300);
        let pages: Vec<&[u8]> = pages.iter().map(Vec::as_slice).collect();
        let digest = train_own(level(12), Form::Clusters, &pages).expect("trained");
        let bytes = 300 * 4096;
        assert!(bytes_max(bytes) > bytes + digest.bytes());
        assert_eq!(bytes_max(2 * bytes) - bytes_max(bytes), bytes + bytes / 512 * 24);
    }

    #[test]
    fn the_longest_is_as_long_as_any_that_is_tried() {
        let longest = longest_like(&Dictionary::built_in());
        assert_eq!(longest.as_bytes().len(), 8 << 10);
        assert_eq!(longest_like(&longest), longest);
    }
}
