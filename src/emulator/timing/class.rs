//! What the pipeline needs to know of an instruction, worked out once when it is decoded.

use super::{LongMultiplyPairing, TimingConfig};
use crate::emulator::instruction::{ALWAYS, Instruction, Mode, Op, Shift, set_flags};

/// Rows of the table of ready times, one for each place where an operand is taken up. The first
/// four hold core registers (0..15), the others single registers (0..32).
pub(super) mod row {
    /// Address generation and the shifter of the early ALU.
    pub const ADDRESS: u8 = 0;
    /// The late ALU, a cycle later.
    pub const ALU: u8 = 32;
    /// Factors of a multiplication.
    pub const FACTOR: u8 = 64;
    /// Accumulators and stored data.
    pub const ADDEND: u8 = 96;
    /// Floating-point operands.
    pub const FLOAT: u8 = 128;
    /// Addends of VFMA and VMLA.
    pub const FLOAT_ADDEND: u8 = 160;
    /// Floating-point registers stored.
    pub const FLOAT_STORE: u8 = 192;

    /// Always ready: the PC column of the first row.
    pub const NOTHING: u8 = ADDRESS + 15;
    /// The condition flags.
    pub const FLAGS: u8 = ALU + 15;
    /// FPSCR.
    pub const FPSCR: u8 = FACTOR + 15;
}

/// Column for results that go nowhere.
pub(super) const NOWHERE: u8 = 16;

/// Execution resources, as bits.
pub(super) mod unit {
    pub const MULTIPLY: u16 = 1 << 0;
    pub const LOAD: u16 = 1 << 1;
    pub const STORE: u16 = 1 << 2;
    /// The one shifter: shifted operands, rotated constants, bit-field operations.
    pub const SHIFT: u16 = 1 << 3;
    pub const DSP: u16 = 1 << 4;
    pub const FLOAT: u16 = 1 << 5;
    pub const FLOAT_MAC: u16 = 1 << 6;
    pub const BRANCH: u16 = 1 << 7;
    /// Pairs with nothing.
    pub const ALONE: u16 = 1 << 8;
    pub const LONG_MULTIPLY: u16 = 1 << 9;
    pub const REGISTER_LOAD: u16 = 1 << 10;
    /// Moves and transfers of floating-point registers.
    pub const FLOAT_MOVE: u16 = 1 << 11;
    /// Set for every instruction: to conflict with it is to need the older slot.
    pub const ANY: u16 = 1 << 15;
}

/// How late the results come, as an index into the pipeline's table of latencies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Latency {
    LateAlu,
    EarlyAlu,
    Multiply,
    LoadWord,
    LoadNarrow,
    Saturate,
    Special,
    FloatToCore,
    // Floating-point destinations.
    Float,
    FloatFused,
    FloatChained,
    FloatLoad,
    FloatMove,
    FloatLong,
}

/// Number of [`Latency`] values.
pub(super) const LATENCIES: usize = Latency::FloatLong as usize + 1;

/// When the early ALU may take the instruction, so that its result comes a cycle earlier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Early {
    Never,
    /// In the older slot with operands ready early.
    Older,
    /// As the above, or in the younger slot if the older does not shift.
    Shifter,
    /// In the older slot, whatever the operands (constants).
    Constant,
}

/// How control flow changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Branch {
    No,
    Direct,
    Conditional,
    Indirect,
}

/// The timing class of one decoded instruction.
#[derive(Clone, Copy, Debug)]
pub(in crate::emulator) struct Class {
    /// Indices into the table of ready times.
    pub(super) sources: [u8; 4],
    /// What the early ALU waits for.
    pub(super) early_sources: [u8; 2],
    pub(super) early: Early,
    pub(super) units: u16,
    /// Units that an older instruction in the pair must not use.
    pub(super) conflicts: u16,
    /// Core registers written, or [`NOWHERE`].
    pub(super) results: [u8; 2],
    /// Base register written back, or [`NOWHERE`].
    pub(super) base: u8,
    /// First single register written and how many.
    pub(super) float_result: u8,
    pub(super) float_results: u8,
    pub(super) latency: Latency,
    /// Cycles that the instruction holds the pipeline beyond its first.
    pub(super) extra: u8,
    pub(super) sets_flags: bool,
    pub(super) sets_fpscr: bool,
    pub(super) branch: Branch,
    /// Where a direct branch leads; the highest address for all else.
    pub(super) target: u32,
    /// Address bits that are set in an unaligned access.
    pub(super) alignment: u8,
    /// Register list of LDM and STM.
    pub(super) list: u16,
    /// Waits for an earlier VMLA or VFMA.
    pub(super) after_float_mac: bool,
    pub(super) length: u8,
}

