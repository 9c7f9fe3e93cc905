//! Words that are gone, with the word that took the place of each: the field's term, or the common one.
//!
//! The test splits every text of the workspace into words, identifiers too (`takeHung`, `take_hung`), and fails on a retired
//! one. The glossary in `docs/ARCHITECTURE.md` has the words that are in use.

use std::{fs, path::Path};

use walkdir::{DirEntry, WalkDir};

use crate::workspace;

/// A retired word or phrase, in all its forms.
struct Retired {
    forms: &'static [&'static str],
    say: &'static str,
    /// Where it is retired: the beginnings of paths below the workspace.
    within: &'static [&'static str],
}

const EVERYWHERE: &[&str] = &[""];

const RETIRED: &[Retired] = &[
    Retired {
        forms: &["attend", "attends", "attended", "attention"],
        say: "deferred work, drain_deferred",
        within: EVERYWHERE,
    },
    Retired {
        forms: &["hung", "carrier", "carriers"],
        say: "pending list, push_pending, proxy index",
        within: EVERYWHERE,
    },
    Retired { forms: &["captured"], say: "isolated free page", within: &["crates/frame"] },
    Retired { forms: &["doomed"], say: "frames to free", within: EVERYWHERE },
    Retired { forms: &["draft", "drafts"], say: "block reservation", within: &["crates", "docs"] },
    Retired { forms: &["ballast"], say: "overwrite reserve", within: EVERYWHERE },
    Retired { forms: &["bell", "bells"], say: "wakeup, notify", within: EVERYWHERE },
    Retired { forms: &["unread"], say: "read error", within: &["crates/store", "docs"] },
    Retired { forms: &["patience"], say: "wait", within: EVERYWHERE },
    Retired {
        forms: &["settle", "settles", "settled"],
        say: "unlock and relist",
        within: &["crates", "docs"],
    },
    Retired { forms: &["tenant", "tenants"], say: "space", within: EVERYWHERE },
    Retired { forms: &["frontier"], say: "high-water mark", within: EVERYWHERE },
    Retired { forms: &["census"], say: "count", within: EVERYWHERE },
    Retired { forms: &["brim"], say: "limit", within: EVERYWHERE },
    Retired { forms: &["strike", "strikes", "struck"], say: "inject", within: EVERYWHERE },
    Retired { forms: &["canary", "canaries"], say: "injected bug", within: EVERYWHERE },
    Retired { forms: &["flaw", "flaws"], say: "mutant, injected bug", within: EVERYWHERE },
    Retired {
        forms: &["whoever", "somebody", "nobody", "anybody"],
        say: "the actor's name",
        within: EVERYWHERE,
    },
    Retired {
        forms: &["let go", "lets go", "as good", "but for", "times less", "what is more"],
        say: "a plain sentence",
        within: EVERYWHERE,
    },
];

/// Texts that name retired words because that is what they are about.
const ABOUT_WORDS: &[&str] = &["xtask/tests/house/words.rs", "CHANGELOG.md"];

const EXTENSIONS: &[&str] = &["rs", "md", "toml", "sh", "py", "html", "css", "js", "txt"];

/// The words of a text, lower case, identifiers taken apart.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for character in line.chars() {
        let begins =
            !character.is_alphabetic() || (character.is_uppercase() && before.is_lowercase());
        if begins && !words.last().is_some_and(String::is_empty) {
            words.push(String::new());
        }
        if character.is_alphabetic() {
            words.last_mut().expect("never empty").extend(character.to_lowercase());
        }
        before = character;
    }
    words.retain(|word| !word.is_empty());
    words
}

fn is_of_the_project(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    let hidden = entry.depth() > 0 && name.starts_with('.') && name != ".ci" && name != ".cargo";
    !hidden && name != "target"
}

/// What is wrong with a text.
fn complaints(path: &Path, text: &str) -> Vec<String> {
    let shown = path.to_string_lossy();
    let bound: Vec<(&str, Vec<String>, &str)> = RETIRED
        .iter()
        .filter(|retired| retired.within.iter().any(|prefix| shown.starts_with(prefix)))
        .flat_map(|retired| retired.forms.iter().map(|form| (*form, words(form), retired.say)))
        .collect();
    let mut complaints = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let words = words(line);
        for (form, parts, say) in &bound {
            if words.windows(parts.len()).any(|window| window == parts.as_slice()) {
                complaints.push(format!("{shown}:{}: {form}; say: {say}", number + 1));
            }
        }
    }
    complaints
}

#[test]
fn no_retired_word_is_left() {
    let root = workspace();
    let mut found = Vec::new();
    let mut texts = 0;
    for entry in WalkDir::new(&root).into_iter().filter_entry(is_of_the_project) {
        let entry = entry.expect("the workspace can be read");
        let path = entry.path().strip_prefix(&root).expect("below the workspace");
        let is_text =
            path.extension().is_some_and(|it| EXTENSIONS.iter().any(|known| it == *known));
        let is_script = path.starts_with(".ci");
        if !entry.file_type().is_file()
            || !(is_text || is_script)
            || ABOUT_WORDS.iter().any(|about| path == Path::new(about))
        {
            continue;
        }
        let text = fs::read_to_string(entry.path()).expect("a text of the project is UTF-8");
        texts += 1;
        found.extend(complaints(path, &text));
    }
    assert!(texts > 100, "only {texts} texts were found");
    assert!(found.is_empty(), "{} retired words:\n{}", found.len(), found.join("\n"));
}

#[test]
fn a_retired_word_is_found_in_any_form() {
    let at = |path: &str, line: &str| complaints(Path::new(path), line).len();
    assert_eq!(at("crates/pool/src/a.rs", "fn takeHung() { take_hung(HUNG) }"), 1);
    assert_eq!(at("docs/A.md", "Nobody lets  go of it."), 2);
    assert_eq!(at("docs/A.md", "Draftsmen change; a hunger; the target."), 0);
    assert_eq!(at("crates/pool/src/a.rs", "captured"), 0);
    assert_eq!(at("crates/frame/src/a.rs", "captured"), 1);
}
