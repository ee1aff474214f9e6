//! Who else changes marks, and who else looks at them.

use super::{
    Command, Cure, Detail, Finding, Level,
    facts::{Ground, OwnHook, Port, RoutingRule},
    outside::{Does, Outside, Packets, Rule, Stage, Way},
    programs, tc, wash,
};
use crate::hook::{CLSACT_PRIORITY, Direction, Via};

/// What changes marks behind our hook at egress: they are not on the wire as AFTER says.
pub(super) fn on_the_wire(port: &Port, ground: &Ground) -> Vec<Finding> {
    let both = [Direction::Egress, Direction::Ingress];
    both.into_iter().flat_map(|direction| behind_us(port, direction, Packets::ALL, ground)).collect()
}

/// The same, as far as it is about one direction and some packets.
pub(super) fn behind_us(port: &Port, direction: Direction, packets: Packets, ground: &Ground) -> Vec<Finding> {
    let washes = if direction == Direction::Egress { wash::at(port, ground) } else { Vec::new() };
    let here = |filter: &&tc::Filter| filter.place.direction() == direction && filter.packets.meets(packets);
    let rewrites = port.tc.rewrites.iter().filter(here).map(|filter| rewritten(port, filter));
    let taking = port.tc.takes.iter().filter(here).filter(|filter| !wash::comes_back(filter, ground));
    let takes = taking.map(|filter| taken(port, filter));
    let redirects = port.tc.redirects.iter().filter(here).flat_map(|filter| sent_around(port, filter, ground));
    washes.into_iter().chain(rewrites).chain(takes).chain(redirects).collect()
}

/// What else sees packets at this interface before us, each with what takes it away or shows more.
pub(super) fn before_us(port: &Port, direction: Direction, packets: Packets, ground: &Ground) -> Vec<Detail> {
    others(port, direction, packets, ground, true)
}

/// What else sees packets at this interface after us, the same.
pub(super) fn after_us(port: &Port, direction: Direction, packets: Packets, ground: &Ground) -> Vec<Detail> {
    others(port, direction, packets, ground, false)
}

/// Filters that rewrite or take away, and programs, which may do anything: only their author knows.
fn others(port: &Port, direction: Direction, packets: Packets, ground: &Ground, before: bool) -> Vec<Detail> {
    let Some(hook) = port.hook(direction) else { return Vec::new() };
    let here = |filter: &&tc::Filter| {
        let there = filter.place.direction() == direction && comes_before(hook, filter) == before;
        there && filter.packets.meets(packets)
    };
    let rewrites = port.tc.rewrites.iter().filter(here).map(|filter| filtered(port, filter, "rewrites marks", None));
    let taking = port.tc.takes.iter().filter(here).filter(|filter| !wash::comes_back(filter, ground));
    let takes = taking.map(|filter| filtered(port, filter, &takes(filter), None));
    let redirects = port.tc.redirects.iter().filter(here).flat_map(|filter| {
        wash::on_the_way(filter, ground).into_iter().map(move |(does, cure)| filtered(port, filter, &does, cure))
    });
    let runs = port.tc.programs.iter().filter(here).map(|filter| filtered(port, filter, "runs a program", None));
    let programs = programs::beside(port, direction, before).map(|program| programs::suspect(port, program));
    rewrites.chain(takes).chain(redirects).chain(runs).chain(programs).collect()
}

/// Who behind our hook may take packets away, whatever their mark.
pub(super) fn takers_behind(port: &Port, direction: Direction) -> Vec<Detail> {
    let Some(hook) = port.hook(direction) else { return Vec::new() };
    let here = |filter: &&tc::Filter| filter.place.direction() == direction && !comes_before(hook, filter);
    let takes = port.tc.takes.iter().filter(here).map(|filter| filtered(port, filter, &takes(filter), None));
    let runs = port.tc.programs.iter().filter(here).map(|filter| filtered(port, filter, "runs a program", None));
    let programs = programs::beside(port, direction, false).map(|program| programs::suspect(port, program));
    takes.chain(runs).chain(programs).collect()
}

/// A filter at an interface with what it does, and the command that takes it away if nothing else helps.
fn filtered(port: &Port, filter: &tc::Filter, does: &str, cure: Option<Command>) -> Detail {
    let name = &port.device.name;
    Detail {
        text: format!("tc filter {} at {name} {} {does}", filter.words(), filter.place.label()),
        cure: cure.or_else(|| filter.removal(name)).map(Cure::There),
    }
}

