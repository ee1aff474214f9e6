//! One instruction after the other (RFC 9669).

use anyhow::{Context as _, bail, ensure};
use aya_obj::generated::bpf_insn;

use super::{BASE, Kind, STACK, Taken, Walk, Walker, text};

/// A walk that has not ended by then never will.
const MOST: u32 = 100_000;

/// What a register holds, and whether the verifier knows it in every program: it was loaded from read-only data, or computed
/// from that alone. A number of the program itself is not that: where ways join that bring different ones, the verifier
/// keeps the question.
#[derive(Clone, Copy, Debug, Default)]
struct Value {
    bits: u64,
    known: bool,
}

impl Value {
    const fn unknown(bits: u64) -> Self {
        Self { bits, known: false }
    }

    const fn known(bits: u64) -> Self {
        Self { bits, known: true }
    }
}

pub(super) struct Step<'a> {
    walker: &'a mut Walker,
    registers: [Value; 11],
    walk: Walk,
}

/// Instruction classes and modes (RFC 9669 section 3).
mod class {
    pub const LD: u8 = 0;
    pub const LDX: u8 = 1;
    pub const ST: u8 = 2;
    pub const STX: u8 = 3;
    pub const ALU: u8 = 4;
    pub const JMP: u8 = 5;
    pub const ALU64: u8 = 7;
}

impl<'a> Step<'a> {
    /// Before the first instruction; the context lies where the stack ends.
    pub(super) fn first(walker: &'a mut Walker, context: u64) -> Self {
        let mut registers = [Value::default(); 11];
        registers[1] = Value::unknown(context);
        registers[10] = Value::unknown(context);
        Self { walker, registers, walk: Walk::default() }
    }

    /// Runs the program, and says what it took.
    pub(super) fn finish(&mut self) -> anyhow::Result<Walk> {
        let mut at = 0_usize;
        loop {
            let instruction = *self.walker.code.get(at).context("beyond the program's end")?;
            let before = self.walk.instructions;
            self.walk.instructions += 1;
            ensure!(self.walk.instructions < MOST, "no end");
            const EXIT: u8 = 0x95;
            if instruction.code == EXIT {
                self.note(at, Kind::Branch, &instruction);
                return Ok(self.walk.clone());
            }
            let kind = self.kind(&instruction);
            let by =
                self.one(at, &instruction).with_context(|| format!("instruction {at}: {:#x}", instruction.code))?;
            if self.walk.instructions > before {
                self.note(at, kind, &instruction);
            }
            at = at.checked_add_signed(1 + by).context("before the program's beginning")?;
        }
    }

    fn kind(&self, instruction: &bpf_insn) -> Kind {
        let memory = |register: u8| self.walker.memory_at(self.address(register.into(), instruction).bits);
        match instruction.code & 7 {
            class::LDX => Kind::Load(memory(instruction.src_reg())),
            class::ST | class::STX => Kind::Store(memory(instruction.dst_reg())),
            _ => text::kind(instruction),
        }
    }

    fn note(&mut self, at: usize, kind: Kind, instruction: &bpf_insn) {
        let is_map = instruction.code & 7 == class::LD && instruction.src_reg() != 0;
        let map = self.walker.names.get(instruction.imm as usize).filter(|_| is_map);
        let text = text::of(instruction, map.map(String::as_str));
        let line = self.walker.lines.at(at);
        self.walker.taken.push(Taken { at, kind, text, line });
    }

    /// Does one instruction; by how many more the next one is away.
    fn one(&mut self, at: usize, instruction: &bpf_insn) -> anyhow::Result<isize> {
        let (to, from) = (instruction.dst_reg() as usize, instruction.src_reg() as usize);
        match instruction.code & 7 {
            class::LD => {
                let next = self.walker.code.get(at + 1).context("half an instruction")?.imm;
                self.registers[to] = self.wide(from, instruction.imm, next)?;
                return Ok(1);
            }
            class::LDX => self.load(to, self.address(from, instruction), size(instruction))?,
            class::ST => {
                let value = (i64::from(instruction.imm)).cast_unsigned();
                self.store(self.address(to, instruction), size(instruction), value)?;
            }
            class::STX if instruction.code >> 5 == 6 => self.swap(self.address(to, instruction), from, instruction)?,
            class::STX => self.store(self.address(to, instruction), size(instruction), self.registers[from].bits)?,
            class::ALU | class::ALU64 => self.registers[to] = self.arithmetic(instruction)?,
            _ => return self.jump(instruction),
        }
        Ok(0)
    }

