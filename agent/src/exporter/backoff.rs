//! How long to wait before the next try.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

const FIRST_MS: u64 = 250;
const LONGEST_MS: u64 = 30_000;

/// Doubles from a quarter of a second to half a minute. Half of each wait is random, so that a fleet whose collector
/// restarts does not come back all at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        let full = LONGEST_MS.min(FIRST_MS << self.tries.min(16));
        self.tries = self.tries.saturating_add(1);
        // Every `RandomState` has other keys, from the operating system's randomness.
        let random = RandomState::new().hash_one(self.tries);
        Duration::from_millis(full / 2 + random % (full / 2 + 1))
    }

    /// Begins anew: the collector has answered.
    pub(super) fn reset(&mut self) {
        self.tries = 0;
    }

    /// Whether nothing has failed since the collector answered.
    pub(super) fn is_first(&self) -> bool {
        self.tries == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_begin_anew() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..50).map(|_| backoff.next().as_millis()).collect();
        assert!((125..=250).contains(&waits[0]), "{waits:?}");
        assert!(waits[10..].iter().all(|wait| (15_000..=30_000).contains(wait)), "{waits:?}");
        backoff.reset();
        assert!(backoff.is_first());
        assert!(backoff.next().as_millis() <= 250);
    }
}
