//! 1 GiB of records in 128 MiB of memory: what is coldest goes to Redis, or to another service that this build has.
//!
//! `cargo run --release --features redis --example redis -- redis://localhost:6379/0 [MIB]`
//!
//! The data set, the measurement and the checks are those of the example `spill` of the crate `pagefold`.
#![forbid(unsafe_code)]

use std::error::Error;

use pagefold::spill::Spill;
use pagefold_spill_opendal::{OpendalBacking, Options, connect};

#[path = "../../pagefold/examples/spill.rs"]
#[expect(dead_code, reason = "its own main")]
mod spill;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let Some(address) = arguments.next() else {
        return Err("give the address of a service, such as redis://localhost:6379/0".into());
    };
    let mib: u64 = arguments.next().map_or(Ok(1024), |text| text.parse())?;
    let backing = OpendalBacking::new(connect(&address)?, "pagefold", Options::default())?;
    spill::print(spill::run(Spill::builder(backing).build()?, mib << 20, 20_000)?);
    Ok(())
}
