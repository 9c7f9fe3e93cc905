//! Reads the base: those of its pages whose numbers the sample has.

use std::collections::HashMap;

use crate::{
    estimate::{
        config::{EstimateConfig, Input, Walk},
        error::EstimateError,
        read::{discover::Discovery, input, spool::Spool},
    },
    progress::Progress,
};

/// The pages of a base, by number.
#[derive(Debug)]
pub(crate) struct BasePages {
    pub(crate) name: String,
    spool: Spool,
    by_number: HashMap<u64, usize>,
}

impl BasePages {
    /// `None` without a base.
    pub(crate) fn read(
        config: &EstimateConfig,
        sample: &Spool,
        progress: &Progress,
    ) -> Result<Option<Self>, EstimateError> {
        let Some(base) = &config.base else { return Ok(None) };
        let name = match base {
            Input::Path(path) => path.display().to_string(),
            Input::Process(process_id) => format!("process {process_id}"),
            _ => unreachable!("the arguments are a path or a process"),
        };
        let discovery = Discovery::walk(std::slice::from_ref(base), &Walk::default());
        let read = input::read_sources(discovery, sample.of_base(), progress)?;
        if let Some(skipped) = read.skipped.iter().find(|skipped| skipped.failed) {
            return Err(EstimateError::Base { name, why: skipped.why.clone() });
        }
        let spool = read.spool;
        if spool.len() == 0 {
            let why = "it has no page at a place or address of the input".to_owned();
            return Err(EstimateError::Base { name, why });
        }
        // The first of several: a directory of files has the same numbers again.
        let mut by_number = HashMap::with_capacity(spool.len());
        for index in 0..spool.len() {
            by_number.entry(spool.page_no(index)).or_insert(index);
        }
        Ok(Some(Self { name, spool, by_number }))
    }

    /// The page with the number, if it is whole.
    pub(crate) fn page(&self, number: u64) -> Option<&[u8; 4096]> {
        let index = *self.by_number.get(&number)?;
        self.spool.page(index).try_into().ok()
    }
}
