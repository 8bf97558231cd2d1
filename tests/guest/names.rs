//! Rules by name: what a resolver answers can be connected to, and nothing else can.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    container::{ACTOR, Container, Output},
    daemon::{Daemon, PATIENCE},
    message::{Question, address, answer, broken},
    stage::{Stage, policy_with, stage},
    technique::DENIED,
    trial,
};

const SUITE: &str = "names";
const FILE: &str = "names.yaml";
/// The node's end of the container's link. `10.9.0.2` is on it too, and is no resolver of the policy's.
const NODE: &str = "10.9.0.1";
const OTHER: &str = "10.9.0.2";
const CONTAINER: &str = "10.9.0.9";
const RULES: &str = "  network:
    resolvers: [10.9.0.1]
    egress:
      - {dns: api.example.test, ports: [443]}
      - {dns: \"*.shop.test\", ports: [\"8000-8009\"], protocol: UDP}
      - {cidr: 10.9.0.2/32, ports: [53]}
";

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        trial("names::what_a_resolver_answers_is_reachable", what_a_resolver_answers_is_reachable),
        trial("names::a_workload_does_not_answer_itself", a_workload_does_not_answer_itself),
        trial("names::only_answers_that_can_be_believed_count", only_answers_that_can_be_believed_count),
    ]
}

/// A container with a link to the node, under [`RULES`].
fn linked(stage: &Stage, id: &str) -> Result<Container> {
    stage.node.write_policy(FILE, &policy_with(SUITE, "Enforce", RULES))?;
    stage.agent.reload()?;
    let mut spec = stage.spec(id, SUITE)?;
    // One test is a server at a low port.
    spec.capabilities.push("CAP_NET_BIND_SERVICE");
    let container = Container::create(spec)?;
    let pid = container.pid()?.to_string();
    run("ip", &["link", "add", "plimsoll0", "type", "veth", "peer", "name", "eth0", "netns", &pid])?;
    for address in [NODE, OTHER] {
        run("ip", &["address", "add", &format!("{address}/16"), "dev", "plimsoll0"])?;
    }
    run("ip", &["-6", "address", "add", "fd09::1/64", "dev", "plimsoll0", "nodad"])?;
    run("ip", &["link", "set", "plimsoll0", "up"])?;
    let inside = |arguments: &[&str]| run("nsenter", &[&["--net", "--target", &pid, "ip"], arguments].concat());
    inside(&["address", "add", &format!("{CONTAINER}/16"), "dev", "eth0"])?;
    inside(&["-6", "address", "add", "fd09::9/64", "dev", "eth0", "nodad"])?;
    inside(&["link", "set", "eth0", "up"])?;
    inside(&["link", "set", "lo", "up"])?;
    Ok(container)
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Debian's dnsmasq on both of the node's addresses.
fn resolver(stage: &Stage) -> Result<Daemon> {
    let records = [
        "--host-record=api.example.test,10.9.3.1,fd09::31",
        "--host-record=one.shop.test,10.9.3.2",
        "--host-record=shop.test,10.9.3.3",
        "--host-record=other.test,10.9.3.4",
        "--host-record=late.shop.test,10.9.3.5",
        "--cname=two.shop.test,other.test",
    ];
    let listen = format!("--listen-address={NODE},{OTHER}");
    let mut arguments = vec!["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root", &listen];
    arguments.extend(["--bind-interfaces", "--no-resolv", "--no-hosts", "--local-ttl=1"]);
    arguments.extend(records);
    let directory = stage.node.directory.join("resolver");
    Daemon::start("dnsmasq", std::path::Path::new("/usr/sbin/dnsmasq"), &arguments, &directory)
}

/// Asks by UDP and shows the number of answers.
const ASK: &str = "
import socket, sys
server, name, kind = sys.argv[1:]
query = bytes([7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0])
query += b''.join(bytes([len(label)]) + label.encode() for label in name.split('.')) + bytes([0, 0, int(kind), 0, 1])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
while True:
    try:
        s.sendto(query, (server, 53))
        answer = s.recv(2000)
        break
    except TimeoutError:
        pass
print(int.from_bytes(answer[6:8], 'big'))
";

fn ask(container: &Container, server: &str, name: &str, kind: u8) -> Result<()> {
    let output = container.exec(&["/usr/bin/python3", "-c", ASK, server, name, &kind.to_string()])?;
    ensure!(
        output.status == 0 && output.stdout.trim().parse::<u32>().is_ok_and(|count| count > 0),
        "{name}: {output:?}"
    );
    Ok(())
}

const A: u8 = 1;
const AAAA: u8 = 28;

fn connect(container: &Container, address: &str) -> Result<Output> {
    container.exec(&[ACTOR, "network", "udp-connect", address])
}

fn reaches(container: &Container, address: &str) -> Result<()> {
    let output = connect(container, address)?;
    ensure!(output.status == 0, "{address} cannot be reached: {output:?}");
    Ok(())
}

fn is_denied(container: &Container, address: &str) -> Result<()> {
    let output = connect(container, address)?;
    ensure!(output.status == DENIED, "{address} is not denied: {output:?}");
    Ok(())
}

fn what_a_resolver_answers_is_reachable() -> Result<()> {
    let stage = stage()?;
    let container = linked(&stage, SUITE)?;
    let _resolver = resolver(&stage)?;
    for address in ["10.9.3.1:443", "[fd09::31]:443", "10.9.3.2:8000", "10.9.3.4:8000"] {
        is_denied(&container, address)?;
    }
    ask(&container, NODE, "api.example.test", A)?;
    reaches(&container, "10.9.3.1:443")?;
    is_denied(&container, "10.9.3.1:22")?;
    is_denied(&container, "[fd09::31]:443")?;
    ask(&container, NODE, "API.example.TEST", AAAA)?;
    reaches(&container, "[fd09::31]:443")?;
    ask(&container, NODE, "one.shop.test", A)?;
    reaches(&container, "10.9.3.2:8009")?;
    // An alias of a name that no rule has: the question is what counts.
    ask(&container, NODE, "two.shop.test", A)?;
    reaches(&container, "10.9.3.4:8000")?;
    // Names that no rule has, one of them the domain that a wildcard is below.
    ask(&container, NODE, "shop.test", A)?;
    is_denied(&container, "10.9.3.3:8000")?;
    // A resolver that the policy does not name.
    ask(&container, OTHER, "late.shop.test", A)?;
    is_denied(&container, "10.9.3.5:8000")?;
    the_c_library_is_fast_enough(&container)?;
    an_edit_forgets_nothing(&stage, &container)?;
    let stranger = Container::create(stage.spec("names-stranger", SUITE)?)?;
    stranger.bring_up()?;
    is_denied(&stranger, "10.9.3.1:443")
}

/// A name that is asked for and connected to in one breath.
fn the_c_library_is_fast_enough(container: &Container) -> Result<()> {
    let script = format!("echo nameserver {NODE} > /etc/resolv.conf");
    ensure!(container.exec(&["/bin/sh", "-c", &script])?.status == 0);
    let python = "import socket\nfor end in socket.getaddrinfo('late.shop.test', 8001, socket.AF_INET, socket.SOCK_DGRAM): \
                  socket.socket(*end[:3]).connect(end[4])";
    let output = container.exec(&["/usr/bin/python3", "-c", python])?;
    ensure!(output.status == 0, "{output:?}");
    Ok(())
}

/// The rules for a name may change, and what it was given stays known.
fn an_edit_forgets_nothing(stage: &Stage, container: &Container) -> Result<()> {
    let edited = RULES.replace("ports: [443]", "ports: [444]");
    stage.node.write_policy(FILE, &policy_with(SUITE, "Enforce", &edited))?;
    stage.agent.reload()?;
    reaches(container, "10.9.3.1:444")?;
    is_denied(container, "10.9.3.1:443")?;
    stage.node.write_policy(FILE, &policy_with(SUITE, "Enforce", RULES))?;
    stage.agent.reload()?;
    reaches(container, "10.9.3.1:443")
}

/// Sends itself an answer, from the address of its own that the policy has as a resolver.
const ANSWER_SELF: &str = "
import socket, sys
resolver, address, message = sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3])
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((resolver, 53))
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.sendto(b'ready', (resolver, 53))
server.sendto(message, server.recvfrom(2000)[1])
assert client.recv(2000) == message
";

