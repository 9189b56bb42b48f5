//! Clocks: each chip's own module brings it from reset to its full speed. All start from the internal
//! oscillator, so that no crystal is assumed, and none touches what the fastest clock does not need.

pub mod stm32f446;
pub mod stm32f7;
mod stm32fx;
mod stm32h7;
pub mod stm32h743;
pub mod stm32h747;
pub mod stm32h7a3;
pub mod stm32l4r5;

use core::ptr;

/// A clock that did not become ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockError {
    /// The regulator did not reach its voltage.
    Voltage,
    /// The flash did not take its wait states.
    Flash,
    /// The oscillator did not start.
    Oscillator,
    /// The PLL did not lock.
    Pll,
    /// The core did not switch to the PLL.
    Switch,
}

/// A device register.
#[derive(Clone, Copy)]
struct Register(usize);

impl Register {
    fn read(self) -> u32 {
        // SAFETY: all `Register`s of these modules are readable 32-bit registers of the chip the
        // module is for, and reading them changes nothing.
        unsafe { ptr::read_volatile(ptr::with_exposed_provenance(self.0)) }
    }
    fn write(self, value: u32) {
        // SAFETY: all `Register`s of these modules are writable 32-bit registers that only they
        // touch, once, before any other code relies on the clocks.
        unsafe { ptr::write_volatile(ptr::with_exposed_provenance_mut(self.0), value) }
    }
    /// Replaces the bits of `mask`.
    fn modify(self, mask: u32, value: u32) {
        self.write((self.read() & !mask) | value);
    }
    /// Waits until the bits of `mask` are `value`; several times the slowest of these waits.
    fn wait(self, mask: u32, value: u32, error: ClockError) -> Result<(), ClockError> {
        for _ in 0..1_000_000 {
            if self.read() & mask == value {
                return Ok(());
            }
        }
        Err(error)
    }
}

/// Sets `bits` of a clock register, so that the memory they belong to answers. Call it before anything
/// touches that memory.
///
/// # Safety
/// `register` is an enable register of the reset and clock controller of the very chip this runs on, and
/// `bits` are those of a memory.
pub unsafe fn enable_memory(register: usize, bits: u32) {
    let register = Register(register);
    register.modify(bits, bits);
    // The memory answers two cycles after the write; reading the register back takes longer.
    register.read();
}
