//! Checks an export line by line, in bounded memory, and names the first thing that is wrong.

mod coverage;

use std::{collections::BTreeMap, fmt, sync::Arc};

use plimsoll_identity::{IdentityError, NodeIdentity, Trust, TrustError};
use plimsoll_proto::v1;
use prost::Message as _;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::{Cause, Certificates, Checkpoint, Event, From, Gap, LINE_BYTES, Line, Loss, Numbering, VERSION};
use crate::{CheckpointError, Link, Statement, fingerprint};

pub use self::coverage::{Coverage, Report, Signed};

/// Certificates of one chain.
pub const MAX_CHAIN: usize = 16;
/// Chains of certificates that are remembered; nodes get new ones every hour or so.
const MAX_CERTIFICATES: usize = 1 << 20;

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("the line is damaged: its checksum is another one")]
    Damaged,
    #[error("the line has more than {LINE_BYTES} bytes")]
    TooLong,
    #[error("the line is none of an export")]
    NoLine(#[source] serde_json::Error),
    #[error("the file does not begin like an export; `plimsoll audit export` makes one")]
    NoExport,
    #[error("the export has version {0}, this program knows {VERSION}")]
    Version(u32),
    #[error("the line may not stand here")]
    Order,
    #[error("the numbering is there twice")]
    Twice,
    #[error("event {expected} should be here, not {found}: events are missing, repeated or in another order")]
    Sequence { expected: u64, found: u64 },
    #[error("the event's bytes have another number than the line, or none")]
    Number,
    #[error("the chain is broken: the link after this event is not what its bytes and the link before make")]
    Chain,
    #[error("the chain does not begin with the names of its numbering")]
    Start,
    #[error("there are events up to {last}, and the file ends its numbering at {found}")]
    Short { last: u64, found: u64 },
    #[error("no line above has the checkpoint's certificate")]
    NoCertificate,
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("the checkpoint is about another numbering or event")]
    OtherPlace,
    #[error("the node has signed another link here: what is before this line is not what the node sent")]
    OtherHistory,
    #[error("the checkpoint's certificate names no node")]
    Identity(#[source] IdentityError),
    #[error("the checkpoint's certificate is that of `{0}`")]
    OtherNode(String),
    #[error("the checkpoint's certificate was not good when it was signed, by these authorities")]
    Untrusted(#[source] rustls::Error),
    #[error("the authorities cannot be used")]
    Authorities(#[from] TrustError),
    #[error("{count} gaps are called stretches lost on the node, which has signed that it lost {signed}")]
    Accounted { count: u64, signed: u64 },
    #[error("the file has {found} lines and should have {expected}")]
    Lines { expected: u64, found: u64 },
    #[error("the file breaks off: its last line is missing")]
    NoEnd,
}

/// Where something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub node: String,
    pub boot_id: String,
    pub spool_id: String,
    /// The event, or the one that should be there.
    pub sequence: u64,
}

/// The first thing that is wrong.
#[derive(Debug, thiserror::Error)]
#[error("line {line}{place}: {fault}", place = self.place.as_ref().map_or(String::new(), |place| format!(", {place}")))]
pub struct Broken {
    /// From 1.
    pub line: u64,
    /// `None` outside of any numbering.
    pub place: Option<Box<Place>>,
    #[source]
    pub fault: Fault,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, boot_id, spool_id, sequence } = self;
        write!(f, "node {node:?}, boot {boot_id:?}, spool {spool_id:?}, event {sequence}")
    }
}

/// Checks one file.
#[derive(Clone, Debug)]
pub struct Verifier {
    authorities: Vec<CertificateDer<'static>>,
    /// By trust domain, each with all authorities: an export says nothing about which of them may speak for which.
    trust: BTreeMap<String, Arc<Trust>>,
    certificates: Arc<BTreeMap<String, Vec<CertificateDer<'static>>>>,
    lines: u64,
    begun: bool,
    ended: bool,
    current: Option<Current>,
    report: Report,
}

/// The numbering that lines are about.
#[derive(Clone, Debug)]
struct Current {
    numbering: Numbering,
    /// The next number.
    next: u64,
    /// The link before it; `None` where there is a gap or no chain.
    link: Option<Link>,
    /// Whether an event may come.
    open: bool,
    coverage: Coverage,
}

