//! The machine: core, bus and timing model put together, and the interface to run it.

use std::collections::BTreeSet;

use super::decode::{decode, is_wide};
use super::elf::{self, Symbols};
use super::execute::{Cpu, Next};
use super::fault::{Fault, FaultKind};
use super::instruction::{ALWAYS, Instruction, Op};
use super::map::{MemoryMap, RegionKind};
use super::memory::Bus;
use super::semihosting;
use super::timing::{Class, Counters, Pipeline, Retired, TimingConfig};
use crate::diag::{Diagnostic, Diagnostics, IMAGE_OUTSIDE_MEMORY, NO_VECTOR_TABLE, Result};
use crate::units::{Cycles, Instructions};

/// Why a run ended without a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A `bkpt` other than a semihosting call; the next run resumes after it.
    Breakpoint {
        /// Its immediate.
        imm: u8,
        /// Its address.
        pc: u32,
    },
    /// The firmware ended itself with a semihosting call.
    Exited(u32),
    /// The limit was reached.
    Limit,
}

/// What the machine looked like when a tracepoint was reached, before its instruction ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracePoint {
    /// The tracepoint's address.
    pub pc: u32,
    /// Cycles since reset.
    pub cycles: Cycles,
    /// Instructions since reset.
    pub instructions: Instructions,
    /// Register R0: the first argument, if the tracepoint is a function's entry.
    pub r0: u32,
}

/// Decoded instructions kept at most; firmware that keeps rewriting its code must not fill memory.
const MAX_DECODED: usize = 1 << 21;

/// An instruction as the run loop needs it.
struct Decoded {
    /// See [`key`].
    key: u64,
    /// Slot of the instruction that ran after this one last time.
    successor: u32,
    instruction: Instruction,
    class: Class,
    traced: bool,
}

impl Decoded {
    /// What occupies slot 0, which stands for "not decoded".
    fn sentinel(config: &TimingConfig) -> Self {
        let instruction = Instruction::undefined(0, 2);
        Self {
            key: u64::MAX,
            successor: 0,
            class: Class::of(&instruction, config),
            instruction,
            traced: false,
        }
    }
}

/// Address and generation of a decoded instruction: a slot that holds the key still holds that
/// instruction.
#[inline(always)]
fn key(pc: u32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(pc)
}

/// An emulated Cortex-M7 with its memory.
///
/// ```no_run
/// use nestc::emulator::{Machine, MemoryMap, TimingConfig};
/// use nestc::units::Instructions;
///
/// let elf = std::fs::read("firmware.elf")?;
/// let mut machine = Machine::new(MemoryMap::stm32h743(), TimingConfig::expected());
/// machine.load_elf(&elf)?;
/// let stop = machine.run(Instructions(1_000_000))?;
/// println!("{stop:?} after {}", machine.cycles());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Machine {
    map: MemoryMap,
    config: TimingConfig,
    cpu: Cpu,
    bus: Bus,
    /// `None` in functional runs.
    pipeline: Option<Box<Pipeline>>,
    /// Instructions decoded so far, in the order they first ran, after a sentinel; the bus knows
    /// which address has which.
    decoded: Vec<Decoded>,
    /// Slot of the instruction that ran last.
    last: u32,
    executed: u64,
    symbols: Symbols,
    tracepoints: BTreeSet<u32>,
    trace: Vec<TracePoint>,
    console: Vec<u8>,
    calls: Vec<Instructions>,
}

impl Machine {
    /// A machine without a program.
    pub fn new(map: MemoryMap, config: TimingConfig) -> Self {
        Self {
            cpu: Cpu::new(0, map.boot),
            bus: Bus::new(&map, &config),
            pipeline: config.timed.then(|| Box::new(Pipeline::new(&config))),
            decoded: vec![Decoded::sentinel(&config)],
            last: 0,
            map,
            config,
            executed: 0,
            symbols: Symbols::default(),
            tracepoints: BTreeSet::new(),
            trace: Vec::new(),
            console: Vec::new(),
            calls: Vec::new(),
        }
    }

