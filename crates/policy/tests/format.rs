//! Formatting: what it makes of a document, and what holds whatever the document.
#![cfg(test)]

use expect_test::expect;
use plimsoll_policy::{FormatError, Limits, format, parse_all};
use proptest::{collection::vec, prelude::*, sample::select};

fn formatted(text: &str) -> String {
    format("policy.yaml", text.as_bytes(), &Limits::default()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

const UNTIDY: &str = r#"# yaml-language-server: $schema=policy.schema.json

# About the policy.
spec:   # the whole of it
    # Why it only reports.
    mode: 'Monitor'     # for now
    hardening: {mount: Deny, bpf: "Deny"}
    allow:
    # The first.
    -   reason: built here   # in CI
        # Pinned.
        sha256: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
        # The tool.
        path: "/opt/tool"
        # - path: /opt/other


    - # Two.
      path: /opt/two
      reason: >-
          a reason of
          two lines   

    # The list ends here.

    # Who it is for.
    selector:
      # One namespace.
      namespace: "shop"
      image:
          reference: "shop/cart:*"
          # The end of the image.
  # Further out.
kind: EnforcementPolicy
# Before the name.
metadata:
  name: shop
apiVersion:
  # Its version.
  plimsoll.dev/v1alpha1   # this one
# The end.
"#;

#[test]
fn fields_are_in_order_and_comments_stay_with_them() {
    expect![[r#"
        # yaml-language-server: $schema=policy.schema.json

        # About the policy.
        # Its version.
        apiVersion: plimsoll.dev/v1alpha1  # this one
        # Further out.
        kind: EnforcementPolicy
        # Before the name.
        metadata:
          name: shop
        spec:  # the whole of it
          # The list ends here.

          # Who it is for.
          selector:
            image:
              reference: "shop/cart:*"
              # The end of the image.
            # One namespace.
            namespace: shop
          # Why it only reports.
          mode: Monitor  # for now
          allow:
            # The first.
            # The tool.
            - path: /opt/tool
              # Pinned.
              sha256: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
              reason: built here  # in CI
              # - path: /opt/other

            # Two.
            - path: /opt/two
              reason: >-
                a reason of
                two lines   
          hardening: {bpf: Deny, mount: Deny}
        # The end.
    "#]]
    .assert_eq(&formatted(UNTIDY));
}

#[test]
fn several_documents_keep_their_own_comments() {
    let one = "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata: {name: NAME}\n\
               spec:\n  selector: {namespace: shop}\n  mode: Enforce\n";
    let text = format!(
        "# first\n---\n{}# end of first\n---\n# second\n{}\n\n",
        one.replace("NAME", "a"),
        one.replace("NAME", "b")
    );
    let expected =
        format!("# first\n{}# end of first\n---\n# second\n{}", one.replace("NAME", "a"), one.replace("NAME", "b"));
    assert_eq!(formatted(&text), expected);
    assert_eq!(formatted(&text.replace('\n', "\r\n")), expected);
}

#[test]
fn what_would_lose_something_is_left_alone() {
    let document = |allow: &str| {
        format!(
            "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata: {{name: a}}\n\
             spec:\n  selector: {{namespace: shop}}\n  mode: Enforce\n  files:\n    - path: /a\n      deny: {allow}\n"
        )
    };
    let text = document("[Read, # and\n        Write]");
    let error = format("p.yaml", text.as_bytes(), &Limits::default()).unwrap_err();
    assert_eq!(error, FormatError::Comments { file: "p.yaml".to_owned(), line: 9 });
    assert!(matches!(format("p.yaml", document("[Raed]").as_bytes(), &Limits::default()), Err(FormatError::Wrong(_))));
    // Long ones in brackets become lines, whole ones on several lines one.
    let long = document(&format!("[Read,\n  {}Write]", "Link, ".repeat(20)));
    assert!(formatted(&long).ends_with("        - Link\n        - Write\n"), "{}", formatted(&long));
    assert!(formatted(&document("[Read,\n  Write]")).ends_with("      deny: [Read, Write]\n"));
}

/// Blocks of lines at the same depth in any order, with comments and blank lines between and beside them.
fn any_document() -> impl Strategy<Value = String> {
    let above = || vec(select(vec!["# a comment", "#", "", "    # further in", "  # half in"]), 0..3);
    let beside = || select(vec!["", "  # beside", " #"]);
    let order = |count: usize| Just((0..count).collect::<Vec<_>>()).prop_shuffle();
    (order(4), order(8), order(3), vec((above(), beside()), 30)).prop_map(|(outer, inner, item, comments)| {
        let mut comments = comments.into_iter().cycle();
        let mut line = |text: &str, indent: usize| {
            let (above, beside) = comments.next().unwrap_or_default();
            let pad = " ".repeat(indent);
            let above = above.iter().map(|one| if one.is_empty() { "\n".to_owned() } else { format!("{pad}{one}\n") });
            let beside = if text.ends_with(['-', '|']) { "" } else { beside };
            format!("{}{pad}{text}{beside}\n", above.collect::<String>())
        };
        let mut blocks = vec![String::new(); 4];
        blocks[0] = line("apiVersion: plimsoll.dev/v1alpha1", 0);
        blocks[1] = line("kind: 'EnforcementPolicy'", 0);
        blocks[2] = line("metadata:", 0) + &line("name: \"a\"", 4);
        let fields = [
            line("path: /opt/tool", 8),
            line("reason: \"why: not\"", 8),
            line(
                "sha256: sha256:\
            9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                8,
            ),
        ];
        let fields: String = item.iter().map(|at| fields[*at].clone()).collect();
        let spec = [
            line("selector: {namespace: shop}", 2),
            line("mode: Enforce", 2),
            line("evidence: \"layer-only\"", 2),
            line("anonymousExec: Auto", 2),
            line("allow:", 2) + &line("-", 6) + &fields,
            line("network:", 2) + &line("egress:", 4) + &line("- {ports: [443], cidr: 10.0.0.0/8}", 4),
            line("scripts: Any", 2),
            line("hardening: {mount: Deny,\n    capabilities: []}", 2),
        ];
        blocks[3] = line("spec:", 0) + &inner.iter().map(|at| spec[*at].clone()).collect::<String>();
        outer.iter().map(|at| blocks[*at].clone()).collect::<String>()
    })
}

fn comments(text: &str) -> Vec<String> {
    let mut found: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once('#'))
        .map(|(_, comment)| comment.trim_end().to_owned())
        .collect();
    found.sort();
    found
}

proptest! {
    #[test]
    fn whatever_the_order_nothing_is_lost_and_nothing_changes_twice(text in any_document()) {
        prop_assert!(parse_all("p", text.as_bytes(), &Limits::default()).is_ok(), "{}", text);
        let once = match format("p", text.as_bytes(), &Limits::default()) {
            Ok(once) => once,
            Err(error) => return Err(TestCaseError::fail(format!("{error}\n{text}"))),
        };
        prop_assert_eq!(&format("p", once.as_bytes(), &Limits::default()).unwrap(), &once);
        prop_assert_eq!(comments(&text), comments(&once), "{}", text);
        let place = |field: &str| once.lines().position(|line| line.trim_start().starts_with(field));
        for pair in ["apiVersion", "kind", "metadata", "spec", "selector", "mode", "evidence", "allow", "network"].windows(2) {
            prop_assert!(place(pair[0]) < place(pair[1]), "{:?} {}", pair, once);
        }
    }

    #[test]
    fn no_text_makes_it_panic(
        pieces in vec(select(vec![
            "apiVersion: plimsoll.dev/v1alpha1\n", "kind: EnforcementPolicy\n", "metadata: {name: a}\n", "spec:\n",
            "  selector: {namespace: a}\n", "  mode: Enforce\n", "  allow:\n", "    - ", "path: /a\n", "      reason: b\n",
            "---\n", "...\n", "{", "}", "[", "]", ": ", "? ", "- ", "|\n", ">-\n", "'", "\"", "# c\n", "\n", "  ",
        ]), 0..40)
    ) {
        let text = pieces.concat();
        if let Ok(once) = format("p", text.as_bytes(), &Limits::default()) {
            prop_assert_eq!(format("p", once.as_bytes(), &Limits::default()).unwrap(), once);
        }
    }
}
