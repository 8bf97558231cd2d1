//! `plimsoll top` and `plimsoll nodes` against a real collector; `top` in a real terminal, driven by tmux.
#![cfg(test)]

mod asked;
mod door;
#[expect(dead_code, reason = "shared with tests that use more of it")]
#[path = "../../../collector/tests/collector/harness.rs"]
mod harness;
mod screen;
mod terminal;

use std::{process::Command, time::Duration};

use expect_test::expect_file;
use plimsoll_proto::v1;

use door::Door;
use harness::{Harness, batch, deny, within};
use screen::masked;
use terminal::Terminal;

/// 2026-01-01T00:00:00Z; so old that every screen shows it as a day.
const THEN: u64 = 1_767_225_600;

/// Two nodes with deviations in two namespaces, a name that attacks terminals, and a loss.
async fn fleet() -> Harness {
    let harness = Harness::start().await;
    let in_namespace = |mut event: v1::Event, namespace: &str, id: &str| {
        let workload = event.workload.as_mut().unwrap();
        (workload.namespace, workload.id) = (namespace.to_owned(), id.to_owned());
        event
    };
    let denied = (1..=3).map(|n| in_namespace(deny(n, THEN + n, "/tmp/x"), "shop", "w1"));
    let attack = "/tmp/\u{1b}[2J\u{1b}]0;owned\u{7}y\u{202e}z";
    let mut audit = in_namespace(deny(4, THEN + 9, attack), "pay", "w2");
    audit.verdict = v1::Verdict::Audit.into();
    let mut allow = in_namespace(deny(5, THEN + 10, "/usr/bin/ls"), "pay", "w2");
    (allow.verdict, allow.reason) = (v1::Verdict::Allow.into(), v1::Reason::Listed.into());
    let first = batch("node-1", denied.chain([audit, allow]));
    let mut second = batch("node-2", []);
    second.losses.push(v1::LossCount {
        cause: v1::LossCause::QueueFull.into(),
        count: 7,
        since_unix_ns: THEN * 1_000_000_000,
    });
    let mut stream = harness.stream().await;
    stream.send(first).await.unwrap();
    // The stream belongs to one node.
    let mut other = harness.stream().await;
    other.send(second).await.unwrap();
    harness
}

fn url(harness: &Harness) -> String {
    format!("http://{}", harness.server().http_address())
}

/// Runs the program; its status and what it printed.
async fn plimsoll(arguments: &[&str]) -> (i32, String, String) {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let running = tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_plimsoll")).args(arguments).env_remove("PLIMSOLL_COLLECTOR").output().unwrap()
    });
    let output = within(running).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn help_teaches() {
    for (command, taught) in [
        ("top", "plimsoll top --once || echo"),
        ("nodes", "Exit status: 0 every node is heard of"),
        ("unused", "no file in it counts\nas unused"),
        ("report", "never makes anybody compliant"),
    ] {
        let (code, help, _) = plimsoll(&[command, "--help"]).await;
        assert!(code == 0 && help.contains(taught), "{help}");
    }
}

const WINDOW: [&str; 4] = ["--window", "100000d", "--silent-after", "1000d"];

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_the_fleet_and_keys_do_what_help_says() {
    let harness = fleet().await;
    let collector = url(&harness);
    let terminal = Terminal::start(80, 24, &[&["top", "--collector", &collector], &WINDOW[..]].concat());
    // All three panels have their rows.
    terminal.wait("  w1 ").await;
    let first = terminal.wait("node-2").await;
    expect_file!["screens/live.txt"].assert_eq(&masked(&first, &collector));

    terminal.keys(&["?"]);
    let help = terminal.wait("any key goes back").await;
    assert!(help.contains("n           only namespaces"), "{help}");
    terminal.keys(&["x"]);
    terminal.wait("WORKLOADS  2").await;

    terminal.keys(&["n", "p", "a", "y"]);
    terminal.wait("namespaces that contain: pay_").await;
    terminal.keys(&["Enter"]);
    let narrowed = terminal.wait("namespace *pay*").await;
    assert!(narrowed.contains("x deny 0 ") && !narrowed.contains("/tmp/x"), "{narrowed}");

    // Paused, nothing new is shown, though it is asked for; afterwards it is.
    terminal.keys(&["p"]);
    let clock = terminal.wait("PAUSED").await.lines().next().unwrap().to_owned();
    let mut event = deny(6, THEN + 20, "/tmp/later");
    event.workload.as_mut().unwrap().namespace = "pay".to_owned();
    harness.stream().await.send(batch("node-1", [event])).await.unwrap();
    // Its time is long over, so that only a look at the whole window finds it.
    terminal.keys(&["Space", "d"]);
    let paused = terminal.wait("the most frequent first").await;
    assert!(paused.starts_with(&clock) && !paused.contains("/tmp/later"), "{paused}");
    terminal.keys(&["p"]);
    terminal.wait("/tmp/later").await;

    terminal.resize(130, 30);
    let wide = terminal.wait("PACKAGE").await;
    assert!(wide.lines().any(|line| line.contains("WORKLOADS") && line.contains("NODES")), "{wide}");
    terminal.resize(80, 24);

    harness.stop().await;
    terminal.wait("trying again").await;
    terminal.keys(&["q"]);
    assert_eq!(terminal.status().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_trying_until_a_collector_is_there() {
    let harness = fleet().await;
    let door = Door::closed().await;
    let collector = door.url.clone();
    let terminal =
        Terminal::start(80, 24, &[&["top", "--every", "1s", "--collector", &collector], &WINDOW[..]].concat());
    let away = terminal.wait("trying again").await.replace('\n', " ");
    assert!(away.contains("nothing was answered yet") && away.contains("is it running"), "{away}");
    door.open(harness.server().http_address());
    let there = terminal.wait("node-2").await;
    assert!(!there.contains("trying again"), "{there}");
    terminal.keys(&["C-c"]);
    assert_eq!(terminal.status().await, 0);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn once_prints_the_screen_and_its_status_says_whether_to_look() {
    let harness = fleet().await;
    let collector = url(&harness);
    let arguments = [&["top", "--once", "--collector", &collector], &WINDOW[..]].concat();
    let (code, text, errors) = plimsoll(&arguments).await;
    assert_eq!((code, errors.as_str()), (1, ""), "{text}");
    expect_file!["screens/once-real.txt"].assert_eq(&masked(&text, &collector));
    let (code, json, _) = plimsoll(&[&arguments[..], &["--json", "--namespace", "pay"]].concat()).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["verdicts"]["audit"]["events"], &json["losses"]["queue-full"]), (1, &1.into(), &7.into()));

    let (code, nodes, _) = plimsoll(&["nodes", "--collector", &collector]).await;
    assert!(code == 1 && nodes.contains("lost queue-full: 7 since 2026-01-01 00:00:00"), "{nodes}");
    let (_, nodes, _) = plimsoll(&["nodes", "--json", "--collector", &collector]).await;
    let nodes: serde_json::Value = serde_json::from_str(&nodes).unwrap();
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 2);

    harness.stop().await;
    let (code, text, errors) = plimsoll(&arguments).await;
    assert!(code == 3 && errors.contains("cannot reach the collector"), "{errors}");
    assert!(text.contains("nothing was answered yet"), "{text}");
    assert_eq!(plimsoll(&["nodes", "--collector", &collector]).await.0, 3);
    let (code, _, errors) = plimsoll(&["top", "--collector", &collector]).await;
    assert!(code == 2 && errors.contains("--once"), "{errors}");
}

/// How long a condition may take on a crowded machine.
const PATIENCE: Duration = Duration::from_mins(2);
