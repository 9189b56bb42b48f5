//! 32-bit Thumb encodings but for floating point (A5.3).

use super::{bit, bits, float, immediate_shift, multiple, reg, sign_extend};
use crate::emulator::instruction::{Instruction, Mode, Op, Parallel, Shift, carry_out, set_flags};

/// `a` is the first halfword, `b` the second.
pub(super) fn decode(pc: u32, a: u32, b: u32) -> Instruction {
    let undefined = Instruction::undefined(a << 16 | b, 4);
    let decoded = match (bits(a, 12, 11), bits(a, 10, 4)) {
        (1, op) if op & 0x64 == 0x00 => load_store_multiple(a, b),
        (1, op) if op & 0x64 == 0x04 => dual_exclusive_table(pc, a, b),
        (1, op) if op & 0x60 == 0x20 => data_shifted_register(a, b),
        (1, _) => Some(float::decode(pc, a, b)),
        (2, _) if bit(b, 15) => branches_and_control(pc, a, b),
        (2, op) if op & 0x20 == 0 => data_modified_immediate(a, b),
        (2, _) => data_plain_immediate(pc, a, b),
        (_, op) if op & 0x71 == 0x00 => store_single(a, b),
        (_, op) if op & 0x61 == 0x01 => load_single(pc, a, b),
        (_, op) if op & 0x70 == 0x20 => data_register(a, b),
        (_, op) if op & 0x78 == 0x30 => multiply(a, b),
        (_, op) if op & 0x78 == 0x38 => long_multiply_divide(a, b),
        (_, op) if op & 0x40 == 0x40 => Some(float::decode(pc, a, b)),
        _ => None,
    };
    match decoded {
        Some(i) if !writes_pc_wrongly(&i) => i,
        _ => undefined,
    }
}

/// Whether the encoding is UNPREDICTABLE because its result would go to PC.
fn writes_pc_wrongly(i: &Instruction) -> bool {
    use Op::*;
    match i.op {
        And | Bic | Orr | Orn | Eor | Add | Adc | Sbc | Sub | Rsb | Mov | Mvn | ShiftReg
        | MovImm | Movt | Mul | Mla | Mls | SmlaXY | SmulXY | SmlaWY | SmulWY | Smlad | Smuad
        | Smlsd | Smusd | Smmla | Smmls | Smmul | Sdiv | Udiv | Usad8 | Usada8 | Bfi | Bfc
        | Sbfx | Ubfx | Ssat | Usat | Ssat16 | Usat16 | Sxtb | Sxth | Uxtb | Uxth | Sxtb16
        | Uxtb16 | Pkhbt | Pkhtb | Rev | Rev16 | Revsh | Rbit | Clz | Sel | Parallel | Qadd
        | Qsub | Qdadd | Qdsub | Mrs | Ldrex | Ldrexb | Ldrexh | Str | Strb | Strh => i.rd == 15,
        Smull | Umull | Smlal | Umlal | Umaal | SmlalXY | Smlald | Smlsld | Ldrd | Strd => {
            i.rd == 15 || i.ra == 15
        }
        _ => false,
    }
}

fn new(op: Op) -> Instruction {
    Instruction::new(op, 4)
}

fn load_store_multiple(a: u32, b: u32) -> Option<Instruction> {
    let mode = match bits(a, 8, 7) {
        1 => Mode::Offset,
        2 => Mode::PreIndex,
        _ => return None,
    };
    let (load, writeback, rn) = (bit(a, 4), bit(a, 5), reg(a, 0));
    let forbidden = if load { 1 << 13 } else { 1 << 13 | 1 << 15 };
    if b & forbidden != 0 || rn == 15 || (writeback && bit(b, rn.into())) {
        return None;
    }
    Some(multiple(
        if load { Op::Ldm } else { Op::Stm },
        rn,
        b,
        mode,
        writeback,
        4,
    ))
}

