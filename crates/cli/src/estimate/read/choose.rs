//! Chooses processes, and lists those that are refused.

use std::{fs, path::Path};

use pagefold_procfs::{Process, ProcessStatus, processes, smaps_rollup, status};

use crate::estimate::{
    read::{
        address_space::Live,
        cgroup,
        discover::{Discovery, InputSource},
        process::{Candidate, Refusal, label},
    },
    result::skipped::Skipped,
};

impl Discovery {
    pub(crate) fn add_process(&mut self, process_id: u32) {
        match look(process_id) {
            // A thread's number stands for its process.
            Ok(status) if self.has_process(status.process_id) => {}
            Ok(status) => self.add_candidate(status, true),
            Err((name, refusal)) => self.refuse(label(process_id, &name), &refusal, true),
        }
    }

    pub(crate) fn add_every_process(&mut self) {
        let all = match processes() {
            Ok(all) => all,
            Err(error) => return self.refuse("processes".to_owned(), &error.into(), true),
        };
        let mut kernel_threads = Vec::new();
        for process_id in all {
            match look(process_id) {
                Ok(status) => self.add_candidate(status, false),
                Err(refused @ (_, Refusal::KernelThread)) => {
                    kernel_threads.push((process_id, refused));
                }
                Err((name, refusal)) => self.refuse(label(process_id, &name), &refusal, false),
            }
        }
        // Many, so they come last.
        for (process_id, (name, refusal)) in kernel_threads {
            self.refuse(label(process_id, &name), &refusal, false);
        }
        if !self.has_mappings() {
            self.skipped.iter_mut().for_each(|skipped| skipped.failed = true);
        }
    }

    /// By the process's own name or its file's.
    pub(crate) fn add_processes_named(&mut self, name: &str) {
        let all = match processes() {
            Ok(all) => all,
            Err(error) => return self.refuse(format!("processes {name}"), &error.into(), true),
        };
        let is_called = |&process_id: &u32| {
            process_id != std::process::id()
                && (status(Process::Id(process_id)).is_ok_and(|status| status.name == name)
                    || executes(process_id, name))
        };
        let found: Vec<_> = all.into_iter().filter(is_called).collect();
        if found.is_empty() {
            return self.refuse(format!("processes {name}"), &Refusal::NoneOfName, true);
        }
        self.add_members(found);
    }

    pub(crate) fn add_cgroup(&mut self, path: &Path) {
        match cgroup::members(path) {
            Ok(members) => self.add_members(members),
            Err(why) => {
                let what = format!("control group {}", path.display());
                self.refuse(what, &Refusal::Cgroup(why), true);
            }
        }
    }

    /// A process that has ended is no member.
    fn add_members(&mut self, members: Vec<u32>) {
        for process_id in members {
            match look(process_id) {
                Ok(status) if self.has_process(status.process_id) => {}
                Ok(status) => self.add_candidate(status, true),
                Err((_, Refusal::Missing)) => {}
                Err((name, refusal @ Refusal::Itself)) => {
                    self.refuse(label(process_id, &name), &refusal, false);
                }
                Err((name, refusal)) => self.refuse(label(process_id, &name), &refusal, true),
            }
        }
    }

    /// Plans for shared memory once. Where the kernel does not tell, the sum stays.
    pub(crate) fn expect_shared_memory_once(&mut self) {
        let candidates =
            || self.sources.iter().filter(|source| matches!(source, InputSource::Process(_)));
        if candidates().nth(1).is_none() {
            return;
        }
        for source in &mut self.sources {
            let InputSource::Process(candidate) = source else { continue };
            let usage = smaps_rollup(Process::Id(candidate.process_id)).ok();
            let Some(once) = usage.and_then(|usage| usage.proportional_anonymous) else { continue };
            let too_many = candidate.expected_bytes.saturating_sub(once);
            candidate.expected_bytes -= too_many;
            self.known_bytes = self.known_bytes.saturating_sub(too_many);
        }
    }

    fn add_candidate(&mut self, status: ProcessStatus, named: bool) {
        let expected_bytes = status.rss_anon.unwrap_or(0);
        self.known_bytes = self.known_bytes.saturating_add(expected_bytes);
        self.sources.push(InputSource::Process(Candidate {
            process_id: status.process_id,
            name: status.name,
            named,
            expected_bytes,
        }));
    }

    fn has_process(&self, process_id: u32) -> bool {
        self.sources.iter().any(|source| {
            matches!(source, InputSource::Process(candidate) if candidate.process_id == process_id)
        })
    }

    fn refuse(&mut self, what: String, refusal: &Refusal, failed: bool) {
        self.skipped.push(Skipped { what, why: refusal.to_string(), failed });
    }
}

/// A process's own name is cut after 15 bytes, and may differ.
fn executes(process_id: u32, name: &str) -> bool {
    let program = fs::read_link(format!("/proc/{process_id}/exe")).unwrap_or_default();
    // The kernel adds this suffix where the file was replaced.
    let program = program.file_name().and_then(|file| file.to_str()).unwrap_or_default();
    program.strip_suffix(" (deleted)").unwrap_or(program) == name
}

/// An error carries the process's name if known.
fn look(process_id: u32) -> Result<ProcessStatus, (String, Refusal)> {
    let status =
        status(Process::Id(process_id)).map_err(|error| (String::new(), Refusal::from(error)))?;
    let refusal = if status.kernel_thread {
        Refusal::KernelThread
    } else if status.has_ended() {
        Refusal::Ended
    } else if status.process_id == std::process::id() {
        Refusal::Itself
    } else {
        // Closed again: many would need too many open files.
        match Live::open(status.process_id) {
            Ok(_) => return Ok(status),
            Err(error) => error.into(),
        }
    };
    Err((status.name, refusal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_command_is_refused_and_so_is_what_does_not_exist() {
        let mut discovery = Discovery::default();
        discovery.add_process(std::process::id());
        discovery.add_process(1 << 22);
        assert!(discovery.sources.is_empty(), "{:?}", discovery.sources);
        let whys: Vec<_> = discovery.skipped.iter().map(|skipped| skipped.why.as_str()).collect();
        assert!(
            whys[0].contains("this very command") && whys[1].contains("no process"),
            "{whys:?}"
        );
        assert!(discovery.skipped.iter().all(|skipped| skipped.failed));
        assert_eq!(discovery.skipped[1].what, "process 4194304");
    }
}
