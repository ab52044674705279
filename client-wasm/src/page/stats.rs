//! Numbers as the plain objects of the TypeScript face (web/src/api.ts).

use super::stream::{PageStream, Side};
use crate::bridge::{Meta, PeerRole};
use crate::door::set;
use baton_content::PeerId;
use js_sys::{Array, Object};
use wasm_bindgen::prelude::*;

/// `Meta`.
pub fn meta_object(meta: &Meta) -> JsValue {
    let object: JsValue = Object::new().into();
    set(&object, "title", meta.title.as_str());
    set(&object, "name", meta.name.as_str());
    set(&object, "folder", meta.folder);
    let size = meta.size as f64;
    facts(&object, size, &meta.mime, meta.playable);
    findings(&object, meta.duration_us, meta.blake3);
    let files = meta.files.iter().map(|file| {
        let object: JsValue = Object::new().into();
        set(&object, "path", file.path.as_str());
        facts(&object, file.size as f64, &file.mime, file.playable);
        findings(&object, file.duration_us, file.blake3);
        object
    });
    set(&object, "files", files.collect::<Array>());
    object
}

fn facts(object: &JsValue, size: f64, mime: &str, playable: bool) {
    set(object, "size", size);
    set(object, "mime", mime);
    set(object, "playable", playable);
}

fn findings(object: &JsValue, duration_us: Option<u64>, blake3: Option<[u8; 32]>) {
    let duration = duration_us.map(|us| us as f64 / 1e6);
    set(object, "duration_s", option(duration));
    set(object, "blake3", hex(blake3));
}

/// `ShareStats` and `ViewStats`.
pub fn stats_object(stream: &PageStream) -> JsValue {
    let s = &stream.worker_stats;
    let object: JsValue = Object::new().into();
    let put = |key: &str, value: f64| set(&object, key, value);
    let sum = |f: fn(&crate::bridge::PeerStats) -> u64| s.peers.iter().map(f).sum::<u64>() as f64;
    set(&object, "phase", stream.phase());
    set(
        &object,
        "complete",
        stream.side == Side::Share || s.complete,
    );
    put("have", have(stream));
    put("size", stream.meta.as_ref().map_or(0.0, |m| m.size as f64));
    put("bytes_verified", s.bytes_verified as f64);
    put("bytes_stored", s.bytes_stored as f64);
    put("bytes_received", s.bytes_received as f64);
    put("bytes_sent", s.bytes_sent as f64);
    put("bytes_confirmed", s.bytes_confirmed as f64);
    put("confirmed_by", f64::from(s.confirmed_by));
    put("verified_blocks", s.verified_blocks as f64);
    put("rejected_blocks", s.rejected_blocks as f64);
    put("from_viewers", s.from_viewers as f64);
    put("others", f64::from(s.others_permille) / 1000.0);
    put("complete_peers", f64::from(s.complete_peers));
    put("stalls", f64::from(stream.stalls()));
    put("down_bps", sum(|p| p.down_bytes_per_second));
    put("up_bps", sum(|p| p.up_bytes_per_second));
    set(&object, "startup_ms", option(stream.startup_ms()));
    set(
        &object,
        "hash_progress",
        option(s.hash_permille.map(|p| f64::from(p) / 1000.0)),
    );
    set(
        &object,
        "blake3",
        hex(s.blake3.or(stream.meta.as_ref().and_then(|m| m.blake3))),
    );
    set(&object, "paused", stream.paused);
    let (direct, relay) = stream.path_counts();
    let paths: JsValue = Object::new().into();
    set(&paths, "direct", direct);
    set(&paths, "relay", relay);
    set(&object, "path_counts", paths);
    set(&object, "peers", peers(stream));
    set(&object, "problem", problem(stream));
    if stream.side == Side::View {
        set(&object, "have_ranges", have_ranges(stream));
        set(&object, "file", option(s.file.map(f64::from)));
    }
    object
}

/// By bytes, as a person counts: the engine's own measure takes a short last piece, and the manifest, for whole ones.
fn have(stream: &PageStream) -> f64 {
    let s = &stream.worker_stats;
    let size = stream.meta.as_ref().map_or(0, |m| m.size);
    if stream.side == Side::Share || s.complete {
        1.0
    } else if size == 0 {
        0.0
    } else {
        // One is said of a whole only.
        (s.bytes_verified as f64 / size as f64).min(0.999)
    }
}

fn have_ranges(stream: &PageStream) -> Array {
    let file = stream.worker_stats.file.unwrap_or_default() as usize;
    let file = stream.meta.as_ref().and_then(|meta| meta.files.get(file));
    let size = file.map_or(0, |file| file.size).max(1) as f64;
    let pair = |(from, to): &(u64, u64)| {
        Array::of2(&(*from as f64 / size).into(), &(*to as f64 / size).into())
    };
    stream.worker_stats.have_ranges.iter().map(pair).collect()
}

fn peers(stream: &PageStream) -> Array {
    let list = Array::new();
    for peer in &stream.worker_stats.peers {
        let object: JsValue = Object::new().into();
        set(&object, "id", PeerId(peer.id).to_string());
        set(&object, "role", role(peer.role));
        set(
            &object,
            "rtt_ms",
            option(peer.rtt_us.map(|us| us as f64 / 1000.0)),
        );
        set(&object, "down_bps", peer.down_bytes_per_second as f64);
        set(&object, "up_bps", peer.up_bytes_per_second as f64);
        set(&object, "received", peer.received as f64);
        set(&object, "sent", peer.sent as f64);
        set(
            &object,
            "path",
            if stream.relayed(peer.conn) {
                "relay"
            } else {
                "direct"
            },
        );
        set(
            &object,
            "region",
            stream
                .regions
                .get(&peer.id)
                .map_or(JsValue::NULL, |r| r.as_str().into()),
        );
        set(
            &object,
            "complete",
            f64::from(peer.complete_permille) / 1000.0,
        );
        list.push(&object);
    }
    list
}

fn problem(stream: &PageStream) -> JsValue {
    let Some((problem, retry_s)) = stream.current_problem() else {
        return JsValue::NULL;
    };
    let object: JsValue = Object::new().into();
    set(&object, "code", problem.code.name());
    if let Some(detail) = &problem.detail {
        set(&object, "detail", detail.as_str());
    }
    if let Some(retry_s) = retry_s {
        set(&object, "retry_s", retry_s);
    }
    object
}

fn role(role: PeerRole) -> &'static str {
    match role {
        PeerRole::Publisher => "publisher",
        PeerRole::Seeder => "seeder",
        PeerRole::Viewer => "viewer",
        PeerRole::Keeper => "keeper",
    }
}

fn option(value: Option<f64>) -> JsValue {
    value.map_or(JsValue::NULL, JsValue::from_f64)
}

fn hex(hash: Option<[u8; 32]>) -> JsValue {
    use std::fmt::Write;
    let Some(hash) = hash else {
        return JsValue::NULL;
    };
    let mut text = String::with_capacity(64);
    for byte in hash {
        write!(text, "{byte:02x}").expect("strings take everything");
    }
    text.into()
}

/// `Still` of web/src/api.ts; `null` where there are no bytes.
pub fn still_object(at_s: f64, mime: JsValue, data: JsValue) -> JsValue {
    if data.is_undefined() {
        return JsValue::NULL;
    }
    let still: JsValue = Object::new().into();
    set(&still, "at_s", at_s);
    set(&still, "mime", mime);
    set(&still, "data", data);
    still
}
