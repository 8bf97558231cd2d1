//! Under network rules, what they allow works, and what they deny explains itself.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::{
    bypass::enforced,
    container::{ACTOR, Container, image_digest},
    daemon::Node,
    stage::{SBOM, policy_with, spec_for, stage},
    technique::{DENIED, NETWORK},
    trial,
};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        trial("network::allowed_traffic_passes", allowed_traffic_passes),
        trial("network::a_denial_names_address_and_rule", a_denial_names_address_and_rule),
        trial("network::a_flood_of_peers_is_counted", a_flood_of_peers_is_counted),
        trial("network::hooks_come_and_go_with_rules", hooks_come_and_go_with_rules),
    ]
}

/// What `NETWORK` allows, by rules and without.
const ALLOWED: &[&[&str]] = &[
    &["tcp", "10.1.0.1:7000"],
    &["tcp", "[fd00:1::1]:7000"],
    &["tcp-mapped", "10.1.0.1:7009"],
    &["tcp-short", "[fd00:1::1]:7000"],
    &["fast-open", "10.1.0.1:7001"],
    &["fast-open-connect", "10.1.0.1:7001"],
    &["ring-connect", "10.1.0.1:7002"],
    &["inherited", "10.1.0.1:7002"],
    &["passed", "10.1.0.1:7002"],
    &["udp-connect", "10.1.255.255:7005"],
    &["udp-reconnect", "10.1.0.2:7000"],
    &["udp-mixed", "10.1.0.1:7000"],
    &["sendto", "10.1.0.1:7003"],
    &["sendto", "[fd00:1::1]:7003"],
    &["sendto-mapped", "10.1.0.1:7003"],
    &["sendto-connected", "10.1.0.9:7003"],
    &["sendto-unspecified", "10.1.0.1:7003"],
    &["sendmmsg", "10.1.0.1:7003"],
    &["bind-tcp", "0.0.0.0:7000"],
    &["bind-tcp", "[::]:7000"],
    &["bind-udp", "0.0.0.0:0"],
    &["accept", "10.1.0.5:0", "10.1.0.1:7004"],
    // Loopback, by each of its names.
    &["tcp", "127.0.0.1:7000"],
    &["tcp", "[::1]:7000"],
    &["tcp", "0.0.0.0:7000"],
    &["udp-connect", "127.0.0.1:9999"],
    &["sendto", "0.0.0.0:9999"],
    &["sendto", "[::]:9999"],
    &["bind-tcp", "127.0.0.1:8080"],
    &["bind-udp", "[::1]:8080"],
    &["listen-anywhere", "127.0.0.1:0"],
    &["accept", "127.0.0.1:0", "127.0.0.1:7004"],
    &["socket", "1", "1", "0"],
    &["netlink-addresses"],
];

fn allowed_traffic_passes() -> Result<()> {
    let stage = stage()?;
    let container = enforced(&stage, &NETWORK)?;
    container.bring_up()?;
    let before = stage.agent.kernel(COUNTED)?;
    for technique in ALLOWED {
        let command: Vec<&str> = [ACTOR, "network"].iter().chain(*technique).copied().collect();
        let output = container.exec(&command)?;
        ensure!(output.status == 0, "{technique:?} was not let through: {output:?}");
    }
    let python = "import socket; socket.getaddrinfo('127.0.0.1', 80); socket.if_nameindex(); s = socket.create_server(('127.0.0.1', 0)); \
                  socket.create_connection(s.getsockname()); s.accept()";
    let output = container.exec(&["/usr/bin/python3", "-c", python])?;
    ensure!(output.status == 0, "{output:?}");
    ensure!(stage.agent.kernel(COUNTED)? == before, "something was denied on the way");
    Ok(())
}

const COUNTED: &str = "network_denied";
const UNREPORTED: &str = "peers_unreported";
const LOST: &str = "denials_lost";