impl Class {
    /// Classifies `i`.
    pub fn of(i: &Instruction, config: &TimingConfig) -> Self {
        let mut builder = Builder {
            class: Class {
                sources: [row::NOTHING; 4],
                early_sources: [row::NOTHING; 2],
                early: Early::Never,
                units: unit::ANY,
                conflicts: unit::ALONE,
                results: [NOWHERE; 2],
                base: NOWHERE,
                float_result: 0,
                float_results: 0,
                latency: Latency::LateAlu,
                extra: 0,
                sets_flags: i.flags != set_flags::NEVER,
                sets_fpscr: false,
                branch: Branch::No,
                target: u32::MAX,
                alignment: 0,
                list: 0,
                after_float_mac: false,
                length: i.length,
            },
            used: 0,
        };
        builder.classify(i, config);
        builder.conflicts(config);
        builder.class
    }
}

struct Builder {
    class: Class,
    used: usize,
}

impl Builder {
    /// Adds register `r` as an operand taken up at `row`.
    fn source(&mut self, row: u8, r: u8) {
        if r == 15 && row < row::FLOAT {
            return;
        }
        self.source_index(row + r);
        if row < row::FLOAT
            && let Some(slot) = self
                .class
                .early_sources
                .iter_mut()
                .find(|s| **s == row::NOTHING)
        {
            *slot = row::ADDRESS + r;
        }
    }

    fn source_index(&mut self, index: u8) {
        if let Some(slot) = self.class.sources.get_mut(self.used) {
            *slot = index;
            self.used += 1;
        }
    }

    fn result(&mut self, r: u8, latency: Latency) {
        self.class.results[0] = if r < 15 { r } else { NOWHERE };
        self.class.latency = latency;
    }

    fn results(&mut self, first: u8, second: u8, latency: Latency) {
        self.result(first, latency);
        self.class.results[1] = if second < 15 { second } else { NOWHERE };
    }

    fn float_result(&mut self, first: u8, count: u8, latency: Latency) {
        self.class.float_result = first;
        self.class.float_results = count;
        self.class.latency = latency;
    }

    fn uses(&mut self, units: u16) {
        self.class.units |= units;
    }

    /// Which other units forbid a pair, once `units` is complete.
    fn conflicts(&mut self, config: &TimingConfig) {
        let units = self.class.units;
        let mut conflicts = unit::ALONE;
        let mut when = |has: u16, against: u16| {
            if units & has != 0 {
                conflicts |= against;
            }
        };
        when(unit::MULTIPLY, unit::MULTIPLY | unit::STORE);
        when(unit::STORE, unit::STORE | unit::MULTIPLY);
        when(unit::SHIFT, unit::SHIFT);
        when(
            unit::DSP,
            if config.dsp_older_slot_only {
                unit::ANY
            } else {
                unit::DSP
            },
        );
        when(unit::FLOAT, unit::FLOAT | unit::FLOAT_MAC);
        when(unit::FLOAT_MOVE, unit::FLOAT_MAC);
        when(unit::FLOAT_MAC, unit::FLOAT_MOVE);
        when(unit::BRANCH, unit::BRANCH);
        when(unit::ALONE, unit::ANY);
        match config.long_multiply_pairing {
            LongMultiplyPairing::AnyLoad => {}
            LongMultiplyPairing::ImmediateOffset => {
                when(unit::LONG_MULTIPLY, unit::REGISTER_LOAD);
                when(unit::REGISTER_LOAD, unit::LONG_MULTIPLY);
            }
            LongMultiplyPairing::Never => {
                when(unit::LONG_MULTIPLY, unit::LOAD);
                when(unit::LOAD, unit::LONG_MULTIPLY);
            }
        }
        self.class.conflicts = conflicts;
    }