/// Load/store dual, exclusive, table branch (A5.3.6).
fn dual_exclusive_table(pc: u32, a: u32, b: u32) -> Option<Instruction> {
    let (rn, rt, rt2, rm) = (reg(a, 0), reg(b, 12), reg(b, 8), reg(b, 0));
    let (p, up, w, load) = (bit(a, 8), bit(a, 7), bit(a, 5), bit(a, 4));
    if p || w {
        let op = if load { Op::Ldrd } else { Op::Strd };
        let mut i = Instruction {
            rd: rt,
            ra: rt2,
            rn,
            imm: offset(bits(b, 7, 0) * 4, up),
            mode: indexing(p, w),
            ..new(op)
        };
        if rn == 15 {
            if w || !load {
                return None;
            }
            i.imm = (pc.wrapping_add(4) & !3).wrapping_add(i.imm);
            i.mode = Mode::Literal;
        }
        return Some(i);
    }
    if !up {
        let imm = bits(b, 7, 0) * 4;
        return match load {
            true if rt2 == 15 => Some(Instruction {
                rd: rt,
                rn,
                imm,
                ..new(Op::Ldrex)
            }),
            true => None,
            false => Some(Instruction {
                rd: rt,
                ra: rt2,
                rn,
                imm,
                ..new(Op::Strex)
            }),
        };
    }
    match (load, bits(b, 7, 4)) {
        (true, 0) => Some(Instruction {
            rn,
            rm,
            ..new(Op::Tbb)
        }),
        (true, 1) => Some(Instruction {
            rn,
            rm,
            amount: 1,
            ..new(Op::Tbh)
        }),
        (true, 4) => Some(Instruction {
            rd: rt,
            rn,
            ..new(Op::Ldrexb)
        }),
        (true, 5) => Some(Instruction {
            rd: rt,
            rn,
            ..new(Op::Ldrexh)
        }),
        (false, 4) => Some(Instruction {
            rd: rt,
            ra: rm,
            rn,
            ..new(Op::Strexb)
        }),
        (false, 5) => Some(Instruction {
            rd: rt,
            ra: rm,
            rn,
            ..new(Op::Strexh)
        }),
        _ => None,
    }
}

fn indexing(p: bool, w: bool) -> Mode {
    match (p, w) {
        (true, false) => Mode::Offset,
        (true, true) => Mode::PreIndex,
        (false, _) => Mode::PostIndex,
    }
}

/// An offset with its sign folded in.
fn offset(magnitude: u32, up: bool) -> u32 {
    if up {
        magnitude
    } else {
        magnitude.wrapping_neg()
    }
}

fn flags_of(s: bool) -> u8 {
    if s {
        set_flags::ALWAYS
    } else {
        set_flags::NEVER
    }
}

/// The opcode field shared by the shifted-register and modified-immediate forms, with the
/// aliases that `rd` or `rn` = 15 select.
fn data_opcode(opcode: u32, s: bool, rd: u8, rn: u8) -> Option<Op> {
    let compare = s && rd == 15;
    Some(match opcode {
        0 if compare => Op::Tst,
        0 => Op::And,
        1 => Op::Bic,
        2 if rn == 15 => Op::Mov,
        2 => Op::Orr,
        3 if rn == 15 => Op::Mvn,
        3 => Op::Orn,
        4 if compare => Op::Teq,
        4 => Op::Eor,
        8 if compare => Op::Cmn,
        8 => Op::Add,
        10 => Op::Adc,
        11 => Op::Sbc,
        13 if compare => Op::Cmp,
        13 => Op::Sub,
        14 => Op::Rsb,
        _ => return None,
    })
}

fn data_shifted_register(a: u32, b: u32) -> Option<Instruction> {
    let (s, rn, rd, rm) = (bit(a, 4), reg(a, 0), reg(b, 8), reg(b, 0));
    let imm5 = bits(b, 14, 12) << 2 | bits(b, 7, 6);
    let (shift, amount) = immediate_shift(bits(b, 5, 4), imm5);
    if bit(b, 15) {
        return None;
    }
    let i = Instruction {
        rd,
        rn,
        rm,
        shift,
        amount,
        flags: flags_of(s),
        ..new(Op::Pkhbt)
    };
    match bits(a, 8, 5) {
        6 if s || bit(b, 4) => None,
        6 => Some(Instruction {
            op: if bit(b, 5) { Op::Pkhtb } else { Op::Pkhbt },
            ..i
        }),
        opcode => Some(Instruction {
            op: data_opcode(opcode, s, rd, rn)?,
            ..i
        }),
    }
}

/// ThumbExpandImm_C: the constant and the carry it produces.
fn expand_immediate(imm12: u32) -> (u32, u8) {
    let imm8 = imm12 & 0xff;
    match bits(imm12, 11, 8) {
        0 => (imm8, carry_out::UNCHANGED),
        1 => (imm8 << 16 | imm8, carry_out::UNCHANGED),
        2 => (imm8 << 24 | imm8 << 8, carry_out::UNCHANGED),
        3 => (imm8 * 0x0101_0101, carry_out::UNCHANGED),
        _ => {
            let value = (0x80 | imm12 & 0x7f).rotate_right(bits(imm12, 11, 7));
            (
                value,
                if bit(value, 31) {
                    carry_out::SET
                } else {
                    carry_out::CLEAR
                },
            )
        }
    }
}

