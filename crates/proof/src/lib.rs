//! What proves that stored events are those a node sent, in its order, with none left out: the chain, what nodes sign, and
//! files that can be checked without a collector. No I/O.
#![forbid(unsafe_code)]

mod chain;
mod checkpoint;
pub mod export;

pub use self::{
    chain::{LINK_BYTES, Link},
    checkpoint::{CheckpointError, Statement, fingerprint},
};
