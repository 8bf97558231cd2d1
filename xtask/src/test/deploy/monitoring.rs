//! Alert rules and the dashboard: promtool reads every expression, the rules' tests pass, and whatever is asked for is counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::tools::Tools;
use crate::step;

/// The documents of metrics, which tests of the agent and the collector write from what is registered.
const DOCUMENTS: [&str; 2] = ["docs/metrics.md", "docs/metrics-agent.md"];
const PREFIX: &str = "plimsoll_";
/// Labels that whoever scrapes adds, and histograms have.
const ADDED: &[&str] = &["instance", "job", "le", "namespace", "node", "pod"];

/// What was looked at.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) alerts: usize,
    pub(super) tests: usize,
    pub(super) queries: usize,
    pub(super) metrics: usize,
    /// Registered metrics that neither rules nor dashboard ask for.
    pub(super) unused: Vec<String>,
}

pub(super) fn check(tools: &Tools, root: &Path, scratch: &Path) -> Result<Tally> {
    let (rules, tests) = (root.join("deploy/prometheus/rules.yaml"), root.join("deploy/prometheus/tests.yaml"));
    step::quietly(tools.promtool().args(["check", "rules"]).arg(&rules))?;
    step::quietly(tools.promtool().args(["test", "rules"]).arg(&tests))?;
    let alerts = alerts(&read(&rules)?)?;
    let tested = covered(&alerts, &read(&tests)?)?;
    explained(&alerts, &fs::read_to_string(root.join("docs/operations.md"))?)?;
    let queries = queries(&fs::read_to_string(root.join("deploy/grafana/plimsoll.json"))?)?;
    parse(tools, &queries, scratch)?;
    ensure!(parse(tools, &["sum(a".to_owned()], scratch).is_err(), "promtool takes half an expression");
    let known = registered(root)?;
    let expressions: Vec<&str> =
        alerts.values().map(String::as_str).chain(queries.iter().map(String::as_str)).collect();
    let mut used = BTreeSet::new();
    for expression in &expressions {
        used.extend(metrics(expression, &known).with_context(|| format!("in `{expression}`"))?);
    }
    for expression in &expressions {
        counters(expression, root)?;
    }
    let unused = known.keys().filter(|name| !used.contains(*name)).cloned().collect();
    Ok(Tally { alerts: alerts.len(), tests: tested, queries: queries.len(), metrics: used.len(), unused })
}

fn read(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_yaml::from_str(&text).with_context(|| format!("{} is no YAML", path.display()))
}

/// Expressions by the name of their alert.
fn alerts(rules: &Value) -> Result<BTreeMap<String, String>> {
    let groups = rules["groups"].as_array().context("there are no groups of rules")?;
    let all = groups.iter().filter_map(|group| group["rules"].as_array()).flatten();
    all.map(|rule| {
        let text =
            |field: &str| rule[field].as_str().map(str::to_owned).with_context(|| format!("a rule has no {field}"));
        ensure!(rule.pointer("/annotations/summary").is_some(), "{} has no summary", text("alert")?);
        ensure!(rule.pointer("/labels/severity").is_some(), "{} has no severity", text("alert")?);
        Ok((text("alert")?, text("expr")?))
    })
    .collect()
}

/// Each alert is tested to fire, and to be silent. Answers how many tests there are.
fn covered(alerts: &BTreeMap<String, String>, tests: &Value) -> Result<usize> {
    let tests = tests["tests"].as_array().context("there are no tests of rules")?;
    let mut seen: BTreeSet<(&str, bool)> = BTreeSet::new();
    for test in tests.iter().filter_map(|test| test["alert_rule_test"].as_array()).flatten() {
        let fires = test["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty());
        seen.insert((test["alertname"].as_str().unwrap_or_default(), fires));
    }
    for alert in alerts.keys() {
        for fires in [true, false] {
            ensure!(
                seen.contains(&(alert.as_str(), fires)),
                "no test has {alert} {}",
                if fires { "fire" } else { "silent" }
            );
        }
    }
    Ok(tests.len())
}

/// Whoever is woken by an alert finds it in the document.
fn explained(alerts: &BTreeMap<String, String>, document: &str) -> Result<()> {
    let missing = alerts.keys().find(|alert| !document.contains(&format!("`{alert}`")));
    missing.map_or(Ok(()), |alert| bail!("docs/operations.md does not say what to do about {alert}"))
}

/// What the dashboard's panels ask, with its variables filled in.
fn queries(dashboard: &str) -> Result<Vec<String>> {
    let dashboard: Value = serde_json::from_str(dashboard).context("the dashboard is no JSON")?;
    let panels = dashboard.get("panels").and_then(Value::as_array).context("the dashboard has no panels")?;
    let mut queries = Vec::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
        ensure!(!targets.is_empty(), "panel {} asks nothing", panel["title"]);
        for target in targets {
            let text =
                target["expr"].as_str().with_context(|| format!("panel {} has no expression", panel["title"]))?;
            let filled = text.replace("$__rate_interval", "5m").replace("$node", ".*");
            ensure!(!filled.contains('$'), "panel {} has a variable that is not known: {text}", panel["title"]);
            queries.push(filled);
        }
    }
    Ok(queries)
}

