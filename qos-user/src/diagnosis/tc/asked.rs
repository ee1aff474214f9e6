//! The packets that a filter asks for.

use qos_common::ds::Dscp;
use serde_json::Value;

use crate::diagnosis::outside::{Packets, family};

/// Of whatever mark, by the protocol of a filter.
pub(super) fn of_protocol(item: &Value) -> Packets {
    let families = item["protocol"].as_str().and_then(family).unwrap_or([true; 2]);
    Packets { families, ..Packets::ALL }
}

/// The packets that a filter of u32 or flower asks for by the DS field; `None` if it does not look.
pub(super) fn packets(item: &Value) -> Option<Packets> {
    let options = item["options"].as_object()?;
    let plain = of_protocol(item);
    let conditions = options.iter().filter(|(key, _)| key.starts_with("match "));
    let by_u32 = conditions.filter_map(|(_, condition)| by_word(condition, plain.families));
    let by_flower = by_tos(&item["options"]["keys"]);
    let of = |(value, mask): (u32, u32)| {
        let meant = Dscp::all().filter(|dscp| u32::from(dscp.value()) & mask == value & mask).collect::<Vec<_>>();
        Packets::of(&meant).dscps
    };
    let dscps = by_u32.chain(by_flower).map(of).reduce(|all, these| all & these)?;
    Some(Packets { dscps, ..plain })
}

/// Six bits and their mask, of the first word of the IP header.
fn by_word(condition: &Value, families: [bool; 2]) -> Option<(u32, u32)> {
    const IPV6: u32 = 0x0f00_0000;
    const TRAFFIC_CLASS: u32 = 0x0ff0_0000;
    let word = |field: &str| u32::from_str_radix(condition[field].as_str()?, 16).ok();
    let (value, mask) = (word("value")?, word("mask")?);
    let is_first = condition["off"] == 0 && condition["offmask"].as_str().unwrap_or_default().is_empty();
    // Of both families only IPv6 has bits of the traffic class there; who asks for more asks for the version.
    let by_class = mask & IPV6 != 0 && mask & !TRAFFIC_CLASS == 0;
    let shift = if families == [false, true] || families == [true; 2] && by_class { 22 } else { 18 };
    let six = |word: u32| word >> shift & 0x3f;
    (is_first && six(mask) != 0).then(|| (six(value), six(mask)))
}

/// 184 and a mask `fc` beside it, or both as `0xb8/fc`, as versions of iproute2 have it; without a mask all bits are meant.
fn by_tos(keys: &Value) -> Option<(u32, u32)> {
    let hex = |word: &str| u32::from_str_radix(word.trim_start_matches("0x"), 16).ok();
    let (value, mask) = match &keys["ip_tos"] {
        Value::Number(value) => (u32::try_from(value.as_u64()?).ok()?, keys["ip_tos_mask"].as_str()),
        written => {
            let written = written.as_str()?;
            let (value, mask) = written.split_once('/').map_or((written, None), |(value, mask)| (value, Some(mask)));
            (hex(value)?, mask)
        }
    };
    let (value, mask) = (value >> 2, hex(mask.unwrap_or("ff"))? >> 2);
    (mask != 0).then_some((value, mask))
}
