//! Picks the linker script of the board.

fn main() {
    let board = match (
        std::env::var_os("CARGO_FEATURE_H743"),
        std::env::var_os("CARGO_FEATURE_MPS2_AN500"),
    ) {
        (Some(_), None) => "h743.x",
        (None, Some(_)) => "mps2-an500.x",
        _ => panic!("choose one of the features h743 and mps2-an500"),
    };
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo::rustc-link-arg=-L{here}");
    println!("cargo::rustc-link-arg=-T{board}");
    println!("cargo::rerun-if-changed={board}");
    println!("cargo::rerun-if-changed=sections.x");
}
