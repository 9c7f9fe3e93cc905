//! A cache of values under a budget: answers that are dear to compute, kept compressed, dropped when room is needed.
//!
//! `cargo run -p pagefold --example value_cache`
#![forbid(unsafe_code)]

use std::{collections::HashMap, error::Error};

use pagefold::{GetError, PutError, Space, SpaceConfig, Store};

/// Answers by question. A question's slot in the space is its key; the map is the program's own.
struct Cache {
    answers: Space,
    slots: HashMap<String, u64>,
    computed: u64,
}

impl Cache {
    fn new(store: &Store, questions: u64) -> Result<Self, Box<dyn Error>> {
        let config = SpaceConfig::ephemeral(questions).name("answers");
        Ok(Self { answers: store.space(config)?, slots: HashMap::new(), computed: 0 })
    }

    /// The answer, from the cache or computed.
    fn ask(&mut self, question: &str) -> Result<Vec<u8>, Box<dyn Error>> {
        let next = self.slots.len() as u64;
        let slot = *self.slots.entry(question.to_owned()).or_insert(next);
        match self.answers.get_bytes(slot) {
            Ok(answer) => return Ok(answer),
            // Never computed, or dropped since.
            Err(GetError::Absent) => {}
            Err(error) => return Err(error.into()),
        }
        self.computed += 1;
        let answer = compute(question);
        match self.answers.put_bytes(slot, &answer) {
            // A cache that has no room is slower, not wrong.
            Ok(()) | Err(PutError::Full { .. }) => Ok(answer),
            Err(error) => Err(error.into()),
        }
    }
}

/// Stands for something slow: a page of text of 1 to 30 KiB.
fn compute(question: &str) -> Vec<u8> {
    let len = 1000 + question.bytes().map(usize::from).sum::<usize>() * 37 % 30_000;
    let line = format!("the answer to {question} is long; ");
    line.bytes().cycle().take(len).zip(0_u32..).map(|(byte, at)| mixed(byte, at)).collect()
}

/// Some digits in the text, so that it does not compress to nothing.
fn mixed(byte: u8, at: u32) -> u8 {
    if at.is_multiple_of(3) {
        b'0' + u8::try_from(at.wrapping_mul(2_654_435_761) >> 16 & 7).unwrap_or(0)
    } else {
        byte
    }
}

/// What the run found, for the test that checks it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) asked: u64,
    pub(crate) computed: u64,
    pub(crate) resident: usize,
    pub(crate) limit: usize,
    pub(crate) evicted: u64,
}

pub(crate) fn run() -> Result<Outcome, Box<dyn Error>> {
    let store = Store::builder().limit(4 << 20).build()?;
    let mut cache = Cache::new(&store, 10_000)?;
    let mut asked = 0;
    for round in 0..4_u64 {
        for number in 0..2500_u64 {
            // A few questions are asked all the time, the others once a round.
            for question in
                [format!("question {number}"), format!("usual {}", (number + round) % 50)]
            {
                let answer = cache.ask(&question)?;
                assert_eq!(
                    answer,
                    compute(&question),
                    "an answer is the right one or computed again"
                );
                asked += 1;
            }
        }
    }
    let stats = cache.answers.stats();
    Ok(Outcome {
        asked,
        computed: cache.computed,
        resident: store.resident(),
        limit: store.limit(),
        evicted: stats.evicted,
    })
}

#[expect(clippy::print_stdout, reason = "it is the program's output")]
#[cfg_attr(test, expect(dead_code, reason = "a test calls `run`"))]
fn main() -> Result<(), Box<dyn Error>> {
    let Outcome { asked, computed, resident, limit, evicted } = run()?;
    println!("{asked} questions, {computed} computed, {evicted} answers dropped");
    println!("{resident} bytes may be resident, of a limit of {limit}");
    Ok(())
}