    fn classify(&mut self, i: &Instruction, config: &TimingConfig) {
        use Op::*;
        match i.op {
            And | Bic | Orr | Orn | Eor | Add | Adc | Sbc | Sub | Rsb | Tst | Teq | Cmn | Cmp
            | Mov | Mvn => self.data_processing(i),
            ShiftReg => {
                self.source(row::ALU, i.rn);
                self.source(row::ALU, i.rm);
                self.result(i.rd, Latency::LateAlu);
                self.class.early = Early::Shifter;
            }
            MovImm | Movt => {
                if i.op == Movt {
                    self.source(row::ALU, i.rd);
                }
                self.result(i.rd, Latency::LateAlu);
                self.class.early = Early::Constant;
            }
            Mul | Mla | Mls | SmlaXY | SmulXY | SmlaWY | SmulWY | Smlad | Smuad | Smlsd | Smusd
            | Smmla | Smmls | Smmul => {
                self.uses(unit::MULTIPLY);
                self.source(row::FACTOR, i.rn);
                self.source(row::FACTOR, i.rm);
                self.source(row::ADDEND, i.ra);
                self.result(i.rd, Latency::Multiply);
            }
            Smull | Umull | Smlal | Umlal | Umaal | SmlalXY | Smlald | Smlsld => {
                self.uses(unit::MULTIPLY | unit::LONG_MULTIPLY);
                self.source(row::FACTOR, i.rn);
                self.source(row::FACTOR, i.rm);
                if !matches!(i.op, Smull | Umull) {
                    self.source(row::ADDEND, i.rd);
                    self.source(row::ADDEND, i.ra);
                }
                self.results(i.rd, i.ra, Latency::Multiply);
            }
            Sdiv | Udiv => {
                self.uses(unit::ALONE);
                self.source(row::ALU, i.rn);
                self.source(row::ALU, i.rm);
                self.result(i.rd, Latency::LateAlu);
                self.class.extra = config.divide_extra;
            }
            Usad8 | Usada8 | Bfi | Bfc | Sbfx | Ubfx | Ssat | Usat | Ssat16 | Usat16 | Sxtb
            | Sxth | Uxtb | Uxth | Sxtb16 | Uxtb16 | Pkhbt | Pkhtb | Rev | Rev16 | Revsh | Rbit
            | Clz | Sel | Parallel | Qadd | Qsub | Qdadd | Qdsub => self.dsp(i),
            Ldr | Ldrb | Ldrh | Ldrsb | Ldrsh | LdrPc | Str | Strb | Strh | Ldrd | Strd | Ldm
            | Stm | Ldrex | Ldrexb | Ldrexh | Strex | Strexb | Strexh | Tbb | Tbh => {
                self.transfer(i);
            }
            B => {
                let conditional = i.cond != ALWAYS;
                self.branch(if conditional {
                    Branch::Conditional
                } else {
                    Branch::Direct
                });
                self.class.target = i.imm;
            }
            Bl => {
                self.branch(Branch::Direct);
                self.result(14, Latency::LateAlu);
            }
            Bx | Blx | MovPc | AddPc => {
                self.branch(Branch::Indirect);
                self.source(row::ALU, i.rm);
                if i.op == Blx {
                    self.result(14, Latency::LateAlu);
                }
            }
            Cbz | Cbnz => {
                self.branch(Branch::Conditional);
                self.class.target = i.imm;
                self.source(row::ALU, i.rn);
            }
            Barrier => {
                self.uses(unit::ALONE);
                self.class.extra = config.barrier_extra;
            }
            Mrs => {
                self.uses(unit::ALONE);
                self.source_index(row::FLAGS);
                self.result(i.rd, Latency::Special);
            }
            Msr | Cps => {
                self.uses(unit::ALONE);
                self.source(row::ALU, i.rn);
                self.class.sets_flags = true;
            }
            Pld => self.source(row::ADDRESS, i.rn),
            It | Nop | Wfi | Bkpt | Svc | Clrex | Undefined => {}
            _ => self.float(i, config),
        }
    }

    fn branch(&mut self, branch: Branch) {
        self.uses(unit::BRANCH);
        self.class.branch = branch;
    }

    fn data_processing(&mut self, i: &Instruction) {
        use Op::*;
        let shifted = !i.has_imm && i.amount != 0;
        let alias_shift = i.op == Mov && shifted;
        // A constant built by rotation, or a shifted register, goes through the shifter.
        let inline_shift = shifted && !alias_shift || i.has_imm && i.amount != 0;
        if !matches!(i.op, Mov | Mvn) {
            self.source(row::ALU, i.rn);
        }
        if !i.has_imm {
            self.source(if inline_shift { row::ADDRESS } else { row::ALU }, i.rm);
        }
        if matches!(i.op, Adc | Sbc) || i.shift == Shift::Rrx {
            self.source_index(row::FLAGS);
        }
        if inline_shift {
            self.uses(unit::SHIFT);
        }
        if !matches!(i.op, Tst | Teq | Cmn | Cmp) {
            self.result(i.rd, Latency::LateAlu);
        }
        self.class.early = match i.op {
            Mov if alias_shift && i.shift != Shift::Rrx => Early::Shifter,
            Add | Sub | Mov if !inline_shift && !alias_shift => Early::Older,
            _ => Early::Never,
        };
    }

