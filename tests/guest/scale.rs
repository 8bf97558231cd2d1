//! A node with thousands of workloads: what they take in memory, and whether policies can still be changed quickly.
//!
//! Workloads are introduced as a runtime does it, through the agent's socket, with a cgroup of their own and the overlay of their
//! image. One process stands for the first process of each.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::mount::{MountFlags, mount};
use serde_json::{Value, json};

use crate::{
    container::{ContainerSpec, DIGEST_ANNOTATION},
    daemon::{Agent, Node, wait_for},
    stage::policy_with,
    trial,
};

const DIRECTORY: &str = "/run/plimsoll-scale";
const CGROUPS: &str = "/sys/fs/cgroup/plimsoll-scale";
const WORKLOADS: usize = 5000;
/// Different images, each with its own policy.
const IMAGES: usize = 20;
/// Listed files of an image.
const FILES: usize = 2000;
const EDITS: usize = 1000;
/// What kernel and agent may take together, in MiB.
const BOUND: u64 = 400;

pub(crate) fn tests() -> Vec<Trial> {
    vec![trial("scale::5000_workloads_of_2000_files", five_thousand)]
}

fn five_thousand() -> Result<()> {
    let images: Vec<Image> = (0..IMAGES).map(Image::make).collect::<Result<_>>()?;
    let first = images.first().context("no image")?;
    let node = Node::new(Path::new(DIRECTORY), 0, &first.digest, &first.sbom, "")?;
    for (number, image) in images.iter().enumerate() {
        fs::copy(&image.sbom, node.directory.join("sboms").join(format!("{}.json", image.digest.replace(':', "-"))))?;
        node.write_policy(&format!("{number}.yaml"), &document(number, 0))?;
    }
    let mut agent = node.start_agent()?;
    let before = Memory::read(&agent)?;
    let member = Member::start()?;
    let started = Instant::now();
    for number in 0..WORKLOADS {
        let image = images.get(number % IMAGES).context("no image")?;
        introduce(&node, &member, image, number)?;
    }
    let introduced = started.elapsed();
    ensure!(agent.metric("plimsoll_workloads")? == u64::try_from(WORKLOADS)?);
    let entries = agent.metric("plimsoll_allowlist_entries")?;
    ensure!(entries >= u64::try_from(IMAGES * FILES)?, "{entries} entries");
    let after = Memory::read(&agent)?;
    let (kernel, user) = (after.kernel.saturating_sub(before.kernel), after.agent);
    println!(
        "{WORKLOADS} workloads of {IMAGES} images with {FILES} listed files each, {entries} entries, introduced in {introduced:.0?}: \
         the kernel took {kernel} MiB more, the agent takes {user} MiB ({} before)",
        before.agent
    );
    ensure!(kernel + user <= BOUND, "{kernel} MiB and {user} MiB are more than {BOUND}");
    ensure!(executes(WORKLOADS - 1)?.is_err(), "a program of the node's ran in a workload");
    edit(&node, &agent)?;
    agent.daemon.kill()?;
    node.detach()
}

/// A thousand edits as fast as they can be made, each of one image's policy; the last one of each image allows what was denied.
fn edit(node: &Node, agent: &Agent) -> Result<()> {
    let reloads = || agent.metric("plimsoll_policy_reloads_total");
    let before = reloads()?;
    let started = Instant::now();
    for edit in 1..=EDITS {
        let image = edit % IMAGES;
        let path = node.directory.join("policies");
        // As an atomic writer does it: a policy is never seen half written.
        fs::write(path.join("draft"), document(image, edit))?;
        fs::rename(path.join("draft"), path.join(format!("{image}.yaml")))?;
        agent.daemon.signal(libc::SIGHUP)?;
    }
    let written = started.elapsed();
    wait_for("the last edits to be in force", || {
        for workload in WORKLOADS - IMAGES..WORKLOADS {
            executes(workload)?.map_err(|status| anyhow::anyhow!("{workload}: {status}"))?;
        }
        Ok(())
    })?;
    let (settled, taken) = (started.elapsed(), reloads()? - before);
    println!(
        "{EDITS} policy edits written in {written:.1?}, all in force for {WORKLOADS} workloads after {settled:.1?}: {taken} reloads"
    );
    ensure!(settled.as_secs() <= 60, "a thousand edits take more than a minute");
    ensure!(agent.metric("plimsoll_policy_reloads_rejected_total")? == 0);
    Ok(())
}

/// The policy of an image; what is not listed runs, audited, from the last edit of each on.
fn document(image: usize, edit: usize) -> String {
    let mode = if edit + IMAGES > EDITS { "Monitor" } else { "Enforce" };
    policy_with(
        &format!("scale-{image}"),
        mode,
        &format!("  network:\n    egress: [{{cidr: 10.0.0.0/8, ports: [{}]}}]\n", 1000 + edit),
    )
}

/// An image of small scripts.
struct Image {
    number: usize,
    digest: String,
    sbom: PathBuf,
    bundle: PathBuf,
}

