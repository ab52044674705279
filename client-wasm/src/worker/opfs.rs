//! The browser's disk: the origin private file system, where a worker reads and writes without waiting.
//!
//! Each stream has a folder of its own and one owner: whoever holds its Web Lock. A second tab of the same film waits for it,
//! in memory meanwhile, and takes over when the first one closes. Insecure pages and old engines have none of this.
//!
//! Opening is a chain of promises, which costs a tenth as much in JavaScript as here: the worker's script has it (web/src/folder.ts).

use super::disk::{Fault, Medium};
use crate::bridge::folder_name;
use crate::door;
use baton_content::SwarmId;
use js_sys::{Function, Object};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// Waits for the stream's lock and opens its folder; undefined, or an exception, where there is no such thing.
    #[wasm_bindgen(catch, js_name = batonFolder)]
    async fn open_folder(name: &str) -> Result<JsValue, JsValue>;

    /// What it gives.
    type Opened;
    #[wasm_bindgen(method, getter)]
    fn log(this: &Opened) -> Access;
    #[wasm_bindgen(method, getter)]
    fn blocks(this: &Opened) -> Access;
    #[wasm_bindgen(method, getter)]
    fn room(this: &Opened) -> f64;
    #[wasm_bindgen(method, getter)]
    fn release(this: &Opened) -> Function;

    /// `FileSystemSyncAccessHandle`; as engines before Chromium 108 have it, its calls give promises, which are no numbers.
    type Access;
    #[wasm_bindgen(method, catch, js_name = getSize)]
    fn get_size(this: &Access) -> Result<f64, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn read(this: &Access, into: &mut [u8], options: &Object) -> Result<f64, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn write(this: &Access, bytes: &[u8], options: &Object) -> Result<f64, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn truncate(this: &Access, len: f64) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    fn close(this: &Access) -> Result<(), JsValue>;
}

/// A file of the stream's, open for this worker alone.
pub struct File(Access);

/// A stream's folder, opened.
pub struct Folder {
    pub log: File,
    pub blocks: File,
    /// What the origin may still take, bytes.
    pub room: u64,
    pub lock: Lock,
}

/// The right to write into a folder; given back when dropped, which must come after the files are closed.
pub struct Lock(Function);

impl Drop for Lock {
    fn drop(&mut self) {
        // The function of a promise never calls back into us.
        let _ = self.0.call0(&JsValue::NULL);
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // One that cannot be closed is closed with the worker.
        let _ = self.0.close();
    }
}

impl Medium for File {
    fn size(&self) -> Result<u64, Fault> {
        whole(self.0.get_size()).ok_or(Fault::Broken)
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<usize, Fault> {
        let read = whole(self.0.read(into, &place(at))).ok_or(Fault::Broken)?;
        Ok(read as usize)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Fault> {
        let wrote = self.0.write(bytes, &place(at)).map_err(|e| fault(&e))?;
        // A write that is cut short says that the disk has no room for the rest.
        if wrote == bytes.len() as f64 {
            Ok(())
        } else {
            Err(Fault::Full)
        }
    }

    fn truncate(&mut self, len: u64) -> Result<(), Fault> {
        self.0.truncate(len as f64).map_err(|e| fault(&e))
    }
}

fn whole(number: Result<f64, JsValue>) -> Option<u64> {
    number.ok().filter(|n| *n >= 0.0).map(|n| n as u64)
}

fn place(at: u64) -> Object {
    let options = Object::new();
    door::set(&options, "at", at as f64);
    options
}

fn fault(error: &JsValue) -> Fault {
    match door::name(error).as_str() {
        "QuotaExceededError" => Fault::Full,
        _ => Fault::Broken,
    }
}

/// Waits for the stream's lock and opens its folder; `None` where there is no such thing.
pub async fn open(swarm: SwarmId, shared: bool) -> Option<Folder> {
    let opened = open_folder(&folder_name(&swarm, shared)).await.ok()?;
    if !opened.is_object() {
        return None;
    }
    let opened: Opened = opened.unchecked_into();
    Some(Folder {
        log: File(opened.log()),
        blocks: File(opened.blocks()),
        room: opened.room() as u64,
        lock: Lock(opened.release()),
    })
}
