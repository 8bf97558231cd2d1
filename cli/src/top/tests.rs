use std::time::{Duration, SystemTime, UNIX_EPOCH};

use expect_test::{Expect, expect, expect_file};
use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::Buffer,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
};
use serde_json::{Value, json};

use super::{
    draw,
    figures::Figures,
    fleet::{Answers, Events, Fleet},
    style::Style,
    summary::Summary,
    view::{Action, View},
};
use crate::{events::Stored, nodes::Node};

/// 2026-01-01T00:10:00Z.
const NOW: u64 = 1_767_226_200;

/// What an agent's `/metrics` has, as far as it is read, and some that is not.
const METRICS: &str = include_str!("../../tests/top/agent-metrics.txt");

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn event(sequence: u64, ago: u64, workload: (&str, &str), what: (&str, &str, &str)) -> Stored {
    let (namespace, id) = workload;
    let (verdict, reason, path) = what;
    Stored::of(&json!({
        "node": "node-1", "boot_id": "b", "spool_id": "s", "sequence": sequence,
        "time_unix_ns": (NOW - ago) * 1_000_000_000, "verdict": verdict, "reason": reason, "hook": "exec",
        "file": {"path": path}, "package": if verdict == "allow" { json!({"name": "coreutils"}) } else { Value::Null },
        "evidence": if verdict == "allow" { "package-digest" } else { "none" },
        "image": {"digest": "sha256:aa", "reference": "registry.example/shop/web:1"},
        "workload": {"id": id, "namespace": namespace, "labels": {}, "cgroup": 1},
    }))
}

fn node(name: &str, ago: u64, lost: u64) -> Node {
    let losses = json!([{"cause": "telemetry-ring", "count": lost, "since_unix_ns": 1}]);
    serde_json::from_value(json!({
        "node": name, "agent_version": "0.1.0", "last_seen_unix_ns": (NOW - ago) * 1_000_000_000, "boot_id": "b",
        "spool_id": "s", "last_sequence": 1234, "missing": lost / 2, "losses": losses,
    }))
    .unwrap()
}

fn events() -> Vec<Stored> {
    let shop = ("shop", "0123456789abcdef");
    let mut events: Vec<_> = (1..=90).map(|n| event(n, n, shop, ("allow", "listed", "/usr/bin/ls"))).collect();
    events.push(event(91, 5, shop, ("deny", "written", "/tmp/\u{1b}[2Jx\u{202e}y")));
    events.push(event(92, 7, shop, ("deny", "written", "/tmp/\u{1b}[2Jx\u{202e}y")));
    events.push(event(
        93,
        90_000,
        ("shop", "old"),
        ("deny", "not-listed", "/opt/a/very/long/path/that/does/not/fit/at/all"),
    ));
    events.push(event(94, 300, ("pay", "fedcba9876543210"), ("audit", "not-listed", "/opt/pay/bin/helper")));
    events
}

fn fleet_of(events: Vec<Stored>, window: Duration) -> Fleet {
    let mut fleet = Fleet::new(window, Duration::from_secs(30), 1000);
    let events = Some(Events { found: events, is_all: true, has_more: false });
    let nodes = Some(vec![node("node-1", 2, 0), node("node-2", 7300, 12)]);
    fleet.take(Answers { nodes, events, ..Answers::default() }, now());
    fleet
}

fn fleet() -> Fleet {
    fleet_of(events(), Duration::from_hours(48))
}

fn buffer(fleet: &Fleet, view: &View, (width, height): (u16, u16), style: Style) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let summary = Summary::of(fleet, view, now());
    terminal.draw(|frame| draw::draw(&summary, view, frame.area(), frame.buffer_mut(), style)).unwrap();
    terminal.backend().buffer().clone()
}

fn screen(fleet: &Fleet, view: &View, size: (u16, u16)) -> String {
    draw::lines(&buffer(fleet, view, size, Style::coloured()))
}