    /// Bit-field and DSP instructions other than multiplications.
    fn dsp(&mut self, i: &Instruction) {
        use Op::*;
        self.uses(unit::DSP);
        let extends = matches!(i.op, Sxtb | Sxth | Uxtb | Uxth | Sxtb16 | Uxtb16);
        if matches!(
            i.op,
            Bfi | Bfc | Sbfx | Ubfx | Rbit | Rev | Rev16 | Revsh | Pkhbt | Pkhtb
        ) || extends && i.ra != 15
        {
            self.uses(unit::SHIFT);
        }
        match i.op {
            Bfi => {
                self.source(row::ADDRESS, i.rn);
                self.source(row::ALU, i.rd);
            }
            Bfc => self.source(row::ALU, i.rd),
            Sbfx | Ubfx | Ssat | Usat => self.source(row::ADDRESS, i.rn),
            Rbit | Rev | Rev16 | Revsh => self.source(row::ADDRESS, i.rm),
            Pkhbt => {
                self.source(row::ALU, i.rn);
                self.source(row::ADDRESS, i.rm);
            }
            Pkhtb => {
                self.source(row::ADDRESS, i.rn);
                self.source(row::ADDRESS, i.rm);
            }
            _ if extends && i.ra != 15 => {
                self.source(row::ALU, i.ra);
                self.source(row::ADDRESS, i.rm);
            }
            _ if extends => self.source(row::ALU, i.rm),
            _ => {
                self.source(row::ALU, i.rn);
                self.source(row::ALU, i.rm);
                self.source(row::ADDEND, i.ra);
            }
        }
        if i.op == Sel {
            self.source_index(row::FLAGS);
        }
        let saturating = matches!(i.op, Ssat | Usat | Qadd | Qsub | Qdadd | Qdsub);
        self.result(
            i.rd,
            if saturating {
                Latency::Saturate
            } else {
                Latency::LateAlu
            },
        );
        self.class.sets_flags |= i.op == Parallel && i.variant & 3 == 0;
    }

    fn transfer(&mut self, i: &Instruction) {
        use Op::*;
        self.source(row::ADDRESS, i.rn);
        if i.mode == Mode::Register || matches!(i.op, Tbb | Tbh) {
            self.source(row::ADDRESS, i.rm);
        }
        if matches!(i.mode, Mode::PreIndex | Mode::PostIndex) && !matches!(i.op, Ldm | Stm) {
            self.class.base = i.rn;
        }
        self.class.alignment = match i.op {
            Ldr | Str => 3,
            Ldrh | Ldrsh | Strh => 1,
            _ => 0,
        };
        match i.op {
            Ldr | LdrPc | Ldrex => self.result(i.rd, Latency::LoadWord),
            Ldrb | Ldrh | Ldrsb | Ldrsh | Ldrexb | Ldrexh => {
                self.result(i.rd, Latency::LoadNarrow);
            }
            Ldrd => self.results(i.rd, i.ra, Latency::LoadWord),
            Str | Strb | Strh => self.source(row::ADDEND, i.rd),
            Strd => {
                self.source(row::ADDEND, i.rd);
                self.source(row::ADDEND, i.ra);
            }
            Strex | Strexb | Strexh => {
                self.source(row::ADDEND, i.rd);
                self.result(i.ra, Latency::LoadWord);
            }
            Ldm | Stm => {
                self.class.list = i.imm as u16 & 0x7fff;
                if i.variant == 1 {
                    self.class.base = i.rn;
                }
            }
            _ => {}
        }
        let store = matches!(
            i.op,
            Str | Strb | Strh | Strd | Stm | Strex | Strexb | Strexh
        );
        self.uses(if store { unit::STORE } else { unit::LOAD });
        if !store && i.mode == Mode::Register {
            self.uses(unit::REGISTER_LOAD);
        }
        if matches!(i.op, Ldrd | Strd | Ldm | Stm | Tbb | Tbh)
            || matches!(i.op, Ldrex | Ldrexb | Ldrexh | Strex | Strexb | Strexh)
        {
            self.uses(unit::ALONE);
        }
        let loads_pc = i.op == Ldm && i.imm >> 15 & 1 == 1;
        if loads_pc || matches!(i.op, LdrPc | Tbb | Tbh) {
            self.branch(Branch::Indirect);
        }
    }

