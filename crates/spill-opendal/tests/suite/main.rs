//! Services that the tests start: redis-server, and moto as a server for S3. A missing one is skipped with a message.
//!
//! | module | holds |
//! |---|---|
//! | [`memory`] | what every service does |
//! | [`redis`], [`register`] | a service that cannot list |
//! | [`s3`], [`s3_store`] | a service that lists, with a proxy before it that fails as told |
//! | [`command`] | `pagefold-spill gc`, stores that are killed |
//! | [`servers`], [`proxy`], [`stores`] | driving them |

mod memory;
mod servers;

#[cfg(feature = "command")]
mod command;
#[cfg(feature = "s3")]
mod proxy;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod register;
#[cfg(feature = "s3")]
mod s3;
#[cfg(feature = "s3")]
mod s3_store;
#[cfg(any(feature = "redis", feature = "s3"))]
mod stores;
