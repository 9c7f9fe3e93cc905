//! What the kernel says is resident, against the store's account: in a process of its own, because it counts all of it.
#![cfg(all(target_os = "linux", not(loom)))]

use pagefold_procfs::{Process, rss_anon};
use pagefold_store::{SpaceConfig, Store};
use pagefold_testkit::{corpus::Mix, seed::Seed};

const LIMIT: usize = 64 << 20;
/// What the heap, stacks and the test itself may take beside the store.
const SLACK: u64 = 1 << 20;

#[test]
fn the_kernel_agrees_with_the_account() {
    let rss = || rss_anon(Process::Current).expect("Linux");
    let mut rng = Seed::for_test(0x455).rng(0);
    let pages = Mix::PROCESS.pages(&mut rng, 1000);
    let before = rss();
    let store = Store::builder().limit(LIMIT).build().expect("room");
    let space = store.space(SpaceConfig::ephemeral(1 << 20)).expect("room");
    for (step, bytes) in (0..100_000_u64).zip(pages.iter().cycle()) {
        let mut page: pagefold_store::Page = bytes.as_slice().try_into().expect("a page");
        page[..8].copy_from_slice(&step.to_ne_bytes());
        space.put(step, &page).expect("it drops pages");
        if step % 5000 == 0 {
            let (account, kernel) = (store.resident() as u64, rss() - before);
            assert!(kernel <= account + SLACK, "account {account}, kernel {kernel}");
            assert!(kernel <= LIMIT as u64 + SLACK, "limit {LIMIT}, kernel {kernel}");
        }
    }
    let (account, kernel) = (store.resident() as u64, rss() - before);
    eprintln!("account {account}, kernel {kernel}");
    store.shrink(usize::MAX);
    let (account, kernel) = (store.resident() as u64, rss().saturating_sub(before));
    eprintln!("after everything was dropped: account {account}, kernel {kernel}");
    assert!(kernel <= account + SLACK, "account {account}, kernel {kernel}");
    store.validate().expect("valid");
}
