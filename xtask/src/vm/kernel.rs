//! A kernel, unpacked: its image, and the modules that the tests need.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use super::{archive::Archive, series::Package};
use crate::shell;

/// What the tests need and a cloud kernel has as a module: network cards, virtual cables, filters, layer-3 and stacked
/// devices, tunnels.
const MODULES: [&str; 25] = [
    "virtio_net",
    "veth",
    "sch_ingress",
    "sch_htb",
    "cls_bpf",
    "cls_u32",
    "cls_flower",
    "act_mirred",
    "act_gact",
    "act_police",
    "act_pedit",
    "tun",
    "8021q",
    "bridge",
    "bonding",
    "macvlan",
    "vrf",
    "ipip",
    "sit",
    "ip_gre",
    "ip6_tunnel",
    "ip6_gre",
    "vxlan",
    "geneve",
    "wireguard",
];

/// What not every kernel has, or not as a module; a test that lacks it says so.
const OPTIONAL: [&str; 21] = [
    "virtio_pci",
    "pppoe",
    "sch_cake",
    "nf_tables",
    "nft_counter",
    "nf_flow_table_inet",
    "nft_flow_offload",
    // IPsec, and what it encrypts with, of which newer kernels have parts under other names or built in.
    "xfrm_user",
    "xfrm_interface",
    "ip_vti",
    "esp4",
    "authenc",
    "echainiv",
    "cbc",
    "hmac",
    "aes_generic",
    "sha256_generic",
    "sha256",
    // Where its initialisation vectors come from.
    "sha512_generic",
    "ctr",
    "drbg",
];

/// An unpacked kernel.
#[derive(Debug)]
pub struct Kernel {
    /// As `uname -r` says it.
    pub release: String,
    /// Whether it is for all machines, and not for clouds alone.
    pub full: bool,
    /// What qemu boots.
    pub image: PathBuf,
    /// The folder that has `lib/modules`.
    base: PathBuf,
}

impl Kernel {
    /// Downloads and unpacks a kernel, unless it is there.
    ///
    /// # Errors
    ///
    /// What apt says, or that the packages have another form than expected.
    pub fn fetch(package: &Package, archive: &Archive, folder: &Path) -> anyhow::Result<Self> {
        let unpacked = folder.join("kernels").join(package.to_string());
        if !unpacked.exists() {
            let fresh = folder.join("unpacking").join(package.to_string());
            if fresh.exists() {
                fs::remove_dir_all(&fresh)?;
            }
            fs::create_dir_all(&fresh)?;
            archive.download(&package.names(), &fresh)?;
            unpack(&fresh)?;
            fs::create_dir_all(folder.join("kernels"))?;
            fs::rename(&fresh, &unpacked).context("the unpacked kernel")?;
        }
        Self::find(&unpacked, package.full).with_context(|| format!("kernel {package}"))
    }

    fn find(unpacked: &Path, full: bool) -> anyhow::Result<Self> {
        let base =
            [unpacked.to_owned(), unpacked.join("usr")].into_iter().find(|base| base.join("lib/modules").exists());
        let base = base.context("no modules in the package")?;
        let modules = base.join("lib/modules");
        let release = fs::read_dir(&modules)?.flatten().next().context("no modules in the package")?.file_name();
        let release = release.display().to_string();
        let images = [unpacked.join(format!("boot/vmlinuz-{release}")), modules.join(&release).join("vmlinuz")];
        let image = images.into_iter().find(|image| image.exists()).context("no kernel in the package")?;
        Ok(Self { release, full, image, base })
    }

    /// Copies the modules, and what they depend on, to a folder, unpacked; their names in the order of loading.
    ///
    /// # Errors
    ///
    /// That a module is neither there nor built in, or cannot be unpacked.
    pub fn copy_modules(&self, to: &Path) -> anyhow::Result<Vec<String>> {
        if !self.base.join("lib/modules").join(&self.release).join("modules.dep.bin").exists() {
            shell::run(Command::new("depmod").arg("-b").arg(&self.base).arg(&self.release))?;
        }
        let mut order: Vec<String> = Vec::new();
        for module in MODULES.into_iter().chain(OPTIONAL) {
            let mut depends = Command::new("modprobe");
            depends.args(["--set-version", &self.release, "--show-depends", "--dirname"]).arg(&self.base).arg(module);
            let answer = shell::output(&mut depends);
            let answer = match answer {
                None if OPTIONAL.contains(&module) => continue,
                answer => answer.with_context(|| format!("this kernel has no module {module}"))?,
            };
            // Behind a path may be options, which this machine's own modprobe has for a module.
            for line in answer.lines().filter_map(|line| line.strip_prefix("insmod ")) {
                let Some(path) = line.split_whitespace().next() else { continue };
                let name = copy_module(Path::new(path), to)?;
                if !order.contains(&name) {
                    order.push(name);
                }
            }
        }
        Ok(order)
    }
}

fn unpack(folder: &Path) -> anyhow::Result<()> {
    let packages: Vec<PathBuf> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    for package in packages {
        shell::run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(folder))?;
        fs::remove_file(&package)?;
    }
    Ok(())
}

/// A guest's insmod reads no packed modules.
fn copy_module(path: &Path, to: &Path) -> anyhow::Result<String> {
    let packed = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => Some("xz"),
        Some("zst") => Some("zstd"),
        Some("gz") => Some("gzip"),
        _ => None,
    };
    let name = if packed.is_some() { path.file_stem() } else { path.file_name() };
    let name = name.context("a module without a name")?.display().to_string();
    let Some(program) = packed else {
        fs::copy(path, to.join(&name)).with_context(|| path.display().to_string())?;
        return Ok(name);
    };
    let output = Command::new(program).arg("-dc").arg(path).output().with_context(|| program.to_owned())?;
    if !output.status.success() {
        bail!("{program} -dc {}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    }
    fs::write(to.join(&name), output.stdout)?;
    Ok(name)
}
