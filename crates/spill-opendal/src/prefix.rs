//! Where stores lie: `PREFIX/ID/`, with a random ID.

use std::io;

use pagefold_sys::secret::fill_random;

use crate::error::OpendalError;

const ID_LETTERS: usize = 32;

/// A prefix without empty parts, and with a slash at its end; empty for the top of the service.
///
/// # Errors
/// [`OpendalError::Prefix`].
pub(crate) fn top(prefix: &str) -> Result<String, OpendalError> {
    let parts = prefix.split('/').filter(|part| !part.is_empty());
    let mut top = String::new();
    for part in parts {
        if part == "." || part == ".." {
            return Err(OpendalError::Prefix(prefix.to_owned()));
        }
        top.push_str(part);
        top.push('/');
    }
    Ok(top)
}

pub(crate) fn new_id() -> io::Result<String> {
    let mut id = [0; ID_LETTERS / 2];
    fill_random(&mut id)?;
    Ok(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What is not an ID is not a store's, and no collector touches it.
pub(crate) fn is_id(name: &str) -> bool {
    let is_letter = |letter: u8| letter.is_ascii_digit() || (b'a'..=b'f').contains(&letter);
    name.len() == ID_LETTERS && name.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_cleaned() {
        for (given, expected) in
            [("", ""), ("/", ""), ("a", "a/"), ("/a//b/", "a/b/"), ("a b/c", "a b/c/")]
        {
            assert_eq!(top(given).ok().as_deref(), Some(expected), "{given}");
        }
        assert!(top("a/../b").is_err() && top(".").is_err() && top("..a").is_ok());
    }

    #[test]
    fn an_id_is_random_and_known_as_one() {
        let (id, other) = (new_id().expect("random"), new_id().expect("random"));
        assert!(is_id(&id) && is_id(&other) && id != other);
        for wrong in
            ["", "release", &id[1..], &id.to_uppercase().replace('0', "A"), &format!("{id}0")]
        {
            assert!(!is_id(wrong), "{wrong}");
        }
    }
}
