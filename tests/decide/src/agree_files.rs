//! The kernel's file rules and the reference evaluator, case by case.

use anyhow::Context as _;
use plimsoll_abi::{MAX_DEPTH, PathKey, Reason, Verdict, operation};
use plimsoll_policy::{CompiledPolicy, FileAccess, FilePath, Limits, compile, evaluate_file, parse};

use crate::{
    agree::{Random, inventory},
    program::Programs,
};

/// Policies made up for one run.
const POLICIES: u32 = 64;
const KEY: PathKey = PathKey { words: [0x1234_5678_9abc_def1, 0xfeed_beef_0bad_cafe, 0x0f0f_1e1e_2d2d_3c3c, 77] };
/// Few names, so that paths and rules meet; a long one, which the kernel reads another way.
const NAMES: [&str; 5] = ["a", "b", "data", "a-name-which-is-longer-than-most", "exactly8"];
const OPERATIONS: [&str; 8] = ["Read", "Write", "Create", "Remove", "Rename", "Link", "Attribute", "All"];

pub(crate) fn run(programs: &mut Programs, cases: u32, seed: u64) -> anyhow::Result<()> {
    let mut random = Random(seed.max(1) ^ 0x5eed);
    let mut policies = Vec::new();
    for list in 1..=POLICIES {
        let policy = policy(&mut random)?;
        let files = policy.kernel_files(list, &KEY);
        for (key, rule) in files.entries {
            programs.file_rule(key, rule)?;
        }
        programs.file_list(list, files.filter)?;
        policies.push((policy, list));
    }
    let mut tally = [0_u32; 3];
    for number in 0..cases {
        let (policy, list) = random.choice(&policies)?;
        let (access, packet, two) = case(&mut random, *list);
        let expected = evaluate_file(policy, &access);
        let program = if two { "judge_two" } else { "judge_one" };
        let (answer, _) = programs.run_bytes(program, &packet, 1)?;
        anyhow::ensure!(answer != 0, "case {number} of seed {seed}: the kernel does not find list {list}");
        let actual = match answer {
            1 => (Verdict::Allow, Reason::Listed),
            2 | 3 => (Verdict::Deny, Reason::FileRule),
            other => anyhow::bail!("the kernel answers {other}"),
        };
        anyhow::ensure!(
            actual == expected,
            "case {number} of seed {seed}: {access:?} under {:?}: the kernel says {actual:?}, the evaluator {expected:?}",
            policy.files
        );
        if let Some(count) = tally.get_mut(answer as usize - 1) {
            *count += 1;
        }
    }
    anyhow::ensure!(tally.iter().all(|count| *count > 0), "some answer never occurred: {tally:?}");
    let [allowed, first, second] = tally;
    println!(
        "{cases} file cases agree: {allowed} allowed, {first} denied for the only or old name, {second} for the new one"
    );
    Ok(())
}

/// A policy with up to eight rules for different paths.
fn policy(random: &mut Random) -> anyhow::Result<CompiledPolicy> {
    let mut rules = std::collections::BTreeMap::new();
    for _ in 0..=random.next(8) {
        let below = random.next(2) == 0;
        let path = path(random, 4);
        if path == "/" && !below {
            continue;
        }
        let path = if below { format!("{}/**", path.trim_end_matches('/')) } else { path };
        let (deny, allow) = (operations(random), operations(random));
        let clash = deny.iter().any(|one| allow.contains(one)) || deny.contains(&"All") || allow.contains(&"All");
        let rule = match random.next(3) {
            0 => format!("allow: [{}]", allow.join(", ")),
            1 if !clash => format!("deny: [{}]\n      allow: [{}]", deny.join(", "), allow.join(", ")),
            _ => format!("deny: [{}]", deny.join(", ")),
        };
        rules.insert(path, rule);
    }
    let lines = rules.iter().map(|(path, rule)| format!("    - path: \"{path}\"\n      {rule}\n"));
    let rules = lines.collect::<Vec<_>>().concat();
    let text = format!(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: EnforcementPolicy\nmetadata:\n  name: agree\nspec:\n  selector:\n    \
         namespace: x\n  mode: Enforce\n  files:\n    - path: /never\n      deny: [All]\n{rules}"
    );
    let policy =
        parse("agree.yaml", text.as_bytes(), &Limits::default()).with_context(|| format!("wrong policy: {text}"))?;
    Ok(compile(&policy, &inventory())?)
}

fn operations(random: &mut Random) -> Vec<&'static str> {
    let mask = random.next(255) + 1;
    let chosen: Vec<_> =
        OPERATIONS.iter().zip(0..).filter(|(_, shift)| mask >> shift & 1 == 1).map(|(name, _)| *name).collect();
    if chosen.is_empty() { vec!["Read"] } else { chosen }
}

/// A path of up to `parts` components.
fn path(random: &mut Random, parts: u64) -> String {
    let count = random.next(parts + 1);
    let names: Vec<&str> = (0..count).filter_map(|_| random.choice(&NAMES).ok().copied()).collect();
    format!("/{}", names.join("/"))
}

/// One operation, as the evaluator and as the kernel see it, and whether it has two names.
fn case(random: &mut Random, list: u32) -> (FileAccess, Vec<u8>, bool) {
    let (old, new) = (path(random, 6), path(random, 6));
    let named = |path: &String| FilePath::Named(path.clone());
    let asked = u16::try_from(random.next(u64::from(operation::ALL)) + 1).unwrap_or(operation::READ);
    let kind = u32::try_from(random.next(5)).unwrap_or(0);
    let access = match kind {
        0 => FileAccess::One(named(&old), asked),
        1 => FileAccess::Link { old: named(&old), new: named(&new) },
        _ => FileAccess::Rename { old: named(&old), new: named(&new), replaces: kind == 3, exchanges: kind == 4 },
    };
    (access, packet(list, kind, asked, &old, &new), kind != 0)
}

/// The layout of `FileCase` in `plimsoll-tests-ebpf`.
fn packet(list: u32, kind: u32, asked: u16, old: &str, new: &str) -> Vec<u8> {
    let hashes = |path: &str| -> Vec<u64> {
        let parts = path.split('/').rev().filter(|part| !part.is_empty());
        parts.map(|part| KEY.component(part.as_bytes())).collect()
    };
    let (old, new) = (hashes(old), hashes(new));
    let words = [list, kind, u32::from(asked), 0];
    let name = |hashes: Vec<u64>| {
        let depth = hashes.len() as u64;
        std::iter::once(depth).chain(hashes).chain(std::iter::repeat(0)).take(1 + MAX_DEPTH)
    };
    let long = name(old).chain(name(new)).flat_map(u64::to_ne_bytes);
    let key = KEY.words.into_iter().flat_map(u64::to_ne_bytes);
    key.chain(words.into_iter().flat_map(u32::to_ne_bytes)).chain(long).collect()
}
