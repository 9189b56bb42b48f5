//! Multiplication beyond MUL and MLA, division, saturation, extension and the parallel
//! operations of the DSP extension.

use super::{Bus, Cpu, FaultKind, Instruction, Op};
use crate::emulator::instruction::Parallel;

fn bottom(value: u32) -> i32 {
    i32::from(value as i16)
}

fn top(value: u32) -> i32 {
    value as i32 >> 16
}

/// Clamps to `low..=high`; true if that changed the value.
fn clamp(value: i64, low: i64, high: i64) -> (u32, bool) {
    let clamped = value.clamp(low, high);
    (clamped as u32, clamped != value)
}

fn clamp_signed(value: i64, width: u32) -> (u32, bool) {
    clamp(value, -(1 << (width - 1)), (1 << (width - 1)) - 1)
}

fn clamp_unsigned(value: i64, width: u32) -> (u32, bool) {
    clamp(value, 0, (1 << width) - 1)
}

impl Cpu {
    /// The 64-bit accumulator in `ra:rd`.
    #[inline(always)]
    pub(super) fn long(&self, i: &Instruction) -> u64 {
        u64::from(self.reg(i.ra)) << 32 | u64::from(self.reg(i.rd))
    }

    #[inline(always)]
    pub(super) fn set_long(&mut self, i: &Instruction, value: u64) {
        self.set(i.rd, value as u32);
        self.set(i.ra, (value >> 32) as u32);
    }

    #[inline(always)]
    pub(super) fn signed_product(&self, i: &Instruction) -> u64 {
        let (a, b) = (self.reg(i.rn) as i32, self.reg(i.rm) as i32);
        (i64::from(a) * i64::from(b)) as u64
    }

    #[inline(always)]
    pub(super) fn unsigned_product(&self, i: &Instruction) -> u64 {
        u64::from(self.reg(i.rn)) * u64::from(self.reg(i.rm))
    }

    #[inline]
    pub(super) fn dsp_multiply(&mut self, i: &Instruction) {
        let (n, m) = (self.reg(i.rn), self.reg(i.rm));
        let first = i.variant & 1 == 1;
        // Half-by-half and word-by-half operands.
        let x = if i.variant & 2 == 2 {
            top(n)
        } else {
            bottom(n)
        };
        let y = if first { top(m) } else { bottom(m) };
        // Dual operands: the products of both halves, `m` swapped by the X suffix.
        let swapped = if first { m.rotate_right(16) } else { m };
        let low = i64::from(bottom(n)) * i64::from(bottom(swapped));
        let high = i64::from(top(n)) * i64::from(top(swapped));
        let addend = i64::from(self.reg(i.ra) as i32);
        match i.op {
            Op::SmulXY => self.set(i.rd, (x * y) as u32),
            Op::SmlaXY => self.set_sticky(i, i64::from(x * y) + addend),
            Op::SmulWY => self.set(i.rd, ((i64::from(n as i32) * i64::from(y)) >> 16) as u32),
            Op::SmlaWY => {
                self.set_sticky(i, ((i64::from(n as i32) * i64::from(y)) >> 16) + addend);
            }
            Op::Smuad => self.set_sticky(i, low + high),
            Op::Smlad => self.set_sticky(i, low + high + addend),
            Op::Smusd => self.set(i.rd, (low - high) as u32),
            Op::Smlsd => self.set_sticky(i, low - high + addend),
            Op::SmlalXY => self.set_long(i, self.long(i).wrapping_add(i64::from(x * y) as u64)),
            Op::Smlald => self.set_long(i, self.long(i).wrapping_add((low + high) as u64)),
            Op::Smlsld => self.set_long(i, self.long(i).wrapping_add((low - high) as u64)),
            _ => {
                // SMMUL, SMMLA, SMMLS: the most significant word, rounded by the R suffix.
                let product = self.signed_product(i);
                let accumulator = if i.op == Op::Smmul {
                    0
                } else {
                    u64::from(self.reg(i.ra)) << 32
                };
                let sum = if i.op == Op::Smmls {
                    accumulator.wrapping_sub(product)
                } else {
                    accumulator.wrapping_add(product)
                };
                let rounding = u64::from(first) << 31;
                self.set(i.rd, (sum.wrapping_add(rounding) >> 32) as u32);
            }
        }
    }

    /// Writes the low word; Q remembers that it does not hold the value.
    #[inline(always)]
    fn set_sticky(&mut self, i: &Instruction, value: i64) {
        self.q |= i64::from(value as i32) != value;
        self.set(i.rd, value as u32);
    }

    pub(super) fn divide(&mut self, bus: &mut Bus, i: &Instruction) -> Result<(), FaultKind> {
        let (n, m) = (self.reg(i.rn), self.reg(i.rm));
        let quotient = if m == 0 {
            if bus.system.traps_division() {
                return Err(FaultKind::DivideByZero);
            }
            0
        } else if i.op == Op::Sdiv {
            (n as i32).wrapping_div(m as i32) as u32
        } else {
            n / m
        };
        self.set(i.rd, quotient);
        Ok(())
    }