impl Verifier {
    /// Without authorities, signatures are checked, and who vouches for their certificates is not.
    pub fn new(authorities: Vec<CertificateDer<'static>>) -> Self {
        Self {
            authorities,
            trust: BTreeMap::new(),
            certificates: Arc::default(),
            lines: 0,
            begun: false,
            ended: false,
            current: None,
            report: Report::default(),
        }
    }

    /// Takes the next line, its end included.
    pub fn line(&mut self, line: &[u8]) -> Result<(), Broken> {
        self.lines += 1;
        let fault = match self.take(line) {
            Ok(()) => return Ok(()),
            Err(fault) => fault,
        };
        Err(Broken { line: self.lines, place: self.place(), fault })
    }

    /// Nothing more comes.
    pub fn finish(self) -> Result<Report, Broken> {
        if self.ended {
            return Ok(self.report);
        }
        let fault = if self.begun { Fault::NoEnd } else { Fault::NoExport };
        Err(Broken { line: self.lines + 1, place: self.place(), fault })
    }

    fn place(&self) -> Option<Box<Place>> {
        let Current { numbering, next, .. } = self.current.as_ref()?;
        let Numbering { node, boot_id, spool_id, .. } = numbering.clone();
        Some(Box::new(Place { node, boot_id, spool_id, sequence: *next }))
    }

    fn take(&mut self, line: &[u8]) -> Result<(), Fault> {
        if line.len() > LINE_BYTES {
            return Err(Fault::TooLong);
        }
        let line = line.strip_suffix(b"\n").ok_or(Fault::NoEnd)?;
        let line = match Line::read(line) {
            Err(_) if !self.begun => return Err(Fault::NoExport),
            line => line?,
        };
        match line {
            _ if self.ended => Err(Fault::Order),
            Line::Export(_) if self.begun => Err(Fault::Order),
            Line::Export(head) if head.version != VERSION => Err(Fault::Version(head.version)),
            Line::Export(_) => {
                self.begun = true;
                Ok(())
            }
            _ if !self.begun => Err(Fault::NoExport),
            Line::Numbering(numbering) => self.numbering(numbering),
            Line::Gap(gap) => self.current()?.gap(&gap),
            Line::From(from) => self.current()?.from(&from),
            Line::Event(event) => self.current()?.event(&event),
            Line::Certificates(certificates) => self.certificates(certificates),
            Line::Checkpoint(checkpoint) => self.checkpoint(&checkpoint),
            Line::Loss(loss) => self.loss(loss),
            Line::End(end) if end.lines != self.lines => Err(Fault::Lines { expected: end.lines, found: self.lines }),
            Line::End(_) => {
                self.close()?;
                self.report.judge()?;
                self.ended = true;
                Ok(())
            }
        }
    }

    fn current(&mut self) -> Result<&mut Current, Fault> {
        self.current.as_mut().ok_or(Fault::Order)
    }

    fn numbering(&mut self, numbering: Numbering) -> Result<(), Fault> {
        self.close()?;
        if self.report.knows(&numbering) {
            return Err(Fault::Twice);
        }
        let coverage = Coverage::new(&numbering);
        self.current = Some(Current { numbering, next: 1, link: None, open: false, coverage });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        let Some(current) = &self.current else { return Ok(()) };
        let (last, found) = (current.numbering.last_sequence, current.next - 1);
        if last != found {
            return Err(Fault::Short { last, found });
        }
        if let Some(current) = self.current.take() {
            self.report.add(current.coverage);
        }
        Ok(())
    }

    fn loss(&mut self, loss: Loss) -> Result<(), Fault> {
        self.close()?;
        self.report.losses.push(loss);
        Ok(())
    }

