//! What the `webrtc` crate carries with nothing around it: two connections, one channel, messages of 49 KiB as Baton's.

use anyhow::{Result, anyhow};
use baton_client_native::sockets::Roomy;
use bytes::BytesMut;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    SettingEngineBuilder,
};
use webrtc::runtime::{Runtime, TokioRuntime};

struct Gathered(mpsc::UnboundedSender<()>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Gathered {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.0.send(());
        }
    }
}

/// Sends so many bytes and returns when they have arrived.
///
/// `room`: with sockets like a native peer's, instead of the system's.
pub async fn carry(bytes: u64, room: bool) -> Result<()> {
    let (giver, mut giver_gathered, out) = side(room).await?;
    let (taker, mut taker_gathered, into) = side(room).await?;
    giver
        .set_local_description(giver.create_offer(None).await?)
        .await?;
    giver_gathered.recv().await;
    taker
        .set_remote_description(
            giver
                .local_description()
                .await
                .ok_or_else(|| anyhow!("no offer"))?,
        )
        .await?;
    taker
        .set_local_description(taker.create_answer(None).await?)
        .await?;
    taker_gathered.recv().await;
    giver
        .set_remote_description(
            taker
                .local_description()
                .await
                .ok_or_else(|| anyhow!("no answer"))?,
        )
        .await?;
    let sending = tokio::spawn(async move {
        while !matches!(out.poll().await, Some(DataChannelEvent::OnOpen) | None) {}
        let message = BytesMut::from(vec![7u8; MESSAGE_BYTES].as_slice());
        let mut sent = 0;
        while sent < bytes {
            out.send(message.clone()).await?;
            sent += MESSAGE_BYTES as u64;
            while out.outstanding_bytes().await? > WINDOW_BYTES {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        anyhow::Ok(out)
    });
    let mut received = 0;
    while received < bytes {
        match into.poll().await {
            Some(DataChannelEvent::OnMessage(message)) => received += message.data.len() as u64,
            Some(_) => {}
            None => return Err(anyhow!("the channel closed")),
        }
    }
    sending.await??;
    giver.close().await?;
    taker.close().await?;
    Ok(())
}

type Side = (
    Arc<dyn PeerConnection>,
    mpsc::UnboundedReceiver<()>,
    Arc<dyn DataChannel>,
);

async fn side(room: bool) -> Result<Side> {
    let (gathered, wait) = mpsc::unbounded_channel();
    let runtime: Arc<dyn Runtime> = match room {
        true => Arc::new(Roomy),
        false => Arc::new(TokioRuntime),
    };
    let pc = PeerConnectionBuilder::new()
        .with_setting_engine(
            SettingEngineBuilder::new()
                .with_include_loopback_candidate(true)
                .build(),
        )
        .with_handler(Arc::new(Gathered(gathered)))
        .with_runtime(runtime)
        .with_udp_addrs(vec!["127.0.0.1:0".to_string()])
        .build()
        .await?;
    let init = RTCDataChannelInit {
        negotiated: Some(0),
        ..Default::default()
    };
    let channel = pc.create_data_channel("bench", Some(init)).await?;
    Ok((Arc::new(pc), wait, channel))
}

/// Three blocks.
const MESSAGE_BYTES: usize = 3 * 16 * 1024;
/// As a native peer's.
const WINDOW_BYTES: usize = 1 << 20;
