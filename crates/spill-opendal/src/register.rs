//! Which stores there are, for services that cannot list, such as Redis.
//!
//! ```text
//!  PREFIX/stores-00 .. PREFIX/stores-63    the IDs of stores, a line each; an ID's first byte says where
//! ```
//! A service has no call that adds a line, so a store reads, adds and writes. Two that do so at once may lose one of the lines: each
//! looks again, one second later and then with each renewal of its lease, and adds what is missing. Until then a store that dies is not found; its
//! extents then stay until a person removes them. Many objects make this rare.

use std::{collections::BTreeSet, time::Duration};

use opendal::{ErrorKind, Operator};
use tokio::{task::JoinSet, time::sleep};

use crate::{options::Calls, prefix::is_id};

const REGISTERS: u8 = 64;
/// Rounds of reading and adding before the store leaves it to the next renewal.
const TRIES: u32 = 4;
/// The first check after the first entry.
pub(crate) const CHECK_PAUSE: Duration = Duration::from_secs(1);

fn path(top: &str, number: u8) -> String {
    format!("{top}stores-{number:02}")
}

fn path_of(top: &str, id: &str) -> String {
    let byte = id.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()).unwrap_or(0);
    path(top, byte % REGISTERS)
}

async fn read(operator: &Operator, path: &str) -> opendal::Result<BTreeSet<String>> {
    let text = match operator.read(path).await {
        Ok(text) => text.to_vec(),
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().filter(|line| is_id(line)).map(str::to_owned).collect())
}

async fn write(operator: &Operator, path: &str, ids: BTreeSet<String>) -> opendal::Result<()> {
    if ids.is_empty() {
        return operator.delete(path).await;
    }
    let lines = ids.into_iter().collect::<Vec<_>>().join("\n");
    operator.write(path, lines).await.map(drop)
}

/// Adds a store, unless it is there. Whether it was.
pub(crate) async fn add(operator: &Operator, top: &str, id: &str) -> opendal::Result<bool> {
    let path = path_of(top, id);
    for round in 0..TRIES {
        let mut ids = read(operator, &path).await?;
        if !ids.insert(id.to_owned()) {
            return Ok(round == 0);
        }
        write(operator, &path, ids).await?;
        sleep(Duration::from_millis(u64::from(round))).await;
    }
    Ok(false)
}

/// Takes a store out.
pub(crate) async fn remove(operator: &Operator, top: &str, id: &str) -> opendal::Result<()> {
    let path = path_of(top, id);
    let mut ids = read(operator, &path).await?;
    if ids.remove(id) { write(operator, &path, ids).await } else { Ok(()) }
}

/// All stores that are registered.
pub(crate) async fn all(calls: &Calls, top: &str) -> opendal::Result<BTreeSet<String>> {
    let mut reads = JoinSet::new();
    for number in 0..REGISTERS {
        let (operator, path) = (calls.operator.clone(), path(top, number));
        reads.spawn(async move { read(&operator, &path).await });
    }
    let mut found = BTreeSet::new();
    while let Some(ids) = reads.join_next().await {
        found.extend(ids.map_err(panicked)??);
    }
    Ok(found)
}

/// A task of ours ended without an answer.
pub(crate) fn panicked(error: tokio::task::JoinError) -> opendal::Error {
    opendal::Error::new(ErrorKind::Unexpected, "a call panicked").set_source(error)
}