fn press(view: &mut View, keys: &str) {
    for key in keys.chars() {
        let code = match key {
            '\t' => KeyCode::Tab,
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            key => KeyCode::Char(key),
        };
        assert_eq!(view.key(KeyEvent::new(code, KeyModifiers::NONE)), Action::Draw);
    }
}

fn stored(name: &str, screen: &str) {
    // The path is taken from this file's directory.
    expect_file![format!("../../tests/top/screens/{name}.txt")].assert_eq(screen);
}

#[test]
fn eighty_columns_are_enough() {
    stored("80x24", &screen(&fleet(), &View::default(), (80, 24)));
}

#[test]
fn a_wide_screen_shows_more() {
    stored("120x30", &screen(&fleet(), &View::default(), (120, 30)));
}

#[test]
fn help_fits() {
    let mut view = View::default();
    press(&mut view, "?");
    stored("help", &screen(&fleet(), &view, (80, 24)));
    press(&mut view, "s");
    assert_eq!(view.sort, View::default().sort, "the key that ends help does nothing else");
}

#[test]
fn an_agent_is_shown_beside() {
    let mut fleet = fleet();
    let figures =
        |text: &str, ago| Figures::read("http://node-1:9464", text, now() - Duration::from_secs(ago)).unwrap();
    fleet.take(Answers { figures: Some(figures(METRICS, 10)), ..Answers::default() }, now());
    let later = METRICS.replace("{counter=\"exec_checked\"} 1000", "{counter=\"exec_checked\"} 1500");
    fleet.take(Answers { figures: Some(figures(&later, 0)), ..Answers::default() }, now());
    stored("agent", &screen(&fleet, &View::default(), (80, 24)));
    assert!(Figures::read("x", "<html>", now()).unwrap_err().to_string().contains("plimsoll_workloads"));
}

#[test]
fn a_collector_that_is_away_is_told_and_what_was_known_stays() {
    let mut fleet = fleet();
    let problem = "cannot reach the collector at `http://127.0.0.1:7480`; is it running, and is --collector its `http` \
                   address?: Connection refused";
    fleet.take(Answers { problems: vec![problem.to_owned()], ..Answers::default() }, now());
    stored("away", &screen(&fleet, &View::default(), (80, 24)));
    assert_eq!(Summary::of(&fleet, &View::default(), now()).code(), 3);
}

#[test]
fn nothing_at_all_is_drawn_too() {
    let fleet = Fleet::new(Duration::from_mins(15), Duration::from_secs(30), 1000);
    stored("nothing", &screen(&fleet, &View::default(), (80, 24)));
    for size in [(1, 1), (10, 3), (80, 5), (300, 100)] {
        screen(&self::fleet(), &View::default(), size);
    }
}

#[test]
fn once_prints_every_row_of_the_screen() {
    let fleet = fleet();
    let view = View::default();
    let text = draw::text(&Summary::of(&fleet, &view, now()), &view, 80, Style::plain());
    stored("once", &text);
}

#[test]
fn keys_sort_and_narrow() {
    let fleet = fleet();
    let mut view = View::default();
    let order = |view: &View| {
        let summary = Summary::of(&fleet, view, now());
        summary.workloads.iter().map(|row| row.id.chars().take(3).collect()).collect::<Vec<String>>().join(" ")
    };
    assert_eq!(order(&view), "012 old fed");
    press(&mut view, "s");
    assert_eq!((view.sort.name(), order(&view).as_str()), ("audited", "fed 012 old"));
    press(&mut view, "ssssr");
    assert_eq!((view.sort.name(), order(&view).as_str()), ("name", "old 012 fed"));
    press(&mut view, "nqp");
    assert_eq!((view.namespace.as_str(), order(&view).as_str()), ("qp", ""), "keys are text while it is typed");
    press(&mut view, "\u{1b}npa\n");
    assert_eq!((view.namespace.as_str(), order(&view).as_str()), ("pa", "fed"));
    let summary = Summary::of(&fleet, &view, now());
    assert_eq!((summary.verdicts.deny.events, summary.verdicts.audit.events), (0, 1));
    press(&mut view, "d\tjjjjjj");
    view.stay_within([1, 1, 2]);
    assert_eq!(view.passed, [0, 0, 0]);
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(view.key(control_c), Action::Quit);
    assert_eq!(view.key(KeyEvent::from(KeyCode::Char('q'))), Action::Quit);
    assert_eq!(view.key(KeyEvent::from(KeyCode::Char(' '))), Action::Ask);
}

