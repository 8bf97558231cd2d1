//! The product's main job, step by step, for a person to read. Fails if any step is not as it should be.

use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{
    container::{Container, ContainerSpec},
    stage::{Stage, stage},
};

/// One action, done in both containers.
struct Step {
    title: &'static str,
    script: &'static str,
    expected: Expected,
}

/// What the enforced container answers.
enum Expected {
    Runs,
    /// Denied for this reason, about a path that contains this text.
    Denied(&'static str, &'static str),
}

const MEMFD: &str = "python3 -c 'import os\nf = os.memfd_create(\"payload\")\nos.write(f, open(\"/usr/bin/true\", \"rb\").read())\nos.execve(f, [\"payload\"], {})'";

const STEPS: &[Step] = &[
    Step { title: "a program that the SBOM lists", script: "ls / > /dev/null && id", expected: Expected::Runs },
    Step {
        title: "a binary dropped into the container",
        script: "cp /usr/bin/true /usr/local/bin/miner && /usr/local/bin/miner",
        expected: Expected::Denied("written", "/usr/local/bin/miner"),
    },
    Step {
        title: "a listed binary that was overwritten (copy-up)",
        script: "cat /usr/bin/true > /usr/bin/who && /usr/bin/who",
        expected: Expected::Denied("written", "/usr/bin/who"),
    },
    Step {
        title: "a program in memory (memfd)",
        script: MEMFD,
        expected: Expected::Denied("foreign", "memfd:payload"),
    },
    Step {
        title: "the loader, given a dropped binary (ld.so ./dropped)",
        script: "cp /usr/bin/true /tmp/dropped && /lib64/ld-linux-x86-64.so.2 /tmp/dropped",
        expected: Expected::Denied("written", "/tmp/dropped"),
    },
    Step {
        title: "a library slipped under a listed program (LD_PRELOAD)",
        script: "cp /payload/lib/libactor_payload.so /tmp/evil.so && LD_PRELOAD=/tmp/evil.so /usr/bin/true 2>&1 | grep 'payload loaded'",
        expected: Expected::Denied("written", "/tmp/evil.so"),
    },
    Step {
        title: "a binary in a tmpfs volume",
        script: "cp /usr/bin/true /volume/tool && /volume/tool",
        expected: Expected::Denied("foreign", "/volume/tool"),
    },
    Step {
        title: "a binary that is in the image, but not in its SBOM",
        script: "/opt/undeclared/tool",
        expected: Expected::Denied("not-listed", "/opt/undeclared/tool"),
    },
];

pub(crate) fn run() -> Result<()> {
    heading("Can this node enforce?");
    doctor()?;
    heading("A container without a policy");
    let free = Container::create(ContainerSpec::of_test_image("free")?)?;
    println!("  started from image {}", crate::container::image_digest()?);
    heading("The same image under the policy `enforced`: what its SBOM lists, and nothing else");
    let stage = stage()?;
    let enforced = Container::create(stage.spec("enforced", "enforced")?)?;
    println!("  {}", admitted(&stage)?);
    let mut wrong = 0;
    for (number, step) in STEPS.iter().enumerate() {
        heading(&format!("{}. {}", number + 1, step.title));
        if let Err(error) = act(step, &free, &enforced, &stage) {
            wrong += 1;
            println!("  WRONG: {error:#}");
        }
    }
    heading("What Prometheus scrapes");
    for line in stage.agent.metrics()?.lines().filter(|line| interesting(line)) {
        println!("  {line}");
    }
    ensure!(wrong == 0, "{wrong} of {} steps were not as they should be", STEPS.len());
    println!("\nall {} steps were as they should be", STEPS.len());
    Ok(())
}

fn act(step: &Step, free: &Container, enforced: &Container, stage: &Stage) -> Result<()> {
    let command = ["/bin/sh", "-c", step.script];
    let without = free.exec(&command)?;
    ensure!(without.status == 0, "without a policy it does not work either: {without:?}");
    println!("  without a policy   runs");
    let before = stage.denials()?;
    let with = enforced.exec(&command)?;
    match step.expected {
        Expected::Runs if with.status == 0 => println!("  with the policy    runs"),
        Expected::Runs => bail!("it was kept from running: {with:?}"),
        Expected::Denied(reason, path) => {
            ensure!(with.status != 0, "it ran: {with:?}");
            let said = [with.stderr.as_str(), with.stdout.as_str()].concat();
            println!("  with the policy    {}", said.trim().lines().last().unwrap_or("fails without a word"));
            let of_path = |event: &Value| event["file"]["path"].as_str().is_some_and(|found| found.contains(path));
            let event = stage.event_after(before, "enforced", &format!("verdict=deny&reason={reason}"), of_path)?;
            show(&event);
        }
    }
    Ok(())
}

/// The event as the collector has stored it.
fn show(event: &Value) {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).unwrap_or("-").to_owned();
    let ancestors = event["process"]["ancestors"].as_array().into_iter().flatten();
    let chain: Vec<String> = ancestors.map(|ancestor| text(&ancestor["comm"])).collect();
    println!(
        "  at the collector   {} of {} by {}",
        text(&event["verdict"]),
        text(&event["hook"]),
        text(&event["reason"])
    );
    println!("    file             {} ({})", text(&event["file"]["path"]), text(&event["file"]["origin"]));
    println!("    package          {} {}", text(&event["package"]["name"]), text(&event["package"]["version"]));
    println!("    evidence         {}; digest {}", text(&event["evidence"]), text(&event["file"]["sha256"]));
    println!("    SBOM             {}", text(&event["sbom_digest"]));
    println!("    image            {}", text(&event["image"]["digest"]));
    let policy = &event["policy"];
    println!("    policy           {}, generation {}", text(&policy["name"]), text(&policy["generation"]));
    println!("    rule             {}", text(&policy["rule"]));
    println!("    process          {} <- {}", text(&event["process"]["comm"]), chain.join(" <- "));
}

fn doctor() -> Result<()> {
    let output = Command::new("/payload/bin/plimsoll").arg("doctor").output().context("cannot run the doctor")?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        println!("  {line}");
    }
    ensure!(output.status.success(), "this node cannot enforce");
    Ok(())
}

/// The agent's own line about the container.
fn admitted(stage: &Stage) -> Result<String> {
    let log = stage.agent.daemon.log();
    let line = log.lines().find(|line| line.contains("\"admitted\"")).context("the agent did not admit it")?;
    let line: Value = serde_json::from_str(line)?;
    let fields = &line["fields"];
    Ok(format!(
        "admitted in mode {}: {} files may run, {} of the image may not",
        fields["mode"].as_str().unwrap_or_default(),
        fields["allowed"],
        fields["refused"]
    ))
}

fn interesting(line: &str) -> bool {
    ["plimsoll_ready", "plimsoll_workloads", "plimsoll_allowlist_entries", "plimsoll_admissions"]
        .iter()
        .any(|name| line.starts_with(name))
        || line.starts_with("plimsoll_kernel_counter") && (line.contains("_denied\"") || line.contains("_lost\""))
}

fn heading(text: &str) {
    println!("\n{text}");
}
