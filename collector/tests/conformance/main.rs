//! The collector against tools that others made: `cargo xtask test collector` installs them and says where.
//!
//! Not among the tests of the workspace (`test = false`), since a test without its tools shows nothing.

#[cfg(test)]
#[path = "../collector/harness.rs"]
#[expect(dead_code, reason = "shared with the tests of the collector, which use more of it")]
mod harness;
#[cfg(test)]
mod ocsf;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod otlp;

/// A program of the virtual environment that `PLIMSOLL_CONFORMANCE` names.
#[cfg(test)]
fn tool(name: &str) -> std::process::Command {
    let directory = std::env::var_os("PLIMSOLL_CONFORMANCE").expect("run `cargo xtask test collector`");
    std::process::Command::new(std::path::Path::new(&directory).join("bin").join(name))
}
