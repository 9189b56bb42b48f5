//! From a plugged-in probe to an image that stands at its breakpoint, and on from there.

use std::time::Duration;

use super::chip::{self, identify};
use super::fault::{Cause, Context, ProbeError, Stage};
use super::select::{Selector, choose};
use super::{CoreStatus, Driver, FlashPhase, Probe, Register};
use crate::bench::{Compiled, Mark, Runner};
use crate::diag::{
    CHIP_SILENT, CHIP_UNKNOWN, DEVICE_LATE, DEVICE_STOPPED, Diagnostic, FLASH_FAILED,
};
use crate::image::Image;
use crate::report::MeasuredBy;

/// Below this, a chip of nominal 1.8 V or more is not supplied.
const LEAST_VOLTS: f32 = 1.4;
/// Bytes that are read back at a time.
const READ_BACK: usize = 16 << 10;
/// The longest time between two looks at the core.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Debug exception and monitor control, and its bits that halt the core where it takes a fault
/// (ARMv7-M Architecture Reference Manual, C1.6.5): HARDERR, BUSERR, STATERR, NOCPERR, MMERR.
const DEMCR: u32 = 0xe000_edfc;
const CATCH_FAULTS: u32 = 1 << 10 | 1 << 8 | 1 << 7 | 1 << 5 | 1 << 4;
/// Configurable fault status, and the addresses of bus and memory management faults (B3.2.15 to 18).
const CFSR: u32 = 0xe000_ed28;
const MMFAR: u32 = 0xe000_ed34;
const BFAR: u32 = 0xe000_ed38;

/// How to reach the board.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    /// The chip's name, if not the board's.
    pub chip: Option<String>,
    /// The probe, if there are several.
    pub probe: Option<Selector>,
    /// The wire's speed, if not the probe's own.
    pub speed_khz: Option<u32>,
    /// How long the image may take from one breakpoint to the next.
    pub timeout: Duration,
}

/// What happens while a board is made ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The chip is the right one: probe and chip.
    Attached(String),
    /// The flash holds the image already.
    Unchanged,
    /// Bytes done and in all.
    Flash(FlashPhase, u64, u64),
    /// The image is in flash, and was read back.
    Flashed(u64),
}

/// A board on a debug probe with an image on it.
pub struct ProbeRunner<'a> {
    probe: Box<dyn Probe>,
    image: &'a Image,
    context: Context,
    timeout: Duration,
    /// Where the core stands, if that is a breakpoint instruction.
    breakpoint: Option<u32>,
    /// Whether the core may be running on our account.
    running: bool,
}

impl<'a> ProbeRunner<'a> {
    /// Finds the probe, connects to the chip, makes sure that it is the board's, writes the image
    /// into its flash unless it is there, and halts the core before its first instruction.
    ///
    /// # Errors
    /// `E760` to `E769`, each with its remedy.
    pub fn start(
        driver: &dyn Driver,
        compiled: &'a Compiled,
        options: &ProbeOptions,
        events: &mut dyn FnMut(Event),
    ) -> Result<Self, Diagnostic> {
        let board = &compiled.board;
        let Some(chip) = options.chip.clone().or_else(|| board.probe_rs_chip.clone()) else {
            return Err(Diagnostic::new(
                CHIP_UNKNOWN,
                "--on probe",
                format!(
                    "{} exists in software only: no probe reaches it",
                    board.name
                ),
                "leave --on out, or compile for the board that you have (`nestc targets`)",
            ));
        };
        let mut context = Context {
            place: format!("--chip {chip}"),
            chip: chip.clone(),
        };
        (driver.knows(&chip)).map_err(|e| context.explain(&Stage::Naming, &e))?;
        context.place = "--on probe".into();
        let probes = (driver.list()).map_err(|e| context.explain(&Stage::Listing, &e))?;
        let info = choose(&probes, options.probe.as_ref())?;
        context.place = format!("{chip} on {info}");
        let mut probe = (driver.open(&info)).map_err(|e| context.explain(&Stage::Opening, &e))?;
        if let Some(khz) = options.speed_khz {
            let stage = Stage::SettingSpeed(khz);
            (probe.set_speed(khz)).map_err(|e| context.explain(&stage, &e))?;
        }
        let volts = (probe.voltage()).map_err(|e| context.explain(&Stage::Measuring, &e))?;
        if let Some(volts) = volts.filter(|v| *v < LEAST_VOLTS) {
            return Err(Diagnostic::new(
                CHIP_SILENT,
                &context.place,
                format!("the board has no power: the probe measures {volts:.2} V at its supply"),
                "switch the board on; a probe does not feed it: on a NUCLEO the jumper JP1 or JP2 chooses the source",
            ));
        }
        attach(&mut *probe, &chip, volts, &context)?;
        let mut runner = Self {
            probe,
            image: &compiled.image,
            context,
            timeout: options.timeout,
            breakpoint: None,
            running: false,
        };
        identify(&mut *runner.probe, board, &chip, &runner.context)?;
        events(Event::Attached(runner.context.place.clone()));
        runner.load(events)?;
        runner.reset()?;
        Ok(runner)
    }

