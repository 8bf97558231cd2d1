//! What one decision costs, and that it does not depend on how many files are allowed.

use plimsoll_abi::{AllowKey, AllowValue, access, state};

use crate::program::{Case, Programs};

const SIZES: [u64; 3] = [10, 10_000, 1_000_000];
const REPEAT: u32 = 2_000_000;
const ROUNDS: usize = 9;

pub(crate) fn run(programs: &mut Programs) -> anyhow::Result<()> {
    println!("| allowed files | one file, ns | random files, ns |");
    println!("|---:|---:|---:|");
    let mut filled = 0;
    for size in SIZES {
        for ino in filled..size {
            let key = AllowKey { allowlist: 1, dev: 1, ino };
            programs.allow(key, AllowValue { access: access::EXEC, rule: 0 })?;
        }
        filled = size;
        let (mut one, mut random) = (Vec::new(), Vec::new());
        // Interleaved, so that whatever else the machine does falls on all alike.
        for _ in 0..ROUNDS {
            let empty = mean(programs, "baseline", 1)?;
            one.push(mean(programs, "decide_random", 1)? - empty);
            random.push(mean(programs, "decide_random", size)? - empty);
        }
        println!("| {size} | {} | {} |", median(&mut one), median(&mut random));
    }
    Ok(())
}

fn mean(programs: &mut Programs, name: &str, bound: u64) -> anyhow::Result<i64> {
    let state = state::ACTIVE | state::ENFORCE | 1;
    let case = Case { state, ino: bound, dev: 1, access: access::EXEC, origin: 0, modified: 0, kind: 0, operand: 0 };
    let (verdict, time) = programs.run(name, &case, REPEAT)?;
    anyhow::ensure!(name == "baseline" || verdict == 0, "an allowed file got verdict {verdict}");
    Ok(i64::try_from(time.as_nanos())?)
}

fn median(values: &mut [i64]) -> i64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
