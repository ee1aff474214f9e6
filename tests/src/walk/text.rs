//! An instruction in words, as the kernel's own listings write it (RFC 9669).

use aya_obj::generated::bpf_insn;

use super::Kind;

const SIZES: [&str; 4] = ["u32", "u16", "u8", "u64"];
const OPERATORS: [&str; 13] = ["+=", "-=", "*=", "/=", "|=", "&=", "<<=", ">>=", "neg", "%=", "^=", "=", "s>>="];
const COMPARISONS: [&str; 14] =
    ["goto", "==", ">", ">=", "&", "!=", "s>", "s>=", "call", "exit", "<", "<=", "s<", "s<="];

/// The instruction; `map` is the name of a map that a wide one has the address of.
pub(super) fn of(instruction: &bpf_insn, map: Option<&str>) -> String {
    let (to, from) = (instruction.dst_reg(), instruction.src_reg());
    let size = SIZES[usize::from(instruction.code >> 3 & 3)];
    let at = |register: u8| format!("*({size} *)(r{register} {:+})", instruction.off);
    match instruction.code & 7 {
        0 => format!("r{to} = {}", map.map_or_else(|| instruction.imm.to_string(), |map| format!("map {map}"))),
        1 => format!("r{to} = {}", at(from)),
        2 => format!("{} = {}", at(to), instruction.imm),
        3 if instruction.code >> 5 == 6 => format!("atomic {:#x} {}, r{from}", instruction.imm, at(to)),
        3 => format!("{} = r{from}", at(to)),
        4 | 7 => arithmetic(instruction),
        _ => jump(instruction),
    }
}

/// 32-bit registers are `w`, those of 64 bits `r`.
const fn register(wide: bool) -> char {
    if wide { 'r' } else { 'w' }
}

fn operand(instruction: &bpf_insn, wide: bool) -> String {
    if instruction.code & 8 == 0 {
        return instruction.imm.to_string();
    }
    format!("{}{}", register(wide), instruction.src_reg())
}

fn arithmetic(instruction: &bpf_insn) -> String {
    let wide = instruction.code & 7 == 7;
    let (letter, to) = (register(wide), instruction.dst_reg());
    match usize::from(instruction.code >> 4) {
        8 => format!("{letter}{to} = -{letter}{to}"),
        13 => format!("r{to} = swap{} r{to}", instruction.imm),
        operator => {
            format!("{letter}{to} {} {}", OPERATORS.get(operator).copied().unwrap_or("?="), operand(instruction, wide))
        }
    }
}

fn jump(instruction: &bpf_insn) -> String {
    let wide = instruction.code & 7 == 5;
    let by = instruction.off;
    match usize::from(instruction.code >> 4) {
        0 => format!("goto {by:+}"),
        8 => format!("call {}", super::step::helper(instruction.imm)),
        9 => "exit".to_owned(),
        comparison => format!(
            "if {}{} {} {} goto {by:+}",
            register(wide),
            instruction.dst_reg(),
            COMPARISONS.get(comparison).copied().unwrap_or("?"),
            operand(instruction, wide)
        ),
    }
}

/// The kind of an instruction that touches no memory.
pub(super) const fn kind(instruction: &bpf_insn) -> Kind {
    match (instruction.code & 7, instruction.code >> 4) {
        (0, _) => Kind::Wide,
        (4 | 7, 0xb) => Kind::Move,
        (4 | 7, _) => Kind::Arithmetic,
        (_, 8) => Kind::Call,
        _ => Kind::Branch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(code: u8, registers: u8, off: i16, imm: i32) -> String {
        let mut instruction = bpf_insn { code, _bitfield_align_1: [], _bitfield_1: Default::default(), off, imm };
        instruction.set_dst_reg(registers & 15);
        instruction.set_src_reg(registers >> 4);
        of(&instruction, None)
    }

    #[test]
    fn instructions_read_as_in_the_kernels_listings() {
        assert_eq!(text(0x79, 0x61, 8, 0), "r1 = *(u64 *)(r6 +8)");
        assert_eq!(text(0x6b, 0x1a, -4, 0), "*(u16 *)(r10 -4) = r1");
        assert_eq!(text(0xbf, 0x21, 0, 0), "r1 = r2");
        assert_eq!(text(0x04, 0x03, 0, 7), "w3 += 7");
        assert_eq!(text(0x2d, 0x21, 9, 0), "if r1 > r2 goto +9");
        assert_eq!(text(0x85, 0, 0, 118), "call jiffies64");
        assert_eq!(text(0x95, 0, 0, 0), "exit");
    }
}
