//! `stats clear` is for the terminal's table alone.

use qosbpf_tests::router::Router;

#[test]
fn the_table_counts_from_now_and_machines_from_the_beginning() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0")?;
    router.ping(false, 184, 7)?;
    router.ok("stats clear lan0:ingress")?.says(&["lan0:ingress  the table counts from now"])?;
    router.ping(false, 184, 5)?;
    assert_eq!(router.counted("lan0:ingress")?.packets()[&184], 12);
    let table = |hook: &str| anyhow::Ok(router.ok(&format!("stats {hook} --rate 0"))?.stdout);
    let row = |table: &str| {
        let row = table.lines().find(|line| line.starts_with("EF"))?;
        Some(row.split_whitespace().nth(2)?.to_owned())
    };
    assert_eq!(row(&table("lan0:ingress")?).as_deref(), Some("5"), "{}", table("lan0:ingress")?);
    assert_eq!(row(&table("lan0:egress")?).as_deref(), Some("12"), "{}", table("lan0:egress")?);
    router.ok("stats clear")?.says(&["lan0:ingress", "lan0:egress"])?;
    assert!(row(&table("lan0:egress")?).is_none_or(|packets| packets == "0"), "{}", table("lan0:egress")?);
    router.ask("stats clear wan0")?.expect(1)?.complains(&["qosbpf is not attached at wan0"])?;
    Ok(())
}
