//! The machine as firmware and callers see it: faults, system registers, board registers,
//! breakpoints, loading. What instructions compute is held against QEMU in `tests/emulator`.

use super::*;
use crate::units::{Cycles, Instructions};

const DTCM: u32 = 0x2000_0000;
const FLASH: u32 = 0x0800_0000;

/// `bkpt #1`: ends a test program.
const STOP: u16 = 0xbe01;
/// `ldr r1, [r0]`, `str r1, [r0]`
const LDR: u16 = 0x6801;
const STR: u16 = 0x6001;

fn at(origin: u32, code: &[u16], timing: TimingConfig) -> Machine {
    let mut machine = Machine::new(MemoryMap::stm32h743(), timing);
    let bytes: Vec<u8> = code.iter().flat_map(|h| h.to_le_bytes()).collect();
    machine.write(origin, &bytes).expect("the program fits");
    machine.set_register(15, origin);
    machine.set_register(13, DTCM + 0x1000);
    machine
}

/// An STM32H743 about to run `code` from ITCM.
fn machine(code: &[u16]) -> Machine {
    at(0x100, code, TimingConfig::expected())
}

fn run(machine: &mut Machine) -> Result<Stop, Fault> {
    machine.run(Instructions(100_000))
}

fn stops(machine: &mut Machine) {
    match run(machine) {
        Ok(Stop::Breakpoint { imm: 1, .. }) => {}
        other => panic!("{other:?}"),
    }
}

/// Runs `code` with R0 = `r0` to the fault it must end in.
fn fault(code: &[u16], r0: u32) -> FaultKind {
    let mut machine = machine(code);
    machine.set_register(0, r0);
    let fault = run(&mut machine).expect_err("a fault");
    assert_eq!(fault.pc, 0x100, "the faulting instruction is the first");
    assert_eq!(
        run(&mut machine).expect_err("again"),
        fault,
        "the machine stands at the fault"
    );
    fault.kind
}

/// Reads the register at `address` as firmware does.
fn load(machine: &mut Machine, address: u32) -> u32 {
    machine
        .write(0x80, &[LDR, STOP].map(u16::to_le_bytes).concat())
        .expect("ITCM");
    machine.set_register(15, 0x80);
    machine.set_register(0, address);
    stops(machine);
    machine.register(1)
}

/// Writes the register at `address` as firmware does.
fn store(machine: &mut Machine, address: u32, value: u32) {
    machine
        .write(0x80, &[STR, STOP].map(u16::to_le_bytes).concat())
        .expect("ITCM");
    machine.set_register(15, 0x80);
    machine.set_register(0, address);
    machine.set_register(1, value);
    stops(machine);
}

#[test]
fn faults_name_their_cause() {
    use FaultKind::*;
    let unmapped = |address, access| Unmapped { address, access };
    assert_eq!(fault(&[LDR], 0x6000_0000), unmapped(0x6000_0000, "read"));
    assert_eq!(fault(&[STR], 0x6000_0000), unmapped(0x6000_0000, "write"));
    assert_eq!(
        fault(&[LDR], DTCM + 128 * 1024),
        unmapped(DTCM + 128 * 1024, "read")
    );
    assert_eq!(fault(&[LDR], 0x4000_0000), unmapped(0x4000_0000, "read"));
    assert_eq!(fault(&[STR], FLASH), WriteToFlash { address: FLASH });
    // The last word of a region, one byte too far.
    assert!(matches!(
        fault(&[LDR], DTCM + 128 * 1024 - 3),
        Unaligned { .. }
    ));
    // ldmia r0!, {r1}; ldrd r1, r2, [r0]; vldr s0, [r0] is below; ldrex r1, [r0]
    let unaligned = Unaligned { address: DTCM + 2 };
    assert_eq!(fault(&[0xc802], DTCM + 2), unaligned);
    assert_eq!(fault(&[0xe9d0, 0x1200], DTCM + 2), unaligned);
    assert_eq!(fault(&[0xe850, 0x1f00], DTCM + 2), unaligned);
    // ldrh r1, [r0] from a peripheral
    assert_eq!(
        fault(&[0x8801], 0x5802_4401),
        Unaligned {
            address: 0x5802_4401
        }
    );
    // bx r0
    assert_eq!(fault(&[0x4700], DTCM), ArmState { target: DTCM });
    assert!(matches!(fault(&[0x4700], 0xffff_fff9), Unsupported { .. }));
    // udf #0; udf.w #0; smmls with Ra = 15; vadd.f64; mov.w r15, r0
    assert_eq!(fault(&[0xde00], 0), Undefined { encoding: 0xde00 });
    assert_eq!(
        fault(&[0xf7f0, 0xa000], 0),
        Undefined {
            encoding: 0xf7f0_a000
        }
    );
    assert_eq!(
        fault(&[0xee30, 0x0b00], 0),
        Undefined {
            encoding: 0xee30_0b00
        }
    );
    assert_eq!(
        fault(&[0xea4f, 0x0f00], 0),
        Undefined {
            encoding: 0xea4f_0f00
        }
    );
    // vadd.f32 s0, s0, s0 before CPACR allows it
    assert_eq!(fault(&[0xee30, 0x0a00], 0), FpuDisabled);
    // b .; svc #0; wfi
    assert_eq!(fault(&[0xe7fe], 0), EndlessLoop);
    assert!(matches!(fault(&[0xdf00], 0), Unsupported { .. }));
    assert!(matches!(fault(&[0xbf30], 0), Unsupported { .. }));
}