/// Has promtool read expressions, as those of recording rules.
fn parse(tools: &Tools, queries: &[String], scratch: &Path) -> Result<()> {
    let rules: Vec<Value> = (0..)
        .zip(queries)
        .map(|(number, query)| serde_json::json!({ "record": format!("panel_{number}"), "expr": query }))
        .collect();
    let file = scratch.join("panels.yaml");
    fs::write(&file, serde_json::json!({ "groups": [{ "name": "panels", "rules": rules }] }).to_string())?;
    step::quietly(tools.promtool().args(["check", "rules"]).arg(&file))
}

/// Metrics by name, each with its label, if it has one, as the documents' tables have them.
fn registered(root: &Path) -> Result<BTreeMap<String, Option<String>>> {
    let mut known = BTreeMap::new();
    for document in DOCUMENTS {
        let text = fs::read_to_string(root.join(document)).with_context(|| format!("cannot read {document}"))?;
        let found = table(&text);
        ensure!(found.len() > 5, "{document} has no table of metrics");
        known.extend(found);
    }
    // Every scrape has it.
    known.insert("up".to_owned(), None);
    Ok(known)
}

fn table(document: &str) -> BTreeMap<String, Option<String>> {
    let word = |cell: &str| Some(cell.trim().trim_matches('`').to_owned()).filter(|word| !word.is_empty());
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.map(|row| row.split('|').collect::<Vec<_>>());
    let mut metrics = BTreeMap::new();
    for cells in cells {
        let [name, kind, label, ..] = cells.as_slice() else { continue };
        let Some(name) = word(name) else { continue };
        if kind.trim() == "histogram" {
            metrics.insert(format!("{name}_bucket"), word(label));
        } else {
            metrics.insert(name, word(label));
        }
    }
    metrics
}

/// The metrics of an expression, all of which must be known, with labels that they have.
fn metrics(expression: &str, known: &BTreeMap<String, Option<String>>) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut rest = expression;
    while let Some(start) = rest.find(part) {
        let (_, from) = rest.split_at(start);
        let end = from.find(|character| !part(character)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        let quoted = rest.get(..start).is_some_and(|before| before.matches('"').count() % 2 == 1);
        rest = after;
        if quoted {
            // A value, up to its closing quote.
            rest = after.split_once('"').map_or("", |(_, after)| after);
            continue;
        }
        let is_metric = word.starts_with(PREFIX) || word == "up";
        if !is_metric {
            continue;
        }
        let Some(label) = known.get(word) else { bail!("nothing counts `{word}`") };
        for matcher in matchers(after) {
            let has = ADDED.contains(&matcher) || label.as_deref() == Some(matcher);
            ensure!(has, "`{word}` has no label `{matcher}`");
        }
        found.insert(word.to_owned());
    }
    Ok(found)
}

/// Every kernel counter that an expression names must be there; patterns with `.*` stand for several.
fn counters(expression: &str, root: &Path) -> Result<()> {
    let document = fs::read_to_string(root.join("docs/metrics-agent.md"))?;
    let known: Vec<&str> = document.lines().filter_map(|line| line.strip_prefix("- `")?.strip_suffix('`')).collect();
    ensure!(known.len() > 5, "docs/metrics-agent.md has no list of the kernel's counters");
    unknown_counter(expression, &known).map_or(Ok(()), |name| bail!("the kernel programs do not count `{name}`"))
}

