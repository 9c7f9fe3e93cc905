//! The dictionary that a store would train for itself, measured without pages that it was trained on.
//!
//! A store with `balanced` or `dense` trains on its first compressed pages, and adopts the dictionary if it wins on
//! pages that were held out. Here the pages arrive in random order:
//!
//! ```text
//! compressible pages, shuffled: | learned: 800 | tried: 200 | learned for these 800 | the rest |
//! ```
//! - The first thousand were put before there was a dictionary: they keep the built-in one.
//! - Of a sample, only so many do as their part of the whole is. A second dictionary, from other pages, measures the
//!   learned pages among the others.
//! - All other pages have the trained one.

use std::time::Duration;

use pagefold_codec::{Codec, CodecSpec, accept_len, checked_compress, same_filled};
use pagefold_sys::clock::thread_time;
use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

use crate::estimate::{
    config::PAGE,
    measure::codecs::Trained,
    read::spool::Spool,
    result::dictionary_note::{DictionaryNote, Origin, Trial},
};

/// The pages that a store learns from and tries a dictionary on.
const LEARNED: usize = 800;
const TRIED: usize = 200;

/// Half a sample of a store's pages is enough to learn from.
const LEARNED_MIN: usize = LEARNED / 2;

/// The part of bytes and of time that an adopted dictionary may take, in percent.
const BYTES_PERCENT: u64 = 98;
const TIME_PERCENT: u128 = 105;
const ROUNDS: usize = 3;

/// A store counts lengths in such steps.
const STEP_BYTES: usize = 16;

pub(crate) struct SelfTraining {
    pub(crate) trained: Option<Trained>,
    pub(crate) note: DictionaryNote,
}

/// Whether a store trains the codec of this name.
pub(crate) fn is_trained(spec: CodecSpec, codec: &dyn Codec) -> bool {
    matches!(spec, CodecSpec::Balanced | CodecSpec::Dense) && codec.trains()
}

/// Trains as the store of the whole input would. `total_pages` are those of the whole.
pub(crate) fn train(
    name: String,
    codec: &dyn Codec,
    spool: &Spool,
    total_pages: u64,
    seed: u64,
) -> SelfTraining {
    let mut note = DictionaryNote {
        codec: name,
        dictionary: Some(Origin::BuiltIn),
        bytes: None,
        trained_pages: 0,
        why_none: None,
        trial: None,
    };
    let trained = match attempt(codec, spool, total_pages, seed, &mut note) {
        Ok(trained) => {
            note.dictionary = Some(Origin::Trained);
            Some(trained)
        }
        Err(why) => {
            note.why_none = Some(why);
            None
        }
    };
    SelfTraining { trained, note }
}

fn attempt(
    codec: &dyn Codec,
    spool: &Spool,
    total_pages: u64,
    seed: u64,
    note: &mut DictionaryNote,
) -> Result<Trained, String> {
    let (pages, looked_at) = compressible(codec, spool, seed);
    let in_whole = pages.len() as f64 * total_pages as f64 / looked_at.max(1) as f64;
    if in_whole < (LEARNED + TRIED) as f64 {
        return Err(format!("a store trains from {} compressible pages on", LEARNED + TRIED));
    }
    let is_sample = (spool.len() as u64) < total_pages;
    let learned = if is_sample { pages.len().saturating_sub(TRIED) / 2 } else { LEARNED };
    let learned = learned.min(LEARNED);
    if learned < LEARNED_MIN {
        let least = 2 * LEARNED_MIN + TRIED;
        return Err(format!("the sample has fewer than {least} compressible pages"));
    }
    let (first, others) = pages.split_at(learned);
    let (tried, others) = others.split_at(TRIED.min(others.len()));

    let bytes_of =
        |pages: &[u32]| pages.iter().map(|&page| spool.page(page as usize)).collect::<Vec<_>>();
    note.trained_pages = learned as u64;
    let new = codec.train(&bytes_of(first)).ok_or("these pages give none")?;
    let trial = try_out(codec, &*new, &bytes_of(tried));
    note.trial = Some(trial.note());
    if !trial.is_won() {
        return Err("it does not win on pages that it was not trained on".to_owned());
    }
    note.bytes = Some(new.metadata_bytes_max(PAGE) as u64);

    let mut of_page = vec![1; spool.len()];
    // Those that the store had before the dictionary: of a sample, as its part of the whole is.
    let early = ((LEARNED + TRIED) as f64 * spool.len() as f64 / total_pages as f64).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 1000")]
    let early = (early as usize).min(learned + tried.len());
    let mut codecs = vec![new];
    for (at, &page) in first.iter().chain(tried).enumerate() {
        if at < early {
            of_page[page as usize] = 0;
        }
    }
    if let Some(rest) = first.get(early..).filter(|rest| !rest.is_empty()) {
        let second = codec.train(&bytes_of(&others[..learned.min(others.len())]));
        let number = if second.is_some() { 2 } else { 0 };
        codecs.extend(second);
        for &page in rest {
            of_page[page as usize] = number;
        }
    }
    Ok(Trained::new(codecs, of_page))
}

