//! The bench on a debug probe: the whole way on a fake with the emulator as the chip, and what is said
//! of everything that can go wrong. The tests on boards themselves are in `hardware`.

mod fake;
mod faults;
mod hardware;

use std::sync::LazyLock;
use std::time::Duration;

use nestc::bench::probe::{Cause, Event, FlashPhase, ProbeError, ProbeOptions, ProbeRunner};
use nestc::bench::{self, BenchOptions, Compiled, Recorder, ReplayRunner, Transcript};
use nestc::diag::{CHIP_SILENT, Diagnostics, REPLAY_DIVERGED, TRANSCRIPT};
use nestc::emit::Budgets;
use nestc::image;
use nestc::report::{BenchReport, MeasuredBy};

use crate::sample;
use crate::support::{board, build_options};
use fake::{Call, Fake, Fault, State};

/// One image for all tests.
static COMPILED: LazyLock<Compiled> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("fw");
    let program = sample::program("probed", 2, 5);
    image::compile(
        &program,
        &board(),
        Budgets::default(),
        &out,
        &build_options(),
    )
    .unwrap_or_else(|e| panic!("{e}"));
    Compiled::open(&out).unwrap_or_else(|e| panic!("{e}"))
});

fn options() -> ProbeOptions {
    ProbeOptions {
        chip: None,
        probe: None,
        speed_khz: None,
        timeout: Duration::from_secs(2),
    }
}

fn measure(
    compiled: &Compiled,
    fake: &Fake,
    options: &ProbeOptions,
) -> Result<BenchReport, Diagnostics> {
    let mut runner = ProbeRunner::start(fake, compiled, options, &mut |_| {})?;
    let report = bench::bench(
        compiled,
        &mut runner,
        &BenchOptions::default(),
        &mut |_, _| {},
    )?;
    bench::verdict(&report)?;
    Ok(report)
}

#[test]
fn a_board_is_flashed_measured_and_left_halted() {
    let folder = tempfile::tempdir().unwrap();
    let compiled = &*COMPILED;
    let fake = Fake::new(compiled, Vec::new());
    let mut events = Vec::new();
    let runner = ProbeRunner::start(&fake, compiled, &options(), &mut |e| events.push(e)).unwrap();
    let bytes = compiled.image.flash_total.0;
    assert_eq!(
        events[0],
        Event::Attached("STM32H743ZITx on ST-Link V3 (0483:374e:0030003F)".into())
    );
    assert!(events.contains(&Event::Flash(FlashPhase::Program, bytes, bytes)));
    assert!(events.contains(&Event::Flash(FlashPhase::Verify, bytes, bytes)));
    assert_eq!(events.last(), Some(&Event::Flashed(bytes)));
    assert!(
        matches!(events[1], Event::Flash(FlashPhase::Erase, ..)),
        "{:?}",
        events[1]
    );
    // Every byte of the image is in flash, and only the sectors that it lies in were erased.
    {
        let device = fake.0.borrow();
        for segment in &compiled.image.segments {
            let start = (segment.address - 0x0800_0000) as usize;
            assert_eq!(
                device.flash[start..start + segment.bytes.len()],
                segment.bytes
            );
        }
        assert_eq!(device.erased as u64, bytes.div_ceil(128 << 10));
    }

    let mut recorder = Recorder::new(runner);
    let options = BenchOptions {
        verify: 3,
        ..BenchOptions::default()
    };
    let measured = bench::bench(compiled, &mut recorder, &options, &mut |_, _| {}).unwrap();
    bench::verdict(&measured).unwrap();
    assert_eq!(measured.measured_by, MeasuredBy::Probe);
    assert_eq!(
        (measured.bit_exact.inputs, measured.bit_exact.mismatches),
        (3, 0)
    );
    assert!(
        measured
            .levels
            .iter()
            .all(|level| level.cycles.is_some_and(|c| c.0 > 0))
    );
    assert!(measured.levels[0].cycles < measured.levels[1].cycles);

    // What passed is written, read and played back to the same report.
    let file = folder.path().join("session.json");
    let transcript = Transcript::new(compiled, std::mem::take(&mut recorder.exchanges));
    transcript.write(&file).unwrap();
    drop(recorder);
    let device = fake.0.borrow();
    assert!(device.released && device.state == State::Halted);
    let read = Transcript::read(&file, compiled).unwrap();
    assert_eq!(read, transcript);
    let mut replay = ReplayRunner::new(read.exchanges);
    let mut played = bench::bench(compiled, &mut replay, &options, &mut |_, _| {}).unwrap();
    assert_eq!(played.measured_by, MeasuredBy::Replay);
    played.measured_by = MeasuredBy::Probe;
    assert_eq!(played.table(), measured.table());

    let text = std::fs::read_to_string(&file).unwrap();
    let refused = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let fault = Transcript::read(&file, compiled).unwrap_err();
        (fault.0[0].code, fault.0[0].message.clone())
    };
    let (code, message) =
        refused(&text.replacen("\"schema_version\": 1", "\"schema_version\": 9", 1));
    assert_eq!(code, TRANSCRIPT);
    assert!(message.contains("version 9"), "{message}");
    assert_eq!(refused("{}").0, TRANSCRIPT);
    let hash = &transcript.image_sha256;
    assert_eq!(
        refused(&text.replace(hash, &hash.replace(&hash[..4], "0000"))).0,
        REPLAY_DIVERGED
    );
}