    /// Sees to it that the flash holds the image.
    fn load(&mut self, events: &mut dyn FnMut(Event)) -> Result<(), Diagnostic> {
        // A board that is another's was left as it is; this one is in our hands.
        self.running = true;
        self.ask(Stage::Halting, |probe| probe.halt())?;
        self.running = false;
        match self.difference(&mut |_, _| {}) {
            Ok(None) => {
                events(Event::Unchanged);
                return Ok(());
            }
            // A word that was being written when power failed reads as a fault.
            Ok(Some(_))
            | Err(ProbeError {
                cause: Cause::Memory,
                ..
            }) => {}
            Err(error) => return Err(self.context.explain(&Stage::ReadingBack, &error)),
        }
        let mut reached = (0, self.image.flash_total.0);
        // Its flash loader runs on the core.
        self.running = true;
        let flashed = self
            .probe
            .flash(&self.image.segments, &mut |phase, done, total| {
                if phase == FlashPhase::Program {
                    reached = (done, total);
                }
                events(Event::Flash(phase, done, total));
            });
        flashed.map_err(|error| {
            self.context
                .explain(&Stage::Flashing(reached.0, reached.1), &error)
        })?;
        self.ask(Stage::Halting, |probe| probe.halt())?;
        self.running = false;
        let mut progress = |done, total| events(Event::Flash(FlashPhase::Verify, done, total));
        let difference = (self.difference(&mut progress))
            .map_err(|error| self.context.explain(&Stage::ReadingBack, &error))?;
        if let Some((address, written, found)) = difference {
            return Err(Diagnostic::new(
                FLASH_FAILED,
                &self.context.place,
                format!(
                    "the flash does not hold what was written: {found:#04x} at {address:#010x} instead of {written:#04x}"
                ),
                "run the same again; if it stays at this address, the flash there is worn out or write-protected",
            ));
        }
        events(Event::Flashed(self.image.flash_total.0));
        Ok(())
    }

