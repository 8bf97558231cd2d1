//! What of an export is proven, and how.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cause, Fault, Gap, Loss, Numbering, Statement};

/// The newest checkpoint of a numbering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The event that it stands behind.
    pub sequence: u64,
    pub time_unix_ns: u64,
    /// SPIFFE ID of the signer.
    pub id: String,
    /// Whether the authorities that were given vouch for it.
    pub trusted: bool,
}

/// What is known of one numbering.
#[derive(Clone, Debug)]
pub struct Coverage {
    pub numbering: Numbering,
    pub events: u64,
    /// Of them, those that the node has signed: a checkpoint stands behind them, with no gap between.
    pub signed: u64,
    pub checkpoints: u64,
    pub newest: Option<Signed>,
    /// Events removed by retention, before the first one.
    pub removed: u64,
    /// The other gaps.
    pub gaps: Vec<Gap>,
    /// Events since the last gap or checkpoint.
    since: u64,
    lost_stretches: u64,
}

impl Coverage {
    pub(super) fn new(numbering: &Numbering) -> Self {
        Self {
            numbering: numbering.clone(),
            events: 0,
            signed: 0,
            checkpoints: 0,
            newest: None,
            removed: 0,
            gaps: Vec::new(),
            since: 0,
            lost_stretches: 0,
        }
    }

    pub(super) fn event(&mut self, _sequence: u64) {
        self.events += 1;
        self.since += 1;
    }

    pub(super) fn gap(&mut self, gap: Gap) {
        self.since = 0;
        if gap.cause == Cause::Retention {
            self.removed = gap.last - gap.first + 1;
        } else {
            self.gaps.push(gap);
        }
    }

    pub(super) fn sign(&mut self, statement: &Statement, id: &str, trusted: bool) {
        self.signed += std::mem::take(&mut self.since);
        self.checkpoints += 1;
        self.lost_stretches = self.lost_stretches.max(statement.lost_stretches);
        let Statement { sequence, time_unix_ns, .. } = *statement;
        self.newest = Some(Signed { sequence, time_unix_ns, id: id.to_owned(), trusted });
    }

    /// Gaps that nobody who would know has explained.
    pub fn unexplained(&self) -> impl Iterator<Item = &Gap> {
        self.gaps.iter().filter(|gap| gap.cause != Cause::SpoolCorrupt)
    }
}

/// What an export proves.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub numberings: Vec<Coverage>,
    pub losses: Vec<Loss>,
    seen: BTreeSet<(String, String, String)>,
}

impl Report {
    pub(super) fn knows(&self, numbering: &Numbering) -> bool {
        let Numbering { node, boot_id, spool_id, .. } = numbering.clone();
        self.seen.contains(&(node, boot_id, spool_id))
    }

    pub(super) fn add(&mut self, coverage: Coverage) {
        let Numbering { node, boot_id, spool_id, .. } = coverage.numbering.clone();
        self.seen.insert((node, boot_id, spool_id));
        self.numberings.push(coverage);
    }

    /// A collector that calls a gap lost on the node has to agree with what the node signed, where it signed anything.
    pub(super) fn judge(&self) -> Result<(), Fault> {
        let mut nodes: BTreeMap<&str, (u64, Option<u64>)> = BTreeMap::new();
        for coverage in &self.numberings {
            let (count, signed) = nodes.entry(&coverage.numbering.node).or_default();
            *count += coverage.gaps.iter().filter(|gap| gap.cause == Cause::SpoolCorrupt).count() as u64;
            if coverage.newest.is_some() {
                *signed = (*signed).max(Some(coverage.lost_stretches));
            }
        }
        let more =
            nodes.into_values().find_map(|(count, signed)| signed.filter(|signed| count > *signed).zip(Some(count)));
        more.map_or(Ok(()), |(signed, count)| Err(Fault::Accounted { count, signed }))
    }

    /// Gaps that nobody who would know has explained, with their numbering.
    pub fn unexplained(&self) -> impl Iterator<Item = (&Numbering, &Gap)> {
        self.numberings.iter().flat_map(|coverage| coverage.unexplained().map(|gap| (&coverage.numbering, gap)))
    }
}
