//! What a test program says about itself in its last line.

use anyhow::{Context as _, Result, ensure};

/// How many tests came to which end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: u32,
    pub(super) failed: u32,
    pub(super) ignored: u32,
}

impl Tally {
    /// Reads the `test result:` lines of `output`. A program that was cut off has none, and one whose exit `status` says
    /// otherwise than its lines is not believed: both are errors.
    pub(super) fn read(output: &str, status: i32) -> Result<Self> {
        let mut sum = Self::default();
        let mut results = 0;
        for line in output.lines().filter_map(|line| line.trim().strip_prefix("test result: ")) {
            sum = sum.plus(&Self::parse(line).with_context(|| format!("cannot read `test result: {line}`"))?);
            results += 1;
        }
        ensure!(results > 0, "the tests ended with status {status} and without a `test result:` line");
        ensure!((status == 0) == (sum.failed == 0), "{} tests failed, but the exit status is {status}", sum.failed);
        Ok(sum)
    }

    /// `ok. 3 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.10s`
    fn parse(line: &str) -> Option<Self> {
        let (_, counts) = line.split_once(". ")?;
        let count = |name: &str| {
            let part = counts.split(';').find_map(|part| part.trim().strip_suffix(name))?;
            part.trim().parse().ok()
        };
        Some(Self { passed: count("passed")?, failed: count("failed")?, ignored: count("ignored")? })
    }

    pub(super) fn plus(&self, other: &Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            ignored: self.ignored + other.ignored,
        }
    }

    /// Nothing failed, nothing was skipped, and something ran unless a filter may have left nothing.
    pub(super) fn is_good(&self, filtered: bool) -> bool {
        self.failed == 0 && self.ignored == 0 && (filtered || self.passed > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "test a ... ok\n\ntest result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.1s\n";
    const BAD: &str =
        "test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";

    #[test]
    fn results_are_read() {
        assert_eq!(Tally::read(GOOD, 0).unwrap(), Tally { passed: 3, failed: 0, ignored: 0 });
        assert_eq!(Tally::read(BAD, 101).unwrap(), Tally { passed: 3, failed: 2, ignored: 1 });
    }

    #[test]
    fn a_program_that_was_cut_off_has_no_result() {
        assert!(Tally::read("test a ... ok\n", 0).is_err());
        assert!(Tally::read("test result: ok. 3 pas", 0).is_err());
    }

    #[test]
    fn a_status_that_says_otherwise_is_an_error() {
        assert!(Tally::read(GOOD, 101).is_err());
        assert!(Tally::read(BAD, 0).is_err());
    }

    #[test]
    fn skipped_or_absent_tests_are_not_good() {
        assert!(Tally { passed: 1, failed: 0, ignored: 0 }.is_good(false));
        assert!(!Tally { passed: 1, failed: 0, ignored: 1 }.is_good(false));
        assert!(!Tally::default().is_good(false));
        assert!(Tally::default().is_good(true));
    }
}
