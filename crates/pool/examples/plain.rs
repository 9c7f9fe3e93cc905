//! A packing written outside of the crate: each object alone in its frames.
//!
//! `cargo run -p pagefold-pool --example plain`
#![forbid(unsafe_code)]

use pagefold_frame::{
    DescriptorId, FRAME_BYTES, FrameMigrateError, HeapSource, LockError, Movable, ReserveAccess,
    Tag,
};
use pagefold_pool::{
    CompactReport, Pool, Slices, Stats,
    engine::{
        Attempt, Audit, Base, Content, Engine, Footprint, Found, Location, NoRoom, Packing,
        PoolConfig, Runs, Wait,
    },
};

/// One object a run of frames: nothing is shared, so there is nothing to compact.
pub(crate) struct Plain {
    base: Base,
    runs: Runs,
}

impl Plain {
    /// The longest object: 16 frames.
    const LEN_MAX: usize = 16 * FRAME_BYTES;

    pub(crate) fn new(config: PoolConfig) -> Result<Self, Box<dyn std::error::Error>> {
        let base = Base::new(config, FRAME_BYTES, FRAME_BYTES)?;
        let capacity = base.arena().address_space() / FRAME_BYTES;
        Ok(Self { runs: Runs::new(&base, Tag::new(1), capacity)?, base })
    }
}

/// The run that an entry says.
fn run_of(found: &Found<'_>) -> (DescriptorId, u16) {
    match found.location {
        Location::Run { id, slack } => (id, slack),
        Location::Slot { .. } => unreachable!("all objects lie in runs"),
    }
}

impl Packing for Plain {
    const NAME: &'static str = "plain";

    fn base(&self) -> &Base {
        &self.base
    }

    fn footprint(&self) -> Footprint {
        Footprint { fixed_bytes: size_of::<Self>(), reserve_frames: 24, spare_frames: 48 }
    }

    fn max_len(&self) -> usize {
        Self::LEN_MAX
    }

    fn movable(&self) -> impl AsRef<[&dyn Movable]> {
        [self.runs.movable()]
    }

    fn read<F: FnMut(Slices<'_>) + ?Sized>(
        &self,
        found: &Found<'_>,
        wait: impl Wait,
        f: &mut F,
    ) -> Result<(), LockError> {
        self.runs.read(found, run_of(found), wait, f)
    }

    fn place(
        &self,
        content: Content<'_>,
        _index: u32,
        access: ReserveAccess,
        _attempt: Attempt,
        publish: impl FnOnce(Location) -> bool,
    ) -> Result<bool, NoRoom> {
        self.runs.place(content, access, publish)
    }

    fn overwrite(&self, found: &Found<'_>, bytes: &[u8]) -> Result<(), LockError> {
        self.runs.overwrite(found, run_of(found).0, bytes)
    }

    fn rewrite(&self, found: &Found<'_>, bytes: &[u8], _: Attempt) -> Result<bool, NoRoom> {
        self.runs.rewrite(&self.base, found, run_of(found), bytes)
    }

    fn free(&self, found: &Found<'_>) -> bool {
        self.runs.free(&self.base, found, run_of(found))
    }

    fn migrate(&self, found: &Found<'_>) -> Result<usize, FrameMigrateError> {
        self.runs.migrate(&self.base, run_of(found).0)
    }

    fn has_deferred(&self) -> bool {
        self.runs.has_deferred()
    }

    fn drain_deferred(&self) -> bool {
        self.runs.drain_deferred()
    }

    fn compact_objects(&self, _budget: usize, _wanted: u64) -> CompactReport {
        CompactReport::default()
    }

    fn trim_tables(&self) -> usize {
        self.runs.trim()
    }

    fn account(&self, _stats: &mut Stats) {}

    fn audit(&self, audit: &mut Audit<'_>) -> Result<(), String> {
        self.runs.audit(audit)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let packing = Plain::new(PoolConfig::new(8 << 20, Box::new(HeapSource::new())))?;
    let pool: Box<dyn Pool> = Box::new(Engine::new(packing)?);
    let handle = pool.store(b"cold bytes")?;
    // A write beside an open read goes to another run; the open read keeps the old bytes.
    pool.read(handle, &mut |slices| {
        assert_eq!(pool.write(handle, b"new bytes!"), Ok(()));
        assert_eq!(slices.to_vec(), b"cold bytes");
    })?;
    assert_eq!(pool.with(handle, |slices| slices.to_vec())?, b"new bytes!");
    assert_eq!(pool.stats().frame_bytes, FRAME_BYTES as u64);
    pool.free(handle)?;
    pool.validate()?;
    Ok(())
}
