//! When instructions happen: a model of the Cortex-M7's in-order, dual-issue pipeline, its caches
//! and its store buffer.
//!
//! Arm publishes no cycle tables for this core. Every constant is therefore a named field of
//! [`TimingConfig`] with its source:
//!
//! - **\[J\]** jnk0le, "pipeline cycle test", `cortex_m7.md`: measured on an STM32H743 rev Y
//!   (<https://github.com/jnk0le/random>)
//! - **\[Q\]** Mark Owen, "Cortex-M7 instruction cycle counts": measured on an STM32H730
//!   (<https://www.quinapalus.com/cm7cycles.html>)
//! - **\[L\]** LLVM's scheduling model `ARMScheduleM7.td`, contributed from Arm
//! - **\[S\]** SLOTHY's model `slothy/targets/arm_v7m/cortex_m7.py`, used for published kernels
//! - **\[T\]** Cortex-M7 Technical Reference Manual (Arm DDI 0489)
//! - **\[A\]** an assumption that nobody has measured; [`TimingConfig::pessimistic`] moves all of
//!   these to their unfavourable end, so that two runs bracket what is not known

mod cache;
mod class;
mod pipeline;
mod store_buffer;

pub(super) use class::Class;
pub(super) use pipeline::{Pipeline, Retired};

use serde::{Deserialize, Serialize};

/// Which loads an issue slot beside a 64-bit multiply-accumulate may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LongMultiplyPairing {
    /// Any load.
    AnyLoad,
    /// Loads with an immediate offset: three register ports less than a register offset.
    ImmediateOffset,
    /// None.
    Never,
}

/// Size and shape of a cache with 32-byte lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheGeometry {
    /// Capacity in bytes.
    pub bytes: u32,
    /// Lines that one address can be in.
    pub ways: u32,
}

