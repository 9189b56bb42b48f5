//! Every fault that is named, as its message reads.

use nest_device::mailbox::{Field, Status};
use nestc::bench::Compiled;
use nestc::bench::probe::{Cause, ProbeError, ProbeOptions, Selector};
use nestc::image::MAILBOX_SYMBOL;
use nestc::target::Board;

use super::fake::{Call, End, Fake, Fault, State, st_link};
use super::{COMPILED, from, measure, once, options};
use crate::golden;

/// A byte of the flash that the image takes.
const WORN_OUT: u32 = 0x0800_1234;

#[test]
fn every_fault_is_named_with_its_remedy() {
    let compiled = &*COMPILED;
    let mut text = String::new();
    let mut cases = 0;
    let mut case = |what: &str, faults: Vec<Fault>, change: &dyn Fn(&Fake, &mut ProbeOptions)| {
        let fake = Fake::new(compiled, faults);
        let mut options = options();
        change(&fake, &mut options);
        let fault = measure(compiled, &fake, &options).expect_err(what);
        let class = fault.exit_code();
        text += &format!("## {what} (exit {class})\n{fault}\n\n");
        cases += 1;
        let device = fake.0.borrow();
        let ours = device.log.contains(&Call::Halt) && device.answers();
        assert!(
            !ours || device.state != State::Running,
            "{what}: left running"
        );
        let opened = device.log.iter().skip_while(|c| **c != Call::Open).count() > 1;
        assert!(device.released || !opened, "{what}: not released");
    };
    let as_is: &dyn Fn(&Fake, &mut ProbeOptions) = &|_, _| {};

    // Which probe.
    case("no probe", vec![], &|fake, _| {
        fake.0.borrow_mut().probes.clear()
    });
    case("two probes and none named", vec![], &|fake, _| {
        fake.0.borrow_mut().probes.push(st_link("0042FFFF"));
    });
    case(
        "two probes of the kind that is named",
        vec![],
        &|fake, options| {
            fake.0.borrow_mut().probes.push(st_link("0042FFFF"));
            options.probe = Some("0483:374e".parse().unwrap());
        },
    );
    case(
        "a probe that is named and not there",
        vec![],
        &|_, options| {
            options.probe = Some("0483:374b:0669FF51".parse().unwrap());
        },
    );
    case("a probe that this user may not use", vec![], &|fake, _| {
        fake.0.borrow_mut().probes[0].allowed = false;
    });
    // The probe.
    case(
        "opening it is not permitted",
        vec![once(
            Call::Open,
            0,
            Cause::Denied,
            "Permission denied (os error 13)",
        )],
        as_is,
    );
    case(
        "another program uses it",
        vec![once(Call::Open, 0, Cause::Busy, "interface is busy")],
        as_is,
    );
    case(
        "its firmware is too old",
        vec![once(
            Call::Open,
            0,
            Cause::Outdated,
            "the oldest that is supported is 26",
        )],
        as_is,
    );
    case(
        "its driver fails",
        vec![once(Call::Open, 0, Cause::Driver, "USB endpoint not found")],
        as_is,
    );
    case(
        "the bus cannot be searched",
        vec![once(Call::List, 0, Cause::Other, "usbfs is not mounted")],
        as_is,
    );
    case(
        "it has no such speed",
        vec![once(Call::Speed, 0, Cause::Speed, "")],
        &|_, options| options.speed_khz = Some(99_000),
    );
    case(
        "it is unplugged before it is asked anything",
        vec![from(Call::Voltage, 0, Cause::Gone, "")],
        as_is,
    );

    // The chip.
    case(
        "a chip that probe-rs does not know",
        vec![],
        &|_, options| {
            options.chip = Some("STM32H743".into());
        },
    );
    case("a board without power", vec![], &|fake, _| {
        fake.0.borrow_mut().volts = Some(0.02);
    });
    case(
        "a chip that does not answer, under reset neither",
        vec![from(
            Call::Attach,
            0,
            Cause::Silent,
            "Target device did not respond to request",
        )],
        as_is,
    );
    case(
        "the same at a probe that measures nothing",
        vec![from(Call::Attach, 0, Cause::Silent, "")],
        &|fake, _| fake.0.borrow_mut().volts = None,
    );
    case(
        "a chip that cannot be connected to",
        vec![once(Call::Attach, 0, Cause::Other, "Core 0 is not enabled")],
        as_is,
    );
    case(
        "a wire too long for the speed",
        vec![once(
            Call::Attach,
            0,
            Cause::Garbled,
            "Incorrect parity on READ request",
        )],
        as_is,
    );
    case(
        "a chip that the probe finds locked",
        vec![once(
            Call::Attach,
            0,
            Cause::Locked,
            "erase_all is not permitted",
        )],
        as_is,
    );
    case(
        "read-out protection",
        vec![Fault::Word(0x5200_201c, 0x0100_bbff)],
        as_is,
    );
    case(
        "another core",
        vec![Fault::Word(0xe000_ed00, 0x410f_c241)],
        as_is,
    );
    case(
        "a core that nobody knows",
        vec![Fault::Word(0xe000_ed00, 0x411f_d231)],
        as_is,
    );
    case(
        "another chip with the same core",
        vec![Fault::Word(0x5c00_1000, 0x2003_6483)],
        as_is,
    );
    case(
        "no identification to read",
        vec![once(Call::Read, 1, Cause::Memory, "")],
        as_is,
    );

    // The flash.
    case(
        "no program for this chip's flash",
        vec![once(
            Call::Flash,
            0,
            Cause::NoFlashAlgorithm {
                address: Some(0x0800_0000),
            },
            "",
        )],
        as_is,
    );
    case(
        "its program does not run",
        vec![once(
            Call::Flash,
            0,
            Cause::FlashLoader,
            "The RAM contents did not match",
        )],
        as_is,
    );
    let erase = Cause::Erase {
        address: Some(0x0802_0000),
    };
    case(
        "a sector is not erased",
        vec![once(
            Call::Flash,
            0,
            erase,
            "'erase_sector' failed with code 1",
        )],
        as_is,
    );
    let flashing = |bytes, cause, detail: &str, lasting| {
        vec![Fault::Flash {
            bytes,
            error: ProbeError::new(cause, detail),
            lasting,
        }]
    };
    let program = Cause::Program {
        address: Some(0x0800_2000),
    };
    case(
        "a page is not written",
        flashing(8192, program, "", false),
        as_is,
    );
    case("a byte is worn out", vec![Fault::WornOut(WORN_OUT)], as_is);
    case(
        "the probe is unplugged while it writes",
        flashing(8192, Cause::Gone, "No such device (os error 19)", true),
        as_is,
    );
    case(
        "power is lost while it writes",
        flashing(4096, Cause::Silent, "", true),
        as_is,
    );
    case(
        "the flash cannot be read back",
        vec![once(Call::Read, 4, Cause::Memory, "")],
        as_is,
    );
    case(
        "flashing takes too long",
        flashing(2048, Cause::Timeout, "", false),
        as_is,
    );

    // The core.
    case(
        "it cannot be halted",
        vec![once(Call::Halt, 0, Cause::Timeout, "")],
        as_is,
    );
    case(
        "it does not come out of reset",
        vec![once(Call::Reset, 0, Cause::Timeout, "")],
        as_is,
    );
    case(
        "it cannot be started",
        vec![once(Call::Run, 0, Cause::Other, "")],
        as_is,
    );
    case(
        "its registers cannot be read",
        vec![once(Call::Register, 0, Cause::Timeout, "")],
        as_is,
    );
    let core = |n, end| vec![Fault::Core { n, end }];
    let inside = compiled.image.address_of("nest_layer_mark").unwrap() & !1;
    case(
        "no breakpoint in time",
        core(1, End::Never { pc: inside }),
        as_is,
    );
    case(
        "the boot loader runs instead",
        core(0, End::Never { pc: 0x1ff0_9ac0 }),
        as_is,
    );
    case("it sleeps", core(1, End::Asleep { pc: inside }), as_is);
    case(
        "no breakpoint in time, and it cannot be halted",
        [
            core(1, End::Never { pc: inside }),
            vec![from(Call::Halt, 2, Cause::Timeout, "")],
        ]
        .concat(),
        as_is,
    );
    case(
        "it locks up",
        core(2, End::LockUp { pc: 0xffff_fffe }),
        as_is,
    );
    case(
        "a hard fault at a known address",
        core(
            1,
            End::Fault {
                pc: inside,
                cfsr: 1 << 9 | 1 << 15,
                address: 0x3000_0000,
            },
        ),
        as_is,
    );
    case(
        "an undefined instruction",
        core(
            2,
            End::Fault {
                pc: 0x0010_0000,
                cfsr: 1 << 16,
                address: 0,
            },
        ),
        as_is,
    );
    case(
        "another debugger halts it",
        core(1, End::Foreign { pc: inside }),
        as_is,
    );
    case("it is reset while it runs", core(1, End::Reset), as_is);
    case(
        "power is lost while it runs",
        vec![from(Call::Status, 5, Cause::Silent, "")],
        as_is,
    );
    case(
        "the probe is unplugged while it runs",
        vec![from(Call::Status, 5, Cause::Gone, "")],
        as_is,
    );

    // The image.
    let gave_up = |status: Status| {
        core(
            0,
            End::GaveUp {
                status: status as u32,
            },
        )
    };
    case(
        "a clock does not start",
        gave_up(Status::ClockFailed),
        as_is,
    );
    case("the image panics", gave_up(Status::Panicked), as_is);
    let mailbox = compiled.image.address_of(MAILBOX_SYMBOL).unwrap();
    let word = |field: Field, value| vec![Fault::Word(mailbox + field.offset(), value)];
    case("another firmware's memory", word(Field::Magic, 0), as_is);
    case(
        "another version of the protocol",
        word(Field::Version, 7),
        as_is,
    );
    case(
        "another version of the weights",
        word(Field::FormatVersion, 1),
        as_is,
    );
    case("another model's image", word(Field::LayerCount, 99), as_is);
    case("another clock", word(Field::ClockHz, 64_000_000), as_is);
    // Behind: core, chip and protection; one read of the flash before it is written and all after; the
    // register that catches faults; the breakpoint at the end of start-up.
    let flash: usize = (compiled.image.segments.iter())
        .map(|segment| segment.bytes.len().div_ceil(16 << 10))
        .sum();
    case(
        "memory that cannot be read",
        vec![once(Call::Read, 3 + 1 + flash + 1 + 1, Cause::Memory, "")],
        as_is,
    );
    // Behind: that register and the input.
    case(
        "memory that cannot be written",
        vec![once(Call::Write, 2, Cause::Memory, "")],
        as_is,
    );

    assert!(cases >= 25, "{cases}");
    let emulated = Compiled {
        board: Board::named("mps2-an500").unwrap(),
        program: compiled.program.clone(),
        elf: Vec::new(),
        image: compiled.image.clone(),
        head: None,
        decoder: None,
    };
    let fault = measure(&emulated, &Fake::new(compiled, Vec::new()), &options()).unwrap_err();
    let class = fault.exit_code();
    text += &format!("## a board that exists in software only (exit {class})\n{fault}\n\n");
    for bad in ["stlink", "0483:37g4", "0483:374e-x:1"] {
        let fault = bad.parse::<Selector>().unwrap_err();
        text += &format!("## --probe {bad} (exit {})\n{fault}\n\n", fault.exit_code());
    }
    // What changes with every change to the firmware.
    let worn_out = compiled.image.segments.iter().find_map(|segment| {
        let at = WORN_OUT.checked_sub(segment.address)?;
        segment.bytes.get(at as usize)
    });
    let worn_out = worn_out.expect("the image is that long");
    for (changing, name) in [
        (format!("{inside:#010x}"), "0x0800...."),
        (format!("{mailbox:#010x}"), "MAILBOX"),
        (
            format!("{:#010x}", mailbox + Field::Level.offset()),
            "MAILBOX+LEVEL",
        ),
        (compiled.image.flash_total.0.to_string(), "ALL"),
        (format!("{:#04x} at", worn_out ^ 0x10), "FOUND at"),
        (
            format!("instead of {worn_out:#04x}\n"),
            "instead of WRITTEN\n",
        ),
    ] {
        assert!(text.contains(&changing), "{changing}");
        text = text.replace(&changing, name);
    }
    golden::check("probe_faults", &text);
}
