//! A run that is interrupted, however rudely, ends as an unbroken one does.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nestc::ir::nested::NestedModel;
use nestc::train::{EpochSummary, Progress, TrainOptions, train};

use crate::support::{network, options, pictures};

/// Stops after this many epochs.
struct StopAfter(usize);

impl Progress for StopAfter {
    fn epoch_finished(&mut self, _: &EpochSummary) {
        self.0 -= 1;
    }
    fn should_stop(&mut self) -> bool {
        self.0 == 0
    }
}

fn run(options: &TrainOptions, progress: &mut dyn Progress) -> (NestedModel, Option<usize>) {
    let (data, test) = (pictures(240, 1), pictures(50, 2));
    let trained = train(&network(), &data, Some(&test), options, progress).unwrap();
    (trained.model, trained.report.resumed_at)
}

fn unbroken() -> NestedModel {
    let folder = tempfile::tempdir().unwrap();
    run(&options(folder.path()), &mut ()).0
}

#[test]
fn stopped_after_any_epoch() {
    let expected = unbroken();
    for stop in 1..4 {
        let folder = tempfile::tempdir().unwrap();
        let options = TrainOptions {
            resume: true,
            ..options(folder.path())
        };
        let (partial, resumed_at) = run(&options, &mut StopAfter(stop));
        assert_eq!(resumed_at, None, "there was nothing to resume");
        assert_ne!(partial, expected);
        let other_threads = TrainOptions {
            threads: Some(1),
            ..options.clone()
        };
        let (resumed, resumed_at) = run(&other_threads, &mut ());
        assert_eq!(resumed_at, Some(stop));
        assert_eq!(resumed, expected, "stopped after {stop}");
        // Once more: everything is done already.
        assert_eq!(run(&options, &mut ()), (expected.clone(), Some(4)));
    }
}

/// What a kill in the middle of writing leaves behind is neither read nor in the way.
#[test]
fn half_written_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let options = TrainOptions {
        resume: true,
        ..options(folder.path())
    };
    run(&options, &mut StopAfter(2));
    let whole = std::fs::read(&options.checkpoint).unwrap();
    let beside = folder.path().join("small.checkpoint.partial");
    assert!(!beside.exists());
    std::fs::write(&beside, &whole[..whole.len() / 2]).unwrap();
    let (resumed, resumed_at) = run(&options, &mut ());
    assert_eq!(resumed_at, Some(2));
    assert_eq!(resumed, unbroken());
    assert!(!beside.exists());
}

const CHILD: &str = "NESTC_TEST_TRAIN_CHILD";

/// Not a test of its own: what [`killed_at_any_moment`] runs in another process.
#[test]
fn child() {
    if let Ok(folder) = std::env::var(CHILD) {
        let options = TrainOptions {
            resume: true,
            ..options(Path::new(&folder))
        };
        run(&options, &mut ());
    }
}

/// Kills (SIGKILL) a training process again and again, at moments that fall anywhere in an epoch,
/// until the checkpoint shows that at least two epochs got done; then resumes.
#[test]
fn killed_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let options = TrainOptions {
        resume: true,
        ..options(folder.path())
    };
    let mut kills = 0;
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut written = 0;
    let mut last = None;
    while written < 2 && Instant::now() < deadline {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "resume::child"])
            .env(CHILD, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Until a checkpoint appears that was not there before, and then somewhat further.
        loop {
            let now = std::fs::read(&options.checkpoint).ok();
            if now.is_some() && now != last {
                last = now;
                written += 1;
                break;
            }
            if child.try_wait().unwrap().is_some() || Instant::now() > deadline {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(3 * kills));
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert!(written >= 2, "the child made {written} checkpoints");
    let (resumed, resumed_at) = run(&options, &mut ());
    assert!(resumed_at.is_some());
    assert_eq!(resumed, unbroken());
}

/// Where files cannot grow beyond a few kilobytes, no checkpoint can be written.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_last_checkpoint_whole() {
    let folder = tempfile::tempdir().unwrap();
    let options = TrainOptions {
        resume: true,
        ..options(folder.path())
    };
    run(&options, &mut StopAfter(1));
    let whole = std::fs::read(&options.checkpoint).unwrap();
    assert!(whole.len() > 16 << 10);
    let child = Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact resume::child",
        ])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(!child.status.success() && text.contains("E002"), "{text}");
    assert_eq!(std::fs::read(&options.checkpoint).unwrap(), whole);
    assert_eq!(
        std::fs::read_dir(&folder).unwrap().count(),
        1,
        "nothing is left behind"
    );
    let (resumed, resumed_at) = run(&options, &mut ());
    assert_eq!((resumed_at, resumed), (Some(1), unbroken()));
}
