//! File rules forbid what they name, and nothing else.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;

use crate::{
    bypass::enforced,
    container::{ACTOR, Container, ContainerSpec, Output},
    stage::{policy_with, stage},
    technique::{DENIED, files},
    trial,
};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        trial("files::what_no_rule_names_is_allowed", what_no_rule_names_is_allowed),
        trial("files::a_deep_path_is_denied_by_name", a_deep_path_is_denied_by_name),
        trial("files::a_monitored_container_is_only_reported", a_monitored_container_is_only_reported),
        trial("files::rules_come_and_go_with_a_reload", rules_come_and_go_with_a_reload),
        trial("files::two_names_with_different_rules_are_refused", two_names_with_different_rules_are_refused),
        trial("files::interpreters_open_the_images_scripts_alone", interpreters_open_the_images_scripts_alone),
    ]
}

fn shell(container: &Container, script: &str) -> Result<Output> {
    container.exec(&["/bin/sh", "-euc", script])
}

fn what_no_rule_names_is_allowed() -> Result<()> {
    let stage = stage()?;
    let container = enforced(&stage, &files::FILES)?;
    for script in [
        "cat /etc/debian_version /etc/passwd /etc/logrotate.d/dpkg /data/kept/z",
        "ls / /etc/logrotate.d /data /data/kept /proc/self/fd /sys",
        "echo > /tmp/x; mv /tmp/x /tmp/y; ln /tmp/y /tmp/z; chmod 600 /tmp/z; rm /tmp/y /tmp/z",
        "mkdir /data/free/d; echo > /data/free/d/x; mv /data/free/d /data/free/e; rm -r /data/free/e",
        "echo > /data/secret/open/x; mv /data/secret/open/x /data/secret/open/y; touch /data/secret/open/y; rm /data/secret/open/y",
        "echo > /dev/null; echo > /dev/shm/x; rm /dev/shm/x; echo a | cat",
        "echo changed >> /etc/hosts.new; mv /etc/hosts.new /etc/hosts.old; rm /etc/hosts.old",
        "python3 -c 'import os; open(\"/data/free/py\", \"w\").close(); os.open(\"/data\", os.O_TMPFILE | os.O_RDWR); \
         os.memfd_create(\"x\")'",
    ] {
        let output = shell(&container, script)?;
        ensure!(output.status == 0, "{script}: {output:?}");
    }
    Ok(())
}

fn a_deep_path_is_denied_by_name() -> Result<()> {
    let stage = stage()?;
    let container = enforced(&stage, &files::FILES)?;
    let directory = |parts: usize| format!("/data/free{}", "/d".repeat(parts));
    let made = shell(&container, &format!("mkdir -p {}; echo > {}/f", directory(15), directory(15)))?;
    ensure!(made.status == 0, "{made:?}");
    let before = stage.denials()?;
    let deeper = container.exec(&[ACTOR, "file", "mkdir", &directory(18)])?;
    ensure!(deeper.status == 1, "its parent is not there: {deeper:?}");
    let made = shell(&container, &format!("mkdir {}; mkdir {}", directory(16), directory(17)))?;
    ensure!(made.status == 0, "19 parts have rules: {made:?}");
    let deep = container.exec(&[ACTOR, "file", "mkdir", &directory(18)])?;
    ensure!(deep.status == DENIED, "{deep:?}");
    let event = stage.event_after(before, files::FILES.name, "verdict=deny&reason=too-deep", |_| true)?;
    ensure!(event["hook"] == "create" && event["file"]["path_is_name_only"] == true, "{event}");
    let named = |length: usize| format!("/data/free/{}", "n".repeat(length));
    let long = container.exec(&[ACTOR, "file", "create", &named(128)])?;
    ensure!(long.status == 0, "128 bytes have rules: {long:?}");
    let before = stage.denials()?;
    let longer = container.exec(&[ACTOR, "file", "create", &named(129)])?;
    ensure!(longer.status == DENIED, "{longer:?}");
    stage.event_after(before, files::FILES.name, "verdict=deny&reason=unreadable", |_| true)?;
    Ok(())
}

fn a_monitored_container_is_only_reported() -> Result<()> {
    let stage = stage()?;
    stage.node.write_policy("files-monitored.yaml", &policy_with("files-monitored", "Monitor", files::FILES.spec))?;
    stage.agent.reload()?;
    let mut spec = stage.spec("files-monitored", "files-monitored")?;
    (files::FILES.configure)(&mut spec);
    let container = Container::create(spec)?;
    let before = stage.denials()?;
    let output = shell(&container, "cat /data/secret/file; echo > /data/kept/a")?;
    ensure!(output.status == 0, "{output:?}");
    for (hook, path, rule) in [
        ("read", "/data/secret/file", "`/data/secret/**`: deny Read"),
        ("write", "/data/kept/a", "`/data/kept/**`: deny Write"),
    ] {
        let query = format!("verdict=audit&hook={hook}");
        let event = stage.event_after(before, "files-monitored", &query, |event| event["file"]["path"] == path)?;
        let told = event["policy"]["rule"].as_str().is_some_and(|told| told.starts_with(rule));
        ensure!(told && event["mode"] == "monitor" && event["evidence"] == "", "{event}");
    }
    Ok(())
}

