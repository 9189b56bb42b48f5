//! Thumb decoder: halfwords to [`Instruction`], from the encoding diagrams of the ARMv7-M
//! Architecture Reference Manual (Arm DDI 0403E), chapter A5 (16 bits here, 32 bits in [`wide`])
//! and A6 (floating point, in [`float`]).
//!
//! UNPREDICTABLE encodings that would write PC where that is no branch decode as
//! [`Op::Undefined`]: firmware that holds one is broken, and saying so beats guessing.

mod float;
mod wide;

use super::instruction::{Instruction, Mode, Op, Shift, set_flags};

/// Whether `first` begins a 32-bit instruction.
pub(super) fn is_wide(first: u16) -> bool {
    first >> 11 >= 0b11101
}

/// Decodes the instruction at `pc`; `second` is only looked at if [`is_wide`].
pub(super) fn decode(pc: u32, first: u16, second: u16) -> Instruction {
    if is_wide(first) {
        wide::decode(pc, first.into(), second.into())
    } else {
        narrow(pc, first.into())
    }
}

/// Bits `high..=low` of `value`.
fn bits(value: u32, high: u32, low: u32) -> u32 {
    value >> low & ((1 << (high - low + 1)) - 1)
}

/// Bit `n` of `value`.
fn bit(value: u32, n: u32) -> bool {
    value >> n & 1 == 1
}

/// The register number in `low..low + 4`.
fn reg(value: u32, low: u32) -> u8 {
    bits(value, low + 3, low) as u8
}

/// Sign-extends the low `width` bits.
fn sign_extend(value: u32, width: u32) -> u32 {
    ((value << (32 - width)) as i32 >> (32 - width)) as u32
}

/// DecodeImmShift of the manual: type and 5-bit amount to shift and amount.
fn immediate_shift(kind: u32, amount: u32) -> (Shift, u8) {
    match (kind, amount as u8) {
        (0, n) => (Shift::Lsl, n),
        (1, 0) => (Shift::Lsr, 32),
        (1, n) => (Shift::Lsr, n),
        (2, 0) => (Shift::Asr, 32),
        (2, n) => (Shift::Asr, n),
        (_, 0) => (Shift::Rrx, 1),
        (_, n) => (Shift::Ror, n),
    }
}

