//! The file back, or a part of it, byte for byte.

use super::viewer::{Keys, ViewerStore};
use baton_content::Entry;
use js_sys::{Array, Uint8Array};
use std::ops::Range;
use wasm_bindgen::prelude::*;
use web_sys::{Blob, BlobPropertyBag};

/// Opens every block of it into one Blob. A whole file is checked against the plain BLAKE3 where the manifest has it.
pub fn blob(
    entry: &Entry,
    range: Range<u64>,
    store: &mut ViewerStore,
    keys: &mut Keys,
) -> Result<JsValue, String> {
    let parts = Array::new();
    let mut len = 0;
    let expected = entry.blake3.filter(|_| range == (0..entry.size));
    let mut hasher = blake3::Hasher::new();
    for (piece, mask) in entry.blocks(range.clone()) {
        let mut plain = Vec::with_capacity(baton_content::PIECE_LEN);
        for block in store.read(piece, mask) {
            let offset = entry
                .block_offset(piece, block.block())
                .ok_or("not of this file")?;
            let bytes = keys.open(&block).ok_or("the key is missing")?;
            let at = |place: u64| (place.saturating_sub(offset) as usize).min(bytes.len());
            plain.extend_from_slice(&bytes[at(range.start)..at(range.end)]);
        }
        if expected.is_some() {
            hasher.update(&plain);
        }
        len += plain.len() as u64;
        // A Blob of Blobs: the browser takes each piece off this worker's heap, to its disk where they are many.
        let part = Array::of1(&Uint8Array::from(plain.as_slice()));
        let part = Blob::new_with_u8_array_sequence(&part).map_err(|e| crate::door::message(&e))?;
        parts.push(&part);
    }
    if len != range.end - range.start {
        return Err("not all of it is here".into());
    }
    if expected.is_some_and(|expected| expected != *hasher.finalize().as_bytes()) {
        return Err(
            "the file is not what its publisher hashed: it changed while it was shared".into(),
        );
    }
    let options = BlobPropertyBag::new();
    options.set_type(entry.mime.as_deref().unwrap_or("application/octet-stream"));
    let blob = Blob::new_with_blob_sequence_and_options(&parts, &options)
        .map_err(|e| crate::door::message(&e))?;
    Ok(blob.into())
}
