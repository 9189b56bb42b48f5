//! The architecture: registers, flags and what each instruction does to them (ARMv7-M
//! Architecture Reference Manual, A7), with no notion of time.

mod float;
mod media;
mod transfer;

use super::fault::FaultKind;
use super::instruction::{Instruction, Op, Shift, carry_out};
use super::memory::Bus;

/// The data access that the last instruction made, for the timing model.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Access {
    /// Lowest address.
    pub address: u32,
    /// Words (or parts of one) transferred.
    pub words: u32,
}

/// Registers of the core. `r[15]` holds the address of the running instruction plus four, as
/// instructions see it; [`Cpu::next`] is what runs next.
pub(super) struct Cpu {
    pub r: [u32; 16],
    /// Address of the next instruction.
    pub next: u32,
    /// Single-precision registers; D registers are pairs.
    pub s: [u32; 32],
    n: bool,
    z: bool,
    c: bool,
    v: bool,
    q: bool,
    /// APSR.GE
    ge: u8,
    /// ITSTATE; 0 outside IT blocks.
    pub it: u8,
    fpscr: u32,
    primask: u32,
    basepri: u32,
    faultmask: u32,
    control: u32,
    /// The stack pointer that `r[13]` is not (main or process).
    other_sp: u32,
    /// Address of the exclusive monitor's reservation.
    reservation: Option<u32>,
    /// Set by loads and stores.
    pub access: Access,
}

/// What an instruction asks of the run loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    Continue,
    Breakpoint(u8),
}

impl Cpu {
    /// A core after reset with its stack pointer and first instruction.
    pub fn new(sp: u32, entry: u32) -> Self {
        let mut r = [0; 16];
        r[13] = sp & !3;
        r[14] = u32::MAX;
        Self {
            r,
            next: entry & !1,
            s: [0; 32],
            n: false,
            z: false,
            c: false,
            v: false,
            q: false,
            ge: 0,
            it: 0,
            fpscr: 0,
            primask: 0,
            basepri: 0,
            faultmask: 0,
            control: 0,
            other_sp: 0,
            reservation: None,
            access: Access::default(),
        }
    }

    /// Whether `condition` (0..=15) holds.
    #[inline(always)]
    pub fn condition(&self, condition: u8) -> bool {
        let holds = match condition >> 1 {
            0 => self.z,
            1 => self.c,
            2 => self.n,
            3 => self.v,
            4 => self.c && !self.z,
            5 => self.n == self.v,
            6 => self.n == self.v && !self.z,
            _ => return true,
        };
        holds != (condition & 1 == 1)
    }

    /// Moves ITSTATE on after an instruction of an IT block.
    #[inline(always)]
    pub fn advance_it(&mut self) {
        self.it = if self.it & 7 == 0 {
            0
        } else {
            self.it & 0xe0 | self.it << 1 & 0x1f
        };
    }

    #[inline(always)]
    fn reg(&self, n: u8) -> u32 {
        self.r[usize::from(n & 15)]
    }

    #[inline(always)]
    fn set(&mut self, n: u8, value: u32) {
        self.r[usize::from(n & 15)] = value;
    }

    /// Writes `rd`, and N and Z where the instruction sets flags.
    #[inline(always)]
    fn result(&mut self, i: &Instruction, value: u32) {
        if self.sets_flags(i) {
            self.set_nz(value);
        }
        self.set(i.rd, value);
    }

    #[inline(always)]
    fn sets_flags(&self, i: &Instruction) -> bool {
        i.flags >> u8::from(self.it != 0) & 1 == 1
    }

    #[inline(always)]
    fn set_nz(&mut self, value: u32) {
        self.n = value >> 31 == 1;
        self.z = value == 0;
    }