/// What changes marks at the interface by which a filter sends packets.
fn sent_around(port: &Port, filter: &tc::Filter, ground: &Ground) -> Vec<Finding> {
    let after = [": marks counted as AFTER are not sent", ": marks counted as AFTER are changed on their way"];
    let told = |(does, cure): (String, Option<Command>)| {
        let finding = told_of(port, filter, "wash", &does, after);
        if let Some(cure) = cure { finding.cure(Cure::There(cure)) } else { finding }
    };
    wash::on_the_way(filter, ground).into_iter().map(told).collect()
}

fn rewritten(port: &Port, filter: &tc::Filter) -> Finding {
    let action = filter.action.as_deref().unwrap_or("an action");
    let does = format!("rewrites marks by {action}");
    let after =
        [": marks counted as AFTER are changed on the wire", ": marks counted as AFTER are changed on their way"];
    told_of(port, filter, "tc-rewrites", &does, after)
}

/// By the mark that it looks at.
fn taken(port: &Port, filter: &tc::Filter) -> Finding {
    let after = [": not all that is counted as AFTER is sent", ": not all that is counted as AFTER goes on"];
    told_of(port, filter, "tc-takes", &takes(filter), after)
}

/// `takes EF away by gact`.
fn takes(filter: &tc::Filter) -> String {
    format!("takes {} away by {}", filter.packets.marks(), filter.action.as_deref().unwrap_or("an action"))
}

/// A filter of tc beside our hook, and what it means for what we count there, at egress and at ingress, if it is behind it.
fn told_of(port: &Port, filter: &tc::Filter, code: &'static str, does: &str, after: [&str; 2]) -> Finding {
    let name = &port.device.name;
    let direction = filter.place.direction();
    let order = match (port.hook(direction), direction) {
        (None, _) => String::new(),
        (Some(hook), _) if comes_before(hook, filter) => " before us".to_owned(),
        (Some(_), Direction::Egress) => format!(" after us{}", after[0]),
        (Some(_), Direction::Ingress) => format!(" after us{}", after[1]),
    };
    let (words, place) = (filter.words(), filter.place.label());
    let text = format!("tc filter {words} at {name} {place} {does}{order}");
    let cure = match filter.removal(name) {
        Some(removal) => Cure::There(removal),
        None => Cure::Advice("tc does not tell its handle: without it, its neighbours would be removed too".to_owned()),
    };
    let level = if port.hook(direction).is_some() { Level::Warn } else { Level::Info };
    Finding::new(level, name, code, text).cure(cure)
}

/// XDP and TCX come before clsact; in clsact the smaller number comes first. Qdiscs come behind all of them.
fn comes_before(hook: &OwnHook, filter: &tc::Filter) -> bool {
    matches!(filter.place, tc::Place::List(_)) && hook.via == Via::Clsact && filter.pref < CLSACT_PRIORITY
}

/// Programs that tc runs where no hook for programs is.
pub(super) fn run_by_tc(port: &Port) -> Vec<Finding> {
    let name = &port.device.name;
    let told = |filter: &tc::Filter| {
        let (words, place) = (filter.words(), filter.place.label());
        let text = format!("tc filter {words} at {place} runs a program: what it does to marks is not known");
        Finding::info(name, "tc-program", text)
    };
    port.tc.programs.iter().map(told).collect()
}

/// Rules of packet filters that set marks of packets that come in, or leave, by some interfaces, or drop by the mark: between
/// our hooks. Each is told once, of its interface, or of the host if there are several.
pub(super) fn inside(interfaces: &[&str], ground: &Ground, outside: &Outside) -> Vec<Finding> {
    let told = |rule: &Rule| {
        let about: Vec<&str> = interfaces.iter().copied().filter(|interface| is_about(rule, interface)).collect();
        match *about {
            [] => None,
            [interface] => Some(marker(interface, rule, "", ground)),
            [..] => Some(marker("host", rule, &format!(", at {}", few(&about)), ground)),
        }
    };
    outside.markers().chain(outside.takers()).filter_map(told).collect()
}

fn few(names: &[&str]) -> String {
    const MOST: usize = 4;
    match names.get(MOST..) {
        None | Some([]) => names.join(", "),
        Some(more) => format!("{} and {} more", names[..MOST].join(", "), more.len()),
    }
}

