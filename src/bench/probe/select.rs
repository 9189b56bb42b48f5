//! Which of the probes on this computer is meant.

use std::fmt;
use std::str::FromStr;

use crate::diag::{BAD_ARGUMENT, Diagnostic, PROBE_AMBIGUOUS, PROBE_MISSING, PROBE_REFUSED};

use super::fault::PERMISSION_HINT;

/// A debug probe on this computer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeInfo {
    /// What it calls itself.
    pub name: String,
    /// USB vendor.
    pub vendor: u16,
    /// USB product.
    pub product: u16,
    /// Which of its interfaces, if it has several.
    pub interface: Option<u8>,
    /// Its serial number, if it has one.
    pub serial: Option<String>,
    /// Whether this user may use it.
    pub allowed: bool,
}

impl ProbeInfo {
    /// What `--probe` takes to mean this one.
    pub fn selector(&self) -> Selector {
        Selector {
            vendor: self.vendor,
            product: self.product,
            interface: self.interface,
            serial: self.serial.clone(),
        }
    }
}

impl fmt::Display for ProbeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.selector())
    }
}

/// The value of `--probe`: `VID:PID[-INTERFACE][:SERIAL]`, vendor and product in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// USB vendor.
    pub vendor: u16,
    /// USB product.
    pub product: u16,
    /// The interface, if it matters.
    pub interface: Option<u8>,
    /// The serial number, if it matters.
    pub serial: Option<String>,
}

impl Selector {
    /// Whether it means this probe.
    pub fn fits(&self, probe: &ProbeInfo) -> bool {
        let same = |asked: &Option<String>| asked.is_none() || *asked == probe.serial;
        self.vendor == probe.vendor
            && self.product == probe.product
            && (self.interface.is_none() || self.interface == probe.interface)
            && same(&self.serial)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.product)?;
        if let Some(interface) = self.interface {
            write!(f, "-{interface}")?;
        }
        match &self.serial {
            Some(serial) => write!(f, ":{serial}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Selector {
    type Err = crate::diag::Diagnostics;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = |message: String| {
            Diagnostic::new(
                BAD_ARGUMENT,
                "--probe",
                message,
                "give VID:PID or VID:PID:SERIAL as `nestc probes` prints them, for example 0483:374e",
            )
        };
        // Serial numbers may hold colons.
        let mut parts = text.splitn(3, ':');
        let vendor = parts.next().unwrap_or_default();
        let Some(product) = parts.next() else {
            return Err(fault(format!("`{text}` has no colon between vendor and product")).into());
        };
        let (product, interface) = match product.split_once('-') {
            None => (product, None),
            Some((product, interface)) => match interface.parse() {
                Ok(interface) => (product, Some(interface)),
                Err(_) => {
                    return Err(fault(format!(
                        "the interface `{interface}` in `{text}` is no number from 0 to 255"
                    ))
                    .into());
                }
            },
        };
        let number = |what: &str, digits: &str| {
            let hexadecimal = digits.bytes().all(|b| b.is_ascii_hexdigit());
            u16::from_str_radix(digits, 16)
                .ok()
                .filter(|_| hexadecimal)
                .ok_or_else(|| {
                    fault(format!(
                        "the {what} `{digits}` in `{text}` is no number of one to four hexadecimal digits"
                    ))
                })
        };
        Ok(Self {
            vendor: number("vendor", vendor)?,
            product: number("product", product)?,
            interface,
            serial: parts.next().map(String::from),
        })
    }
}

/// The probe that is meant, of those there are.
///
/// # Errors
/// `E760` if there is none, `E761` if there are several, `E762` if this user may not use it.
pub fn choose(probes: &[ProbeInfo], asked: Option<&Selector>) -> Result<ProbeInfo, Diagnostic> {
    let fitting: Vec<&ProbeInfo> = (probes.iter())
        .filter(|probe| asked.is_none_or(|asked| asked.fits(probe)))
        .collect();
    let place = asked.map_or("--on probe".into(), |asked| format!("--probe {asked}"));
    match fitting[..] {
        [] => Err(match asked {
            Some(asked) if !probes.is_empty() => Diagnostic::new(
                PROBE_MISSING,
                place,
                format!("no debug probe is {asked}; connected: {}", list(probes)),
                "name one of those, or connect the one you mean",
            ),
            _ => Diagnostic::new(
                PROBE_MISSING,
                place,
                "no debug probe is connected to this computer",
                "connect the board's debug connector (on a NUCLEO the USB socket of the ST-LINK) with a cable that carries data, and see that `nestc probes` lists it",
            ),
        }),
        [one] if one.allowed => Ok(one.clone()),
        [one] => Err(Diagnostic::new(
            PROBE_REFUSED,
            one.to_string(),
            "this user may not use the probe",
            PERMISSION_HINT,
        )),
        ref several => {
            let several: Vec<ProbeInfo> = several.iter().map(|&p| p.clone()).collect();
            Err(Diagnostic::new(
                PROBE_AMBIGUOUS,
                place,
                format!("{} debug probes fit: {}", several.len(), list(&several)),
                format!(
                    "say which: --probe {}, or disconnect the others",
                    several[0].selector()
                ),
            ))
        }
    }
}

fn list(probes: &[ProbeInfo]) -> String {
    let names: Vec<String> = probes.iter().map(ToString::to_string).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_read_and_print_alike() {
        for text in [
            "0483:374e",
            "0403:6010-1",
            "0483:374e:A",
            "303a:1001:DC:DA:0C",
        ] {
            let selector: Selector = text.parse().unwrap();
            assert_eq!(selector.to_string(), text);
        }
        let short: Selector = "483:374b".parse().unwrap();
        assert_eq!((short.vendor, short.product), (0x0483, 0x374b));
        for bad in [
            "",
            "0483",
            "0483:",
            ":374e",
            "xyz:374e",
            "0483:374e0",
            "+483:374e",
            "0483:6010-x",
            "0483:6010-256",
        ] {
            let faults = bad.parse::<Selector>().unwrap_err();
            assert_eq!(faults.0[0].code, BAD_ARGUMENT, "{bad}");
        }
    }

    #[test]
    fn a_selector_without_serial_number_fits_any() {
        let probe = |serial: Option<&str>| ProbeInfo {
            name: "ST-Link V3".into(),
            vendor: 0x0483,
            product: 0x374e,
            interface: None,
            serial: serial.map(String::from),
            allowed: true,
        };
        let fits = |text: &str, serial| text.parse::<Selector>().unwrap().fits(&probe(serial));
        assert!(fits("0483:374e", Some("A")) && fits("0483:374e", None));
        assert!(fits("0483:374e:A", Some("A")));
        assert!(!fits("0483:374e:A", Some("B")) && !fits("0483:374e:A", None));
        assert!(!fits("0483:374b", Some("A")) && !fits("0403:374e", Some("A")));
        assert!(!fits("0483:374e-1", Some("A")));
        let all = [probe(Some("A")), probe(Some("B"))];
        let asked = "0483:374e:B".parse().unwrap();
        assert_eq!(choose(&all, Some(&asked)).unwrap(), all[1]);
        assert_eq!(choose(&all[..1], None).unwrap(), all[0]);
    }
}
