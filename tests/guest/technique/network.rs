//! Traffic that no network rule allows.

use super::{Suite, Technique, technique};
use crate::container::ContainerSpec;

const CONNECT: &str = "connect";
const SEND: &str = "send";
const BIND: &str = "bind";
const LISTEN: &str = "listen";
const ACCEPT: &str = "accept";
const SOCKET: &str = "socket";
const RULE: &str = "network-rule";

/// Allowed: 10.1.0.0/16 and fd00:1::/32 at ports 7000 to 7009, and loopback. `10.2.0.1` and `fd00:2::1` are not. The machine's own
/// address, from which it connects, is 10.0.0.1.
pub(crate) const NETWORK: Suite = Suite::new(
    "network",
    // One technique needs a setting of its network namespace changed.
    "  hardening:
    kernelFiles: Allow
  network:
    egress:
      - {cidr: 10.1.0.0/16, ports: [\"7000-7009\"]}
      - {cidr: \"fd00:1::/32\", ports: [\"7000-7009\"]}
    bind:
      - {cidr: 10.0.0.0/8, ports: [\"7000-7009\"]}
      - {cidr: 0.0.0.0/32, ports: [\"7000-7009\"]}
      - {cidr: \"::/0\", ports: [\"7000-7009\"]}
    ingress:
      - {cidr: 10.0.0.0/15, ports: [\"7000-7009\"]}
      - {cidr: \"fd00:1::/32\", ports: [\"7000-7009\"]}
",
)
.configured(configure);

/// Sockets below IP, which need a capability of their own.
fn configure(spec: &mut ContainerSpec) {
    spec.capabilities.push("CAP_NET_RAW");
}

const UP: &str = "/usr/bin/plimsoll-actor network up";

const fn network(name: &'static str, what: &'static str, reference: &'static str) -> Technique {
    technique(name, what, reference).after(UP).under(&NETWORK)
}

pub(super) const ROWS: &[Technique] = &[
    network("network-connect-tcp", "a TCP connection", "connect(2)")
        .by(&["network", "tcp", "10.2.0.1:7000"])
        .denied(CONNECT, RULE)
        .toward("10.2.0.1"),
    network("network-connect-tcp-ipv6", "a TCP connection over IPv6", "connect(2)")
        .by(&["network", "tcp", "[fd00:2::1]:7000"])
        .denied(CONNECT, RULE)
        .toward("fd00:2::1"),
    network("network-connect-other-port", "an allowed address at a port that is not", "connect(2)")
        .by(&["network", "udp-connect", "10.1.0.1:22"])
        .denied(CONNECT, RULE)
        .toward("10.1.0.1"),
    network("network-connect-mapped", "an IPv4 address written as IPv6", "ipv6(7), RFC 4291 2.5.5.2")
        .by(&["network", "tcp-mapped", "10.2.0.1:7000"])
        .denied(CONNECT, RULE)
        .toward("10.2.0.1"),
    network("network-connect-short-address", "an IPv6 address that ends before its scope", "SIN6_LEN_RFC2133")
        .by(&["network", "tcp-short", "[fd00:2::1]:7000"])
        .denied(CONNECT, RULE)
        .toward("fd00:2::1"),
    network("network-fast-open", "a TCP connection opened by sending", "sendto(2), MSG_FASTOPEN; RFC 7413")
        .by(&["network", "fast-open", "10.2.0.1:7000"])
        .denied(CONNECT, RULE)
        .toward("10.2.0.1"),
    network(
        "network-fast-open-by-option",
        "a TCP connection opened by the first write",
        "tcp(7), TCP_FASTOPEN_CONNECT",
    )
    .by(&["network", "fast-open-connect", "10.2.0.1:7000"])
    .denied(CONNECT, RULE)
    .toward("10.2.0.1"),
    network("network-ring-connect", "a TCP connection by io_uring", "io_uring_prep_connect(3)")
        .by(&["network", "ring-connect", "10.2.0.1:7000"])
        .denied(CONNECT, RULE)
        .toward("10.2.0.1"),
    network("network-inherited-socket", "a TCP connection of a socket that another program made", "execve(2)")
        .by(&["network", "inherited", "10.2.0.1:7000"])
        .denied(CONNECT, RULE)
        .toward("10.2.0.1"),
    network("network-passed-socket", "a TCP connection of a socket that another process passed", "unix(7), SCM_RIGHTS")
        .by(&["network", "passed", "10.2.0.1:7000"])
        .denied(CONNECT, RULE)
        .toward("10.2.0.1"),
    network(
        "network-other-network-namespace",
        "a TCP connection in a network namespace of its own",
        "unshare(2), CLONE_NEWNET",
    )
    .by(&["network", "namespace", "10.2.0.1:7000"])
    .denied(CONNECT, RULE)
    .toward("10.2.0.1"),
    network("network-connect-udp", "a datagram socket with a far end", "connect(2)")
        .by(&["network", "udp-connect", "10.2.0.1:7000"])
        .denied(CONNECT, RULE)
        .toward("10.2.0.1"),
    network("network-connect-udp-ipv6", "a datagram socket with a far end, over IPv6", "connect(2)")
        .by(&["network", "udp-connect", "[fd00:2::1]:7000"])
        .denied(CONNECT, RULE)
        .toward("fd00:2::1"),
    network("network-connect-udp-again", "a datagram socket that is connected elsewhere first", "connect(2)")
        .by(&["network", "udp-reconnect", "10.2.0.1:7000"])
        .denied(CONNECT, RULE)
        .toward("10.2.0.1"),
    network("network-connect-udp-mixed", "an IPv6 socket with an address in IPv4's form", "udpv6_pre_connect()")
        .by(&["network", "udp-mixed", "10.2.0.1:7000"])
        .denied(CONNECT, RULE)
        .toward("10.2.0.1"),
    network("network-send-datagram", "a datagram with an address of its own", "sendto(2)")
        .by(&["network", "sendto", "10.2.0.1:7000"])
        .denied(SEND, RULE)
        .toward("10.2.0.1"),
    network("network-send-datagram-ipv6", "a datagram with an address of its own, over IPv6", "sendto(2)")
        .by(&["network", "sendto", "[fd00:2::1]:7000"])
        .denied(SEND, RULE)
        .toward("fd00:2::1"),
    network("network-send-mapped", "a datagram to an IPv4 address written as IPv6", "ipv6(7)")
        .by(&["network", "sendto-mapped", "10.2.0.1:7000"])
        .denied(SEND, RULE)
        .toward("10.2.0.1"),
    network("network-send-while-connected", "a datagram past the far end that its socket is connected to", "sendto(2)")
        .by(&["network", "sendto-connected", "10.2.0.1:7000"])
        .denied(SEND, RULE)
        .toward("10.2.0.1"),
    network("network-send-without-family", "a datagram to an address of no family", "AF_UNSPEC in udp_sendmsg()")
        .by(&["network", "sendto-unspecified", "10.2.0.1:7000"])
        .denied(SEND, RULE)
        .toward("10.2.0.1"),
    network("network-send-many", "a datagram behind an allowed one in the same call", "sendmmsg(2)")
        .by(&["network", "sendmmsg", "10.2.0.1:7000"])
        .denied(SEND, RULE)
        .toward("10.2.0.1"),
    network(
        "network-route-by-option",
        "an allowed address by way of a forbidden one",
        "ip(7), IP_OPTIONS; RFC 791 LSRR",
    )
    .by(&["network", "route-option", "10.2.0.1:7000"])
    .denied(SEND, RULE),
    network("network-route-by-control-message", "the same for one datagram alone", "IP_RETOPTS in ip_cmsg_send()")
        .by(&["network", "route-control", "10.2.0.1:7000"])
        .denied(SEND, RULE),
    network("network-route-by-segment", "an allowed address by way of an IPv6 segment", "IPV6_RTHDR; RFC 8754")
        .by(&["network", "route-header", "[fd00:2::1]:7000"])
        .denied(SEND, RULE),
    network("network-bind-tcp", "a server's port that is not allowed", "bind(2)")
        .by(&["network", "bind-tcp", "0.0.0.0:8080"])
        .denied(BIND, RULE),
    network("network-bind-udp", "a datagram server's port that is not allowed", "bind(2)")
        .by(&["network", "bind-udp", "0.0.0.0:8080"])
        .denied(BIND, RULE),
    network("network-bind-ipv6", "a server's port that is not allowed, over IPv6", "bind(2)")
        .by(&["network", "bind-tcp", "[::]:8080"])
        .denied(BIND, RULE),
    network("network-bind-free", "an address that the machine does not have", "ip(7), IP_FREEBIND")
        .by(&["network", "bind-free", "198.51.100.1:7000"])
        .denied(BIND, RULE)
        .toward("198.51.100.1"),
    network("network-listen-unbound", "a server that never binds", "listen(2)")
        .by(&["network", "listen-unbound"])
        .denied(LISTEN, RULE),
    network("network-listen-at-any-port", "a server that binds as clients do", "listen(2)")
        .by(&["network", "listen-anywhere", "0.0.0.0:0"])
        .denied(LISTEN, RULE),
    network(
        "network-accept-other-peer",
        "a connection from an address that is not allowed",
        "security_inet_conn_request()",
    )
    .by(&["network", "accept", "10.2.0.1:0", "10.1.0.1:7000"])
    .denied(ACCEPT, RULE)
    .toward("10.2.0.1"),
    network("network-socket-raw", "packets of one's own making", "raw(7)")
        .by(&["network", "socket", "2", "3", "1"])
        .denied(SOCKET, RULE),
    network("network-socket-raw-ipv6", "packets of one's own making, over IPv6", "raw(7)")
        .by(&["network", "socket", "10", "3", "58"])
        .denied(SOCKET, RULE),
    network("network-socket-packet", "frames of one's own making", "packet(7)")
        .by(&["network", "socket", "17", "3", "768"])
        .denied(SOCKET, RULE),
    network("network-socket-packet-old", "frames by the old name of packet sockets", "packet(7), SOCK_PACKET")
        .by(&["network", "socket", "2", "10", "768"])
        .denied(SOCKET, RULE),
    network("network-socket-ping", "echo requests without raw sockets", "icmp(7), ping_group_range")
        .after("/usr/bin/plimsoll-actor network up; echo 0 0 > /proc/sys/net/ipv4/ping_group_range")
        .by(&["network", "socket", "2", "2", "1"])
        .denied(SOCKET, RULE),
    network("network-socket-mptcp", "a connection that grows to other addresses", "RFC 8684, ADD_ADDR")
        .by(&["network", "socket", "2", "1", "262"])
        .denied(SOCKET, RULE),
    network("network-socket-sctp", "SCTP, which connects to many addresses at once", "sctp(7), sctp_connectx(3)")
        .by(&["network", "socket", "2", "1", "132"])
        .denied(SOCKET, RULE),
    network("network-socket-sctp-many", "SCTP, one socket for many connections", "sctp(7)")
        .by(&["network", "socket", "2", "5", "132"])
        .denied(SOCKET, RULE),
    network("network-socket-vsock", "the hypervisor's own network", "vsock(7)")
        .by(&["network", "socket", "40", "1", "0"])
        .denied(SOCKET, RULE),
    network("network-socket-alg", "the kernel's cryptography", "AF_ALG; CVE-2025-38079")
        .by(&["network", "socket", "38", "5", "0"])
        .denied(SOCKET, RULE),
    network("network-socket-netlink", "netlink beside routes and addresses", "netlink(7), NETLINK_GENERIC; genl(8)")
        .by(&["network", "socket", "16", "3", "16"])
        .denied(SOCKET, RULE),
];
