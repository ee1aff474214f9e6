//! The file system of a guest: busybox, `ip`, `tc`, `nft`, modules, the tests, and a first process that runs them and powers off.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs::{self, File, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use super::{console, kernel::Kernel, payload};
use crate::shell;

/// What the first process uses of busybox.
const APPLETS: [&str; 8] = ["sh", "mount", "mkdir", "insmod", "cat", "rm", "uname", "poweroff"];

/// What a guest does, in emulation, which is slow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Random frames over all tests of agreement; on the host it is 20,000.
    packets: u32,
    /// Random policies for each program in the tests of rules; on the host it is 20.
    policies: u32,
    /// The programs of tests.
    pub tests: &'static [&'static str],
    /// Tests that are left out, by a part of their names.
    without: Option<&'static str>,
    /// The only tests that are run, by a part of their names.
    pub only: String,
    /// Whether the budget is recorded.
    record: bool,
    /// Whether consoles of earlier guests are taken, in which all has passed.
    pub again: bool,
}

impl Effort {
    /// Everything.
    pub const fn whole(record: bool) -> Self {
        Self {
            packets: 800,
            policies: 3,
            tests: &payload::WHOLE,
            without: None,
            only: String::new(),
            record,
            again: false,
        }
    }

    /// For each change, some minutes for all guests together. What is left out loads the programs that `budget` loads.
    pub const fn brief(record: bool) -> Self {
        let without = Some("all_kinds_of_field_loads");
        Self { packets: 300, policies: 1, tests: &payload::BRIEF, without, only: String::new(), record, again: false }
    }

    /// What a kernel for clouds has not.
    pub fn full(again: bool) -> Self {
        Self { tests: &payload::FULL, only: "pppoe".to_owned(), again, ..Self::whole(false) }
    }
}

/// The part that all guests have in common.
pub struct Base {
    folder: PathBuf,
    /// What `qosbpf --version` says in the guests.
    pub build: String,
}

impl Base {
    /// Builds it, with these tests.
    ///
    /// # Errors
    ///
    /// That something does not build or is not installed.
    pub fn build(folder: &Path, programs: &BTreeSet<&str>) -> anyhow::Result<Self> {
        let base = folder.join("image");
        renew(&base)?;
        for name in ["bin", "dev", "etc", "proc", "run/netns", "sys", "t", "tmp", "var"] {
            fs::create_dir_all(base.join(name))?;
        }
        fs::copy("/bin/busybox", base.join("bin/busybox")).context("/bin/busybox")?;
        for applet in APPLETS {
            symlink("busybox", base.join("bin").join(applet))?;
        }
        for program in ["bash", "ip", "tc", "nft", "wg", "ethtool"] {
            payload::copy_program(program, &base)?;
        }
        payload::build(&base.join("t"), programs)?;
        let version = shell::output(Command::new(base.join("t/qosbpf")).arg("--version"));
        let version = version.context("the binary of the guests does not say its version")?;
        Ok(Self { folder: base, build: version.trim().to_owned() })
    }

    /// Adds a kernel's modules, and packs it; the path of the image.
    ///
    /// # Errors
    ///
    /// That a module is missing, or it cannot be packed.
    pub fn for_kernel(&self, kernel: &Kernel, folder: &Path, effort: &Effort) -> anyhow::Result<PathBuf> {
        let own = folder.join("images").join(&kernel.release);
        renew(&own)?;
        fs::create_dir_all(own.join("modules"))?;
        let modules = kernel.copy_modules(&own.join("modules"))?;
        fs::write(own.join("init"), init(&modules, effort))?;
        fs::set_permissions(own.join("init"), Permissions::from_mode(0o755))?;
        let image = folder.join("images").join(format!("{}.cpio.gz", kernel.release));
        pack(&[&self.folder, &own], &image)?;
        Ok(image)
    }
}

fn renew(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())
}

/// The kernel unpacks archives one after the other, so each folder is one.
fn pack(folders: &[&Path], image: &Path) -> anyhow::Result<()> {
    let mut packed = File::create(image).with_context(|| image.display().to_string())?;
    for folder in folders {
        let script = "find . | cpio --quiet -o -H newc | gzip -1";
        let mut cpio = Command::new("sh");
        let output = cpio.args(["-c", script]).current_dir(folder).stderr(Stdio::inherit()).output().context("cpio")?;
        if !output.status.success() || output.stdout.is_empty() {
            bail!("cpio failed on {}", folder.display());
        }
        std::io::Write::write_all(&mut packed, &output.stdout)?;
    }
    Ok(())
}

/// The first process of the guest.
fn init(modules: &[String], effort: &Effort) -> String {
    let mut script = String::from(
        "#!/bin/sh\nexport PATH=/bin HOME=/\n\
         mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev\n\
         mount -t tmpfs run /run; mkdir /run/netns; mount -t tmpfs tmp /tmp; mount -t bpf bpf /sys/fs/bpf\n",
    );
    let mut add = |line: &str| {
        let _infallible = writeln!(script, "{line}");
    };
    add(&format!("echo \"{} $(uname -r)\"", console::BOOTED));
    // One that is not loaded fails the guest: tests would leave out what they need it for, and blame the kernel.
    for module in modules {
        add(&format!("insmod /modules/{module} || echo \"{} insmod-{module} $?\"", console::ENDS));
    }
    add(&format!("echo \"{} $(/t/qosbpf --version)\"", console::BUILD));
    add("ip link set lo up");
    add("export QOSBPF_BIN=/t/qosbpf QOSBPF_BUDGETS=/t/budgets RUST_BACKTRACE=0");
    // What a test does to the machine as a whole, it does in a guest alone.
    add("export QOSBPF_GUEST=1");
    add(&format!("export QOSBPF_AGREEMENT_PACKETS={} QOSBPF_POLICIES={}", effort.packets, effort.policies));
    let skip = effort.without.map_or_else(String::new, |names| format!(" --skip {names}"));
    if effort.record {
        // The only record is then the one that this guest writes.
        add("export QOSBPF_RECORD=1; rm /t/budgets/*");
    }
    for test in effort.tests {
        add(&format!("echo \"{} {test}\"", console::BEGINS));
        add(&format!("/t/{test} --test-threads=1 --nocapture{skip} {} 2>&1", effort.only));
        add(&format!("echo \"{} {test} $?\"", console::ENDS));
    }
    if effort.record {
        add(&format!("echo \"{}\"; cat /t/budgets/budget.toml; echo \"{}\"", console::RECORD, console::RECORD_ENDS));
    }
    add(&format!("echo \"{}\"", console::END));
    add("poweroff -f");
    script
}