#[test]
fn a_branch_out_of_memory_faults_there() {
    for (target, kind) in [
        (
            0x5802_4401,
            FaultKind::ExecuteNever {
                address: 0x5802_4400,
            },
        ),
        (
            0xe000_ed01,
            FaultKind::ExecuteNever {
                address: 0xe000_ed00,
            },
        ),
        (
            0x1000_0001,
            FaultKind::Unmapped {
                address: 0x1000_0000,
                access: "execute",
            },
        ),
    ] {
        let mut machine = machine(&[0x4700]); // bx r0
        machine.set_register(0, target);
        let fault = run(&mut machine).expect_err("a fault");
        assert_eq!((fault.kind, fault.pc), (kind, target & !1));
    }
}

#[test]
fn unaligned_words_and_halfwords_are_loaded_unless_trapped() {
    let mut machine = machine(&[]);
    machine
        .write(DTCM, &[1, 2, 3, 4, 5, 6, 7, 8])
        .expect("DTCM");
    assert_eq!(load(&mut machine, DTCM + 1), 0x0504_0302);
    // CCR.UNALIGN_TRP
    store(&mut machine, 0xe000_ed14, 1 << 3);
    machine.set_register(15, 0x80);
    machine.write(0x80, &LDR.to_le_bytes()).expect("ITCM");
    machine.set_register(0, DTCM + 1);
    let fault = run(&mut machine).expect_err("a fault");
    assert_eq!(fault.kind, FaultKind::Unaligned { address: DTCM + 1 });
}

#[test]
fn division_by_zero_is_zero_unless_trapped() {
    // sdiv r0, r0, r1
    let mut machine = machine(&[0xfb90, 0xf0f1, STOP]);
    machine.set_register(0, 5);
    stops(&mut machine);
    assert_eq!(machine.register(0), 0);
    store(&mut machine, 0xe000_ed14, 1 << 4);
    machine.set_register(1, 0);
    machine.set_register(15, 0x100);
    assert_eq!(
        run(&mut machine).expect_err("a fault").kind,
        FaultKind::DivideByZero
    );
}

#[test]
fn a_fault_becomes_a_diagnostic_with_place_and_remedy() {
    let mut machine = machine(&[LDR]);
    machine.set_register(0, 0x6000_0000);
    let fault = run(&mut machine).expect_err("a fault");
    let text = crate::diag::Diagnostic::from(fault).to_string();
    assert!(
        text.contains("E703") && text.contains("0x60000000"),
        "{text}"
    );
    assert!(
        text.contains("pc 0x00000100") && text.contains("help: check"),
        "{text}"
    );
}

#[test]
fn running_resumes_after_a_breakpoint() {
    // movs r0, #1; bkpt #7; movs r0, #2; bkpt #1
    let mut machine = machine(&[0x2001, 0xbe07, 0x2002, STOP]);
    assert_eq!(
        run(&mut machine),
        Ok(Stop::Breakpoint { imm: 7, pc: 0x102 })
    );
    assert_eq!(machine.register(0), 1);
    assert_eq!(
        run(&mut machine),
        Ok(Stop::Breakpoint { imm: 1, pc: 0x106 })
    );
    assert_eq!(
        (machine.register(0), machine.instructions()),
        (2, Instructions(4))
    );
}