/// The constants of the timing model, in processor cycles unless said otherwise. Latencies count
/// from the issue of the producer to the issue of the consumer; 0 means the same cycle, in the
/// younger slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimingConfig {
    /// `expected`, `pessimistic`, `functional`, or what a caller says.
    pub name: String,
    /// False for a functional run, whose cycle counter counts instructions.
    pub timed: bool,

    /// Word load to the address of another access. \[Q\] 3; \[L\] 2.
    pub load_word_to_address: u8,
    /// Word load to an ALU operand. \[J\]\[Q\]
    pub load_word_to_alu: u8,
    /// Word load to a factor of a multiplication. \[J\] 2; \[L\] 1.
    pub load_word_to_factor: u8,
    /// Byte or halfword load to an address. \[J\]
    pub load_narrow_to_address: u8,
    /// Byte or halfword load to an ALU operand. \[J\]
    pub load_narrow_to_alu: u8,
    /// Byte or halfword load to a factor. \[J\]\[L\]
    pub load_narrow_to_factor: u8,
    /// Multiplication to an ALU operand or a factor. \[J\]\[Q\]
    pub multiply_to_alu: u8,
    /// Multiplication to an accumulator: chains run every cycle. \[J\]\[Q\]
    pub multiply_to_accumulator: u8,
    /// SSAT, USAT, QADD and relatives to an ALU operand. \[L\]
    pub saturate_to_alu: u8,
    /// Cycles that a division holds the pipeline beyond its first. \[L\]
    pub divide_extra: u8,
    /// Cycles that VDIV takes. \[J\]
    pub float_divide: u8,
    /// Cycles that VSQRT takes. \[J\]
    pub float_square_root: u8,
    /// VADD, VMUL and conversions to a floating-point operand. \[J\]
    pub float_to_operand: u8,
    /// VFMA to a factor. \[J\] 5; VMLA takes one more.
    pub float_fused_to_factor: u8,
    /// Any floating-point result to the addend of VFMA or VMLA. \[J\]
    pub float_to_addend: u8,
    /// VLDR to a floating-point operand other than an addend. \[J\]
    pub float_load: u8,
    /// Cycles after a VMLA or VFMA in which VADD, VLDM, VSTM, double-word transfers and
    /// VMOV of an immediate wait. \[J\]
    pub float_after_multiply_accumulate: u8,
    /// Cycles that DSB, DMB and ISB hold the pipeline beyond their first. \[A\]
    pub barrier_extra: u8,

    /// Bit-field and DSP instructions issue from the older slot only. \[J\]\[L\]
    pub dsp_older_slot_only: bool,
    /// SMLAL and relatives beside loads. \[Q\] pairs MLA with LDR, and \[L\]\[S\] schedule
    /// SMLAL so; \[J\] forbids stores only. Nobody has published the pair measured: \[A\].
    pub long_multiply_pairing: LongMultiplyPairing,
    /// Two loads pair only if they read different banks, even and odd words. \[J\]\[Q\]
    pub load_banks: bool,
    /// The instruction a taken branch leads to may pair with it. \[J\] sees it happen, depending
    /// on alignment; off is the safe side.
    pub pair_across_taken_branch: bool,

    /// Mispredicted branch. \[J\]
    pub mispredict: u8,
    /// Mispredicted branch whose flags were set three cycles earlier. \[J\]
    pub mispredict_early_flags: u8,
    /// Extra cycles of a predicted indirect branch, returns included. \[A\]
    pub indirect_branch: u8,
    /// Entries of two-bit counters, indexed by address; a power of two. \[A\]
    pub predictor_entries: usize,
    /// Groups of eight bytes fetched ahead of issue. \[A\]
    pub fetch_ahead: u8,

    /// Unaligned load, beyond an aligned one. \[J\]
    pub unaligned_load: u8,
    /// Cycles a bank is busy with the read-modify-write of a byte or halfword store, or an
    /// unaligned one. \[J\]
    pub narrow_store: u8,
    /// Stores that wait before the pipeline does. \[J\]
    pub store_buffer_entries: usize,
    /// Of these, the oldest that may drain side by side, into different banks. Fitted to what
    /// \[J\] measured for runs of bytes.
    pub store_buffer_window: usize,
    /// Cycles from the start of one byte or halfword store to that of the next. Fitted likewise.
    pub narrow_store_start: u8,
    /// Every transfer of two registers and more. \[J\] sees a cycle more for LDM, LDRD and relatives
    /// unless two narrow instructions stand close before or behind, and not how close: none in the
    /// expected setting, all in the pessimistic one.
    pub multiple_transfer: u8,
    /// An even number of registers stored to an address that is no multiple of 8. \[J\]
    pub store_multiple_unaligned: u8,

    /// Instruction cache. \[T\]: two ways.
    pub instruction_cache: CacheGeometry,
    /// Data cache. \[T\]: four ways.
    pub data_cache: CacheGeometry,
    /// Line fill from flash, four wait states on the 64-bit AXI at half the core clock. \[A\]
    pub flash_line_fill: u8,
    /// Line fill from SRAM behind the AXI bus. \[A\]
    pub sram_line_fill: u8,
    /// Writing a dirty line back first. \[A\]
    pub dirty_eviction: u8,
    /// A store that misses: the line is allocated behind the store buffer. \[A\]
    pub store_miss: u8,
    /// An access to flash while the cache is off. \[A\]
    pub flash_uncached: u8,
    /// An access to SRAM while the cache is off. \[A\]
    pub sram_uncached: u8,
    /// A peripheral register on AHB or APB. \[A\]
    pub device_access: u8,
    /// A register of the core's private peripheral bus. \[A\]
    pub system_access: u8,
}

