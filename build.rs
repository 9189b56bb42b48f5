//! Lists the runtime crates, so that nestc carries them and writes them into what it emits.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const CRATES: [&str; 4] = ["nest-format", "nest-kernels", "nest-detect", "nest-device"];

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?);
    let runtime = root.join("runtime");
    let mut files = Vec::new();
    for name in CRATES {
        let folder = runtime.join(name);
        println!("cargo::rerun-if-changed={}", folder.display());
        for file in ["Cargo.toml", "build.rs"] {
            if folder.join(file).is_file() {
                files.push(folder.join(file));
            }
        }
        collect(&folder.join("src"), &mut files)?;
    }
    files.sort();
    let mut list = String::from("&[\n");
    for file in files {
        let name = file.strip_prefix(&runtime).map_err(io::Error::other)?;
        let name = name.to_string_lossy().replace('\\', "/");
        // Writing into a string cannot fail.
        let _ = writeln!(list, "({name:?}, include_str!({file:?})),");
    }
    list.push_str("]\n");
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    fs::write(out.join("runtime_files.rs"), list)
}

/// All files under `folder`.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