    /// Shift_C of the manual. `amount` may be any byte.
    #[inline(always)]
    fn shift(&self, value: u32, shift: Shift, amount: u32) -> (u32, bool) {
        if amount == 0 {
            return (value, self.c);
        }
        match shift {
            Shift::Lsl if amount < 32 => (value << amount, value >> (32 - amount) & 1 == 1),
            Shift::Lsl => (0, amount == 32 && value & 1 == 1),
            Shift::Lsr if amount < 32 => (value >> amount, value >> (amount - 1) & 1 == 1),
            Shift::Lsr => (0, amount == 32 && value >> 31 == 1),
            Shift::Asr if amount < 32 => (
                (value as i32 >> amount) as u32,
                value >> (amount - 1) & 1 == 1,
            ),
            Shift::Asr => ((value as i32 >> 31) as u32, value >> 31 == 1),
            Shift::Ror => {
                let rotated = value.rotate_right(amount & 31);
                (rotated, rotated >> 31 == 1)
            }
            Shift::Rrx => (u32::from(self.c) << 31 | value >> 1, value & 1 == 1),
        }
    }

    /// The flexible second operand.
    #[inline(always)]
    fn operand(&self, i: &Instruction) -> u32 {
        if i.has_imm {
            i.imm
        } else if i.amount == 0 {
            self.reg(i.rm)
        } else {
            self.shift(self.reg(i.rm), i.shift, i.amount.into()).0
        }
    }

    /// The flexible second operand and the carry it gives a logical instruction.
    #[inline(always)]
    fn operand_carry(&self, i: &Instruction) -> (u32, bool) {
        if i.has_imm {
            let carry = match i.carry {
                carry_out::CLEAR => false,
                carry_out::SET => true,
                _ => self.c,
            };
            (i.imm, carry)
        } else {
            self.shift(self.reg(i.rm), i.shift, i.amount.into())
        }
    }

    #[inline(always)]
    fn logical(&mut self, i: &Instruction, op: impl Fn(u32, u32) -> u32, store: bool) {
        let (operand, carry) = self.operand_carry(i);
        let value = op(self.reg(i.rn), operand);
        if self.sets_flags(i) {
            self.set_nz(value);
            self.c = carry;
        }
        if store {
            self.set(i.rd, value);
        }
    }

    /// AddWithCarry of the manual, with flags.
    #[inline(always)]
    fn add_with_carry(&mut self, i: &Instruction, a: u32, b: u32, carry: bool) -> u32 {
        let (sum, carry_a) = a.overflowing_add(b);
        let (value, carry_b) = sum.overflowing_add(carry.into());
        if self.sets_flags(i) {
            self.set_nz(value);
            self.c = carry_a || carry_b;
            self.v = ((a ^ value) & (b ^ value)) >> 31 == 1;
        }
        value
    }

    /// BXWritePC: an indirect branch, whose bit 0 must name Thumb state.
    fn branch_exchange(&mut self, target: u32) -> Result<(), FaultKind> {
        if target & 1 == 0 {
            return Err(FaultKind::ArmState { target });
        }
        if target >= 0xffff_ff00 {
            return Err(FaultKind::Unsupported {
                what: "a return from an exception",
            });
        }
        self.next = target & !1;
        Ok(())
    }

