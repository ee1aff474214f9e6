//! A packet that a rule logged: a line for people, a line of JSON, the fields of the journal.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{
    Look,
    text::{local, rfc3339},
};
use crate::{
    event::{End, LoggedPacket},
    printable::is_printable,
    rules::protocols,
};

/// `21:00:03  lan0:ingress  rule "who"  udp 192.0.2.2:5060 > 198.51.100.2:7000  EF -> DF  142 B`.
#[must_use]
pub fn event(packet: &LoggedPacket, look: &Look) -> String {
    let time = local(packet.time, packet.time, &look.zone);
    format!("{time}  {}  {}\n", packet.hook, message(packet))
}

fn message(packet: &LoggedPacket) -> String {
    let protocol = packet.protocol.map_or_else(|| "-".to_owned(), protocol);
    let ends = packet.ends.map_or_else(|| "-".to_owned(), |[from, to]| format!("{} > {}", end(from), end(to)));
    let (before, bytes) = (packet.before.dscp(), packet.bytes);
    let fate = packet.after.map_or_else(|| "dropped".to_owned(), |after| format!("-> {}", after.dscp()));
    format!("rule \"{}\"  {protocol} {ends}  {before} {fate}  {bytes} B", packet.rule)
}

fn protocol(number: u8) -> String {
    let name = protocols::NAMES.iter().find(|(_, known)| *known == number);
    name.map_or_else(|| number.to_string(), |(name, _)| (*name).to_owned())
}

fn end(end: End) -> String {
    match (end.port, end.address.is_ipv6()) {
        (None, _) => end.address.to_string(),
        (Some(port), false) => format!("{}:{port}", end.address),
        (Some(port), true) => format!("[{}]:{port}", end.address),
    }
}

/// The document of one event; `after` is null for a packet that was dropped.
#[must_use]
pub fn document(packet: &LoggedPacket) -> Value {
    let ends = packet.ends.map(|ends| ends.map(|end| (end.address.to_string(), end.port)));
    let [source, destination] = ends.map_or([None, None], |ends| ends.map(Some));
    json!({
        "schema": super::json::SCHEMA,
        "time": rfc3339(packet.time),
        "hook": packet.hook,
        "rule": packet.rule,
        "protocol": packet.protocol,
        "source": source.as_ref().map(|(address, _)| address),
        "source_port": source.as_ref().and_then(|(_, port)| *port),
        "destination": destination.as_ref().map(|(address, _)| address),
        "destination_port": destination.as_ref().and_then(|(_, port)| *port),
        "before": packet.before.dscp().value(),
        "after": packet.after.map(|after| after.dscp().value()),
        "ecn": packet.before.ecn() as u8,
        "dropped": packet.after.is_none(),
        "bytes": packet.bytes,
    })
}

/// The message and the fields of the journal's native protocol, each a line; no value has a line end.
#[must_use]
pub fn fields(packet: &LoggedPacket) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: &str| {
        let value: String = value.chars().map(|c| if is_printable(c) { c } else { ' ' }).collect();
        // Writing to a String does not fail.
        let _infallible = writeln!(text, "{name}={value}");
    };
    field("MESSAGE", &format!("{} {}", packet.hook, message(packet)));
    field("PRIORITY", "6");
    field("SYSLOG_IDENTIFIER", "qosbpf");
    field("QOSBPF_HOOK", &packet.hook);
    field("QOSBPF_RULE", &packet.rule);
    field("QOSBPF_DSCP_BEFORE", &packet.before.dscp().to_string());
    if let Some(after) = packet.after {
        field("QOSBPF_DSCP_AFTER", &after.dscp().to_string());
    }
    text
}

#[cfg(test)]
mod tests {
    use qos_common::ds::DsField;

    use super::*;
    use crate::render::sample;

    fn packet() -> LoggedPacket {
        let end = |address: &str, port| End { address: address.parse().unwrap(), port };
        LoggedPacket {
            time: sample::now(),
            hook: "lan0:ingress".to_owned(),
            rule: "EF only from the PBX".to_owned(),
            before: DsField::new(0xba),
            after: Some(DsField::new(0x02)),
            bytes: 142,
            ends: Some([end("192.0.2.2", Some(5060)), end("2001:db8::2", None)]),
            protocol: Some(17),
        }
    }

    #[test]
    fn a_line_for_people() {
        assert_eq!(
            event(&packet(), &sample::look()),
            "22:00:00  lan0:ingress  rule \"EF only from the PBX\"  udp 192.0.2.2:5060 > 2001:db8::2  EF -> DF  142 B\n"
        );
        let dropped = LoggedPacket { after: None, ends: None, protocol: None, ..packet() };
        assert!(event(&dropped, &sample::look()).ends_with("- -  EF dropped  142 B\n"));
    }

    #[test]
    fn the_document_is_as_promised() {
        insta::assert_snapshot!(format!("{:#}", document(&packet())));
    }

    #[test]
    fn no_name_breaks_out_of_its_field() {
        let odd = LoggedPacket { rule: "a\nPRIORITY=0".to_owned(), ..packet() };
        let text = fields(&odd);
        assert!(text.lines().all(|line| line != "PRIORITY=0") && text.contains("QOSBPF_RULE=a PRIORITY=0\n"), "{text}");
        assert!(text.starts_with("MESSAGE=lan0:ingress rule \"a PRIORITY=0\"  udp 192.0.2.2:5060"), "{text}");
    }
}
