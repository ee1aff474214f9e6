//! The hits of a table are its own: not those of the table before it, nor what passed while it was out of the path.

use anyhow::Context as _;

use crate::edge::Edge;

const EF: u8 = 46 << 2;

impl Edge {
    /// The hits of the table's entries at `lan0:ingress`, in their order.
    fn hits(&self) -> anyhow::Result<Vec<u64>> {
        let show = self.ok("policy show lan0:ingress --json")?.json()?;
        let entries = show["hooks"][0]["entries"].as_array().context("entries")?;
        entries.iter().map(|entry| entry["packets"].as_u64().context("packets")).collect()
    }
}

#[test]
fn another_table_begins_at_zero() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let before = edge.hits()?;
    edge.router.ping(false, EF, 5)?;
    assert!(edge.hits()?[0] >= before[0] + 5);
    edge.ok(&format!("policy apply {}", edge.mark))?;
    assert_eq!(edge.hits()?[0], 0, "EF of the new table");
    edge.router.ping(false, EF, 3)?;
    assert_eq!(edge.hits()?[0], 3);
    // The counters go on: `before` has both.
    assert!(edge.router.counted("lan0:ingress")?.before[&("ipv4".to_owned(), EF)][0] >= 8);
    // The same table by another policy counts on.
    let renamed = edge.router.policy("renamed", crate::edge::MARK)?;
    edge.ok(&format!("policy apply {renamed}"))?;
    edge.router.ping(false, EF, 2)?;
    assert_eq!(edge.hits()?[0], 5);
    Ok(())
}

#[test]
fn what_passes_a_bypassed_table_is_no_hit() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok(&format!("policy apply {}", edge.mark))?;
    edge.router.ping(false, EF, 3)?;
    edge.ok("policy bypass lan0:ingress")?;
    edge.router.ping(false, EF, 4)?;
    assert_eq!(edge.hits()?[0], 3);
    edge.ok("policy resume lan0:ingress")?;
    edge.router.ping(false, EF, 2)?;
    assert_eq!(edge.hits()?[0], 5);
    Ok(())
}
