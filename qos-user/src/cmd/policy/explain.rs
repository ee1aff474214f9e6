//! `qosbpf policy explain`: what the program of a hook does with a packet, and why.

use super::{capture, read_policy};
use crate::{
    cli::{ExplainArgs, PacketSource},
    cmd::{
        Context,
        site::Site,
        twin::{By, Double},
    },
    error::{Exit, Failure},
    explain::Explained,
    hook::Direction,
    kernel::privilege,
    policy::packet::Packet,
    render::{json, table},
};

/// Explains one packet, or those of a capture.
///
/// # Errors
///
/// `usage`, `packet`, `capture`, `not-attached`, `privilege`, `test-run`; [`super::WrongPolicy`] of `--file`.
pub fn run(args: &ExplainArgs, context: &Context) -> anyhow::Result<Exit> {
    let hook = &args.hook;
    let direction = hook.direction.ok_or_else(|| {
        let hint = format!("write {}", hook.both());
        Failure::new("usage", format!("`{hook}` is an interface, and a packet comes to a hook"))
            .exit(Exit::Usage)
            .hint(hint)
    })?;
    let given = args.file.as_deref().map(read_policy).transpose()?;
    let packet = args.source.packet.as_deref().map(|words| words_of(words, direction)).transpose()?;
    let frames = frames(&args.source, args.count)?;
    privilege::missing().map_or(Ok(()), Err)?;
    let by = given.as_ref().map_or(By::InForce, |(_, policy)| By::Policy(policy));
    let mut double = Double::of(&Site::read(context)?, &hook.interface, direction, by)?;
    if let Some(packet) = packet {
        packet.from.iter().for_each(|from| double.know(from));
        let explained = double.try_packet(&packet)?;
        return one(&double, &explained, args.json, context);
    }
    match frames {
        Frames::One(frame) => {
            let explained = double.try_frame(&frame, None)?;
            one(&double, &explained, args.json, context)
        }
        Frames::Many(capture) => many(&mut double, &capture, args.json, context),
    }
}

enum Frames {
    One(Vec<u8>),
    Many(capture::Capture),
}

fn frames(source: &PacketSource, count: usize) -> anyhow::Result<Frames> {
    match (&source.pcap, &source.hex) {
        (Some(file), _) => Ok(Frames::Many(capture::read(file, count)?)),
        (None, hex) => Ok(Frames::One(capture::from_hex(hex.as_deref().unwrap_or_default())?)),
    }
}

fn words_of(words: &str, direction: Direction) -> anyhow::Result<Packet> {
    Packet::parse(words, Some(direction)).map_err(|wrong| {
        let word = words.get(wrong.at.clone()).unwrap_or_default();
        let place = if word.is_empty() { String::new() } else { format!(" at `{word}`") };
        let failure = Failure::new("packet", format!("not a packet{place}: {}", wrong.message)).exit(Exit::Usage);
        Failure { hint: wrong.help, ..failure }.into()
    })
}

fn one(double: &Double, explained: &Explained, json: bool, context: &Context) -> anyhow::Result<Exit> {
    if json {
        context.document(&json::document(&json::explained(&double.stage, explained), json::Layout::Pretty)?)?;
    } else {
        context.screen(&table::explained(&double.stage, explained, &context.look()))?;
    }
    Ok(Exit::Done)
}

fn many(double: &mut Double, capture: &capture::Capture, json: bool, context: &Context) -> anyhow::Result<Exit> {
    let mut packets = Vec::new();
    for frame in &capture.frames {
        let frame = capture::fitted(frame, capture.link, double.link());
        packets.push(match double.try_frame(&frame, None) {
            Ok(explained) => Ok(explained),
            // A packet that cannot be given to a program is one line; a program that does not load is the end.
            Err(error) if is_about_the_packet(&error) => Err(format!("{error:#}")),
            Err(error) => return Err(error),
        });
    }
    if json {
        let document = json::capture(&double.stage, &packets, capture.left_out);
        context.document(&json::document(&document, json::Layout::Pretty)?)?;
    } else {
        context.screen(&table::capture(&double.stage, &packets, capture.left_out, &context.look()))?;
    }
    Ok(Exit::Done)
}

fn is_about_the_packet(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_some_and(|failure| failure.code == "test-run")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_tools_print_them() {
        let expected = [0x45, 0xb8, 0x00, 0x1c];
        for hex in ["45b8001c", "45 B8 00 1C", "45:b8:00:1c", "45b8 001c\n"] {
            assert_eq!(capture::from_hex(hex).unwrap(), expected, "{hex}");
        }
        for wrong in ["45b", "45 bg", "0x45"] {
            assert!(capture::from_hex(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_word_that_is_wrong_is_named() {
        let error = words_of("udp 192.0.2.1:1 > 192.0.2.2:2 dscp E5", Direction::Ingress).unwrap_err();
        assert!(error.to_string().starts_with("not a packet at `E5`: "), "{error}");
        assert_eq!(error.downcast_ref::<Failure>().unwrap().exit, Exit::Usage);
    }
}
