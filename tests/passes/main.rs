//! The passes from the outside: each changes the form of a network and not what it computes.

mod chain;
mod elements;
mod eliminate;
mod fidelity;
mod findings;
mod golden;
mod interpret;
mod random;
mod real;
mod rules;
mod stated;
