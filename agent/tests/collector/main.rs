//! The exporter against the real collector: identities, certificates that change, faults.

#[cfg(test)]
mod authority;
#[cfg(test)]
#[expect(dead_code, reason = "shared with tests that use more of it")]
#[path = "../../../collector/tests/collector/harness.rs"]
mod harness;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod proof;
