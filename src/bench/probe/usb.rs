//! Debug probes through the probe-rs library. Nothing is decided here: the trait's calls are passed
//! on, and probe-rs's errors are sorted into [`Cause`]s.

use std::error::Error as StdError;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use probe_rs::architecture::arm::{ArmError, DapError};
use probe_rs::config::{Registry, RegistryError};
use probe_rs::flashing::{
    DownloadOptions, FlashError, FlashProgress, ProgressEvent, ProgressOperation,
};
use probe_rs::probe::list::{Accessibility, Lister, ProbeListItem};
use probe_rs::probe::sifliuart::SifliUartFactory;
use probe_rs::probe::stlink::StlinkError;
use probe_rs::probe::{DebugProbeError, DebugProbeSelector, ProbeCreationError};
use probe_rs::{Core, MemoryInterface, Permissions, RegisterId, Session};

use super::{
    Cause, CoreStatus, Driver, FlashPhase, Probe, ProbeError, ProbeInfo, Register, Result,
};
use crate::image::LoadedSegment;

/// How long a halt or a reset may take.
const HALT: Duration = Duration::from_millis(500);
/// Names that are suggested instead of an unknown chip's.
const SUGGESTIONS: usize = 8;

/// Probes on this computer's USB.
pub(super) struct Usb;

impl Driver for Usb {
    fn knows(&self, chip: &str) -> Result<()> {
        let registry = Registry::from_builtin_families();
        let Err(error) = registry.get_target_by_name(chip) else {
            return Ok(());
        };
        // The chips that share most of the name's beginning.
        let similar = (1..=chip.len())
            .rev()
            .filter_map(|n| chip.get(..n))
            .map(|prefix| registry.search_chips(prefix))
            .find(|found| !found.is_empty());
        let detail = match similar {
            Some(mut names) if names.len() < 200 => {
                names.truncate(SUGGESTIONS);
                format!("similar names are {}", names.join(", "))
            }
            _ => String::new(),
        };
        Err(ProbeError::new(sort(&error), detail))
    }

    fn list(&self) -> Result<Vec<ProbeInfo>> {
        Ok(listed().iter().map(info).collect())
    }

    fn open(&self, probe: &ProbeInfo) -> Result<Box<dyn Probe>> {
        let mut opened = Opened {
            selector: selector(probe),
            speed: None,
            state: State::Closed,
            epoch: Instant::now(),
        };
        opened.reopen()?;
        Ok(Box::new(opened))
    }
}

/// Without serial ports that might be a debugger of another architecture.
fn listed() -> Vec<ProbeListItem> {
    let mut all = Lister::new().list_all_with_access();
    all.retain(|item| !item.info.is_probe_type::<SifliUartFactory>());
    all
}

fn info(item: &ProbeListItem) -> ProbeInfo {
    ProbeInfo {
        name: item.info.identifier.clone(),
        vendor: item.info.vendor_id,
        product: item.info.product_id,
        interface: item.info.interface,
        serial: item.info.serial_number.clone(),
        allowed: item.accessibility == Accessibility::Accessible,
    }
}

fn selector(probe: &ProbeInfo) -> DebugProbeSelector {
    DebugProbeSelector {
        vendor_id: probe.vendor,
        product_id: probe.product,
        interface: probe.interface,
        serial_number: probe.serial.clone(),
    }
}

/// A probe that was opened.
struct Opened {
    selector: DebugProbeSelector,
    speed: Option<u32>,
    state: State,
    epoch: Instant,
}

/// What probe-rs gives for it.
enum State {
    /// Nothing: attaching failed, which takes the probe with it.
    Closed,
    Open(probe_rs::probe::Probe),
    Attached(Box<Session>),
}

impl Opened {
    fn reopen(&mut self) -> Result<&mut probe_rs::probe::Probe> {
        if !matches!(self.state, State::Open(_)) {
            let mut probe = (Lister::new().open(self.selector.clone())).map_err(|e| error(&e))?;
            if let Some(khz) = self.speed {
                probe.set_speed(khz).map_err(|e| error(&e))?;
            }
            self.state = State::Open(probe);
        }
        match &mut self.state {
            State::Open(probe) => Ok(probe),
            _ => Err(ProbeError::new(Cause::Driver, "the probe is not open")),
        }
    }

    fn session(&mut self) -> Result<&mut Session> {
        match &mut self.state {
            State::Attached(session) => Ok(session),
            _ => Err(ProbeError::new(Cause::Silent, "not connected")),
        }
    }

