//! What must hold in every packing. Each function is the body of a model; `table` says where it runs.

pub(crate) mod free;
pub(crate) mod handles;
pub(crate) mod overwrite;
pub(crate) mod read;
pub(crate) mod upkeep;
