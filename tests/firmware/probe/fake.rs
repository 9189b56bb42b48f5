//! A debug probe with the emulator as the chip behind it: real flash bytes, real instructions, and
//! whatever goes wrong where it is told to.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use nest_device::mailbox::Field;
use nestc::bench::Compiled;
use nestc::bench::probe::{
    Cause, CoreStatus, Driver, FlashPhase, Probe, ProbeError, ProbeInfo, Register, Result,
};
use nestc::emulator::{Machine, MemoryMap, Stop, TimingConfig};
use nestc::image::{LoadedSegment, MAILBOX_SYMBOL};
use nestc::target::Board;
use nestc::units::Instructions;

/// Bytes of an erasable sector and a writable page.
const SECTOR: u32 = 128 << 10;
const PAGE: u32 = 1 << 10;
/// What one call takes.
const CALL: Duration = Duration::from_micros(200);
/// More than any command here takes.
const LIMIT: Instructions = Instructions(2_000_000_000);

/// What the probe is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Knows,
    List,
    Open,
    Speed,
    Voltage,
    Attach,
    AttachUnderReset,
    Flash,
    Reset,
    Run,
    Halt,
    Status,
    Register,
    SetPc,
    Read,
    Write,
}

/// Something that goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The `n`th call of a kind fails, counted from 0; only it, or all calls of any kind from it on.
    Call {
        call: Call,
        n: usize,
        error: ProbeError,
        lasting: bool,
    },
    /// The `n`th call of any kind fails.
    Any {
        n: usize,
        cause: Cause,
        lasting: bool,
    },
    /// Flashing stops after so many bytes; everything fails from there on, or flashing alone.
    Flash {
        bytes: u64,
        error: ProbeError,
        lasting: bool,
    },
    /// A byte of the flash does not take what is written to it.
    WornOut(u32),
    /// A word of memory reads as this.
    Word(u32, u32),
    /// The core's `n`th run, counted from 0, ends so.
    Core { n: usize, end: End },
}

/// How a run of the core ends.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// Not at all; the core is here when it is halted.
    Never { pc: u32 },
    /// As [`End::Never`], waiting for an interrupt.
    Asleep { pc: u32 },
    /// In a fault's handler, from this address.
    Fault { pc: u32, cfsr: u32, address: u32 },
    /// In a fault while handling a fault.
    LockUp { pc: u32 },
    /// Halted by somebody else.
    Foreign { pc: u32 },
    /// At the image's second breakpoint, with this status in its mailbox.
    GaveUp { status: u32 },
    /// Reset by somebody else.
    Reset,
}

/// What the core is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    Halted,
    LockedUp,
}

/// The chip, and what the probe has been asked so far.
pub struct Device {
    pub log: Vec<Call>,
    pub state: State,
    /// Whether the probe was let go of.
    pub released: bool,
    /// Why nothing answers any more.
    dead: Option<ProbeError>,
    pub time: Duration,
    /// The bytes of the flash.
    pub flash: Vec<u8>,
    pub erased: usize,
    pub probes: Vec<ProbeInfo>,
    pub volts: Option<f32>,
    faults: Vec<Fault>,
    elf: Vec<u8>,
    board: Board,
    machine: Option<Machine>,
    registers: BTreeMap<u8, u32>,
    words: BTreeMap<u32, u32>,
    runs: usize,
    /// Looks at the core until it has finished.
    looks: usize,
    end: Option<End>,
    /// Where the image keeps its status.
    status: u32,
    /// Where the image has `bkpt #2`.
    stop_breakpoint: u32,
}

/// The driver of one such device.
#[derive(Clone)]
pub struct Fake(pub Rc<RefCell<Device>>);

/// A probe that is connected.
pub fn st_link(serial: &str) -> ProbeInfo {
    ProbeInfo {
        name: "ST-Link V3".into(),
        vendor: 0x0483,
        product: 0x374e,
        interface: None,
        serial: Some(serial.into()),
        allowed: true,
    }
}

