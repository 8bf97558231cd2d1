//! Falco's lists and macros, where somebody says that they name what may run.

use std::collections::HashMap;

use anyhow::ensure;
use plimsoll_policy::Mode;

use super::{
    Import, Selector, add,
    document::{Node, Value},
    path,
};
use crate::policy::draft::{Addition, Draft};

/// Lists that name each other.
const MAX_NESTED: usize = 16;

pub(super) fn rules(import: &mut Import<'_>, document: Node) -> anyhow::Result<()> {
    let line = document.line;
    let Value::List(items) = document.value else {
        anyhow::bail!("{}:{line}: not a file of Falco's rules, which is a list", import.file)
    };
    let mut draft = import.draft(None, Selector::default(), Mode::Enforce)?;
    let (mut lists, mut macros) = (HashMap::new(), Vec::new());
    for mut item in items {
        if let Some(name) = item.text("list") {
            lists.insert(name, (item.line, item.items("items")));
        } else if let Some(name) = item.text("macro") {
            macros.push((name, item.line, item.text("condition").unwrap_or_default()));
        } else {
            match item.text("rule") {
                Some(name) => {
                    let why = "rules describe what to report; a policy says what may happen";
                    import.leave(item.line, &format!("rule {name}"), why);
                }
                None => import.leave_rest(item),
            }
            continue;
        }
        import.leave_rest(item);
    }
    let wanted = import.arguments.list.clone();
    for name in &wanted {
        let known = lists.contains_key(name) || macros.iter().any(|(one, ..)| one == name);
        ensure!(known, "{}: no list or macro `{name}`", import.file);
    }
    let unasked = "it is not known whether it names what may run; say so with --list";
    let mut names: Vec<_> = lists.iter().map(|(name, (line, _))| (*line, name.clone())).collect();
    names.sort();
    for (line, name) in names {
        if wanted.contains(&name) {
            list(import, &mut draft, &lists, &name, 0);
        } else {
            import.leave(line, &format!("list {name}"), unasked);
        }
    }
    for (name, line, condition) in macros {
        if wanted.contains(&name) {
            condition_of(import, &mut draft, &lists, (&name, line), &condition);
        } else {
            import.leave(line, &format!("macro {name}"), unasked);
        }
    }
    if !draft.allow.is_empty() {
        import.policies.push(draft);
    }
    Ok(())
}

type Lists = HashMap<String, (usize, Vec<Node>)>;

fn list(import: &mut Import<'_>, draft: &mut Draft, lists: &Lists, name: &str, nested: usize) {
    let Some((line, items)) = lists.get(name) else { return };
    if nested > MAX_NESTED {
        return import.leave(*line, name, "lists name each other too often");
    }
    for item in items {
        match item.as_text() {
            Some(text) => one(import, draft, lists, (name, item.line), text, nested),
            None => import.leave_node(item, "not a name"),
        }
    }
}

/// An item of a list: a path, or another list.
fn one(
    import: &mut Import<'_>,
    draft: &mut Draft,
    lists: &Lists,
    (name, line): (&str, usize),
    text: &str,
    nested: usize,
) {
    if lists.contains_key(text) {
        return list(import, draft, lists, text, nested.saturating_add(1));
    }
    match path(text) {
        Ok(path) => {
            let reason = format!("in Falco's {name}");
            add(&mut draft.allow, Addition { path, sha256: None, reason });
        }
        Err(why) => import.leave(line, &format!("{name}: {text}"), why),
    }
}

/// `proc.exepath in (a, b) or proc.exepath = c`, and nothing else.
fn condition_of(import: &mut Import<'_>, draft: &mut Draft, lists: &Lists, at: (&str, usize), condition: &str) {
    for part in condition.split(" or ").map(|part| part.trim().trim_matches(['\n', ' '])) {
        let words = part.strip_prefix("proc.exepath").map(str::trim_start);
        let list = words.and_then(|rest| rest.strip_prefix("in")?.trim().strip_prefix('(')?.strip_suffix(')'));
        let single = words.and_then(|rest| rest.strip_prefix('=')).filter(|rest| !rest.trim().contains(' '));
        let Some(names) = list.or(single) else {
            let why = "only `proc.exepath in (...)` and `proc.exepath = ...` name programs by their path";
            import.leave(at.1, &format!("macro {}: {part}", at.0), why);
            continue;
        };
        for name in names.split(',').map(|name| name.trim().trim_matches(['"', '\''])) {
            one(import, draft, lists, at, name, 0);
        }
    }
}
