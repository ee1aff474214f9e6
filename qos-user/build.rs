use std::{env, path::PathBuf};

use anyhow::{Context as _, bail};
use aya_build::{Package, Toolchain};

fn main() -> anyhow::Result<()> {
    println!("cargo::rerun-if-env-changed=QOSBPF_OBJECT");
    if let Some(object) = env::var_os("QOSBPF_OBJECT") {
        let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR")?).join("qosbpf");
        println!("cargo::rerun-if-changed={}", object.display());
        std::fs::copy(&object, out).with_context(|| format!("QOSBPF_OBJECT={}", object.display()))?;
        return Ok(());
    }
    let Some(nightly) = qos_build::nightly() else { bail!("run: cargo xtask setup") };
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(std::iter::once(qos_build::tools().join("bin")).chain(env::split_paths(&path)))?;
    // SAFETY: a build script has one thread.
    unsafe { env::set_var("PATH", path) };
    let root = qos_build::root();
    // aya-build watches qos-ebpf alone.
    println!("cargo::rerun-if-changed={}", root.join("qos-common").display());
    aya_build::build_ebpf(
        [Package { name: "qos-ebpf", root_dir: root.join("qos-ebpf").to_str().context("path")?, ..Package::default() }],
        Toolchain::Custom(nightly),
    )
}
