//! Quantities that must not be mixed up: each is a newtype that prints its unit.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&format!("{} {}", group_thousands(self.0), $unit))
            }
        }
        impl Add for $name {
            type Output = Self;
            fn add(self, rhs: Self) -> Self {
                Self(self.0 + rhs.0)
            }
        }
        impl Sub for $name {
            type Output = Self;
            fn sub(self, rhs: Self) -> Self {
                Self(self.0 - rhs.0)
            }
        }
        impl AddAssign for $name {
            fn add_assign(&mut self, rhs: Self) {
                self.0 += rhs.0;
            }
        }
        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
                Self(iter.map(|q| q.0).sum())
            }
        }
    };
}

quantity!(
    /// A size in memory or flash.
    Bytes, "B"
);
quantity!(
    /// Processor cycles, measured or modelled; a [`crate::report`] says by what.
    Cycles, "cycles"
);
quantity!(
    /// Executed instructions.
    Instructions, "instructions"
);
quantity!(
    /// Multiply-accumulate operations.
    Macs, "MACs"
);
quantity!(
    /// A clock frequency.
    Hertz, "Hz"
);

impl Cycles {
    /// The time these cycles take at `clock`, in milliseconds.
    pub fn milliseconds_at(self, clock: Hertz) -> f64 {
        self.0 as f64 * 1e3 / clock.0 as f64
    }
}

/// `1234567` as `1,234,567`.
pub fn group_thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_print_their_unit() {
        assert_eq!(Bytes(1_234_567).to_string(), "1,234,567 B");
        assert_eq!(Cycles(999).to_string(), "999 cycles");
    }

    #[test]
    fn cycles_become_milliseconds() {
        assert_eq!(Cycles(480_000).milliseconds_at(Hertz(480_000_000)), 1.0);
    }
}
