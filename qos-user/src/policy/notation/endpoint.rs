//! An end of a packet: an address, and a port where the protocol has one.

use core::net::{IpAddr, SocketAddr};
use std::str::FromStr as _;

use super::{Read, Word};
use crate::policy::{diagnostic::quote, model::Fragment, protocols};

/// An address, and a port where the protocol has one.
pub(super) struct Endpoint {
    pub address: IpAddr,
    pub port: Option<u16>,
}

impl Endpoint {
    pub fn read(word: Word<'_>) -> Read<Self> {
        let text = word.text;
        if let Ok(both) = SocketAddr::from_str(text) {
            return Ok(Self { address: both.ip(), port: Some(both.port()) });
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        match bare.parse() {
            Ok(address) => Ok(Self { address, port: None }),
            Err(_not_an_address) => {
                let error = word.wrong(format!("{} is not an address with or without a port", quote(text)));
                Err(error.help("write 192.0.2.1:5060 or [2001:db8::1]:5060"))
            }
        }
    }

    pub fn check_port(&self, proto: u8, fragment: Fragment, word: Word<'_>) -> Read<()> {
        let wanted = protocols::has_ports(proto) && fragment != Fragment::Later;
        match self.port {
            Some(_) if fragment == Fragment::Later => Err(word.wrong("a later fragment has no ports")),
            Some(_) if !wanted => Err(word.wrong("this protocol has no ports")),
            None if wanted => {
                let help = match self.address {
                    IpAddr::V4(address) => format!("write {address}:5060"),
                    IpAddr::V6(address) => format!("write [{address}]:5060"),
                };
                Err(word.wrong("this protocol has ports, and here is none").help(help))
            }
            _ => Ok(()),
        }
    }
}