fn immediate12(a: u32, b: u32) -> u32 {
    bits(a, 10, 10) << 11 | bits(b, 14, 12) << 8 | bits(b, 7, 0)
}

fn data_modified_immediate(a: u32, b: u32) -> Option<Instruction> {
    let (s, rn, rd) = (bit(a, 4), reg(a, 0), reg(b, 8));
    let (imm, carry) = expand_immediate(immediate12(a, b));
    let op = data_opcode(bits(a, 8, 5), s, rd, rn)?;
    // `amount` tells the timing model that the constant was built by rotation.
    let amount = u8::from(carry != carry_out::UNCHANGED);
    Some(Instruction {
        rd,
        rn,
        imm,
        has_imm: true,
        carry,
        amount,
        flags: flags_of(s),
        ..new(op)
    })
}

/// Data processing, plain binary immediate (A5.3.3).
fn data_plain_immediate(pc: u32, a: u32, b: u32) -> Option<Instruction> {
    let (rn, rd) = (reg(a, 0), reg(b, 8));
    let imm12 = immediate12(a, b);
    let imm16 = bits(a, 3, 0) << 12 | imm12;
    let lsb = (bits(b, 14, 12) << 2 | bits(b, 7, 6)) as u8;
    let width = bits(b, 4, 0);
    let base = pc.wrapping_add(4) & !3;
    let opcode = bits(a, 8, 4);
    if opcode >= 16 && (bit(a, 10) || bit(b, 5)) {
        return None;
    }
    let constant = |op, imm| Instruction {
        rd,
        rn,
        imm,
        has_imm: true,
        ..new(op)
    };
    let saturate = |op, imm| Instruction {
        rd,
        rn,
        imm,
        shift: if bit(a, 5) { Shift::Asr } else { Shift::Lsl },
        amount: lsb,
        ..new(op)
    };
    let field = |op, imm| Instruction {
        rd,
        rn,
        amount: lsb,
        imm,
        ..new(op)
    };
    Some(match opcode {
        0 if rn == 15 => constant(Op::MovImm, base.wrapping_add(imm12)),
        0 => constant(Op::Add, imm12),
        10 if rn == 15 => constant(Op::MovImm, base.wrapping_sub(imm12)),
        10 => constant(Op::Sub, imm12),
        4 => constant(Op::MovImm, imm16),
        12 => constant(Op::Movt, imm16),
        18 if lsb == 0 && width >= 16 => return None,
        18 if lsb == 0 => saturate(Op::Ssat16, width + 1),
        16 | 18 => saturate(Op::Ssat, width + 1),
        26 if lsb == 0 && width >= 16 => return None,
        26 if lsb == 0 => saturate(Op::Usat16, width),
        24 | 26 => saturate(Op::Usat, width),
        20 | 28 if u32::from(lsb) + width >= 32 => return None,
        20 => field(Op::Sbfx, width + 1),
        28 => field(Op::Ubfx, width + 1),
        // The field holds the most significant bit, not the width.
        22 if width < lsb.into() => return None,
        22 => field(
            if rn == 15 { Op::Bfc } else { Op::Bfi },
            width + 1 - u32::from(lsb),
        ),
        _ => return None,
    })
}

