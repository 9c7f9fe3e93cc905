//! Thread stacks, from `/proc/PID/task/TID/syscall`.

use std::fs;

use super::{Process, ProcfsError};

/// The stack pointers of all threads that wait in the kernel now; running threads show none.
///
/// # Errors
/// [`ProcfsError`]; needs the right to attach. [`ProcfsError::Unsupported`] if the kernel lacks this file.
///
/// # Examples
/// ```
/// # #[cfg(target_os = "linux")] {
/// use pagefold_procfs::{Process, stack_pointers};
///
// The thread that asks is running; only others can be waiting.
/// let stacks = stack_pointers(Process::Current)?;
/// assert!(stacks.iter().all(|&pointer| pointer > 0));
/// # }
/// # Ok::<(), pagefold_procfs::ProcfsError>(())
/// ```
pub fn stack_pointers(process: Process) -> Result<Vec<u64>, ProcfsError> {
    let directory = process.file("task");
    let entries = fs::read_dir(&directory).map_err(|error| process.error(directory, error))?;
    let mut pointers = Vec::new();
    for entry in entries.flatten() {
        let file = entry.path().join("syscall");
        match fs::read_to_string(&file) {
            Ok(line) => pointers.extend(parse(&line)),
            Err(_) if !entry.path().exists() => {}
            Err(error) => return Err(process.error(file, error)),
        }
    }
    Ok(pointers)
}

/// `NUMBER ARGUMENTS.. SP PC`, `-1 SP PC` outside of a system call, or `running`.
fn parse(line: &str) -> Option<u64> {
    let mut from_the_end = line.split_whitespace().rev();
    let (_program_counter, pointer) = (from_the_end.next()?, from_the_end.next()?);
    let pointer = u64::from_str_radix(pointer.strip_prefix("0x")?, 16).ok()?;
    (pointer > 0).then_some(pointer)
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use super::*;

    #[test]
    fn the_stack_pointer_is_the_last_but_one() {
        let waiting = "202 0x7f01 0x89 0x0 0x0 0x0 0xffffffff 0x7ffd5a4e9c38 0x7f6c0e4f6117\n";
        assert_eq!(parse(waiting), Some(0x7ffd_5a4e_9c38));
        assert_eq!(parse("-1 0x7ffd5a4e9c38 0x7f6c0e4f6117"), Some(0x7ffd_5a4e_9c38));
        for nothing in ["", "running\n", "0", "1 2 3", "-1 0x0 0x0", "-1 0x1ffffffffffffffff 0x0"] {
            assert_eq!(parse(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn a_waiting_threads_stack_is_found() {
        let (address, addressed) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let waiting = thread::spawn(move || {
            let local = 7_u8;
            address.send((&raw const local).addr() as u64).unwrap();
            let _ = ended.recv();
        });
        let local = addressed.recv().unwrap();
        // The thread may not wait yet.
        let found = (0..1000).any(|_| {
            thread::sleep(Duration::from_millis(2));
            let near = |&pointer: &u64| pointer.abs_diff(local) < 64 << 10;
            stack_pointers(Process::Current).unwrap().iter().any(near)
        });
        drop(end);
        waiting.join().unwrap();
        assert!(found, "no thread waits on a stack near {local:#x}");
    }
}