    fn certificates(&mut self, certificates: Certificates) -> Result<(), Fault> {
        let chain = certificates.chain.into_iter().map(|certificate| CertificateDer::from(certificate.0));
        let chain: Vec<_> = chain.collect();
        let own = chain.first().map(|own| hex::encode(fingerprint(own)));
        let bounded = chain.len() <= MAX_CHAIN && self.certificates.len() < MAX_CERTIFICATES;
        let own = own.filter(|_| bounded).ok_or(Fault::Order)?;
        Arc::make_mut(&mut self.certificates).insert(own, chain);
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), Fault> {
        let certificates = Arc::clone(&self.certificates);
        let chain = certificates.get(&checkpoint.certificate).ok_or(Fault::NoCertificate)?;
        let own = chain.first().ok_or(Fault::NoCertificate)?;
        let wire = v1::Checkpoint {
            statement: checkpoint.statement.0.clone(),
            scheme: checkpoint.scheme,
            signature: checkpoint.signature.0.clone(),
        };
        let statement = Statement::open(&wire, own)?;
        let identity = NodeIdentity::of(own).map_err(Fault::Identity)?;
        if identity.node() != statement.node.name {
            return Err(Fault::OtherNode(identity.node().to_owned()));
        }
        self.trusted(chain, identity.trust_domain(), statement.time_unix_ns)?;
        let trusted = !self.authorities.is_empty();
        self.current()?.checkpoint(&statement, &identity.id(), trusted)
    }

    /// Whether the authorities vouched for the certificate when it signed.
    fn trusted(&mut self, chain: &[CertificateDer<'_>], domain: &str, time_unix_ns: u64) -> Result<(), Fault> {
        if self.authorities.is_empty() {
            return Ok(());
        }
        if !self.trust.contains_key(domain) {
            let trust = Trust::new([(domain.to_owned(), self.authorities.clone())].into())?;
            self.trust.insert(domain.to_owned(), Arc::new(trust));
        }
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_nanos(time_unix_ns));
        let verified = self.trust.get(domain).map(|trust| trust.verify(chain, time));
        verified.transpose().map(drop).map_err(Fault::Untrusted)
    }
}

impl Current {
    fn gap(&mut self, gap: &Gap) -> Result<(), Fault> {
        if gap.first != self.next {
            return Err(Fault::Sequence { expected: self.next, found: gap.first });
        }
        // Only the oldest events of a numbering can be too old.
        let misplaced = gap.cause == Cause::Retention && self.next != 1;
        if gap.last < gap.first || gap.last > self.numbering.last_sequence || misplaced {
            return Err(Fault::Order);
        }
        self.next = gap.last + 1;
        (self.link, self.open) = (None, false);
        self.coverage.gap(gap.clone());
        Ok(())
    }

    fn from(&mut self, from: &From) -> Result<(), Fault> {
        let Numbering { node, boot_id, spool_id, chained, .. } = &self.numbering;
        if from.sequence != self.next {
            return Err(Fault::Sequence { expected: self.next, found: from.sequence });
        }
        if self.open || from.chain.is_some() != *chained {
            return Err(Fault::Order);
        }
        if self.next == 1 && from.chain.is_some_and(|link| link != Link::start(node, boot_id, spool_id)) {
            return Err(Fault::Start);
        }
        (self.link, self.open) = (from.chain, true);
        Ok(())
    }

    fn event(&mut self, event: &Event) -> Result<(), Fault> {
        if event.sequence != self.next {
            return Err(Fault::Sequence { expected: self.next, found: event.sequence });
        }
        if !self.open || self.next > self.numbering.last_sequence {
            return Err(Fault::Order);
        }
        let link = self.link.map(|link| link.next(&event.record.0));
        if link != event.chain {
            return Err(Fault::Chain);
        }
        let number = v1::Numbered::decode(&*event.record.0).map_err(|_no_protobuf| Fault::Number)?.sequence;
        if number != event.sequence {
            return Err(Fault::Number);
        }
        self.link = link;
        self.next += 1;
        self.coverage.event(event.sequence);
        Ok(())
    }

    fn checkpoint(&mut self, statement: &Statement, id: &str, trusted: bool) -> Result<(), Fault> {
        let Numbering { node, boot_id, spool_id, .. } = &self.numbering;
        let named = &statement.node;
        let own = (&named.name, &named.boot_id, &named.spool_id) == (node, boot_id, spool_id);
        if !own || statement.sequence != self.next - 1 {
            return Err(Fault::OtherPlace);
        }
        if self.link.ok_or(Fault::Order)? != statement.link {
            return Err(Fault::OtherHistory);
        }
        self.coverage.sign(statement, id, trusted);
        Ok(())
    }
}
