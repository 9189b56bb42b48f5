//! What concerns this process: its threads and its memory.

/// Lets parallel loops use `count` threads; all cores if `None`.
pub fn use_threads(count: Option<u32>) {
    let count = count.map_or(0, |n| n as usize);
    // A second call keeps the first pool; the command line makes one.
    let _ = rayon::ThreadPoolBuilder::new()
        .num_threads(count)
        .build_global();
}

/// The most memory this process has held, where the system tells (Linux).
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
