//! The state on disk: one file, replaced as a whole after every epoch.
//!
//! Layout, little-endian: the eight bytes `NESTCKPT`, a `u32` version, a `u64` length and that many
//! bytes of JSON ([`Header`]), the tensors named there (`f32`), the owners named there (`u8`), and the
//! SHA-256 of everything before it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::diag::{self, Diagnostic, Diagnostics, Result};
use crate::export;

use super::options::EpochSummary;
use super::state::State;

const MAGIC: &[u8; 8] = b"NESTCKPT";
const VERSION: u32 = 1;
const HASH: usize = 32;

/// What a run depends on, in words; a checkpoint belongs to runs that agree in all of it.
pub(super) type Fingerprint = BTreeMap<String, String>;

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    fingerprint: Fingerprint,
    epoch: usize,
    history: Vec<EpochSummary>,
    /// Names and lengths, in file order.
    tensors: Vec<(String, usize)>,
    owners: Vec<(String, usize)>,
}

/// Writes `state` beside `path`, flushes it to the disk and renames it.
pub(super) fn save(path: &Path, fingerprint: &Fingerprint, state: &mut State) -> Result<()> {
    let mut header = Header {
        fingerprint: fingerprint.clone(),
        epoch: state.epoch,
        history: state.history.clone(),
        tensors: Vec::new(),
        owners: Vec::new(),
    };
    let mut body = Vec::new();
    state.each_tensor(&mut |name, values| {
        header.tensors.push((name.into(), values.len()));
        body.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    });
    state.each_owners(&mut |name, owners| {
        header.owners.push((name.into(), owners.len()));
        body.extend_from_slice(owners);
    });
    let header = serde_json::to_vec(&header).map_err(|e| {
        let error = std::io::Error::other(e);
        Diagnostic::io(path, "write the checkpoint's header", &error)
    })?;
    let mut bytes = Vec::with_capacity(body.len() + header.len() + 64);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(&body);
    let hash = Sha256::digest(&bytes);
    bytes.extend_from_slice(&hash);
    export::replace_by(path, ".partial", &mut |file| file.write_all(&bytes))?;
    Ok(())
}

/// Reads the checkpoint at `path` into `state`. `Ok(false)` if there is none.
pub(super) fn load(path: &Path, fingerprint: &Fingerprint, state: &mut State) -> Result<bool> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(Diagnostic::io(path, "read the checkpoint", &e).into()),
    };
    let corrupt = |what: String| -> Diagnostics {
        Diagnostic::new(
            diag::CHECKPOINT_CORRUPT,
            path.display().to_string(),
            what,
            "delete the file, or train without --resume",
        )
        .into()
    };
    let (header, mut body) = parse(&bytes).map_err(corrupt)?;
    compare(path, &header.fingerprint, fingerprint)?;
    let mut expected = (Vec::new(), Vec::new());
    state.each_tensor(&mut |name, v| expected.0.push((name.to_string(), v.len())));
    state.each_owners(&mut |name, v| expected.1.push((name.to_string(), v.len())));
    let size = |list: &[(String, usize)]| list.iter().map(|(_, n)| n).sum::<usize>();
    if (&header.tensors, &header.owners) != (&expected.0, &expected.1)
        || body.len() != 4 * size(&expected.0) + size(&expected.1)
    {
        return Err(corrupt(format!(
            "it holds {} tensors in {} bytes, this run has {}",
            header.tensors.len(),
            body.len(),
            expected.0.len()
        )));
    }
    state.each_tensor(&mut |_, values| {
        let (own, rest) = body.split_at(4 * values.len());
        for (v, bytes) in values.iter_mut().zip(own.chunks_exact(4)) {
            *v = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        body = rest;
    });
    state.each_owners(&mut |_, owners| {
        let (own, rest) = body.split_at(owners.len());
        owners.copy_from_slice(own);
        body = rest;
    });
    state.epoch = header.epoch;
    state.history = header.history;
    state.rebuild_masks();
    Ok(true)
}

/// The header and the tensors' bytes.
fn parse(bytes: &[u8]) -> Result<(Header, &[u8]), String> {
    let fixed = MAGIC.len() + 4 + 8;
    if bytes.len() < fixed + HASH || &bytes[..MAGIC.len()] != MAGIC {
        return Err(format!("{} bytes that are no checkpoint", bytes.len()));
    }
    let (content, hash) = bytes.split_at(bytes.len() - HASH);
    if Sha256::digest(content).as_slice() != hash {
        return Err("its content does not match its checksum".into());
    }
    let word = |at: usize| -> [u8; 4] { std::array::from_fn(|i| content[at + i]) };
    let version = u32::from_le_bytes(word(MAGIC.len()));
    if version != VERSION {
        return Err(format!(
            "its layout is version {version}, this program reads {VERSION}"
        ));
    }
    let length = u64::from_le_bytes(std::array::from_fn(|i| content[MAGIC.len() + 4 + i]));
    let header = usize::try_from(length)
        .ok()
        .and_then(|n| content.get(fixed..fixed.checked_add(n)?))
        .ok_or("its header is cut off")?;
    let body = &content[fixed + header.len()..];
    let header = serde_json::from_slice(header).map_err(|e| format!("its header: {e}"))?;
    Ok((header, body))
}

/// A finding for every entry in which the two runs differ.
fn compare(path: &Path, stored: &Fingerprint, own: &Fingerprint) -> Result<()> {
    let mut found = Diagnostics::default();
    let keys: std::collections::BTreeSet<&String> = stored.keys().chain(own.keys()).collect();
    for key in keys {
        let of = |f: &Fingerprint| f.get(key).cloned().unwrap_or_else(|| "nothing".into());
        let (then, now) = (of(stored), of(own));
        if then != now {
            found.push(Diagnostic::new(
                diag::CHECKPOINT_MISMATCH,
                path.display().to_string(),
                format!("it was written with {key} {then}, this run has {now}"),
                if key.starts_with("--") {
                    format!("give {key} {then} again, or train without --resume")
                } else {
                    "give what the checkpoint was written with, or train without --resume".into()
                },
            ));
        }
    }
    found.into_result(())
}