fn rules_come_and_go_with_a_reload() -> Result<()> {
    const NAME: &str = "files-reloaded";
    let stage = stage()?;
    let write = |spec: &str| stage.node.write_policy("files-reloaded.yaml", &policy_with(NAME, "Enforce", spec));
    write("")?;
    stage.agent.reload()?;
    let container = Container::create(stage.spec(NAME, NAME)?)?;
    let read = || container.exec(&[ACTOR, "file", "read", "/etc/issue"]);
    ensure!(read()?.status == 0, "without a rule it can be read");
    write("  files:\n    - path: /etc/**\n      deny: [Read]\n    - path: /etc/ld.so.cache\n      allow: [Read]\n")?;
    stage.agent.reload()?;
    let denied = read()?;
    ensure!(denied.status == DENIED, "{denied:?}");
    write("")?;
    stage.agent.reload()?;
    ensure!(read()?.status == 0, "the rule is gone");
    Ok(())
}

fn two_names_with_different_rules_are_refused() -> Result<()> {
    let stage = stage()?;
    let twice = |id: &str, suite: &str| -> Result<ContainerSpec> {
        let mut spec = stage.spec(id, suite)?;
        files::with_volume(&mut spec);
        let source =
            spec.mounts.iter().find(|mount| mount["destination"] == "/data").map(|mount| mount["source"].clone());
        spec.mounts
            .push(json!({"destination": "/mirror", "type": "bind", "source": source, "options": ["rbind", "rw"]}));
        Ok(spec)
    };
    let refused = Container::create(twice("two-names", files::FILES.name)?);
    let Err(error) = refused else { anyhow::bail!("a container whose volume has two names started") };
    let told = format!("{error:#}");
    ensure!(told.contains("`/data` and `/mirror` are the same directory"), "{told}");
    Container::create(twice("two-names-unruled", "enforced")?).map(drop)
}

/// Each script in a container that no policy selects, where it runs, and in one whose interpreters are restricted.
fn interpreters_open_the_images_scripts_alone() -> Result<()> {
    const NAME: &str = "scripts";
    const DROP: &str = "echo 'print(6 * 7)' > /tmp/a.py; echo 'echo 42' > /tmp/a.sh; echo 'echo 42' > /dev/shm/b.sh; \
                        echo 'print(42)' > /tmp/module.py; echo 'echo 42' > /tmp/c; chmod 755 /tmp/c; echo data > /tmp/data";
    let stage = stage()?;
    stage.node.write_policy("scripts.yaml", &policy_with(NAME, "Enforce", "  scripts: Image\n"))?;
    stage.agent.reload()?;
    let free = Container::create(ContainerSpec::of_test_image("scripts-free")?)?;
    let restricted = Container::create(stage.spec(NAME, NAME)?)?;
    for container in [&free, &restricted] {
        ensure!(shell(container, DROP)?.status == 0, "the scripts cannot be written");
    }
    for (command, path) in [
        (&["/usr/bin/python3", "/tmp/a.py"][..], "/tmp/a.py"),
        (&["/bin/sh", "/tmp/a.sh"], "/tmp/a.sh"),
        (&["/bin/sh", "/dev/shm/b.sh"], "/dev/shm/b.sh"),
        (&["/bin/sh", "-c", ". /tmp/c"], "/tmp/c"),
        (&["/usr/bin/python3", "-c", "import sys; sys.path.insert(0, '/tmp'); import module"], "/tmp/module.py"),
    ] {
        let output = free.exec(command)?;
        ensure!(output.status == 0, "{command:?} does not run even without a policy: {output:?}");
        let before = stage.denials()?;
        let output = restricted.exec(command)?;
        ensure!(output.status != 0, "{command:?} ran: {output:?}");
        let query = "verdict=deny&reason=unlisted-script&hook=script";
        stage.event_after(before, NAME, query, |event| event["file"]["path"] == path)?;
    }
    for command in [
        &["/usr/bin/python3", "-c", "import re, os; open('/tmp/data').read(); open('/etc/passwd')"][..],
        &["/bin/sh", "-c", "cat /tmp/a.py /tmp/c; read line < /tmp/data"],
        &["/usr/bin/py3clean", "--help"],
    ] {
        let output = restricted.exec(command)?;
        ensure!(output.status == 0, "{command:?} was kept from running: {output:?}");
    }
    Ok(())
}
