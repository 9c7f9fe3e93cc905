//! `--files0-from FILE`: inputs from a list in which a zero byte ends each name, as `find -print0` writes it.
//!
//! A file's name may have any other byte, so no other separator is safe. Names are literal: `-` in a list is a file of
//! that name.

use std::{
    ffi::OsString,
    fs, io,
    io::Read as _,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

use crate::estimate::{config::Input, error::ListError};

/// Replaces each list with its paths.
///
/// # Errors
/// [`ListError`].
pub(crate) fn expand(inputs: Vec<Input>) -> Result<Vec<Input>, ListError> {
    let mut expanded = Vec::with_capacity(inputs.len());
    for input in inputs {
        match input {
            Input::List(path) => expanded.extend(read(&path)?.into_iter().map(Input::Path)),
            other => expanded.push(other),
        }
    }
    Ok(expanded)
}

fn read(path: &Path) -> Result<Vec<PathBuf>, ListError> {
    let from_stdin = path.as_os_str() == "-";
    let list = if from_stdin { "standard input".to_owned() } else { path.display().to_string() };
    let bytes = if from_stdin {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    match bytes {
        Ok(bytes) => parse(&bytes, &list),
        Err(error) => Err(ListError::Io { list, error }),
    }
}

/// The last name need not end in a zero byte.
fn parse(bytes: &[u8], list: &str) -> Result<Vec<PathBuf>, ListError> {
    let list = || list.to_owned();
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return Err(ListError::Empty { list: list() });
    }
    let name = |(number, name): (usize, &[u8])| match name {
        [] => Err(ListError::EmptyName { list: list(), number: number + 1 }),
        name => Ok(OsString::from_vec(name.to_vec()).into()),
    };
    bytes.split(|&byte| byte == 0).enumerate().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_byte_ends_a_name_and_nothing_else_does() {
        let names = |bytes: &[u8]| parse(bytes, "list").map_err(|error| error.to_string());
        assert_eq!(names(b"a\0b c\nd\0"), Ok(vec!["a".into(), "b c\nd".into()]));
        assert_eq!(
            names(b"-\0/\xff"),
            Ok(vec!["-".into(), OsString::from_vec(b"/\xff".to_vec()).into()])
        );
        for nothing in [&b""[..], b"\0"] {
            assert!(names(nothing).is_err_and(|text| text.contains("lists no file")));
        }
        assert!(names(b"a\0\0b\0").is_err_and(|text| text.contains("name 2 is empty")));
    }
}