    /// Executes `i`, whose condition holds. `r[15]` and `next` are already those of `i`.
    #[inline(always)]
    pub fn execute(&mut self, bus: &mut Bus, i: &Instruction) -> Result<Next, FaultKind> {
        match i.op {
            Op::And => self.logical(i, |a, b| a & b, true),
            Op::Bic => self.logical(i, |a, b| a & !b, true),
            Op::Orr => self.logical(i, |a, b| a | b, true),
            Op::Orn => self.logical(i, |a, b| a | !b, true),
            Op::Eor => self.logical(i, |a, b| a ^ b, true),
            Op::Mov => self.logical(i, |_, b| b, true),
            Op::Mvn => self.logical(i, |_, b| !b, true),
            Op::Tst => self.logical(i, |a, b| a & b, false),
            Op::Teq => self.logical(i, |a, b| a ^ b, false),
            Op::Add => {
                let value = self.add_with_carry(i, self.reg(i.rn), self.operand(i), false);
                self.set(i.rd, value);
            }
            Op::Adc => {
                let value = self.add_with_carry(i, self.reg(i.rn), self.operand(i), self.c);
                self.set(i.rd, value);
            }
            Op::Sub => {
                let value = self.add_with_carry(i, self.reg(i.rn), !self.operand(i), true);
                self.set(i.rd, value);
            }
            Op::Sbc => {
                let value = self.add_with_carry(i, self.reg(i.rn), !self.operand(i), self.c);
                self.set(i.rd, value);
            }
            Op::Rsb => {
                let value = self.add_with_carry(i, !self.reg(i.rn), self.operand(i), true);
                self.set(i.rd, value);
            }
            Op::Cmp => {
                self.add_with_carry(i, self.reg(i.rn), !self.operand(i), true);
            }
            Op::Cmn => {
                self.add_with_carry(i, self.reg(i.rn), self.operand(i), false);
            }
            Op::AddPc => self.next = self.r[15].wrapping_add(self.reg(i.rm)) & !1,
            Op::MovPc => self.next = self.reg(i.rm) & !1,
            Op::ShiftReg => {
                let amount = self.reg(i.rm) & 0xff;
                let (value, carry) = self.shift(self.reg(i.rn), i.shift, amount);
                if self.sets_flags(i) {
                    self.c = carry;
                }
                self.result(i, value);
            }
            Op::MovImm => self.set(i.rd, i.imm),
            Op::Movt => self.set(i.rd, self.reg(i.rd) & 0xffff | i.imm << 16),

            Op::Mul => self.result(i, self.reg(i.rn).wrapping_mul(self.reg(i.rm))),
            Op::Mla => {
                let product = self.reg(i.rn).wrapping_mul(self.reg(i.rm));
                self.set(i.rd, self.reg(i.ra).wrapping_add(product));
            }
            Op::Mls => {
                let product = self.reg(i.rn).wrapping_mul(self.reg(i.rm));
                self.set(i.rd, self.reg(i.ra).wrapping_sub(product));
            }
            Op::Smull => self.set_long(i, self.signed_product(i)),
            Op::Umull => self.set_long(i, self.unsigned_product(i)),
            Op::Smlal => self.set_long(i, self.long(i).wrapping_add(self.signed_product(i))),
            Op::Umlal => self.set_long(i, self.long(i).wrapping_add(self.unsigned_product(i))),
            Op::Umaal => {
                let addends = u64::from(self.reg(i.rd)) + u64::from(self.reg(i.ra));
                self.set_long(i, self.unsigned_product(i) + addends);
            }
            Op::SmlaXY
            | Op::SmulXY
            | Op::SmlaWY
            | Op::SmulWY
            | Op::Smlad
            | Op::Smuad
            | Op::Smlsd
            | Op::Smusd
            | Op::SmlalXY
            | Op::Smlald
            | Op::Smlsld
            | Op::Smmla
            | Op::Smmls
            | Op::Smmul => self.dsp_multiply(i),
            Op::Sdiv | Op::Udiv => self.divide(bus, i)?,
            Op::Usad8 | Op::Usada8 => self.absolute_differences(i),

            Op::Bfi | Op::Bfc => {
                let mask = (u32::MAX >> (32 - i.imm)) << i.amount;
                let source = if i.op == Op::Bfi {
                    self.reg(i.rn) << i.amount
                } else {
                    0
                };
                self.set(i.rd, self.reg(i.rd) & !mask | source & mask);
            }
            Op::Sbfx => {
                let top = self.reg(i.rn) << (32 - u32::from(i.amount) - i.imm);
                self.set(i.rd, (top as i32 >> (32 - i.imm)) as u32);
            }
            Op::Ubfx => {
                let top = self.reg(i.rn) << (32 - u32::from(i.amount) - i.imm);
                self.set(i.rd, top >> (32 - i.imm));
            }
            Op::Ssat | Op::Usat | Op::Ssat16 | Op::Usat16 => self.saturate(i),
            Op::Sxtb | Op::Sxth | Op::Uxtb | Op::Uxth | Op::Sxtb16 | Op::Uxtb16 => self.extend(i),
            Op::Pkhbt => self.set(
                i.rd,
                self.reg(i.rn) & 0xffff | self.operand(i) & 0xffff_0000,
            ),
            Op::Pkhtb => self.set(
                i.rd,
                self.reg(i.rn) & 0xffff_0000 | self.operand(i) & 0xffff,
            ),
            Op::Rev => self.set(i.rd, self.reg(i.rm).swap_bytes()),
            Op::Rev16 => self.set(i.rd, self.reg(i.rm).swap_bytes().rotate_left(16)),
            Op::Revsh => {
                let half = (self.reg(i.rm) as u16).swap_bytes() as i16;
                self.set(i.rd, i32::from(half) as u32);
            }
            Op::Rbit => self.set(i.rd, self.reg(i.rm).reverse_bits()),
            Op::Clz => self.set(i.rd, self.reg(i.rm).leading_zeros()),
            Op::Sel => self.select_bytes(i),
            Op::Parallel => self.parallel(i),
            Op::Qadd | Op::Qsub | Op::Qdadd | Op::Qdsub => self.saturating_arithmetic(i),

            Op::Ldr => {
                let address = self.single_address(i);
                let value = bus.read32(address)?;
                self.index_base(i);
                self.set(i.rd, value);
            }
            Op::Ldrb => {
                let address = self.single_address(i);
                let value = bus.read8(address)?;
                self.index_base(i);
                self.set(i.rd, value);
            }
            Op::Ldrh => {
                let address = self.single_address(i);
                let value = bus.read16(address)?;
                self.index_base(i);
                self.set(i.rd, value);
            }
            Op::Ldrsb => {
                let address = self.single_address(i);
                let value = bus.read8(address)?;
                self.index_base(i);
                self.set(i.rd, i32::from(value as i8) as u32);
            }
            Op::Ldrsh => {
                let address = self.single_address(i);
                let value = bus.read16(address)?;
                self.index_base(i);
                self.set(i.rd, i32::from(value as i16) as u32);
            }
            Op::LdrPc => {
                let address = self.single_address(i);
                if address & 3 != 0 {
                    return Err(FaultKind::Unaligned { address });
                }
                let target = bus.read32(address)?;
                self.index_base(i);
                self.branch_exchange(target)?;
            }
            Op::Str => {
                let address = self.single_address(i);
                bus.write::<4>(address, self.reg(i.rd))?;
                self.index_base(i);
            }
            Op::Strb => {
                let address = self.single_address(i);
                bus.write::<1>(address, self.reg(i.rd))?;
                self.index_base(i);
            }
            Op::Strh => {
                let address = self.single_address(i);
                bus.write::<2>(address, self.reg(i.rd))?;
                self.index_base(i);
            }
            Op::Ldrd | Op::Strd => self.transfer_pair(bus, i)?,
            Op::Ldm | Op::Stm => self.transfer_multiple(bus, i)?,
            Op::Ldrex | Op::Ldrexb | Op::Ldrexh => self.load_exclusive(bus, i)?,
            Op::Strex | Op::Strexb | Op::Strexh => self.store_exclusive(bus, i)?,
            Op::Clrex => self.reservation = None,

            Op::B if i.imm == self.r[15].wrapping_sub(4) => return Err(FaultKind::EndlessLoop),
            Op::B => self.next = i.imm,
            Op::Bl => {
                self.r[14] = self.next | 1;
                self.next = i.imm;
            }
            Op::Bx => self.branch_exchange(self.reg(i.rm))?,
            Op::Blx => {
                let target = self.reg(i.rm);
                let link = self.next | 1;
                self.branch_exchange(target)?;
                self.r[14] = link;
            }
            Op::Cbz => {
                if self.reg(i.rn) == 0 {
                    self.next = i.imm;
                }
            }
            Op::Cbnz => {
                if self.reg(i.rn) != 0 {
                    self.next = i.imm;
                }
            }
            Op::Tbb | Op::Tbh => self.table_branch(bus, i)?,
            Op::It => self.it = i.imm as u8,
            Op::Nop | Op::Pld | Op::Barrier => {}
            Op::Wfi => {
                return Err(FaultKind::Unsupported {
                    what: "waiting for an interrupt (wfi) would never end, as interrupts are none",
                });
            }
            Op::Bkpt => return Ok(Next::Breakpoint(i.imm as u8)),
            Op::Svc => {
                return Err(FaultKind::Unsupported {
                    what: "a supervisor call (svc)",
                });
            }
            Op::Cps => {
                let masked = u32::from(i.variant & 1);
                if i.variant & 4 != 0 {
                    self.primask = masked;
                }
                if i.variant & 2 != 0 {
                    self.faultmask = masked;
                }
            }
            Op::Mrs => self.set(i.rd, self.read_special(i.imm)),
            Op::Msr => self.write_special(i.imm, i.variant, self.reg(i.rn)),
            Op::Undefined => return Err(FaultKind::Undefined { encoding: i.imm }),
            _ => self.execute_float(bus, i)?,
        }
        Ok(Next::Continue)
    }

