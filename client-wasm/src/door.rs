//! Small doors that page and worker share: time, randomness, event handlers, arrays for `postMessage`.

use js_sys::{Array, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
    #[wasm_bindgen(js_namespace = Date, js_name = now)]
    fn date_now() -> f64;
    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues)]
    fn get_random_values(array: &Uint8Array);
}

/// Milliseconds since this page or worker began; never goes back.
pub fn now_ms() -> f64 {
    performance_now()
}

/// Microseconds since this page or worker began.
pub fn now_us() -> u64 {
    (performance_now() * 1000.0) as u64
}

/// Seconds since 1970, as this machine believes.
pub fn unix_s() -> u64 {
    (date_now() / 1000.0) as u64
}

/// Fresh random bytes. `crypto.getRandomValues` is there without a secure context too.
pub fn random<const N: usize>() -> [u8; N] {
    let array = Uint8Array::new_with_length(N as u32);
    get_random_values(&array);
    let mut bytes = [0; N];
    array.copy_to(&mut bytes);
    bytes
}

/// A random share of `max`, for jitter.
pub fn jitter(max: u32) -> u32 {
    u32::from_le_bytes(random()) % max.max(1)
}

/// An event handler that lives as long as this value.
pub struct Handler {
    target: JsValue,
    event: &'static str,
    closure: Closure<dyn FnMut(JsValue)>,
}

impl Handler {
    /// Sets `on<event>`-style listeners through `addEventListener`.
    pub fn new(
        target: &web_sys::EventTarget,
        event: &'static str,
        f: impl FnMut(JsValue) + 'static,
    ) -> Handler {
        let closure = Closure::<dyn FnMut(JsValue)>::new(f);
        target
            .add_event_listener_with_callback(event, closure.as_ref().unchecked_ref())
            .expect("addEventListener does not throw for a function");
        Handler {
            target: target.into(),
            event,
            closure,
        }
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        let target: &web_sys::EventTarget = self.target.unchecked_ref();
        let _ = target
            .remove_event_listener_with_callback(self.event, self.closure.as_ref().unchecked_ref());
    }
}

/// A JavaScript array of these values.
pub fn array(values: &[JsValue]) -> Array {
    values.iter().collect()
}

/// A fresh ArrayBuffer with a copy of the bytes.
pub fn buffer(bytes: &[u8]) -> JsValue {
    Uint8Array::from(bytes).buffer().into()
}

/// The bytes of an ArrayBuffer or of a view of one.
pub fn bytes(value: &JsValue) -> Vec<u8> {
    Uint8Array::new(value).to_vec()
}

/// Frees an ArrayBuffer at once. The collectors of televisions' engines are slow to see what lies behind small objects: 25 MB of a film lay
/// about there (docs/measurements.md). To move it to where nobody is any more is the only way that these engines have.
#[cfg(not(feature = "simd"))]
pub fn free(buffer: &js_sys::ArrayBuffer) {
    thread_local! {
        static NOBODY: Option<(JsValue, js_sys::Function)> = nobody();
        static FREED: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
    }
    let freed = FREED.get().saturating_add(buffer.byte_length());
    FREED.set(if freed < COLLECT_BYTES { freed } else { 0 });
    NOBODY.with(|nobody| {
        if let Some((port, post)) = nobody {
            let _ = post.call2(port, &JsValue::NULL, &Array::of1(buffer));
        }
    });
    if freed >= COLLECT_BYTES {
        collect();
    }
}

/// Makes the collector look. What each message leaves behind is small, but these engines let it lie: 30 MB more after three minutes of film.
/// They look when buffers come to more than a limit, and one that nobody writes to takes address space only. Where there is none for it
/// things stay as they were.
#[cfg(not(feature = "simd"))]
fn collect() {
    if let Ok(constructor) = Reflect::get(&js_sys::global(), &"ArrayBuffer".into())
        && let Ok(constructor) = constructor.dyn_into::<js_sys::Function>()
    {
        let _ = Reflect::construct(&constructor, &Array::of1(&REMINDER_BYTES.into()));
    }
}

/// How much comes between two such looks: some eight seconds of a film of 8 Mbit/s.
#[cfg(not(feature = "simd"))]
const COLLECT_BYTES: u32 = 8 << 20;
/// As much as V8 7 to 9 let buffers grow by before they look (`kExternalAllocationSoftLimit`).
#[cfg(not(feature = "simd"))]
const REMINDER_BYTES: u32 = 64 << 20;

/// Frees an ArrayBuffer at once. Of a film of 24 Mbit/s that played four times as fast 90 MB lay about in Firefox, which collects late. Engines
/// of before 2023 (Chromium 114, Firefox 122) do as they like.
#[cfg(feature = "simd")]
pub fn free(buffer: &js_sys::ArrayBuffer) {
    if let Ok(transfer) = Reflect::get(buffer, &"transfer".into())
        && let Ok(transfer) = transfer.dyn_into::<js_sys::Function>()
    {
        // One that is gone already throws.
        let _ = transfer.call1(buffer, &0.into());
    }
}

/// A port whose other end is closed, and how to post to it.
#[cfg(not(feature = "simd"))]
fn nobody() -> Option<(JsValue, js_sys::Function)> {
    let get = |of: &JsValue, key: &str| Reflect::get(of, &key.into()).ok();
    let constructor = get(&js_sys::global(), "MessageChannel")?;
    let constructor: js_sys::Function = constructor.dyn_into().ok()?;
    let channel: JsValue = Reflect::construct(&constructor, &Array::new()).ok()?;
    let (port, other) = (get(&channel, "port1")?, get(&channel, "port2")?);
    let close: js_sys::Function = get(&other, "close")?.dyn_into().ok()?;
    close.call0(&other).ok()?;
    let post = get(&port, "postMessage")?.dyn_into().ok()?;
    Some((port, post))
}

/// Sets a property on an object of ours.
pub fn set(object: &JsValue, key: &str, value: impl Into<JsValue>) {
    Reflect::set(object, &JsValue::from_str(key), &value.into())
        .expect("plain objects take properties");
}

/// What an exception says.
pub fn message(error: &JsValue) -> String {
    Reflect::get(error, &JsValue::from_str("message"))
        .ok()
        .and_then(|m| m.as_string())
        .unwrap_or_else(|| format!("{error:?}"))
}

/// The name of a DOMException.
pub fn name(error: &JsValue) -> String {
    Reflect::get(error, &JsValue::from_str("name"))
        .ok()
        .and_then(|m| m.as_string())
        .unwrap_or_default()
}
