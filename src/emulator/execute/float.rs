//! The single-precision floating-point unit (A2.5 and A7 of the manual). The host computes in
//! the same IEEE 754 format and rounding; what differs is said here: which NaN an operation
//! gives, and conversions.
//!
//! Not modelled: rounding modes other than to nearest, flush-to-zero and default-NaN mode (a
//! fault when FPSCR asks for them), and the cumulative exception flags (FPSCR reads as written).

use super::transfer::require_alignment;
use super::{Bus, Cpu, FaultKind, Instruction, Op};
use crate::emulator::instruction::Rounding;

const DEFAULT_NAN: u32 = 0x7fc0_0000;
const QUIET: u32 = 0x0040_0000;

fn is_nan(bits: u32) -> bool {
    bits & 0x7fff_ffff > 0x7f80_0000
}

fn is_signalling(bits: u32) -> bool {
    is_nan(bits) && bits & QUIET == 0
}

fn negate(bits: u32) -> u32 {
    bits ^ 0x8000_0000
}

/// FPProcessNaNs: the first signalling operand, else the first quiet one, made quiet; without
/// any, `exact`, whose own NaN (an invalid operation) is the default one.
#[inline(always)]
fn with_nans<const N: usize>(operands: [u32; N], exact: f32) -> u32 {
    let bits = exact.to_bits();
    if !is_nan(bits) {
        return bits;
    }
    let signalling = operands.iter().find(|&&o| is_signalling(o));
    match signalling.or_else(|| operands.iter().find(|&&o| is_nan(o))) {
        Some(nan) => nan | QUIET,
        None => DEFAULT_NAN,
    }
}

fn add(a: u32, b: u32) -> u32 {
    with_nans([a, b], f32::from_bits(a) + f32::from_bits(b))
}

fn subtract(a: u32, b: u32) -> u32 {
    with_nans([a, b], f32::from_bits(a) - f32::from_bits(b))
}

fn multiply(a: u32, b: u32) -> u32 {
    with_nans([a, b], f32::from_bits(a) * f32::from_bits(b))
}

/// FPMulAdd: `addend + a * b` rounded once.
fn fused(addend: u32, a: u32, b: u32) -> u32 {
    let infinite = |x: u32| x & 0x7fff_ffff == 0x7f80_0000;
    let zero = |x: u32| x & 0x7fff_ffff == 0;
    // Infinity times zero is invalid even if a quiet NaN would be added to it.
    if is_nan(addend)
        && !is_signalling(addend)
        && (infinite(a) && zero(b) || zero(a) && infinite(b))
    {
        return DEFAULT_NAN;
    }
    let exact = f32::from_bits(a).mul_add(f32::from_bits(b), f32::from_bits(addend));
    with_nans([addend, a, b], exact)
}

/// FPMaxNum: a quiet NaN loses against a number.
fn maximum(a: u32, b: u32) -> u32 {
    let number = |x: u32| !is_nan(x);
    let quiet_nan = |x: u32| is_nan(x) && !is_signalling(x);
    if quiet_nan(a) && number(b) {
        return b;
    }
    if quiet_nan(b) && number(a) {
        return a;
    }
    if is_nan(a) || is_nan(b) {
        return with_nans([a, b], f32::NAN);
    }
    // As integers of sign and magnitude: -0 is below +0.
    let order = |x: u32| x as i32 ^ ((x as i32 >> 31) as u32 >> 1) as i32;
    if order(a) >= order(b) { a } else { b }
}

fn minimum(a: u32, b: u32) -> u32 {
    if is_nan(a) || is_nan(b) {
        maximum(a, b)
    } else {
        negate(maximum(negate(a), negate(b)))
    }
}

/// FPCompare: NZCV in bits 31..28.
fn compare(a: f32, b: f32) -> u32 {
    match a.partial_cmp(&b) {
        None => 0b0011 << 28,
        Some(std::cmp::Ordering::Equal) => 0b0110 << 28,
        Some(std::cmp::Ordering::Less) => 0b1000 << 28,
        Some(std::cmp::Ordering::Greater) => 0b0010 << 28,
    }
}