fn branches_and_control(pc: u32, a: u32, b: u32) -> Option<Instruction> {
    let next = pc.wrapping_add(4);
    let s = bits(a, 10, 10);
    match (bit(b, 14), bit(b, 12)) {
        (false, false) if bits(a, 9, 7) != 7 => {
            let imm = s << 20
                | bits(b, 11, 11) << 19
                | bits(b, 13, 13) << 18
                | bits(a, 5, 0) << 12
                | bits(b, 10, 0) << 1;
            let imm = next.wrapping_add(sign_extend(imm, 21));
            Some(Instruction {
                cond: bits(a, 9, 6) as u8,
                imm,
                ..new(Op::B)
            })
        }
        (false, false) => match bits(a, 10, 4) {
            0x38 | 0x39 => Some(Instruction {
                rn: reg(a, 0),
                imm: bits(b, 7, 0),
                variant: bits(b, 11, 10) as u8,
                ..new(Op::Msr)
            }),
            0x3a if bits(b, 10, 8) == 0 => {
                Some(new(if bits(b, 7, 0) == 3 { Op::Wfi } else { Op::Nop }))
            }
            0x3b => match bits(b, 7, 4) {
                2 => Some(new(Op::Clrex)),
                4..=6 => Some(new(Op::Barrier)),
                _ => None,
            },
            0x3e | 0x3f => Some(Instruction {
                rd: reg(b, 8),
                imm: bits(b, 7, 0),
                ..new(Op::Mrs)
            }),
            _ => None,
        },
        (link, true) => {
            let i1 = !(bits(b, 13, 13) ^ s) & 1;
            let i2 = !(bits(b, 11, 11) ^ s) & 1;
            let imm = s << 24 | i1 << 23 | i2 << 22 | bits(a, 9, 0) << 12 | bits(b, 10, 0) << 1;
            let imm = next.wrapping_add(sign_extend(imm, 25));
            Some(Instruction {
                imm,
                ..new(if link { Op::Bl } else { Op::B })
            })
        }
        (true, false) => None,
    }
}

/// Address fields of a load or store with 12-bit, 8-bit or register offset.
fn single_address(a: u32, b: u32, i: Instruction) -> Option<Instruction> {
    if bit(a, 7) {
        return Some(Instruction {
            imm: bits(b, 11, 0),
            ..i
        });
    }
    if bit(b, 11) {
        let (p, up, w) = (bit(b, 10), bit(b, 9), bit(b, 8));
        if !p && !w {
            return None;
        }
        // P=1, U=1, W=0 is the unprivileged form (LDRT...): the same access here.
        return Some(Instruction {
            imm: offset(bits(b, 7, 0), up),
            mode: indexing(p, w),
            ..i
        });
    }
    if bits(b, 10, 6) != 0 {
        return None;
    }
    Some(Instruction {
        rm: reg(b, 0),
        amount: bits(b, 5, 4) as u8,
        mode: Mode::Register,
        ..i
    })
}

fn store_single(a: u32, b: u32) -> Option<Instruction> {
    let op = match bits(a, 6, 5) {
        0 => Op::Strb,
        1 => Op::Strh,
        2 => Op::Str,
        _ => return None,
    };
    if reg(a, 0) == 15 {
        return None;
    }
    single_address(
        a,
        b,
        Instruction {
            rd: reg(b, 12),
            rn: reg(a, 0),
            ..new(op)
        },
    )
}

fn load_single(pc: u32, a: u32, b: u32) -> Option<Instruction> {
    let (rn, rt, signed) = (reg(a, 0), reg(b, 12), bit(a, 8));
    let op = match (bits(a, 6, 5), signed) {
        (0, false) => Op::Ldrb,
        (0, true) => Op::Ldrsb,
        (1, false) => Op::Ldrh,
        (1, true) => Op::Ldrsh,
        (2, false) if rt == 15 => Op::LdrPc,
        (2, false) => Op::Ldr,
        _ => return None,
    };
    // Byte and halfword loads to PC are the memory hints.
    let op = if rt == 15 && op != Op::LdrPc {
        Op::Pld
    } else {
        op
    };
    let i = Instruction {
        rd: rt,
        rn,
        ..new(op)
    };
    if rn == 15 {
        let imm = (pc.wrapping_add(4) & !3).wrapping_add(offset(bits(b, 11, 0), bit(a, 7)));
        return Some(Instruction {
            imm,
            mode: Mode::Literal,
            ..i
        });
    }
    single_address(a, b, i)
}

