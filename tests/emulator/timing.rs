//! The emulator's clock against cycles published for Cortex-M7 silicon. Sources as in
//! `src/emulator/timing`: \[J\] jnk0le, \[Q\] Quinapalus, \[L\] LLVM's model.

use nestc::emulator::{Machine, MemoryMap, Stop, TimingConfig};
use nestc::units::Instructions;

use crate::qemu;

/// Snippet of `firmware/src/bin/timing.rs`, cycles per copy, and who says so.
#[rustfmt::skip]
const PUBLISHED: &[(&str, f64, &str)] = &[
    ("adds_independent", 4.0, "[Q] two a cycle"),
    ("adds_dependent", 4.0, "[Q]"),
    ("movw_movt", 1.0, "[J] pair with mutual dependency"),
    ("mul_mul", 2.0, "[Q][J] one multiplier"),
    ("smlal_chain", 4.0, "[Q][J] accumulators chain every cycle"),
    ("mla_chain", 4.0, "[J]"),
    ("smlad_chain", 4.0, "[J]"),
    ("mul_factor", 4.0, "[J][Q] latency 2"),
    ("smlal_add", 1.0, "[Q]"),
    ("smlal_ldr", 1.0, "[Q] for MLA; [L]"),
    ("ldr_two_banks", 1.0, "[J]"),
    ("ldr_one_bank", 2.0, "[J][Q]"),
    ("ldr_post_index", 2.0, "[J] back to back every cycle"),
    ("ldr_chase", 3.0, "[Q]"),
    ("ldr_add", 1.0, "[J][Q]"),
    ("ldr_unaligned", 4.0, "[J] three more"),
    ("uxtb_uxtb", 2.0, "[J][L]"),
    ("uxtb_smlabb", 1.0, "[J]"),
    ("shifted_shifted", 2.0, "[J] operand matrix"),
    ("rotated_rotated", 2.0, "[J] operand matrix"),
    ("pattern_pattern", 1.0, "[J] operand matrix"),
    ("shift_shift", 1.0, "[J] operand matrix"),
    ("ldrd", 1.0, "[J]"),
    ("ldm_4", 2.0, "[J] two registers a cycle"),
    ("ldm_8", 4.0, "[J]"),
    ("str_str", 2.0, "[J]"),
    ("ldr_str", 1.0, "[J]"),
    ("ldr_str_same", 1.0, "[J] any result can be stored in the same cycle"),
    ("mul_str", 2.0, "[J]"),
    ("strb_one_bank", 4.0, "[J] read-modify-write"),
    ("strb_two_banks", 4.0, "[J] two cycles a store"),
    ("strb_unit_stride", 2.5, "[J] 2.4, which no simple buffer gives beside the others"),
    ("strh_unit_stride", 2.0, "[J]"),
    ("stm_aligned", 2.0, "[J] two registers a cycle"),
    ("stm_misaligned", 3.0, "[J] one more for an even number of registers off 8 bytes"),
    ("str_unaligned", 4.0, "[J]"),
    ("ldrsb_smlal", 1.0, "[J]"),
    ("sxtb16_pair", 2.0, "[J]"),
    ("uxtab_chain_added", 1.0, "[J]"),
    ("uxtab_chain_extracted", 2.0, "[J] the extracted operand is taken up a cycle earlier"),
    ("pkhbt_chain_shifted", 2.0, "[J] likewise"),
    ("shifted_chain", 2.0, "[J] likewise"),
    ("shift_chain", 1.0, "[J] early ALU"),
    ("eor_ubfx_chain", 3.0, "[J] early ALU after late"),
    ("uxtb_index_chain", 4.0, "[J] a bit field is an address a cycle later"),
    ("smlabb_shifted", 1.0, "[J]"),
    ("mla_chain_of_factors", 2.0, "[J] one more cycle of latency"),
    ("smlal_str", 2.0, "[J]"),
    ("ldrb_mla_addend", 1.0, "[J] accumulators take up a byte in the next cycle"),
    ("branch_not_taken", 2.0, "[J] pairs with what follows"),
    ("vfma_vldr", 6.0, "[J] no pair of multiply-accumulate and load"),
    ("sdiv", 7.0, "[L]"),
    ("mispredict_late_flags", 8.0, "[J]"),
    ("mispredict_early_flags", 6.0, "[J]"),
    ("vadd_independent", 2.0, "[J] no pair of arithmetic"),
    ("vadd_chain", 3.0, "[J]"),
    ("vmul_chain", 3.0, "[J]"),
    ("vfma_three_chains", 3.0, "[J] three accumulations to fill the pipeline"),
    ("vfma_chain", 3.0, "[J]"),
    ("vadd_vldr", 1.0, "[J]"),
    ("vdiv", 16.0, "[J]"),
    ("vsqrt", 14.0, "[J]"),
];

