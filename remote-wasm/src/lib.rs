//! The remote control's face to JavaScript: `Tv` and `Phone`. What comes out of `poll` is drawn and dialled by web/src/remote/.
//!
//! A module of its own, apart from the engine's: only a television and whoever plays on one load it. Outputs and words cross as plain objects; numbers as
//! doubles, never as BigInt.

use baton_remote as remote;
use serde::Serialize;
use serde_wasm_bindgen::Serializer;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
pub struct Tv(remote::Tv);

#[wasm_bindgen]
pub struct Phone(remote::Phone);

#[wasm_bindgen]
impl Tv {
    /// `seed`: 32 random bytes. `saved`: the last `save`, or none.
    #[wasm_bindgen(constructor)]
    pub fn new(
        seed: &[u8],
        host: &str,
        saved: &[u8],
        name: &str,
        now_ms: f64,
    ) -> Result<Tv, JsValue> {
        Ok(Self(remote::Tv::new(
            &seed32(seed)?,
            host,
            saved,
            name,
            now_ms,
        )))
    }

    #[wasm_bindgen(getter)]
    pub fn name(&self) -> String {
        self.0.name().to_owned()
    }

    pub fn poll(&mut self) -> JsValue {
        object(&self.0.poll())
    }

    #[wasm_bindgen(js_name = showCode)]
    pub fn show_code(&mut self, now_ms: f64) {
        self.0.show_code(now_ms);
    }

    #[wasm_bindgen(js_name = hideCode)]
    pub fn hide_code(&mut self) {
        self.0.hide_code();
    }

    pub fn opened(&mut self, line: u8, now_ms: f64) {
        self.0.opened(line, now_ms);
    }

    pub fn closed(&mut self, line: u8, now_ms: f64) {
        self.0.closed(line, now_ms);
    }

    pub fn received(&mut self, line: u8, bytes: &[u8], now_ms: f64) {
        self.0.received(line, bytes, now_ms);
    }

    pub fn tick(&mut self, now_ms: f64) {
        self.0.tick(now_ms);
    }

    /// `{state: {…}}` or `{film: {…}}`.
    pub fn report(&mut self, report: JsValue) -> Result<(), JsValue> {
        self.0.report(serde_wasm_bindgen::from_value(report)?);
        Ok(())
    }

    /// The same to one telephone: `{picture: {…}}`.
    pub fn answer(&mut self, id: &str, report: JsValue) -> Result<(), JsValue> {
        self.0.answer(id, serde_wasm_bindgen::from_value(report)?);
        Ok(())
    }

    pub fn rename(&mut self, name: &str) {
        self.0.rename(name);
    }

    pub fn forget(&mut self, id: &str) {
        self.0.forget(id);
    }
}

#[wasm_bindgen]
impl Phone {
    /// `undefined`: that is no code.
    #[wasm_bindgen(js_name = withCode)]
    pub fn with_code(
        seed: &[u8],
        host: &str,
        code: &str,
        label: &str,
        now_ms: f64,
    ) -> Result<Option<Phone>, JsValue> {
        Ok(remote::Phone::with_code(&seed32(seed)?, host, code, label, now_ms).map(Self))
    }

    /// `undefined`: that is no token.
    #[wasm_bindgen(js_name = withToken)]
    pub fn with_token(
        seed: &[u8],
        host: &str,
        token: &str,
        label: &str,
        now_ms: f64,
    ) -> Result<Option<Phone>, JsValue> {
        Ok(remote::Phone::with_token(&seed32(seed)?, host, token, label, now_ms).map(Self))
    }

    /// `undefined`: those are no bytes of an earlier `paired`.
    #[wasm_bindgen(js_name = withKnown)]
    pub fn with_known(
        seed: &[u8],
        host: &str,
        known: &[u8],
        label: &str,
        now_ms: f64,
    ) -> Result<Option<Phone>, JsValue> {
        Ok(remote::Phone::with_known(&seed32(seed)?, host, known, label, now_ms).map(Self))
    }

    pub fn poll(&mut self) -> JsValue {
        object(&self.0.poll())
    }

    pub fn opened(&mut self, _line: u8, now_ms: f64) {
        self.0.opened(now_ms);
    }

    pub fn closed(&mut self, _line: u8, now_ms: f64) {
        self.0.closed(now_ms);
    }

    pub fn received(&mut self, _line: u8, bytes: &[u8], now_ms: f64) {
        self.0.received(bytes, now_ms);
    }

    pub fn tick(&mut self, now_ms: f64) {
        self.0.tick(now_ms);
    }

    /// False: the television does not hear us at the moment.
    pub fn command(&mut self, command: JsValue, now_ms: f64) -> Result<bool, JsValue> {
        Ok(self
            .0
            .command(&serde_wasm_bindgen::from_value(command)?, now_ms))
    }
}

/// An output as `{kind: {fields}}`; `null` when there is none.
fn object(output: &Option<remote::Output>) -> JsValue {
    let objects = Serializer::new()
        .serialize_maps_as_objects(true)
        .serialize_missing_as_null(true);
    output
        .serialize(&objects)
        .expect("outputs are plain fields")
}

fn seed32(seed: &[u8]) -> Result<[u8; 32], JsValue> {
    seed.try_into()
        .map_err(|_| js_sys::TypeError::new("a seed is 32 bytes").into())
}