#[test]
fn the_limit_counts_from_each_call() {
    let mut machine = machine(&[0xbf00; 64]);
    assert_eq!(machine.run(Instructions(5)), Ok(Stop::Limit));
    assert_eq!(machine.run(Instructions(5)), Ok(Stop::Limit));
    assert_eq!(
        (machine.register(15), machine.instructions()),
        (0x114, Instructions(10))
    );
}

#[test]
fn tracepoints_see_the_state_before_and_cost_nothing() {
    // movs r0, #9; nop; movs r0, #3; bkpt
    let code = [0x2009, 0xbf00, 0x2003, STOP];
    let mut plain = machine(&code);
    stops(&mut plain);
    let mut traced = machine(&code);
    traced.add_tracepoint(0x104 | 1);
    stops(&mut traced);
    assert_eq!(plain.cycles(), traced.cycles());
    let trace = traced.take_trace();
    assert_eq!(trace.len(), 1);
    assert_eq!(
        (trace[0].pc, trace[0].r0, trace[0].instructions),
        (0x104, 9, Instructions(2))
    );
    assert!(traced.take_trace().is_empty());
    // Set on an address that has already run.
    plain.add_tracepoint(0x100);
    plain.set_register(15, 0x100);
    stops(&mut plain);
    assert_eq!(plain.take_trace().len(), 1);
}

#[test]
fn stores_to_code_take_effect() {
    // str r1, [r0]; movs r2, #1 (to be overwritten); bkpt
    let mut machine = machine(&[STR, 0x2201, STOP, STOP]);
    stops(&mut machine);
    assert_eq!(machine.register(2), 1);
    machine.set_register(15, 0x100);
    machine.set_register(0, 0x102);
    machine.set_register(1, u32::from(STOP) << 16 | 0x2207);
    stops(&mut machine);
    assert_eq!(machine.register(2), 7);
}

#[test]
fn a_store_to_the_second_halfword_of_code_takes_effect() {
    // movw r2, #1; strh r1, [r0]; bkpt
    let mut machine = machine(&[0xf240, 0x0201, 0x8001, STOP]);
    machine.set_register(0, 0x102);
    machine.set_register(1, 0x0209); // movw r2, #9
    stops(&mut machine);
    assert_eq!(machine.register(2), 1);
    machine.set_register(15, 0x100);
    stops(&mut machine);
    assert_eq!(machine.register(2), 9);
}

#[test]
fn memory_holds_no_zeros_that_nobody_wrote() {
    let mut machine = machine(&[]);
    assert_eq!(load(&mut machine, DTCM), 0xa5a5_a5a5);
    assert_eq!(load(&mut machine, FLASH), 0xffff_ffff, "erased flash");
}

#[test]
fn clocks_are_ready_as_soon_as_enabled() {
    const RCC: u32 = 0x5802_4400;
    let mut m = machine(&[]);
    assert_eq!(load(&mut m, RCC) & 0b101, 0b101, "HSI runs after reset");
    for (enable, ready) in [(7, 8), (12, 13), (16, 17), (24, 25), (26, 27), (28, 29)] {
        assert_eq!(load(&mut m, RCC) >> ready & 1, 0, "bit {ready}");
        store(&mut m, RCC, 1 | 1 << enable);
        assert_eq!(load(&mut m, RCC) >> ready & 1, 1, "bit {ready}");
        store(&mut m, RCC, 1);
        assert_eq!(load(&mut m, RCC) >> ready & 1, 0, "bit {ready}");
    }
    store(&mut m, RCC + 0x10, 3);
    assert_eq!(load(&mut m, RCC + 0x10), 3 | 3 << 3, "CFGR.SWS follows SW");
    // PWR: voltage scale 1 is ready, and the active scale is the one asked for.
    store(&mut m, 0x5802_4818, 3 << 14);
    assert_eq!(load(&mut m, 0x5802_4818), 3 << 14 | 1 << 13);
    assert_eq!(load(&mut m, 0x5802_4804), 3 << 14 | 1 << 13);
    assert_eq!(load(&mut m, 0x5200_2000), 0x37, "FLASH_ACR after reset");
    store(&mut m, 0x5200_2000, 0x24);
    assert_eq!(load(&mut m, 0x5200_2000), 0x24, "FLASH_ACR reads back");
    store(&mut m, 0x5800_042c, 1);
    assert_eq!(load(&mut m, 0x5800_042c), 1, "SYSCFG_PWRCR.ODEN");
}

