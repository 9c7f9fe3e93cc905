//! Stores over a service.

use std::time::Duration;

use opendal::Operator;
use pagefold_spill_opendal::{OpendalBacking, Options, opendal};
use pagefold_store::{
    GetError, Page, Space, SpaceConfig, Store,
    spill::{EXTENT_BYTES_MIN, Spill},
};

/// One retry, half a second a try.
pub(crate) fn options() -> Options {
    Options::default().retries(1).timeout(Duration::from_millis(500))
}

/// A backing below `pagefold`, and where it lies.
pub(crate) fn backing(operator: Operator, options: Options) -> (OpendalBacking, String) {
    let backing = OpendalBacking::new(operator, "pagefold", options).expect("it runs");
    let home = backing.prefix().to_owned();
    (backing, home)
}

/// Small extents, and no rests after failures.
pub(crate) fn spill(backing: OpendalBacking, deadline: Duration) -> Spill {
    let spill = Spill::builder(backing).extent_bytes(EXTENT_BYTES_MIN);
    spill.without_rests().read_deadline(deadline).build().expect("sensible")
}

/// A store of 6 MiB with `count` pages, version 0, most of them in the service; and where they lie.
pub(crate) fn store(
    operator: Operator,
    count: u64,
    page: impl Fn(u64, u64) -> Page,
) -> (Store, Space, String) {
    let (backing, home) = backing(operator, options());
    let spill = spill(backing, Duration::from_secs(3));
    let store = Store::builder().limit(6 << 20).idle_share(0).spill(spill).build().expect("room");
    let space = store.space(SpaceConfig::persistent(count)).expect("room");
    for key in 0..count {
        space.put(key, &page(key, 0)).expect("room in the server");
    }
    (store, space, home)
}

pub(crate) fn get(space: &Space, key: u64) -> Result<Page, GetError> {
    let mut into = [0; 4096];
    space.get(key, &mut into).map(|()| into)
}
