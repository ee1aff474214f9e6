//! `dscp --json`.

use qos_common::ds::{Dscp, Ecn};
use serde::Serialize;

use super::{
    Asked,
    facts::{self, Residues},
    filters::{Filters, filters},
};
use crate::render::json::SCHEMA;

/// The document for one value: the codepoint at top level, with `schema`.
#[must_use]
pub fn single(asked: Asked<'_>) -> impl Serialize + use<> {
    Single { schema: SCHEMA, codepoint: Codepoint::from(asked) }
}

/// The document for several values: `{"schema": 1, "codepoints": [...]}`.
#[must_use]
pub fn list(asked: &[Asked<'_>]) -> impl Serialize + use<> {
    List { schema: SCHEMA, codepoints: asked.iter().copied().map(Codepoint::from).collect() }
}

#[derive(Serialize)]
struct Single {
    schema: u32,
    #[serde(flatten)]
    codepoint: Codepoint,
}

#[derive(Serialize)]
struct List {
    schema: u32,
    codepoints: Vec<Codepoint>,
}

/// One codepoint.
#[derive(Clone, Debug, Serialize)]
pub struct Codepoint {
    dscp: u8,
    name: Option<&'static str>,
    tos: u8,
    dscp_hex: String,
    dscp_binary: String,
    tos_hex: String,
    tos_binary: String,
    /// The ECN bits of the byte that was asked for; null where only a codepoint was.
    ecn: Option<u8>,
    with_ecn: Vec<WithEcn>,
    precedence: u8,
    precedence_name: &'static str,
    rfc1349: Vec<&'static str>,
    phb: Option<&'static str>,
    rfc: Option<&'static str>,
    service_class: Option<&'static str>,
    /// The class that has it in the policy in force here; left out without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    user_priority: u8,
    pool: u8,
    residues: Residues,
    residue_of: Vec<u8>,
    filters: Filters,
    /// The other reading of a number that is a known ToS byte too.
    #[serde(skip_serializing_if = "Option::is_none")]
    as_tos: Option<Box<Codepoint>>,
}

#[derive(Clone, Debug, Serialize)]
struct WithEcn {
    ecn: u8,
    name: &'static str,
    tos: u8,
    hex: String,
}

impl From<Asked<'_>> for Codepoint {
    fn from(asked: Asked<'_>) -> Self {
        let dscp = asked.dscp;
        let tos = facts::tos(dscp, Ecn::NotEct);
        let (phb, rfc) = facts::behavior(dscp).unzip();
        Self {
            dscp: dscp.value(),
            name: dscp.name(),
            tos,
            dscp_hex: format!("{:#04x}", dscp.value()),
            dscp_binary: format!("{:06b}", dscp.value()),
            tos_hex: format!("{tos:#04x}"),
            tos_binary: format!("{tos:08b}"),
            ecn: asked.tos.map(|byte| byte.ecn() as u8),
            with_ecn: with_ecn(dscp),
            precedence: facts::precedence(dscp),
            precedence_name: facts::precedence_name(dscp),
            rfc1349: facts::rfc1349(tos),
            phb,
            rfc,
            service_class: facts::service_class(dscp),
            class: asked.class.map(str::to_owned),
            user_priority: facts::user_priority(dscp),
            pool: facts::pool(dscp).0,
            residues: facts::residues(dscp),
            residue_of: facts::residue_of(dscp).into_iter().map(Dscp::value).collect(),
            filters: filters(dscp),
            as_tos: asked.as_tos.map(|other| Box::new(Self::from(Asked::from(other)))),
        }
    }
}

fn with_ecn(dscp: Dscp) -> Vec<WithEcn> {
    let tos = facts::ECN.into_iter().map(|(ecn, name)| (ecn, name, facts::tos(dscp, ecn)));
    tos.map(|(ecn, name, tos)| WithEcn { ecn: ecn as u8, name, tos, hex: format!("{tos:#04x}") }).collect()
}