/// 16-bit encodings (A5.2).
fn narrow(pc: u32, h: u32) -> Instruction {
    let undefined = Instruction::undefined(h, 2);
    let new = |op| Instruction::new(op, 2);
    // Register fields of three bits, named by their lowest bit.
    let (r0, r3, r6, r8) = (
        bits(h, 2, 0) as u8,
        bits(h, 5, 3) as u8,
        bits(h, 8, 6) as u8,
        bits(h, 10, 8) as u8,
    );
    let (imm5, imm8) = (bits(h, 10, 6), bits(h, 7, 0));
    let arithmetic = |op, rd, rn, rm| Instruction {
        rd,
        rn,
        rm,
        flags: set_flags::OUTSIDE_IT,
        ..new(op)
    };
    let arithmetic_imm = |op, rd, rn, imm| Instruction {
        rd,
        rn,
        imm,
        has_imm: true,
        flags: set_flags::OUTSIDE_IT,
        ..new(op)
    };
    let transfer_imm = |op, rd, rn, imm| Instruction {
        rd,
        rn,
        imm,
        ..new(op)
    };
    match bits(h, 15, 11) {
        kind @ 0..=2 => {
            let (shift, amount) = immediate_shift(kind, imm5);
            Instruction {
                shift,
                amount,
                ..arithmetic(Op::Mov, r0, 15, r3)
            }
        }
        3 => {
            let op = if bit(h, 9) { Op::Sub } else { Op::Add };
            if bit(h, 10) {
                arithmetic_imm(op, r0, r3, bits(h, 8, 6))
            } else {
                arithmetic(op, r0, r3, r6)
            }
        }
        4 => arithmetic_imm(Op::Mov, r8, 15, imm8),
        5 => Instruction {
            flags: set_flags::ALWAYS,
            ..arithmetic_imm(Op::Cmp, 15, r8, imm8)
        },
        6 => arithmetic_imm(Op::Add, r8, r8, imm8),
        7 => arithmetic_imm(Op::Sub, r8, r8, imm8),
        8 if !bit(h, 10) => {
            let compare = |op| Instruction {
                flags: set_flags::ALWAYS,
                ..arithmetic(op, 15, r0, r3)
            };
            let shift = |shift| Instruction {
                shift,
                ..arithmetic(Op::ShiftReg, r0, r0, r3)
            };
            match bits(h, 9, 6) {
                0 => arithmetic(Op::And, r0, r0, r3),
                1 => arithmetic(Op::Eor, r0, r0, r3),
                2 => shift(Shift::Lsl),
                3 => shift(Shift::Lsr),
                4 => shift(Shift::Asr),
                5 => arithmetic(Op::Adc, r0, r0, r3),
                6 => arithmetic(Op::Sbc, r0, r0, r3),
                7 => shift(Shift::Ror),
                8 => compare(Op::Tst),
                9 => arithmetic_imm(Op::Rsb, r0, r3, 0),
                10 => compare(Op::Cmp),
                11 => compare(Op::Cmn),
                12 => arithmetic(Op::Orr, r0, r0, r3),
                13 => arithmetic(Op::Mul, r0, r3, r0),
                14 => arithmetic(Op::Bic, r0, r0, r3),
                _ => arithmetic(Op::Mvn, r0, 15, r3),
            }
        }
        8 => {
            // Special data and branch and exchange: high registers, no flags but for CMP.
            let rd = (bits(h, 2, 0) | bits(h, 7, 7) << 3) as u8;
            let rm = reg(h, 3);
            match (bits(h, 9, 8), rd) {
                (0, 15) => Instruction {
                    rn: 15,
                    rm,
                    ..new(Op::AddPc)
                },
                (0, _) => Instruction {
                    rd,
                    rn: rd,
                    rm,
                    ..new(Op::Add)
                },
                (1, _) => Instruction {
                    rn: rd,
                    rm,
                    flags: set_flags::ALWAYS,
                    ..new(Op::Cmp)
                },
                (2, 15) => Instruction {
                    rm,
                    ..new(Op::MovPc)
                },
                (2, _) => Instruction {
                    rd,
                    rm,
                    ..new(Op::Mov)
                },
                _ if bits(h, 2, 0) != 0 => undefined,
                _ => Instruction {
                    rm,
                    ..new(if bit(h, 7) { Op::Blx } else { Op::Bx })
                },
            }
        }
        9 => Instruction {
            rd: r8,
            imm: (pc.wrapping_add(4) & !3).wrapping_add(imm8 * 4),
            mode: Mode::Literal,
            ..new(Op::Ldr)
        },
        10 | 11 => {
            let op = match bits(h, 11, 9) {
                0 => Op::Str,
                1 => Op::Strh,
                2 => Op::Strb,
                3 => Op::Ldrsb,
                4 => Op::Ldr,
                5 => Op::Ldrh,
                6 => Op::Ldrb,
                _ => Op::Ldrsh,
            };
            Instruction {
                rd: r0,
                rn: r3,
                rm: r6,
                mode: Mode::Register,
                ..new(op)
            }
        }
        12 => transfer_imm(Op::Str, r0, r3, imm5 * 4),
        13 => transfer_imm(Op::Ldr, r0, r3, imm5 * 4),
        14 => transfer_imm(Op::Strb, r0, r3, imm5),
        15 => transfer_imm(Op::Ldrb, r0, r3, imm5),
        16 => transfer_imm(Op::Strh, r0, r3, imm5 * 2),
        17 => transfer_imm(Op::Ldrh, r0, r3, imm5 * 2),
        18 => transfer_imm(Op::Str, r8, 13, imm8 * 4),
        19 => transfer_imm(Op::Ldr, r8, 13, imm8 * 4),
        20 => Instruction {
            rd: r8,
            imm: (pc.wrapping_add(4) & !3).wrapping_add(imm8 * 4),
            has_imm: true,
            ..new(Op::MovImm)
        },
        21 => Instruction {
            flags: set_flags::NEVER,
            ..arithmetic_imm(Op::Add, r8, 13, imm8 * 4)
        },
        22 | 23 => miscellaneous(pc, h),
        24 => multiple(Op::Stm, r8, imm8, Mode::Offset, true, 2),
        25 => multiple(Op::Ldm, r8, imm8, Mode::Offset, !bit(imm8, r8.into()), 2),
        26 | 27 => match bits(h, 11, 8) {
            14 => undefined,
            15 => Instruction {
                imm: imm8,
                ..new(Op::Svc)
            },
            cond => Instruction {
                cond: cond as u8,
                imm: pc.wrapping_add(4).wrapping_add(sign_extend(imm8 << 1, 9)),
                ..new(Op::B)
            },
        },
        28 => Instruction {
            imm: pc
                .wrapping_add(4)
                .wrapping_add(sign_extend(bits(h, 10, 0) << 1, 12)),
            ..new(Op::B)
        },
        _ => undefined,
    }
}

