//! Removes what stores left behind that died.

use std::{collections::BTreeSet, time::Duration};

use opendal::{ErrorKind, Operator};

use crate::{
    backing::runtime,
    error::OpendalError,
    home::{delete_all, remove},
    lease::{LEASE, LEASE_INTERVAL, Lease, now},
    names::{Counts, Name},
    options::{Calls, Options},
    prefix, register,
};

/// A lease that is younger is not held against a store.
pub(crate) const AGE_MIN: Duration = Duration::from_secs(4 * LEASE_INTERVAL.as_secs());
/// Beyond the counts of a lease, so many names in a row must be free before the search ends.
const FREE_NAMES: u32 = 64;

/// What a collector does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct CollectOptions {
    older_than: Duration,
    dry_run: bool,
    calls: Options,
}

impl CollectOptions {
    /// The least and the default of [`older_than`](Self::older_than): two minutes. A living store gives a sign each 30 s.
    pub const OLDER_THAN_MIN: Duration = AGE_MIN;

    /// Stores count as dead that gave no sign of life for this time.
    pub fn older_than(self, age: Duration) -> Self {
        Self { older_than: age.max(AGE_MIN), ..self }
    }

    /// Only looks, and changes nothing.
    pub fn dry_run(self, dry_run: bool) -> Self {
        Self { dry_run, ..self }
    }

    /// How calls go.
    pub fn calls(self, calls: Options) -> Self {
        Self { calls, ..self }
    }
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self { older_than: AGE_MIN, dry_run: false, calls: Options::default() }
    }
}

/// What a collector found of a store, and did.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fate {
    /// It gave a sign of life.
    Alive,
    /// It was dead, and is gone.
    Removed,
    /// It is dead, and stays: this was a dry run.
    Dead,
    /// It has no readable lease: it is ending, or the service lost that. It gets one now; if it does not renew that, it is dead for a collector that comes
    /// later.
    Unsure,
    /// It is dead and could not be removed, or its lease could not be read.
    Failed(opendal::Error),
}

/// A store that a collector found.
#[derive(Debug)]
#[non_exhaustive]
pub struct FoundStore {
    /// Its part of the prefix.
    pub id: String,
    /// Its last sign of life, in seconds of the Unix epoch; `None` without a readable lease.
    pub seen: Option<u64>,
    /// What became of it.
    pub fate: Fate,
}

/// What [`collect`] found, by ID.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Collected {
    /// Each store once.
    pub stores: Vec<FoundStore>,
}

impl Collected {
    /// Stores that live.
    pub fn alive(&self) -> usize {
        self.count(|fate| matches!(fate, Fate::Alive))
    }

    /// Stores that were removed.
    pub fn removed(&self) -> usize {
        self.count(|fate| matches!(fate, Fate::Removed))
    }

    /// Stores of this fate.
    pub fn count(&self, mut is: impl FnMut(&Fate) -> bool) -> usize {
        self.stores.iter().filter(|store| is(&store.fate)).count()
    }
}

/// Looks for stores below `prefix`, and removes what those left behind that died. Blocks its thread, which must be no worker of an
/// asynchronous runtime.
///
/// It finds a store by listing; where a service cannot list, such as Redis, by a register that stores keep below the prefix, and what a store has then by
/// the count in its lease. It touches nothing that has no store's name.
///
/// The clocks of the machines must agree to less than the age: a store whose machine is two minutes behind looks dead at once, and if it is removed, its
/// pages are errors of their keys. A store that was stopped for so long, and goes on, has the same. A clock that is set back makes no store look
/// dead.
///
/// # Errors
/// [`OpendalError`], if it could not be found which stores there are. Errors of one store are in its [`Fate`], and the others go on.
///
/// # Concurrency
/// Any number of collectors and stores beside each other. A store that begins is not touched: its lease is there first. A collector that takes a
/// dead store out of the register may lose the entry of one that begins just then; that enters itself again one second later, see
/// [`crate`].
pub fn collect(
    operator: Operator,
    prefix: &str,
    options: CollectOptions,
) -> Result<Collected, OpendalError> {
    let top = prefix::top(prefix)?;
    let calls = Calls::new(operator, options.calls);
    runtime().map_err(OpendalError::System)?.block_on(async {
        let mut collected = Collected::default();
        for id in stores(&calls, &top).await? {
            collected.stores.push(look_at(&calls, &top, id, options).await);
        }
        Ok(collected)
    })
}

async fn stores(calls: &Calls, top: &str) -> opendal::Result<BTreeSet<String>> {
    if !calls.can_list() {
        return register::all(calls, top).await;
    }
    let entries = match calls.operator.list(top).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let ids = entries.iter().filter_map(|entry| entry.path().strip_prefix(top)?.strip_suffix('/'));
    Ok(ids.filter(|id| prefix::is_id(id)).map(str::to_owned).collect())
}

async fn look_at(calls: &Calls, top: &str, id: String, options: CollectOptions) -> FoundStore {
    let path = format!("{top}{id}/{LEASE}");
    let lease = match calls.operator.read(&path).await {
        Ok(text) => Lease::parse(&text.to_vec()),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return FoundStore { id, seen: None, fate: Fate::Failed(error) },
    };
    let Some(lease) = lease else {
        let marked = if options.dry_run { Ok(()) } else { mark(calls, top, &id, &path).await };
        let fate = marked.map_or_else(Fate::Failed, |()| Fate::Unsure);
        return FoundStore { id, seen: None, fate };
    };
    let fate = if lease.seen.saturating_add(options.older_than.as_secs()) > now() {
        Fate::Alive
    } else if options.dry_run {
        Fate::Dead
    } else {
        let removed = remove_dead(calls, top, &id, lease.counts.unwrap_or_default()).await;
        removed.map_or_else(Fate::Failed, |()| Fate::Removed)
    };
    FoundStore { id, seen: Some(lease.seen), fate }
}

/// Gives a lease to a store without one, and an entry: another collector may have taken that out.
async fn mark(calls: &Calls, top: &str, id: &str, path: &str) -> opendal::Result<()> {
    let lease = Lease { seen: now(), counts: None };
    calls.operator.write(path, lease.text()).await?;
    if !calls.can_list() {
        register::add(&calls.operator, top, id).await?;
    }
    Ok(())
}

async fn remove_dead(calls: &Calls, top: &str, id: &str, counts: Counts) -> opendal::Result<()> {
    if !calls.can_list() {
        // A lease that came late has old counts, and a collector's has none.
        let path = format!("{top}{id}/");
        remove_beyond(calls, &path, counts.slots, Name::Slot).await?;
        remove_beyond(calls, &path, counts.again, Name::Again).await?;
    }
    remove(calls, top, id, counts).await
}

/// Removes names from `from` on, until many in a row are free.
async fn remove_beyond(
    calls: &Calls,
    path: &str,
    from: u32,
    name: impl Fn(u32) -> Name,
) -> opendal::Result<()> {
    let (mut free, mut found) = (0, Vec::new());
    for number in from.. {
        let path = format!("{path}{}", name(number));
        if calls.operator.exists(&path).await? {
            free = 0;
            found.push(path);
        } else {
            free += 1;
            if free == FREE_NAMES {
                break;
            }
        }
    }
    delete_all(calls, found).await
}