const DWT_CTRL: u32 = 0xe000_1000;
const CYCCNT: u32 = 0xe000_1004;
const DWT_LAR: u32 = 0xe000_1fb0;
const DEMCR: u32 = 0xe000_edfc;

#[test]
fn the_cycle_counter_counts_once_unlocked_and_enabled() {
    let mut m = machine(&[]);
    store(&mut m, DWT_CTRL, 1);
    assert_eq!(
        load(&mut m, DWT_CTRL),
        0x4000_0000,
        "locked: the store is ignored"
    );
    store(&mut m, DWT_LAR, 0xc5ac_ce55);
    store(&mut m, DWT_CTRL, 1);
    assert_eq!(load(&mut m, CYCCNT), 0, "DEMCR.TRCENA is off");
    store(&mut m, DEMCR, 1 << 24);
    let (first, at_first) = (load(&mut m, CYCCNT), m.cycles());
    let (second, at_second) = (load(&mut m, CYCCNT), m.cycles());
    assert_eq!(Cycles((second - first).into()), at_second - at_first);
    assert!(second > first);
    store(&mut m, CYCCNT, 0);
    assert!(load(&mut m, CYCCNT) < second, "it can be set");
    store(&mut m, DWT_CTRL, 0);
    let stopped = load(&mut m, CYCCNT);
    assert_eq!(load(&mut m, CYCCNT), stopped, "disabled, it stands");
}

#[test]
fn the_system_timer_counts_down_and_flags_its_wrap() {
    let mut m = machine(&[]);
    store(&mut m, 0xe000_e014, 1000 - 1);
    store(&mut m, 0xe000_e018, 0);
    store(&mut m, 0xe000_e010, 0b101);
    let first = load(&mut m, 0xe000_e018);
    assert!(load(&mut m, 0xe000_e018) < first && first < 1000);
    assert_eq!(load(&mut m, 0xe000_e010) >> 16, 0);
    while m.cycles() < Cycles(2000) {
        load(&mut m, DTCM);
    }
    assert_eq!(load(&mut m, 0xe000_e010) >> 16 & 1, 1, "COUNTFLAG");
    assert_eq!(load(&mut m, 0xe000_e010) >> 16 & 1, 0, "cleared by reading");
    m.write(0x80, &[STR, STOP].map(u16::to_le_bytes).concat())
        .expect("ITCM");
    m.set_register(15, 0x80);
    m.set_register(0, 0xe000_e010);
    m.set_register(1, 0b111);
    let fault = run(&mut m).expect_err("the interrupt");
    assert!(matches!(fault.kind, FaultKind::Unsupported { .. }));
}

#[test]
fn cache_registers_describe_the_h743() {
    let mut m = machine(&[]);
    store(&mut m, 0xe000_ed84, 0);
    let data = load(&mut m, 0xe000_ed80);
    store(&mut m, 0xe000_ed84, 1);
    let instruction = load(&mut m, 0xe000_ed80);
    for (name, ccsidr) in [("data", data), ("instruction", instruction)] {
        let (sets, ways) = ((ccsidr >> 13 & 0x7fff) + 1, (ccsidr >> 3 & 0x3ff) + 1);
        assert_eq!((sets * ways * 32, ccsidr & 7), (16 * 1024, 1), "{name}");
    }
    assert_eq!(
        load(&mut m, 0xe000_ed00) >> 4 & 0xfff,
        0xc27,
        "CPUID is a Cortex-M7"
    );
}

/// `1: ldr r1, [r0], #32; subs r2, #1; bne 1b; bkpt #1` from ITCM.
const WALK: &[u16] = &[0xf850, 0x1b20, 0x3a01, 0xd1fb, STOP];

/// Cycles to read `lines` cache lines from `base`, with the caches on or off.
fn walk(m: &mut Machine, base: u32, lines: u32) -> u64 {
    let before = m.cycles();
    m.set_register(15, 0x100);
    m.set_register(0, base);
    m.set_register(2, lines);
    stops(m);
    (m.cycles() - before).0
}

