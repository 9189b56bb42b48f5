//! The importer and exporter against real files and an independent runtime.

mod bad_input;
mod conformance;
mod exported;
mod exports;
mod fuzz;
mod networks;
mod operators;
mod python;
mod small_model;