    /// The condition flags in their place in APSR.
    fn apsr(&self) -> u32 {
        u32::from(self.n) << 31
            | u32::from(self.z) << 30
            | u32::from(self.c) << 29
            | u32::from(self.v) << 28
            | u32::from(self.q) << 27
            | u32::from(self.ge) << 16
    }

    fn set_nzcv(&mut self, value: u32) {
        self.n = value >> 31 & 1 == 1;
        self.z = value >> 30 & 1 == 1;
        self.c = value >> 29 & 1 == 1;
        self.v = value >> 28 & 1 == 1;
    }

    /// MRS. IPSR reads 0, as the core is always in thread mode, and EPSR by definition.
    fn read_special(&self, register: u32) -> u32 {
        let process_stack = self.control & 2 != 0;
        match register {
            0..=3 => self.apsr(),
            8 if process_stack => self.other_sp,
            9 if !process_stack => self.other_sp,
            8 | 9 => self.r[13],
            16 => self.primask,
            17 | 18 => self.basepri,
            19 => self.faultmask,
            20 => self.control,
            _ => 0,
        }
    }

    /// MSR; bit 1 of `mask` writes the flags, bit 0 GE.
    fn write_special(&mut self, register: u32, mask: u8, value: u32) {
        let process_stack = self.control & 2 != 0;
        match register {
            0..=3 => {
                if mask & 2 != 0 {
                    self.set_nzcv(value);
                    self.q = value >> 27 & 1 == 1;
                }
                if mask & 1 != 0 {
                    self.ge = (value >> 16 & 0xf) as u8;
                }
            }
            8 if process_stack => self.other_sp = value & !3,
            9 if !process_stack => self.other_sp = value & !3,
            8 | 9 => self.r[13] = value & !3,
            16 => self.primask = value & 1,
            17 => self.basepri = value & 0xff,
            18 if value & 0xff != 0 && (self.basepri == 0 || value & 0xff < self.basepri) => {
                self.basepri = value & 0xff;
            }
            19 => self.faultmask = value & 1,
            20 => {
                if (value ^ self.control) & 2 != 0 {
                    std::mem::swap(&mut self.r[13], &mut self.other_sp);
                }
                self.control = value & 7;
            }
            _ => {}
        }
    }
}
