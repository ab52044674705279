//! What is done to an RTCPeerConnection, without knowing whose it is.

use crate::door;
use baton_signal_protocol::{IceCandidate, IceServer};
use js_sys::Array;
use std::cell::Cell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    RtcConfiguration, RtcDataChannel, RtcDataChannelInit, RtcIceCandidateInit, RtcIceServer,
    RtcPeerConnection, RtcSdpType, RtcSessionDescriptionInit,
};

/// An RTCPeerConnection with its two channels, not yet with anybody.
pub struct Raw {
    /// The number that the connection will have.
    pub conn: u64,
    pub pc: RtcPeerConnection,
    /// Control and data; `None` where the worker has them.
    pub channels: Option<(RtcDataChannel, RtcDataChannel)>,
    /// Its offer, where one is on its way. A second one would have another mid than the template's.
    pub offer: Option<js_sys::Promise>,
}

impl Raw {
    /// `None` where the browser refuses one more. `hand_over` takes the channels to the worker, if it can: only in the task that made
    /// them may they move, and nothing is lost on the way, because nobody is connected yet (webrtc-pc#3058).
    pub fn new(
        ice: &[IceServer],
        conn: u64,
        hand_over: impl FnOnce(&RtcDataChannel, &RtcDataChannel) -> bool,
    ) -> Option<Raw> {
        let pc = RtcPeerConnection::new_with_configuration(&configuration(ice)).ok()?;
        let control = channel(&pc, "control", 0, true);
        let data = channel(&pc, "data", 1, false);
        let moved = hand_over(&control, &data);
        Some(Raw {
            conn,
            pc,
            channels: (!moved).then_some((control, data)),
            offer: None,
        })
    }
}

fn channel(pc: &RtcPeerConnection, label: &str, id: u16, ordered: bool) -> RtcDataChannel {
    let init = RtcDataChannelInit::new();
    init.set_negotiated(true);
    init.set_id(id);
    init.set_ordered(ordered);
    pc.create_data_channel_with_data_channel_dict(label, &init)
}

pub fn configuration(servers: &[IceServer]) -> RtcConfiguration {
    let list = Array::new();
    for server in servers {
        let entry = RtcIceServer::new();
        entry.set_urls(&server.urls.iter().map(JsValue::from).collect::<Array>());
        if let Some(username) = &server.username {
            entry.set_username(username);
        }
        if let Some(credential) = &server.credential {
            entry.set_credential(credential);
        }
        list.push(&entry);
    }
    let configuration = RtcConfiguration::new();
    configuration.set_ice_servers(&list);
    // Of the connection that is made before its peer is known: its addresses are found meanwhile. (Firefox knows no pool.)
    door::set(&configuration, "iceCandidatePoolSize", 1);
    configuration
}

/// `setConfiguration` with its argument, which web-sys leaves out.
pub fn reconfigure(
    pc: &RtcPeerConnection,
    configuration: &RtcConfiguration,
) -> Result<(), JsValue> {
    let set: js_sys::Function = js_sys::Reflect::get(pc, &"setConfiguration".into())?.dyn_into()?;
    set.call1(pc, configuration).map(|_| ())
}

/// Sets our description; `remote` is the offer's SDP where we answer. `described` gets its SDP while it is being set, which takes
/// some 10 ms: what the other side says to it waits in the connection's own queue (JSEP, RFC 9429 section 4.1; the operations chain).
pub async fn describe(
    pc: &RtcPeerConnection,
    offer: Option<js_sys::Promise>,
    remote: Option<String>,
    described: impl FnOnce(String),
) -> Result<(), JsValue> {
    let (kind, created) = match remote {
        Some(offer) => {
            set_remote(pc, RtcSdpType::Offer, &offer).await?;
            (
                RtcSdpType::Answer,
                JsFuture::from(pc.create_answer()).await?,
            )
        }
        None => (
            RtcSdpType::Offer,
            JsFuture::from(offer.unwrap_or_else(|| pc.create_offer())).await?,
        ),
    };
    let text = js_sys::Reflect::get(&created, &"sdp".into())?
        .as_string()
        .unwrap_or_default();
    let local = RtcSessionDescriptionInit::new(kind);
    local.set_sdp(&text);
    let set = pc.set_local_description(&local);
    described(text);
    JsFuture::from(set).await.map(|_| ())
}

pub async fn set_remote(
    pc: &RtcPeerConnection,
    kind: RtcSdpType,
    sdp: &str,
) -> Result<(), JsValue> {
    let remote = RtcSessionDescriptionInit::new(kind);
    remote.set_sdp(sdp);
    JsFuture::from(pc.set_remote_description(&remote))
        .await
        .map(|_| ())
}

/// A candidate that the browser does not take (a family it lacks, say) costs only itself.
pub async fn add_candidates(pc: &RtcPeerConnection, candidates: &[IceCandidate]) {
    for candidate in candidates {
        let init = RtcIceCandidateInit::new(&candidate.to_line());
        init.set_sdp_mid(Some("0"));
        init.set_sdp_m_line_index(Some(0));
        let _ =
            JsFuture::from(pc.add_ice_candidate_with_opt_rtc_ice_candidate_init(Some(&init))).await;
    }
}

/// Looks up whether the selected candidate pair is relayed (webrtc-stats: the transport names it; Firefox marks the pair itself).
pub async fn find_path(pc: RtcPeerConnection, relayed: Rc<Cell<bool>>) {
    let Ok(report) = JsFuture::from(pc.get_stats()).await else {
        return;
    };
    let report: js_sys::Map = report.unchecked_into();
    let text = |entry: &JsValue, key: &str| {
        js_sys::Reflect::get(entry, &key.into())
            .ok()
            .and_then(|v| v.as_string())
    };
    let mut selected = None;
    report.for_each(&mut |entry, id| match text(&entry, "type").as_deref() {
        Some("transport") => {
            selected = text(&entry, "selectedCandidatePairId").or(selected.take());
        }
        Some("candidate-pair") => {
            let marked = js_sys::Reflect::get(&entry, &"selected".into());
            if marked.is_ok_and(|marked| marked.is_truthy()) {
                selected = id.as_string();
            }
        }
        _ => {}
    });
    let Some(pair) = selected else { return };
    let Some(local) = text(&report.get(&pair.into()), "localCandidateId") else {
        return;
    };
    let candidate = report.get(&local.into());
    if !candidate.is_undefined() {
        relayed.set(text(&candidate, "candidateType").as_deref() == Some("relay"));
    }
}
