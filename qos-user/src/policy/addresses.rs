//! Addresses, prefixes and ranges of addresses.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv4Subnets, Ipv6Net, Ipv6Subnets};

use crate::policy::{
    diagnostic::{Finding, quote},
    model::Prefixes,
    ranges,
    source::Span,
};

/// Prefixes that are still to be brought into order.
#[derive(Default)]
pub(super) struct Collected {
    v4: Vec<Ipv4Net>,
    v6: Vec<Ipv6Net>,
}

impl Collected {
    /// Takes an address, a prefix, or a range of addresses.
    pub fn push(&mut self, word: &str, span: Span) -> Result<(), Box<Finding>> {
        match word.split_once('-') {
            Some((first, last)) => self.push_range(first.trim(), last.trim(), span),
            None => {
                self.push_net(prefix(word, span)?);
                Ok(())
            }
        }
    }

    fn push_net(&mut self, net: IpNet) {
        match net {
            IpNet::V4(net) => self.v4.push(net),
            IpNet::V6(net) => self.v6.push(net),
        }
    }

    fn push_range(&mut self, first: &str, last: &str, span: Span) -> Result<(), Box<Finding>> {
        match (address(first, span)?, address(last, span)?) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                let (first, last) = ranges::in_order(first, last, span)?;
                self.v4.extend(Ipv4Subnets::new(first, last, 0));
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                let (first, last) = ranges::in_order(first, last, span)?;
                self.v6.extend(Ipv6Subnets::new(first, last, 0));
            }
            _ => return Err(Box::new(Finding::error(span, "this range begins in one family and ends in the other"))),
        }
        Ok(())
    }

    /// Takes all of a set.
    pub fn extend(&mut self, set: &Prefixes) {
        self.v4.extend(set.v4.iter().filter_map(|(network, length)| Ipv4Net::new(*network, *length).ok()));
        self.v6.extend(set.v6.iter().filter_map(|(network, length)| Ipv6Net::new(*network, *length).ok()));
    }

    /// The fewest prefixes that mean the same, sorted.
    pub fn finish(self) -> Prefixes {
        let v4 = Ipv4Net::aggregate(&self.v4).into_iter().map(|net| (net.network(), net.prefix_len()));
        let v6 = Ipv6Net::aggregate(&self.v6).into_iter().map(|net| (net.network(), net.prefix_len()));
        let (mut v4, mut v6) = (v4.collect::<Vec<(Ipv4Addr, u8)>>(), v6.collect::<Vec<(Ipv6Addr, u8)>>());
        v4.sort_unstable();
        v6.sort_unstable();
        Prefixes { v4, v6 }
    }
}

fn address(word: &str, span: Span) -> Result<IpAddr, Box<Finding>> {
    word.parse().map_err(|_not_an_address| Box::new(not_an_address(word, span)))
}

fn prefix(word: &str, span: Span) -> Result<IpNet, Box<Finding>> {
    let Some((network, length)) = word.split_once('/') else { return address(word, span).map(IpNet::from) };
    let network = address(network, span)?;
    let net = length.parse().ok().and_then(|length| IpNet::new(network, length).ok());
    let net = net.ok_or_else(|| Box::new(bad_length(network, length, span)))?;
    if net.network() == network {
        return Ok(net);
    }
    let finding = Finding::error(span, format!("{} has bits set behind its prefix", quote(word)));
    Err(Box::new(finding.help(format!("did you mean the network \"{}\", or the host \"{network}\"?", net.trunc()))))
}

fn bad_length(network: IpAddr, length: &str, span: Span) -> Finding {
    let most = if network.is_ipv4() { 32 } else { 128 };
    let finding = Finding::error(span, format!("{} is not the length of a prefix: 0 to {most}", quote(length)));
    let mask = length.parse().ok().and_then(|mask| ipnet::ip_mask_to_prefix(mask).ok());
    match mask {
        Some(length) => finding.help(format!("did you mean \"{network}/{length}\"?")),
        None => finding,
    }
}

fn not_an_address(word: &str, span: Span) -> Finding {
    let finding = Finding::error(span, format!("{} is not an address", quote(word)));
    let help = if word.contains('%') {
        "an address has no zone here: write `on` or `from` for the interface"
    } else if word.starts_with('[') {
        "an address without a port has no brackets"
    } else if word.chars().all(|c| c.is_ascii_digit() || c == '.') {
        "an IPv4 address has four numbers of 0 to 255"
    } else if word.contains(':') {
        "an IPv6 prefix is written \"2001:db8:20::/64\""
    } else {
        "write an address, a prefix or \"@\" and the name of a set; host names are not looked up"
    };
    finding.help(help)
}
