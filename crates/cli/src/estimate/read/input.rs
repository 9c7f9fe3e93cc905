//! Reads each page of the sample once, into the spool.
//!
//! A file counts at its length when opened: growth is not read, and missing pages after a shrink are not counted. After
//! a failure the pages read so far stay.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt as _,
    path::Path,
};

use super::read_full::read_full;
use crate::{
    bytes,
    estimate::{
        config::{EstimateConfig, PAGE, Sampling},
        error::EstimateError,
        like::Like,
        read::{
            address_space::Live,
            core_read,
            discover::{Discovery, InputSource},
            extents::Extents,
            headroom::Headroom,
            plan::Plan,
            process::{Candidate, Refusal, Stopped},
            process_read,
            sampler::Sampler,
            shared_read,
            spool::Spool,
        },
        result::{input::InputSummary, process::ProcessSummary, skipped::Skipped},
    },
    progress::Progress,
};

/// Between two updates of the progress bar.
const PAGES_PER_TICK: u64 = 256;

#[derive(Debug)]
pub(crate) struct Sample {
    pub spool: Spool,
    pub skipped: Vec<Skipped>,
    /// Of the whole readable input.
    pub total_bytes: u64,
    pub total_pages: u64,
    pub hole_bytes: u64,
    /// Without core files, which are processes.
    pub files: u64,
    /// With pages or holes.
    pub processes: Vec<ProcessSummary>,
    pub cap: u64,
    /// Excludes the default sample.
    pub bound: Option<String>,
}

pub(crate) fn read(config: &EstimateConfig, progress: &Progress) -> Result<Sample, EstimateError> {
    let discovery = Discovery::walk(&config.inputs, &config.walk);
    let sharing = if config.shared { discovery.processes() } else { Vec::new() };
    if config.maps && !discovery.has_mappings() && discovery.skipped.is_empty() {
        return Err(EstimateError::NoMappings);
    }
    let plan = Plan::new(config, &discovery, &Headroom::find()?)?;
    let stage = if discovery.has_stream() { 0 } else { discovery.known_pages() };
    progress.begin("reading".to_owned(), stage);

    let sampler = Sampler::new(config.seed, plan.fraction, config.unit());
    let spool = Spool::new(sampler, plan.room, plan.expected);
    let sample =
        Sample { cap: plan.cap, bound: plan.bound, ..Sample::empty(spool, discovery.skipped) };
    let mut reader = Reader { sample, progress, per_mapping: config.maps };
    for source in discovery.sources {
        reader.read_source(source)?;
    }
    if !sharing.is_empty() {
        let ordinal = reader.sample.spool.add_source(shared_read::NAME.into())?;
        let found = shared_read::read(&sharing, ordinal, &mut reader.sample.spool, progress)?;
        reader.add_process((found, Ok(())), shared_read::NAME.to_owned(), false)?;
    }
    reader.sample.check()
}

/// Reads into a spool that says what it takes.
pub(super) fn read_sources(
    discovery: Discovery,
    spool: Spool,
    progress: &Progress,
) -> Result<Sample, EstimateError> {
    let sample = Sample::empty(spool, discovery.skipped);
    let mut reader = Reader { sample, progress, per_mapping: false };
    for source in discovery.sources {
        reader.read_source(source)?;
    }
    Ok(reader.sample)
}

impl Sample {
    fn empty(spool: Spool, skipped: Vec<Skipped>) -> Self {
        Self {
            spool,
            skipped,
            total_bytes: 0,
            total_pages: 0,
            hole_bytes: 0,
            files: 0,
            processes: Vec::new(),
            cap: 0,
            bound: None,
        }
    }

    pub(crate) fn summary(&mut self, config: &EstimateConfig) -> InputSummary {
        let processes = std::mem::take(&mut self.processes);
        InputSummary {
            bytes: self.spool.total_bytes(),
            pages: self.spool.len() as u64,
            same_filled: self.spool.same_filled(),
            skipped: self.skipped.clone(),
            total_bytes: self.total_bytes,
            total_pages: self.total_pages,
            hole_bytes: self.hole_bytes,
            files: self.files,
            seed: config.seed,
            sample_asked: matches!(config.sampling, Sampling::Fraction(_)),
            sample_max: self.cap,
            sample_bound: self.bound.clone(),
            // A system that does not tell omits only this line.
            compressed_swap: processes
                .iter()
                .any(|process| process.process_id.is_some() && process.core.is_none())
                .then(|| pagefold_procfs::compressed_swap().unwrap_or_default()),
            processes,
            maps: config.maps,
            like: config.like.map(Like::algorithms),
            dictionaries: Vec::new(),
        }
    }

    fn holes(&self) -> u64 {
        let of_cores = |process: &ProcessSummary| process.beside.holes.unwrap_or(0);
        self.hole_bytes + self.processes.iter().map(of_cores).sum::<u64>()
    }

    fn check(self) -> Result<Self, EstimateError> {
        if self.spool.len() > 0 {
            return Ok(self);
        }
        let mut failed = self.skipped.iter().filter(|skipped| skipped.failed);
        match failed.next() {
            Some(first) if self.files == 0 => Err(EstimateError::NothingReadable {
                first: format!("{}: {}", first.what, first.why),
                more: failed.count(),
            }),
            _ if self.total_pages == 0 && self.holes() > 0 => {
                Err(EstimateError::OnlyHoles { bytes: self.holes() })
            }
            _ if self.total_pages > 0 => {
                Err(EstimateError::EmptySample { pages: self.total_pages })
            }
            _ => Err(EstimateError::EmptyInput),
        }
    }
}

struct Reader<'a> {
    sample: Sample,
    progress: &'a Progress,
    per_mapping: bool,
}

