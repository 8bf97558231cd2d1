//! Scripts: what an interpreter opens as code, as far as that shows when a file is opened.

use plimsoll_abi::{AllowKey, Reason, access};

use crate::{
    decide::{Object, Origin, decide},
    maps::ALLOW,
};

/// What is known of a file that is opened for reading.
#[derive(Clone, Copy)]
pub struct Candidate {
    /// The file.
    pub object: Object,
    /// Its name ends as code's names do.
    pub named_as_code: bool,
    /// It has an x-bit.
    pub executable: bool,
}

/// Whether an interpreter may not open a file: code that is not the image's, or that the image's evidence does not cover.
/// `dev` and `ino` are the program's that opens it.
#[inline(always)]
pub fn is_unlisted(state: u64, dev: u32, ino: u64, candidate: &Candidate) -> bool {
    let key = AllowKey { allowlist: plimsoll_abi::state::allowlist(state), dev, ino };
    // SAFETY: read at once; entries are removed only after no workload names their allowlist.
    let interprets = unsafe { ALLOW.get(key) }.is_some_and(|entry| entry.access & access::INTERPRETER != 0);
    interprets
        && match candidate.object.origin {
            Origin::Lower => {
                candidate.executable && !matches!(decide(state, &candidate.object, 0).reason, Reason::Listed)
            }
            Origin::Unreadable => true,
            Origin::Written | Origin::Foreign | Origin::Anonymous => candidate.named_as_code || candidate.executable,
        }
}

/// Whether a name ends as code's names do; `last` holds its last eight bytes, the last one uppermost.
#[inline(always)]
pub fn is_code_name(last: u64) -> bool {
    ends(last, b".py")
        || ends(last, b".pyc")
        || ends(last, b".sh")
        || ends(last, b".bash")
        || ends(last, b".pl")
        || ends(last, b".pm")
        || ends(last, b".rb")
        || ends(last, b".js")
        || ends(last, b".mjs")
        || ends(last, b".cjs")
        || ends(last, b".php")
        || ends(last, b".phar")
        || ends(last, b".lua")
        || ends(last, b".tcl")
        || ends(last, b".awk")
        || ends(last, b".jar")
        || ends(last, b".class")
}

#[inline(always)]
fn ends(last: u64, suffix: &[u8]) -> bool {
    let mut wanted = 0_u64;
    for byte in suffix {
        wanted = (wanted >> 8) | u64::from(*byte) << 56;
    }
    let beyond = 64 - 8 * suffix.len() as u32;
    last >> beyond == wanted >> beyond
}