impl TimingConfig {
    /// Published figures, and the middle of what is assumed.
    pub fn expected() -> Self {
        Self {
            name: "expected".into(),
            timed: true,
            load_word_to_address: 3,
            load_word_to_alu: 1,
            load_word_to_factor: 2,
            load_narrow_to_address: 3,
            load_narrow_to_alu: 2,
            load_narrow_to_factor: 2,
            multiply_to_alu: 2,
            multiply_to_accumulator: 1,
            saturate_to_alu: 2,
            divide_extra: 6,
            float_divide: 16,
            float_square_root: 14,
            float_to_operand: 3,
            float_fused_to_factor: 5,
            float_to_addend: 3,
            float_load: 1,
            float_after_multiply_accumulate: 3,
            barrier_extra: 4,
            dsp_older_slot_only: true,
            long_multiply_pairing: LongMultiplyPairing::AnyLoad,
            load_banks: true,
            pair_across_taken_branch: false,
            mispredict: 8,
            mispredict_early_flags: 6,
            indirect_branch: 2,
            predictor_entries: 4096,
            fetch_ahead: 4,
            unaligned_load: 3,
            narrow_store: 4,
            store_buffer_entries: 5,
            store_buffer_window: 3,
            narrow_store_start: 2,
            multiple_transfer: 0,
            store_multiple_unaligned: 1,
            instruction_cache: CacheGeometry {
                bytes: 16 * 1024,
                ways: 2,
            },
            data_cache: CacheGeometry {
                bytes: 16 * 1024,
                ways: 4,
            },
            flash_line_fill: 38,
            sram_line_fill: 26,
            dirty_eviction: 8,
            store_miss: 2,
            flash_uncached: 26,
            sram_uncached: 16,
            device_access: 10,
            system_access: 3,
        }
    }

    /// Everything marked \[A\] at its unfavourable end, and what was measured without its conditions
    /// being known; the rest of what was measured stays.
    pub fn pessimistic() -> Self {
        Self {
            name: "pessimistic".into(),
            barrier_extra: 8,
            long_multiply_pairing: LongMultiplyPairing::Never,
            load_narrow_to_factor: 3,
            load_word_to_factor: 3,
            indirect_branch: 8,
            multiple_transfer: 1,
            predictor_entries: 256,
            fetch_ahead: 2,
            flash_line_fill: 50,
            sram_line_fill: 36,
            dirty_eviction: 16,
            store_miss: 6,
            flash_uncached: 38,
            sram_uncached: 26,
            device_access: 20,
            system_access: 6,
            ..Self::expected()
        }
    }

    /// What keeps the model from running with these constants: the field, and what it may be.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let mut within = |field, value: usize, least: usize, most: usize| {
            if !(least..=most).contains(&value) {
                faults.push((field, format!("{value} is not within {least} to {most}")));
            }
        };
        within("mispredict", self.mispredict.into(), 1, 255);
        within(
            "mispredict_early_flags",
            self.mispredict_early_flags.into(),
            1,
            255,
        );
        within("narrow_store", self.narrow_store.into(), 1, 255);
        within("store_buffer_entries", self.store_buffer_entries, 1, 64);
        within("store_buffer_window", self.store_buffer_window, 1, 64);
        within("predictor_entries", self.predictor_entries, 1, 1 << 20);
        if !self.predictor_entries.is_power_of_two() {
            faults.push((
                "predictor_entries",
                format!("{} is no power of two", self.predictor_entries),
            ));
        }
        for (field, cache) in [
            ("instruction_cache", self.instruction_cache),
            ("data_cache", self.data_cache),
        ] {
            let fits = (1 << 10..=1 << 20).contains(&cache.bytes)
                && cache.bytes.is_power_of_two()
                && cache.ways.is_power_of_two()
                && cache.ways <= 16;
            if !fits {
                faults.push((
                    field,
                    format!(
                        "{} bytes in {} ways: both must be powers of two, 1 KiB to 1 MiB and at most 16 ways",
                        cache.bytes, cache.ways
                    ),
                ));
            }
        }
        faults
    }

    /// No timing: the fastest run, for results alone.
    pub fn functional() -> Self {
        Self {
            name: "functional".into(),
            timed: false,
            ..Self::expected()
        }
    }
}

/// What the timing model saw, beside the cycles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Instructions that issued in the younger slot of a pair.
    pub dual_issued: u64,
    /// Pairs of loads split because both read the same bank.
    pub bank_conflicts: u64,
    /// Mispredicted branches.
    pub mispredicts: u64,
    /// Lines filled into the instruction cache.
    pub instruction_cache_misses: u64,
    /// Lines filled into the data cache, or uncached accesses.
    pub data_cache_misses: u64,
    /// Dirty lines written back to make room.
    pub dirty_evictions: u64,
    /// Cycles lost to a full store buffer.
    pub store_buffer_stalls: u64,
    /// Cycles lost to results not being ready.
    pub dependency_stalls: u64,
}
