//! Mutual TLS. A program of its own because it starts other programs, and a child that has not yet become `openssl` holds
//! the locks of every database that is open in its parent: tests that stop and restart a collector would trip over them.

#[cfg(test)]
mod agents;
#[cfg(test)]
#[expect(dead_code, reason = "shared with tests that use more of it")]
#[path = "../collector/harness.rs"]
mod harness;