/// Whether it is told at this interface: where a rule names one it is told there, else where packets leave.
fn is_about(rule: &Rule, interface: &str) -> bool {
    let is_told = |way: &Way| match (way.asks.iif.is_empty(), way.asks.oif.is_empty()) {
        (false, true) => way.concerns(interface, Direction::Ingress),
        _ => way.concerns(interface, Direction::Egress),
    };
    rule.ways.iter().any(is_told)
}

/// Beside a policy it is a second hand on the marks; where we only count it is what is counted.
fn marker(subject: &str, rule: &Rule, at: &str, ground: &Ground) -> Finding {
    let (level, code, does) = match rule.does {
        Does::Take(_) => (Level::Info, "taken-by-others", "lies"),
        _ if ground.enforces() => (Level::Warn, "marked-by-others", "changes marks"),
        _ => (Level::Info, "marked-by-others", "changes marks"),
    };
    let text = format!("{}: {does} {}{at}", rule.words(), whereabouts(rule));
    Finding::new(level, subject, code, text).cure(Cure::There(rule.removal.clone()))
}

/// Where a rule lies, seen from our hooks.
fn whereabouts(rule: &Rule) -> &'static str {
    if rule.is_only_at(Stage::Output) {
        return "on the way of what this host makes, before our hooks at egress";
    }
    if rule.is_only_at(Stage::Input) {
        return "on the way of what is for this host, behind our hooks at ingress";
    }
    "between our hooks at ingress and those at egress"
}

/// Several rules may have one priority: the command says what this one matches.
fn removed(rule: &RoutingRule) -> Command {
    let RoutingRule { family, priority, table, .. } = rule;
    let command = Command::new("ip").word(format_args!("-{family}")).words("rule del priority").word(priority);
    rule.condition().split(' ').fold(command, Command::word).words("lookup").word(table)
}

