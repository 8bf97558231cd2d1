//! fapolicyd's rules and files of trust.

use std::{collections::HashMap, path::Path};

use plimsoll_policy::Mode;
use plimsoll_sbom::Sha256;

use super::{Import, Selector, add, path};
use crate::policy::draft::{Addition, Draft};

pub(super) fn file(import: &mut Import<'_>, text: &str) -> anyhow::Result<()> {
    let mut draft = import.draft(None, Selector::default(), Mode::Enforce)?;
    let name = Path::new(&import.file);
    let is_trust = name.extension().is_some_and(|end| end == "trust")
        || name.parent().is_some_and(|parent| parent.ends_with("trust.d"));
    let mut sets = HashMap::new();
    for (line, written) in (1..).zip(text.lines()) {
        let rule = written.trim();
        if rule.is_empty() || rule.starts_with('#') {
            continue;
        }
        if is_trust {
            trust(import, &mut draft, line, rule);
        } else if let Some((name, values)) = rule.strip_prefix('%').and_then(|set| set.split_once('=')) {
            sets.insert(format!("%{name}"), values.split(',').map(|value| value.trim().to_owned()).collect());
        } else {
            let taken = allowed(rule, &sets);
            match taken {
                Ok(additions) => additions.into_iter().for_each(|addition| add(&mut draft.allow, addition)),
                Err(why) => import.leave(line, rule, &why),
            }
        }
    }
    import.policies.push(draft);
    Ok(())
}

/// `PATH SIZE SHA256`; a path may have spaces.
fn trust(import: &mut Import<'_>, draft: &mut Draft, line: usize, rule: &str) {
    let mut words = rule.rsplitn(3, char::is_whitespace);
    let (digest, size, named) = (words.next().unwrap_or_default(), words.next(), words.next().unwrap_or_default());
    let digest = format!("sha256:{}", digest.to_lowercase()).parse::<Sha256>();
    let is_size = size.is_some_and(|size| size.parse::<u64>().is_ok());
    match (path(named.trim()), digest) {
        (Ok(path), Ok(sha256)) if is_size => {
            let reason = "in fapolicyd's file of trust".to_owned();
            add(&mut draft.allow, Addition { path, sha256: Some(sha256), reason });
        }
        (Err(why), _) => import.leave(line, rule, why),
        _ => import.leave(line, rule, "a line of trust is a path, a size and a SHA-256 digest"),
    }
}

/// What a rule allows; nothing for one that says what a policy does anyway.
fn allowed(rule: &str, sets: &HashMap<String, Vec<String>>) -> Result<Vec<Addition>, String> {
    let (subject, object) =
        rule.split_once(" : ").ok_or("rules without ` : ` between subject and object are not read")?;
    let mut words = subject.split_whitespace();
    let decision = words.next().unwrap_or_default();
    let (permissions, subject): (Vec<&str>, Vec<&str>) = words.partition(|word| word.starts_with("perm="));
    let permission = permissions.first().and_then(|word| word.strip_prefix("perm=")).unwrap_or("open");
    let object: Vec<&str> = object.split_whitespace().collect();
    if subject != ["all"] {
        return Err("rules for single programs and users have no counterpart".to_owned());
    }
    if permission == "open" && decision.starts_with("allow") && object == ["all"] {
        // Without file rules, whatever is there may be opened.
        return Ok(Vec::new());
    }
    if permission == "open" {
        return Err("it is about opening files; a policy's file rules deny by path".to_owned());
    }
    if decision.starts_with("deny") {
        let why = "no rule denies a program: name none, and let no evidence allow it";
        // What nothing allows is denied here too.
        return if object == ["all"] { Ok(Vec::new()) } else { Err(why.to_owned()) };
    }
    if !decision.starts_with("allow") {
        return Err(format!("`{decision}` is no decision that is known"));
    }
    if object == ["trust=1"] {
        // What package databases stand behind is `evidence`.
        return Ok(Vec::new());
    }
    objects(&object, sets)
}

fn objects(object: &[&str], sets: &HashMap<String, Vec<String>>) -> Result<Vec<Addition>, String> {
    let (mut named, mut below, mut sha256) = (None, false, None);
    for word in object {
        match word.split_once('=') {
            Some(("path", value)) if named.is_none() => named = Some(value),
            Some(("dir", value)) if named.is_none() => (named, below) = (Some(value), true),
            Some(("filehash" | "sha256hash", value)) => {
                let digest = format!("sha256:{}", value.to_lowercase()).parse::<Sha256>();
                sha256 = Some(digest.map_err(|_unread| format!("`{value}` is no SHA-256 digest"))?);
            }
            Some((name, _)) => return Err(format!("`{name}=` has no counterpart")),
            None => return Err(format!("`{word}` has no counterpart")),
        }
    }
    let named = named.ok_or("it names no path")?;
    let values: Vec<&str> = match sets.get(named) {
        Some(set) => set.iter().map(String::as_str).collect(),
        None => named.split(',').collect(),
    };
    let addition = |value: &str| {
        let path = path(value)?;
        let path = if below { format!("{path}/**") } else { path };
        Ok(Addition { path, sha256, reason: "allowed by fapolicyd's rules".to_owned() })
    };
    values.into_iter().map(addition).collect::<Result<_, &str>>().map_err(str::to_owned)
}