impl Fake {
    /// A board with another firmware in its flash.
    pub fn new(compiled: &Compiled, faults: Vec<Fault>) -> Self {
        let board = compiled.board.clone();
        let debug = board.debug.unwrap();
        let bytes = board.flash().bytes.0 as usize;
        let words = [
            (0xe000_ed00, 0x411f_c271),
            (debug.id_address, 0x2003_0000 | debug.id),
            (debug.lock_address, 0x0100_00ff | debug.lock_open),
            (0xe000_edfc, 0x0100_0000),
        ];
        let code = &compiled.image.segments;
        let stop_breakpoint = (code.iter())
            .find_map(|segment| {
                let pairs = segment.bytes.chunks(2);
                let at = pairs.clone().position(|pair| pair == [2, 0xbe])?;
                Some(segment.address + 2 * at as u32)
            })
            .expect("the image has `bkpt #2`");
        Self(Rc::new(RefCell::new(Device {
            log: Vec::new(),
            state: State::Running,
            released: false,
            dead: None,
            time: Duration::ZERO,
            flash: vec![0x5a; bytes],
            erased: 0,
            probes: vec![st_link("0030003F")],
            volts: Some(3.29),
            faults,
            elf: compiled.elf.clone(),
            board,
            machine: None,
            registers: BTreeMap::new(),
            words: words.into(),
            runs: 0,
            looks: 0,
            end: None,
            status: compiled.image.address_of(MAILBOX_SYMBOL).unwrap() + Field::Status.offset(),
            stop_breakpoint,
        })))
    }

    fn call(&self, call: Call) -> Result<std::cell::RefMut<'_, Device>> {
        let mut device = self.0.borrow_mut();
        device.note(call)?;
        Ok(device)
    }
}