#[test]
fn an_image_that_is_in_flash_already_is_not_written_again() {
    let compiled = &*COMPILED;
    let fake = Fake::new(compiled, Vec::new());
    measure(compiled, &fake, &options()).unwrap();
    fake.0.borrow_mut().log.clear();
    let mut events = Vec::new();
    drop(ProbeRunner::start(&fake, compiled, &options(), &mut |e| events.push(e)).unwrap());
    assert_eq!(events[1..], [Event::Unchanged]);
    assert!(!fake.0.borrow().log.contains(&Call::Flash));
    // One byte of another firmware, and it is.
    let last = compiled.image.segments.last().unwrap();
    let at = (last.address - 0x0800_0000) as usize + last.bytes.len() - 1;
    fake.0.borrow_mut().flash[at] ^= 1;
    measure(compiled, &fake, &options()).unwrap();
    assert!(fake.0.borrow().log.contains(&Call::Flash));
}

/// A chip whose firmware has taken the debug pins answers under reset.
#[test]
fn a_chip_that_does_not_answer_is_tried_under_reset() {
    let compiled = &*COMPILED;
    let fake = Fake::new(compiled, vec![once(Call::Attach, 0, Cause::Silent, "")]);
    measure(compiled, &fake, &options()).unwrap();
    let device = fake.0.borrow();
    assert!(device.log.contains(&Call::AttachUnderReset));
}

fn once(call: Call, n: usize, cause: Cause, detail: &str) -> Fault {
    Fault::Call {
        call,
        n,
        error: ProbeError::new(cause, detail),
        lasting: false,
    }
}

fn from(call: Call, n: usize, cause: Cause, detail: &str) -> Fault {
    Fault::Call {
        call,
        n,
        error: ProbeError::new(cause, detail),
        lasting: true,
    }
}

/// Whatever call fails, whether once or from there on, the bench ends in time with a finding (or, where
/// a second attempt did it, with a right result), and leaves the core halted if it can be reached.
#[test]
fn any_call_may_fail() {
    let compiled = &*COMPILED;
    let fake = Fake::new(compiled, Vec::new());
    measure(compiled, &fake, &options()).unwrap();
    let calls = fake.0.borrow().log.len();
    let whole = fake.0.borrow().time;
    assert!((50..400).contains(&calls), "{calls}");
    let address = None;
    let causes = [
        (Cause::Gone, true),
        (Cause::Silent, true),
        (Cause::Silent, false),
        (Cause::Memory, false),
        (Cause::Timeout, false),
        (Cause::Program { address }, false),
    ];
    let mut recovered = 0;
    for n in 0..calls {
        // Over all calls, every cause is met at every kind of call that comes often.
        let (cause, lasting) = causes[n % causes.len()];
        let what = format!("call {n}, {cause:?}, lasting: {lasting}");
        let fake = Fake::new(compiled, vec![Fault::Any { n, cause, lasting }]);
        match measure(compiled, &fake, &options()) {
            Err(faults) => {
                assert_eq!(faults.0.len(), 1, "{what}");
                assert!(!faults.0[0].hint.is_empty(), "{what}");
                assert!([2, 3].contains(&faults.exit_code()), "{what}: {faults}");
                if (cause, lasting) == (Cause::Silent, true) && n > 6 {
                    assert_eq!(faults.0[0].code, CHIP_SILENT, "{what}: {faults}");
                }
            }
            Ok(_) => recovered += 1,
        }
        let device = fake.0.borrow();
        assert!(device.time < whole + 2 * options().timeout, "{what}");
        let opened = device.log.contains(&Call::Open) && n > 2;
        assert!(device.released || !opened, "{what}");
        let ours = device.log.contains(&Call::Halt) && device.answers();
        assert!(!ours || device.state != State::Running, "{what}");
    }
    // Connecting again under reset, and flash that could not be read before it was written.
    assert!(recovered <= 3, "{recovered}");
}
