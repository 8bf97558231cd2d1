//! What ends up on the allowlist.

use plimsoll_policy::{AnonymousExec, CompileError, MAX_ENTRIES, compile};
use plimsoll_sbom::{EvidenceClass as Class, ExecKind, InventoryFile, Sha256};

use super::{compiled, entries, file, inode, inventory, policy, refused, warnings};

fn one_of_each() -> Vec<InventoryFile> {
    vec![
        file("/bin/sbom", 1, Some(Class::SbomDigest)),
        file("/bin/package", 2, Some(Class::PackageDigest)),
        file("/bin/path", 3, Some(Class::PackagePath)),
        file("/bin/layer", 4, Some(Class::LayerOnly)),
        file("/bin/changed", 5, None),
    ]
}

#[test]
fn evidence_is_accepted_from_the_stated_class_upwards() {
    let default = compiled("  mode: Enforce\n", one_of_each());
    assert_eq!(
        entries(&default),
        ["/bin/sbom sbom-digest 3 <- evidence sbom-digest", "/bin/package package-digest 3 <- evidence package-digest",]
    );
    assert_eq!(
        refused(&default),
        [
            "/bin/changed: its content is not the SBOM's sha1:00",
            "/bin/layer: its evidence is layer-only, the policy accepts package-digest or stronger",
            "/bin/path: its evidence is package-path, the policy accepts package-digest or stronger",
        ]
    );
    for (class, count) in [("sbom-digest", 1), ("package-digest", 2), ("package-path", 3), ("layer-only", 4)] {
        let compiled = compiled(&format!("  mode: Enforce\n  evidence: {class}\n"), one_of_each());
        assert_eq!(compiled.entries.len(), count, "{class}");
        assert_eq!(compiled.refused.len(), 5 - count, "{class}");
        assert!(!compiled.permits(inode(5), 0), "a mismatch is never allowed by its evidence");
    }
}