impl Device {
    /// Counts a call, and fails if it is to.
    fn note(&mut self, call: Call) -> Result<()> {
        let total = self.log.len();
        let same = self.log.iter().filter(|c| **c == call).count();
        self.log.push(call);
        self.time += CALL;
        for fault in self.faults.clone() {
            let (due, lasting, error) = match fault {
                Fault::Call {
                    call: which,
                    n,
                    error,
                    lasting,
                } => (which == call && same == n, lasting, error),
                Fault::Any { n, cause, lasting } => {
                    (total == n, lasting, ProbeError::new(cause, ""))
                }
                _ => continue,
            };
            if due {
                if lasting {
                    self.dead = Some(error.clone());
                }
                return Err(error);
            }
        }
        match &self.dead {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Whether anything answers.
    pub fn answers(&self) -> bool {
        self.dead.is_none()
    }

    fn flash_origin(&self) -> u32 {
        self.board.flash().origin
    }

    fn program(
        &mut self,
        segments: &[LoadedSegment],
        progress: &mut dyn FnMut(FlashPhase, u64, u64),
    ) -> Result<()> {
        let origin = self.flash_origin();
        let stop = self.faults.iter().find_map(|fault| match fault {
            Fault::Flash {
                bytes,
                error,
                lasting,
            } => Some((*bytes, error.clone(), *lasting)),
            _ => None,
        });
        let mut sectors: Vec<u32> = (segments.iter())
            .flat_map(|s| {
                let first = (s.address - origin) / SECTOR;
                let last = (s.address - origin + s.bytes.len() as u32 - 1) / SECTOR;
                first..=last
            })
            .collect();
        sectors.dedup();
        for (done, &sector) in sectors.iter().enumerate() {
            let start = (sector * SECTOR) as usize;
            self.flash[start..start + SECTOR as usize].fill(0xff);
            self.erased += 1;
            progress(
                FlashPhase::Erase,
                (done as u64 + 1) * u64::from(SECTOR),
                sectors.len() as u64 * u64::from(SECTOR),
            );
        }
        let total: u64 = segments.iter().map(|s| s.bytes.len() as u64).sum();
        let mut done = 0;
        for segment in segments {
            for (page, bytes) in segment.bytes.chunks(PAGE as usize).enumerate() {
                if let Some((most, error, lasting)) = &stop
                    && done >= *most
                {
                    if *lasting {
                        self.dead = Some(error.clone());
                    }
                    return Err(error.clone());
                }
                let start = (segment.address - origin) as usize + page * PAGE as usize;
                // Flash can clear bits only.
                for (cell, byte) in self.flash[start..].iter_mut().zip(bytes) {
                    *cell &= byte;
                }
                done += bytes.len() as u64;
                self.time += Duration::from_millis(4);
                progress(FlashPhase::Program, done, total);
            }
        }
        for fault in &self.faults {
            if let Fault::WornOut(address) = fault {
                self.flash[(address - origin) as usize] ^= 0x10;
            }
        }
        // The loader leaves the core halted.
        self.state = State::Halted;
        Ok(())
    }

    /// Starts the core on what the flash holds.
    fn reset(&mut self) {
        let mut machine = Machine::new(MemoryMap::stm32h743(), TimingConfig::functional());
        machine.load_elf(&self.elf).unwrap();
        let origin = self.flash_origin();
        machine.write(origin, &self.flash).unwrap();
        let word = |at: usize| u32::from_le_bytes(self.flash[at..at + 4].try_into().unwrap());
        machine.set_register(13, word(0));
        machine.set_register(15, word(4));
        self.registers = [(15, word(4) & !1), (16, 0x0100_0000), (17, word(0))].into();
        self.machine = Some(machine);
        self.state = State::Halted;
    }

    fn run(&mut self) {
        self.state = State::Running;
        self.end = None;
        for fault in &self.faults {
            if let Fault::Core { n, end } = fault
                && *n == self.runs
            {
                self.end = Some(*end);
            }
        }
        self.runs += 1;
        self.looks = 2;
    }

    /// What a look at the core shows; it has finished at the third.
    fn look(&mut self) -> CoreStatus {
        if self.state == State::Running && self.looks > 0 {
            self.looks -= 1;
        } else if self.state == State::Running {
            self.finish();
        }
        match self.state {
            State::Halted => CoreStatus::Halted,
            State::LockedUp => CoreStatus::LockedUp,
            State::Running if matches!(self.end, Some(End::Asleep { .. })) => CoreStatus::Asleep,
            State::Running => CoreStatus::Running,
        }
    }

    fn finish(&mut self) {
        match self.end {
            None => {
                let pc = self.registers[&15];
                let mut code = [0; 2];
                self.fetch(pc, &mut code).unwrap();
                // A core that stands at a breakpoint stays there.
                if code[1] != 0xbe {
                    let machine = self.machine.as_mut().unwrap();
                    match machine.run(LIMIT) {
                        Ok(Stop::Breakpoint { pc, .. }) => self.registers.insert(15, pc),
                        other => panic!("{other:?}"),
                    };
                }
                self.state = State::Halted;
            }
            Some(End::Never { .. } | End::Asleep { .. }) => {}
            Some(End::Fault { pc, cfsr, address }) => {
                // The eight words that the core saves, on the process stack.
                let stack = 0x2000_8000;
                for (i, word) in [0, 1, 2, 3, 12, 0, pc, 0x0100_0000].into_iter().enumerate() {
                    self.words.insert(stack + 4 * i as u32, word);
                }
                self.words
                    .extend([(0xe000_ed28, cfsr), (0xe000_ed38, address)]);
                let handler = self.registers[&15] + 0x40;
                self.registers
                    .extend([(15, handler), (14, 0xffff_fffd), (16, 3), (18, stack)]);
                self.state = State::Halted;
            }
            Some(End::LockUp { pc }) => {
                self.registers.insert(15, pc);
                self.state = State::LockedUp;
            }
            Some(End::Foreign { pc }) => {
                self.registers.insert(15, pc);
                self.state = State::Halted;
            }
            Some(End::GaveUp { status }) => {
                self.words.insert(self.status, status);
                self.registers.insert(15, self.stop_breakpoint);
                self.state = State::Halted;
            }
            Some(End::Reset) => {
                self.reset();
                self.end = None;
                self.finish();
            }
        }
    }

    fn halt(&mut self) {
        if let Some(End::Never { pc } | End::Asleep { pc }) = self.end {
            self.registers.insert(15, pc);
        }
        self.state = State::Halted;
    }

    fn fetch(&self, address: u32, buffer: &mut [u8]) -> Result<()> {
        let refused = || ProbeError::new(Cause::Memory, "");
        let origin = self.flash_origin();
        if let Some(start) = address.checked_sub(origin)
            && let Some(bytes) = self
                .flash
                .get(start as usize..start as usize + buffer.len())
        {
            buffer.copy_from_slice(bytes);
        } else if let (Some(word), 4) = (self.words.get(&address), buffer.len()) {
            buffer.copy_from_slice(&word.to_le_bytes());
        } else {
            let machine = self.machine.as_ref().ok_or_else(refused)?;
            machine.read(address, buffer).map_err(|_| refused())?;
        }
        // What is said of single words.
        let given = self.faults.iter().filter_map(|fault| match fault {
            Fault::Word(address, word) => Some((*address, *word)),
            _ => None,
        });
        let gave_up = (self.words.get(&self.status)).map(|word| (self.status, *word));
        for (at, word) in given.chain(gave_up) {
            let offset = at.wrapping_sub(address) as usize;
            if let Some(bytes) = buffer.get_mut(offset..offset.saturating_add(4)) {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
        }
        Ok(())
    }
}

impl Driver for Fake {
    fn knows(&self, chip: &str) -> Result<()> {
        self.call(Call::Knows)?;
        match chip {
            "STM32H743ZITx" | "STM32H743VITx" => Ok(()),
            _ => Err(ProbeError::new(
                Cause::ChipUnknown,
                "similar names are STM32H743VITx, STM32H743ZITx",
            )),
        }
    }
    fn list(&self) -> Result<Vec<ProbeInfo>> {
        Ok(self.call(Call::List)?.probes.clone())
    }
    fn open(&self, _: &ProbeInfo) -> Result<Box<dyn Probe>> {
        self.call(Call::Open)?;
        Ok(Box::new(Opened(self.clone())))
    }
}

/// The probe that the driver opened.
struct Opened(Fake);

impl Opened {
    fn call(&self, call: Call) -> Result<std::cell::RefMut<'_, Device>> {
        self.0.call(call)
    }
}

impl Probe for Opened {
    fn set_speed(&mut self, _: u32) -> Result<()> {
        self.call(Call::Speed).map(|_| ())
    }
    fn voltage(&mut self) -> Result<Option<f32>> {
        Ok(self.call(Call::Voltage)?.volts)
    }
    fn attach(&mut self, _: &str, under_reset: bool) -> Result<()> {
        let call = if under_reset {
            Call::AttachUnderReset
        } else {
            Call::Attach
        };
        self.call(call).map(|_| ())
    }
    fn flash(
        &mut self,
        segments: &[LoadedSegment],
        progress: &mut dyn FnMut(FlashPhase, u64, u64),
    ) -> Result<()> {
        self.call(Call::Flash)?.program(segments, progress)
    }
    fn reset_and_halt(&mut self) -> Result<()> {
        self.call(Call::Reset)?.reset();
        Ok(())
    }
    fn run(&mut self) -> Result<()> {
        self.call(Call::Run)?.run();
        Ok(())
    }
    fn halt(&mut self) -> Result<()> {
        self.call(Call::Halt)?.halt();
        Ok(())
    }
    fn status(&mut self) -> Result<CoreStatus> {
        Ok(self.call(Call::Status)?.look())
    }
    fn register(&mut self, register: Register) -> Result<u32> {
        let device = self.call(Call::Register)?;
        assert_ne!(device.state, State::Running, "registers of a running core");
        let number = match register {
            Register::Lr => 14,
            Register::Pc => 15,
            Register::Xpsr => 16,
            Register::Msp => 17,
            Register::Psp => 18,
        };
        Ok(device.registers[&number])
    }
    fn set_pc(&mut self, address: u32) -> Result<()> {
        let mut device = self.call(Call::SetPc)?;
        assert_ne!(device.state, State::Running, "registers of a running core");
        device.registers.insert(15, address);
        if let Some(machine) = &mut device.machine {
            machine.set_register(15, address);
        }
        Ok(())
    }
    fn read(&mut self, address: u32, buffer: &mut [u8]) -> Result<()> {
        self.call(Call::Read)?.fetch(address, buffer)
    }
    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<()> {
        let mut device = self.call(Call::Write)?;
        if let (true, Ok(word)) = (device.words.contains_key(&address), bytes.try_into()) {
            device.words.insert(address, u32::from_le_bytes(word));
            return Ok(());
        }
        let refused = || ProbeError::new(Cause::Memory, "");
        let machine = device.machine.as_mut().ok_or_else(refused)?;
        machine.write(address, bytes).map_err(|_| refused())
    }
    fn now(&self) -> Duration {
        self.0.0.borrow().time
    }
    fn pause(&mut self, duration: Duration) {
        self.0.0.borrow_mut().time += duration;
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.0.borrow_mut().released = true;
    }
}
