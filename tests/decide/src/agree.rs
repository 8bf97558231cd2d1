//! The kernel's `decide()` and the reference evaluator, case by case.

use anyhow::Context as _;
use plimsoll_abi::{Operation, Reason, Verdict, access};
use plimsoll_policy::{Access, CompiledPolicy, FileObject, Limits, compile, evaluate, parse};
use plimsoll_sbom::{Coverage, EvidenceClass, ExecKind, InodeKey, Inventory, InventoryFile, Sha256};

use crate::program::{Case, Programs};

const FILES: u64 = 64;

pub(crate) fn run(programs: &mut Programs, cases: u32, seed: u64) -> anyhow::Result<()> {
    let inventory = inventory();
    let policies = [
        ("Enforce", "Deny", ""),
        (
            "Enforce",
            "Allow",
            "  hardening: {ptrace: Allow, mount: Deny, setns: Deny, capabilities: [CAP_CHOWN, CAP_SYS_ADMIN]}\n",
        ),
        ("Monitor", "Deny", "  hardening: {bpf: Allow, ioUring: Deny, chroot: Deny, capabilities: []}\n"),
        ("Monitor", "Allow", "  hardening: {kernelFiles: Allow, deviceFile: Deny}\n"),
    ];
    let mut random = Random(seed.max(1));
    let mut compiled = Vec::new();
    for ((mode, anonymous, hardening), allowlist) in policies.into_iter().zip(1..) {
        let policy = policy(mode, anonymous, hardening, &inventory)?;
        for entry in &policy.entries {
            let (key, value) = entry.kernel(allowlist);
            programs.allow(key, value)?;
        }
        if let Some(capabilities) = policy.hardening.capabilities {
            programs.allow_capabilities(allowlist, capabilities.bits())?;
        }
        compiled.push((policy, allowlist));
    }
    let mut tally = [0_u32; Verdict::ALL.len()];
    for number in 0..cases {
        let (policy, allowlist) = random.choice(&compiled)?;
        let (access, case) = random.case(policy.state(*allowlist));
        let expected = evaluate(policy, &access);
        let (packed, _) = programs.run("decide_case", &case, 1)?;
        let actual = (Verdict::try_from(packed & 0xff)?, Reason::try_from((packed >> 8) & 0xff)?);
        anyhow::ensure!(
            actual == expected,
            "case {number} of seed {seed}: {access:?} under {}: the kernel says {actual:?}, the evaluator {expected:?}",
            policy.mode
        );
        if let Some(count) = tally.get_mut(packed as usize & 0xff) {
            *count += 1;
        }
    }
    anyhow::ensure!(tally.iter().all(|count| *count > 0), "some verdict never occurred: {tally:?}");
    println!("{cases} cases agree: {} allowed, {} audited, {} denied", tally[0], tally[1], tally[2]);
    Ok(())
}

/// Files of every kind and evidence; half of them are accepted by `package-digest`.
pub(crate) fn inventory() -> Inventory {
    let file = |ino: u64| InventoryFile {
        path: format!("/usr/bin/f{ino:03}"),
        inode: InodeKey { dev: 7, ino },
        size: 1,
        mode: if ino.is_multiple_of(3) { 0o644 } else { 0o755 },
        kind: if ino.is_multiple_of(5) { ExecKind::Script } else { ExecKind::Elf },
        sha256: Sha256::of(&ino.to_ne_bytes()),
        evidence: EvidenceClass::ALL.iter().copied().cycle().nth(usize::try_from(ino % 4).unwrap_or(0)),
        gap: None,
        package: None,
    };
    Inventory {
        files: (0..FILES).map(file).collect(),
        missing: Vec::new(),
        coverage: Coverage::default(),
        sbom_digest: Sha256::of(b"sbom"),
    }
}

fn policy(mode: &str, anonymous: &str, hardening: &str, inventory: &Inventory) -> anyhow::Result<CompiledPolicy> {
    let text = format!(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata:\n  name: agree\nspec:\n  selector:\n    \
         namespace: x\n  mode: {mode}\n  anonymousExec: {anonymous}\n  evidence: package-digest\n{hardening}"
    );
    let policy = parse("agree.yaml", text.as_bytes(), &Limits::default()).context("the test's own policy is wrong")?;
    Ok(compile(&policy, inventory)?)
}

/// A xorshift generator: the cases must repeat.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    pub(crate) fn choice<'a, T>(&mut self, all: &'a [T]) -> anyhow::Result<&'a T> {
        let index = self.next(all.len() as u64);
        all.get(usize::try_from(index)?).context("nothing to choose from")
    }

    /// One access, as the evaluator and as the kernel see it.
    fn case(&mut self, state: u64) -> (Access, Case) {
        let none = Case { state, ino: 0, dev: 0, access: 0, origin: 0, modified: 0, kind: 0, operand: 0 };
        match self.next(6) {
            0 => (Access::Inject, Case { kind: 1, ..none }),
            1 => {
                let operation = self.choice(Operation::ALL).map_or(Operation::Trace, |operation| *operation);
                (Access::Operation(operation), Case { kind: 2, operand: operation as u32, ..none })
            }
            2 => {
                // Numbers beyond those that are known are asked for as well.
                let capability = u32::try_from(self.next(64)).unwrap_or_default();
                (Access::Capability(capability), Case { kind: 3, operand: capability, ..none })
            }
            _ => self.code(none),
        }
    }

    /// One way for code to run.
    fn code(&mut self, none: Case) -> (Access, Case) {
        // A few inodes beyond the inventory, and another device, so that misses occur.
        let inode = InodeKey { dev: if self.next(8) == 0 { 8 } else { 7 }, ino: self.next(FILES + 8) };
        let (object, origin) = match self.next(8) {
            0 => (Some(FileObject::Written), 1),
            1 => (Some(FileObject::Foreign), 2),
            2 => (Some(FileObject::Unreadable), 4),
            3 => (None, 3),
            _ => (Some(FileObject::Lower(inode)), 0),
        };
        let modified = object.is_some() && self.next(4) == 0;
        let (access, bits, modified) = match (self.next(3), object) {
            (0, Some(file)) => (Access::Exec(file), access::EXEC, false),
            (1, file) => (Access::Map { file, private_writable: modified }, access::MAP, modified),
            (_, file) => (Access::Protect { file, modified }, access::MAP, modified),
        };
        let modified = u32::from(modified);
        let case = Case { ino: inode.ino, dev: inode.dev, access: bits, origin, modified, ..none };
        (access, case)
    }
}