fn a_denial_names_address_and_rule() -> Result<()> {
    let stage = stage()?;
    let container = enforced(&stage, &NETWORK)?;
    container.bring_up()?;
    for (address, port, rule) in [
        ("10.2.0.1", 443, "no `network.egress` rule covers the address"),
        ("10.1.0.1", 22, "network egress 10.1.0.0/16 ports 7000-7009: covers the address, but not the port"),
    ] {
        let before = stage.denials()?;
        let output = container.exec(&[ACTOR, "network", "udp-connect", &format!("{address}:{port}")])?;
        ensure!(output.status == DENIED, "{output:?}");
        let query = "verdict=deny&hook=connect";
        let event = stage.event_after(before, NETWORK.name, query, |event| event["network"]["address"] == address)?;
        for (found, expected) in [
            (&event["network"]["protocol"], "udp"),
            (&event["policy"]["rule"], rule),
            (&event["process"]["comm"], "plimsoll-actor"),
            (&event["reason"], "network-rule"),
        ] {
            ensure!(found == expected, "{found} should be {expected}: {event}");
        }
        ensure!(event["network"]["port"] == port, "{event}");
    }
    Ok(())
}

/// More peers than may leave events: every one is refused and counted.
fn a_flood_of_peers_is_counted() -> Result<()> {
    const PEERS: u64 = 400;
    let stage = stage()?;
    let container = enforced(&stage, &NETWORK)?;
    container.bring_up()?;
    let (denied, unreported) = (stage.agent.kernel(COUNTED)?, stage.agent.kernel(UNREPORTED)?);
    let lost = stage.agent.kernel(LOST)?;
    let flood = format!(
        "import socket, select\nserver = socket.create_server((\"0.0.0.0\", 7006))\nclients = []\n\
         for n in range({PEERS}):\n c = socket.socket(); c.setblocking(False); c.bind((\"10.2.0.1\", 0)); clients.append(c)\n \
         try: c.connect((\"10.1.0.1\", 7006))\n except BlockingIOError: pass\n\
         assert not select.select([server], [], [], 0)[0]"
    );
    let output = container.exec(&["/usr/bin/python3", "-c", &flood])?;
    ensure!(output.status == 0, "{output:?}");
    // A peer asks again when it gets no answer, so there may be more.
    let counted = stage.agent.kernel(COUNTED)? - denied;
    ensure!(counted >= PEERS, "{counted} of {PEERS} were counted");
    let unreported = stage.agent.kernel(UNREPORTED)? - unreported;
    ensure!(unreported > 0, "every one of {counted} left an event");
    ensure!(stage.agent.kernel(LOST)? - lost >= unreported, "{unreported} without an event are not counted as lost");
    Ok(())
}

/// An agent of its own, whose one policy changes under a running container.
fn hooks_come_and_go_with_rules() -> Result<()> {
    const NUMBER: u16 = 5;
    const LINKS: &str = "/sys/fs/bpf/plimsoll-5";
    let node = Node::new(Path::new("/run/plimsoll-network"), NUMBER, &image_digest()?, Path::new(SBOM), "")?;
    node.write_policy("policy.yaml", &policy_with("hooks", "Enforce", ""))?;
    let mut agent = node.start_agent()?;
    let container = Container::create(spec_for(&node, "hooks", "hooks")?)?;
    container.bring_up()?;
    let connect = [ACTOR, "network", "udp-connect", "10.2.0.1:443"];
    let reload = |rules: &str| -> Result<()> {
        node.write_policy("policy.yaml", &policy_with("hooks", "Enforce", rules))?;
        agent.reload()
    };
    for _round in 0..2 {
        ensure!(pinned(LINKS, "connect4")? == 0, "attached without need");
        ensure!(container.exec(&connect)?.status == 0, "denied without rules");
        reload("  network: {}\n")?;
        ensure!(pinned(LINKS, "connect4")? == 1 && pinned(LINKS, "socket_create")? == 1, "not attached");
        ensure!(container.exec(&connect)?.status == DENIED, "not denied by an empty set of rules");
        reload("")?;
    }
    drop(container);
    agent.daemon.kill()?;
    node.detach()
}

/// How many links of a hook are pinned.
fn pinned(pins: &str, hook: &str) -> Result<usize> {
    let mut found = 0;
    for version in fs::read_dir(pins)? {
        for directory in fs::read_dir(version?.path().join("links"))? {
            found += usize::from(directory?.path().join(hook).exists());
        }
    }
    Ok(found)
}
