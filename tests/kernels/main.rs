//! The device's kernels equal their reference twins: the self-test firmware compares them on the
//! device itself, here in QEMU's Cortex-M7, over shapes, strides, pads, dilations, tails, levels and
//! extreme values, with every buffer once flush against unmapped memory on either side.

mod firmware;
mod mutation;

use std::collections::BTreeSet;
use std::process::Command;

use firmware::Board;
use nest_kernels::KERNELS;

/// What the self-test printed.
struct Transcript {
    cases: Vec<Case>,
    done: Option<String>,
}

/// One `CASE` line.
struct Case {
    name: String,
    fails: u32,
}

impl Transcript {
    fn parse(text: &str) -> Self {
        let mut cases = Vec::new();
        let mut done = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("CASE ") {
                let mut words = rest.split(' ');
                let name = words.next().expect("a name").to_owned();
                let fails = words.next().and_then(|word| word.strip_prefix("fails="));
                let fails = fails.and_then(|n| n.parse().ok()).expect("a count");
                cases.push(Case { name, fails });
            } else if let Some(rest) = line.strip_prefix("DONE ") {
                done = Some(rest.to_owned());
            } else {
                panic!("the self-test says: {line}");
            }
        }
        Self { cases, done }
    }
}

#[test]
fn every_kernel_equals_its_reference_in_qemu() {
    let elf = firmware::selftest(Board::Mps2An500);
    let output = Command::new("qemu-system-arm")
        .args(["-M", "mps2-an500", "-cpu", "cortex-m7", "-nographic"])
        .args(["-semihosting-config", "enable=on,target=native", "-kernel"])
        .arg(&elf)
        .output()
        .expect("qemu-system-arm runs (Debian package qemu-system-arm)");
    let transcript = Transcript::parse(&String::from_utf8_lossy(&output.stderr));
    let failed: Vec<&str> = transcript
        .cases
        .iter()
        .filter(|case| case.fails > 0)
        .map(|case| case.name.as_str())
        .collect();
    assert_eq!(
        failed,
        Vec::<&str>::new(),
        "kernels differ from the reference"
    );
    let done = format!("cases={} fails=0", transcript.cases.len());
    assert_eq!(transcript.done.as_deref(), Some(done.as_str()));
    assert!(output.status.success(), "{}", output.status);

    // Each name is `kernel/case`; no kernel of the table goes untested, none is tested that the
    // table does not know.
    let tested: BTreeSet<&str> = transcript
        .cases
        .iter()
        .filter_map(|case| case.name.split('/').next())
        .collect();
    let listed: BTreeSet<&str> = KERNELS
        .iter()
        .filter(|kernel| kernel.arch == "armv7em")
        .map(|kernel| kernel.name)
        .collect();
    assert_eq!(tested, listed);
}

#[test]
fn kernel_names_follow_the_grammar() {
    let mut names = BTreeSet::new();
    for kernel in KERNELS {
        assert!(names.insert(kernel.name), "{} twice", kernel.name);
        let start = format!("{}_s8_{}", kernel.op, kernel.format);
        let rest = kernel.name.strip_prefix(start.as_str());
        let rest = rest.unwrap_or_else(|| panic!("{} does not start {start}", kernel.name));
        let (block, end) = rest.split_once("__").expect("an architecture");
        assert!(
            block.is_empty() || block.starts_with('_') && block.contains('x'),
            "{}: {block}",
            kernel.name
        );
        let arch = end.strip_prefix(kernel.arch).expect("its architecture");
        let pixels = format!("_p{}", kernel.pixels);
        assert!(arch.is_empty() || arch == pixels, "{}", kernel.name);
    }
}