fn a_workload_does_not_answer_itself() -> Result<()> {
    const ADDRESS: &str = "10.9.4.200";
    let stage = stage()?;
    let container = linked(&stage, "names-self")?;
    let bound = format!("{RULES}    bind:\n      - {{ports: [53]}}\n").replace("10.9.0.1", CONTAINER);
    let bound = bound.replace("cidr: 10.9.0.2/32, ports: [53]", &format!("cidr: {CONTAINER}/32"));
    stage.node.write_policy(FILE, &policy_with(SUITE, "Enforce", &bound))?;
    stage.agent.reload()?;
    let message = answer(&Question::of("api.example.test"), &[address(ADDRESS.parse()?)]);
    let message = message.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let output = container.exec(&["/usr/bin/python3", "-c", ANSWER_SELF, CONTAINER, ADDRESS, &message])?;
    ensure!(output.status == 0, "{output:?}");
    is_denied(&container, &format!("{ADDRESS}:443"))
}

/// Receives answers until one is empty, and shows which addresses can be connected to.
const RECEIVE: &str = "
import socket, sys
server, addresses = sys.argv[1], sys.argv[2:]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
while True:
    try:
        s.sendto(b'ready', (server, 53))
        first = s.recv(2000)
        break
    except TimeoutError:
        pass
s.settimeout(None)
while s.recv(2000):
    pass
reached = []
for address in addresses:
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    try:
        socket.socket(family, socket.SOCK_DGRAM).connect((address, 443))
        reached.append(address)
    except PermissionError:
        pass
print(' '.join(reached))
";

/// An answer, and whether its address may then be connected to.
struct Case {
    what: &'static str,
    message: Vec<u8>,
    address: IpAddr,
    counts: bool,
}