    /// Loads the segments of an ELF file at their physical addresses and resets the core, which
    /// takes its stack pointer and entry from the vector table at the map's boot address. Memory
    /// that the file does not fill keeps its contents.
    ///
    /// # Errors
    /// A file that is no Arm ELF, every segment that the memory map has no room for, and a
    /// missing or implausible vector table.
    pub fn load_elf(&mut self, file: &[u8]) -> Result<()> {
        let image = elf::parse(file)?;
        let mut findings = Diagnostics::default();
        for segment in &image.segments {
            if !self.bus.poke(segment.address, segment.bytes) {
                findings.push(Diagnostic::new(
                    IMAGE_OUTSIDE_MEMORY,
                    format!("segment at {:#010x}", segment.address),
                    format!(
                        "{} bytes do not lie within one region of memory",
                        segment.bytes.len()
                    ),
                    format!("link for this memory map: {}", self.regions()),
                ));
            }
        }
        let boot = self.map.boot;
        let loaded = image.segments.iter().any(|s| {
            let offset = boot.checked_sub(s.address);
            offset.is_some_and(|offset| offset as usize + 8 <= s.bytes.len())
        });
        let word = |at: u32| match self.bus.bytes(at, 4) {
            Some(b) => u32::from_le_bytes([b[0], b[1], b[2], b[3]]),
            None => 0,
        };
        let (sp, entry) = (word(boot), word(boot.wrapping_add(4)));
        let executable = self.bus.fetch(entry & !1).is_ok();
        if !loaded || entry & 1 == 0 || !executable {
            findings.push(Diagnostic::new(
                NO_VECTOR_TABLE,
                format!("{boot:#010x}"),
                format!(
                    "the reset vector is {entry:#010x} (with stack pointer {sp:#010x}), not an odd address in memory"
                ),
                "link the vector table to the address the core starts from",
            ));
        }
        findings.into_result(())?;
        self.symbols = image.symbols;
        self.cpu = Cpu::new(sp, entry);
        Ok(())
    }

    /// The memories of the map, for the reader.
    fn regions(&self) -> String {
        let memories = self.map.regions.iter();
        let names: Vec<String> = memories
            .filter(|r| r.kind != RegionKind::Peripheral)
            .map(|r| format!("{} {:#010x} ({} KB)", r.name, r.base, r.size / 1024))
            .collect();
        names.join(", ")
    }

    /// Takes a snapshot whenever the instruction at `address` is about to run. Costs no
    /// simulated time.
    pub fn add_tracepoint(&mut self, address: u32) {
        let address = address & !1;
        self.tracepoints.insert(address);
        self.bus.forget_decoded(address);
    }

    /// The snapshots since the last call.
    pub fn take_trace(&mut self) -> Vec<TracePoint> {
        std::mem::take(&mut self.trace)
    }

    /// Runs at most `max` instructions. A later call goes on where this one stopped.
    ///
    /// # Errors
    /// A [`Fault`], after which the machine stands at the instruction that caused it.
    pub fn run(&mut self, max: Instructions) -> Result<Stop, Fault> {
        let limit = self.executed.saturating_add(max.0);
        let mut pipeline = self.pipeline.take();
        let stop = match &mut pipeline {
            Some(pipeline) => self.run_until(limit, Some(pipeline)),
            None => self.run_until(limit, None),
        };
        self.pipeline = pipeline;
        stop.map_err(|kind| self.fault(kind))
    }

    fn fault(&self, kind: FaultKind) -> Fault {
        let pc = self.cpu.next;
        Fault {
            kind,
            pc,
            symbol: self.symbols.nearest(pc),
        }
    }

    #[inline(always)]
    fn run_until(
        &mut self,
        limit: u64,
        mut pipeline: Option<&mut Pipeline>,
    ) -> Result<Stop, FaultKind> {
        while self.executed < limit {
            let pc = self.cpu.next;
            // Usually what followed the last instruction before follows it again.
            let mut slot = self.decoded[self.last as usize].successor;
            if self.decoded[slot as usize].key != key(pc, self.bus.generation()) {
                slot = self.find(pc)?;
            }
            self.last = slot;
            let decoded = &self.decoded[slot as usize];
            let i = &decoded.instruction;
            self.bus.now = pipeline.as_ref().map_or(self.executed, |p| p.cycle());
            if decoded.traced {
                self.trace.push(TracePoint {
                    pc,
                    cycles: Cycles(self.bus.now),
                    instructions: Instructions(self.executed),
                    r0: self.cpu.r[0],
                });
            }
            let it = self.cpu.it;
            let condition = if it == 0 { i.cond } else { it >> 4 };
            let executed = condition >= ALWAYS || self.cpu.condition(condition) || i.op == Op::Bkpt;
            self.cpu.r[15] = pc.wrapping_add(4);
            self.cpu.next = pc.wrapping_add(i.length.into());
            let mut next = Next::Continue;
            if executed {
                match self.cpu.execute(&mut self.bus, i) {
                    Ok(n) => next = n,
                    Err(kind) => {
                        self.cpu.next = pc;
                        return Err(kind);
                    }
                }
            }
            if it != 0 {
                self.cpu.advance_it();
            }
            self.executed += 1;
            if let Some(pipeline) = pipeline.as_deref_mut() {
                let retired = Retired {
                    pc,
                    next: self.cpu.next,
                    predicated: it != 0,
                    executed,
                    access: self.cpu.access,
                };
                pipeline.retire(&decoded.class, &retired, &mut self.bus);
            }
            if let Next::Breakpoint(imm) = next
                && let Some(stop) = self.breakpoint(imm, pc)?
            {
                return Ok(stop);
            }
        }
        Ok(Stop::Limit)
    }