    /// Does something with the first core, which is the board's.
    fn core<T>(
        &mut self,
        what: impl FnOnce(&mut Core<'_>) -> std::result::Result<T, probe_rs::Error>,
    ) -> Result<T> {
        let session = self.session()?;
        session
            .core(0)
            .and_then(|mut core| what(&mut core))
            .map_err(|e| error(&e))
    }
}

impl Probe for Opened {
    fn set_speed(&mut self, khz: u32) -> Result<()> {
        self.reopen()?.set_speed(khz).map_err(|e| error(&e))?;
        self.speed = Some(khz);
        Ok(())
    }

    fn voltage(&mut self) -> Result<Option<f32>> {
        self.reopen()?.get_target_voltage().map_err(|e| error(&e))
    }

    fn attach(&mut self, chip: &str, under_reset: bool) -> Result<()> {
        self.reopen()?;
        let State::Open(probe) = std::mem::replace(&mut self.state, State::Closed) else {
            return Err(ProbeError::new(Cause::Driver, "the probe is not open"));
        };
        // Never the permission to erase all: a locked chip stays as it is.
        let session = if under_reset {
            probe.attach_under_reset(chip, Permissions::default())
        } else {
            probe.attach(chip, Permissions::default())
        };
        self.state = State::Attached(Box::new(session.map_err(|e| error(&e))?));
        Ok(())
    }

    fn flash(
        &mut self,
        segments: &[LoadedSegment],
        progress: &mut dyn FnMut(FlashPhase, u64, u64),
    ) -> Result<()> {
        let session = self.session()?;
        let mut loader = session.target().flash_loader();
        for segment in segments {
            (loader.add_data(segment.address.into(), &segment.bytes)).map_err(|e| error(&e))?;
        }
        // Done and in all, of erasing and of programming.
        let mut erase = (0, 0);
        let mut program = (0, 0);
        let mut options = DownloadOptions::default();
        options.progress = FlashProgress::new(move |event| match event {
            ProgressEvent::AddProgressBar { operation, total } => match operation {
                ProgressOperation::Erase => erase.1 = total.unwrap_or(0),
                ProgressOperation::Program => program.1 = total.unwrap_or(0),
                ProgressOperation::Fill | ProgressOperation::Verify => {}
            },
            ProgressEvent::Progress {
                operation, size, ..
            } => match operation {
                ProgressOperation::Erase => {
                    erase.0 += size;
                    progress(FlashPhase::Erase, erase.0, erase.1);
                }
                ProgressOperation::Program => {
                    program.0 += size;
                    progress(FlashPhase::Program, program.0, program.1);
                }
                ProgressOperation::Fill | ProgressOperation::Verify => {}
            },
            _ => {}
        });
        loader.commit(session, options).map_err(|e| error(&e))
    }

    fn reset_and_halt(&mut self) -> Result<()> {
        self.core(|core| core.reset_and_halt(HALT).map(|_| ()))
    }

    fn run(&mut self) -> Result<()> {
        self.core(|core| core.run())
    }

    fn halt(&mut self) -> Result<()> {
        self.core(|core| core.halt(HALT).map(|_| ()))
    }

    fn status(&mut self) -> Result<CoreStatus> {
        let status = self.core(|core| core.status())?;
        Ok(match status {
            probe_rs::CoreStatus::Halted(_) => CoreStatus::Halted,
            probe_rs::CoreStatus::LockedUp => CoreStatus::LockedUp,
            probe_rs::CoreStatus::Sleeping => CoreStatus::Asleep,
            probe_rs::CoreStatus::Running | probe_rs::CoreStatus::Unknown => CoreStatus::Running,
        })
    }

    fn register(&mut self, register: Register) -> Result<u32> {
        self.core(|core| core.read_core_reg(number(register)))
    }

    fn set_pc(&mut self, address: u32) -> Result<()> {
        self.core(|core| core.write_core_reg(number(Register::Pc), address))
    }