/// Cycles per copy of a snippet.
fn cycles(machine: &mut Machine, names: &[&str]) -> Vec<f64> {
    let symbol = |machine: &Machine, name: &str| {
        machine
            .symbol(name)
            .unwrap_or_else(|| panic!("the firmware has no symbol {name}"))
    };
    let points: Vec<[u32; 4]> = names
        .iter()
        .map(|name| {
            ["_64", "_64_end", "_192", "_192_end"]
                .map(|suffix| symbol(machine, &format!("{name}{suffix}")))
        })
        .collect();
    points
        .iter()
        .flatten()
        .for_each(|&address| machine.add_tracepoint(address));
    assert_eq!(machine.run(Instructions(10_000_000)), Ok(Stop::Exited(0)));
    let trace = machine.take_trace();
    let at = |address: u32| {
        let hits: Vec<u64> = trace
            .iter()
            .filter(|t| t.pc == address)
            .map(|t| t.cycles.0)
            .collect();
        assert_eq!(
            hits.len(),
            1,
            "{} is reached once",
            machine.symbolise(address)
        );
        hits[0]
    };
    points
        .iter()
        .map(|[a, b, c, d]| ((at(*d) - at(*c)) as f64 - (at(*b) - at(*a)) as f64) / 128.0)
        .collect()
}

/// The firmware in a machine whose predictor is large enough that no two branches share an entry,
/// so that every snippet meets it untrained.
fn machine(timing: TimingConfig) -> Machine {
    let timing = TimingConfig {
        predictor_entries: 1 << 20,
        ..timing
    };
    let elf = std::fs::read(qemu::firmware("timing")).expect("the built firmware");
    let mut machine = Machine::new(MemoryMap::mps2_an500(), timing);
    machine.load_elf(&elf).expect("the test firmware loads");
    machine
}

#[test]
fn published_cycles_are_reproduced() {
    let names: Vec<&str> = PUBLISHED.iter().map(|row| row.0).collect();
    let actual = cycles(&mut machine(TimingConfig::expected()), &names);
    let mut wrong = String::new();
    for ((name, expected, source), actual) in PUBLISHED.iter().zip(actual) {
        if (actual - expected).abs() > 0.02 {
            wrong += &format!("{name}: {actual:.2} cycles, published {expected:.2} {source}\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn pessimistic_is_nowhere_faster() {
    let names: Vec<&str> = PUBLISHED.iter().map(|row| row.0).collect();
    let expected = cycles(&mut machine(TimingConfig::expected()), &names);
    let pessimistic = cycles(&mut machine(TimingConfig::pessimistic()), &names);
    for (k, name) in names.iter().enumerate() {
        assert!(pessimistic[k] >= expected[k] - 0.02, "{name}");
    }
    let smlal = names
        .iter()
        .position(|&n| n == "smlal_ldr")
        .expect("in the table");
    assert!(expected[smlal] < 1.02 && pessimistic[smlal] > 1.98);
    for (name, cycles) in [("ldrd", 2.0), ("ldm_4", 3.0), ("stm_aligned", 3.0)] {
        let at = names.iter().position(|&n| n == name).expect("in the table");
        assert!(
            (pessimistic[at] - cycles).abs() < 0.02,
            "{name}: {}",
            pessimistic[at]
        );
    }
}