enum Ended {
    /// Reading continues with the next source.
    InputSource(io::Error),
    All(EstimateError),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::InputSource(error)
    }
}

impl From<EstimateError> for Ended {
    fn from(failure: EstimateError) -> Self {
        Self::All(failure)
    }
}

impl Reader<'_> {
    fn read_source(&mut self, source: InputSource) -> Result<(), EstimateError> {
        let name = match &source {
            InputSource::File { path, .. } | InputSource::Stream { path } => path.clone(),
            InputSource::Core(core) => core.path.clone(),
            InputSource::Process(candidate) => candidate.label().into(),
            InputSource::Stdin => "standard input".into(),
        };
        let before = self.sample.total_bytes;
        let ordinal = self.sample.spool.add_source(name.clone())?;
        let ended = match source {
            InputSource::File { path, .. } => self.read_file(ordinal, &path),
            InputSource::Stream { path } => self.read_named_stream(ordinal, &path),
            InputSource::Stdin => self.read_stream(ordinal, io::stdin().lock()),
            InputSource::Process(candidate) => return self.read_process(ordinal, &candidate),
            InputSource::Core(core) => {
                let parts = (ordinal, self.per_mapping);
                let found = core_read::read(&core, parts, &mut self.sample.spool, self.progress);
                return self.add_process(found, name.display().to_string(), true);
            }
        };
        let done = self.sample.total_bytes - before;
        match ended {
            Err(Ended::All(failure)) => return Err(failure),
            Err(Ended::InputSource(error)) => {
                let why = if done == 0 {
                    error.to_string()
                } else {
                    format!("{error}, after {}", bytes::show(done))
                };
                self.sample.skipped.push(Skipped {
                    what: name.display().to_string(),
                    why,
                    failed: true,
                });
                self.sample.files += u64::from(done > 0);
            }
            Ok(()) => self.sample.files += 1,
        }
        Ok(())
    }

    fn read_file(&mut self, ordinal: u32, path: &Path) -> Result<(), Ended> {
        let file = File::open(path)?;
        let mut extents = Extents::new(&file)?;
        let len = extents.len();
        let (pages, mut page_no) = (len.div_ceil(PAGE as u64), 0);
        let mut page = [0; PAGE];
        while page_no < pages {
            let offset = page_no * PAGE as u64;
            let data = extents.next_data(&file, offset);
            if data >= len || data - offset >= PAGE as u64 {
                // Continue at the page that contains the next data.
                page_no = if data >= len { pages } else { data / PAGE as u64 };
                self.sample.hole_bytes += (page_no * PAGE as u64).min(len) - offset;
                continue;
            }
            let wanted = usize::try_from(len - offset).map_or(PAGE, |rest| rest.min(PAGE));
            let got = if self.sample.spool.wants(ordinal, page_no) {
                read_full(&mut page[..wanted], |buffer, done| {
                    file.read_at(buffer, offset + done as u64)
                })?
            } else {
                wanted
            };
            if got > 0 {
                self.take(ordinal, page_no, &page[..got])?;
            }
            if got < wanted {
                break;
            }
            page_no += 1;
        }
        Ok(())
    }

    fn read_process(&mut self, ordinal: u32, candidate: &Candidate) -> Result<(), EstimateError> {
        let label = candidate.label();
        let space = match Live::open(candidate.process_id) {
            Ok(space) => space,
            Err(error) => {
                self.skip_process(label, Refusal::from(error).to_string(), candidate.named);
                return Ok(());
            }
        };
        let parts = (ordinal, self.per_mapping);
        let spool = &mut self.sample.spool;
        let found = process_read::read(&space, candidate, parts, spool, self.progress);
        self.add_process(found, label, candidate.named)
    }

    fn add_process(
        &mut self,
        (summary, outcome): (ProcessSummary, Result<(), Stopped>),
        label: String,
        named: bool,
    ) -> Result<(), EstimateError> {
        match outcome {
            Ok(()) => {}
            Err(Stopped::All(failure)) => return Err(failure),
            Err(Stopped::InputSource(why)) if summary.bytes > 0 => {
                let why = format!("{why}; {} of it are in the figures", bytes::show(summary.bytes));
                self.skip_process(label, why, named);
            }
            Err(Stopped::InputSource(why)) => self.skip_process(label, why, named),
        }
        self.sample.total_bytes += summary.bytes;
        self.sample.total_pages += summary.pages;
        if summary.pages > 0 || summary.beside.holes.is_some_and(|holes| holes > 0) {
            self.sample.processes.push(summary);
        }
        Ok(())
    }

    fn skip_process(&mut self, what: String, why: String, failed: bool) {
        self.sample.skipped.push(Skipped { what, why, failed });
    }

    fn read_named_stream(&mut self, ordinal: u32, path: &Path) -> Result<(), Ended> {
        self.read_stream(ordinal, File::open(path)?)
    }

    fn read_stream(&mut self, ordinal: u32, mut stream: impl Read) -> Result<(), Ended> {
        let mut page = [0; PAGE];
        for page_no in 0.. {
            let got = read_full(&mut page, |buffer, _| stream.read(buffer))?;
            if got > 0 {
                self.take(ordinal, page_no, &page[..got])?;
            }
            if got < PAGE {
                break;
            }
        }
        Ok(())
    }

    fn take(&mut self, ordinal: u32, page_no: u64, page: &[u8]) -> Result<(), EstimateError> {
        self.sample.spool.offer(ordinal, page_no, page)?;
        self.sample.total_bytes += page.len() as u64;
        self.sample.total_pages += 1;
        if self.sample.total_pages.is_multiple_of(PAGES_PER_TICK) {
            self.progress.add(PAGES_PER_TICK);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