#[test]
fn additions_allow_what_the_evidence_does_not() {
    let compiled = compiled(
        "  mode: Enforce
  allow:
    - {path: /bin/layer, reason: built in the image}
    - {path: /bin/**, reason: everything in bin}
",
        one_of_each(),
    );
    assert_eq!(
        entries(&compiled)[2..],
        [
            "/bin/path policy 3 <- addition `/bin/**`: everything in bin",
            "/bin/layer policy 3 <- addition `/bin/layer`: built in the image",
        ]
    );
    assert_eq!(refused(&compiled), ["/bin/changed: its content is not the SBOM's sha1:00"]);
    assert_eq!(warnings(&compiled), [""; 0]);
}

#[test]
fn a_mismatch_needs_its_content_pinned() {
    let rest = |pin: &str| format!("  mode: Enforce\n  allow:\n    - {{path: /bin/changed, reason: patched{pin}}}\n");
    let unpinned = compiled(&rest(""), one_of_each());
    let found = Sha256::of(b"/bin/changed");
    assert!(!unpinned.permits(inode(5), 1));
    assert_eq!(
        warnings(&unpinned),
        [format!("policy.yaml:8:7: `/bin/changed` stays refused; if its content is right, set `sha256: \"{found}\"`")]
    );

    let wrong = compiled(&rest(&format!(", sha256: \"{}\"", Sha256::of(b"other"))), one_of_each());
    assert!(!wrong.permits(inode(5), 1));
    assert_eq!(wrong.warnings.len(), 1);

    let pinned = compiled(&rest(&format!(", sha256: \"{found}\"")), one_of_each());
    assert_eq!(entries(&pinned)[2], "/bin/changed policy 3 <- addition `/bin/changed`: patched");
    assert_eq!(warnings(&pinned), [""; 0]);
}

#[test]
fn a_pin_also_holds_for_a_file_without_mismatch() {
    let pin = Sha256::of(b"other");
    let rest = format!("  mode: Enforce\n  allow:\n    - {{path: /bin/layer, reason: x, sha256: \"{pin}\"}}\n");
    assert!(!compiled(&rest, one_of_each()).permits(inode(4), 1));
}

#[test]
fn an_addition_that_names_nothing_is_a_warning_with_a_hint() {
    let compiled = compiled(
        "  mode: Enforce
  allow:
    - {path: /usr/bin/layer, reason: x}
    - {path: /opt/**, reason: x}
    - {path: /bin, reason: x}
    - {path: /bi/**, reason: x}
",
        one_of_each(),
    );
    assert_eq!(
        warnings(&compiled),
        [
            "policy.yaml:8:7: the image has no executable file at `/usr/bin/layer`; did you mean `/bin/layer`?",
            "policy.yaml:9:7: the image has no executable file at `/opt/**`; name the file itself, not a link to it",
            "policy.yaml:10:7: the image has no executable file at `/bin`; name the file itself, not a link to it",
            "policy.yaml:11:7: the image has no executable file at `/bi/**`; name the file itself, not a link to it",
        ]
    );
}

#[test]
fn an_empty_allowlist_is_a_warning() {
    let compiled = compiled("  mode: Enforce\n", vec![file("/bin/layer", 4, Some(Class::LayerOnly))]);
    assert_eq!(warnings(&compiled), ["the policy allows no file of this image; enforced, nothing runs"]);
    assert!(compiled.entries.is_empty());
}

#[test]
fn access_follows_what_the_file_is() {
    let with =
        |ino, kind, mode| InventoryFile { kind, mode, ..file(&format!("/f{ino}"), ino, Some(Class::SbomDigest)) };
    let compiled = compiled(
        "  mode: Enforce\n",
        vec![
            with(1, ExecKind::Elf, 0o755),
            with(2, ExecKind::Elf, 0o644),
            with(3, ExecKind::Elf, 0o645),
            with(4, ExecKind::Script, 0o755),
            with(5, ExecKind::Script, 0o644),
            with(6, ExecKind::Other, 0o755),
        ],
    );
    let access: Vec<_> = compiled.entries.iter().map(|entry| entry.access).collect();
    assert_eq!(access, [3, 2, 3, 1, 1, 1]);
}

#[test]
fn hard_links_are_one_entry_with_the_strongest_evidence() {
    let compiled = compiled(
        "  mode: Enforce\n  evidence: layer-only\n",
        vec![
            file("/bin/a", 7, Some(Class::LayerOnly)),
            file("/bin/b", 7, Some(Class::SbomDigest)),
            file("/bin/c", 7, Some(Class::PackagePath)),
        ],
    );
    assert_eq!(entries(&compiled), ["/bin/b sbom-digest 3 <- evidence sbom-digest"]);
    assert_eq!(refused(&compiled), [""; 0]);
}

#[test]
fn a_mismatch_under_one_name_outweighs_weak_evidence_under_another() {
    let weak = vec![file("/bin/a", 7, Some(Class::PackagePath)), file("/bin/b", 7, None)];
    let additions = "  mode: Enforce\n  evidence: layer-only\n  allow:\n    - {path: /bin/a, reason: x}\n";
    let compiled_weak = compiled(additions, weak);
    assert_eq!(
        refused(&compiled_weak),
        [
            "/bin/a: another name of the same file is declared with other content",
            "/bin/b: its content is not the SBOM's sha1:00",
        ]
    );
    let vouched = vec![file("/bin/a", 7, Some(Class::PackageDigest)), file("/bin/b", 7, None)];
    assert!(compiled("  mode: Enforce\n", vouched).permits(inode(7), 3));
}

#[test]
fn entries_are_bounded() {
    let template = file("/f", 0, Some(Class::SbomDigest));
    let numbered = |ino| InventoryFile { inode: inode(ino), ..template.clone() };
    let mut inventory = inventory((0..=MAX_ENTRIES as u64).map(numbered).collect());
    let policy = policy("  mode: Enforce\n");
    let error = compile(&policy, &inventory).unwrap_err();
    assert_eq!(error, CompileError::TooManyEntries { policy: "shop".to_owned(), entries: MAX_ENTRIES + 1 });
    inventory.files.pop();
    assert_eq!(compile(&policy, &inventory).unwrap().entries.len(), MAX_ENTRIES);
    assert_eq!(error.to_string(), "policy `shop` allows 1000001 files of the image, the limit is 1000000");
}

#[test]
fn many_additions_over_many_files_stay_cheap() {
    let additions: Vec<_> = (0..5_000)
        .map(|n| format!("    - {{path: /d{n}/**, reason: x}}\n    - {{path: /e/{n}, reason: x}}\n"))
        .collect();
    let files = (0..50_000).map(|n| file(&format!("/d{}/{n}", n % 6_000), n, Some(Class::LayerOnly))).collect();
    let started = std::time::Instant::now();
    let compiled = compiled(&format!("  mode: Enforce\n  allow:\n{}", additions.concat()), files);
    assert_eq!(compiled.warnings.len(), 5_000);
    assert!(started.elapsed() < std::time::Duration::from_secs(20));
}

#[test]
fn memory_becomes_code_for_the_sake_of_an_allowed_package() {
    let of_package = |name: &str, evidence| InventoryFile {
        package: Some(plimsoll_sbom::PackageRef { name: name.to_owned(), version: "1".to_owned(), purl: None }),
        ..file("/usr/bin/program", 1, Some(evidence))
    };
    let found = |rest: &str, file| {
        let policy = compiled(&format!("  mode: Enforce\n{rest}"), vec![file]);
        (policy.anonymous_exec, policy.anonymous_exec_for)
    };
    let (allow, deny) = (AnonymousExec::Allow, AnonymousExec::Deny);
    let digest = Class::PackageDigest;
    assert_eq!(found("", of_package("nodejs", digest)), (allow, Some("nodejs".to_owned())));
    assert_eq!(found("", of_package("coreutils", digest)), (deny, None));
    assert_eq!(found("", of_package("nodejs", Class::PackagePath)), (deny, None), "its files may not run");
    assert_eq!(found("  anonymousExec: Deny\n", of_package("nodejs", digest)), (deny, None));
    assert_eq!(found("  anonymousExec: Allow\n", of_package("coreutils", digest)), (allow, None));
}