/// Routing by the DS field: what we change at ingress changes the way.
pub(super) fn routed_by_mark(ground: &Ground) -> Vec<Finding> {
    let remarks = |port: &&Port| port.hook(Direction::Ingress).is_some_and(|hook| hook.enforces);
    let at: Vec<_> = ground.ports.iter().filter(remarks).map(|port| format!("{}:ingress", port.device.name)).collect();
    let found = ground.rules.iter().map(|rule| {
        let level = if at.is_empty() { Level::Info } else { Level::Warn };
        let effect = if at.is_empty() { String::new() } else { format!("; {} remarks before it", at.join(", ")) };
        let text = format!(
            "ip -{} rule {}: {} goes by table {}: it sees marks as they are behind our ingress{effect}",
            rule.family,
            rule.priority,
            rule.condition(),
            rule.table
        );
        Finding::new(level, "host", "routed-by-mark", text).cure(Cure::There(removed(rule)))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use qos_common::ds::Dscp;

    use super::*;
    use crate::diagnosis::{
        facts::{Linked, Program, ProgramAt, XdpAt},
        iptables, nft,
        testing::{enforcing, filter, ground, own, port},
    };

    fn outside() -> Outside {
        let json = include_str!("testdata/nft.json");
        let text = include_str!("testdata/nft.txt");
        let saved = iptables::read("iptables", include_str!("testdata/iptables.txt"));
        Outside { nft: nft::read(json, text), iptables: vec![("iptables".to_owned(), Ok(saved))] }
    }

    #[test]
    fn a_filter_that_rewrites_is_before_or_after_us() {
        let told_at = |via: Option<Via>, pref, place: tc::Place| {
            let direction = place.direction();
            let mut port = port("wan0");
            port.hooks.extend(via.map(|via| own(direction, via)));
            port.tc.rewrites = vec![filter(place, pref, Some("pedit"))];
            on_the_wire(&port, &Ground::default()).remove(0)
        };
        let told = |via, pref, direction| told_at(via, pref, tc::Place::List(direction));
        let egress = told(Some(Via::Tcx), 10, Direction::Egress);
        assert!(egress.text.contains("after us: marks counted as AFTER are changed on the wire"), "{}", egress.text);
        let removal = "tc filter del dev wan0 egress protocol ip pref 10 chain 0 handle 0x1 flower";
        assert_eq!(egress.cure, Some(Cure::There(Command::new(removal))));
        assert!(told(Some(Via::Clsact), 10, Direction::Egress).text.ends_with("by pedit before us"));
        assert!(told(Some(Via::Clsact), 30_000, Direction::Ingress).text.contains("on their way"));
        assert_eq!(told(None, 10, Direction::Egress).level, Level::Info);
        let classful = told_at(Some(Via::Clsact), 10, tc::Place::Parent("1:".to_owned()));
        assert!(classful.text.contains("at wan0 parent 1: rewrites marks by pedit after us"), "{}", classful.text);
    }

    #[test]
    fn a_filter_that_takes_away_is_told_of_its_packets_alone() {
        let mut port = enforcing("wan0", Direction::Egress);
        let mut drop = filter(tc::Place::List(Direction::Egress), 10, Some("gact"));
        drop.packets.dscps = 1 << 46;
        port.tc.takes = vec![drop];
        let ef = Packets::of(&[Dscp::EF]);
        let found = behind_us(&port, Direction::Egress, ef, &Ground::default()).remove(0);
        assert_eq!((found.level, found.code), (Level::Warn, "tc-takes"));
        assert!(found.text.contains("wan0 egress takes EF away by gact after us: not all"), "{}", found.text);
        assert!(matches!(found.cure, Some(Cure::There(_))));
        assert_eq!(after_us(&port, Direction::Egress, ef, &Ground::default()).len(), 1);
        for others in [Packets::of(&[Dscp::CS6]), Packets { families: [false, true], ..ef }] {
            assert!(behind_us(&port, Direction::Egress, others, &Ground::default()).is_empty());
            assert!(after_us(&port, Direction::Egress, others, &Ground::default()).is_empty());
        }
        assert_eq!(on_the_wire(&port, &Ground::default()).len(), 1);
    }

    /// A router that shapes what comes in by `wan0` behind an ifb, and what `tc` says of a filter that sends it there.
    fn shaped(hook: Option<Via>, to: tc::Filter) -> Ground {
        let mut wan = port("wan0");
        wan.hooks.extend(hook.map(|via| own(Direction::Ingress, via)));
        wan.tc.redirects = vec![to];
        let mut ifb =
            Port { device: crate::netdev::Netdev { ifindex: 2, ..port("ifb4wan0").device }, ..port("ifb4wan0") };
        ifb.device.kind = Some("ifb".to_owned());
        ifb.tc.washes = vec![tc::Wash { kind: "cake".to_owned(), parent: "root".to_owned() }];
        ground(vec![wan, ifb])
    }

    fn redirect(direction: Direction) -> tc::Filter {
        let filter = filter(tc::Place::List(direction), 10, Some("mirred"));
        tc::Filter { to: Some("ifb4wan0".to_owned()), packets: Packets::ALL, ..filter }
    }

    #[test]
    fn the_wash_of_an_ifb_behind_ingress_is_told_where_we_count() {
        let told = |ground: &Ground| on_the_wire(&ground.ports[0], ground).remove(0);
        let ground = shaped(Some(Via::XdpNative), redirect(Direction::Ingress));
        let found = told(&ground);
        assert_eq!((found.level, found.code, &*found.subject), (Level::Warn, "wash", "wan0"));
        let words = "at wan0 ingress redirects to ifb4wan0, where qdisc cake at root clears marks after us: marks counted as \
                     AFTER are changed on their way";
        assert!(found.text.ends_with(words), "{}", found.text);
        assert_eq!(found.cure, Some(Cure::There(Command::new("tc qdisc change dev ifb4wan0 root cake nowash"))));
        let after = after_us(&ground.ports[0], Direction::Ingress, Packets::of(&[Dscp::EF]), &ground);
        assert_eq!(after.len(), 1, "a suspect: {after:?}");
        assert_eq!(told(&shaped(None, redirect(Direction::Ingress))).level, Level::Info);
        assert!(behind_us(&ground.ports[0], Direction::Egress, Packets::ALL, &ground).is_empty());
        assert_eq!(on_the_wire(&ground.ports[1], &ground)[0].level, Level::Info, "nothing of ours is there");
    }

    #[test]
    fn what_an_ifb_gives_back_is_not_taken_away() {
        let take = redirect(Direction::Ingress);
        let mut ground = shaped(Some(Via::XdpNative), take.clone());
        ground.ports[0].tc.takes = vec![take];
        ground.ports[1].tc.washes.clear();
        let told = |ground: &Ground| behind_us(&ground.ports[0], Direction::Ingress, Packets::ALL, ground);
        assert!(told(&ground).is_empty(), "{:?}", told(&ground));
        assert!(after_us(&ground.ports[0], Direction::Ingress, Packets::ALL, &ground).is_empty());
        ground.ports[1].tc.rewrites = vec![filter(tc::Place::List(Direction::Egress), 5, Some("pedit"))];
        let rewritten = told(&ground).remove(0);
        assert!(rewritten.text.contains("at egress rewrites marks after us"), "{}", rewritten.text);
        assert!(matches!(rewritten.cure, Some(Cure::There(cure)) if cure.to_string().contains("dev ifb4wan0 egress")));
        ground.ports[1].device.kind = Some("veth".to_owned());
        assert_eq!(told(&ground)[0].code, "tc-takes");
    }

    #[test]
    fn rules_that_mark_are_told_where_they_matter() {
        let told = |interface: &str, ground: &Ground| inside(&[interface], ground, &outside());
        let counting = Ground::default();
        let wan = told("wan0", &counting);
        assert!(wan[0].text.starts_with("nft table inet qos chain post handle 6: oifname \"wan0\""), "{}", wan[0].text);
        assert!(wan.iter().any(|finding| finding.text.starts_with("iptables -t mangle FORWARD 1:")));
        assert!(wan.iter().all(|finding| finding.level == Level::Info));
        let enforcing = ground(vec![enforcing("wan0", Direction::Egress)]);
        assert!(told("wan0", &enforcing).iter().all(|finding| finding.level == Level::Warn));
        assert!(told("lan0", &counting).len() < wan.len());
    }

    #[test]
    fn routing_by_mark_is_told_with_who_remarks_before_it() {
        let rule = RoutingRule { family: 4, priority: 32_765, tos: 0x10, by_dscp: false, table: 100 };
        let of = |ports| routed_by_mark(&Ground { rules: vec![rule.clone()], ..ground(ports) }).remove(0);
        assert_eq!(of(vec![port("lan0")]).level, Level::Info);
        let remarked = of(vec![enforcing("lan0", Direction::Ingress)]);
        assert_eq!(remarked.level, Level::Warn);
        assert!(remarked.text.contains("ip -4 rule 32765: tos 0x10 goes by table 100"), "{}", remarked.text);
        assert!(remarked.text.ends_with("lan0:ingress remarks before it"), "{}", remarked.text);
        assert_eq!(remarked.cure, Some(Cure::There(Command::new("ip -4 rule del priority 32765 tos 0x10 lookup 100"))));
        // Which of the two it was made by the kernel wants to be told again, in either family.
        for (family, by_dscp, words) in [(4, true, "dscp 4"), (6, true, "dscp 4"), (6, false, "tos 0x10")] {
            let rule = RoutingRule { family, by_dscp, ..rule.clone() };
            let found = routed_by_mark(&Ground { rules: vec![rule], ..Ground::default() }).remove(0);
            assert!(found.text.contains(&format!("rule 32765: {words} goes by table 100")), "{}", found.text);
            let command = Command::new("ip").word(format_args!("-{family}")).words("rule del priority 32765");
            assert_eq!(found.cure, Some(Cure::There(command.words(words).words("lookup 100"))), "{family} {by_dscp}");
        }
    }

    #[test]
    fn what_is_before_us_and_after_us_is_told_apart() {
        let program = |at, before_us| Program { id: 9, name: "x".to_owned(), at, before_us, link: Linked::No };
        let foreign = vec![
            program(ProgramAt::Xdp(XdpAt::Native), None),
            program(ProgramAt::Tcx(Direction::Egress), Some(true)),
            program(ProgramAt::Tcx(Direction::Egress), Some(false)),
        ];
        let both = vec![own(Direction::Ingress, Via::Tcx), own(Direction::Egress, Via::Tcx)];
        let port = Port { foreign, hooks: both, ..port("wan0") };
        let before = before_us(&port, Direction::Ingress, Packets::ALL, &Ground::default());
        let show = Cure::Look(Box::new(Cure::Host(Command::new("bpftool prog show id 9"))));
        assert_eq!(before, [Detail { text: "program 9 \"x\" at wan0 ingress".to_owned(), cure: Some(show) }]);
        assert_eq!(
            [
                before_us(&port, Direction::Egress, Packets::ALL, &Ground::default()).len(),
                after_us(&port, Direction::Egress, Packets::ALL, &Ground::default()).len()
            ],
            [1, 1]
        );
        assert!(after_us(&port, Direction::Ingress, Packets::ALL, &Ground::default()).is_empty());
    }
}
