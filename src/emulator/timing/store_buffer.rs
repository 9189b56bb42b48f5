//! Stores leave the pipeline at once and wait here; it stalls when the buffer is full.

/// Occupancy of the store buffer. Word stores drain one a cycle and never fill it; a byte,
/// halfword or unaligned store is a read-modify-write of its bank and does (see
/// [`super::TimingConfig::narrow_store`]).
pub(super) struct StoreBuffer {
    /// Cycle in which each waiting store will be done, oldest at `head`.
    done: Vec<u64>,
    head: usize,
    /// Cycle from which the even and the odd bank are free.
    free: [u64; 2],
}

impl StoreBuffer {
    pub fn new(entries: usize) -> Self {
        Self {
            done: vec![0; entries.max(1)],
            head: 0,
            free: [0; 2],
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
        let stall = self.done[self.head].saturating_sub(cycle);
        let start = cycle + stall;
        let bank = (address >> 2 & 1) as usize;
        let begins = if both {
            self.free[0].max(self.free[1])
        } else {
            self.free[bank]
        }
        .max(start);
        let done = begins + cost;
        self.free[bank] = done;
        if both {
            self.free = [done; 2];
        }
        self.done[self.head] = done;
        self.head = (self.head + 1) % self.done.len();
        stall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cycles per store in the long run, one store a cycle offered.
    fn throughput(address: impl Fn(u32) -> u32, unaligned: bool) -> f64 {
        let mut buffer = StoreBuffer::new(5);
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
        let unit_stride = throughput(|k| k, false);
        assert!(
            (unit_stride - 2.4).abs() < 0.45,
            "unit stride bytes: {unit_stride}"
        );
    }

    #[test]
    fn five_stores_fit() {
        let mut buffer = StoreBuffer::new(5);
        let stalls: Vec<u64> = (0..6).map(|k| buffer.push(k, 0, false, 4)).collect();
        assert_eq!(stalls[..5], [0; 5]);
    }
}
