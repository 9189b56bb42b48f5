//! What a bench image needs of the device: clocks, caches, a cycle counter, the stack's high-water
//! mark, and a mailbox through which a debug probe (or an emulator) talks to it.
//!
//! Model crates do not depend on this crate. The host links only [`mailbox`], so that both sides
//! agree on its layout.
#![no_std]

pub mod mailbox;

#[cfg(all(target_arch = "arm", target_os = "none"))]
mod arm;
#[cfg(all(target_arch = "arm", target_os = "none"))]
pub use arm::*;
