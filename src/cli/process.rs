//! The threads of this process.

/// Lets parallel loops use `count` threads; all cores if `None`.
pub fn use_threads(count: Option<u32>) {
    let count = count.map_or(0, |n| n as usize);
    // A second call keeps the first pool; the command line makes one.
    let _ = rayon::ThreadPoolBuilder::new()
        .num_threads(count)
        .build_global();
}