fn only_answers_that_can_be_believed_count() -> Result<()> {
    let stage = stage()?;
    let container = linked(&stage, "names-hostile")?;
    let cases = cases();
    let addresses: Vec<String> = cases.iter().map(|case| case.address.to_string()).collect();
    let before = stage.agent.kernel("answer_unreadable")?;
    let socket = UdpSocket::bind((NODE, 53)).context("the resolver's port")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let output = thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let mut command = vec!["/usr/bin/python3", "-c", RECEIVE, NODE];
            command.extend(addresses.iter().map(String::as_str));
            container.exec(&command)
        });
        let sent = send_all(&socket, &cases);
        let output = receiver.join().map_err(|_panic| anyhow::anyhow!("the receiver panicked"))?;
        sent.and(output)
    })?;
    ensure!(output.status == 0, "{output:?}");
    let reached: Vec<&str> = output.stdout.split_whitespace().collect();
    for case in &cases {
        let is_reached = reached.contains(&case.address.to_string().as_str());
        ensure!(is_reached == case.counts, "{}: {} reached: {is_reached}", case.what, case.address);
    }
    let unreadable = stage.agent.kernel("answer_unreadable")? - before;
    ensure!(unreadable >= 5, "{unreadable} answers were counted as unreadable");
    Ok(())
}

fn send_all(socket: &UdpSocket, cases: &[Case]) -> Result<()> {
    let mut buffer = [0; 16];
    let (_, peer): (_, SocketAddr) = socket.recv_from(&mut buffer)?;
    // The receiver asks until it gets something.
    socket.send_to(b"go", peer)?;
    for case in cases {
        socket.send_to(&case.message, peer)?;
    }
    socket.send_to(b"", peer)?;
    Ok(())
}

fn cases() -> Vec<Case> {
    let name = "api.example.test";
    let mut number = 0;
    let mut cases = Vec::new();
    let mut case = |what, counts, message: &dyn Fn(IpAddr) -> Vec<u8>| {
        number += 1;
        let address = IpAddr::V4(Ipv4Addr::new(10, 9, 4, number));
        cases.push(Case { what, message: message(address), address, counts });
    };
    let plain = |given: IpAddr| answer(&Question::of(name), &[address(given)]);
    case("an answer", true, &plain);
    case("in mixed case", true, &|given| answer(&Question::of("aPi.Example.TEST"), &[address(given)]));
    case("after an alias", true, &|given| {
        let alias = broken::record(5, 1, b"\x05other\x04test\x00");
        answer(&Question::of(name), &[alias, address(given)])
    });
    case("another name's end", false, &|given| answer(&Question::of("xapi.example.test"), &[address(given)]));
    case("a name below it", false, &|given| answer(&Question::of("a.api.example.test"), &[address(given)]));
    case("the name before another one", false, &|given| {
        answer(&Question::of("api.example.test.evil.test"), &[address(given)])
    });
    case("a question", false, &|given| broken::byte(plain(given), 2, 0x01));
    case("an update", false, &|given| broken::byte(plain(given), 2, 0xa8));
    case("an error", false, &|given| broken::byte(plain(given), 3, 0x83));
    case("two questions", false, &|given| broken::byte(plain(given), 5, 2));
    case("no question", false, &|given| broken::byte(plain(given), 5, 0));
    case("a question that points elsewhere", false, &|given| broken::byte(plain(given), 12, 0xc0));
    case("a label that is too long", false, &|given| broken::byte(plain(given), 12, 0x43));
    case("more records than there are", true, &|given| broken::byte(plain(given), 6, 0xff));
    case("a record of another class", false, &|given| answer(&Question::of(name), &[broken::of_class(3, given)]));
    case("too short an address", false, &|_| answer(&Question::of(name), &[broken::record(1, 1, &[10, 9, 4])]));
    case("an IPv4 address as IPv6", false, &|given| {
        let IpAddr::V4(given) = given else { return Vec::new() };
        answer(&Question::of(name), &[broken::record(28, 1, &given.octets())])
    });
    case("a record that ends after the message", false, &|given| {
        let mut message = plain(given);
        message.truncate(message.len() - 1);
        message
    });
    case("a question that ends after the message", false, &|given| {
        let mut message = plain(given);
        message.truncate(20);
        message
    });
    for (what, given) in [
        ("the machine itself", "127.9.9.9"),
        ("the machine itself, IPv6", "::1"),
        ("the link, with the cloud's credentials", "169.254.169.254"),
        ("the link, IPv6", "fe80::1"),
        ("no address", "0.0.0.0"),
        ("a group", "224.0.0.251"),
        ("everybody", "255.255.255.255"),
        ("IPv4 inside IPv6", "::ffff:169.254.169.253"),
    ] {
        let given: IpAddr = given.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let message = answer(&Question::of(name), &[address(given)]);
        // What loopback allows anyway says nothing.
        let counts = matches!(what, "the machine itself" | "the machine itself, IPv6" | "no address");
        cases.push(Case { what, message, address: given, counts });
    }
    cases
}