    fn float(&mut self, i: &Instruction, config: &TimingConfig) {
        use Op::*;
        self.class.after_float_mac =
            matches!(i.op, Vadd | Vsub | Vldm | Vstm | Vldrd | Vstrd | VmovImm);
        match i.op {
            Vldr | Vldrd | Vldm | Vstr | Vstrd | Vstm => {
                self.source(row::ADDRESS, i.rn);
                let count = match i.op {
                    Vldr | Vstr => 1,
                    Vldrd | Vstrd => 2,
                    _ => i.imm as u8,
                };
                if matches!(i.op, Vldr | Vldrd | Vldm) {
                    self.uses(unit::LOAD | unit::FLOAT_MOVE);
                    self.float_result(i.rd, count, Latency::FloatLoad);
                } else {
                    self.uses(unit::STORE | unit::FLOAT_MOVE);
                    self.source(row::FLOAT_STORE, i.rd);
                    self.source(row::FLOAT_STORE, i.rd + count - 1);
                }
                if !matches!(i.op, Vldr | Vstr) {
                    self.uses(unit::ALONE);
                }
                if matches!(i.op, Vldm | Vstm) && i.variant == 1 {
                    self.class.base = i.rn;
                }
            }
            VmovToCore => {
                self.uses(unit::FLOAT_MOVE);
                self.source(row::FLOAT, i.rn);
                self.result(i.rd, Latency::FloatToCore);
            }
            VmovPairToCore => {
                self.uses(unit::FLOAT_MOVE | unit::ALONE);
                self.source(row::FLOAT, i.rm);
                self.source(row::FLOAT, i.rm + 1);
                self.results(i.rd, i.ra, Latency::FloatToCore);
            }
            VmovFromCore => {
                self.uses(unit::FLOAT_MOVE);
                self.source(row::ADDEND, i.rm);
                self.float_result(i.rd, 1, Latency::FloatMove);
            }
            VmovPairFromCore => {
                self.uses(unit::FLOAT_MOVE | unit::ALONE);
                self.source(row::ADDEND, i.rn);
                self.source(row::ADDEND, i.rm);
                self.float_result(i.rd, 2, Latency::FloatMove);
            }
            Vmrs => {
                self.uses(unit::FLOAT);
                self.source_index(row::FPSCR);
                self.class.sets_flags = i.rd == 15;
                self.result(i.rd, Latency::FloatToCore);
            }
            Vmsr => {
                self.uses(unit::FLOAT);
                self.source(row::ADDEND, i.rm);
                self.class.sets_fpscr = true;
            }
            Vcmp => {
                self.uses(unit::FLOAT);
                self.source(row::FLOAT, i.rd);
                if i.variant & 1 == 0 {
                    self.source(row::FLOAT, i.rm);
                }
                self.class.sets_fpscr = true;
            }
            Vmla | Vmls | Vnmla | Vnmls | Vfma | Vfms | Vfnma | Vfnms => {
                self.uses(unit::FLOAT | unit::FLOAT_MAC);
                self.source(row::FLOAT, i.rn);
                self.source(row::FLOAT, i.rm);
                self.source(row::FLOAT_ADDEND, i.rd);
                let chained = matches!(i.op, Vmla | Vmls | Vnmla | Vnmls);
                let latency = if chained {
                    Latency::FloatChained
                } else {
                    Latency::FloatFused
                };
                self.float_result(i.rd, 1, latency);
            }
            VmovImm => {
                self.uses(unit::FLOAT | unit::FLOAT_MOVE);
                self.float_result(i.rd, 1, Latency::FloatMove);
            }
            Vdiv | Vsqrt => {
                self.uses(unit::FLOAT);
                self.two_float_sources(i);
                let cycles = if i.op == Vdiv {
                    config.float_divide
                } else {
                    config.float_square_root
                };
                self.class.extra = cycles - 1;
                self.float_result(i.rd, 1, Latency::FloatLong);
            }
            VcvtToHalf => {
                self.uses(unit::FLOAT);
                self.source(row::FLOAT, i.rm);
                self.source(row::FLOAT, i.rd);
                self.float_result(i.rd, 1, Latency::Float);
            }
            _ => {
                self.uses(if i.op == Vmov {
                    unit::FLOAT_MOVE
                } else {
                    unit::FLOAT
                });
                self.two_float_sources(i);
                if i.op == Vsel {
                    self.source_index(row::FLAGS);
                }
                self.float_result(i.rd, 1, Latency::Float);
            }
        }
    }

    /// Operands of arithmetic; `rn` is 15 where the instruction takes one, which as S15 must
    /// not count.
    fn two_float_sources(&mut self, i: &Instruction) {
        if matches!(
            i.op,
            Op::Vadd
                | Op::Vsub
                | Op::Vmul
                | Op::Vnmul
                | Op::Vdiv
                | Op::Vsel
                | Op::Vmaxnm
                | Op::Vminnm
        ) {
            self.source(row::FLOAT, i.rn);
        }
        self.source(row::FLOAT, i.rm);
    }
}
