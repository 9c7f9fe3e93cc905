//! The spaces that a store knows: their names, and handles of them.
//!
//! A store lists each space from its making until it is dropped. A handle keeps its space alive; the list does not, but
//! for a space that was made to be kept, of which it hands out a new handle when there is none.

use std::{collections::BTreeSet, sync::Arc};

use crate::{Space, SpaceError, SpaceKind, Store, inner::Inner, space::Tenant};

impl Store {
    /// The spaces of this moment, in the order in which they were made. Each is a handle, which keeps its space alive.
    ///
    /// # Examples
    /// ```
    /// use pagefold_store::{SpaceConfig, Store};
    ///
    /// let store = Store::builder().limit(16 << 20).build()?;
    /// let (one, two) = (store.space(SpaceConfig::persistent(10))?, store.space(SpaceConfig::persistent(10))?);
    /// let spaces = store.spaces();
    /// let names: Vec<&str> = spaces.iter().map(|space| space.name()).collect();
    /// assert_eq!(names, ["persistent", "persistent-2"]);
    /// # let _ = (one, two);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spaces(&self) -> Vec<Space> {
        let inner = &self.shared().inner;
        let Ok(_operation) = inner.enter() else { return Vec::new() };
        let tenants = inner.tenants();
        tenants.into_iter().filter_map(|tenant| Space::of(self.shared(), tenant)).collect()
    }

    /// The space of this name, if there is one.
    pub fn find_space(&self, name: &str) -> Option<Space> {
        let _operation = self.shared().inner.enter().ok()?;
        let tenants = self.shared().inner.tenants.lock();
        let tenant = tenants.iter().find(|tenant| tenant.name == name).cloned();
        drop(tenants);
        Space::of(self.shared(), tenant?)
    }
}

impl Inner {
    /// Lists a space under the name that is wanted, or one that no other space has.
    pub(crate) fn adopt(
        &self,
        name: Option<String>,
        kind: SpaceKind,
        make: impl FnOnce(String) -> Tenant,
    ) -> Result<Arc<Tenant>, SpaceError> {
        let mut tenants = self.tenants.lock();
        let name = match name {
            Some(name) if tenants.iter().any(|tenant| tenant.name == name) => {
                // What `make` would have used goes after the lock.
                drop(tenants);
                return Err(SpaceError::NameTaken { name });
            }
            Some(name) => name,
            None => free_name(kind.name(), tenants.iter().map(|tenant| &*tenant.name)),
        };
        let tenant = Arc::new(make(name));
        tenants.push(Arc::clone(&tenant));
        Ok(tenant)
    }
}

/// The base itself, or with the least number from 2 on that is in no other name.
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