impl Image {
    fn make(number: usize) -> Result<Self> {
        let base = Path::new(DIRECTORY).join(format!("image-{number}"));
        let (layer, bundle) = (base.join("layer"), base.join("bundle"));
        fs::create_dir_all(layer.join("opt"))?;
        for folder in ["rootfs", "upper", "work"] {
            fs::create_dir_all(bundle.join(folder))?;
        }
        for file in 0..FILES {
            fs::write(layer.join(format!("opt/{file}")), format!("#!/bin/sh\necho {number} {file}\n"))?;
        }
        let made =
            Command::new("sh").args(["-c", "chmod 755 opt/* && sha256sum opt/*"]).current_dir(&layer).output()?;
        let sums = String::from_utf8(made.stdout)?;
        ensure!(sums.lines().count() == FILES, "sha256sum: {}", String::from_utf8_lossy(&made.stderr));
        let sbom = base.join("sbom.json");
        fs::write(&sbom, document_of(&sums).to_string())?;
        let path = |folder: &str| bundle.join(folder).display().to_string();
        let options = format!("lowerdir={},upperdir={},workdir={}", layer.display(), path("upper"), path("work"));
        let options = std::ffi::CString::new(options)?;
        mount("overlay", bundle.join("rootfs"), "overlay", MountFlags::empty(), Some(options.as_c_str()))?;
        let spec = ContainerSpec::of_test_image("scale")?;
        fs::write(bundle.join("config.json"), spec.configuration().to_string())?;
        Ok(Self { number, digest: format!("sha256:{number:064x}"), sbom, bundle })
    }
}

/// SPDX that lists what `sha256sum` printed.
fn document_of(sums: &str) -> Value {
    let files: Vec<Value> = sums
        .lines()
        .filter_map(|line| line.split_once("  "))
        .enumerate()
        .map(|(number, (sum, path))| {
            json!({
                "SPDXID": format!("SPDXRef-File-{number}"),
                "fileName": format!("./{path}"),
                "checksums": [{"algorithm": "SHA256", "checksumValue": sum}],
            })
        })
        .collect();
    json!({
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": "scale",
        "documentNamespace": "https://plimsoll.test/scale",
        "creationInfo": {"created": "2026-01-01T00:00:00Z", "creators": ["Tool: test"]},
        "packages": [], "files": files, "relationships": [],
    })
}

/// The process that stands for each workload's first one, in a mount namespace that is not the runtime's.
struct Member(Child);

impl Member {
    fn start() -> Result<Self> {
        let mut sleep = Command::new("unshare");
        Ok(Self(sleep.args(["--mount", "sleep", "infinity"]).stdin(Stdio::null()).spawn()?))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.0.kill().is_ok() {
            let _status = self.0.wait();
        }
    }
}

/// Whether a program of the node's runs in a workload; if not, its shell's status.
fn executes(workload: usize) -> Result<Result<(), std::process::ExitStatus>> {
    let script = format!("echo $$ > {CGROUPS}/{workload}/cgroup.procs || exit 9; exec /usr/bin/true");
    let status = Command::new("unshare").args(["--mount", "sh", "-c", &script]).stderr(Stdio::null()).status()?;
    ensure!(status.code() != Some(9), "the cgroup of workload {workload} cannot be joined");
    Ok(if status.success() { Ok(()) } else { Err(status) })
}

fn introduce(node: &Node, member: &Member, image: &Image, number: usize) -> Result<()> {
    let cgroup = Path::new(CGROUPS).join(number.to_string());
    fs::create_dir_all(&cgroup)?;
    fs::write(cgroup.join("cgroup.procs"), member.0.id().to_string())?;
    let annotations = BTreeMap::from([
        (DIGEST_ANNOTATION, image.digest.clone()),
        ("dev.plimsoll.label/suite", format!("scale-{}", image.number)),
    ]);
    let state = json!({"id": format!("scale-{number}"), "pid": member.0.id(), "bundle": image.bundle, "annotations": annotations});
    let mut stream = UnixStream::connect(node.socket())?;
    writeln!(stream, "{}", json!({"stage": "create-runtime", "state": state}))?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    let answer: Value = serde_json::from_str(&answer).context("the agent did not answer")?;
    ensure!(answer.get("proceed").is_some(), "workload {number}: {answer}");
    Ok(())
}

/// In MiB.
struct Memory {
    /// Slab, per-CPU and `vmalloc` memory, in which maps and programs are.
    kernel: u64,
    /// The agent's resident memory.
    agent: u64,
}

impl Memory {
    fn read(agent: &Agent) -> Result<Self> {
        let system = fs::read_to_string("/proc/meminfo")?;
        let process = fs::read_to_string(format!("/proc/{}/status", agent.daemon.pid()))?;
        let kernel = ["SUnreclaim:", "Percpu:", "VmallocUsed:"].map(|name| kib(&system, name));
        let kernel = kernel.into_iter().sum::<Result<u64>>()?;
        Ok(Self { kernel: kernel / 1024, agent: kib(&process, "VmRSS:")? / 1024 })
    }
}

fn kib(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no `{name}`"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
