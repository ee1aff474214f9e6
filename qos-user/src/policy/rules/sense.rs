//! What a rule asks for that no packet can have, or no hook can tell.

use super::Written;
use crate::{
    hook::{Direction, Via},
    policy::{
        bounds::{Axis, Bounds, covers},
        diagnostic::{Finding, Findings, quote},
        interfaces::Interface,
        model::{Condition, Field, Origin, Place},
        protocols,
        source::Span,
    },
};

pub(super) fn check(written: &Written, interfaces: &[Interface], findings: &mut Findings) {
    check_directions(written, findings);
    check_mechanisms(written, interfaces, findings);
    if !check_each(written, findings) {
        check_together(written, findings);
    }
}

fn conditions(written: &Written) -> impl Iterator<Item = (&Condition, Span)> {
    written.rule.conditions.iter().zip(written.fields.iter().copied())
}

fn places(written: &Written) -> impl Iterator<Item = (&Place, Span)> {
    written.rule.on.iter().zip(written.places.iter().copied())
}

/// Where a packet came from is known only when it leaves.
fn check_directions(written: &Written, findings: &mut Findings) {
    let Some((_, place)) = places(written).find(|(place, _)| place.direction != Some(Direction::Egress)) else {
        return;
    };
    for (condition, span) in conditions(written) {
        let (name, help) = match condition.field {
            Field::Origin(_) => ("origin", "at ingress no packet is made by this host: ask for it where it leaves"),
            Field::From(_) => ("from", "at ingress the interface is the one in `on`: name it there"),
            _ => continue,
        };
        let finding = Finding::error(span, format!("`{name}` is known only at egress"));
        findings.error(finding.also(place, "this is ingress, or both").help(help));
    }
}

/// XDP runs before there is an skb, and so a mark or a priority.
fn check_mechanisms(written: &Written, interfaces: &[Interface], findings: &mut Findings) {
    let marks = conditions(written).filter(|(condition, _)| matches!(condition.field, Field::Mark(_)));
    let needs = marks.map(|(_, span)| ("mark", span)).chain(written.hand_over.iter().copied());
    let Some((key, span)) = needs.into_iter().next() else { return };
    let ingress = places(written).filter(|(place, _)| place.direction != Some(Direction::Egress));
    for (place, _) in ingress {
        let at_xdp = |interface: &&Interface| interface.hook.is_some_and(Via::is_xdp);
        let Some(interface) = interfaces.iter().filter(at_xdp).find(|i| is_for(place, i, interfaces)) else { continue };
        let Some(hook) = interface.hook_span else { continue };
        let title = format!("`{key}` needs TC, and {} is at XDP", quote(&interface.pattern));
        let finding = Finding::error(span, title).also(hook, "because of this");
        return findings.error(finding.help("XDP runs before a packet has a mark or a priority: write hook = \"tcx\""));
    }
}

/// Whether a section decides on some interface that a place means.
fn is_for(place: &Place, section: &Interface, interfaces: &[Interface]) -> bool {
    if covers(&place.pattern, &section.pattern) {
        return true;
    }
    // The place is narrower: then the section is the longest of those around it.
    covers(&section.pattern, &place.pattern)
        && !interfaces.iter().any(|other| {
            other.pattern != section.pattern
                && covers(&section.pattern, &other.pattern)
                && covers(&other.pattern, &place.pattern)
        })
}

/// Of what leaves nothing.
pub(super) const NEVER: &str = "this can never match: nothing is left";

/// Reports conditions that leave nothing, each by itself or with one before it; whether there was one.
fn check_each(written: &Written, findings: &mut Findings) -> bool {
    let mut bounds = Bounds::default();
    for (condition, span) in conditions(written) {
        bounds.narrow(condition);
        let Some(axes) = axes(&condition.field, condition.negated) else { continue };
        if axes.iter().any(|axis| bounds.get(*axis).is_none_or(|left| !left.is_empty())) {
            continue;
        }
        let same = |(other, _): &(&Condition, Span)| {
            std::mem::discriminant(&other.field) == std::mem::discriminant(&condition.field)
        };
        let first = conditions(written).find(same).map(|(_, span)| span).filter(|first| *first != span);
        let finding = Finding::error(span, NEVER);
        findings.error(match first {
            Some(first) => finding.also(first, "together with this"),
            None => finding,
        });
        return true;
    }
    false
}

