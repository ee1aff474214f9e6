//! The twin of a hook's program, with what the policy says of the hook beside it: the numbers that it counts become
//! names and lines.

use qos_common::{
    ds::Dscp,
    inside::{self as layers, Inside},
    locate::{Link, Located},
    tunnel,
};

use super::{conditioner, outdated, site::Site};
use crate::{
    error::{Exit, Failure},
    explain::{Decider, Decision, Explained, Leaves, PassedOver, RulePlace, Stage},
    hook::{Direction, Layer},
    kernel::{
        datapath::{Hook, Observed},
        needs::Needs,
        object::{Program, Specialisation},
        state::{Binding, HookState, TableRecord},
        twin::{Given, Trace, Twin},
    },
    policy::{
        MOST_BYTES as MOST, Policy,
        model::{Field, Rule},
        packet::Packet,
        walk,
    },
    rules::from::Named,
};

/// Interfaces that a packet names and that do not exist have the numbers from here on, and the last one is that of
/// nobody.
const MADE_UP: u32 = 0x7fff_0000;
const NAMELESS: u32 = 0x7fff_ffff;

/// A hook, what a policy says of it, and the twin of its program.
pub struct Double {
    /// The hook.
    pub stage: Stage,
    direction: Direction,
    link: Link,
    inside: Inside,
    program: Program,
    binding: Option<Binding>,
    /// As they are now.
    interfaces: Vec<Named>,
    /// As they were when the rules were compiled that run at the hook, if it is that program that has a twin.
    compiled_for: Option<Vec<Named>>,
    twin: Option<Twin>,
}

/// By which policy.
#[derive(Clone, Copy)]
pub enum By<'a> {
    /// What the hook has; where nothing is attached, what the policy in force says of it.
    InForce,
    /// This one.
    Policy(&'a Policy),
}

impl Double {
    /// Finds out what the program of a hook is, or would be: one that is attached has its own; any other that of TC, for
    /// Ethernet unless the interface is there and says otherwise.
    ///
    /// # Errors
    ///
    /// `link-type`; `not-attached` if neither a program nor the policy in force knows the hook.
    pub fn of(site: &Site, interface: &str, direction: Direction, by: By<'_>) -> anyhow::Result<Self> {
        let there = |hook: &&Hook| site.name_of(hook) == interface && hook.pins.direction == direction;
        let attached = site.hooks.iter().filter(|hook| hook.running != Observed::Gone).find(there);
        let state = attached.map(|hook| &hook.state);
        let running = attached.filter(|_| matches!(by, By::InForce));
        let name = format!("{interface}:{direction}");
        let binding = match (by, state) {
            (By::Policy(policy), _) => conditioner::binding(policy, interface, direction),
            (By::InForce, Some(state)) => state.binding.clone(),
            (By::InForce, None) => {
                let policy = site.policy.as_ref().map(|found| &found.policy);
                let binding = policy.and_then(|policy| conditioner::binding(policy, interface, direction));
                Some(binding.ok_or_else(|| unknown(&name))?)
            }
        };
        let needs_tc = Needs::of(binding.as_ref()).tc.is_some();
        let own = state.map(|state| state.program(direction)).filter(|_| !needs_tc);
        Ok(Self {
            stage: Stage {
                outdated: running.map_or_else(Vec::new, |hook| outdated::words(site, hook)),
                ..stage(name, state, binding.as_ref(), by)
            },
            direction,
            link: state.map_or_else(|| link(site, interface), |state| Ok(state.link()))?,
            inside: Layer::together(inside(state, binding.as_ref())),
            program: own.unwrap_or(Program::Tc(direction)),
            binding,
            interfaces: conditioner::numbered(&site.interfaces),
            // What is out of the path is compiled anew when it comes back.
            compiled_for: running.and_then(|hook| hook.state.enforced().and(hook.state.named.clone())),
            twin: None,
        })
    }

    /// What precedes the IP header there.
    pub const fn link(&self) -> Link {
        self.link
    }

    /// Gives a number to an interface that a packet comes from, if there is none of that name.
    pub fn know(&mut self, interface: &str) {
        if !self.interfaces.iter().any(|(_, name)| name == interface) {
            let made_up = self.interfaces.iter().filter(|(number, _)| *number >= MADE_UP).count();
            let new = (MADE_UP + made_up as u32, interface.to_owned());
            self.compiled_for.iter_mut().for_each(|then| then.push(new.clone()));
            self.interfaces.push(new);
            self.twin = None;
        }
    }

    /// Lets a packet through that is given in words.
    ///
    /// # Errors
    ///
    /// `privilege`, `load`, `rules`, `test-run`; `usage` for a tag on a device that has none.
    pub fn try_packet(&mut self, packet: &Packet) -> anyhow::Result<Explained> {
        if packet.vlan.is_some() && self.link == Link::Layer3 {
            let why = format!("{}: a device without Ethernet has no VLAN tags", self.stage.hook);
            return Err(Failure::new("usage", why).exit(Exit::Usage).into());
        }
        self.try_frame(&packet.frame(self.link), Some(packet))
    }

