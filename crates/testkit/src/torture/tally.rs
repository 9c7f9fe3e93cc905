//! What a run did, by kind of operation, and which kinds a pool can have at all.

/// What a pool can do beyond storing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Support {
    /// It moves frames on demand.
    pub migrate: bool,
    /// It hands out contiguous ranges.
    pub claim: bool,
    /// It keeps an order of use and evicts by it.
    pub reclaim: bool,
}

macro_rules! kinds {
    ($($name:ident if $($feature:ident)?, $words:literal;)*) => {
        /// Operations by kind.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Tally {
            $(#[doc = concat!("How often: ", $words, ".")]
            pub $name: u64,)*
        }

        impl Tally {
            /// All operations.
            pub fn total(&self) -> u64 {
                0 $(+ self.$name)*
            }

            /// Adds what another thread did.
            pub(super) fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }

            /// The kinds that a pool with this support can have: words and count.
            pub fn kinds(&self, support: Support) -> Vec<(&'static str, u64)> {
                let all = [$((true $(&& support.$feature)?, $words, self.$name)),*];
                let possible = all.into_iter().filter(|(possible, ..)| *possible);
                possible.map(|(_, words, count)| (words, count)).collect()
            }
        }
    };
}

kinds! {
    store if, "stored";
    out_of_memory if, "refused when full";
    read if, "read";
    write if, "written";
    free if, "freed";
    stale if, "stale handles refused";
    compact if, "compacted";
    trim if, "trimmed";
    set_limit if, "limits set";
    migrate if migrate, "migrated";
    migrate_refused if migrate, "migrations refused";
    claim if claim, "claimed";
    claim_refused if claim, "claims refused";
    claim_freed if claim, "claims given back";
    reclaim if reclaim, "frames reclaimed";
    reclaim_refused if reclaim, "reclaims in vain";
    evict if reclaim, "evicted";
    evict_refused if reclaim, "evictions refused";
    evict_panicked if reclaim, "evictions that panicked";
}

impl Tally {
    /// The kinds that never happened although the pool can have them. A long run has none.
    pub fn missing(&self, support: Support) -> Vec<&'static str> {
        let kinds = self.kinds(support).into_iter();
        kinds.filter(|(_, count)| *count == 0).map(|(words, _)| words).collect()
    }
}
