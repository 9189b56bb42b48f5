//! One decoded instruction: what the decoder produces, and both the executor and the timing
//! model consume.

/// The operation; the names are the mnemonics of the ARMv7-M Architecture Reference Manual
/// (Arm DDI 0403), with the encoding differences that do not matter for execution merged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[rustfmt::skip]
pub(super) enum Op {
    // Data processing: `rd = rn op operand2`.
    And, Bic, Orr, Orn, Eor, Add, Adc, Sbc, Sub, Rsb, Tst, Teq, Cmn, Cmp, Mov, Mvn,
    /// `add rd, rm` and `mov rd, rm` with `rd` = PC: a branch.
    AddPc, MovPc,
    /// `rd = rn <shift> rm`.
    ShiftReg,
    /// `rd = imm` (MOVW, and ADR with the address resolved by the decoder).
    MovImm,
    Movt,
    // Multiplication. `variant` bit 1: top half of `rn`; bit 0: top half of, or halves of `rm` swapped; SMMxx: round.
    Mul, Mla, Mls,
    Smull, Umull, Smlal, Umlal, Umaal, // low half in `rd`, high half in `ra`
    SmlaXY, SmulXY, SmlaWY, SmulWY, Smlad, Smuad, Smlsd, Smusd,
    SmlalXY, Smlald, Smlsld, // low half in `rd`, high half in `ra`
    Smmla, Smmls, Smmul, Sdiv, Udiv, Usad8, Usada8,
    // Bit fields: `amount` = least significant bit, `imm` = width. Saturation: `imm` = bits.
    Bfi, Bfc, Sbfx, Ubfx, Ssat, Usat, Ssat16, Usat16,
    // Extension of `rm` rotated by `amount`, added to `ra` unless that is 15.
    Sxtb, Sxth, Uxtb, Uxth, Sxtb16, Uxtb16,
    Pkhbt, Pkhtb, Rev, Rev16, Revsh, Rbit, Clz, Sel,
    /// Parallel addition and subtraction; `variant` is a [`Parallel`] packed by the decoder.
    Parallel,
    Qadd, Qsub, Qdadd, Qdsub,
    // Loads and stores; `rd` is the register transferred, `ra` the second of a pair.
    Ldr, Ldrb, Ldrh, Ldrsb, Ldrsh, Str, Strb, Strh, Ldrd, Strd,
    /// LDR to PC: a branch.
    LdrPc,
    // `imm` = register list, `amount` = bytes transferred, `mode` says before or after, `variant` = write back.
    Ldm, Stm,
    Ldrex, Ldrexb, Ldrexh, Strex, Strexb, Strexh, Clrex, // STREX: status in `ra`
    // Branches; `imm` = absolute target.
    B, Bl, Bx, Blx, Cbz, Cbnz, Tbb, Tbh,
    /// `imm` = the eight bits of ITSTATE.
    It,
    Nop, Pld, Barrier, Wfi, Bkpt, Svc,
    /// `variant` bit 0: disable; bit 1: FAULTMASK; bit 2: PRIMASK.
    Cps,
    Mrs, Msr,
    /// `imm` = the encoding.
    Undefined,
    // Floating point: `rd`, `rn`, `rm` number single registers 0..32 where the mnemonic takes one.
    Vldr, Vstr, Vldrd, Vstrd,
    Vldm, Vstm, // `imm` = number of single registers; otherwise like LDM and STM
    VmovToCore, VmovFromCore, VmovPairToCore, VmovPairFromCore, Vmov, VmovImm,
    Vadd, Vsub, Vmul, Vnmul, Vdiv, Vsqrt, Vabs, Vneg,
    Vmla, Vmls, Vnmla, Vnmls, Vfma, Vfms, Vfnma, Vfnms,
    /// `variant` bit 0: with zero; bit 1: VCMPE.
    Vcmp,
    /// `variant` bit 0: signed source.
    VcvtFromInt,
    /// `variant` bit 0: signed result; `amount` = a [`Rounding`].
    VcvtToInt,
    /// `variant` bit 0: unsigned; bit 1: 32 bits; `imm` = fraction bits.
    VcvtFromFixed, VcvtToFixed,
    /// `variant` bit 0: top half.
    VcvtFromHalf, VcvtToHalf,
    /// `amount` = a [`Rounding`].
    Vrint,
    /// `variant` = condition.
    Vsel,
    Vmaxnm, Vminnm, Vmrs, Vmsr,
}