    /// USAD8, USADA8.
    pub(super) fn absolute_differences(&mut self, i: &Instruction) {
        let (n, m) = (self.reg(i.rn).to_le_bytes(), self.reg(i.rm).to_le_bytes());
        let sum: u32 = n
            .iter()
            .zip(m)
            .map(|(&a, b)| u32::from(a.abs_diff(b)))
            .sum();
        let addend = if i.op == Op::Usada8 {
            self.reg(i.ra)
        } else {
            0
        };
        self.set(i.rd, sum.wrapping_add(addend));
    }

    pub(super) fn saturate(&mut self, i: &Instruction) {
        let (value, saturated) = match i.op {
            Op::Ssat => clamp_signed(self.operand_n(i).into(), i.imm),
            Op::Usat => clamp_unsigned(self.operand_n(i).into(), i.imm),
            _ => {
                let n = self.reg(i.rn);
                let half = |value: i32| match i.op {
                    Op::Ssat16 => clamp_signed(value.into(), i.imm),
                    _ => clamp_unsigned(value.into(), i.imm),
                };
                let ((low, saturated_low), (high, saturated_high)) =
                    (half(bottom(n)), half(top(n)));
                (low & 0xffff | high << 16, saturated_low | saturated_high)
            }
        };
        self.q |= saturated;
        self.set(i.rd, value);
    }

    /// The shifted operand of SSAT and USAT.
    fn operand_n(&self, i: &Instruction) -> i32 {
        self.shift(self.reg(i.rn), i.shift, i.amount.into()).0 as i32
    }

    #[inline]
    pub(super) fn extend(&mut self, i: &Instruction) {
        let value = self.reg(i.rm).rotate_right(i.amount.into());
        let halves = |low: u32, high: u32| low & 0xffff | high << 16;
        let extended = match i.op {
            Op::Sxtb => i32::from(value as i8) as u32,
            Op::Sxth => bottom(value) as u32,
            Op::Uxtb => value & 0xff,
            Op::Uxth => value & 0xffff,
            Op::Sxtb16 => halves(
                i32::from(value as i8) as u32,
                i32::from((value >> 16) as i8) as u32,
            ),
            _ => value & 0x00ff_00ff,
        };
        let result = match (i.ra, i.op) {
            (15, _) => extended,
            (_, Op::Sxtb16 | Op::Uxtb16) => {
                let a = self.reg(i.ra);
                halves(
                    a.wrapping_add(extended),
                    (a >> 16).wrapping_add(extended >> 16),
                )
            }
            _ => self.reg(i.ra).wrapping_add(extended),
        };
        self.set(i.rd, result);
    }

    /// SEL: each byte from `rn` where its GE bit is set, else from `rm`.
    pub(super) fn select_bytes(&mut self, i: &Instruction) {
        let mask = (0..4).fold(0, |m, k| {
            m | (u32::from(self.ge >> k & 1) * (0xff << (8 * k)))
        });
        self.set(i.rd, self.reg(i.rn) & mask | self.reg(i.rm) & !mask);
    }

    pub(super) fn saturating_arithmetic(&mut self, i: &Instruction) {
        let (n, m) = (
            i64::from(self.reg(i.rn) as i32),
            i64::from(self.reg(i.rm) as i32),
        );
        let (n, saturated_first) = match i.op {
            Op::Qdadd | Op::Qdsub => {
                let (doubled, saturated) = clamp_signed(2 * n, 32);
                (i64::from(doubled as i32), saturated)
            }
            _ => (n, false),
        };
        let value = if matches!(i.op, Op::Qadd | Op::Qdadd) {
            m + n
        } else {
            m - n
        };
        let (value, saturated) = clamp_signed(value, 32);
        self.q |= saturated | saturated_first;
        self.set(i.rd, value);
    }

    /// Parallel addition and subtraction on two or four lanes.
    pub(super) fn parallel(&mut self, i: &Instruction) {
        let Parallel {
            operation,
            result,
            unsigned,
        } = Parallel::unpack(i.variant);
        let (n, m) = (self.reg(i.rn), self.reg(i.rm));
        let bytes = matches!(operation, 0 | 4);
        let width = if bytes { 8 } else { 16 };
        let lane = |value: u32, index: u32| -> i32 {
            let shifted = value << (32 - width - width * index);
            if unsigned {
                (shifted >> (32 - width)) as i32
            } else {
                shifted as i32 >> (32 - width)
            }
        };
        let (mut value, mut ge) = (0, 0);
        for index in 0..32 / width {
            // The exchanging forms cross the lanes of `rm`: ASX subtracts below and adds above.
            let (other, add) = match operation {
                0 | 1 => (index, true),
                4 | 5 => (index, false),
                2 => (1 - index, index == 1),
                _ => (1 - index, index == 0),
            };
            let (a, b) = (lane(n, index), lane(m, other));
            let exact = if add { a + b } else { a - b };
            let carries = if unsigned && add {
                exact >> width != 0
            } else {
                exact >= 0
            };
            if carries {
                ge |= if bytes { 1 } else { 0b11 } << (index * width / 8);
            }
            let lane_value = match result {
                1 if unsigned => exact.clamp(0, (1 << width) - 1),
                1 => exact.clamp(-(1 << (width - 1)), (1 << (width - 1)) - 1),
                2 => exact >> 1,
                _ => exact,
            };
            value |= (lane_value as u32 & (u32::MAX >> (32 - width))) << (index * width);
        }
        if result == 0 {
            self.ge = ge;
        }
        self.set(i.rd, value);
    }
}
