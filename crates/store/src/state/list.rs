//! The list of spaces, from their making until they are dropped. Only a space made to be kept lives without a handle.

use std::{collections::BTreeSet, sync::Arc};

use super::{SpaceState, StoreState};
use crate::{config::SpaceKind, error::SpaceError};

impl StoreState {
    pub(crate) fn adopt(
        &self,
        name: Option<String>,
        kind: SpaceKind,
        make: impl FnOnce(String) -> SpaceState,
    ) -> Result<Arc<SpaceState>, SpaceError> {
        let mut spaces = self.spaces.lock();
        let name = match name {
            Some(name) if spaces.iter().any(|space| space.name == name) => {
                // Drops `make` after the lock.
                drop(spaces);
                return Err(SpaceError::NameTaken { name });
            }
            Some(name) => name,
            None => free_name(kind.name(), spaces.iter().map(|space| &*space.name)),
        };
        let space = Arc::new(make(name));
        spaces.push(Arc::clone(&space));
        Ok(space)
    }

    pub(crate) fn forget(&self, space: &SpaceState) {
        self.spaces.lock().retain(|known| !std::ptr::eq(&**known, space));
    }

    pub(crate) fn spaces(&self) -> Vec<Arc<SpaceState>> {
        self.spaces.lock().clone()
    }

    /// The space with the lowest number from `number` on.
    pub(crate) fn space_from(&self, number: u64) -> Option<Arc<SpaceState>> {
        // In the order of their numbers.
        self.spaces.lock().iter().find(|space| space.number >= number).cloned()
    }

    /// By [`SpaceState::number`].
    pub(crate) fn numbered_space(&self, number: u64) -> Option<Arc<SpaceState>> {
        self.space_from(number).filter(|space| space.number == number)
    }

    pub(crate) fn find(&self, name: &str) -> Option<Arc<SpaceState>> {
        self.spaces.lock().iter().find(|space| space.name == name).cloned()
    }

    pub(crate) fn evictable(&self) -> Vec<Arc<SpaceState>> {
        let mut spaces = self.spaces();
        spaces.retain(|space| space.kind == SpaceKind::Ephemeral && space.used() > 0);
        spaces.sort_by_cached_key(|space| std::cmp::Reverse(space.used()));
        spaces
    }

    pub(crate) fn objects_bytes(&self, kind: SpaceKind) -> u64 {
        let spaces = self.spaces.lock();
        spaces.iter().filter(|space| space.kind == kind).map(|space| space.used()).sum()
    }
}

fn free_name<'n>(base: &str, taken: impl Iterator<Item = &'n str>) -> String {
    let number = |name: &'n str| {
        let rest = name.strip_prefix(base)?;
        if rest.is_empty() {
            return Some(1);
        }
        rest.strip_prefix('-')?.parse().ok()
    };
    let taken: BTreeSet<u64> = taken.filter_map(number).collect();
    match (1..).find(|number| !taken.contains(number)) {
        Some(number @ 2..) => format!("{base}-{number}"),
        _ => base.to_owned(),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_least_free_number_makes_the_name() {
        let name = |taken: &[&str]| free_name("persistent", taken.iter().copied());
        assert_eq!(name(&[]), "persistent");
        assert_eq!(name(&["ephemeral", "persistent-2"]), "persistent");
        assert_eq!(name(&["persistent"]), "persistent-2");
        assert_eq!(name(&["persistent-3", "persistent", "persistent-2"]), "persistent-4");
        assert_eq!(
            name(&["persistent", "persistent-02", "persistent-x", "persistent2"]),
            "persistent-3"
        );
    }
}
