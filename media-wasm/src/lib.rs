//! What a page asks of the media engine beside playing: subtitle files and tags. A module of its own, apart from the player's: it comes when somebody
//! chooses such subtitles, or once the film is on the screen.

use baton_media::{TagReader, parse_subtitles};
use bytes::Bytes;
use js_sys::{Array, Object, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

/// The cues of a subtitle file: start, end (seconds), text, and whether it belongs to the top, one after the other. `undefined`: it is none.
#[wasm_bindgen]
pub fn subtitles(file: Vec<u8>) -> Option<Array> {
    let list = Array::new();
    for cue in parse_subtitles(&file)? {
        list.push(&seconds(cue.start_us).into());
        list.push(&seconds(cue.end_us).into());
        list.push(&cue.text.into());
        list.push(&cue.top.into());
    }
    Some(list)
}

/// Reads title, artist, album and cover of a file that is given bit by bit.
#[wasm_bindgen(js_name = TagReader)]
pub struct Reader(TagReader);

#[wasm_bindgen(js_class = TagReader)]
impl Reader {
    /// `len`: the file's length in bytes.
    #[wasm_bindgen(constructor)]
    pub fn new(len: f64) -> Reader {
        Reader(TagReader::new(len as u64))
    }

    /// Bytes of the file, which begin there.
    pub fn give(&mut self, offset: f64, bytes: Vec<u8>) {
        self.0.handle_bytes(offset as u64, Bytes::from(bytes));
    }

    /// `[from, to]`: the bytes to give next; or what was found, `{title, artist, album, cover: {mime, bytes}}`, each perhaps `null`.
    pub fn poll(&self) -> JsValue {
        match self.0.poll() {
            Err(range) => {
                Array::of2(&(range.start as f64).into(), &(range.end as f64).into()).into()
            }
            Ok(tags) => {
                let word = |word: Option<String>| word.map_or(JsValue::NULL, JsValue::from);
                let cover = tags.cover.map_or(JsValue::NULL, |cover| {
                    object(&[
                        ("mime", cover.mime.into()),
                        ("bytes", Uint8Array::from(&cover.bytes[..]).into()),
                    ])
                });
                object(&[
                    ("title", word(tags.title)),
                    ("artist", word(tags.artist)),
                    ("album", word(tags.album)),
                    ("cover", cover),
                ])
            }
        }
    }
}

fn object(fields: &[(&str, JsValue)]) -> JsValue {
    let object = Object::new();
    for (key, value) in fields {
        Reflect::set(&object, &(*key).into(), value).expect("a fresh object takes any field");
    }
    object.into()
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