    fn read(&mut self, address: u32, buffer: &mut [u8]) -> Result<()> {
        self.core(|core| core.read(address.into(), buffer))
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<()> {
        self.core(|core| {
            core.write(address.into(), bytes)?;
            core.flush()
        })
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    fn pause(&mut self, duration: Duration) {
        thread::sleep(duration);
    }
}

/// The number by which a debugger asks for a register (ARMv7-M Architecture Reference Manual,
/// C1.6.3, REGSEL).
fn number(register: Register) -> RegisterId {
    RegisterId(match register {
        Register::Lr => 14,
        Register::Pc => 15,
        Register::Xpsr => 16,
        Register::Msp => 17,
        Register::Psp => 18,
    })
}

/// An error of probe-rs: the cause deepest down that says most, and all the words.
fn error(error: &(dyn StdError + 'static)) -> ProbeError {
    let mut words: Vec<String> = Vec::new();
    let mut link = Some(error);
    while let Some(e) = link {
        let text = e
            .to_string()
            .trim()
            .trim_end_matches('.')
            .replace('\n', " ");
        if words.last() != Some(&text) {
            words.push(text);
        }
        link = e.source();
    }
    ProbeError::new(sort(error), words.join(": "))
}

/// Sorts an error and what it was caused by. What was lost (probe, chip, wire) explains everything
/// above it; where nothing was, the step that failed is the cause.
fn sort(error: &(dyn StdError + 'static)) -> Cause {
    let mut found = Cause::Other;
    let mut link = Some(error);
    while let Some(e) = link {
        if let Some(cause) = sort_one(e)
            && weight(cause) > weight(found)
        {
            found = cause;
        }
        link = e.source();
    }
    found
}

/// Which of two causes in one chain explains the other.
fn weight(cause: Cause) -> u8 {
    match cause {
        Cause::Other => 0,
        Cause::Timeout => 1,
        Cause::Driver => 2,
        Cause::Memory | Cause::FlashLoader => 3,
        Cause::Erase { .. } | Cause::Program { .. } | Cause::NoFlashAlgorithm { .. } => 4,
        Cause::Garbled => 5,
        Cause::Silent | Cause::Speed | Cause::Locked | Cause::ChipUnknown => 6,
        Cause::Denied | Cause::Busy | Cause::Outdated | Cause::Gone => 7,
    }
}

fn sort_one(e: &(dyn StdError + 'static)) -> Option<Cause> {
    if let Some(e) = e.downcast_ref::<io::Error>() {
        return Some(input_output(e));
    }
    if let Some(e) = e.downcast_ref::<StlinkError>() {
        return Some(stlink(e));
    }
    if let Some(e) = e.downcast_ref::<DapError>() {
        return Some(match e {
            DapError::NoAcknowledge => Cause::Silent,
            DapError::FaultResponse => Cause::Memory,
            DapError::WaitResponse => Cause::Timeout,
            DapError::Protocol(_) | DapError::IncorrectParity => Cause::Garbled,
        });
    }
    if let Some(e) = e.downcast_ref::<DebugProbeError>() {
        return match e {
            // Transparent: the chain of sources passes over what is in it.
            DebugProbeError::ProbeSpecific(inner) => {
                Some((inner.downcast_ref::<StlinkError>()).map_or(Cause::Driver, stlink))
            }
            DebugProbeError::TargetNotFound => Some(Cause::Silent),
            DebugProbeError::UnsupportedSpeed(_) => Some(Cause::Speed),
            DebugProbeError::Timeout => Some(Cause::Timeout),
            DebugProbeError::Usb(_) => Some(Cause::Driver),
            _ => None,
        };
    }
    if let Some(e) = e.downcast_ref::<ProbeCreationError>() {
        return match e {
            ProbeCreationError::NotFound => Some(Cause::Gone),
            ProbeCreationError::CouldNotOpen => Some(Cause::Driver),
            ProbeCreationError::ProbeSpecific(inner) => {
                inner.downcast_ref::<StlinkError>().map(stlink)
            }
            _ => Some(Cause::Driver),
        };
    }
    if let Some(e) = e.downcast_ref::<ArmError>() {
        return match e {
            ArmError::NoTargetResponse { .. } | ArmError::NoArmTarget => Some(Cause::Silent),
            ArmError::MissingPermissions(_) => Some(Cause::Locked),
            ArmError::Timeout => Some(Cause::Timeout),
            _ => None,
        };
    }
    if let Some(e) = e.downcast_ref::<probe_rs::Error>() {
        return match e {
            probe_rs::Error::MissingPermissions(_) => Some(Cause::Locked),
            probe_rs::Error::Timeout => Some(Cause::Timeout),
            _ => None,
        };
    }
    if e.is::<RegistryError>() {
        return Some(Cause::ChipUnknown);
    }
    e.downcast_ref::<FlashError>().map(flash)
}

fn flash(e: &FlashError) -> Cause {
    let at = |address: u64| u32::try_from(address).ok();
    match e {
        FlashError::AlgorithmNotFound { .. } => Cause::NoFlashAlgorithm { address: None },
        FlashError::NoSuitableNvm { range, .. }
        | FlashError::NoFlashLoaderAlgorithmAttached { range, .. } => Cause::NoFlashAlgorithm {
            address: at(range.start),
        },
        FlashError::ChipEraseFailed { .. } => Cause::Erase { address: None },
        FlashError::EraseFailed { sector_address, .. } => Cause::Erase {
            address: at(*sector_address),
        },
        FlashError::PageWrite { page_address, .. } => Cause::Program {
            address: at(*page_address),
        },
        FlashError::Init(_)
        | FlashError::Uninit(_)
        | FlashError::FlashAlgorithmNotLoaded
        | FlashError::InvalidFlashAlgorithmLoadAddress { .. }
        | FlashError::InvalidFlashAlgorithmStackSize { .. }
        | FlashError::StackOverflowDetected { .. }
        | FlashError::RoutineCallFailed { .. }
        | FlashError::UnexpectedCoreStatus { .. } => Cause::FlashLoader,
        _ => Cause::Other,
    }
}

/// Errors of the operating system. nusb passes "in use" on in words only.
fn input_output(e: &io::Error) -> Cause {
    match e.kind() {
        io::ErrorKind::PermissionDenied => Cause::Denied,
        io::ErrorKind::ResourceBusy => Cause::Busy,
        io::ErrorKind::NotConnected
        | io::ErrorKind::NotFound
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset => Cause::Gone,
        io::ErrorKind::TimedOut => Cause::Timeout,
        _ => {
            let words = e.to_string().to_lowercase();
            if words.contains("busy") || words.contains("in use") {
                Cause::Busy
            } else if words.contains("disconnected") || words.contains("no such device") {
                Cause::Gone
            } else {
                Cause::Driver
            }
        }
    }
}

/// What an ST-LINK reports. Its status codes have no public type; their names are in the words.
fn stlink(e: &StlinkError) -> Cause {
    match e {
        StlinkError::ProbeFirmwareOutdated(_) => Cause::Outdated,
        StlinkError::Usb(e) => input_output(e),
        StlinkError::CommandFailed(_) => {
            let words = e.to_string();
            let has = |names: &[&str]| names.iter().any(|name| words.contains(name));
            if has(&[
                "NoDeviceConnected",
                "GetIdcodeError",
                "DbgPowerError",
                "DpError",
                "DpFault",
            ]) {
                Cause::Silent
            } else if has(&["Parity", "SpiError"]) {
                Cause::Garbled
            } else if has(&["ApFault", "ApError", "WdataError", "Sticky"]) {
                Cause::Memory
            } else if has(&["FreqNotSupported"]) {
                Cause::Speed
            } else if has(&["Wait"]) {
                Cause::Timeout
            } else if has(&["OpenedInOtherMode"]) {
                Cause::Busy
            } else {
                Cause::Driver
            }
        }
        _ => Cause::Driver,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usb(kind: io::ErrorKind) -> DebugProbeError {
        StlinkError::Usb(io::Error::new(kind, "it failed")).into()
    }

    #[test]
    fn what_was_lost_explains_the_step_that_failed() {
        let erase = |source: Box<dyn StdError + Send + Sync>| FlashError::EraseFailed {
            sector_address: 0x0802_0000,
            source,
        };
        let address = Some(0x0802_0000);
        for (source, cause) in [
            (
                probe_rs::Error::Probe(usb(io::ErrorKind::NotConnected)),
                Cause::Gone,
            ),
            (
                probe_rs::Error::Probe(usb(io::ErrorKind::TimedOut)),
                Cause::Erase { address },
            ),
            (probe_rs::Error::Timeout, Cause::Erase { address }),
            (
                probe_rs::Error::Arm(ArmError::Dap(DapError::NoAcknowledge)),
                Cause::Silent,
            ),
            (
                probe_rs::Error::Arm(ArmError::Dap(DapError::FaultResponse)),
                Cause::Erase { address },
            ),
        ] {
            let found = error(&erase(Box::new(source)));
            assert_eq!(found.cause, cause, "{}", found.detail);
            assert!(found.detail.contains("0x08020000"), "{}", found.detail);
        }
    }

    #[test]
    fn errors_of_probe_and_chip_are_told_apart() {
        let cases: [(probe_rs::Error, Cause); 8] = [
            (DebugProbeError::TargetNotFound.into(), Cause::Silent),
            (DebugProbeError::UnsupportedSpeed(1).into(), Cause::Speed),
            (usb(io::ErrorKind::PermissionDenied).into(), Cause::Denied),
            (
                DebugProbeError::Usb(io::Error::other("interface is busy")).into(),
                Cause::Busy,
            ),
            (
                DebugProbeError::from(ProbeCreationError::NotFound).into(),
                Cause::Gone,
            ),
            (
                DebugProbeError::from(StlinkError::ProbeFirmwareOutdated(26)).into(),
                Cause::Outdated,
            ),
            (
                probe_rs::Error::MissingPermissions("erase_all".into()),
                Cause::Locked,
            ),
            (
                probe_rs::Error::Arm(ArmError::Dap(DapError::IncorrectParity)),
                Cause::Garbled,
            ),
        ];
        for (e, cause) in cases {
            assert_eq!(error(&e).cause, cause, "{e:?}");
        }
    }
}