fn unknown_counter<'a>(expression: &'a str, known: &[&str]) -> Option<&'a str> {
    let named = expression.split("counter=").skip(1).filter_map(|rest| rest.trim_start_matches('~').split('"').nth(1));
    let exists = |name: &&str| match name.strip_prefix(".*") {
        Some(ending) => known.iter().any(|counter| counter.ends_with(ending)),
        None => known.contains(name),
    };
    named.flat_map(|names| names.split('|')).find(|name| !exists(name))
}

/// Names of labels in the braces that follow a metric.
fn matchers(after: &str) -> Vec<&str> {
    let Some(inside) = after.strip_prefix('{').and_then(|inside| inside.split_once('}')).map(|(inside, _)| inside)
    else {
        return Vec::new();
    };
    let outside = inside.split('"').step_by(2);
    outside
        .map(|text| text.trim_matches(|character: char| " ,=!~".contains(character)))
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TABLE: &str = "| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n| `plimsoll_a_total` | counter | `why` | A |\n\
                         | `plimsoll_b` | gauge |  | B |\n| `plimsoll_c_seconds` | histogram |  | C |\n";

    #[test]
    fn what_nothing_counts_is_noticed() {
        let known = table(TABLE);
        let good = r#"sum by (why) (rate(plimsoll_a_total{why=~"x|plimsoll_z", node!=""}[5m])) / plimsoll_b > plimsoll_c_seconds_bucket{le="1"}"#;
        assert_eq!(metrics(good, &known).unwrap().len(), 3);
        for (wrong, words) in [
            ("plimsoll_a", "nothing counts `plimsoll_a`"),
            ("plimsoll_c_seconds_sum", "nothing counts"),
            (r#"plimsoll_b{x="plimsoll_z"} + plimsoll_z"#, "no label `x`"),
            (r#"plimsoll_b{node="1"} + plimsoll_z"#, "nothing counts `plimsoll_z`"),
            (r#"plimsoll_a_total{reason="x"}"#, "no label `reason`"),
        ] {
            let said = metrics(wrong, &known).unwrap_err().to_string();
            assert!(said.contains(words), "{wrong}: {said}");
        }
    }

    #[test]
    fn a_counter_that_the_kernel_has_not_is_noticed() {
        let known = ["exec_denied", "file_denied"];
        assert_eq!(unknown_counter(r#"a{counter=~".*_denied"} + b{counter="exec_denied"}"#, &known), None);
        assert_eq!(unknown_counter(r#"a{node="x",counter=~"exec_denied|exec_refused"}"#, &known), Some("exec_refused"));
        assert_eq!(unknown_counter(r#"a{counter=~".*_refused"}"#, &known), Some(".*_refused"));
    }

    #[test]
    fn an_alert_without_a_test_is_noticed() {
        let rule = json!({ "groups": [{ "rules": [{
            "alert": "A", "expr": "up", "annotations": { "summary": "s" }, "labels": { "severity": "info" },
        }] }] });
        let alerts = alerts(&rule).unwrap();
        let test = |alerts: Value| json!({ "alert_rule_test": [{ "alertname": "A", "exp_alerts": alerts }] });
        let (fires, silent) = (test(json!([{}])), test(json!([])));
        assert_eq!(covered(&alerts, &json!({ "tests": [fires, silent] })).unwrap(), 2);
        assert!(covered(&alerts, &json!({ "tests": [fires] })).unwrap_err().to_string().contains("silent"));
        assert!(covered(&alerts, &json!({ "tests": [silent] })).unwrap_err().to_string().contains("fire"));
        explained(&alerts, "| `A` | look |").unwrap();
        assert!(explained(&alerts, "| `Another` | look |").unwrap_err().to_string().contains("about A"));
        let mut bare = rule.clone();
        bare["groups"][0]["rules"][0]["labels"] = json!({});
        assert!(super::alerts(&bare).is_err());
    }

    #[test]
    fn a_panel_that_asks_nothing_is_noticed() {
        let panel =
            |expr: &str| format!(r#"{{"panels":[{{"type":"row"}},{{"title":"t","targets":[{{"expr":"{expr}"}}]}}]}}"#);
        assert_eq!(queries(&panel("rate(a[$__rate_interval])")).unwrap(), ["rate(a[5m])"]);
        assert!(queries(&panel("a{b='$c'}")).is_err());
        assert!(queries(r#"{"panels":[{"title":"t","targets":[]}]}"#).is_err());
    }
}
