//! Devices that are made again under their number and name.

use std::fs;

use qosbpf_tests::{
    features::Feature,
    left::assert_nothing,
    numbered,
    router::{Router, run_in},
};

/// Numbers can be given again by whoever makes a device.
#[test]
fn what_is_left_of_a_device_that_is_gone_is_not_put_back() -> anyhow::Result<()> {
    let router = Router::start()?;
    for hook in ["clsact", "tcx"] {
        if hook == "tcx" && Feature::Tcx.leaves_out("a link that outlives its device")? {
            continue;
        }
        let attach = format!("attach dyn0 --egress --hook {hook}");
        numbered::make(router.edge())?;
        router.ok(&attach)?;
        numbered::send(router.edge(), 3)?;
        assert_eq!(router.counted("dyn0:egress")?.packets()[&184], 3);
        numbered::make_again(router.edge())?;
        // Its counters are further on than those of the one before ever were.
        numbered::send(router.edge(), 200)?;
        let attached = router.ok(&attach)?.says(&["dyn0:egress  attached:"])?;
        attached.complains(&["dyn0:egress begins at zero: what was left there was that of a device that is gone"])?;
        numbered::send(router.edge(), 2)?;
        assert_eq!(router.counted("dyn0:egress")?.packets()[&184], 2, "{hook}");
        router.ok("detach --all")?;
        assert_nothing(&router, hook)?;
        run_in(router.edge(), "ip link del dyn0")?;
    }
    Ok(())
}

/// Of a hook of a version that did not note its device no more is known than what that has counted.
#[test]
fn a_device_that_was_not_noted_is_told_by_its_counters() -> anyhow::Result<()> {
    let router = Router::start()?;
    let attach = "attach dyn0 --egress --hook clsact";
    numbered::make(router.edge())?;
    numbered::send(router.edge(), 200)?;
    for (again, said) in [(false, "its counters go on"), (true, "begins at zero")] {
        router.ok(attach)?;
        fs::remove_file(router.hook_folder("dyn0", "egress")?.join("device"))?;
        numbered::send(router.edge(), 3)?;
        if again {
            numbered::make_again(router.edge())
        } else {
            run_in(router.edge(), "tc qdisc del dev dyn0 clsact").map(drop)
        }?;
        let attached = router.ok(attach)?;
        assert!(format!("{attached:?}").contains(said), "{attached:?}");
        router.ok("detach --all")?;
    }
    assert_nothing(&router, "detach --all")
}