    /// Lets a frame through; `said`: what it is in words, where those say more than its bytes.
    ///
    /// # Errors
    ///
    /// Those of [`try_packet`](Self::try_packet).
    pub fn try_frame(&mut self, frame: &[u8], said: Option<&Packet>) -> anyhow::Result<Explained> {
        let located = layers::locate(frame, self.link, self.inside, 0);
        let inner = match located {
            Located::Ip(header) => self.outer().and_then(|_| tunnel::inner(frame, &header)),
            _ => None,
        };
        let read = Packet::of_frame(frame, self.link, self.inside).map(|packet| self.as_it_comes(packet, inner));
        let packet = said.cloned().or(read);
        let (from, mark) = packet.as_ref().map_or((0, 0), |packet| (self.number_of(packet), packet.mark.unwrap_or(0)));
        let behind = match located {
            Located::Ip(header) => header.offset,
            _ => 0,
        };
        // Rules ask for nothing that is further behind, but a meter charges all of it.
        let shown = frame.get(..behind + MOST).unwrap_or(frame);
        let trace = self.twin()?.run(Given { frame: shown, from, mark })?;
        let decision = self.decision(&trace, mark, inner);
        let length = said.map_or(frame.len() - behind, |packet| packet.length.into());
        if decision.color.is_some() && length > shown.len() - behind {
            return Err(too_long(length, &decision));
        }
        Ok(Explained {
            passed_over: packet.as_ref().map_or_else(Vec::new, |packet| self.passed_over(packet, &decision.by)),
            packet: packet.map_or_else(|| format!("a frame of {} bytes", frame.len()), |packet| packet.to_string()),
            decision,
        })
    }

    /// The table for outer headers.
    fn outer(&self) -> Option<&TableRecord> {
        self.binding.as_ref()?.outer.as_ref()
    }

    /// A frame does not say who made it: at egress it is taken for a forwarded one, unless the policy marks what is made here
    /// by what is inside, and that is to be seen.
    fn as_it_comes(&self, packet: Packet, inner: Option<Dscp>) -> Packet {
        use crate::policy::model::Origin;
        let origin = if inner.is_some() { Origin::Local } else { Origin::Forwarded };
        let origin = (self.direction == Direction::Egress).then_some(origin);
        Packet { origin, ..packet }
    }

    /// The interface by which it came, as the program sees it.
    fn number_of(&self, packet: &Packet) -> u32 {
        use crate::policy::model::Origin;
        let named = |from: &String| self.interfaces.iter().find(|(_, name)| name == from).map(|(number, _)| *number);
        match (self.direction, packet.origin) {
            (Direction::Ingress, _) | (_, Some(Origin::Local)) => 0,
            _ => packet.from.as_ref().and_then(named).unwrap_or(NAMELESS),
        }
    }

    fn twin(&mut self) -> anyhow::Result<&mut Twin> {
        let twin = match self.twin.take() {
            Some(twin) => twin,
            None => Twin::load(self.program, self.specialisation()?)?,
        };
        Ok(self.twin.insert(twin))
    }

    fn compiled_for(&self) -> &[Named] {
        self.compiled_for.as_ref().unwrap_or(&self.interfaces)
    }

    fn specialisation(&self) -> anyhow::Result<Specialisation> {
        let counting = Specialisation { inside: self.inside, ..Specialisation::counting(self.link) };
        let Some(binding) = &self.binding else { return Ok(counting) };
        let table = binding.table.as_ref().map(TableRecord::compiled).transpose()?;
        // A twin counts by the order of its rules, and meters by the order of those that meter.
        let in_order: Vec<u16> = (0..).take(binding.rules.len()).collect();
        let rules = conditioner::compile(binding, &in_order, &in_order, self.compiled_for())?;
        let outer = binding.outer.as_ref().map(TableRecord::compiled).transpose()?;
        Ok(Specialisation { table, outer, rules, local: binding.local.into(), ..counting })
    }

    fn decision(&self, trace: &Trace, mark: u32, inner: Option<Dscp>) -> Decision {
        let rules = self.binding.as_ref().map_or(&[][..], |binding| &binding.rules);
        let hit = || trace.rules.iter().filter_map(|slot| rules.get(*slot));
        let decider = hit().find(|rule| rule.decides());
        Decision {
            by: self.decider(trace, decider, inner),
            came: trace.came.map(|(_, ds)| ds),
            leaves: match trace.left {
                _ if trace.dropped => Leaves::Dropped,
                Some(ds) => Leaves::As(ds.dscp()),
                None => Leaves::Untouched,
            },
            priority: decider.and_then(|rule| rule.priority).map(|_| trace.priority),
            mark: Some(trace.mark).filter(|left| *left != mark && decider.is_some_and(|rule| rule.mark.is_some())),
            color: trace.color.map(|(_, color)| color),
            counted: hit().filter(|rule| !rule.decides()).map(place).collect(),
            limited: trace.limited,
        }
    }

