//! What runs in the kernel. `kernel` reads facts, `label` says whose task it is, `decide` gives the verdict, `emit`
//! reports it, and `code` strings them together for each hook. Nothing here waits for user space.
#![no_std]
#![feature(asm_experimental_arch, core_intrinsics)]
#![expect(
    clippy::inline_always,
    reason = "a call is a new frame and a new verification; the programs are flat on purpose"
)]
#![expect(clippy::cast_possible_truncation, reason = "halves of helpers' words, and sizes far below 2^32")]
#![expect(missing_debug_implementations, reason = "nothing can print in the kernel")]
#![expect(internal_features, reason = "atomic addition has no stable name on this target")]

pub mod cgroup;
pub mod code;
pub mod decide;
mod emit;
pub mod files;
pub mod hardening;
pub mod kernel;
pub mod label;
pub mod maps;
mod mark;
pub mod network;
pub mod rules;
pub mod scripts;
mod stats;
pub mod tamper;