/// A shift of the second operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shift {
    Lsl,
    Lsr,
    Asr,
    Ror,
    /// Rotate right by one through the carry flag.
    Rrx,
}

/// How a load or store forms its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// `[rn + imm]`; for LDM and STM: upwards from `rn` (increment after).
    Offset,
    /// `[rn + imm]!`; for LDM and STM: upwards to just below `rn` (decrement before).
    PreIndex,
    /// `[rn], imm`
    PostIndex,
    /// `[rn + (rm << amount)]`
    Register,
    /// `[imm]`: relative to PC, resolved by the decoder.
    Literal,
}

/// How a floating-point value becomes an integer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Rounding {
    TiesToEven,
    TiesAway,
    Up,
    Down,
    Zero,
}

impl Rounding {
    /// The value packed in [`Instruction::amount`].
    pub fn unpack(amount: u8) -> Self {
        match amount {
            0 => Rounding::TiesToEven,
            1 => Rounding::TiesAway,
            2 => Rounding::Up,
            3 => Rounding::Down,
            _ => Rounding::Zero,
        }
    }
}

/// When an instruction writes the condition flags; bit `n` answers for `n` = "inside an IT block".
pub(super) mod set_flags {
    pub const NEVER: u8 = 0b00;
    pub const OUTSIDE_IT: u8 = 0b01;
    pub const ALWAYS: u8 = 0b11;
}

/// The carry that a modified immediate constant gives a logical instruction.
pub(super) mod carry_out {
    pub const CLEAR: u8 = 0;
    pub const SET: u8 = 1;
    pub const UNCHANGED: u8 = 2;
}

/// The condition "always".
pub(super) const ALWAYS: u8 = 14;

/// Fields of a parallel addition or subtraction, packed in [`Instruction::variant`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Parallel {
    /// h1\[6:4\] of the encoding: 0 ADD8, 1 ADD16, 2 ASX, 4 SUB8, 5 SUB16, 6 SAX.
    pub operation: u8,
    /// 0 modulo (sets GE), 1 saturating, 2 halving.
    pub result: u8,
    pub unsigned: bool,
}

impl Parallel {
    pub fn pack(self) -> u8 {
        self.operation << 4 | u8::from(self.unsigned) << 2 | self.result
    }

    pub fn unpack(variant: u8) -> Self {
        Self {
            operation: variant >> 4,
            result: variant & 3,
            unsigned: variant & 4 != 0,
        }
    }
}

/// A decoded instruction. Which fields mean something depends on [`Op`]; registers that an
/// instruction does not have are 15.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instruction {
    pub op: Op,
    pub rd: u8,
    pub rn: u8,
    pub rm: u8,
    pub ra: u8,
    /// Immediate, register list or absolute target.
    pub imm: u32,
    /// The second operand is `imm`, not `rm`.
    pub has_imm: bool,
    pub shift: Shift,
    /// Shift amount, rotation or least significant bit.
    pub amount: u8,
    /// One of [`set_flags`].
    pub flags: u8,
    /// One of [`carry_out`].
    pub carry: u8,
    /// Length of the encoding in bytes: 2 or 4.
    pub length: u8,
    /// Condition of a branch; [`ALWAYS`] for everything else.
    pub cond: u8,
    pub mode: Mode,
    /// Op-specific bits.
    pub variant: u8,
}

impl Instruction {
    /// An instruction with all optional fields at rest.
    pub fn new(op: Op, length: u8) -> Self {
        Self {
            op,
            rd: 15,
            rn: 15,
            rm: 15,
            ra: 15,
            imm: 0,
            has_imm: false,
            shift: Shift::Lsl,
            amount: 0,
            flags: set_flags::NEVER,
            carry: carry_out::UNCHANGED,
            length,
            cond: ALWAYS,
            mode: Mode::Offset,
            variant: 0,
        }
    }

    /// An encoding that this core does not execute.
    pub fn undefined(encoding: u32, length: u8) -> Self {
        Self {
            imm: encoding,
            ..Self::new(Op::Undefined, length)
        }
    }
}
