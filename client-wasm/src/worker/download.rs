//! The file back, byte for byte.

use super::viewer::{Keys, ViewerStore};
use baton_content::Entry;
use js_sys::{Array, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{Blob, BlobPropertyBag};

/// Opens every block into one Blob, checked against the plain BLAKE3 where the manifest has it.
pub fn blob(entry: &Entry, store: &mut ViewerStore, keys: &mut Keys) -> Result<JsValue, String> {
    let parts = Array::new();
    let mut len = 0;
    let mut hasher = blake3::Hasher::new();
    for piece in entry.pieces() {
        let blocks = store.whole(piece).ok_or("not all of it is here")?;
        let mut plain = Vec::with_capacity(baton_content::PIECE_LEN);
        for block in blocks {
            plain.extend_from_slice(&keys.open(&block).ok_or("the key is missing")?);
        }
        if entry.blake3.is_some() {
            hasher.update(&plain);
        }
        len += plain.len() as u64;
        // A Blob of Blobs: the browser takes each piece off this worker's heap, to its disk where they are many.
        let part = Array::of1(&Uint8Array::from(plain.as_slice()));
        let part = Blob::new_with_u8_array_sequence(&part).map_err(|e| crate::door::message(&e))?;
        parts.push(&part);
    }
    if len != entry.size {
        return Err("the pieces are not as long as the publisher said".into());
    }
    if entry
        .blake3
        .is_some_and(|expected| expected != *hasher.finalize().as_bytes())
    {
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