    /// `imm64`, a map, or a place in a map's value.
    fn wide(&self, kind: usize, low: i32, high: i32) -> anyhow::Result<Value> {
        let map = || self.walker.maps.get(low as usize).context("no such map");
        match kind {
            0 => Ok(Value::unknown(u64::from(low.cast_unsigned()) | u64::from(high.cast_unsigned()) << 32)),
            1 => map().map(|_| Value::unknown(low as u64)),
            2 => Ok(Value::known(map()?.address + high as u64)),
            _ => bail!("a wide load of kind {kind}"),
        }
    }

    fn address(&self, register: usize, instruction: &bpf_insn) -> Value {
        let Value { bits, known } = self.registers[register];
        Value { bits: bits.wrapping_add_signed(instruction.off.into()), known }
    }

    fn load(&mut self, to: usize, address: Value, size: usize) -> anyhow::Result<()> {
        self.walk.loads += u32::from(on_stack(address.bits));
        let bits = self.walker.load(address.bits, size)?;
        self.registers[to] = Value { bits, known: address.known && self.walker.is_constant(address.bits) };
        Ok(())
    }

    fn store(&mut self, address: Value, size: usize, value: u64) -> anyhow::Result<()> {
        self.walk.stores += u32::from(on_stack(address.bits));
        self.walker.store(address.bits, &value.to_le_bytes()[..size])
    }

    /// Compare-and-swap of 64 bits (RFC 9669 section 5.3); there is no other atomic instruction.
    fn swap(&mut self, address: Value, from: usize, instruction: &bpf_insn) -> anyhow::Result<()> {
        const COMPARE_AND_SWAP: i32 = 0xf1;
        ensure!(instruction.imm == COMPARE_AND_SWAP && size(instruction) == 8, "an unknown atomic instruction");
        let found = self.walker.load(address.bits, 8)?;
        if found == self.registers[0].bits {
            self.store(address, 8, self.registers[from].bits)?;
        }
        self.registers[0] = Value::unknown(found);
        Ok(())
    }

    /// The second operand: a register's value or the instruction's own.
    fn operand(&self, instruction: &bpf_insn) -> Value {
        if is_register(instruction) {
            return self.registers[instruction.src_reg() as usize];
        }
        Value::known(i64::from(instruction.imm).cast_unsigned())
    }

    fn arithmetic(&self, instruction: &bpf_insn) -> anyhow::Result<Value> {
        let wide = instruction.code & 7 == class::ALU64;
        let (left, right) = (self.registers[instruction.dst_reg() as usize], self.operand(instruction));
        const SWAP: u8 = 0xd;
        if instruction.code >> 4 == SWAP {
            let bits = swapped(left.bits, instruction.imm, instruction.code & 8 != 0 || wide)?;
            return Ok(Value { bits, known: left.known });
        }
        let (a, b) = if wide { (left.bits, right.bits) } else { (left.bits & LOW, right.bits & LOW) };
        let most = if wide { 63 } else { 31 };
        let bits = match instruction.code >> 4 {
            0x0 => a.wrapping_add(b),
            0x1 => a.wrapping_sub(b),
            0x2 => a.wrapping_mul(b),
            0x3 => a.checked_div(b).unwrap_or_default(),
            0x4 => a | b,
            0x5 => a & b,
            0x6 => a << (b & most),
            0x7 => a >> (b & most),
            0x8 => a.wrapping_neg(),
            0x9 => a.checked_rem(b).unwrap_or(a),
            0xa => a ^ b,
            0xb => b,
            0xc if wide => (a.cast_signed() >> (b & most)).cast_unsigned(),
            0xc => u64::from(((a as u32).cast_signed() >> (b & most)).cast_unsigned()),
            other => bail!("arithmetic {other:#x}"),
        };
        let moves = instruction.code >> 4 == 0xb;
        let known = if moves { right.known && is_register(instruction) } else { left.known && right.known };
        Ok(Value { bits: if wide { bits } else { bits & LOW }, known })
    }

