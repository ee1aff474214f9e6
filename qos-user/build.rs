//! Puts the kernel programs into `OUT_DIR/qosbpf`, and packed into `OUT_DIR/qosbpf.lz4`, from where they are included in the
//! binary.

use std::{env, ffi::OsStr, fs, os::unix::fs::symlink, path::PathBuf, process::Command};

use anyhow::{Context as _, anyhow, bail};
use aya_build::{Package, Toolchain};
use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};
use qos_build::Tools;

fn main() {
    for variable in ["QOSBPF_OBJECT", "AYA_BUILD_SKIP", "RUSTC_BOOTSTRAP"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    name_revision();
    let result = match env::var_os("QOSBPF_OBJECT") {
        Some(object) => copy(&object),
        None => build(),
    }
    .and_then(|()| pack());
    // Not by the exit code: cargo would show all output of this script with it.
    if let Err(error) = result {
        println!("cargo::error={}", format!("{error:#}").replace('\n', " "));
    }
}

/// The commit, for `--version` and metrics; a packager without git sets `QOSBPF_REVISION`.
fn name_revision() {
    let head = qos_build::root().join(".git/logs/HEAD");
    println!("cargo::rerun-if-env-changed=QOSBPF_REVISION");
    if head.exists() {
        println!("cargo::rerun-if-changed={}", head.display());
    }
    let git = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).current_dir(qos_build::root()).output();
    let commit = git.ok().filter(|git| git.status.success()).and_then(|git| String::from_utf8(git.stdout).ok());
    if let (None, Some(commit)) = (env::var_os("QOSBPF_REVISION"), commit) {
        println!("cargo::rustc-env=QOSBPF_REVISION={}", commit.trim());
    }
}

/// For packagers: an object that was built elsewhere.
fn copy(object: &OsStr) -> anyhow::Result<()> {
    println!("cargo::rerun-if-changed={}", object.display());
    let content = fs::read(object).with_context(|| format!("QOSBPF_OBJECT={}", object.display()))?;
    qos_build::check_object(&content).map_err(|fault| anyhow!("QOSBPF_OBJECT={} {fault}", object.display()))?;
    let out = out_dir()?.join("qosbpf");
    fs::write(out, content).context("OUT_DIR")
}

/// A fifth of its size: routers have little flash.
fn pack() -> anyhow::Result<()> {
    let out = out_dir()?;
    let packed = lz4_flex::compress_prepend_size(&fs::read(out.join("qosbpf"))?);
    fs::write(out.join("qosbpf.lz4"), packed).context("OUT_DIR")
}

fn out_dir() -> anyhow::Result<PathBuf> {
    Ok(PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR")?))
}

fn build() -> anyhow::Result<()> {
    let root = qos_build::root();
    // aya-build names the folder of the programs alone; they are made of these too.
    for part in ["qos-common", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(part).display());
    }
    let package = root.join("qos-ebpf");
    let package = Package { name: "qos-ebpf", root_dir: package.to_str().context("path")?, ..Package::default() };
    match qos_build::tools() {
        Ok(tools) => {
            let toolchain = tools.compiler.toolchain.clone().unwrap_or_default();
            set_environment(&tools)?;
            share_folder()?;
            aya_build::build_ebpf([package], Toolchain::Custom(&toolchain))
                .context("the kernel programs do not build")?;
            drop_unread_sections().context("the kernel object")
        }
        Err(_) if env::var_os("AYA_BUILD_SKIP").is_some() => aya_build::build_ebpf([package], Toolchain::default()),
        Err(missing) => bail!(qos_build::explain(&missing)),
    }
}

/// Lets the inner cargo build in one folder beside those of the profiles: otherwise every profile, target and set of features
/// has `core` and the same programs compiled once more. Where there is no such folder they have.
fn share_folder() -> anyhow::Result<()> {
    let own = out_dir()?.join("aya-build");
    let Some(target) = own.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists()) else { return Ok(()) };
    // What the programs are for is in no name of what cargo makes of them.
    let shared = target.join("kernel-programs").join(env::var_os("CARGO_CFG_TARGET_ARCH").context("target")?);
    fs::create_dir_all(&shared).with_context(|| shared.display().to_string())?;
    if own.is_symlink() {
        // It may be from where the folder was before it was moved or copied.
        fs::remove_file(&own).with_context(|| own.display().to_string())?;
    }
    if !own.exists() {
        symlink(&shared, &own).with_context(|| own.display().to_string())?;
    }
    Ok(())
}

/// Four fifths of the object are for debuggers, of which the kernel has none: what the verifier's log quotes is BTF. That is
/// complete as it is; how a linker would move it nobody asks.
fn drop_unread_sections() -> anyhow::Result<()> {
    let path = out_dir()?.join("qosbpf");
    let content = fs::read(&path)?;
    let mut builder = Builder::read(content.as_slice())?;
    for section in &mut builder.sections {
        section.delete =
            [&b".debug"[..], b".rel.debug", b".rel.BTF"].iter().any(|prefix| section.name.starts_with(prefix));
    }
    builder.delete_orphans();
    // LLVM keeps the names of sections and symbols together, which cannot be written here.
    let names = builder.sections.add();
    (names.name, names.sh_type, names.sh_addralign) = (b".shstrtab"[..].into(), SHT_STRTAB, 1);
    names.data = SectionData::SectionString;
    let mut smaller = Vec::new();
    builder.write(&mut smaller)?;
    Ok(fs::write(path, smaller)?)
}

/// What the inner cargo needs to know: where the linker is, and to be quiet unless something is wrong, since every line
/// it prints comes back as a warning.
fn set_environment(tools: &Tools) -> anyhow::Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([tools.linker_folder.clone()].into_iter().chain(env::split_paths(&path)))?;
    // SAFETY: a build script has one thread.
    unsafe {
        env::set_var("PATH", path);
        env::remove_var("CARGO_TERM_VERBOSE");
        env::set_var("CARGO_TERM_QUIET", "true");
        // What makes the binary small would make other kernel programs, and debug builds have the same as release builds.
        env::set_var("CARGO_PROFILE_RELEASE_LTO", "thin");
    }
    Ok(())
}
