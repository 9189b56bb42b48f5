//! Chooses the backend: the armv7em kernels need the DSP extension, which stable Rust does not show
//! as a `target_feature` on Arm, but every target of that name has it.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(nest_armv7em)");
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("TARGET").is_ok_and(|target| target.starts_with("thumbv7em-")) {
        println!("cargo::rustc-cfg=nest_armv7em");
    }
}
