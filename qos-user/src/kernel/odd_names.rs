//! Interfaces whose names are not UTF-8: legal to the kernel, and not among the answers of rtnetlink, whose reader drops them.

use std::fmt::Write as _;

use nix::net::if_::if_nameindex;

/// Their names as a shell takes them, such as `$'\xff0'`.
#[must_use]
pub fn names() -> Vec<String> {
    let Ok(all) = if_nameindex() else { return Vec::new() };
    let odd = all.iter().map(|interface| interface.name()).filter(|name| name.to_str().is_err());
    odd.map(|name| quoted(name.to_bytes())).collect()
}

fn quoted(name: &[u8]) -> String {
    let mut text = "$'".to_owned();
    for byte in name {
        match byte {
            b'\'' | b'\\' => text.extend(['\\', char::from(*byte)]),
            graphic if graphic.is_ascii_graphic() => text.push(char::from(*graphic)),
            other => _ = write!(text, "\\x{other:02x}"),
        }
    }
    text + "'"
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::quoted;

    #[test]
    fn a_shell_reads_the_name_again() {
        for name in [&b"\xff0"[..], b"a\\b'c\xfe", b"\x1b[31m\xc3", b"\"$x`\xff"] {
            let printed = Command::new("bash").arg("-c").arg(format!("printf %s {}", quoted(name))).output().unwrap();
            assert_eq!(printed.stdout, name, "{}", quoted(name));
        }
    }
}
