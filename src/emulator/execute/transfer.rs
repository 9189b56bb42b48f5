//! Loads and stores of pairs and lists, exclusives, table branches, and addresses.

use super::{Access, Bus, Cpu, FaultKind, Instruction, Op};
use crate::emulator::instruction::Mode;

/// Pairs, lists, exclusives and floating-point registers must be aligned whatever CCR says.
pub(super) fn require_alignment(address: u32, size: u32) -> Result<(), FaultKind> {
    match address & (size - 1) {
        0 => Ok(()),
        _ => Err(FaultKind::Unaligned { address }),
    }
}

impl Cpu {
    /// The address of a load or store of up to a word, noted for the timing model.
    #[inline(always)]
    pub(super) fn single_address(&mut self, i: &Instruction) -> u32 {
        let address = match i.mode {
            Mode::Offset | Mode::PreIndex => self.reg(i.rn).wrapping_add(i.imm),
            Mode::Register => self.reg(i.rn).wrapping_add(self.reg(i.rm) << i.amount),
            Mode::PostIndex => self.reg(i.rn),
            Mode::Literal => i.imm,
        };
        self.access = Access { address, words: 1 };
        address
    }

    /// Writes the base register back, before the loaded value is written.
    #[inline(always)]
    pub(super) fn index_base(&mut self, i: &Instruction) {
        if matches!(i.mode, Mode::PreIndex | Mode::PostIndex) {
            self.set(i.rn, self.reg(i.rn).wrapping_add(i.imm));
        }
    }

    pub(super) fn transfer_pair(
        &mut self,
        bus: &mut Bus,
        i: &Instruction,
    ) -> Result<(), FaultKind> {
        let address = self.single_address(i);
        self.access.words = 2;
        require_alignment(address, 4)?;
        if i.op == Op::Ldrd {
            let (first, second) = (bus.read32(address)?, bus.read32(address.wrapping_add(4))?);
            self.index_base(i);
            self.set(i.rd, first);
            self.set(i.ra, second);
        } else {
            bus.write::<4>(address, self.reg(i.rd))?;
            bus.write::<4>(address.wrapping_add(4), self.reg(i.ra))?;
            self.index_base(i);
        }
        Ok(())
    }

    /// First address of a list and the base register's new value.
    pub(super) fn list_addresses(&mut self, i: &Instruction) -> Result<(u32, u32), FaultKind> {
        let (base, size) = (self.reg(i.rn), u32::from(i.amount));
        let (first, end) = match i.mode {
            Mode::PreIndex => (base.wrapping_sub(size), base.wrapping_sub(size)),
            _ => (base, base.wrapping_add(size)),
        };
        self.access = Access {
            address: first,
            words: size / 4,
        };
        require_alignment(first, 4)?;
        Ok((first, end))
    }

    pub(super) fn transfer_multiple(
        &mut self,
        bus: &mut Bus,
        i: &Instruction,
    ) -> Result<(), FaultKind> {
        let (mut address, end) = self.list_addresses(i)?;
        let mut list = i.imm;
        if i.op == Op::Stm {
            while list != 0 {
                let register = list.trailing_zeros();
                bus.write::<4>(address, self.r[register as usize])?;
                address = address.wrapping_add(4);
                list &= list - 1;
            }
            if i.variant == 1 {
                self.set(i.rn, end);
            }
            return Ok(());
        }
        let mut loaded = self.r;
        while list != 0 {
            let register = list.trailing_zeros();
            loaded[register as usize] = bus.read32(address)?;
            address = address.wrapping_add(4);
            list &= list - 1;
        }
        if i.variant == 1 {
            loaded[usize::from(i.rn)] = end;
        }
        self.r = loaded;
        if i.imm >> 15 & 1 == 1 {
            self.branch_exchange(loaded[15])?;
        }
        Ok(())
    }

    /// LDREX and its narrow forms. With one core and no interrupts the monitor only guards
    /// against code that stores exclusively without having loaded so.
    pub(super) fn load_exclusive(
        &mut self,
        bus: &mut Bus,
        i: &Instruction,
    ) -> Result<(), FaultKind> {
        let address = self.single_address(i);
        let value = match i.op {
            Op::Ldrexb => bus.read8(address)?,
            Op::Ldrexh => {
                require_alignment(address, 2)?;
                bus.read16(address)?
            }
            _ => {
                require_alignment(address, 4)?;
                bus.read32(address)?
            }
        };
        self.reservation = Some(address);
        self.set(i.rd, value);
        Ok(())
    }

    /// STREX and its narrow forms: stores and gives 0, or gives 1 if nothing is reserved.
    pub(super) fn store_exclusive(
        &mut self,
        bus: &mut Bus,
        i: &Instruction,
    ) -> Result<(), FaultKind> {
        let address = self.single_address(i);
        let size = match i.op {
            Op::Strexb => 1,
            Op::Strexh => 2,
            _ => 4,
        };
        require_alignment(address, size)?;
        let reserved = self.reservation.take() == Some(address);
        if reserved {
            let value = self.reg(i.rd);
            match size {
                1 => bus.write::<1>(address, value)?,
                2 => bus.write::<2>(address, value)?,
                _ => bus.write::<4>(address, value)?,
            }
        }
        self.set(i.ra, (!reserved).into());
        Ok(())
    }

    /// TBB, TBH: a forward branch by twice the table's entry.
    pub(super) fn table_branch(&mut self, bus: &mut Bus, i: &Instruction) -> Result<(), FaultKind> {
        let address = self.reg(i.rn).wrapping_add(self.reg(i.rm) << i.amount);
        self.access = Access { address, words: 1 };
        let entry = if i.op == Op::Tbb {
            bus.read8(address)?
        } else {
            bus.read16(address)?
        };
        self.next = self.r[15].wrapping_add(2 * entry);
        Ok(())
    }
}
