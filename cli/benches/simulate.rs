//! `plimsoll policy simulate` over a million stored events: `cargo bench -p plimsoll-cli --bench simulate`.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use serde_json::json;

const EVENTS: u64 = 1_000_000;
const ROUNDS: usize = 3;

fn main() -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("events.jsonl");
    let mut out = BufWriter::new(File::create(&path)?);
    for number in 0..EVENTS {
        writeln!(out, "{}", event(number))?;
    }
    out.into_inner()?.sync_all()?;
    println!("{EVENTS} events, {} bytes", path.metadata()?.len());
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command.args(["policy", "simulate", "--top", "0"]).arg(&policies).arg("--events").arg(&path);
        let status = command.stdout(Stdio::null()).status()?;
        // 1: something would be denied.
        if status.code() != Some(1) {
            return Err(io::Error::other(format!("it ended with {status}")));
        }
        println!("{:.2} s", started.elapsed().as_secs_f64());
    }
    Ok(())
}

/// An event as the collector gives it: of 1,000 workloads of 20 images; six of ten run one of 300 files, two a file of their own
/// that was dropped, one connects, one is an operation.
fn event(number: u64) -> serde_json::Value {
    // Spreads the numbers without a pattern that a cache could follow.
    let random = number.wrapping_mul(6_364_136_223_846_793_005).rotate_left(29);
    let (image, tool, kind) = (random % 20, random / 20 % 300, random / 6_000 % 10);
    let classes = ["package-digest", "package-digest", "package-path", "undeclared"];
    let evidence = classes.into_iter().cycle().nth(usize::try_from(tool).unwrap_or(0)).unwrap_or_default();
    let listed = evidence == "package-digest";
    let (hook, verdict, reason) = match kind {
        0..6 if listed => ("exec", "allow", "listed"),
        0..6 => ("exec", "audit", "not-listed"),
        6 | 7 => ("exec", "audit", "written"),
        8 => ("connect", "allow", "listed"),
        _ => ("operation", "audit", "forbidden"),
    };
    let (path, origin) = match kind {
        0..6 => (format!("/usr/bin/tool{tool}"), "image-file"),
        6 | 7 => (format!("/tmp/build/{number}"), "dropped"),
        _ => (String::new(), "unspecified"),
    };
    let package = json!({"name": format!("pkg{}", tool % 40), "version": "1.2-3", "purl": "pkg:deb/debian/pkg@1.2-3"});
    json!({
        "node": "node-1", "boot_id": "3f1c9a52-6a0e-4c6b-9f0a-111111111111", "spool_id": "a1b2c3d4e5f60718",
        "received_unix_ns": 1_767_225_600_001_000_000 + number, "sequence": number + 1, "kernel_sequence": number + 1,
        "time_unix_ns": 1_767_225_600_000_000_000 + number, "verdict": verdict, "reason": reason, "hook": hook, "mode": "monitor",
        "process": {"tgid": 1000, "tid": 1000, "uid": 1000, "comm": "worker", "ancestors": [{"tgid": 17, "comm": "sh"}]},
        "file": {
            "path": path, "path_raw": "", "path_is_name_only": false, "dev": 2_097_153, "ino": tool, "size": 40_000,
            "sha256": format!("sha256:{tool:064x}"), "origin": origin,
        },
        "package": if kind < 6 && evidence != "undeclared" { package } else { serde_json::Value::Null },
        "evidence": if kind < 6 { evidence } else { "none" },
        "sbom_digest": format!("sha256:{image:064x}"),
        "image": {"digest": format!("sha256:{image:064x}"), "reference": format!("registry.example/shop/app{image}:1")},
        "workload": {
            "id": format!("{:016x}", image * 50 + random / 60_000 % 50), "namespace": "shop",
            "labels": {"app": format!("app{image}"), "tier": "front"}, "cgroup": 4000 + image,
        },
        "policy": {"name": "observe", "generation": format!("sha256:{image:064x}"), "rule": ""},
        "network": if kind == 8 {
            json!({"address": format!("10.0.{}.{}", tool % 40, tool % 9), "port": 443, "protocol": "tcp"})
        } else {
            serde_json::Value::Null
        },
        "operation": if kind == 9 { "bpf" } else { "" },
    })
}
