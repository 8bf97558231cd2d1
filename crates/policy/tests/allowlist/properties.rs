//! What holds for every input.

use plimsoll_abi::{Reason, Verdict, access};
use plimsoll_policy::{Access, Evidence, FileObject, Limits, Policy, Rule, compile, evaluate, parse_all};
use plimsoll_sbom::{EvidenceClass, ExecKind, InventoryFile, Sha256};
use proptest::{
    collection::vec,
    prelude::*,
    sample::{select, subsequence},
};

use super::{file, inode, inventory, policy};

fn any_file() -> impl Strategy<Value = InventoryFile> {
    let evidence = prop_oneof![Just(None), select(EvidenceClass::ALL.to_vec()).prop_map(Some)];
    let kind = select(vec![ExecKind::Elf, ExecKind::Script, ExecKind::Other]);
    // Few names and inodes, so that hard links and additions meet.
    let path = select(vec!["/bin/a", "/bin/b", "/opt/app/a", "/opt/app/lib/b", "/opt/c"]);
    (path, 0_u64..6, evidence, kind, select(vec![0o755, 0o644]))
        .prop_map(|(path, ino, evidence, kind, mode)| InventoryFile { kind, mode, ..file(path, ino, evidence) })
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let additions = vec![
        "    - {path: /bin/a, reason: x}\n".to_owned(),
        "    - {path: /opt/app/**, reason: x}\n".to_owned(),
        format!("    - {{path: /opt/**, reason: x, sha256: \"{}\"}}\n", Sha256::of(b"/opt/c")),
        format!("    - {{path: /bin/b, reason: x, sha256: \"{}\"}}\n", Sha256::of(b"other")),
        "    - {path: /nowhere, reason: x}\n".to_owned(),
    ];
    let mode = select(vec!["Enforce", "Monitor"]);
    (mode, select(EvidenceClass::ALL.to_vec()), subsequence(additions, 0..=5)).prop_map(|(mode, class, additions)| {
        let allow = if additions.is_empty() { String::new() } else { format!("  allow:\n{}", additions.concat()) };
        policy(&format!("  mode: {mode}\n  evidence: {class}\n{allow}"))
    })
}

proptest! {
    #[test]
    fn parsing_never_panics(bytes in vec(any::<u8>(), 0..400)) {
        prop_assert!(parse_all("p", &bytes, &Limits::default()).is_err());
    }

    #[test]
    fn parsing_policy_like_text_never_panics(
        pieces in vec(select(vec![
            "apiVersion: plimsoll.dev/v1alpha1\n", "kind: EnforcementPolicy\n", "metadata:\n", "  name: a\n", "spec:\n",
            "  selector:\n", "    namespace: a\n", "  mode: Enforce\n", "  allow:\n", "    - ", "path: /a\n", "reason: b\n",
            "---\n", "...\n", "{", "}", "[", "]", ": ", "? ", "- ", "&a ", "*a ", "!t ", "|\n", ">-\n", "'", "\"", "#", "\t",
            "\r", "%YAML 1.2\n", "\u{feff}", "é", "\\", "<<", "~", "\u{2028}", "@", "`",
        ]), 0..60)
    ) {
        let text = pieces.concat();
        if let Err(problems) = parse_all("p", text.as_bytes(), &Limits::default()) {
            let lines = text.split(['\n', '\r']).count();
            prop_assert!(!problems.list().is_empty());
            for problem in problems.list() {
                prop_assert!((1..=lines).contains(&problem.place.line), "{problem}\n{text:?}");
                prop_assert!(problem.place.column >= 1);
            }
        }
    }

    #[test]
    fn compiling_is_a_function(policy in any_policy(), files in vec(any_file(), 0..12)) {
        let inventory = inventory(files);
        let compiled = compile(&policy, &inventory).unwrap();
        prop_assert_eq!(&compile(&policy, &inventory).unwrap(), &compiled);
        prop_assert!(compiled.entries.is_sorted_by(|a, b| a.inode < b.inode));
    }

    /// Checked against the words of the reference, not against the code: one file, whatever its links.
    #[test]
    fn a_file_is_listed_for_a_stated_reason(policy in any_policy(), files in vec(any_file(), 0..12)) {
        let inventory = inventory(files);
        let compiled = compile(&policy, &inventory).unwrap();
        for entry in &compiled.entries {
            let names: Vec<_> = inventory.files.iter().filter(|file| file.inode == entry.inode).collect();
            let name = names.iter().find(|file| file.path == entry.path).unwrap();
            prop_assert!(entry.access != 0);
            match (&compiled.rules[entry.rule as usize], entry.evidence) {
                (Rule::Evidence(class), Evidence::Image(evidence)) => {
                    prop_assert_eq!(*class, evidence);
                    prop_assert!(evidence >= policy.evidence);
                    prop_assert!(names.iter().any(|file| file.path == name.path && file.evidence == Some(evidence)));
                }
                (Rule::Addition { path, sha256, .. }, Evidence::Policy) => {
                    prop_assert!(path.matches(&entry.path));
                    let contested = names.iter().any(|file| file.evidence.is_none());
                    prop_assert!(sha256.is_some() || !contested);
                    prop_assert!(sha256.is_none_or(|pin| pin == name.sha256));
                }
                (rule, evidence) => prop_assert!(false, "{rule} with {evidence}"),
            }
        }
    }

    #[test]
    fn every_file_is_either_listed_or_refused(policy in any_policy(), files in vec(any_file(), 0..12)) {
        let inventory = inventory(files);
        let compiled = compile(&policy, &inventory).unwrap();
        for file in &inventory.files {
            let listed = compiled.entries.iter().any(|entry| entry.inode == file.inode);
            let refused = compiled.refused.iter().any(|refused| refused.inode == file.inode);
            prop_assert!(listed != refused, "{}", file.path);
        }
    }

    #[test]
    fn only_listed_files_run(policy in any_policy(), files in vec(any_file(), 0..12), ino in 0_u64..8, map in any::<bool>()) {
        let compiled = compile(&policy, &inventory(files)).unwrap();
        let object = FileObject::Lower(inode(ino));
        let (access, needed) = if map {
            (Access::Map { file: Some(object), private_writable: false }, access::MAP)
        } else {
            (Access::Exec(object), access::EXEC)
        };
        let entry = compiled.entries.iter().find(|entry| entry.inode == inode(ino));
        let listed = entry.is_some_and(|entry| entry.access & needed != 0);
        let (verdict, reason) = evaluate(&compiled, &access);
        prop_assert_eq!(reason, if listed { Reason::Listed } else { Reason::NotListed });
        prop_assert_eq!(verdict == Verdict::Allow, listed);
    }

    /// Asking for stronger evidence never allows more.
    #[test]
    fn stronger_evidence_only_narrows(files in vec(any_file(), 0..12)) {
        let inventory = inventory(files);
        let inodes = |class: EvidenceClass| -> Vec<_> {
            let policy = policy(&format!("  mode: Enforce\n  evidence: {class}\n"));
            compile(&policy, &inventory).unwrap().entries.into_iter().map(|entry| entry.inode).collect()
        };
        for pair in EvidenceClass::ALL.windows(2) {
            let (weaker, stronger) = (inodes(pair[0]), inodes(pair[1]));
            prop_assert!(stronger.iter().all(|inode| weaker.contains(inode)));
        }
    }
}
