//! Which lines a cache holds. Contents stay in memory: the caches are a matter of time only.

use super::CacheGeometry;

const LINE_SHIFT: u32 = 5;
const EMPTY: u32 = u32::MAX;

/// Bytes in a line.
pub(super) const LINE: u32 = 1 << LINE_SHIFT;

/// What an access found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lookup {
    pub hit: bool,
    /// A line that was written to had to leave.
    pub evicted_dirty: bool,
}

/// A set-associative cache, least recently used line leaving first. (The M7's data cache is
/// documented as pseudo-random; with four ways the difference is small against the fill costs.)
pub(super) struct Cache {
    /// Per set, most recently used first: line number times two, plus one if dirty.
    lines: Vec<u32>,
    ways: usize,
    set_mask: u32,
}

impl Cache {
    pub fn new(geometry: CacheGeometry) -> Self {
        let sets = geometry.bytes / LINE / geometry.ways;
        Self {
            lines: vec![EMPTY; (sets * geometry.ways) as usize],
            ways: geometry.ways as usize,
            set_mask: sets - 1,
        }
    }

    fn set(&mut self, line: u32) -> &mut [u32] {
        let first = (line & self.set_mask) as usize * self.ways;
        &mut self.lines[first..first + self.ways]
    }

    /// Accesses the line at `address`, filling it if it is missing.
    #[inline]
    pub fn access(&mut self, address: u32, store: bool) -> Lookup {
        let line = address >> LINE_SHIFT;
        let ways = self.set(line);
        let dirty = u32::from(store);
        if ways[0] >> 1 == line {
            ways[0] |= dirty;
            return Lookup {
                hit: true,
                evicted_dirty: false,
            };
        }
        let (entry, lookup) = match ways.iter().position(|&w| w >> 1 == line) {
            Some(way) => {
                let entry = ways[way];
                ways.copy_within(0..way, 1);
                (
                    entry,
                    Lookup {
                        hit: true,
                        evicted_dirty: false,
                    },
                )
            }
            None => {
                let last = ways.len() - 1;
                let leaving = ways[last];
                ways.copy_within(0..last, 1);
                let evicted_dirty = leaving != EMPTY && leaving & 1 == 1;
                (
                    line << 1,
                    Lookup {
                        hit: false,
                        evicted_dirty,
                    },
                )
            }
        };
        ways[0] = entry | dirty;
        lookup
    }

    /// Empties the cache.
    pub fn clear(&mut self) {
        self.lines.fill(EMPTY);
    }

    /// Cleans the line at `address`, and drops it if `invalidate`.
    pub fn maintain_line(&mut self, address: u32, invalidate: bool) {
        let line = address >> LINE_SHIFT;
        if let Some(entry) = self.set(line).iter_mut().find(|w| **w >> 1 == line) {
            *entry = if invalidate { EMPTY } else { *entry & !1 };
        }
    }

    /// Cleans the line in a set and way as DCCSW encodes them, and drops it if `invalidate`.
    pub fn maintain_set_way(&mut self, operand: u32, invalidate: bool) {
        let way_bits = self.ways.trailing_zeros();
        let way = if way_bits == 0 {
            0
        } else {
            operand >> (32 - way_bits)
        };
        let set = operand >> LINE_SHIFT;
        if let Some(entry) = self.set(set).get_mut(way as usize)
            && *entry != EMPTY
        {
            *entry = if invalidate { EMPTY } else { *entry & !1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> Cache {
        Cache::new(CacheGeometry {
            bytes: 16 * 1024,
            ways: 4,
        })
    }

    #[test]
    fn the_least_recently_used_of_four_ways_leaves() {
        let mut cache = cache();
        // 16 KB in 4 ways: addresses 4 KB apart share a set.
        for way in 0..4 {
            assert!(!cache.access(way * 4096, false).hit);
        }
        assert!(cache.access(0, false).hit, "four lines fit");
        assert!(!cache.access(4 * 4096, false).hit);
        assert!(cache.access(0, false).hit, "line 0 was used last but one");
        assert!(!cache.access(4096, false).hit, "line 1 left");
    }

    #[test]
    fn dirty_lines_cost_on_leaving_unless_cleaned() {
        let mut cache = cache();
        cache.access(0, true);
        for way in 1..4 {
            cache.access(way * 4096, false);
        }
        assert!(cache.access(4 * 4096, false).evicted_dirty);
        cache.access(32, true);
        cache.maintain_line(32 + 31, false);
        for way in 1..4 {
            cache.access(way * 4096 + 32, false);
        }
        assert_eq!(
            cache.access(4 * 4096 + 32, false),
            Lookup {
                hit: false,
                evicted_dirty: false
            }
        );
    }

    #[test]
    fn set_and_way_operations_reach_every_line() {
        let mut cache = cache();
        for address in (0..16 * 1024).step_by(32) {
            cache.access(address, true);
        }
        for set in 0..128 {
            for way in 0..4 {
                cache.maintain_set_way(way << 30 | set << 5, true);
            }
        }
        assert!(
            (0..16 * 1024)
                .step_by(32)
                .all(|a| !cache.access(a, false).hit)
        );
    }
}
