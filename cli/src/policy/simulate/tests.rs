use std::io::{self, Read};

use expect_test::expect;
use plimsoll_policy::{Limits, Policy, parse_all};
use serde_json::{Value, json};

use super::{read::read, report::Report, verdicts};

fn policies(rest: &str) -> Vec<Policy> {
    let text = format!(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata: {{name: shop}}\n\
         spec:\n  selector: {{namespace: shop}}\n{rest}"
    );
    parse_all("policy.yaml", text.as_bytes(), &Limits::default()).unwrap()
}

fn event(hook: &str, verdict: &str, reason: &str, more: &Value) -> Value {
    let mut event = json!({
        "node": "n", "hook": hook, "verdict": verdict, "reason": reason, "evidence": "none", "package": null,
        "image": {"digest": "sha256:00", "reference": "registry.example/shop/cart:1"}, "network": null, "operation": "",
        "workload": {"id": "w1", "namespace": "shop", "labels": {}, "cgroup": 7},
        "file": {"path": "", "path_is_name_only": false, "origin": "unspecified", "sha256": ""},
        "process": {"comm": "cart"},
    });
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

fn exec(path: &str, origin: &str, evidence: &str, verdict: &str, reason: &str) -> Value {
    let file = json!({"path": path, "path_is_name_only": false, "origin": origin, "sha256": ""});
    event("exec", verdict, reason, &json!({"file": file, "evidence": evidence}))
}

/// Gives at most so many bytes at once.
struct Drops<'a>(&'a [u8], usize);

impl Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.1);
        self.0.read(&mut buffer[..length])
    }
}

fn report(rest: &str, text: &str) -> Report {
    let stored = read(text.as_bytes()).unwrap();
    Report::new(&stored, &verdicts::of(&policies(rest), &stored).unwrap())
}

fn lines(events: &[Value]) -> String {
    events.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n") + "\n"
}

fn value(rest: &str, events: &[Value]) -> Value {
    serde_json::to_value(report(rest, &lines(events))).unwrap()
}

#[test]
fn what_would_be_denied_is_told_by_workload_package_and_rule() {
    let address = json!({"network": {"address": "203.0.113.9", "port": 443, "protocol": "tcp"}});
    let mut elsewhere = exec("/tmp/y", "dropped", "none", "allow", "listed");
    elsewhere["workload"]["namespace"] = json!("other");
    let mut owned = exec("/usr/bin/tool", "image-file", "package-path", "allow", "listed");
    owned["package"] = json!({"name": "tools", "version": "1", "purl": ""});
    let events = [
        exec("/usr/bin/cart", "image-file", "package-digest", "allow", "listed"),
        owned.clone(),
        owned,
        exec("/tmp/x1", "dropped", "none", "audit", "written"),
        exec("/tmp/x2", "dropped", "none", "deny", "written"),
        event("connect", "allow", "listed", &address),
        event("operation", "deny", "forbidden", &json!({"operation": "mount"})),
        elsewhere,
    ];
    let report = report("  mode: Enforce\n  network: {}\n", &lines(&events));
    assert_eq!(report.code(), 1);
    expect![[r"
                8 events
                5 would be denied, 4 of them went ahead so far
                0 would be reported, and go ahead
                3 would go ahead, 1 of them without a policy
                1 were denied, and would no longer be

                2 deny exec (written), 1 new
                  workload w1 in shop, package -
                  policy shop: no policy allows it
                  as /tmp/x1

                2 deny exec (not-listed), 2 new
                  workload w1 in shop, package tools
                  policy shop: its evidence is package-path, the policy accepts package-digest or stronger
                  as /usr/bin/tool

        ... and 1 more rows; --top shows them
    "]]
    .assert_eq(&report.text(2).unwrap());
}

#[test]
fn monitoring_reports_and_denies_nothing() {
    let report = value("  mode: Monitor\n", &[exec("/tmp/x", "dropped", "none", "deny", "written")]);
    assert_eq!((&report["audited"], &report["denied"], &report["no_longer_denied"]), (&json!(1), &json!(0), &json!(1)));
}

#[test]
fn what_events_leave_out_is_not_guessed() {
    let events = [
        exec("/opt/tool", "image-file", "policy", "allow", "listed"),
        exec("/opt/other", "image-file", "policy", "allow", "listed"),
        event("map", "deny", "anonymous-exec", &json!({})),
        event("rename", "allow", "listed", &json!({"file": {"path": "/data/a", "origin": "unspecified"}})),
        event("levitate", "allow", "listed", &json!({})),
    ];
    let rest = "  mode: Enforce\n  files: [{path: /data/b, deny: [Create]}]\n";
    assert_eq!(value(rest, &events)["undecided"], 5);
    // An addition allows it whatever its evidence, if nobody contradicts; with `Deny` memory is not asked about packages.
    let rest = "  mode: Enforce\n  evidence: layer-only\n  anonymousExec: Deny\n";
    let report = value(rest, &events);
    assert_eq!((&report["undecided"], &report["denied"], &report["allowed"]), (&json!(3), &json!(1), &json!(1)));
}

#[test]
fn tampering_is_denied_whatever_a_policy_says() {
    let report = value("  mode: Monitor\n", &[event("tamper", "deny", "tampering", &json!({"operation": "program"}))]);
    assert_eq!((&report["denied"], &report["newly_denied"]), (&json!(1), &json!(0)));
}

#[test]
fn lines_are_whole_wherever_a_read_ends() {
    let events: Vec<_> =
        (0..50).map(|n| exec(&format!("/usr/bin/t{n}"), "image-file", "sbom-digest", "allow", "listed")).collect();
    let text = lines(&events);
    for size in [1, 7, 4096] {
        let stored = read(Drops(text.trim_end().as_bytes(), size)).unwrap();
        assert_eq!((stored.kinds.len(), stored.unreadable), (50, 0), "{size}");
    }
}

#[test]
fn a_line_that_is_no_event_is_counted_and_outweighs_the_rest() {
    let text = format!("{}\n{{\"hook\": 3}}\nnot json\n\n", exec("/tmp/x", "dropped", "none", "deny", "written"));
    let report = report("  mode: Enforce\n", &text);
    assert_eq!(report.code(), 3);
    let report = serde_json::to_value(report).unwrap();
    assert_eq!((&report["unreadable"], &report["events"], &report["denied"]), (&json!(2), &json!(1), &json!(1)));
}

#[test]
fn texts_that_run_into_each_other_are_two_kinds() {
    let one = event("operation", "audit", "forbidden", &json!({"operation": "bpf", "evidence": "a"}));
    let other = event("operation", "audit", "forbidden", &json!({"operation": "bpfa", "evidence": ""}));
    assert_eq!(read(lines(&[one, other]).as_bytes()).unwrap().kinds.len(), 2);
}

#[test]
fn workloads_are_told_apart_though_policies_do_not() {
    let mut events: Vec<_> = (0..3).map(|_| exec("/tmp/x", "dropped", "none", "audit", "written")).collect();
    events[0]["workload"]["id"] = json!("w2");
    let stored = read(lines(&events).as_bytes()).unwrap();
    assert_eq!((stored.kinds.len(), stored.workloads.len()), (1, 2));
    let report = value("  mode: Enforce\n", &events);
    let rows =
        report["deviations"].as_array().unwrap().iter().map(|row| (row["workload"].clone(), row["count"].clone()));
    assert_eq!(rows.collect::<Vec<_>>(), [(json!("w1"), json!(2)), (json!("w2"), json!(1))]);
}
