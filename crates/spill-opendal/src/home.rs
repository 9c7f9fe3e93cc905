//! What one store has in the service: its objects, its lease and its entry in the register.

use std::sync::{Mutex, PoisonError};

use opendal::{Buffer, Operator};
use tokio::{sync, task::JoinSet, time::sleep};

use crate::{
    lease::{Clock, LEASE, LEASE_INTERVAL, Lease, announced},
    names::{Counts, Name, Names},
    options::{Calls, RETRY_PAUSE},
    register,
};

#[derive(Debug)]
pub(crate) struct Home {
    calls: Calls,
    /// With a slash at its end, or empty.
    top: String,
    id: String,
    /// Where its objects lie; with a slash at its end.
    pub(crate) path: String,
    names: Mutex<Names>,
    /// What the lease says. Held while it is written.
    announced: sync::Mutex<Counts>,
    clock: Clock,
}

impl Home {
    pub(crate) fn new(calls: Calls, top: String, id: String) -> Self {
        let path = format!("{top}{id}/");
        Self {
            calls,
            top,
            id,
            path,
            names: Mutex::default(),
            announced: sync::Mutex::default(),
            clock: Clock::start(),
        }
    }

    fn with_names<R>(&self, then: impl FnOnce(&mut Names) -> R) -> R {
        then(&mut self.names.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn path_of(&self, name: Name) -> String {
        format!("{}{name}", self.path)
    }

    pub(crate) fn operator(&self) -> &Operator {
        &self.calls.operator
    }

    /// Where a slot's extent lies now.
    pub(crate) fn path_of_slot(&self, slot: u32) -> String {
        self.path_of(self.with_names(|names| names.of(slot)))
    }

    /// Writes an extent, each time under a name on which no call has failed.
    pub(crate) async fn write(&self, slot: u32, bytes: Buffer) -> opendal::Result<()> {
        let mut pause = RETRY_PAUSE;
        for round in 0.. {
            let name = self.with_names(|names| names.begin_write(slot));
            self.announce().await?;
            let written = self.calls.once.write(&self.path_of(name), bytes.clone()).await;
            let Err(error) = written else { break };
            self.with_names(|names| names.move_on(slot));
            if round == self.calls.retries || !error.is_temporary() {
                return Err(error);
            }
            sleep(pause).await;
            pause *= 2;
        }
        Ok(())
    }

    pub(crate) async fn discard(&self, slot: u32) -> opendal::Result<()> {
        let name = self.with_names(|names| names.of(slot));
        let deleted = self.calls.once.delete(&self.path_of(name)).await;
        if deleted.is_err() {
            self.with_names(|names| names.move_on(slot));
        }
        deleted
    }

    /// Writes the lease, if the service needs its counts and they do not cover all names in use.
    async fn announce(&self) -> opendal::Result<()> {
        if self.calls.can_list() {
            return Ok(());
        }
        let mut said = self.announced.lock().await;
        let used = self.with_names(|names| names.used());
        if said.cover(used) {
            return Ok(());
        }
        self.write_lease(&mut said, used).await
    }

    async fn write_lease(&self, said: &mut Counts, used: Counts) -> opendal::Result<()> {
        let counts = announced(used);
        let lease = Lease { seen: self.clock.now(), counts: Some(counts) };
        self.operator().write(&format!("{}{LEASE}", self.path), lease.text()).await?;
        *said = counts;
        Ok(())
    }

    async fn renew(&self) -> opendal::Result<()> {
        let mut said = self.announced.lock().await;
        let used = self.with_names(|names| names.used());
        self.write_lease(&mut said, used).await
    }

    /// First the lease: a collector that finds the entry without one takes the store for one in trouble.
    pub(crate) async fn begin(&self) -> opendal::Result<()> {
        self.renew().await?;
        self.register().await
    }

    async fn register(&self) -> opendal::Result<()> {
        if !self.calls.can_list() {
            register::add(self.operator(), &self.top, &self.id).await?;
        }
        Ok(())
    }

    async fn delete_stale(&self) {
        let stale = self.with_names(Names::take_stale);
        let paths: Vec<String> = stale.iter().map(|&name| self.path_of(name)).collect();
        if let Err(error) = delete_all(&self.calls, paths).await {
            tracing::debug!(%error, path = self.path, "old extents stay until later");
            self.with_names(|names| names.add_stale(stale));
        }
    }

    /// Says that the store lives, until the task is dropped.
    pub(crate) async fn live(&self) {
        sleep(register::CHECK_PAUSE).await;
        loop {
            if let Err(error) = self.register().await {
                tracing::warn!(%error, path = self.path, "the store of spilled pages is not registered");
            }
            self.delete_stale().await;
            sleep(LEASE_INTERVAL).await;
            if let Err(error) = self.renew().await {
                tracing::warn!(%error, path = self.path, "the lease of the spilled pages was not renewed");
            }
        }
    }

    /// Removes all that the store has.
    pub(crate) async fn end(&self) -> opendal::Result<()> {
        let used = self.with_names(|names| names.used());
        remove(&self.calls, &self.top, &self.id, used).await
    }
}

/// Removes what a store has, its lease last: what a failure leaves is then found by a collector.
pub(crate) async fn remove(
    calls: &Calls,
    top: &str,
    id: &str,
    counts: Counts,
) -> opendal::Result<()> {
    let path = format!("{top}{id}/");
    if calls.can_list() {
        return calls.operator.delete_with(&path).recursive(true).await;
    }
    delete_all(calls, counts.names().map(|name| format!("{path}{name}"))).await?;
    calls.operator.delete(&format!("{path}{LEASE}")).await?;
    register::remove(&calls.operator, top, id).await
}

/// Deletes several at once; ends at the first error.
pub(crate) async fn delete_all(
    calls: &Calls,
    paths: impl IntoIterator<Item = String>,
) -> opendal::Result<()> {
    let mut deletes = JoinSet::new();
    for path in paths {
        if deletes.len() >= calls.concurrency
            && let Some(done) = deletes.join_next().await
        {
            done.map_err(register::panicked)??;
        }
        let operator = calls.operator.clone();
        deletes.spawn(async move { operator.delete(&path).await });
    }
    while let Some(done) = deletes.join_next().await {
        done.map_err(register::panicked)??;
    }
    Ok(())
}
