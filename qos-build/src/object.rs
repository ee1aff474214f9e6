//! An object that a packager brings along.

/// `e_machine` of BPF in an ELF header.
const EM_BPF: u16 = 247;

/// Checks that a file's content is an ELF object for BPF, of either byte order.
///
/// # Errors
///
/// What it is instead.
pub fn check_object(content: &[u8]) -> Result<(), String> {
    let Some([0x7f, b'E', b'L', b'F', _class, order, ..]) = content.get(..20) else {
        return Err("is not an ELF object".to_owned());
    };
    let machine = [content[18], content[19]];
    let machine = if *order == 2 { u16::from_be_bytes(machine) } else { u16::from_le_bytes(machine) };
    if machine == EM_BPF {
        Ok(())
    } else {
        Err(format!("is an ELF object for machine {machine}, not for BPF (machine {EM_BPF})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(order: u8, machine: [u8; 2]) -> Vec<u8> {
        let mut header = vec![0x7f, b'E', b'L', b'F', 2, order];
        header.resize(18, 0);
        header.extend(machine);
        header
    }

    #[test]
    fn bpf_of_both_byte_orders_is_accepted() {
        assert_eq!(check_object(&elf(1, [247, 0])), Ok(()));
        assert_eq!(check_object(&elf(2, [0, 247])), Ok(()));
    }

    #[test]
    fn everything_else_is_named() {
        let x86 = check_object(&elf(1, [62, 0]));
        assert_eq!(x86, Err("is an ELF object for machine 62, not for BPF (machine 247)".to_owned()));
        for content in [&b""[..], b"\x7fELF", b"#!/bin/sh\nexit 0 # long enough"] {
            assert_eq!(check_object(content), Err("is not an ELF object".to_owned()));
        }
    }
}