#[test]
fn line_fills_cost_what_the_configuration_says() {
    let config = TimingConfig::expected();
    let mut m = machine(WALK);
    store(&mut m, 0xe000_ed14, 1 << 16 | 1 << 17);
    // Trains the branch predictor.
    walk(&mut m, DTCM, 64);
    let tcm = walk(&mut m, DTCM, 64);
    let sram = walk(&mut m, 0x2400_0000, 64);
    let again = walk(&mut m, 0x2400_0000, 64);
    let flash = walk(&mut m, FLASH, 64);
    assert_eq!(sram - tcm, 64 * u64::from(config.sram_line_fill));
    assert_eq!(flash - tcm, 64 * u64::from(config.flash_line_fill));
    assert_eq!(again, tcm, "hits cost nothing");
    // 1024 lines are twice the cache: nothing of them is left when the walk begins anew.
    walk(&mut m, FLASH, 1024);
    let misses = m.counters().data_cache_misses;
    walk(&mut m, FLASH, 1024);
    assert_eq!(m.counters().data_cache_misses - misses, 1024);
}

#[test]
fn caches_count_only_while_enabled() {
    let mut m = machine(WALK);
    let off = walk(&mut m, 0x2400_0000, 64);
    let off_again = walk(&mut m, 0x2400_0000, 64);
    assert!(off_again + 64 > off, "without a cache every walk is slow");
    store(&mut m, 0xe000_ed14, 1 << 16);
    walk(&mut m, 0x2400_0000, 64);
    assert!(walk(&mut m, 0x2400_0000, 64) * 4 < off);
    // Cleaning by set and way keeps the lines, invalidating drops them.
    let misses = m.counters().data_cache_misses;
    for (register, expected) in [(0xe000_ef6c, 0), (0xe000_ef74, 64)] {
        for set in 0..128 {
            for way in 0..4 {
                store(&mut m, register, way << 30 | set << 5);
            }
        }
        walk(&mut m, 0x2400_0000, 64);
        assert_eq!(m.counters().data_cache_misses - misses, expected);
    }
}

#[test]
fn code_in_flash_runs_at_tcm_speed_once_cached() {
    let mut code = vec![0xbf00; 400];
    code.push(STOP);
    let time = |m: &mut Machine, origin| {
        let before = m.cycles();
        m.set_register(15, origin);
        stops(m);
        (m.cycles() - before).0
    };
    let mut tcm = machine(&code);
    let mut flash = at(FLASH, &code, TimingConfig::expected());
    store(&mut flash, 0xe000_ed14, 1 << 17);
    let cold = time(&mut flash, FLASH);
    let warm = time(&mut flash, FLASH);
    time(&mut tcm, 0x100);
    assert!(warm.abs_diff(time(&mut tcm, 0x100)) <= 2);
    let lines = 400 * 2 / 32;
    let fill = u64::from(TimingConfig::expected().flash_line_fill);
    assert!(
        cold > warm + (lines - 1) * fill - lines * 16,
        "{cold} cold, {warm} warm"
    );
    assert_eq!(flash.counters().instruction_cache_misses, lines + 1);
}

#[test]
fn a_functional_run_counts_instructions_as_cycles() {
    let mut m = at(0x100, WALK, TimingConfig::functional());
    walk(&mut m, DTCM, 10);
    assert_eq!(
        (m.cycles(), m.instructions()),
        (Cycles(31), Instructions(31))
    );
    assert_eq!(m.counters(), Counters::default());
}

#[test]
fn semihosting_writes_to_the_console_and_exits() {
    // bkpt #0xab, three times
    let mut m = machine(&[0xbeab, 0xbeab, 0xbeab]);
    m.write(DTCM, b"one\0two").expect("DTCM");
    m.set_register(0, 4); // SYS_WRITE0
    m.set_register(1, DTCM);
    assert_eq!(m.run(Instructions(1)), Ok(Stop::Limit));
    let block = [1, DTCM + 4, 3].map(u32::to_le_bytes).concat();
    m.write(DTCM + 64, &block).expect("DTCM");
    m.set_register(0, 5); // SYS_WRITE
    m.set_register(1, DTCM + 64);
    assert_eq!(m.run(Instructions(1)), Ok(Stop::Limit));
    assert_eq!((m.console(), m.register(0)), (&b"onetwo"[..], 0));
    m.set_register(0, 0x18); // SYS_EXIT
    m.set_register(1, 0x20026);
    assert_eq!(run(&mut m), Ok(Stop::Exited(0)));
    assert_eq!(m.semihosting_calls(), [1, 2, 3].map(Instructions));
}

