use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    thread::{self, JoinHandle},
};

use clap::Parser as _;
use expect_test::expect;
use serde_json::{Value, json};

use super::*;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn arguments(words: &[&str]) -> Arguments {
    Line::try_parse_from([&["events"], words].concat()).unwrap().arguments
}

/// Answers one request per answer; gives back the request lines.
fn serve(answers: Vec<(u16, String)>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        let serve_one = |(status, body): (u16, String)| {
            let (mut stream, _) = listener.accept().unwrap();
            let lines: Vec<_> =
                BufReader::new(&stream).lines().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
            let length = body.len();
            write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
                .unwrap();
            lines[0].clone()
        };
        answers.into_iter().map(serve_one).collect()
    });
    (url, serving)
}

fn printed(arguments: &Arguments) -> anyhow::Result<String> {
    let mut out = Vec::new();
    print(arguments, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn event(path: &str) -> Value {
    json!({
        "time_unix_ns": 1_767_225_600_001_000_000_u64, "node": "node-1", "verdict": "deny", "reason": "not-listed",
        "hook": "exec", "file": { "path": path }, "package": null, "workload": { "id": "0123456789abcdef" },
    })
}

fn page(events: &[Value], next: &Value) -> (u16, String) {
    (200, json!({ "events": events, "next": next }).to_string())
}

#[test]
fn a_table_cannot_be_abused_to_write_to_the_terminal() {
    let mut owned = event("/usr/bin/curl");
    owned["package"] = json!({ "name": "curl", "version": "8.1" });
    let (url, serving) = serve(vec![page(&[event("/tmp/\u{1b}[2Jx\n\u{202e}y"), owned], &Value::Null)]);
    expect![[r"
        TIME                     NODE    WORKLOAD      VERDICT  HOOK  PATH                        PACKAGE   REASON
        2026-01-01 00:00:00.001  node-1  0123456789ab  deny     exec  /tmp/\u{1b}[2Jx\n\u{202e}y  -         not-listed
        2026-01-01 00:00:00.001  node-1  0123456789ab  deny     exec  /usr/bin/curl               curl 8.1  not-listed
    "]]
    .assert_eq(&printed(&arguments(&["--collector", &url])).unwrap());
    assert_eq!(serving.join().unwrap(), ["GET /events?limit=100 HTTP/1.1"]);
}

#[test]
fn pages_are_followed_up_to_the_limit() {
    let (url, serving) =
        serve(vec![page(&[event("/a"), event("/b")], &json!("c 1")), page(&[event("/c"), event("/d")], &json!(7))]);
    let words =
        ["--collector", &url, "--limit", "3", "--json", "--verdict", "deny", "--path", "/a b&c", "--since", "5"];
    let lines = printed(&arguments(&words)).unwrap();
    let paths: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["file"]["path"].clone()).collect();
    assert_eq!(paths, ["/a", "/b", "/c"]);
    let requests = serving.join().unwrap();
    let query = "verdict=deny&path=%2Fa%20b%26c&since=1970-01-01T00%3A00%3A05.000000000Z";
    assert_eq!(requests[0], format!("GET /events?{query}&limit=3 HTTP/1.1"));
    assert_eq!(requests[1], format!("GET /events?{query}&limit=1&cursor=c%201 HTTP/1.1"));
}

#[test]
fn nothing_found_is_said() {
    let (url, serving) = serve(vec![page(&[], &Value::Null)]);
    assert_eq!(printed(&arguments(&["--collector", &url])).unwrap(), "no events match\n");
    serving.join().unwrap();
}

#[test]
fn pages_in_a_circle_are_not_followed_for_ever() {
    let (url, serving) = serve(vec![page(&[], &json!("1")), page(&[], &json!("1"))]);
    let error = printed(&arguments(&["--collector", &url])).unwrap_err();
    assert_eq!(error.to_string(), "the collector's pages lead in a circle");
    serving.join().unwrap();
}

#[test]
fn what_went_wrong_is_said() {
    let (url, serving) = serve(vec![
        (400, r#"{"error":"`x` is no verdict","help":"one of: allow, audit, deny"}"#.into()),
        (200, "<html>".into()),
    ]);
    let refused = format!("{:#}", printed(&arguments(&["--collector", &url])).unwrap_err());
    assert!(
        refused.contains("refused the query (400")
            && refused.ends_with("`x` is no verdict; one of: allow, audit, deny"),
        "{refused}"
    );
    let other = format!("{:#}", printed(&arguments(&["--collector", &url])).unwrap_err());
    assert!(other.contains("did not answer like a collector: <html>"), "{other}");
    serving.join().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let unreached = format!("{:#}", printed(&arguments(&["--collector", &format!("http://{nobody}")])).unwrap_err());
    assert!(unreached.starts_with("cannot reach the collector at `http://127.0.0.1:"), "{unreached}");
}
