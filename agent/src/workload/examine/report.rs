//! A deviation as a record like the kernel's, so that it is explained and sent as those are.

use std::fs;

use plimsoll_abi::{ADDRESS_LEN, ANCESTORS, Ancestor, COMM_LEN, Event, Hook, Reason, Verdict, event_flags};
use rustix::time::{ClockId, clock_gettime};

use super::Deviation;
use crate::{event::Decoded, workload::Workload};

impl Deviation {
    /// The record: an audit without a number of the kernel's, since the kernel decided nothing.
    pub fn record(&self, workload: &Workload) -> Decoded {
        let (verdict, flags) = (Verdict::Audit, flags(self.reason));
        let protection = if self.hook == Hook::Map { libc::PROT_EXEC.unsigned_abs() } else { 0 };
        let raw = Event {
            sequence: 0,
            time_ns: since_boot(),
            cgroup: workload.cgroup,
            ino: self.inode.ino,
            size: 0,
            operand: 0,
            dev: self.inode.dev,
            hook: self.hook as u32,
            verdict: verdict as u32,
            reason: self.reason as u32,
            slot: workload.label.slot,
            incarnation: workload.label.incarnation,
            allowlist: 0,
            rule: 0,
            tgid: self.pid,
            tid: self.pid,
            uid: 0,
            prot: protection,
            flags,
            protocol: 0,
            port: 0,
            reserved: 0,
            address: [0; ADDRESS_LEN],
            comm: padded(&name(self.pid)),
            ancestors: [Ancestor { tgid: 0, comm: [0; COMM_LEN] }; ANCESTORS],
            path: padded(&self.path),
        };
        Decoded { raw, hook: self.hook, verdict, reason: self.reason }
    }
}

/// Where the file is from, as far as the reason tells.
fn flags(reason: Reason) -> u32 {
    match reason {
        Reason::Listed | Reason::NotListed | Reason::ModifiedCode => event_flags::LOWER | event_flags::OVERLAY,
        Reason::Written => event_flags::UPPER | event_flags::OVERLAY,
        _ => 0,
    }
}

fn name(pid: u32) -> Vec<u8> {
    let mut name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.pop_if(|last| *last == b'\n');
    name
}

/// Cut to leave a NUL at the end.
fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut padded = [0; N];
    for (to, from) in padded.iter_mut().take(N - 1).zip(bytes) {
        *to = *from;
    }
    padded
}

fn since_boot() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or_default())
}
