//! Floating-point encodings: FPv5 single precision (A6), and the double-word loads, stores and
//! moves that single-precision units share. Double-precision arithmetic is undefined here.

use super::{bit, bits, reg};
use crate::emulator::instruction::{Instruction, Mode, Op, Rounding};

/// `a` is the first halfword, `b` the second.
pub(super) fn decode(pc: u32, a: u32, b: u32) -> Instruction {
    let undefined = Instruction::undefined(a << 16 | b, 4);
    let decoded = match (bits(b, 11, 8), bits(a, 11, 8), bit(a, 12)) {
        (10 | 11, 0xc | 0xd, false) => load_store(pc, a, b),
        (10 | 11, 0xe, false) if bit(b, 4) => core_transfer(a, b),
        (10, 0xe, false) => arithmetic(a, b),
        (10, 0xe, true) if !bit(b, 4) => version5(a, b),
        _ => None,
    };
    decoded.unwrap_or(undefined)
}

fn new(op: Op) -> Instruction {
    Instruction::new(op, 4)
}

/// Single register number: four bits and a low bit elsewhere.
fn single(value: u32, low: u32, extra: bool) -> u8 {
    (bits(value, low + 3, low) << 1) as u8 | u8::from(extra)
}

/// First single register of the double register at `low`, if it is one of D0-D15.
fn double(value: u32, low: u32, extra: bool) -> Option<u8> {
    (!extra).then(|| (bits(value, low + 3, low) << 1) as u8)
}

fn load_store(pc: u32, a: u32, b: u32) -> Option<Instruction> {
    let (p, up, w, load) = (bit(a, 8), bit(a, 7), bit(a, 5), bit(a, 4));
    let (rn, imm8, wide) = (reg(a, 0), bits(b, 7, 0), bit(b, 8));
    if !p && !up {
        return core_pair(a, b);
    }
    let first = if wide {
        double(b, 12, bit(a, 6))?
    } else {
        single(b, 12, bit(a, 6))
    };
    if p && !w {
        let op = match (wide, load) {
            (false, true) => Op::Vldr,
            (false, false) => Op::Vstr,
            (true, true) => Op::Vldrd,
            (true, false) => Op::Vstrd,
        };
        let imm = if up {
            imm8 * 4
        } else {
            (imm8 * 4).wrapping_neg()
        };
        let i = Instruction {
            rd: first,
            rn,
            imm,
            ..new(op)
        };
        if rn == 15 {
            let imm = (pc.wrapping_add(4) & !3).wrapping_add(imm);
            return load.then_some(Instruction {
                imm,
                mode: Mode::Literal,
                ..i
            });
        }
        return Some(i);
    }
    // Multiple: increment after (P=0, U=1) or decrement before (P=1, U=0, W=1).
    let count = imm8;
    let registers_end = u32::from(first) + count;
    if p == up || count == 0 || registers_end > 32 || (wide && count % 2 == 1) || rn == 15 {
        return None;
    }
    Some(Instruction {
        rd: first,
        rn,
        imm: count,
        amount: (count * 4) as u8,
        mode: if p { Mode::PreIndex } else { Mode::Offset },
        variant: w.into(),
        ..new(if load { Op::Vldm } else { Op::Vstm })
    })
}

/// Two core registers and two single registers or one double register.
fn core_pair(a: u32, b: u32) -> Option<Instruction> {
    if bits(a, 7, 5) != 2 || bits(b, 7, 6) != 0 || !bit(b, 4) {
        return None;
    }
    let first = if bit(b, 8) {
        double(b, 0, bit(b, 5))?
    } else {
        single(b, 0, bit(b, 5))
    };
    if first == 31 {
        return None;
    }
    let (rt, rt2) = (reg(b, 12), reg(a, 0));
    if rt == 15 || rt2 == 15 {
        return None;
    }
    Some(if bit(a, 4) {
        Instruction {
            rd: rt,
            ra: rt2,
            rm: first,
            ..new(Op::VmovPairToCore)
        }
    } else {
        Instruction {
            rd: first,
            rn: rt,
            rm: rt2,
            ..new(Op::VmovPairFromCore)
        }
    })
}

/// One core register and one single register, half a double register, or FPSCR.
fn core_transfer(a: u32, b: u32) -> Option<Instruction> {
    let (to_core, rt) = (bit(a, 4), reg(b, 12));
    if bits(a, 7, 5) == 7 {
        if bits(a, 3, 0) != 1 || bit(b, 8) {
            return None;
        }
        return match to_core {
            true => Some(Instruction {
                rd: rt,
                ..new(Op::Vmrs)
            }),
            false if rt == 15 => None,
            false => Some(Instruction {
                rm: rt,
                ..new(Op::Vmsr)
            }),
        };
    }
    let register = match (bit(b, 8), bits(a, 7, 5)) {
        (false, 0) => single(a, 0, bit(b, 7)),
        (true, half @ (0 | 1)) if bits(b, 6, 5) == 0 => double(a, 0, bit(b, 7))? + half as u8,
        _ => return None,
    };
    if rt == 15 {
        return None;
    }
    Some(if to_core {
        Instruction {
            rd: rt,
            rn: register,
            ..new(Op::VmovToCore)
        }
    } else {
        Instruction {
            rd: register,
            rm: rt,
            ..new(Op::VmovFromCore)
        }
    })
}

