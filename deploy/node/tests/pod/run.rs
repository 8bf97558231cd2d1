//! From a cgroup namespace of its own to the node's, and on to the agent.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{self, Command, Output},
};

/// Stands for the agent: says how it was called, and in which cgroup namespace.
const AGENT: &str = "#!/bin/sh\necho \"$@\"\ncat \"$3\"\nreadlink /proc/self/ns/cgroup\n";

/// Those of the chart that it takes.
const ENOUGH: &[&str] = &["sys_admin", "sys_ptrace"];

struct Node {
    scratch: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        let node = Self { scratch: tempfile::tempdir().unwrap() };
        fs::write(node.at("shared.yaml"), "state: /s\n").unwrap();
        fs::write(node.at("agent"), AGENT).unwrap();
        fs::set_permissions(node.at("agent"), fs::Permissions::from_mode(0o755)).unwrap();
        node
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Runs it as a runtime does: in a new cgroup namespace, with these capabilities and no way to more.
    fn run(&self, capabilities: &[&str]) -> Output {
        let set = capabilities.join(",+");
        let mut command = Command::new("unshare");
        command.args(["--cgroup", "--", "setpriv", "--no-new-privs", &format!("--bounding-set=-all,+{set}"), "--"]);
        self.program(&mut command);
        command.output().unwrap()
    }

    fn program(&self, command: &mut Command) {
        command.arg(env!("CARGO_BIN_EXE_plimsoll-node")).args(["run", "--node=worker-1"]);
        command.arg(format!("--config={}", self.at("shared.yaml").display()));
        command.arg(format!("--write={}", self.at("own.yaml").display()));
        // Of this process, since the first one's is not for everybody to see.
        command.arg(format!("--cgroup-namespace=/proc/{}/ns/cgroup", process::id())).arg(self.at("agent"));
    }
}

fn own_namespace() -> String {
    fs::read_link("/proc/self/ns/cgroup").unwrap().display().to_string()
}

#[test]
fn the_agent_runs_in_the_nodes_cgroup_namespace_with_its_name() {
    let node = Node::new();
    let output = node.run(ENOUGH);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "this test needs root: {said}{}", String::from_utf8_lossy(&output.stderr));
    let own = node.at("own.yaml");
    assert_eq!(said, format!("run --config {}\nnode: \"worker-1\"\nstate: /s\n{}\n", own.display(), own_namespace()));
}

#[test]
fn without_it_the_agent_would_be_in_the_pods() {
    let node = Node::new();
    let mut agent = Command::new("unshare");
    agent.arg("--cgroup").arg(node.at("agent")).args(["run", "--config", "/dev/null"]);
    let said = String::from_utf8(agent.output().unwrap().stdout).unwrap();
    assert!(said.contains("cgroup:[") && !said.contains(&own_namespace()), "{said}");
}

#[test]
fn each_capability_that_is_missing_is_named() {
    let node = Node::new();
    for (capabilities, missing) in [(["sys_admin"], "CAP_SYS_PTRACE"), (["sys_ptrace"], "CAP_SYS_ADMIN")] {
        let output = node.run(&capabilities);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(missing), "{capabilities:?}: {error}");
    }
}

#[test]
fn an_agent_that_is_not_there_is_named() {
    let node = Node::new();
    fs::remove_file(node.at("agent")).unwrap();
    let output = node.run(ENOUGH);
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(&format!("cannot execute {}", node.at("agent").display())), "{error}");
}