    /// The first byte in which the flash differs from the image: its address, what it should be, and
    /// what it is.
    fn difference(
        &mut self,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Option<(u32, u8, u8)>, ProbeError> {
        let mut done = 0;
        let mut found = vec![0; READ_BACK];
        for segment in &self.image.segments {
            let mut address = segment.address;
            for expected in segment.bytes.chunks(READ_BACK) {
                let found = &mut found[..expected.len()];
                self.probe.read(address, found)?;
                if let Some(at) = (0..expected.len()).find(|&i| expected[i] != found[i]) {
                    return Ok(Some((address + at as u32, expected[at], found[at])));
                }
                address += expected.len() as u32;
                done += expected.len() as u64;
                progress(done, self.image.flash_total.0);
            }
        }
        Ok(None)
    }

    /// Halts the core before the image's first instruction, and asks to be told of faults.
    fn reset(&mut self) -> Result<(), Diagnostic> {
        self.running = true;
        self.ask(Stage::Resetting, |probe| probe.reset_and_halt())?;
        self.running = false;
        self.ask(Stage::Starting, |probe| {
            let catch = chip::read(probe, DEMCR)? | CATCH_FAULTS;
            probe.write(DEMCR, &catch.to_le_bytes())
        })
    }

    fn ask<T>(
        &mut self,
        stage: Stage,
        what: impl FnOnce(&mut dyn Probe) -> super::Result<T>,
    ) -> Result<T, Diagnostic> {
        what(&mut *self.probe).map_err(|error| self.context.explain(&stage, &error))
    }

    /// Waits until the core stands, and says how.
    fn wait(&mut self) -> Result<CoreStatus, Diagnostic> {
        let deadline = self.probe.now() + self.timeout;
        let mut pause = Duration::from_millis(1);
        loop {
            let status = self.ask(Stage::Waiting, |probe| probe.status())?;
            if matches!(status, CoreStatus::Halted | CoreStatus::LockedUp) {
                return Ok(status);
            }
            if self.probe.now() >= deadline {
                return Err(self.late(status));
            }
            self.probe.pause(pause);
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// The image has not come to its breakpoint in time.
    fn late(&mut self, status: CoreStatus) -> Diagnostic {
        let halted = self.ask(Stage::Halting, |probe| probe.halt());
        let pc = match halted {
            Ok(()) => {
                self.running = false;
                self.ask(Stage::Inspecting, |probe| probe.register(Register::Pc))
            }
            Err(fault) => Err(fault),
        };
        let pc = match pc {
            Ok(pc) => pc,
            Err(fault) => return fault,
        };
        let seconds = self.timeout.as_secs_f64();
        let asleep = if status == CoreStatus::Asleep {
            ", asleep,"
        } else {
            ""
        };
        let (place, hint) = match symbol(self.image, pc) {
            Some(symbol) => (
                format!("{pc:#010x} in {symbol}"),
                "if the network is large or the clock slow, allow more with --timeout; otherwise please report it with the model".to_string(),
            ),
            None => (
                format!("{pc:#010x}, outside the image"),
                "the chip started something else: check the boot pin or option bytes (STM32: BOOT0 low), and reset the board".to_string(),
            ),
        };
        Diagnostic::new(
            DEVICE_LATE,
            &self.context.place,
            format!(
                "the image did not come to its breakpoint within {seconds} s; the core stands{asleep} at {place}"
            ),
            hint,
        )
    }

    /// How the core came to stand: the breakpoint's immediate, or what went wrong.
    fn reason(&mut self) -> Result<u8, Diagnostic> {
        let pc = self.ask(Stage::Inspecting, |probe| probe.register(Register::Pc))?;
        if let Some(immediate) = self.breakpoint_at(pc)? {
            self.breakpoint = Some(pc);
            return Ok(immediate);
        }
        let exception =
            self.ask(Stage::Inspecting, |probe| probe.register(Register::Xpsr))? & 0x1ff;
        Err(if (3..=6).contains(&exception) {
            self.fault()?
        } else {
            Diagnostic::new(
                DEVICE_STOPPED,
                &self.context.place,
                format!(
                    "the core stands at {}, where the image has no breakpoint",
                    self.named(pc)
                ),
                "end other debuggers that use the board, reset it, and run the same again",
            )
        })
    }

    /// The immediate of the breakpoint instruction at an address, if there is one (ARMv7-M
    /// Architecture Reference Manual, A7.7.17).
    fn breakpoint_at(&mut self, address: u32) -> Result<Option<u8>, Diagnostic> {
        let mut code = [0; 2];
        self.ask(Stage::Inspecting, |probe| probe.read(address, &mut code))?;
        Ok((code[1] == 0xbe).then_some(code[0]))
    }

    /// The core stands at the start of a fault's handler: where it came from, and why.
    fn fault(&mut self) -> Result<Diagnostic, Diagnostic> {
        let (pc, cfsr, address) = self.ask(Stage::Inspecting, |probe| {
            // Which stack the state was saved on (B1.5.8), and its seventh word: the return address.
            let stack = match probe.register(Register::Lr)? & 1 << 2 {
                0 => Register::Msp,
                _ => Register::Psp,
            };
            let stack = probe.register(stack)?;
            let pc = chip::read(probe, stack.wrapping_add(24))?;
            let cfsr = chip::read(probe, CFSR)?;
            // Whether an address was kept: MMARVALID, BFARVALID.
            let address = match cfsr {
                cfsr if cfsr & 1 << 7 != 0 => Some(chip::read(probe, MMFAR)?),
                cfsr if cfsr & 1 << 15 != 0 => Some(chip::read(probe, BFAR)?),
                _ => None,
            };
            Ok((pc, cfsr, address))
        })?;
        let at = address.map_or(String::new(), |address| format!(", at {address:#010x}"));
        Ok(Diagnostic::new(
            DEVICE_STOPPED,
            &self.context.place,
            format!(
                "the image faulted at {}: {}{at}",
                self.named(pc),
                cause(cfsr)
            ),
            "run it in the emulator (leave --on out): if it faults there too, please report it with the model; if not, check the board's supply and clock",
        ))
    }

    /// An address with the symbol that it belongs to.
    fn named(&self, address: u32) -> String {
        match symbol(self.image, address) {
            Some(symbol) => format!("{address:#010x} in {symbol}"),
            None => format!("{address:#010x}, outside the image"),
        }
    }
}

/// Connects to the chip, under reset if it does not answer otherwise: firmware on it may have turned
/// off the debug pins or the clock.
fn attach(
    probe: &mut dyn Probe,
    chip: &str,
    volts: Option<f32>,
    context: &Context,
) -> Result<(), Diagnostic> {
    match probe.attach(chip, false) {
        Err(ProbeError {
            cause: Cause::Silent | Cause::Timeout,
            ..
        }) => probe.attach(chip, true),
        other => other,
    }
    .map_err(|error| context.explain(&Stage::Attaching(volts), &error))
}

/// The function that an address lies in.
fn symbol(image: &Image, address: u32) -> Option<&str> {
    let address = address & !1;
    (image.symbols.iter())
        .filter(|(name, _)| !name.starts_with('$'))
        .find(|(_, (start, bytes))| {
            (start & !1..(start & !1).saturating_add(*bytes)).contains(&address)
        })
        .map(|(name, _)| name.as_str())
}

/// What CFSR says (ARMv7-M Architecture Reference Manual, B3.2.15).
fn cause(cfsr: u32) -> &'static str {
    const BITS: &[(u32, &str)] = &[
        (0, "an instruction fetch that the memory protection forbids"),
        (1, "a data access that the memory protection forbids"),
        (4, "the stack left its memory"),
        (8, "an instruction fetch that no memory answered"),
        (9, "a data access that no memory answered"),
        (
            10,
            "a write that no memory answered, some instructions before",
        ),
        (12, "the stack left its memory"),
        (16, "an undefined instruction"),
        (17, "a branch to an address without the Thumb bit"),
        (19, "a floating-point instruction while the unit is off"),
        (24, "an access that is not aligned"),
        (25, "a division by zero"),
    ];
    let bit = BITS.iter().find(|(bit, _)| cfsr & 1 << bit != 0);
    bit.map_or("a reason that the core does not record", |(_, what)| what)
}

impl Runner for ProbeRunner<'_> {
    fn measured_by(&self) -> MeasuredBy {
        MeasuredBy::Probe
    }

    fn emulator_model(&self) -> Option<String> {
        None
    }

    fn read(&mut self, address: u32, buffer: &mut [u8]) -> Result<(), Diagnostic> {
        let stage = Stage::Reading(address, buffer.len());
        self.ask(stage, |probe| probe.read(address, buffer))
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Diagnostic> {
        let stage = Stage::Writing(address, bytes.len());
        self.ask(stage, |probe| probe.write(address, bytes))
    }

    fn resume(&mut self) -> Result<u8, Diagnostic> {
        if let Some(breakpoint) = self.breakpoint.take() {
            // A core that runs on from a breakpoint instruction executes it again.
            self.ask(Stage::Starting, |probe| probe.set_pc(breakpoint + 2))?;
        }
        self.running = true;
        self.ask(Stage::Starting, |probe| probe.run())?;
        match self.wait()? {
            CoreStatus::LockedUp => {
                let place = self.lock_up()?;
                Err(Diagnostic::new(
                    DEVICE_STOPPED,
                    &self.context.place,
                    format!("the core locked up at {place}: it met a fault while handling a fault"),
                    "the stack or the vector table is damaged: run the image in the emulator (leave --on out), and check the board's supply",
                ))
            }
            _ => {
                self.running = false;
                self.reason()
            }
        }
    }

    fn take_marks(&mut self) -> Vec<Mark> {
        Vec::new()
    }
}

impl ProbeRunner<'_> {
    /// Halts a core that has locked up, and says where that was.
    fn lock_up(&mut self) -> Result<String, Diagnostic> {
        self.ask(Stage::Halting, |probe| probe.halt())?;
        self.running = false;
        let pc = self.ask(Stage::Inspecting, |probe| probe.register(Register::Pc))?;
        Ok(self.named(pc))
    }
}

impl Drop for ProbeRunner<'_> {
    /// Leaves the core halted, so that nothing runs on unattended.
    fn drop(&mut self) {
        if self.running {
            // Nobody is left to tell; what led here has been reported.
            let _ = self.probe.halt();
        }
    }
}
