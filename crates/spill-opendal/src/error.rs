//! Errors of services, as the spill knows them.

use std::{error::Error as _, io};

use opendal::ErrorKind;
use thiserror::Error;

/// The backing could not be made, or the service could not be cleaned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpendalError {
    /// The service's error.
    #[error("the service {how}: {0}", how = how(.0))]
    Service(#[from] opendal::Error),
    /// No threads for calls, or no random bytes.
    #[error("calls of the service cannot be made: {0}")]
    System(#[source] io::Error),
    /// A part of a prefix that some services would follow out of it.
    #[error("`{0}` cannot be a prefix, because `.` and `..` are no names")]
    Prefix(String),
    /// An address that no service of this build has.
    #[error("the address cannot be used: {0}")]
    Address(String),
}

/// What the layer of timeouts says, and the service for Redis while it waits for a connection. OpenDAL has no kind for it.
const TIMEOUTS: [&str; 2] = ["operation timeout reached", "connection request: timeout"];

/// What OpenDAL says of an object that ends before the range, and S3 of one that ends before it begins.
const SHORT: [&str; 2] = ["reader got too little data", "InvalidRange"];

fn how(error: &opendal::Error) -> &'static str {
    if is_timeout(error) { "did not answer in time" } else { "refused, or cannot be reached" }
}

fn is_short(error: &opendal::Error) -> bool {
    let text = error.to_string();
    SHORT.iter().any(|words| text.contains(words))
}

fn is_timeout(error: &opendal::Error) -> bool {
    let mut source = error.source();
    while let Some(inner) = source {
        if inner.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::TimedOut)
        {
            return true;
        }
        source = inner.source();
    }
    let text = error.to_string();
    TIMEOUTS.iter().any(|words| text.contains(words))
}

pub(crate) fn io_error(error: opendal::Error) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::NotFound => io::ErrorKind::NotFound,
        ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
        // The extent ends before the range.
        ErrorKind::RangeNotSatisfied => io::ErrorKind::UnexpectedEof,
        ErrorKind::RateLimited => io::ErrorKind::QuotaExceeded,
        _ if is_short(&error) => io::ErrorKind::UnexpectedEof,
        _ if is_timeout(&error) => io::ErrorKind::TimedOut,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(kind: ErrorKind, text: &str) -> io::ErrorKind {
        io_error(opendal::Error::new(kind, text)).kind()
    }

    #[test]
    fn only_a_missing_answer_is_a_timeout() {
        let late = "io operation timeout reached";
        assert_eq!(kind_of(ErrorKind::Unexpected, late), io::ErrorKind::TimedOut);
        let answer = "503 Service Unavailable: upstream timeout";
        assert_eq!(kind_of(ErrorKind::Unexpected, answer), io::ErrorKind::Other);
        assert_eq!(kind_of(ErrorKind::NotFound, late), io::ErrorKind::NotFound);
        let inner = io::Error::from(io::ErrorKind::TimedOut);
        let error = opendal::Error::new(ErrorKind::Unexpected, "redis").set_source(inner);
        assert_eq!(io_error(error).kind(), io::ErrorKind::TimedOut);
        let short = "reader got too little data";
        assert_eq!(kind_of(ErrorKind::Unexpected, short), io::ErrorKind::UnexpectedEof);
    }
}
