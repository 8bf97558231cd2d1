use expect_test::expect;
use plimsoll_policy::{Limits, parse_all};
use plimsoll_sbom::{Coverage, EvidenceClass, ExecKind, InodeKey, Inventory, InventoryFile, PackageRef, Sha256};
use serde_json::{Value, json};

use super::{
    observed::Observed,
    openvex::{self, Forbidden, Vulnerability},
    propose, text,
    usage::{Usage, Use},
};
use crate::events::Reading;

const IMAGE: &str = "registry.example/shop/web:1";

fn file(path: &str, ino: u64, mode: u32, package: &str) -> InventoryFile {
    InventoryFile {
        path: path.to_owned(),
        inode: InodeKey { dev: 1, ino },
        size: 1,
        mode,
        kind: ExecKind::Elf,
        sha256: Sha256::of(path.as_bytes()),
        evidence: Some(EvidenceClass::PackageDigest),
        gap: None,
        package: (!package.is_empty()).then(|| PackageRef {
            name: package.to_owned(),
            version: "1".to_owned(),
            purl: Some(format!("pkg:deb/debian/{package}@1")),
        }),
    }
}

fn inventory() -> Inventory {
    let mut files = vec![
        file("/opt/tool", 7, 0o755, ""),
        file("/usr/bin/curl", 1, 0o755, "curl"),
        file("/usr/bin/perl", 2, 0o755, "perl"),
        // Two names of one file.
        file("/usr/bin/perl5", 2, 0o755, "perl"),
        file("/usr/bin/wget", 3, 0o755, "wget"),
        file("/usr/lib/ld-linux.so.2", 4, 0o755, "libc6"),
        file("/usr/lib/libc.so.6", 5, 0o644, "libc6"),
        file("/usr/sbin/nginx", 6, 0o755, "nginx"),
    ];
    // What an SBOM lists with its digest cannot be left out by a policy.
    files[4].evidence = Some(EvidenceClass::SbomDigest);
    Inventory { files, missing: Vec::new(), coverage: Coverage::default(), sbom_digest: Sha256::of(b"sbom") }
}

fn event(hook: &str, verdict: &str, path: &str) -> Value {
    json!({
        "node": "node-1", "time_unix_ns": 1_767_225_601_000_000_000_u64, "hook": hook, "verdict": verdict,
        "image": {"digest": "sha256:aa", "reference": IMAGE},
        "file": {"path": path, "path_raw": "", "path_is_name_only": false, "origin": "image-file"},
    })
}

fn observed(events: &[Value]) -> Observed {
    let mut observed = Observed::of(IMAGE);
    for event in events {
        observed.take(event);
    }
    observed
}

fn ran() -> Observed {
    observed(&[
        event("exec", "allow", "/usr/sbin/nginx"),
        event("exec", "allow", "/usr/sbin/nginx"),
        event("exec", "audit", "/usr/bin/perl5"),
        event("exec", "deny", "/opt/tool"),
    ])
}

fn reading(doubts: &[&str]) -> Reading {
    Reading {
        since_unix_ns: 1_767_225_600_000_000_000,
        until_unix_ns: 1_767_312_000_000_000_000,
        events: 4,
        unreadable: 0,
        nodes: None,
        doubts: doubts.iter().map(|&doubt| doubt.to_owned()).collect(),
    }
}

fn uses(usage: &Usage<'_>) -> Vec<(String, Use)> {
    usage.files.iter().map(|file| (file.entry.path.clone(), file.usage)).collect()
}

