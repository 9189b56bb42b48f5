//! Measures on a board what nestc's cycle model assumes, each constant by a loop of its own.
//!
//! Prints over semihosting `nestc-calibrate 1`, a line `NAME CYCLES` for each loop, and `done`.
//! `nestc calibrate` finds the constants with which the emulator takes as many cycles for this very
//! firmware. The loops run from the instruction memory; each is measured twice, and the second time
//! counts: code, data and branch predictor are warm, except that the loops which read flash and
//! AXI SRAM begin with empty caches.
#![no_std]
#![no_main]

mod console;
mod loops;

use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};

use console::{exit, print};
use cortex_m::Peripherals;
use cortex_m_rt::{ExceptionFrame, entry, exception};
use loops::Loop;
use nest_device::cycles;

/// Version of what is printed.
const VERSION: u32 = 1;
/// Cache lines of 32 bytes that the memory loops read: twice the data cache.
const LINES: u32 = 1024;
const WORDS: usize = LINES as usize * 8;
/// Flash that no program lies in: the second bank.
const FLASH: usize = 0x0810_0000;

/// Lines in the memory on the main bus.
#[unsafe(link_section = ".nest.sram")]
static SRAM: [AtomicU32; 2 * WORDS] = [const { AtomicU32::new(0) }; 2 * WORDS];

/// Words in the data memory: the first points to itself, the others are zero.
static CHASE: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];

/// Trip counts of the short loops, 2 to 9, in an order that no predictor knows; followed by zeros.
const TRIPS: usize = 256;
static TRIP_COUNTS: [AtomicU32; TRIPS] = [const { AtomicU32::new(0) }; TRIPS];

/// Where a loop reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Chase,
    Trips,
    Sram,
    Flash,
}

/// Name, loop, where it reads, repetitions. The names are those `nestc calibrate` knows.
const MEASUREMENTS: &[(&str, Loop, At, u32)] = &[
    ("empty", loops::empty, At::Chase, 1),
    ("pair_immediate", loops::pair_immediate, At::Chase, 64),
    ("pair_register", loops::pair_register, At::Chase, 64),
    ("chase", loops::chase, At::Chase, 64),
    ("factor_word", loops::factor_word, At::Chase, 64),
    ("factor_narrow", loops::factor_narrow, At::Chase, 64),
    (
        "exit_late_flags",
        loops::exit_late_flags,
        At::Trips,
        TRIPS as u32,
    ),
    (
        "exit_early_flags",
        loops::exit_early_flags,
        At::Trips,
        TRIPS as u32,
    ),
    ("sram_lines", loops::lines, At::Sram, LINES),
    ("flash_lines", loops::lines, At::Flash, LINES),
    ("sram_store_lines", loops::store_lines, At::Sram, LINES / 2),
    ("sram_dirty_lines", loops::dirty_lines, At::Sram, LINES / 2),
];

#[entry]
fn main() -> ! {
    nest_device::zero_sram();
    nest_device::copy_kernels();
    let Some(mut core) = Peripherals::take() else {
        exit(false)
    };
    let Ok(clock_hz) = nest_device::stm32h743::start_480_mhz() else {
        print(format_args!("a clock did not become ready"));
        exit(false)
    };
    nest_device::enable_caches(&mut core.SCB, &mut core.CPUID);
    nest_device::enable_cycle_counter(&mut core.DCB, &mut core.DWT);
    CHASE[0].store(CHASE.as_ptr().addr() as u32, Ordering::Relaxed);
    let mut state = 1u32;
    for trip in &TRIP_COUNTS {
        // A linear congruential generator (Numerical Recipes), its upper bits.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        trip.store(2 + (state >> 29), Ordering::Relaxed);
    }

    print(format_args!("nestc-calibrate {VERSION}"));
    print(format_args!("clock_hz {clock_hz}"));
    for &(name, run, at, repetitions) in MEASUREMENTS {
        let base: *const u32 = match at {
            At::Chase => CHASE.as_ptr().cast(),
            At::Trips => TRIP_COUNTS.as_ptr().cast(),
            At::Sram => SRAM.as_ptr().cast(),
            At::Flash => ptr::with_exposed_provenance(FLASH),
        };
        let mut taken = 0;
        for _ in 0..2 {
            if matches!(at, At::Sram | At::Flash) {
                nest_device::flush_caches(&mut core.SCB, &mut core.CPUID);
            }
            let before = cycles();
            // SAFETY: `base` points to as much memory as the loop reads and writes in
            // `repetitions` (see `loops`); nothing else uses it meanwhile.
            unsafe { run(base, repetitions) };
            taken = cycles().wrapping_sub(before);
        }
        print(format_args!("{name} {taken}"));
    }
    print(format_args!("done"));
    exit(true)
}

#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    print(format_args!("hard fault at {:#010x}", frame.pc()));
    exit(false)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    print(format_args!("{info}"));
    exit(false)
}