#[test]
fn panels_scroll() {
    let mut view = View::default();
    press(&mut view, "\tj");
    let screen = screen(&fleet(), &view, (80, 24));
    let title = screen.lines().find(|line| line.starts_with("DEVIATIONS")).unwrap();
    assert_eq!(title, "DEVIATIONS  2 to 3 of 3, the latest first");
}

#[test]
fn colours_only_repeat_what_words_say() {
    let with = buffer(&fleet(), &View::default(), (80, 24), Style::coloured());
    let without = buffer(&fleet(), &View::default(), (80, 24), Style::plain());
    assert_eq!(draw::lines(&with), draw::lines(&without));
    let is_coloured = |buffer: &Buffer| buffer.content.iter().any(|cell| cell.fg != ratatui::style::Color::Reset);
    assert!(is_coloured(&with) && !is_coloured(&without));
}

#[test]
fn an_event_counts_once_and_leaves_with_the_window() {
    let count = |fleet: &Fleet, at| Summary::of(fleet, &View::default(), at).verdicts.allow.events;
    let mut fleet = fleet_of(events(), Duration::from_mins(15));
    assert_eq!(count(&fleet, now()), 90);
    let again = || Some(Events { found: events(), is_all: false, has_more: false });
    fleet.take(Answers { events: again(), ..Answers::default() }, now());
    assert_eq!(count(&fleet, now()), 90);
    let later = now() + Duration::from_mins(15) - Duration::from_secs(40);
    fleet.take(Answers::default(), later);
    assert_eq!(count(&fleet, later), 40);
    assert!(!fleet.is_partial);
}

#[test]
fn counts_that_are_lower_bounds_say_so() {
    let mut fleet = Fleet::new(Duration::from_hours(1), Duration::from_secs(30), 50);
    let of = |is_all, has_more| Some(Events { found: events(), is_all, has_more });
    fleet.take(Answers { events: of(true, false), ..Answers::default() }, now());
    assert!(fleet.is_partial, "more than the limit came");
    let view = View::default();
    let summary = Summary::of(&fleet, &view, now());
    assert_eq!((summary.code(), summary.verdicts.allow.events + summary.verdicts.deny.events), (1, 50));
    let screen = screen(&fleet, &view, (80, 24));
    expect!["Verdicts  x deny >=2 (0.0/s)   ! audit >=0 (0.0/s)   . allow >=48 (0.8/s)   MORE"]
        .assert_eq(screen.lines().nth(1).unwrap());
    let expected: Expect = expect!["50"];
    expected.assert_eq(&fleet.events().count().to_string());
}

#[test]
fn the_exit_status_says_whether_to_look() {
    let code = |fleet: &Fleet| Summary::of(fleet, &View::default(), now()).code();
    assert_eq!(code(&fleet()), 1);
    let mut quiet = Fleet::new(Duration::from_mins(15), Duration::from_secs(30), 1000);
    let calm: Vec<_> = events().into_iter().filter(|event| event.verdict == "allow").collect();
    let calm = Some(Events { found: calm, is_all: true, has_more: false });
    quiet.take(Answers { events: calm, nodes: Some(vec![node("node-1", 2, 0)]), ..Answers::default() }, now());
    assert_eq!(code(&quiet), 0);
    quiet.take(Answers { nodes: Some(vec![node("node-1", 31, 0)]), ..Answers::default() }, now());
    assert_eq!(code(&quiet), 1, "a silent node");
    quiet.take(Answers { nodes: Some(vec![node("node-1", 1, 1)]), ..Answers::default() }, now());
    assert_eq!(code(&quiet), 1, "a loss");
}
