//! Input made to hurt: refused with a place, within bounds, never half taken.
#![cfg(test)]

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use plimsoll_policy::{Diagnostics, Limits, parse, parse_all};

const GOOD: &str = "\
apiVersion: plimsoll.dev/v1alpha1
kind: EnforcementPolicy
metadata: {name: shop}
spec:
  selector: {namespace: shop}
  mode: Enforce
";

#[track_caller]
fn refused(bytes: &[u8]) -> Diagnostics {
    parse_all("hostile.yaml", bytes, &Limits::default()).unwrap_err()
}

/// The first problem, without the lines that show its place.
#[track_caller]
fn first_line(bytes: &[u8]) -> String {
    refused(bytes).to_string().lines().next().unwrap().to_owned()
}

#[test]
fn every_truncation_is_refused_or_whole() {
    let full = parse("full", GOOD.as_bytes(), &Limits::default()).unwrap();
    for length in 0..GOOD.len() {
        match parse("cut", &GOOD.as_bytes()[..length], &Limits::default()) {
            // Only the last line's end may be missing.
            Ok(policy) => {
                assert_eq!(length, GOOD.len() - 1);
                assert_eq!((policy.mode, &policy.selector), (full.mode, &full.selector));
            }
            Err(problems) => assert!(!problems.list().is_empty()),
        }
    }
}

#[test]
fn a_hundred_megabytes_are_refused_unread() {
    let huge = vec![b'a'; 100 << 20];
    let started = Instant::now();
    assert_eq!(first_line(&huge), "hostile.yaml:1:1: error: the document is larger than the limit of 1048576 bytes");
    assert!(started.elapsed() < Duration::from_millis(200));
}

#[test]
fn nesting_is_bounded_in_both_notations() {
    for (open, close) in [("[", "]"), ("{a: ", "}")] {
        for depth in [33, 200, 100_000] {
            let text = format!("{}{}", open.repeat(depth), close.repeat(depth));
            let message = first_line(text.as_bytes());
            assert!(
                message.contains("nested deeper than 32 levels") || message.contains("not valid YAML"),
                "{message}"
            );
        }
    }
    let blocks: Vec<_> = (0..500).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert_eq!(first_line(blocks.concat().as_bytes()), "hostile.yaml:33:33: error: nested deeper than 32 levels");
    let compact = "- ".repeat(10_000);
    assert_eq!(first_line(compact.as_bytes()), "hostile.yaml:1:65: error: nested deeper than 32 levels");
}

#[test]
fn an_alias_bomb_does_not_go_off() {
    let mut text = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, previous) in ('b'..='z').zip('a'..='y') {
        let aliases = vec![format!("*{previous}"); 9].join(", ");
        writeln!(text, "{name}: &{name} [{aliases}]").unwrap();
    }
    let problems = refused(text.as_bytes());
    assert_eq!(problems.list().len(), Limits::default().max_diagnostics);
    assert!(problems.omitted() > 100);
    assert!(problems.to_string().contains("aliases are not supported"));
}

#[test]
fn a_nul_does_not_end_the_document() {
    let text = GOOD.replace("mode: Enforce", "mode: Enforce\0");
    assert_eq!(first_line(text.as_bytes()), "hostile.yaml:6:16: error: the invisible character U+0000");
    let after = format!("{GOOD}\0allow: nonsense");
    assert_eq!(first_line(after.as_bytes()), "hostile.yaml:7:1: error: the invisible character U+0000");
}

#[test]
fn text_that_reads_differently_from_what_it_says_is_refused() {
    for character in ['\u{202e}', '\u{2066}', '\u{1b}', '\u{85}', '\u{7f}'] {
        let text = GOOD.replace("mode: Enforce", &format!("mode: Enforce # {character}rotinoM"));
        let expected = format!("hostile.yaml:6:19: error: the invisible character U+{:04X}", u32::from(character));
        assert_eq!(first_line(text.as_bytes()), expected);
    }
}

#[test]
fn bytes_that_are_not_utf8_are_named() {
    let mut bytes = GOOD.as_bytes().to_vec();
    let offset = GOOD.find("Enforce\n").unwrap() + 3;
    bytes[offset] = 0xff;
    let expected = format!("hostile.yaml:6:12: error: byte 0xff at offset {offset} is not UTF-8");
    assert_eq!(first_line(&bytes), expected);

    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain(GOOD.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    assert!(refused(&utf16).to_string().contains("help: this looks like UTF-16"));
    assert_eq!(first_line(b"a: \xe2\x82"), "hostile.yaml:1:4: error: byte 0xe2 at offset 3 is not UTF-8");
}

#[test]
fn problems_are_bounded_in_number_and_size() {
    let wide = format!("{{{}}}", "x: 1, ".repeat(170_000));
    let started = Instant::now();
    let problems = refused(wide.as_bytes());
    assert_eq!(problems.list().len(), 100);
    assert!(problems.omitted() > 160_000);
    assert!(problems.to_string().len() < 100_000);
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_mebibyte_of_anything_is_read_in_time() {
    for piece in [
        "- ",
        "\n",
        "a: b\n",
        "? ",
        "[",
        "'",
        "\"",
        "&a ",
        "*a ",
        "!!a ",
        "---\n",
        "|\n",
        "{a: b, c: [",
        "\r",
        "é",
        "#\n",
        "a\n",
        ": ",
    ] {
        let text = piece.repeat((1 << 20) / piece.len());
        let started = Instant::now();
        refused(text.as_bytes());
        assert!(started.elapsed() < Duration::from_secs(20), "{piece:?} took {:?}", started.elapsed());
    }
}

#[test]
fn what_is_shown_cannot_drive_a_terminal() {
    let problems = parse("a\u{1b}[2Jb.yaml", b"\"\\e[2J\": 1", &Limits::default()).unwrap_err();
    let shown = problems.to_string();
    assert!(shown.contains("unknown field"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn line_ends_and_a_byte_order_mark_change_nothing() {
    let full = parse("full", GOOD.as_bytes(), &Limits::default()).unwrap();
    let crlf = parse("full", GOOD.replace('\n', "\r\n").as_bytes(), &Limits::default()).unwrap();
    let marked = parse("full", format!("\u{feff}{GOOD}").as_bytes(), &Limits::default()).unwrap();
    assert_eq!((&full.selector, full.mode, full.place.line), (&crlf.selector, crlf.mode, crlf.place.line));
    assert_eq!((&full.selector, full.mode), (&marked.selector, marked.mode));
}

#[test]
fn too_many_additions_are_refused() {
    let additions: Vec<_> = (0..4).map(|n| format!("    - {{path: /bin/{n}, reason: x}}\n")).collect();
    let text = format!("{GOOD}  allow:\n{}", additions.concat());
    let limits = Limits { max_additions: 3, ..Limits::default() };
    let problems = parse("policy.yaml", text.as_bytes(), &limits).unwrap_err();
    assert_eq!(problems.list()[0].message, "`allow` has 4 entries, the limit is 3");
}
