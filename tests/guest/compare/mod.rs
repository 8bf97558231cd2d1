//! Plimsoll beside fapolicyd, in one guest: what each costs, and what each stops.

mod costs;
mod peer;
mod prevention;

use anyhow::{Result, bail};

/// Begins a line of output that is for the host: one figure or finding, as JSON.
const RESULT: &str = "compare-result ";

/// `what` is `costs`, for a guest whose clock counts instructions, or `prevention`.
pub(crate) fn run(what: Option<&str>) -> Result<()> {
    match what {
        Some("costs") => costs::run(),
        Some("prevention") => prevention::run(),
        other => bail!("compare what? {other:?}"),
    }
}
