//! `plimsoll policy simulate --from-collector` against a real collector, page by page.
#![cfg(test)]

#[expect(dead_code, reason = "shared with tests that use more of it")]
#[path = "../../collector/tests/collector/harness.rs"]
mod harness;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use harness::{Harness, batch, deny, within};
use serde_json::Value;

const POLICY: &str = "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata: {name: all}\n\
                      spec:\n  selector: {image: {reference: \"*\"}}\n  mode: Enforce\n";

/// Runs outside of the runtime that serves.
async fn plimsoll(directory: &Path, arguments: &[&str], input: Option<&Path>) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    if let Some(input) = input {
        command.stdin(fs::File::open(input).unwrap());
    }
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collectors_events_of_a_week_are_read_to_the_last_page() {
    let harness = Harness::start().await;
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("policy.yaml"), POLICY).unwrap();
    // More than two pages of this week, and some of an earlier one.
    let (day, now) = (86_400, now());
    let recent = (1..=1_200).map(|n| deny(n, now - 6 * day + n, &format!("/tmp/x{n}")));
    let old = (1_201..=1_300).map(|n| deny(n, now - 30 * day, "/tmp/old"));
    let mut stream = harness.stream().await;
    let events: Vec<_> = recent.chain(old).collect();
    for part in events.chunks(100) {
        within(stream.send(batch("node-1", part.iter().cloned()))).await.unwrap();
    }
    let url = format!("http://{}", harness.server().http_address());
    let ask = ["policy", "simulate", "policy.yaml", "--from-collector", &url, "--json"];

    let (code, text, errors) = plimsoll(directory.path(), &[ask.as_slice(), &["--since", "7d"]].concat(), None).await;
    assert_eq!((code, errors.as_str()), (1, ""), "{text}");
    let week: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&week["events"], &week["denied"], &week["unreadable"]), (&1_200.into(), &1_200.into(), &0.into()));
    let (code, text, _) = plimsoll(directory.path(), &ask, None).await;
    let all: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &all["events"]), (1, &1_300.into()));

    // The same as through a file.
    let stored = ["events", "--collector", &url, "--since", "7d", "--limit", "5000", "--json"];
    let (_, lines, _) = plimsoll(directory.path(), &stored, None).await;
    fs::write(directory.path().join("events.jsonl"), lines).unwrap();
    let from_file = ["policy", "simulate", "policy.yaml", "--events", "-", "--json"];
    let (_, text, _) = plimsoll(directory.path(), &from_file, Some(&directory.path().join("events.jsonl"))).await;
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), week);

    // What is left out is said, and is not called well.
    let cut = [ask.as_slice(), &["--limit", "600"]].concat();
    let (code, text, errors) = plimsoll(directory.path(), &cut, None).await;
    assert_eq!((code, errors.contains("older events of that time that were not read")), (3, true), "{errors}");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["events"], 600);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_not_there_is_no_answer() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("policy.yaml"), POLICY).unwrap();
    let harness = Harness::start().await;
    let url = format!("http://{}", harness.server().http_address());
    let ask = ["policy", "simulate", "policy.yaml", "--from-collector", &url];
    assert_eq!(plimsoll(directory.path(), &ask, None).await.0, 0);
    harness.stop().await;
    let (code, text, errors) = plimsoll(directory.path(), &ask, None).await;
    assert_eq!((code, text.as_str()), (3, ""));
    assert!(errors.contains("cannot reach the collector at"), "{errors}");
    let (code, _, errors) = plimsoll(directory.path(), &["policy", "simulate", "policy.yaml"], None).await;
    assert_eq!((code, errors.contains("--events <FILE>")), (2, true), "{errors}");
}
