//! The virtual machines in which everything is tested that needs a kernel of its own.
//!
//! A [`vm::Guest`] is a description; running it boots QEMU, runs one command and gives a [`vm::Outcome`]. This library stays
//! light, since `cargo xtask` builds it before anything else exists.

pub mod vm;