fn round(value: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::TiesToEven => value.round_ties_even(),
        Rounding::TiesAway => value.round(),
        Rounding::Up => value.ceil(),
        Rounding::Down => value.floor(),
        Rounding::Zero => value.trunc(),
    }
}

/// IEEE half precision to single.
fn from_half(half: u32) -> u32 {
    let sign = (half & 0x8000) << 16;
    let (exponent, fraction) = (half >> 10 & 0x1f, half & 0x3ff);
    sign | match (exponent, fraction) {
        (31, 0) => 0x7f80_0000,
        (31, _) => 0x7fc0_0000 | fraction << 13,
        (0, _) => (fraction as f32 / 16_777_216.0).to_bits(),
        _ => (exponent + 112) << 23 | fraction << 13,
    }
}

/// Single to IEEE half precision, to nearest even.
fn to_half(single: u32) -> u32 {
    let sign = single >> 16 & 0x8000;
    let magnitude = single & 0x7fff_ffff;
    if is_nan(single) {
        return sign | 0x7e00 | magnitude >> 13 & 0x3ff;
    }
    // 65520 and above round to infinity.
    if magnitude >= 0x477f_f000 {
        return sign | 0x7c00;
    }
    if magnitude < 0x3880_0000 {
        // Subnormal: count of 2^-24, exact in single precision before rounding.
        let scaled = f32::from_bits(magnitude) * 16_777_216.0;
        return sign | scaled.round_ties_even() as u32;
    }
    let rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
    sign | ((rounded - (112 << 23)) >> 13)
}

impl Cpu {
    fn single(&self, n: u8) -> u32 {
        self.s[usize::from(n & 31)]
    }

    fn set_single(&mut self, n: u8, value: u32) {
        self.s[usize::from(n & 31)] = value;
    }

