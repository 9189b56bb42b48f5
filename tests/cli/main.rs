//! The command line as a contract: what each verb accepts, prints and exits with.

mod check;
mod data;
mod detection;
mod flow;
mod golden;
mod study;
mod usage;
