//! The self-test notices when one instruction of a kernel is another: an instruction of the hand-written
//! assembly is altered by one bit, and the cases of the kernels that run it must fail.
//!
//! Some such changes alter nothing (flags that nobody reads, a branch to an instruction that only
//! repeats what was done), so an instruction counts as unguarded only when several changes to it go
//! unnoticed.

use std::collections::BTreeMap;
use std::fs;

use nest_kernels::KERNELS;
use nestc::emulator::{FaultKind, Machine, MemoryMap, Stop, TimingConfig};
use nestc::units::Instructions;
use object::{Object, ObjectSymbol, SymbolKind};

use crate::firmware::{Board, selftest};

/// Other encodings tried for an instruction before it counts as unguarded.
const MUTANTS: usize = 5;

/// A function of the kernels' assembly.
struct Function {
    name: String,
    address: u32,
    size: u32,
}

fn functions(elf: &[u8]) -> Vec<Function> {
    let file = object::File::parse(elf).expect("the self-test's ELF file");
    let mut all: Vec<Function> = (file.symbols())
        .filter(|s| s.kind() == SymbolKind::Text && s.size() > 0)
        .filter_map(|s| {
            let name = s.name().ok()?;
            name.starts_with("nest_kernels_").then(|| Function {
                name: name.to_owned(),
                address: s.address() as u32 & !1,
                size: s.size() as u32,
            })
        })
        .collect();
    all.sort_by_key(|f| f.address);
    all
}

/// A machine about to run the cases of `kernel` alone.
fn machine(elf: &[u8], kernel: &str) -> Machine {
    let mut machine = Machine::new(MemoryMap::stm32h743(), TimingConfig::functional());
    machine.load_elf(elf).expect("the self-test loads");
    // The start-up code copies `.data` from where it is loaded in flash.
    let at = |name: &str| machine.symbol(name).expect("a symbol of the linker script");
    let place = at("selftest_only") - at("_data_start") + at("_data_load");
    let only = format!("{kernel}/");
    (machine.write(place, only.as_bytes())).expect("flash can be written");
    machine
}

#[derive(Debug, PartialEq)]
enum Outcome {
    /// Cases fail, the run faults or never ends.
    Caught,
    /// The new bits are no instruction.
    NoInstruction,
    Survived,
}

fn outcome(machine: &mut Machine, limit: u64, mutated: u32) -> Outcome {
    match machine.run(Instructions(limit)) {
        Ok(Stop::Exited(0)) => Outcome::Survived,
        Err(fault) => match fault.kind {
            FaultKind::Undefined { .. } if fault.pc == mutated => Outcome::NoInstruction,
            _ => Outcome::Caught,
        },
        Ok(_) => Outcome::Caught,
    }
}

/// Which kernels' cases run each function, the fastest first, and in how many instructions.
fn cases_of(elf: &[u8], functions: &[Function]) -> BTreeMap<u32, Vec<(u64, &'static str)>> {
    let mut cases: BTreeMap<u32, Vec<(u64, &'static str)>> = BTreeMap::new();
    for kernel in KERNELS.iter().filter(|k| k.arch == "armv7em") {
        let mut machine = machine(elf, kernel.name);
        for function in functions {
            machine.add_tracepoint(function.address);
        }
        let stop = machine.run(Instructions(2_000_000_000));
        assert_eq!(stop, Ok(Stop::Exited(0)), "{} as it is", kernel.name);
        let cost = machine.instructions().0;
        let mut reached: Vec<u32> = machine.take_trace().iter().map(|t| t.pc).collect();
        reached.sort_unstable();
        reached.dedup();
        for address in reached {
            cases.entry(address).or_default().push((cost, kernel.name));
        }
    }
    cases.values_mut().for_each(|c| c.sort_unstable());
    cases
}

/// Alters every `stride`-th instruction of the functions whose names contain `of`; returns how many
/// that were, and which nothing guards.
fn unguarded(stride: usize, of: &str) -> (usize, Vec<String>) {
    let elf = fs::read(selftest(Board::Stm32h743)).expect("the self-test is built");
    let mut functions = functions(&elf);
    assert!(functions.len() > 10, "the ELF file names its kernels");
    functions.retain(|f| f.name.contains(of));
    let cases = cases_of(&elf, &functions);
    let pristine = machine(&elf, "");
    let (mut ran, mut index) = (0, 0usize);
    let mut survived = Vec::new();
    for function in &functions {
        let Some(cases) = cases.get(&function.address) else {
            survived.push(format!("{}: no case runs it", function.name));
            continue;
        };
        let mut at = function.address;
        while at < function.address + function.size {
            let mut bytes = [0; 4];
            pristine.read(at, &mut bytes).expect("code can be read");
            let len = if is_wide(bytes[1]) { 4 } else { 2 };
            let nop = bytes[..2] == [0x00, 0xbf] || bytes == [0xaf, 0xf3, 0x00, 0x80];
            index += 1;
            if index.is_multiple_of(stride) && !nop {
                ran += 1;
                let mut tried = Vec::new();
                // Any fixed order does: 5 and 16 or 32 have no common factor.
                for step in 0..8 * len {
                    let bit = (step * 5 + index) % (8 * len);
                    let mut mutant = bytes;
                    mutant[bit / 8] ^= 1 << (bit % 8);
                    if is_wide(mutant[1]) != is_wide(bytes[1]) {
                        continue;
                    }
                    let run = |&(cost, kernel): &(u64, &str)| {
                        let mut machine = machine(&elf, kernel);
                        (machine.write(at, &mutant[..len])).expect("code can be written");
                        outcome(&mut machine, 2 * cost, at)
                    };
                    match cases.iter().map(run).find(|o| *o != Outcome::Survived) {
                        Some(Outcome::NoInstruction) => continue,
                        Some(_) => {
                            tried.clear();
                            break;
                        }
                        None => tried.push(format!("{:02x?}", &mutant[..len])),
                    }
                    if tried.len() == MUTANTS {
                        break;
                    }
                }
                if !tried.is_empty() {
                    survived.push(format!(
                        "{}+{:#x}: {:02x?} may be {}",
                        function.name,
                        at - function.address,
                        &bytes[..len],
                        tried.join(", ")
                    ));
                }
            }
            at += len as u32;
        }
    }
    (ran, survived)
}

/// Whether an instruction whose second byte this is has 32 bits.
fn is_wide(second: u8) -> bool {
    second >> 3 >= 0b11101
}

#[test]
fn a_changed_instruction_is_noticed() {
    let (ran, unguarded) = unguarded(23, "");
    assert!(ran > 20, "{ran} instructions");
    assert_eq!(unguarded, Vec::<String>::new(), "of {ran} instructions");
}

#[test]
#[ignore = "minutes: `make mutate` runs it"]
fn every_changed_instruction_is_noticed() {
    let of = std::env::var("NESTC_FUNCTIONS").unwrap_or_default();
    let (ran, unguarded) = unguarded(1, &of);
    assert!(ran > 0, "no function's name contains {of:?}");
    println!("{ran} instructions altered, {} unguarded", unguarded.len());
    for line in &unguarded {
        println!("  {line}");
    }
    assert!(unguarded.is_empty());
}
