//! A child has no region: never zeros, never the parent's pages.

use pagefold_region::Advice;

use crate::{
    common::{PAGE, check, fill, modes, region},
    parts,
};

fn exit_of_child(child: impl FnOnce()) -> i32 {
    // SAFETY: the child only runs the closure, which touches memory, and ends.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        child();
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: a child of this process, and room for its status.
    let ended = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(ended, pid);
    status
}

#[test]
fn a_child_that_touches_a_region_is_killed() {
    for mode in modes() {
        parts::run("fork::part_child", mode).assert_passed();
    }
}

#[test]
#[ignore = "run by a_child_that_touches_a_region_is_killed"]
fn part_child() {
    let Some(mode) = parts::mode() else { return };
    let mut region = region(mode, 1024, 256);
    for (number, page) in region.as_mut_slice().chunks_mut(PAGE).enumerate() {
        fill(page, number, 1);
    }
    region.advise(0..8 * PAGE, Advice::Cold).expect("a range");
    std::hint::black_box(region.as_slice()[1023 * PAGE]);
    // Cold, in memory, and never touched.
    for page in [0, 1023] {
        let address = region.as_ptr().wrapping_add(page * PAGE);
        let status = exit_of_child(|| {
            // SAFETY: an address of a region, which is not there in the child.
            std::hint::black_box(unsafe { address.read_volatile() });
        });
        assert!(libc::WIFSIGNALED(status), "page {page}: {status}");
        assert_eq!(libc::WTERMSIG(status), libc::SIGSEGV, "page {page}");
    }
    // A child may drop it.
    let mut region = Some(region);
    let status = exit_of_child(|| drop(region.take()));
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status}");
    let region = region.expect("the parent's");
    for (number, page) in region.as_slice().chunks(PAGE).enumerate() {
        check(page, number, 1);
    }
}

#[test]
fn children_while_threads_fault_harm_nothing() {
    for mode in modes() {
        let mut region = region(mode, 2048, 256);
        let (first, second) = region.as_mut_slice().split_at_mut(1024 * PAGE);
        std::thread::scope(|scope| {
            for (half, number) in [(first, 0), (second, 1)] {
                scope.spawn(move || {
                    for version in 1..4 {
                        for (at, page) in half.chunks_mut(PAGE).enumerate() {
                            fill(page, number * 1024 + at, version);
                        }
                        for (at, page) in half.chunks(PAGE).enumerate() {
                            check(page, number * 1024 + at, version);
                        }
                    }
                });
            }
            for _ in 0..20 {
                let status = exit_of_child(|| {});
                assert_eq!(status, 0);
                std::thread::sleep(std::time::Duration::from_millis(3));
            }
        });
    }
}