/// VFPExpandImm for 32 bits.
fn expand_immediate(imm8: u32) -> u32 {
    let exponent = if bit(imm8, 6) { 0x1f << 25 } else { 0x20 << 25 };
    bits(imm8, 7, 7) << 31 | exponent | bits(imm8, 5, 0) << 19
}

fn arithmetic(a: u32, b: u32) -> Option<Instruction> {
    let (rd, rn, rm) = (
        single(b, 12, bit(a, 6)),
        single(a, 0, bit(b, 7)),
        single(b, 0, bit(b, 5)),
    );
    let alternative = bit(b, 6);
    let three = |op, other| {
        Some(Instruction {
            rd,
            rn,
            rm,
            ..new(if alternative { other } else { op })
        })
    };
    match bits(a, 7, 4) & 0b1011 {
        0b0000 => three(Op::Vmla, Op::Vmls),
        0b0001 => three(Op::Vnmls, Op::Vnmla),
        0b0010 => three(Op::Vmul, Op::Vnmul),
        0b0011 => three(Op::Vadd, Op::Vsub),
        0b1000 if !alternative => three(Op::Vdiv, Op::Vdiv),
        0b1001 => three(Op::Vfnms, Op::Vfnma),
        0b1010 => three(Op::Vfma, Op::Vfms),
        0b1011 if !alternative => {
            if bits(b, 7, 4) != 0 {
                return None;
            }
            let imm = expand_immediate(bits(a, 3, 0) << 4 | bits(b, 3, 0));
            Some(Instruction {
                rd,
                imm,
                ..new(Op::VmovImm)
            })
        }
        0b1011 => two_registers(a, b, rd, rm),
        _ => None,
    }
}

fn two_registers(a: u32, b: u32, rd: u8, rm: u8) -> Option<Instruction> {
    let high = bit(b, 7);
    let two = |op| Instruction { rd, rm, ..new(op) };
    let rounded = |op, rounding: Rounding| Instruction {
        amount: rounding as u8,
        ..two(op)
    };
    let to_int = |signed: bool, rounding| Instruction {
        variant: signed.into(),
        ..rounded(Op::VcvtToInt, rounding)
    };
    Some(match (bits(a, 3, 0), high) {
        (0, false) => two(Op::Vmov),
        (0, true) => two(Op::Vabs),
        (1, false) => two(Op::Vneg),
        (1, true) => two(Op::Vsqrt),
        (2, top) => Instruction {
            variant: top.into(),
            ..two(Op::VcvtFromHalf)
        },
        (3, top) => Instruction {
            variant: top.into(),
            ..two(Op::VcvtToHalf)
        },
        (4, signal) => Instruction {
            variant: u8::from(signal) << 1,
            ..two(Op::Vcmp)
        },
        (5, signal) if b & 0x2f == 0 => Instruction {
            variant: 1 | u8::from(signal) << 1,
            ..two(Op::Vcmp)
        },
        // VRINTR and VRINTX round by FPSCR, which is always to nearest here.
        (6, false) | (7, false) => rounded(Op::Vrint, Rounding::TiesToEven),
        (6, true) => rounded(Op::Vrint, Rounding::Zero),
        (8, signed) => Instruction {
            variant: signed.into(),
            ..two(Op::VcvtFromInt)
        },
        (12, false) => to_int(false, Rounding::TiesToEven),
        (12, true) => to_int(false, Rounding::Zero),
        (13, false) => to_int(true, Rounding::TiesToEven),
        (13, true) => to_int(true, Rounding::Zero),
        (opcode @ (10 | 11 | 14 | 15), words) => {
            let size = if words { 32 } else { 16 };
            let operand = bits(b, 3, 0) << 1 | bits(b, 5, 5);
            if operand > size {
                return None;
            }
            Instruction {
                rd,
                rm: rd,
                imm: size - operand,
                variant: (opcode & 1) as u8 | u8::from(words) << 1,
                ..new(if opcode < 12 {
                    Op::VcvtFromFixed
                } else {
                    Op::VcvtToFixed
                })
            }
        }
        _ => return None,
    })
}

/// Additions of FPv5: VSEL, VMAXNM, VMINNM, directed VRINT and VCVT.
fn version5(a: u32, b: u32) -> Option<Instruction> {
    let (rd, rn, rm) = (
        single(b, 12, bit(a, 6)),
        single(a, 0, bit(b, 7)),
        single(b, 0, bit(b, 5)),
    );
    let three = |op| Instruction {
        rd,
        rn,
        rm,
        ..new(op)
    };
    let direction = match bits(a, 1, 0) {
        0 => Rounding::TiesAway,
        1 => Rounding::TiesToEven,
        2 => Rounding::Up,
        _ => Rounding::Down,
    };
    match (bit(a, 7), bits(a, 5, 4), bit(b, 6)) {
        // EQ, VS, GE, GT.
        (false, condition, false) => {
            let condition = [0, 6, 10, 12][condition as usize];
            Some(Instruction {
                variant: condition,
                ..three(Op::Vsel)
            })
        }
        (true, 0, minimum) => Some(three(if minimum { Op::Vminnm } else { Op::Vmaxnm })),
        (true, 3, true) => match bits(a, 3, 2) {
            2 if !bit(b, 7) => Some(Instruction {
                rd,
                rm,
                amount: direction as u8,
                ..new(Op::Vrint)
            }),
            3 => Some(Instruction {
                rd,
                rm,
                amount: direction as u8,
                variant: bit(b, 7).into(),
                ..new(Op::VcvtToInt)
            }),
            _ => None,
        },
        _ => None,
    }
}
