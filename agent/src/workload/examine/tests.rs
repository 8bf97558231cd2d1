//! The judgement on mappings, without processes; and on this process, without a policy that fits.

use plimsoll_policy::{Limits, compile, parse};
use plimsoll_sbom::{Coverage, EvidenceClass, ExecKind, Inventory, InventoryFile, Sha256};

use super::*;

const DISK: u32 = 0x0080_0001;
const OVERLAY: u32 = 47;
const TMPFS: u32 = 99;

fn file(path: &str, ino: u64, evidence: Option<EvidenceClass>) -> InventoryFile {
    InventoryFile {
        path: path.to_owned(),
        inode: InodeKey { dev: DISK, ino },
        size: 1,
        mode: 0o755,
        kind: ExecKind::Elf,
        sha256: Sha256::of(path.as_bytes()),
        evidence,
        gap: None,
        package: None,
    }
}

fn policy(more: &str) -> CompiledPolicy {
    let text = format!(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata: {{name: p}}\n\
         spec:\n  selector: {{namespace: shop}}\n  mode: Enforce\n{more}"
    );
    let inventory = Inventory {
        files: vec![
            file("/bin/sh", 10, Some(EvidenceClass::SbomDigest)),
            file("/bin/undeclared", 11, Some(EvidenceClass::LayerOnly)),
        ],
        missing: Vec::new(),
        coverage: Coverage::default(),
        sbom_digest: Sha256::of(b"sbom"),
    };
    compile(&parse("p", text.as_bytes(), &Limits::default()).unwrap(), &inventory).unwrap()
}

/// What is found of one line of `maps`.
#[track_caller]
fn judged(policy: &CompiledPolicy, line: &str) -> Option<Examined> {
    let overlay = Overlay { dev: OVERLAY, layers: vec!["/l".into()], upper: Some("/u".into()) };
    let judge = Judge {
        policy,
        overlay: &overlay,
        knows: |inode: InodeKey| inode.dev == DISK && (10..=11).contains(&inode.ino),
        origin: |path: &[u8], ino| match (path, ino) {
            (b"/bin/changed" | b"/tmp/dropped", _) => Origin::Upper,
            (b"/bin/sh", 10) | (b"/bin/undeclared", 11) | (b"/share/data", 12) => Origin::Layer(DISK),
            _ => Origin::Elsewhere,
        },
    };
    judge.mapping(&maps::lines(line.as_bytes()).next().unwrap().unwrap()).map(examined)
}

fn line(permissions: &str, dev: u32, ino: u64, path: &str) -> String {
    format!("1000-2000 {permissions} 00000000 {:02x}:{:02x} {ino}    {path}", dev >> 20, dev & 0xf_ffff)
}

#[test]
fn both_ways_in_which_kernels_show_a_file_of_the_overlay_are_understood() {
    let policy = policy("");
    for dev in [DISK, OVERLAY] {
        let check =
            |ino, path, expected| assert_eq!(judged(&policy, &line("r-xp", dev, ino, path)), Some(expected), "{path}");
        check(10, "/bin/sh", Examined::Listed);
        check(11, "/bin/undeclared", Examined::NotListed);
        check(12, "/share/data", Examined::NotListed);
        check(13, "/bin/changed", Examined::Written);
        check(14, "/tmp/dropped", Examined::Written);
    }
}

#[test]
fn what_is_not_the_images_is_told_apart() {
    let policy = policy("");
    let check =
        |dev, ino, path, expected| assert_eq!(judged(&policy, &line("r-xp", dev, ino, path)), Some(expected), "{path}");
    check(TMPFS, 10, "/dev/shm/x", Examined::Foreign);
    check(TMPFS, 10, "/bin/sh", Examined::Foreign);
    check(1, 77, "/memfd:code (deleted)", Examined::Foreign);
    check(OVERLAY, 10, "/bin/sh (deleted)", Examined::Written);
    check(OVERLAY, 15, "/bin/sh", Examined::Written);
    check(DISK, 15, "/bin/sh", Examined::Foreign);
}

#[test]
fn memory_counts_as_the_policy_says_and_the_kernels_own_does_not() {
    let (strict, lenient) = (policy(""), policy("  anonymousExec: Allow\n"));
    let memory = line("r-xp", 0, 0, "");
    assert_eq!(judged(&strict, &memory), Some(Examined::Anonymous));
    assert_eq!(judged(&lenient, &memory), Some(Examined::Listed));
    let writable = line("rwxp", DISK, 10, "/bin/sh");
    assert_eq!(judged(&strict, &writable), Some(Examined::Modified));
    assert_eq!(judged(&lenient, &writable), Some(Examined::Listed));
    assert_eq!(judged(&strict, &line("r-xp", 0, 0, "[vdso]")), None);
    assert_eq!(judged(&strict, &line("rw-p", TMPFS, 1, "/tmp/x")), None, "not executable");
}

#[test]
fn files_are_looked_up_in_the_directories_of_the_overlay_and_not_beyond() {
    let node = tempfile::tempdir().unwrap();
    for directory in ["upper/tmp", "layer/bin", "outside"] {
        fs::create_dir_all(node.path().join(directory)).unwrap();
    }
    for file in ["upper/tmp/dropped", "layer/bin/sh", "outside/secret"] {
        fs::write(node.path().join(file), file).unwrap();
    }
    std::os::unix::fs::symlink(node.path().join("outside"), node.path().join("upper/link")).unwrap();
    let overlay = Overlay { dev: OVERLAY, layers: vec!["/layer".into()], upper: Some("/upper".into()) };
    let ino = |path: &str| fs::metadata(node.path().join(path)).unwrap().ino();
    let find = |path: &str, ino| origin(node.path(), &overlay, path.as_bytes(), ino);
    assert_eq!(find("/tmp/dropped", 1), Origin::Upper);
    assert!(matches!(find("/bin/sh", ino("layer/bin/sh")), Origin::Layer(_)));
    assert_eq!(find("/bin/sh", 1), Origin::Elsewhere, "another file of that name");
    assert_eq!(find("/link/secret", ino("outside/secret")), Origin::Elsewhere);
    assert_eq!(find("/../outside/secret", ino("outside/secret")), Origin::Elsewhere);
}

#[test]
fn a_real_process_is_read_to_its_end() {
    let policy = policy("");
    let overlay = Overlay { dev: OVERLAY, layers: Vec::new(), upper: None };
    let judge = Judge { policy: &policy, overlay: &overlay, knows: |_| false, origin: |_: &[u8], _| Origin::Elsewhere };
    let mut found = Findings::default();
    process(std::process::id(), &judge, &mut found);
    assert_eq!(found.processes, 1);
    let program = std::env::current_exe().unwrap().into_os_string().into_vec();
    let own = found.deviations.iter().find(|deviation| deviation.path == program).unwrap();
    assert_eq!(own.reason, Reason::Foreign);
    assert!(own.times >= 2, "the program, and at least one mapping of it: {own:?}");
    assert_eq!(found.counts.get(&Examined::Unreadable), None);
    process(0, &judge, &mut found);
    assert_eq!(found.processes, 1, "a process that is not there");
}
