//! ArcSight's Common Event Format in syslog messages (RFC 5424). docs/outputs.md has the mapping.

use std::fmt::Write as _;

use crate::{event::Event, store::Stored};

/// Facility `authpriv`.
const FACILITY: u8 = 10;
/// Bytes of a host name in a syslog header.
const HOSTNAME: usize = 255;

/// Syslog messages, each with its length before it (RFC 6587's octet counting).
pub(super) fn messages(events: &[Stored]) -> Vec<u8> {
    let mut framed = Vec::new();
    for stored in events {
        let message = message(&stored.event);
        framed.extend_from_slice(format!("{} ", message.len()).as_bytes());
        framed.extend_from_slice(message.as_bytes());
    }
    framed
}

fn message(event: &Event) -> String {
    let severity = match event.verdict.as_str() {
        "allow" => 6,
        "deny" => 4,
        _ => 5,
    };
    let nanoseconds = i128::from(event.time_unix_ns);
    let time = jiff::Timestamp::from_nanosecond(nanoseconds - nanoseconds % 1000);
    let time = time.map_or_else(|_beyond| "-".to_owned(), |time| time.to_string());
    format!("<{}>1 {time} {} plimsoll - event - {}", FACILITY * 8 + severity, hostname(&event.node), cef(event))
}

/// Printable ASCII without spaces; `-` if nothing is left.
fn hostname(node: &str) -> String {
    let name: String = node.chars().filter(char::is_ascii_graphic).take(HOSTNAME).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

fn cef(event: &Event) -> String {
    let severity = match event.verdict.as_str() {
        "allow" => 1,
        "deny" => 8,
        _ => 5,
    };
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!("CEF:0|Plimsoll|Plimsoll|{version}|{}|", header(&event.reason));
    // A String takes whatever is written.
    let _infallible = write!(text, "{}|{severity}|", header(&format!("{} {}", event.hook, event.verdict)));
    let fields = fields(event).into_iter().filter(|(_, value)| !value.is_empty());
    text + &fields.map(|(name, value)| format!("{name}={}", extension(&value))).collect::<Vec<_>>().join(" ")
}

fn fields(event: &Event) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("rt", (event.time_unix_ns / 1_000_000).to_string()),
        ("externalId", format!("{}/{}/{}/{}", event.node, event.boot_id, event.spool_id, event.sequence)),
        ("dvchost", event.node.clone()),
        ("act", event.verdict.clone()),
        ("cat", event.hook.clone()),
        ("reason", event.reason.clone()),
        ("msg", event.summary()),
    ];
    if let Some(process) = &event.process {
        fields.push(("sproc", process.comm.clone()));
        fields.push(("spid", process.tgid.to_string()));
        fields.push(("suid", process.uid.to_string()));
    }
    if let Some(file) = event.file.as_ref().filter(|file| !file.path.is_empty()) {
        fields.push(("filePath", file.path.clone()));
        fields.push(("fileHash", file.sha256.clone()));
        fields.push(("fsize", file.size.to_string()));
    }
    if let Some(network) = &event.network {
        let is_own_end = ["accept", "listen", "bind"].contains(&event.hook.as_str());
        let [address, port] = if is_own_end { ["src", "spt"] } else { ["dst", "dpt"] };
        // CEF's `src` and `dst` are IPv4; IPv6 has fields of its own.
        if network.address.contains(':') {
            fields.push((if is_own_end { "c6a2" } else { "c6a3" }, network.address.clone()));
        } else {
            fields.push((address, network.address.clone()));
        }
        fields.push((port, network.port.to_string()));
        fields.push(("proto", network.protocol.clone()));
    }
    let texts = [
        ("cs1", "cs1Label", "image", event.image.as_ref().map(|image| image.digest.clone())),
        ("cs2", "cs2Label", "workload", event.workload.as_ref().map(|workload| workload.id.clone())),
        ("cs3", "cs3Label", "namespace", event.workload.as_ref().map(|workload| workload.namespace.clone())),
        ("cs4", "cs4Label", "policy", event.policy.as_ref().map(|policy| policy.name.clone())),
        ("cs5", "cs5Label", "package", event.package.as_ref().map(|package| package.purl.clone())),
        ("cs6", "cs6Label", "operation", Some(event.operation.clone())),
    ];
    for (name, label, meaning, value) in texts {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            fields.extend([(label, meaning.to_owned()), (name, value)]);
        }
    }
    fields
}

/// Ends no field and no line.
fn header(text: &str) -> String {
    escape(text, |letter| matches!(letter, '\\' | '|'))
}

fn extension(text: &str) -> String {
    escape(text, |letter| matches!(letter, '\\' | '='))
}

/// Line ends as CEF spells them, other control characters as U+FFFD: a message is one line whatever a path says.
fn escape(text: &str, is_special: impl Fn(char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            letter if letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}') => escaped.push('\u{fffd}'),
            letter => {
                if is_special(letter) {
                    escaped.push('\\');
                }
                escaped.push(letter);
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Source;

    #[test]
    fn hostile_text_stays_where_it_is() {
        assert_eq!(header("a|b\\c=d\n"), "a\\|b\\\\c=d\\n");
        assert_eq!(extension("a=b act=allow\\\r\n\0\u{1b}[2J|"), "a\\=b act\\=allow\\\\\\r\\n\u{fffd}\u{fffd}[2J|");
        assert_eq!(hostname("a b\n<1>é"), "ab<1>");
        assert_eq!(hostname(" "), "-");
    }

    #[test]
    fn a_message_is_one_line_with_its_length_before_it() {
        let source =
            Source { node: "n 1".to_owned(), boot_id: "b".to_owned(), spool_id: "s".to_owned(), received_unix_ns: 5 };
        let event = plimsoll_proto::v1::Event {
            sequence: 7,
            time_unix_ns: 1_700_000_000_123_456_789,
            verdict: plimsoll_proto::v1::Verdict::Deny.into(),
            reason: plimsoll_proto::v1::Reason::NotListed.into(),
            hook: plimsoll_proto::v1::Hook::Exec.into(),
            file: Some(plimsoll_proto::v1::File { path: "/tmp/a\n=|é".to_owned(), ..Default::default() }),
            ..Default::default()
        };
        let stored = Stored { id: 1, event: Event::new(source, event) };
        let text = String::from_utf8(messages(&[stored])).unwrap();
        let (length, message) = text.split_once(' ').unwrap();
        assert_eq!(length.parse::<usize>().unwrap(), message.len());
        let expected = format!(
            "<84>1 2023-11-14T22:13:20.123456Z n1 plimsoll - event - CEF:0|Plimsoll|Plimsoll|{}|not-listed|exec deny|8|\
             rt=1700000000123 externalId=n 1/b/s/7 dvchost=n 1 act=deny cat=exec reason=not-listed \
             msg=exec of /tmp/a\\n\\=|é: deny, not-listed filePath=/tmp/a\\n\\=|é fsize=0",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(message, expected);
    }
}