/// Random whole pages that the codec makes shorter, as many as are of use; and among how many they were.
fn compressible(codec: &dyn Codec, spool: &Spool, seed: u64) -> (Vec<u32>, usize) {
    #[expect(clippy::cast_possible_truncation, reason = "a spool has at most u32::MAX pages")]
    let mut pages: Vec<u32> = (0..spool.len() as u32).collect();
    pages.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut scratch = [0; accept_len(PAGE)];
    let mut is_compressible = |page: &[u8]| {
        page.len() == PAGE
            && same_filled(page).is_none()
            && checked_compress(codec, page, &mut scratch).is_some()
    };
    let (mut found, mut looked_at) = (Vec::new(), 0);
    for page in pages {
        if found.len() == 2 * LEARNED + TRIED {
            break;
        }
        looked_at += 1;
        if is_compressible(spool.page(page as usize)) {
            found.push(page);
        }
    }
    (found, looked_at)
}

#[derive(Debug, Clone, Copy)]
struct Score {
    bytes: u64,
    /// The least of some rounds.
    time: Duration,
}

#[derive(Debug, Clone, Copy)]
struct TrialScores {
    pages: usize,
    own: Score,
    new: Score,
}

impl TrialScores {
    fn is_won(&self) -> bool {
        let time = |score: Score| score.time.as_nanos();
        self.new.bytes * 100 <= self.own.bytes * BYTES_PERCENT
            && time(self.new) * 100 <= time(self.own) * TIME_PERCENT
    }

    fn note(&self) -> Trial {
        let part = |new: f64, own: f64| if own > 0.0 { new / own } else { 1.0 };
        Trial {
            pages: self.pages as u64,
            length: part(self.new.bytes as f64, self.own.bytes as f64),
            time: part(self.new.time.as_secs_f64(), self.own.time.as_secs_f64()),
        }
    }
}

/// In rounds, so that other load meets both.
fn try_out(own: &dyn Codec, new: &dyn Codec, pages: &[&[u8]]) -> TrialScores {
    let mut scratch = [0; accept_len(PAGE)];
    let mut scores = [Score { bytes: 0, time: Duration::MAX }; 2];
    for _ in 0..ROUNDS {
        for (codec, score) in [own, new].into_iter().zip(&mut scores) {
            let (began, mut bytes) = (thread_time(), 0);
            for page in pages {
                let len = checked_compress(codec, page, &mut scratch);
                bytes += len.map_or(PAGE, |len| len.next_multiple_of(STEP_BYTES)) as u64;
            }
            score.time = score.time.min(thread_time().saturating_sub(began));
            score.bytes = bytes;
        }
    }
    TrialScores { pages: pages.len(), own: scores[0], new: scores[1] }
}

#[cfg(test)]
#[path = "training_tests.rs"]
mod tests;
