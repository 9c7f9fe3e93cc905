//! A program that other people wrote: SQLite, with its page cache in a region of which a quarter is in memory.
//!
//! The same statements run in a process with SQLite's own memory; all answers must be the same, and so must SQLite's own check of the
//! database. SQLite's own speed test is run by `cargo xtask sqlite-speed`, which builds it.
#![cfg(all(target_os = "linux", not(loom)))]

mod speed;

use std::{env, ffi::c_int, fmt::Write as _, process::Command, time::Instant};

use pagefold_region::Region;
use rusqlite::{Connection, ffi};

const IN_REGION: &str = "PAGEFOLD_SQLITE_IN_REGION";
const PAGE: usize = 4096;
/// Of the cache; the database takes most of them.
const SLOTS: usize = 5_000;
const ROWS: u32 = 100_000;

/// Gives SQLite the region as its page cache. Before the first connection.
fn lend(region: &mut Region) {
    let slot = region.len() / SLOTS / 8 * 8;
    let (slot, slots) =
        (c_int::try_from(slot).expect("small"), c_int::try_from(SLOTS).expect("small"));
    // SAFETY: memory of `slot * slots` bytes at most that outlives all connections; no connection is open.
    let set = unsafe {
        ffi::sqlite3_config(ffi::SQLITE_CONFIG_PAGECACHE, region.as_mut_ptr(), slot, slots)
    };
    assert_eq!(set, ffi::SQLITE_OK);
}

/// Pages in the cache that was lent, and bytes of pages that did not fit it.
fn used() -> (i32, i32) {
    let status = |what| {
        let (mut now, mut most) = (0, 0);
        // SAFETY: room for two numbers.
        let asked = unsafe { ffi::sqlite3_status(what, &raw mut now, &raw mut most, 0) };
        assert_eq!(asked, ffi::SQLITE_OK);
        now
    };
    (status(ffi::SQLITE_STATUS_PAGECACHE_USED), status(ffi::SQLITE_STATUS_PAGECACHE_OVERFLOW))
}

/// What SQLite's speed test does, in small: inserts with and without an index, ranges, joins, updates, deletes. The answers.
fn statements(database: &mut Connection) -> rusqlite::Result<String> {
    let mut answers = String::new();
    database.execute_batch(
        "PRAGMA page_size = 4096; PRAGMA cache_size = 20000; PRAGMA temp_store = MEMORY;
         CREATE TABLE one(a INTEGER, b INTEGER, c TEXT); CREATE TABLE two(a INTEGER PRIMARY KEY, b INTEGER, c TEXT);
         CREATE INDEX two_b ON two(b);",
    )?;
    let hash = |number: u32| number.wrapping_mul(2_654_435_761) % 1_000_003;
    let transaction = database.transaction()?;
    {
        let mut one = transaction.prepare("INSERT INTO one VALUES(?1, ?2, ?3)")?;
        let mut two = transaction.prepare("INSERT INTO two VALUES(?1, ?2, ?3)")?;
        for row in 0..ROWS {
            let text =
                format!("row {row} has {} and some words that repeat in each of them", hash(row));
            one.execute((row, hash(row), &text))?;
            two.execute((row, hash(row + 7), &text))?;
        }
    }
    transaction.commit()?;
    database
        .execute_batch("CREATE INDEX one_b ON one(b); UPDATE one SET b = b + 1 WHERE a % 7 = 0;")?;
    let transaction = database.transaction()?;
    for start in (0..1_000_000).step_by(40_000) {
        let sql =
            "SELECT count(*), sum(length(c)), total(b) FROM two WHERE b BETWEEN ?1 AND ?1 + 4000";
        let row: (i64, Option<i64>, f64) = transaction
            .query_row(sql, [start], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let _ = writeln!(answers, "range {start}: {row:?}");
    }
    transaction.execute("DELETE FROM two WHERE a % 5 = 2", ())?;
    transaction.commit()?;
    for sql in [
        "SELECT count(*) || ' ' || sum(one.b * 3 + two.b) FROM one JOIN two ON one.a = two.a WHERE one.b < 300000",
        "SELECT group_concat(a, ',') FROM (SELECT a FROM one ORDER BY c DESC LIMIT 50)",
        "SELECT count(DISTINCT b) FROM one",
        "PRAGMA integrity_check",
    ] {
        let answer: String = database
            .query_row(sql, (), |row| row.get::<_, rusqlite::types::Value>(0))
            .map(|value| format!("{value:?}"))?;
        let _ = writeln!(answers, "{answer}");
    }
    Ok(answers)
}

#[test]
#[ignore = "run by sqlite_in_a_region"]
fn part() {
    let Ok(place) = env::var(IN_REGION) else { return };
    let mut region = (place == "1").then(|| {
        let bytes = SLOTS * (PAGE + 512);
        let region = Region::builder(bytes).resident_limit(bytes / 4).build();
        let mut region = region.expect("a mode that works");
        lend(&mut region);
        region
    });
    let began = Instant::now();
    let mut database = Connection::open_in_memory().expect("memory");
    let answers = statements(&mut database).expect("valid statements");
    eprintln!(
        "{:.2} s, pages in the cache and overflow: {:?}",
        began.elapsed().as_secs_f64(),
        used()
    );
    if let Some(region) = &mut region {
        let (pages, overflow) = used();
        let least = i32::try_from(SLOTS * 4 / 5).expect("small");
        assert!(pages > least, "{pages} pages are in the region");
        assert!(overflow < 1 << 20, "{overflow} bytes are not");
        let stats = region.stats();
        assert!(stats.resident_bytes <= stats.resident_limit_bytes);
        assert!(stats.dropped > 10_000, "{} pages left", stats.dropped);
        eprintln!("{} pages left memory, {} of them clean", stats.dropped, stats.dropped_clean);
    }
    assert!(answers.contains("\"ok\""), "SQLite's own check: {answers}");
    eprintln!("answers\n{answers}");
    drop(database);
}

#[test]
fn sqlite_in_a_region() {
    let run = |place: &str| {
        let mut command = Command::new(env::current_exe().expect("this program"));
        command.args(["part", "--exact", "--ignored", "--nocapture"]).env(IN_REGION, place);
        let output = command.output().expect("this program runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{place}: {text}");
        let (figures, answers) = text.split_once("answers\n").expect("answers");
        eprintln!("in a region: {place}: {figures}");
        answers.to_owned()
    };
    let (own, in_region) = (run("0"), run("1"));
    assert!(own.lines().count() > 28, "{own}");
    assert_eq!(own, in_region);
}
