//! The importer and exporter against real files and an independent runtime.

mod networks;