    #[cold]
    fn breakpoint(&mut self, imm: u8, pc: u32) -> Result<Option<Stop>, FaultKind> {
        if imm != semihosting::BREAKPOINT {
            return Ok(Some(Stop::Breakpoint { imm, pc }));
        }
        self.calls.push(Instructions(self.executed));
        let (operation, argument) = (self.cpu.r[0], self.cpu.r[1]);
        let outcome = semihosting::call(&mut self.bus, operation, argument, &mut self.console);
        match outcome {
            Ok(semihosting::Outcome::Returned(value)) => {
                self.cpu.r[0] = value;
                Ok(None)
            }
            Ok(semihosting::Outcome::Exited(code)) => Ok(Some(Stop::Exited(code))),
            Err(kind) => {
                self.cpu.next = pc;
                Err(kind)
            }
        }
    }

    /// The slot of the instruction at `pc`, which is decoded if it has none.
    fn find(&mut self, pc: u32) -> Result<u32, FaultKind> {
        let slot = match self.bus.decoded_at(pc) {
            0 => self.decode(pc)?,
            slot => slot,
        };
        self.decoded[slot as usize].key = key(pc, self.bus.generation());
        self.decoded[self.last as usize].successor = slot;
        Ok(slot)
    }

    /// Decodes the instruction at `pc` into a new slot.
    #[cold]
    fn decode(&mut self, pc: u32) -> Result<u32, FaultKind> {
        let (first, second) = self.bus.fetch(pc)?;
        if is_wide(first) {
            self.bus.fetch(pc.wrapping_add(2))?;
        }
        if self.decoded.len() == MAX_DECODED {
            self.bus.forget_all_decoded();
            self.decoded.truncate(1);
            self.last = 0;
        }
        let instruction = decode(pc, first, second);
        let slot = self.decoded.len() as u32;
        self.decoded.push(Decoded {
            key: u64::MAX,
            successor: 0,
            class: Class::of(&instruction, &self.config),
            instruction,
            traced: self.tracepoints.contains(&pc),
        });
        self.bus.set_decoded(pc, slot);
        Ok(slot)
    }

    /// Reads memory as a debugger does: at no cost, and never stale, since the caches are a
    /// matter of time only.
    ///
    /// # Errors
    /// The range is not within one region of memory.
    pub fn read(&self, address: u32, buffer: &mut [u8]) -> Result<(), Fault> {
        match self.bus.bytes(address, buffer.len()) {
            Some(bytes) => {
                buffer.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(self.fault(FaultKind::Unmapped {
                address,
                access: "debugger read",
            })),
        }
    }

    /// Writes memory, flash included, as a debugger does.
    ///
    /// # Errors
    /// The range is not within one region of memory.
    pub fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Fault> {
        if self.bus.poke(address, bytes) {
            Ok(())
        } else {
            Err(self.fault(FaultKind::Unmapped {
                address,
                access: "debugger write",
            }))
        }
    }

    /// The address of a symbol of the ELF, without the Thumb bit.
    pub fn symbol(&self, name: &str) -> Option<u32> {
        self.symbols.address(name)
    }

    /// The nearest symbol at or below `address`, as `name+0x12`; the bare address without one.
    pub fn symbolise(&self, address: u32) -> String {
        match self.symbols.nearest(address & !1) {
            name if name.is_empty() => format!("{address:#010x}"),
            name => name,
        }
    }

    /// Cycles since reset; in a functional run, instructions.
    pub fn cycles(&self) -> Cycles {
        Cycles(self.pipeline.as_ref().map_or(self.executed, |p| p.cycle()))
    }

    /// Instructions since reset; those whose condition failed count.
    pub fn instructions(&self) -> Instructions {
        Instructions(self.executed)
    }

    /// What the timing model saw; zeros in a functional run.
    pub fn counters(&self) -> Counters {
        self.pipeline
            .as_ref()
            .map_or_else(Counters::default, |p| p.counters())
    }

    /// Everything the firmware wrote by semihosting.
    pub fn console(&self) -> &[u8] {
        &self.console
    }

    /// Instructions executed up to and including each semihosting call.
    pub fn semihosting_calls(&self) -> &[Instructions] {
        &self.calls
    }

    /// Core register R0-R15, for tests and debuggers; R15 reads as the next instruction.
    pub fn register(&self, n: u8) -> u32 {
        match n & 15 {
            15 => self.cpu.next,
            n => self.cpu.r[usize::from(n)],
        }
    }

    /// Sets core register R0-R15.
    pub fn set_register(&mut self, n: u8, value: u32) {
        match n & 15 {
            15 => self.cpu.next = value & !1,
            n => self.cpu.r[usize::from(n)] = value,
        }
    }
}