/// The axes of which at least one has to have something left.
fn axes(field: &Field, negated: bool) -> Option<&'static [Axis]> {
    Some(match field {
        Field::Dscp(_) => &[Axis::Dscp],
        Field::Family(_) => &[Axis::Family],
        Field::Proto(_) => &[Axis::Proto],
        Field::Src(_) => &[Axis::SrcV4, Axis::SrcV6],
        Field::Dst(_) => &[Axis::DstV4, Axis::DstV6],
        Field::SrcPort(_) => &[Axis::SrcPort],
        Field::DstPort(_) => &[Axis::DstPort],
        Field::Port(_) if negated => &[Axis::BothPorts],
        Field::Port(_) => &[Axis::EitherPort],
        Field::Vlan(_) => &[Axis::Vlan],
        Field::Pcp(_) => &[Axis::Pcp],
        Field::Length(_) => &[Axis::Length],
        Field::Fragment(_) => &[Axis::Fragment],
        Field::IcmpType(_) => &[Axis::IcmpType],
        Field::Origin(_) => &[Axis::Origin],
        Field::Mark(_) | Field::From(_) => return None,
    })
}

/// Reports two fields that no packet has together as they are asked for.
fn check_together(written: &Written, findings: &mut Findings) {
    let bounds = Bounds::of(&written.rule);
    let find = |wanted: fn(&Field) -> bool| {
        conditions(written).find(|(condition, _)| wanted(&condition.field)).map(|(_, span)| span)
    };
    let port = find(|field| matches!(field, Field::SrcPort(_) | Field::DstPort(_) | Field::Port(_)));
    let icmp_type = find(|field| matches!(field, Field::IcmpType(_)));
    let proto = find(|field| matches!(field, Field::Proto(_)));
    let fragment = find(|field| matches!(field, Field::Fragment(_)));
    let family = find(|field| matches!(field, Field::Family(_)));
    let addresses =
        find(|field| matches!(field, Field::Src(_))).into_iter().chain(find(|f| matches!(f, Field::Dst(_))));
    let from = find(|field| matches!(field, Field::From(_)));
    let origin = find(|field| matches!(field, Field::Origin(_)));
    let length = find(|field| matches!(field, Field::Length(_)));

    let mut report = |second: Option<Span>, first: Option<Span>, title: &str, label: &str| {
        if let (Some(second), Some(first)) = (second, first) {
            findings.error(Finding::error(second, title).also(first, label));
        }
    };
    let admits = |test: fn(u8) -> bool| move |number: u128| u8::try_from(number).is_ok_and(test);
    if !bounds.leaves(Axis::Proto, 255, admits(protocols::has_ports)) {
        report(port, proto, "only TCP, UDP, SCTP, DCCP and UDP-Lite have ports", "not this");
    }
    if !bounds.leaves(Axis::Proto, 255, admits(protocols::has_icmp_type)) {
        report(icmp_type, proto, "only ICMP and ICMPv6 have a type", "not this");
    }
    report(icmp_type, port, "no packet has both ports and an ICMP type", "ports");
    if !bounds.leaves(Axis::Fragment, 2, |kind| kind < 2) {
        report(port.or(icmp_type), fragment, "a later fragment has no transport header", "only later fragments");
    }
    if ![4, 6].into_iter().any(|version| has_family(&bounds, version)) {
        let addresses = addresses.collect::<Vec<_>>();
        report(
            addresses.last().copied(),
            family.or(addresses.first().copied()),
            "no packet is of both families",
            "of the other family",
        );
    }
    if let (Some(left), Some(length)) = (bounds.get(Axis::Length), length)
        && left.last().is_some_and(|(_, last)| *last < 20)
    {
        findings.error(Finding::error(length, "no IP packet is shorter than 20 bytes"));
    }
    check_from_local(written, from, origin, findings);
}

/// Whether a family is left by `family`, `src` and `dst` together.
fn has_family(bounds: &Bounds, version: u128) -> bool {
    let [src, dst] = if version == 4 { [Axis::SrcV4, Axis::DstV4] } else { [Axis::SrcV6, Axis::DstV6] };
    let is_left = |axis| bounds.get(axis).is_none_or(|left| !left.is_empty());
    bounds.leaves(Axis::Family, 6, |family| family == version) && is_left(src) && is_left(dst)
}

/// What this host made came in by no interface.
fn check_from_local(written: &Written, from: Option<Span>, origin: Option<Span>, findings: &mut Findings) {
    let local = written.rule.conditions.iter().any(|condition| match condition.field {
        Field::Origin(origin) => (origin == Origin::Local) != condition.negated,
        _ => false,
    });
    if let (true, Some(from), Some(origin)) = (local, from, origin) {
        let finding = Finding::error(from, "what this host made came in by no interface");
        findings.error(finding.also(origin, "made by this host"));
    }
}
