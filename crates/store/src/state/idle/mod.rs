//! The work on idle pages: steps of a pass, and the exchange of pages for clusters and back.

mod change;
mod step;
