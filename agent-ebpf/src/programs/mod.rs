//! Kernel programs of hooks beside code loading. Each only names its hook's arguments.

mod hardening;
mod tamper;
