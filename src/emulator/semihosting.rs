//! Semihosting (Arm IHI 0100): the calls that firmware makes with `bkpt #0xab`, as far as a
//! console and an exit need them.

use super::fault::FaultKind;
use super::memory::Bus;

/// Immediate of the breakpoint that means a call.
pub(super) const BREAKPOINT: u8 = 0xab;

const SYS_OPEN: u32 = 0x01;
const SYS_CLOSE: u32 = 0x02;
const SYS_WRITEC: u32 = 0x03;
const SYS_WRITE0: u32 = 0x04;
const SYS_WRITE: u32 = 0x05;
const SYS_READ: u32 = 0x06;
const SYS_ISTTY: u32 = 0x09;
const SYS_CLOCK: u32 = 0x10;
const SYS_TIME: u32 = 0x11;
const SYS_ERRNO: u32 = 0x13;
const SYS_EXIT: u32 = 0x18;
const SYS_EXIT_EXTENDED: u32 = 0x20;

/// ADP_Stopped_ApplicationExit.
const APPLICATION_EXIT: u32 = 0x20026;

/// What a call did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// The value for R0.
    Returned(u32),
    /// The firmware ended with this code.
    Exited(u32),
}

/// Serves the call `operation` with `argument` (R0 and R1), appending output to `console`.
pub(super) fn call(
    bus: &mut Bus,
    operation: u32,
    argument: u32,
    console: &mut Vec<u8>,
) -> Result<Outcome, FaultKind> {
    let mut word = |index: u32| bus.read32(argument.wrapping_add(4 * index));
    Ok(Outcome::Returned(match operation {
        // `:tt` opened for reading is 0, for writing 1, for appending (stderr) 2.
        SYS_OPEN => match (word(1)?, word(2)?) {
            (mode, 3) if is_console(bus, argument)? => mode / 4,
            _ => u32::MAX,
        },
        SYS_CLOSE | SYS_ERRNO | SYS_CLOCK | SYS_TIME => 0,
        SYS_WRITEC => {
            console.push(bus.read8(argument)? as u8);
            operation
        }
        SYS_WRITE0 => {
            let mut address = argument;
            loop {
                match bus.read8(address)? as u8 {
                    0 => break,
                    byte => console.push(byte),
                }
                address = address.wrapping_add(1);
            }
            operation
        }
        SYS_WRITE => {
            let (handle, address, length) = (word(0)?, word(1)?, word(2)?);
            if !matches!(handle, 1 | 2) {
                return Ok(Outcome::Returned(length));
            }
            for offset in 0..length {
                console.push(bus.read8(address.wrapping_add(offset))? as u8);
            }
            0
        }
        // End of file: nothing was read of what was asked.
        SYS_READ => word(2)?,
        SYS_ISTTY => 1,
        SYS_EXIT => return Ok(Outcome::Exited((argument != APPLICATION_EXIT).into())),
        SYS_EXIT_EXTENDED => {
            let (reason, code) = (word(0)?, word(1)?);
            return Ok(Outcome::Exited(if reason == APPLICATION_EXIT {
                code
            } else {
                1
            }));
        }
        _ => u32::MAX,
    }))
}

fn is_console(bus: &mut Bus, argument: u32) -> Result<bool, FaultKind> {
    let name = bus.read32(argument)?;
    for (offset, expected) in b":tt".iter().enumerate() {
        if bus.read8(name.wrapping_add(offset as u32))? as u8 != *expected {
            return Ok(false);
        }
    }
    Ok(true)
}