    fn decider(&self, trace: &Trace, rule: Option<&Rule>, inner: Option<Dscp>) -> Decider {
        let Some((_, came)) = trace.came else {
            return trace.uncounted.map_or(Decider::Nobody, Decider::Uncounted);
        };
        let Some(binding) = &self.binding else { return Decider::Nobody };
        if trace.protected {
            return Decider::Local(binding.local.as_str());
        }
        if let Some(rule) = rule {
            return Decider::Rule(place(rule));
        }
        if let (true, Some(inner), Some(table)) = (trace.ruled, inner, &binding.outer)
            && let Some(entry) = table.entries.get(inner.index())
        {
            let (table, key) = (table.name.clone(), entry.key.clone());
            return Decider::Outer { inner, table, key, line: entry.line };
        }
        let entry = binding.table.as_ref().and_then(|table| Some((table, table.entries.get(came.dscp().index())?)));
        entry.map_or(Decider::Nobody, |(table, entry)| Decider::Entry {
            table: table.name.clone(),
            key: entry.key.clone(),
            line: entry.line,
        })
    }

    /// The rules before the one that decided, each with what of it is not so.
    fn passed_over(&self, packet: &Packet, by: &Decider) -> Vec<PassedOver> {
        let rules = self.binding.as_ref().map_or(&[][..], |binding| &binding.rules);
        let asked: Vec<&Rule> = match by {
            Decider::Rule(decider) => rules.iter().take_while(|rule| rule.name != decider.name).collect(),
            Decider::Entry { .. } | Decider::Outer { .. } | Decider::Nobody => rules.iter().collect(),
            Decider::Local(_) | Decider::Uncounted(_) => Vec::new(),
        };
        let unmet = |rule: &&Rule| {
            let because = match walk::unmet(rule, packet) {
                Some(condition) => condition.to_string(),
                None => self.met_by_name_alone(rule)?,
            };
            Some(PassedOver { rule: place(rule), because })
        };
        asked.iter().filter(|rule| rule.decides()).filter_map(unmet).collect()
    }

    /// What is not so of a rule that all is so of but the numbers of interfaces.
    fn met_by_name_alone(&self, rule: &Rule) -> Option<String> {
        let from = rule.conditions.iter().find(|condition| matches!(condition.field, Field::From(_)))?;
        let is_outdated = rule.means_others(self.compiled_for(), &self.interfaces);
        is_outdated.then(|| format!("{from}, as it was when the rule was compiled"))
    }
}

fn stage(hook: String, state: Option<&HookState>, binding: Option<&Binding>, by: By<'_>) -> Stage {
    let policy = match by {
        By::Policy(policy) => Some((policy.name().to_owned(), policy.hash().to_owned())),
        By::InForce => binding.map(|binding| (binding.policy.name.clone(), binding.policy.hash.clone())),
    };
    let file = match by {
        By::Policy(policy) => policy.file().to_owned(),
        By::InForce => binding.map_or_else(String::new, |binding| binding.policy.file.clone()),
    };
    Stage {
        hook,
        via: state.map(|state| state.via),
        policy,
        file,
        table: binding.and_then(Binding::table_name).map(str::to_owned),
        bypassed: state.is_some_and(|state| state.bypass.is_some()),
        in_force: matches!(by, By::InForce) && state.is_some(),
        outdated: Vec::new(),
        other_version: state.map(|state| state.version.clone()).filter(|version| version != crate::VERSION),
    }
}

/// Behind which headers the program looks, by its binding or as it was attached.
fn inside<'a>(state: Option<&'a HookState>, binding: Option<&'a Binding>) -> &'a [Layer] {
    let by_policy = binding.and_then(|binding| binding.inside.as_deref());
    by_policy.or_else(|| state?.inside.as_deref()).unwrap_or_default()
}

fn too_long(length: usize, decision: &Decision) -> anyhow::Error {
    let rule = if let Decider::Rule(place) = &decision.by { &*place.name } else { "a rule" };
    Failure::new(
        "test-run",
        format!(
            "cannot tell the color of a packet of {length} bytes, which rule \"{rule}\" meters: a test run has {MOST}"
        ),
    )
    .exit(Exit::Unknown)
    .hint("a smaller packet goes the same way, unless a rule asks for the length")
    .into()
}

fn unknown(hook: &str) -> anyhow::Error {
    Failure::new("not-attached", format!("qosbpf is not attached at {hook}, and no policy in force is for it"))
        .hint("by a policy that is not in force: --file POLICY")
        .into()
}

fn link(site: &Site, interface: &str) -> anyhow::Result<Link> {
    let Some(found) = site.interfaces.iter().find(|known| known.name == interface) else { return Ok(Link::Ethernet) };
    found.link.clone().map_err(|why| Failure::new("link-type", format!("{interface}: {why}")).into())
}

fn place(rule: &Rule) -> RulePlace {
    RulePlace { name: rule.name.clone(), line: rule.line }
}
