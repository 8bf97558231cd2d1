//! File rules: which path, and what is denied and allowed there.

use std::collections::HashMap;

use plimsoll_abi::operation;

use super::{
    Limits,
    fields::{Fields, closest, quoted, wrong_type},
    report::{Report, Reported},
    shape,
    tree::{Field, Node, Value},
    value,
};
use crate::policy::{FileRule, OPERATIONS};

/// Stands for every operation.
pub(super) const ALL: &str = "All";

/// Reads `files`: no two rules may have the same path, so that none can contradict another.
pub(super) fn rules(field: &Field, limits: &Limits, report: &mut Report<'_>) -> Result<Vec<FileRule>, Reported> {
    let items = field.list(report)?;
    if items.len() > limits.max_files {
        let message = format!("`files` has {} entries, the limit is {}", items.len(), limits.max_files);
        return Err(report.error(field.key_span, message, "name directories with `/**` instead of single files"));
    }
    let mut first_lines = HashMap::new();
    let mut outcomes = Vec::new();
    for item in items {
        let outcome = rule(item, report).and_then(|rule| match first_lines.insert(rule.path.clone(), item.span.line) {
            None => Ok(rule),
            Some(first) => {
                let message = format!("a second rule for {}", quoted(&rule.path.to_string()));
                Err(report.error(item.span, message, format!("add its operations to the rule on line {first}")))
            }
        });
        outcomes.push(outcome);
    }
    outcomes.into_iter().collect()
}

fn rule(item: &Node, report: &mut Report<'_>) -> Result<FileRule, Reported> {
    let fields = Fields::open(item, item.span, &shape::FILE, report)?;
    let path = fields.required("path", "path: /etc/shadow", report).and_then(|path| value::file_path(path, report));
    let deny = fields.optional("deny").map(|field| operations(field, report)).transpose();
    let allow = fields.optional("allow").map(|field| operations(field, report)).transpose();
    let (path, deny, allow) = (path?, deny?.unwrap_or(0), allow?.unwrap_or(0));
    if deny | allow == 0 {
        return Err(fields.empty("a file rule that says nothing", "add for example `deny: [Write, Remove]`", report));
    }
    if let Some((both, _)) = OPERATIONS.iter().find(|(_, bit)| deny & allow & bit != 0) {
        let message = format!("`{both}` is denied and allowed by the same rule");
        return Err(report.error(item.span, message, "keep it in one of the two lists"));
    }
    Ok(FileRule { path, deny, allow, place: report.source().place(item.span) })
}

fn operations(field: &Field, report: &mut Report<'_>) -> Result<u16, Reported> {
    let items = field.list(report)?;
    if items.is_empty() {
        let message = format!("`{}` is empty", field.key);
        return Err(report.error(field.key_span, message, "name an operation, or remove the field"));
    }
    let mut outcome = Ok(0);
    for item in items {
        match (operation_of(item, field, report), outcome) {
            (Ok(bit), Ok(mask)) => outcome = Ok(mask | bit),
            (Err(reported), _) => outcome = Err(reported),
            (Ok(_), Err(_)) => {}
        }
    }
    outcome
}

fn operation_of(item: &Node, field: &Field, report: &mut Report<'_>) -> Result<u16, Reported> {
    let Value::Scalar(scalar) = &item.value else {
        return Err(wrong_type(item, item.span, &format!("an entry of `{}`", field.key), "a string", report));
    };
    let known = OPERATIONS.iter().chain(&[(ALL, operation::ALL)]).find(|(name, _)| *name == scalar.text);
    known.map(|(_, bit)| *bit).ok_or_else(|| {
        let names = OPERATIONS.map(|(name, _)| name);
        let help = match closest(&scalar.text, &[names.as_slice(), &[ALL]].concat()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("write {} or `{ALL}`", names.map(|name| format!("`{name}`")).join(", ")),
        };
        report.error(item.span, format!("{} is no operation on files", quoted(&scalar.text)), help)
    })
}