#[test]
fn debugger_access_stays_within_a_region() {
    let mut m = machine(&[]);
    let mut word = [0; 4];
    m.write(FLASH, &[1, 2, 3, 4])
        .expect("a debugger may write flash");
    m.read(FLASH, &mut word).expect("flash");
    assert_eq!(word, [1, 2, 3, 4]);
    assert!(m.read(DTCM + 128 * 1024 - 2, &mut word).is_err());
    assert!(m.write(0x6000_0000, &word).is_err());
    assert!(m.read(u32::MAX, &mut word).is_err());
}

#[test]
fn what_is_no_firmware_is_refused() {
    let load = |bytes: &[u8]| {
        let mut m = Machine::new(MemoryMap::stm32h743(), TimingConfig::expected());
        m.load_elf(bytes)
            .expect_err("not a firmware image")
            .to_string()
    };
    assert!(load(b"").contains("E700"));
    assert!(load(b"\x7fELF").contains("E700"));
    let host = std::fs::read(std::env::current_exe().expect("this test")).expect("readable");
    assert!(load(&host).contains("E700"));
}

/// A minimal ELF with one segment of `bytes` at `address`.
fn elf(address: u32, bytes: &[u8]) -> Vec<u8> {
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |file: &mut Vec<u8>, v: u16| file.extend(v.to_le_bytes());
    let word = |file: &mut Vec<u8>, v: u32| file.extend(v.to_le_bytes());
    half(&mut file, 2); // executable
    half(&mut file, 40); // Arm
    for v in [1, 0, 52, 0, 0] {
        word(&mut file, v);
    }
    for v in [52, 32, 1, 40, 0, 0] {
        half(&mut file, v);
    }
    let size = bytes.len() as u32;
    // Virtual address elsewhere: the physical one counts.
    for v in [1, 84, DTCM, address, size, size, 5, 4] {
        word(&mut file, v);
    }
    file.extend(bytes);
    file
}

#[test]
fn an_image_goes_to_its_physical_addresses_and_starts_from_its_vectors() {
    let mut image = Vec::new();
    for word in [DTCM + 0x800, FLASH + 9, 0xbe01_be01] {
        image.extend(u32::to_le_bytes(word));
    }
    let mut m = Machine::new(MemoryMap::stm32h743(), TimingConfig::expected());
    m.load_elf(&elf(FLASH, &image)).expect("loads");
    assert_eq!((m.register(13), m.register(15)), (DTCM + 0x800, FLASH + 8));
    assert_eq!(
        run(&mut m),
        Ok(Stop::Breakpoint {
            imm: 1,
            pc: FLASH + 8
        })
    );
    assert_eq!(m.symbolise(FLASH), "0x08000000");

    let refused = |file: &[u8]| {
        let mut m = Machine::new(MemoryMap::stm32h743(), TimingConfig::expected());
        m.load_elf(file).expect_err("refused").to_string()
    };
    // Outside memory, and so without vectors: both are said.
    let text = refused(&elf(0x6000_0000, &image));
    assert!(
        text.contains("E701") && text.contains("E702") && text.contains("AXISRAM"),
        "{text}"
    );
    // Across the end of flash.
    assert!(refused(&elf(FLASH + 2048 * 1024 - 4, &image)).contains("E701"));
    // An even reset vector.
    image[4] &= !1;
    assert!(refused(&elf(FLASH, &image)).contains("E702"));
    assert!(refused(&elf(FLASH, &image[..4])).contains("E702"));
    // Truncated within the segment.
    let file = elf(FLASH, &image);
    assert!(refused(&file[..file.len() - 1]).contains("E700"));
}

/// No encoding, however senseless, may do worse than a fault.
#[test]
fn random_code_never_panics() {
    let mut state = 1u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as u32
    };
    let mut m = machine(&[]);
    store(&mut m, 0xe000_ed88, 0xf << 20);
    for _ in 0..500_000 {
        let wide = 0xe800 | random() as u16;
        let first = if random() & 1 == 0 {
            wide
        } else {
            random() as u16
        };
        m.write(
            0x100,
            &[first, random() as u16].map(u16::to_le_bytes).concat(),
        )
        .expect("ITCM");
        for r in 0..13 {
            // Half of the registers point to memory, so that accesses do not only fault.
            let value = random();
            m.set_register(
                r,
                if value & 1 == 0 {
                    value
                } else {
                    DTCM + (value >> 16)
                },
            );
        }
        m.set_register(15, 0x100);
        // Whether it runs or faults does not matter.
        let _ = m.run(Instructions(2));
    }
}