#[test]
fn what_ran_what_never_did_and_what_nobody_can_tell() {
    let (inventory, observed, reading) = (inventory(), ran(), reading(&[]));
    let usage = Usage::new(&inventory, &observed, &reading);
    assert!(usage.is_complete());
    expect![[r"
        registry.example/shop/web:1, 2026-01-01 00:00:00 to 2026-01-02 00:00:00 UTC: 4 events, 2 allowed executions
        the answer is complete

        PACKAGE          USE       EXECUTED    LOADED   REFUSED     NEVER  NOT SEEN   UNKNOWN  EXECUTIONS
        (in no package)  refused          0         0         1         0         0         0           0
        curl 1           never            0         0         0         1         0         0           0
        libc6 1          unknown          0         0         0         0         0         2           0
        nginx 1          executed         1         0         0         0         0         0           2
        perl 1           executed         1         0         0         0         0         0           1
        wget 1           never            0         0         0         1         0         0           0

        FILES
        refused          1  /opt/tool
        never            0  /usr/bin/curl
        executed         1  /usr/bin/perl
        executed         1  /usr/bin/perl5
        never            0  /usr/bin/wget
        unknown          0  /usr/lib/ld-linux.so.2
        unknown          0  /usr/lib/libc.so.6
        executed         2  /usr/sbin/nginx
    "]]
    .assert_eq(&text::table(&usage, true).unwrap());
}

#[test]
fn without_reported_executions_nothing_is_unused() {
    let (inventory, reading) = (inventory(), reading(&[]));
    let observed = observed(&[event("exec", "deny", "/opt/tool"), event("map", "audit", "/usr/lib/libc.so.6")]);
    let usage = Usage::new(&inventory, &observed, &reading);
    let never = uses(&usage).into_iter().filter(|(_, usage)| matches!(usage, Use::Never | Use::NotSeen)).count();
    assert_eq!((never, usage.answer.name()), (0, "UNKNOWN"));
    assert_eq!(usage.files[6].usage, Use::Loaded);
    let said = text::table(&usage, false).unwrap();
    assert!(
        said.contains("the answer is UNKNOWN\n  no allowed execution") && said.contains("reportExecutions"),
        "{said}"
    );
    let refusal = propose::policy(&usage, &inventory).unwrap().unwrap_err();
    assert!(refusal.contains("would forbid everything"), "{refusal}");
}

#[test]
fn whatever_may_be_missing_makes_the_answer_incomplete() {
    let inventory = inventory();
    let curl = |observed: &Observed, reading: &Reading| {
        let usage = Usage::new(&inventory, observed, reading);
        (usage.files[1].usage, usage.answer.name(), usage.because.join("\n"))
    };
    let lost = curl(&ran(), &reading(&["node node-1: lost 3 events (queue-full) since 2026-01-01"]));
    assert_eq!((lost.0, lost.1), (Use::NotSeen, "INCOMPLETE"));
    assert!(lost.2.contains("lost 3 events"));

    let mut quiet = ran();
    let mut other_node = event("exec", "deny", "/opt/tool");
    other_node["node"] = json!("node-2");
    quiet.take(&other_node);
    let (usage, _, because) = curl(&quiet, &reading(&[]));
    assert!(usage == Use::NotSeen && because.contains("node node-2"), "{because}");

    let mut elsewhere = ran();
    elsewhere.take(&event("exec", "allow", "/chroot/bin/sh"));
    assert!(curl(&elsewhere, &reading(&[])).2.contains("1 paths of the image's files are not in this root"));
    let mut nameless = ran();
    let mut event = event("exec", "allow", "sh");
    event["file"]["path_is_name_only"] = json!(true);
    nameless.take(&event);
    assert!(curl(&nameless, &reading(&[])).2.contains("1 events do not give the whole path"));
}

#[test]
fn only_the_images_own_files_count() {
    let mut other_image = event("exec", "allow", "/usr/bin/curl");
    other_image["image"] = json!({"digest": "sha256:bb", "reference": "other:1"});
    let mut written = event("exec", "audit", "/usr/bin/curl");
    written["file"]["origin"] = json!("copied-up");
    let mut observed = observed(&[other_image, written]);
    assert!(observed.files.is_empty());
    let mut raw = event("exec", "allow", "/usr/bin/\u{fffd}");
    raw["file"]["path_raw"] = json!("2f7573722f62696e2fff");
    observed.take(&raw);
    assert_eq!(observed.files.keys().collect::<Vec<_>>(), ["/usr/bin/\\xff"]);
    assert_eq!(observed.filter(), [("image", IMAGE.to_owned())]);
}

#[test]
fn a_proposal_is_a_policy_and_says_what_it_cannot() {
    let (inventory, observed, reading) = (inventory(), ran(), reading(&["a doubt"]));
    let usage = Usage::new(&inventory, &observed, &reading);
    let text = propose::policy(&usage, &inventory).unwrap().unwrap();
    let policies = parse_all("slim.yaml", text.as_bytes(), &Limits::default()).unwrap();
    let compiled = plimsoll_policy::compile(&policies[0], &inventory).unwrap();
    let allowed: Vec<_> = compiled.entries.iter().map(|entry| &*entry.path).collect();
    assert_eq!(allowed.len(), 5, "{allowed:?}");
    assert!(!allowed.contains(&"/usr/bin/curl") && allowed.contains(&"/usr/sbin/nginx"), "{allowed:?}");
    let comment: Vec<_> = text.lines().take_while(|line| line.starts_with('#')).chain([""]).collect();
    expect![[r"
        # What registry.example/shop/web:1 used, 2026-01-01 00:00:00 to 2026-01-02 00:00:00 UTC.
        # It allows 6 files of 8 and leaves out 2.
        # The answer it is made of is INCOMPLETE.
        #   a doubt
        # 2 of the files are kept because their loading would have left no event.
        # 1 files were not used and stay allowed: their evidence is the strongest, and policies cannot take
        # single files out of that:
        #   /usr/bin/wget
        # What runs once a month did not run in a week: look at what Monitor reports before you set Enforce. Settings of
        # the policy in force (network, files, hardening, scripts) are not here; carry them over.
    "]]
    .assert_eq(&comment.join("\n"));
}

#[test]
fn absence_is_under_investigation_and_only_what_is_forbidden_is_not_affected() {
    let (inventory, observed, reading) = (inventory(), ran(), reading(&[]));
    let usage = Usage::new(&inventory, &observed, &reading);
    let database = plimsoll_sbom::parse_dpkg(
        &plimsoll_sbom::DpkgSources {
            status: b"Package: curl\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n\n\
                      Package: wget\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n",
            status_d: &[],
            info: &[
                plimsoll_sbom::NamedSource { name: "curl.list", bytes: b"/usr/bin/curl\n" },
                plimsoll_sbom::NamedSource { name: "wget.list", bytes: b"/usr/bin/wget\n/usr/share/wget/x.py\n" },
            ],
            diversions: b"",
        },
        &plimsoll_sbom::Limits::default(),
    )
    .unwrap();
    let statuses = |mode: &str, databases: &[_]| {
        let text = format!(
            "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata: {{name: web}}\nspec:\n  selector: \
             {{namespace: shop}}\n  mode: {mode}\n  evidence: sbom-digest\n  allow: [{{path: /usr/sbin/nginx, reason: it}}]\n"
        );
        let policies = parse_all("p.yaml", text.as_bytes(), &Limits::default()).unwrap();
        let forbidden = Forbidden::new(&policies, Some("shop"), &usage, (&inventory, databases)).unwrap();
        let all: Vec<_> = ["CVE-1=curl", "CVE-2=pkg:deb/debian/wget@1", "CVE-3=nginx", "CVE-4=perl"]
            .map(|text| Vulnerability::parse(text).unwrap())
            .to_vec();
        let document = openvex::document(&usage, &all, &forbidden, "shop").unwrap();
        assert_eq!(document, openvex::document(&usage, &all, &forbidden, "shop").unwrap());
        let statements = document["statements"].as_array().unwrap().clone();
        for statement in &statements {
            // OpenVEX wants one of two for `not_affected`, and knows neither for others.
            assert!(statement.get("justification").is_none());
            assert_eq!(statement["status"] == "not_affected", statement.get("impact_statement").is_some());
        }
        let status = |statement: &Value| statement["status"].as_str().unwrap().to_owned();
        (statements.iter().map(status).collect::<Vec<_>>().join(" "), document)
    };
    let databases = [database];
    let (enforced, document) = statuses("Enforce", &databases);
    let still = "under_investigation";
    assert_eq!(enforced, format!("not_affected {still} {still} {still}"), "wget stays allowed, and has a script");
    assert_eq!(document["@context"], "https://openvex.dev/ns/v0.2.0");
    assert_eq!(document["timestamp"], "2026-01-02T00:00:00Z");
    let product = &document["statements"][0]["products"][0];
    assert_eq!(product["@id"], "pkg:oci/web?repository_url=registry.example/shop/web&tag=1");
    assert_eq!(product["subcomponents"][0]["@id"], "pkg:deb/debian/curl@1");
    assert_eq!(statuses("Monitor", &databases).0, [still; 4].join(" "));
    assert_eq!(statuses("Enforce", &[]).0, [still; 4].join(" "), "whose files nobody knows");
    let nothing = openvex::document(&usage, &[], &Forbidden::default(), "x").unwrap_err().to_string();
    assert!(nothing.contains("--vulnerability"), "{nothing}");
}
