//! What a run found, as one line of `name=value`; and the resident memory of the process.

use std::{collections::BTreeMap, fmt, fs, str::FromStr};

/// Named numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures(BTreeMap<String, f64>);

impl Figures {
    /// Notes a number.
    pub(crate) fn put(&mut self, name: &str, value: f64) {
        self.0.insert(name.to_owned(), value);
    }

    /// A number.
    ///
    /// # Panics
    /// If the run did not note it.
    pub fn get(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("the run did not report {name}"))
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.0 {
            write!(f, "{name}={value} ")?;
        }
        Ok(())
    }
}

impl FromStr for Figures {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let pair = |word: &str| {
            let (name, value) = word.split_once('=')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        let pairs = line.split_whitespace().map(|word| pair(word).ok_or_else(|| word.to_owned()));
        pairs.collect::<Result<_, _>>().map(Self)
    }
}

/// The private anonymous memory of this process that is resident, in bytes.
///
/// # Panics
/// Where the kernel does not say it.
pub fn rss_anon() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux has it");
    let kibibytes = line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number");
    kibibytes * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_back_from_their_line() {
        let mut figures = Figures::default();
        figures.put("fill_ns", 12.25);
        figures.put("fill_rss", 1e9);
        assert_eq!(figures.to_string().parse(), Ok(figures));
        assert!("fill_ns=fast".parse::<Figures>().is_err());
    }
}