/// Miscellaneous 16-bit instructions (A5.2.5).
fn miscellaneous(pc: u32, h: u32) -> Instruction {
    let undefined = Instruction::undefined(h, 2);
    let new = |op| Instruction::new(op, 2);
    let (rd, rm) = (bits(h, 2, 0) as u8, bits(h, 5, 3) as u8);
    match bits(h, 11, 8) {
        0 => Instruction {
            rd: 13,
            rn: 13,
            imm: bits(h, 6, 0) * 4,
            has_imm: true,
            ..new(if bit(h, 7) { Op::Sub } else { Op::Add })
        },
        1 | 3 | 9 | 11 => Instruction {
            rn: rd,
            imm: pc.wrapping_add(4 + (bits(h, 9, 9) << 6 | bits(h, 7, 3) << 1)),
            ..new(if bit(h, 11) { Op::Cbnz } else { Op::Cbz })
        },
        2 => Instruction {
            rd,
            rm,
            ..new(match bits(h, 7, 6) {
                0 => Op::Sxth,
                1 => Op::Sxtb,
                2 => Op::Uxth,
                _ => Op::Uxtb,
            })
        },
        4 | 5 => {
            let list = bits(h, 7, 0) | bits(h, 8, 8) << 14;
            multiple(Op::Stm, 13, list, Mode::PreIndex, true, 2)
        }
        12 | 13 => {
            let list = bits(h, 7, 0) | bits(h, 8, 8) << 15;
            multiple(Op::Ldm, 13, list, Mode::Offset, true, 2)
        }
        6 if bits(h, 7, 5) == 3 && !bit(h, 3) && !bit(h, 2) => Instruction {
            variant: (bits(h, 4, 4) | bits(h, 1, 0) << 1) as u8,
            ..new(Op::Cps)
        },
        10 => match bits(h, 7, 6) {
            0 => Instruction {
                rd,
                rm,
                ..new(Op::Rev)
            },
            1 => Instruction {
                rd,
                rm,
                ..new(Op::Rev16)
            },
            3 => Instruction {
                rd,
                rm,
                ..new(Op::Revsh)
            },
            _ => undefined,
        },
        14 => Instruction {
            imm: bits(h, 7, 0),
            ..new(Op::Bkpt)
        },
        15 if bits(h, 3, 0) != 0 => Instruction {
            imm: bits(h, 7, 0),
            ..new(Op::It)
        },
        15 => new(if bits(h, 7, 4) == 3 { Op::Wfi } else { Op::Nop }),
        _ => undefined,
    }
}

/// LDM and STM, undefined when the list is empty.
fn multiple(op: Op, rn: u8, list: u32, mode: Mode, writeback: bool, length: u8) -> Instruction {
    let count = list.count_ones();
    if count == 0 {
        return Instruction::undefined(list, length);
    }
    Instruction {
        rn,
        imm: list,
        mode,
        amount: (count * 4) as u8,
        variant: writeback.into(),
        ..Instruction::new(op, length)
    }
}
