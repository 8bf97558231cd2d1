//! What an event or a case says was attempted, put to the reference evaluator.

mod judge;
mod network;

use plimsoll_abi::{Hook, Reason, Verdict};

pub use self::judge::{Image, judge};

/// One attempt, in the words of events (docs/events.md). Text that is not known is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attempt<'a> {
    /// Where it was seen.
    pub hook: Option<Hook>,
    /// Why it was answered as it was, if it was answered before: tells what no other field does.
    pub reason: Option<Reason>,
    /// The file's path; for hooks on files, from the container's root.
    pub path: &'a str,
    /// The other name, for `rename` and `link`.
    pub new_path: &'a str,
    /// `path` lacks its beginning.
    pub name_only: bool,
    /// Where the file came from.
    pub origin: Origin,
    /// Mapped so that its pages can differ from the file; made executable after it was written.
    pub modified: bool,
    /// The task's name.
    pub comm: &'a str,
    /// Address, port, protocol.
    pub network: Option<(&'a str, u16, &'a str)>,
    /// What exactly was asked for.
    pub operation: &'a str,
}

/// Where a file came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// Not known, or no file.
    #[default]
    Unspecified,
    /// Untouched content of the image.
    ImageFile,
    /// Of the image, but changed.
    CopiedUp,
    /// Made since the start.
    Dropped,
    /// On another filesystem.
    Foreign,
}

impl Origin {
    /// Every origin with its name in events.
    pub const NAMED: [(&'static str, Self); 5] = [
        ("unspecified", Self::Unspecified),
        ("image-file", Self::ImageFile),
        ("copied-up", Self::CopiedUp),
        ("dropped", Self::Dropped),
        ("foreign", Self::Foreign),
    ];
}

/// What a policy says to an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it goes ahead.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// What in the policy decides, or what would have to be there.
    pub rule: String,
}

/// Why no answer can be given: what the event leaves out would decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Undecided {
    /// No hook, or one that this version does not know.
    #[error("the hook is not known")]
    Hook,
    /// A file of the image that the image's inventory does not have.
    #[error("the file's evidence is not known")]
    Evidence,
    /// The event does not say where the file came from.
    #[error("the file's origin is not known")]
    Origin,
    /// File rules need the whole path.
    #[error("only a part of the path is known")]
    Path,
    /// An event about two names has one of them.
    #[error("the other name is not known")]
    OtherName,
    /// No address, or none that can be read.
    #[error("the address is not known")]
    Address,
    /// A rule by name would allow it, if a resolver gave the address for that name.
    #[error("the names that the address was given for are not known")]
    Names,
    /// A word for an operation that this version does not know.
    #[error("the operation is not known")]
    Operation,
}
