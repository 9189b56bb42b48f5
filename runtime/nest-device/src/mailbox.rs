//! The mailbox: words in RAM that the image and a debug probe share.
//!
//! The protocol needs nothing but memory access and breakpoints:
//!
//! 1. The image sets itself up, fills in the header and executes `bkpt #1` ([`READY`]).
//! 2. The host writes the input, [`Field::Level`] and [`Field::Command`], and resumes.
//! 3. The image carries out the command, fills in the results and executes `bkpt #1` again.
//!
//! Where the model's outputs are boxes, the image decodes them after every inference. The host reads
//! those of the last command at [`Field::BoxAddress`]: six words each, score, class, left, top, right and
//! bottom, of which all but the class are single-precision floats.
//!
//! `bkpt #2` ([`STOPPED`]) means that the image cannot go on; [`Field::Status`] says why.

use core::sync::atomic::{AtomicU32, Ordering};

/// The first word of a mailbox: `NEST` in ASCII, little-endian.
pub const MAGIC: u32 = u32::from_le_bytes(*b"NEST");
/// Version of this layout and protocol.
pub const VERSION: u32 = 2;
/// Breakpoint: ready for a command; results of the last one are in place.
pub const READY: u8 = 1;
/// Breakpoint: the image cannot go on.
pub const STOPPED: u8 = 2;
/// Inferences of one [`Command::Time`]; the first runs with cold caches.
pub const TIMED_RUNS: usize = 3;
/// Bytes of a box.
pub const BOX_BYTES: usize = 24;
/// What `nest_layer_mark` is called with when an inference starts.
pub const MARK_START: u32 = u32::MAX;

/// A word of the header, by its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Field {
    /// [`MAGIC`].
    Magic,
    /// [`VERSION`].
    Version,
    /// `nest_format::FORMAT_VERSION` of the image.
    FormatVersion,
    /// A [`Status`].
    Status,
    /// A [`Command`], written by the host.
    Command,
    /// The level to run, written by the host.
    Level,
    /// Levels of the model.
    LevelCount,
    /// Layers of the model.
    LayerCount,
    /// Where the host writes the input.
    InputAddress,
    /// Bytes of the input.
    InputBytes,
    /// Where the host reads the outputs, one after the other.
    OutputAddress,
    /// Bytes of all outputs.
    OutputBytes,
    /// The core's clock as set.
    ClockHz,
    /// Bit 0: instruction cache on; bit 1: data cache on.
    Caches,
    /// Deepest stack so far.
    StackBytes,
    /// Stack there is.
    StackLimit,
    /// Where the host reads boxes.
    BoxAddress,
    /// The most boxes there can be; 0 if the outputs are none.
    BoxLimit,
    /// Boxes of the last inference.
    Boxes,
    /// Cycles of each whole inference of the last [`Command::Time`]: [`TIMED_RUNS`] words.
    TotalCycles,
    /// Cycles that decoding the boxes of each of these inferences took: [`TIMED_RUNS`] words.
    BoxCycles = Field::TotalCycles as u32 + TIMED_RUNS as u32,
}

/// Words of the header.
pub const HEADER_WORDS: usize = Field::BoxCycles as usize + TIMED_RUNS;

/// What the host asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Command {
    /// One inference; a checksum of every layer's output.
    Verify = 1,
    /// [`TIMED_RUNS`] inferences of the same input; cycles of every layer.
    Time = 2,
}

/// How the last command went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// Set up, no command yet.
    Ready = 1,
    /// Done.
    Done = 2,
    /// The command or level was none.
    BadCommand = 3,
    /// A clock did not become ready.
    ClockFailed = 4,
    /// The image panicked.
    Panicked = 5,
    /// A hard fault.
    Fault = 6,
}

impl Status {
    /// The status a word stands for.
    pub const fn of(word: u32) -> Option<Self> {
        Some(match word {
            1 => Self::Ready,
            2 => Self::Done,
            3 => Self::BadCommand,
            4 => Self::ClockFailed,
            5 => Self::Panicked,
            6 => Self::Fault,
            _ => return None,
        })
    }
}

impl Field {
    /// Bytes from the mailbox's first address.
    pub const fn offset(self) -> u32 {
        self as u32 * 4
    }
}