    pub(super) fn execute_float(
        &mut self,
        bus: &mut Bus,
        i: &Instruction,
    ) -> Result<(), FaultKind> {
        if !bus.system.fpu_enabled {
            return Err(FaultKind::FpuDisabled);
        }
        let (n, m, d) = (self.single(i.rn), self.single(i.rm), self.single(i.rd));
        let value = |bits: u32| f32::from_bits(bits);
        let result = match i.op {
            Op::Vldr | Op::Vldrd => {
                let address = self.single_address(i);
                require_alignment(address, 4)?;
                if i.op == Op::Vldrd {
                    self.access.words = 2;
                    let high = bus.read32(address.wrapping_add(4))?;
                    self.set_single(i.rd + 1, high);
                }
                bus.read32(address)?
            }
            Op::Vstr | Op::Vstrd => {
                let address = self.single_address(i);
                require_alignment(address, 4)?;
                bus.write::<4>(address, d)?;
                if i.op == Op::Vstrd {
                    self.access.words = 2;
                    bus.write::<4>(address.wrapping_add(4), self.single(i.rd + 1))?;
                }
                return Ok(());
            }
            Op::Vldm | Op::Vstm => return self.float_multiple(bus, i),
            Op::VmovToCore => {
                self.set(i.rd, n);
                return Ok(());
            }
            Op::VmovPairToCore => {
                let high = self.single(i.rm + 1);
                self.set(i.rd, m);
                self.set(i.ra, high);
                return Ok(());
            }
            Op::VmovPairFromCore => {
                self.set_single(i.rd + 1, self.reg(i.rm));
                self.reg(i.rn)
            }
            Op::VmovFromCore => self.reg(i.rm),
            Op::Vmov => m,
            Op::VmovImm => i.imm,
            Op::Vabs => m & 0x7fff_ffff,
            Op::Vneg => negate(m),
            Op::Vadd => add(n, m),
            Op::Vsub => subtract(n, m),
            Op::Vmul => multiply(n, m),
            Op::Vnmul => negate(multiply(n, m)),
            Op::Vdiv => with_nans([n, m], value(n) / value(m)),
            Op::Vsqrt => with_nans([m], value(m).sqrt()),
            // Chained: the product is rounded before it is added.
            Op::Vmla => add(d, multiply(n, m)),
            Op::Vmls => add(d, negate(multiply(n, m))),
            Op::Vnmla => add(negate(d), negate(multiply(n, m))),
            Op::Vnmls => add(negate(d), multiply(n, m)),
            Op::Vfma => fused(d, n, m),
            Op::Vfms => fused(d, negate(n), m),
            Op::Vfnma => fused(negate(d), negate(n), m),
            Op::Vfnms => fused(negate(d), n, m),
            Op::Vcmp => {
                let other = if i.variant & 1 == 1 { 0.0 } else { value(m) };
                self.fpscr = self.fpscr & 0x0fff_ffff | compare(value(d), other);
                return Ok(());
            }
            Op::VcvtFromInt if i.variant & 1 == 1 => (m as i32 as f32).to_bits(),
            Op::VcvtFromInt => (m as f32).to_bits(),
            Op::VcvtToInt => {
                let rounded = round(value(m).into(), Rounding::unpack(i.amount));
                if i.variant & 1 == 1 {
                    rounded as i32 as u32
                } else {
                    rounded as u32
                }
            }
            Op::VcvtFromFixed => {
                let scale = f64::from(i.imm).exp2().recip();
                let integer = match i.variant {
                    0 => f64::from(d as i16),
                    1 => f64::from(d as u16),
                    2 => f64::from(d as i32),
                    _ => f64::from(d),
                };
                ((integer * scale) as f32).to_bits()
            }
            Op::VcvtToFixed => {
                let scaled = (f64::from(value(d)) * f64::from(i.imm).exp2()).trunc();
                match i.variant {
                    0 => i32::from(scaled as i16) as u32,
                    1 => u32::from(scaled as u16),
                    2 => scaled as i32 as u32,
                    _ => scaled as u32,
                }
            }
            Op::VcvtFromHalf => from_half(m >> (16 * u32::from(i.variant)) & 0xffff),
            Op::VcvtToHalf => {
                let shift = 16 * u32::from(i.variant);
                d & !(0xffff << shift) | to_half(m) << shift
            }
            Op::Vrint => {
                let rounded = round(value(m).into(), Rounding::unpack(i.amount)) as f32;
                with_nans([m], rounded)
            }
            Op::Vsel => {
                if self.condition(i.variant) {
                    n
                } else {
                    m
                }
            }
            Op::Vmaxnm => maximum(n, m),
            Op::Vminnm => minimum(n, m),
            Op::Vmrs => {
                if i.rd == 15 {
                    self.set_nzcv(self.fpscr);
                } else {
                    self.set(i.rd, self.fpscr);
                }
                return Ok(());
            }
            Op::Vmsr => {
                let fpscr = self.reg(i.rm);
                if fpscr & 0x07c0_0000 != 0 {
                    return Err(FaultKind::Unsupported {
                        what: "a floating-point mode other than IEEE 754 to nearest (FPSCR)",
                    });
                }
                self.fpscr = fpscr & 0xf000_009f;
                return Ok(());
            }
            _ => return Err(FaultKind::Undefined { encoding: i.imm }),
        };
        self.set_single(i.rd, result);
        Ok(())
    }

    /// VLDM, VSTM, VPUSH, VPOP.
    fn float_multiple(&mut self, bus: &mut Bus, i: &Instruction) -> Result<(), FaultKind> {
        let (first, end) = self.list_addresses(i)?;
        for k in 0..i.imm {
            let address = first.wrapping_add(4 * k);
            let register = i.rd + k as u8;
            if i.op == Op::Vldm {
                let word = bus.read32(address)?;
                self.set_single(register, word);
            } else {
                bus.write::<4>(address, self.single(register))?;
            }
        }
        if i.variant == 1 {
            self.set(i.rn, end);
        }
        Ok(())
    }
}
