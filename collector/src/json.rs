//! The protocol's enumerations as words: those of `plimsoll-abi`.

use plimsoll_proto::v1;
use utoipa::openapi::{Object, ObjectBuilder, schema::Type};

/// Words are looked for up to this number; those of the protocol are far below.
const LAST_NUMBER: i32 = 255;
/// What a number is called that only a newer agent knows.
pub(crate) const UNKNOWN: &str = "unknown";

/// The number of an enumeration's value, from its word (`not-listed`). `unspecified` is a word too.
pub(crate) fn number(kind: Kind, word: &str) -> Option<i32> {
    if word.bytes().any(|byte| !byte.is_ascii_lowercase() && byte != b'-') {
        return None;
    }
    let name = format!("{}_{}", kind.prefix(), word.replace('-', "_").to_ascii_uppercase());
    match kind {
        Kind::Verdict => v1::Verdict::from_str_name(&name).map(i32::from),
        Kind::Reason => v1::Reason::from_str_name(&name).map(i32::from),
        Kind::Hook => v1::Hook::from_str_name(&name).map(i32::from),
        Kind::Origin => v1::Origin::from_str_name(&name).map(i32::from),
        Kind::Mode => v1::Mode::from_str_name(&name).map(i32::from),
        Kind::LossCause => v1::LossCause::from_str_name(&name).map(i32::from),
    }
}

/// The word of a number; `unknown` for one that a newer agent sent.
pub(crate) fn word(kind: Kind, number: i32) -> String {
    let name = match kind {
        Kind::Verdict => v1::Verdict::try_from(number).map(|value| value.as_str_name()),
        Kind::Reason => v1::Reason::try_from(number).map(|value| value.as_str_name()),
        Kind::Hook => v1::Hook::try_from(number).map(|value| value.as_str_name()),
        Kind::Origin => v1::Origin::try_from(number).map(|value| value.as_str_name()),
        Kind::Mode => v1::Mode::try_from(number).map(|value| value.as_str_name()),
        Kind::LossCause => v1::LossCause::try_from(number).map(|value| value.as_str_name()),
    };
    let Ok(name) = name else { return UNKNOWN.to_owned() };
    name.trim_start_matches(kind.prefix()).trim_start_matches('_').to_ascii_lowercase().replace('_', "-")
}

/// The protocol's enumerations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Verdict,
    Reason,
    Hook,
    Origin,
    Mode,
    LossCause,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Verdict => "VERDICT",
            Self::Reason => "REASON",
            Self::Hook => "HOOK",
            Self::Origin => "ORIGIN",
            Self::Mode => "MODE",
            Self::LossCause => "LOSS_CAUSE",
        }
    }
}

/// Every word of an enumeration, in the order of its numbers, `unspecified` first.
pub(crate) fn words(kind: Kind) -> Vec<String> {
    (0..=LAST_NUMBER).map(|number| word(kind, number)).filter(|word| word != UNKNOWN).collect()
}

/// What a filter may ask for: every word but `unspecified`, which no stored event has.
pub(crate) fn filter_words(kind: Kind) -> Vec<String> {
    words(kind).split_off(1)
}

/// A word as it is served; `unknown` is one of a newer agent.
fn served(kind: Kind) -> Object {
    let words = words(kind).into_iter().chain([UNKNOWN.to_owned()]);
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).build()
}

pub(crate) fn verdict_schema() -> Object {
    served(Kind::Verdict)
}

pub(crate) fn reason_schema() -> Object {
    served(Kind::Reason)
}

pub(crate) fn hook_schema() -> Object {
    served(Kind::Hook)
}

pub(crate) fn origin_schema() -> Object {
    served(Kind::Origin)
}

pub(crate) fn mode_schema() -> Object {
    served(Kind::Mode)
}

pub(crate) fn cause_schema() -> Object {
    served(Kind::LossCause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_kernel_contract_and_lead_back() {
        for (kind, known, expected) in [
            (Kind::Verdict, 3, "deny"),
            (Kind::Reason, 5, "anonymous-exec"),
            (Kind::Hook, 3, "protect"),
            (Kind::Origin, 1, "image-file"),
            (Kind::Mode, 2, "enforce"),
            (Kind::LossCause, 1, "denial-ring"),
            (Kind::Verdict, 0, "unspecified"),
        ] {
            assert_eq!(word(kind, known), expected);
            assert_eq!(number(kind, expected), Some(known));
        }
        assert_eq!(word(Kind::Reason, 99), UNKNOWN);
        assert_eq!(number(Kind::Reason, "NOT_LISTED"), None);
        assert_eq!(number(Kind::Reason, "not_listed"), None);
    }

    #[test]
    fn every_number_has_its_word_among_the_words() {
        assert_eq!(filter_words(Kind::Verdict), ["allow", "audit", "deny"]);
        let reasons = words(Kind::Reason);
        assert_eq!(reasons.first().unwrap(), "unspecified");
        assert!(reasons.contains(&"too-deep".to_owned()) && !reasons.contains(&UNKNOWN.to_owned()));
        assert_eq!(words(Kind::Hook).last().unwrap(), "tamper");
    }
}
