//! Sound that no browser decodes: a module of its own does, which comes when a film has such sound.

use baton_media::{Decoded, SoundDecoder, TrackId};
use js_sys::{Function, Uint8Array};
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;

#[wasm_bindgen]
extern "C" {
    /// Loads the decoder; gives a function from track, `enhanced`, `fresh` and frame to samples, or to nothing.
    #[wasm_bindgen(catch, js_name = batonDecoder)]
    async fn load() -> Result<JsValue, JsValue>;
}

/// The decoder of one film.
pub struct Decoder {
    module: Rc<RefCell<Module>>,
    wake: Rc<dyn Fn()>,
}

enum Module {
    Wanted,
    Loading,
    Here(Function),
    /// It does not come: the sound is silent.
    Missing,
}

impl Decoder {
    /// `wake` is called once the module is here, or does not come.
    pub fn new(wake: Rc<dyn Fn()>) -> Decoder {
        let module = Rc::new(RefCell::new(Module::Wanted));
        Decoder { module, wake }
    }

    fn load(&self) {
        let (module, wake) = (self.module.clone(), self.wake.clone());
        spawn_local(async move {
            let found = load().await.and_then(|it| it.dyn_into::<Function>());
            *module.borrow_mut() = found.map_or(Module::Missing, Module::Here);
            wake();
        });
    }
}

impl SoundDecoder for Decoder {
    fn decode(&mut self, track: TrackId, enhanced: bool, fresh: bool, frame: &[u8]) -> Decoded {
        let mut module = self.module.borrow_mut();
        match &*module {
            Module::Here(decode) => {
                let [track, enhanced, fresh] = [track.0.into(), enhanced.into(), fresh.into()];
                let frame = Uint8Array::from(frame).into();
                let made = decode.call4(&JsValue::NULL, &track, &enhanced, &fresh, &frame);
                match made.ok().and_then(|it| it.dyn_into::<Uint8Array>().ok()) {
                    Some(samples) => Decoded::Samples(samples.to_vec()),
                    None => Decoded::Broken,
                }
            }
            Module::Missing => Decoded::Broken,
            Module::Loading => Decoded::Wait,
            Module::Wanted => {
                *module = Module::Loading;
                drop(module);
                self.load();
                Decoded::Wait
            }
        }
    }
}