/// Data processing, register (A5.3.12), with parallel and miscellaneous operations.
fn data_register(a: u32, b: u32) -> Option<Instruction> {
    let (rn, rd, rm) = (reg(a, 0), reg(b, 8), reg(b, 0));
    let (op1, op2) = (bits(a, 7, 4), bits(b, 7, 4));
    if bits(b, 15, 12) != 15 {
        return None;
    }
    let three = |op| Instruction {
        rd,
        rn,
        rm,
        ..new(op)
    };
    match (op1, op2) {
        (0..=7, 0) => {
            let shift = match op1 >> 1 {
                0 => Shift::Lsl,
                1 => Shift::Lsr,
                2 => Shift::Asr,
                _ => Shift::Ror,
            };
            Some(Instruction {
                shift,
                flags: flags_of(op1 & 1 == 1),
                ..three(Op::ShiftReg)
            })
        }
        (0..=5, 8..=11) => {
            let op = match op1 {
                0 => Op::Sxth,
                1 => Op::Uxth,
                2 => Op::Sxtb16,
                3 => Op::Uxtb16,
                4 => Op::Sxtb,
                _ => Op::Uxtb,
            };
            Some(Instruction {
                rd,
                ra: rn,
                rm,
                amount: (op2 & 3) as u8 * 8,
                ..new(op)
            })
        }
        (8..=15, 0..=7) => {
            let parallel = Parallel {
                operation: (op1 & 7) as u8,
                result: (op2 & 3) as u8,
                unsigned: op2 & 4 != 0,
            };
            if matches!(parallel.operation, 3 | 7) || parallel.result == 3 {
                return None;
            }
            Some(Instruction {
                variant: parallel.pack(),
                ..three(Op::Parallel)
            })
        }
        (8, 8) => Some(three(Op::Qadd)),
        (8, 9) => Some(three(Op::Qdadd)),
        (8, 10) => Some(three(Op::Qsub)),
        (8, 11) => Some(three(Op::Qdsub)),
        (10, 8) => Some(three(Op::Sel)),
        // These name their one operand twice; the encodings must agree.
        (9, 8..=11) | (11, 8) if rn != rm => None,
        (9, 8) => Some(three(Op::Rev)),
        (9, 9) => Some(three(Op::Rev16)),
        (9, 10) => Some(three(Op::Rbit)),
        (9, 11) => Some(three(Op::Revsh)),
        (11, 8) => Some(three(Op::Clz)),
        _ => None,
    }
}

fn multiply(a: u32, b: u32) -> Option<Instruction> {
    let (rn, ra, rd, rm) = (reg(a, 0), reg(b, 12), reg(b, 8), reg(b, 0));
    let (kind, variant) = (bits(a, 6, 4), bits(b, 5, 4));
    let no_accumulator = ra == 15;
    if bits(b, 7, 6) != 0 {
        return None;
    }
    let op = match (kind, variant) {
        (0, 0) if no_accumulator => Op::Mul,
        (0, 0) => Op::Mla,
        (0, 1) => Op::Mls,
        (1, _) if no_accumulator => Op::SmulXY,
        (1, _) => Op::SmlaXY,
        (2, 0 | 1) if no_accumulator => Op::Smuad,
        (2, 0 | 1) => Op::Smlad,
        (3, 0 | 1) if no_accumulator => Op::SmulWY,
        (3, 0 | 1) => Op::SmlaWY,
        (4, 0 | 1) if no_accumulator => Op::Smusd,
        (4, 0 | 1) => Op::Smlsd,
        (5, 0 | 1) if no_accumulator => Op::Smmul,
        (5, 0 | 1) => Op::Smmla,
        (6, 0 | 1) => Op::Smmls,
        (7, 0) if no_accumulator => Op::Usad8,
        (7, 0) => Op::Usada8,
        _ => return None,
    };
    if matches!(op, Op::Mls | Op::Smmls) && no_accumulator {
        return None;
    }
    Some(Instruction {
        rd,
        rn,
        rm,
        ra,
        variant: variant as u8,
        ..new(op)
    })
}

fn long_multiply_divide(a: u32, b: u32) -> Option<Instruction> {
    let (rn, low, high, rm) = (reg(a, 0), reg(b, 12), reg(b, 8), reg(b, 0));
    let (kind, variant) = (bits(a, 6, 4), bits(b, 7, 4));
    let op = match (kind, variant) {
        (0, 0) => Op::Smull,
        (1, 15) if low == 15 => {
            return Some(Instruction {
                rd: high,
                rn,
                rm,
                ..new(Op::Sdiv)
            });
        }
        (2, 0) => Op::Umull,
        (3, 15) if low == 15 => {
            return Some(Instruction {
                rd: high,
                rn,
                rm,
                ..new(Op::Udiv)
            });
        }
        (4, 0) => Op::Smlal,
        (4, 8..=11) => Op::SmlalXY,
        (4, 12 | 13) => Op::Smlald,
        (5, 12 | 13) => Op::Smlsld,
        (6, 0) => Op::Umlal,
        (6, 6) => Op::Umaal,
        _ => return None,
    };
    if low == high {
        return None;
    }
    Some(Instruction {
        rd: low,
        ra: high,
        rn,
        rm,
        variant: (variant & 3) as u8,
        ..new(op)
    })
}