/// Bytes from the mailbox's first address to the layer cycles of timed run `run`.
pub const fn cycles_offset(layers: usize, run: usize) -> u32 {
    ((HEADER_WORDS + run * layers) * 4) as u32
}

/// Bytes from the mailbox's first address to the layer checksums.
pub const fn checksums_offset(layers: usize) -> u32 {
    cycles_offset(layers, TIMED_RUNS)
}

/// A mailbox for a model of `LAYERS` layers. All words are atomic, because a probe reads and
/// writes them from outside the program.
#[derive(Debug)]
#[repr(C)]
pub struct Mailbox<const LAYERS: usize> {
    header: [AtomicU32; HEADER_WORDS],
    cycles: [[AtomicU32; LAYERS]; TIMED_RUNS],
    checksums: [AtomicU32; LAYERS],
}

impl<const LAYERS: usize> Mailbox<LAYERS> {
    /// An empty mailbox.
    pub const fn new() -> Self {
        Self {
            header: [const { AtomicU32::new(0) }; HEADER_WORDS],
            cycles: [const { [const { AtomicU32::new(0) }; LAYERS] }; TIMED_RUNS],
            checksums: [const { AtomicU32::new(0) }; LAYERS],
        }
    }

    /// Reads a word of the header.
    pub fn get(&self, field: Field) -> u32 {
        self.header[field as usize].load(Ordering::Relaxed)
    }
    /// Writes a word of the header.
    pub fn set(&self, field: Field, value: u32) {
        self.header[field as usize].store(value, Ordering::Relaxed);
    }
    /// Writes how the last command went.
    pub fn set_status(&self, status: Status) {
        self.set(Field::Status, status as u32);
    }
    /// Notes the cycles of a layer in a timed run. What is out of range is dropped.
    pub fn set_cycles(&self, run: usize, layer: usize, cycles: u32) {
        if let Some(word) = self.cycles.get(run).and_then(|run| run.get(layer)) {
            word.store(cycles, Ordering::Relaxed);
        }
    }
    /// Notes the cycles of a whole timed run. What is out of range is dropped.
    pub fn set_total_cycles(&self, run: usize, cycles: u32) {
        let totals = Field::TotalCycles as usize..Field::BoxCycles as usize;
        if let Some(word) = self.header[totals].get(run) {
            word.store(cycles, Ordering::Relaxed);
        }
    }
    /// Notes the cycles that decoding the boxes of a timed run took. What is out of range is dropped.
    pub fn set_box_cycles(&self, run: usize, cycles: u32) {
        if let Some(word) = self.header[Field::BoxCycles as usize..].get(run) {
            word.store(cycles, Ordering::Relaxed);
        }
    }
    /// Notes the checksum of a layer's output. What is out of range is dropped.
    pub fn set_checksum(&self, layer: usize, checksum: u32) {
        if let Some(word) = self.checksums.get(layer) {
            word.store(checksum, Ordering::Relaxed);
        }
    }
}

impl<const LAYERS: usize> Default for Mailbox<LAYERS> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_those_of_the_struct() {
        let mailbox = Mailbox::<5>::new();
        let base = (&raw const mailbox).addr();
        let offset = |word: &AtomicU32| ((&raw const *word).addr() - base) as u32;
        assert_eq!(
            offset(&mailbox.header[Field::Level as usize]),
            Field::Level.offset()
        );
        mailbox.set_total_cycles(TIMED_RUNS, 7);
        mailbox.set_box_cycles(2, 9);
        assert_eq!(mailbox.get(Field::BoxCycles), 0);
        assert_eq!(mailbox.header[HEADER_WORDS - 1].load(Ordering::Relaxed), 9);
        assert_eq!(offset(&mailbox.cycles[2][0]), cycles_offset(5, 2));
        assert_eq!(offset(&mailbox.checksums[0]), checksums_offset(5));
        assert_eq!(
            size_of::<Mailbox<5>>(),
            checksums_offset(5) as usize + 5 * 4
        );
    }

    #[test]
    fn a_status_is_read_back() {
        for status in [Status::Ready, Status::Done, Status::Fault] {
            assert_eq!(Status::of(status as u32), Some(status));
        }
        assert_eq!(Status::of(0), None);
        assert_eq!(Status::of(7), None);
    }
}
