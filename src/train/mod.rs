//! Nested training on the CPU.