    fn jump(&mut self, instruction: &bpf_insn) -> anyhow::Result<isize> {
        let wide = instruction.code & 7 == class::JMP;
        let by = isize::from(instruction.off);
        match instruction.code >> 4 {
            0 if wide => return Ok(by),
            0 => return Ok(instruction.imm as isize),
            8 => return self.call(instruction).map(|()| 0),
            _ => {}
        }
        let (left, right) = (self.registers[instruction.dst_reg() as usize], self.operand(instruction));
        // The verifier knows which way it goes, and takes the question out.
        self.walk.instructions -= u32::from(left.known && right.known);
        let (a, b) = if wide { (left.bits, right.bits) } else { (left.bits & LOW, right.bits & LOW) };
        let signed = |value: u64| if wide { value.cast_signed() } else { i64::from((value as u32).cast_signed()) };
        let taken = match instruction.code >> 4 {
            0x1 => a == b,
            0x2 => a > b,
            0x3 => a >= b,
            0x4 => a & b != 0,
            0x5 => a != b,
            0x6 => signed(a) > signed(b),
            0x7 => signed(a) >= signed(b),
            0xa => a < b,
            0xb => a <= b,
            0xc => signed(a) < signed(b),
            0xd => signed(a) <= signed(b),
            other => bail!("jump {other:#x}"),
        };
        Ok(if taken { by } else { 0 })
    }

    fn call(&mut self, instruction: &bpf_insn) -> anyhow::Result<()> {
        const LOOKUP: i32 = 1;
        ensure!(instruction.src_reg() == 0, "a call of a function");
        let result = if instruction.imm == LOOKUP {
            self.walk.lookups += 1;
            let place = *self.walker.maps.get(self.registers[1].bits as usize).context("no such map")?;
            let key = self.walker.load(self.registers[2].bits, 4)?;
            if key < place.entries { place.address + key * place.size } else { 0 }
        } else {
            *self.walk.calls.entry(helper(instruction.imm)).or_default() += 1;
            if instruction.imm == CLOCK { UPTIME } else { 0 }
        };
        self.registers[0] = Value::unknown(result);
        // What a call leaves in these nobody may read.
        self.registers[1..=5].fill(Value::unknown(u64::MAX));
        Ok(())
    }
}

/// The helper that gives the time, and what it says here, in nanoseconds.
const CLOCK: i32 = 5;
const UPTIME: u64 = 1 << 40;

/// The name of a helper that the data path calls (`include/uapi/linux/bpf.h`), else its number.
pub(super) fn helper(number: i32) -> String {
    match number {
        1 => "map_lookup_elem".to_owned(),
        CLOCK => "ktime_get_ns".to_owned(),
        39 => "skb_pull_data".to_owned(),
        40 => "csum_update".to_owned(),
        93 => "spin_lock".to_owned(),
        94 => "spin_unlock".to_owned(),
        118 => "jiffies64".to_owned(),
        other => other.to_string(),
    }
}

const LOW: u64 = 0xffff_ffff;

/// Whether the second operand is a register's value.
const fn is_register(instruction: &bpf_insn) -> bool {
    const REGISTER: u8 = 8;
    instruction.code & REGISTER != 0
}

fn on_stack(address: u64) -> bool {
    (BASE..BASE + STACK as u64).contains(&address)
}

/// How many bytes an access has.
const fn size(instruction: &bpf_insn) -> usize {
    match instruction.code >> 3 & 3 {
        0 => 4,
        1 => 2,
        2 => 1,
        _ => 8,
    }
}

fn swapped(bits: u64, width: i32, swaps: bool) -> anyhow::Result<u64> {
    Ok(match (width, swaps) {
        (16, true) => (bits as u16).swap_bytes().into(),
        (32, true) => (bits as u32).swap_bytes().into(),
        (64, true) => bits.swap_bytes(),
        (16, false) => bits & 0xffff,
        (32, false) => bits & LOW,
        (64, false) => bits,
        _ => bail!("bytes of {width} bits"),
    })
}
