//! The `nestc` command.

fn main() {}
