//! Which ways a connection may take, which addresses the other side has, and which way was taken.

use crate::link::Ended;
use crate::sockets::Roomy;
use baton_signal_protocol::{Address, CandidateKind, IceCandidate, IceServer};
use baton_swarm::Path;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::transport::RTCDtlsRole;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceCandidate, RTCIceCandidateInit, RTCIceCandidateType, RTCIceServer, RTCIceTransportPolicy,
    RTCSessionDescription, SettingEngineBuilder,
};

/// Which ways a connection may take.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// Local addresses to use, unspecified ones for every interface of their family.
    pub bind: Vec<IpAddr>,
    /// Which ports of these; any without it.
    pub ports: Option<Ports>,
    /// Addresses at which the same ports are reached from outside.
    pub public: Vec<IpAddr>,
    /// Through a TURN server and no other way: nobody but it learns our address.
    pub relay_only: bool,
}

/// The ports that a firewall or a container passes on: each connection takes the next one that is free.
#[derive(Clone, Debug)]
pub struct Ports {
    first: u16,
    count: u32,
    next: Arc<AtomicU32>,
}

impl Ports {
    pub fn new(range: RangeInclusive<u16>) -> Ports {
        let (first, last) = (*range.start(), *range.end());
        Ports {
            first,
            count: u32::from(last.saturating_sub(first)) + 1,
            next: Arc::default(),
        }
    }

    /// One that is free at all of these addresses; the crate binds it a moment later.
    fn take(&self, bind: &[IpAddr]) -> Option<u16> {
        let free = |port: &u16| bind.iter().all(|ip| UdpSocket::bind((*ip, *port)).is_ok());
        let one = |_| {
            // No other connection of this process tries the same one meanwhile.
            let place = self.next.fetch_add(1, Ordering::Relaxed) % self.count;
            self.first + u16::try_from(place).unwrap_or(0)
        };
        (0..self.count).map(one).find(free)
    }
}

/// A connection that looks for its way by these.
pub async fn build<H: PeerConnectionEventHandler + 'static>(
    ice: &[IceServer],
    routes: &Routes,
    handler: H,
) -> Result<Arc<dyn PeerConnection>, Ended> {
    let servers = ice.iter().map(|server| RTCIceServer {
        urls: server.urls.clone(),
        username: server.username.clone().unwrap_or_default(),
        credential: server.credential.clone().unwrap_or_default(),
    });
    let configuration = RTCConfigurationBuilder::new()
        .with_ice_servers(servers.collect())
        .with_ice_transport_policy(match routes.relay_only {
            true => RTCIceTransportPolicy::Relay,
            false => RTCIceTransportPolicy::All,
        })
        .build();
    let bind = &routes.bind;
    let port = match &routes.ports {
        Some(ports) => ports.take(bind).ok_or("none of --udp-ports is free")?,
        None => 0,
    };
    // Candidates are addresses, never mDNS names: a browser that hides its own still reaches ours.
    let settings = SettingEngineBuilder::new()
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_answering_dtls_role(RTCDtlsRole::Server)
        .with_ice_timeouts(Some(SILENT), Some(GONE), Some(KEEPALIVE))
        .with_include_loopback_candidate(bind.iter().any(IpAddr::is_loopback));
    let pc = PeerConnectionBuilder::new()
        .with_configuration(configuration)
        .with_setting_engine(settings.build())
        .with_handler(Arc::new(handler))
        .with_runtime(Arc::new(Roomy))
        .with_udp_addrs(bind.iter().map(|ip| SocketAddr::new(*ip, port)).collect())
        .build()
        .await?;
    Ok(Arc::new(pc))
}

/// What is known of the other side.
#[derive(Default)]
pub struct Remote {
    described: bool,
    /// Candidates that came before the description.
    early: Vec<IceCandidate>,
    /// Where TURN servers take in what is for it.
    relays: BTreeSet<SocketAddr>,
}

impl Remote {
    /// Takes in its description, with the candidates that are in it and those that came before.
    pub async fn describe(
        &mut self,
        pc: &dyn PeerConnection,
        description: RTCSessionDescription,
    ) -> Result<(), Ended> {
        let lines = description.sdp.lines();
        let candidates = lines.filter_map(|line| line.strip_prefix("a=candidate:"));
        for candidate in candidates.flat_map(|line| IceCandidate::parse(line).ok().flatten()) {
            self.note(&candidate);
        }
        pc.set_remote_description(description).await?;
        self.described = true;
        let early = std::mem::take(&mut self.early);
        self.add(pc, early).await;
        Ok(())
    }

    /// Takes in further candidates. One that cannot be used (a family that we lack, say) costs only itself.
    pub async fn add(&mut self, pc: &dyn PeerConnection, candidates: Vec<IceCandidate>) {
        if !self.described {
            return self.early.extend(candidates);
        }
        for candidate in candidates {
            self.note(&candidate);
            let init = RTCIceCandidateInit {
                candidate: candidate.to_line(),
                sdp_mid: Some("0".into()),
                sdp_mline_index: Some(0),
                ..Default::default()
            };
            let _ = pc.add_ice_candidate(init).await;
        }
    }

    fn note(&mut self, candidate: &IceCandidate) {
        let ip = match candidate.address {
            Address::V4(octets) => IpAddr::from(octets),
            Address::V6(octets) => IpAddr::from(octets),
            Address::Mdns(_) => return,
        };
        if candidate.kind == CandidateKind::Relay {
            self.relays.insert(SocketAddr::new(ip, candidate.port));
        }
    }

    /// Whether the chosen pair is relayed, at either end. (The crate's statistics name candidates in pairs otherwise than alone.)
    pub async fn path(&self, pc: &dyn PeerConnection) -> Path {
        let Some(sctp) = pc.sctp().await else {
            return Path::Direct;
        };
        let ice = sctp.transport().ice_transport();
        match ice.get_selected_candidate_pair().await {
            Ok(Some(pair)) => self.path_of(pair.local(), pair.remote()),
            _ => Path::Direct,
        }
    }

    /// A check that comes through a relay before its candidate was told makes a "peer reflexive" candidate, and that name stays:
    /// what counts is whose address it is.
    fn path_of(&self, local: &RTCIceCandidate, remote: &RTCIceCandidate) -> Path {
        let at = |ip: IpAddr| SocketAddr::new(ip, remote.port);
        let is_relay = |candidate: &RTCIceCandidate| candidate.typ == RTCIceCandidateType::Relay;
        let at_a_relay = (remote.address.parse().map(at)).is_ok_and(|at| self.relays.contains(&at));
        match is_relay(local) || is_relay(remote) || at_a_relay {
            true => Path::Relay,
            false => Path::Direct,
        }
    }
}

/// Nothing came for so long: browsers ask for consent about every five seconds (RFC 7675).
const SILENT: Duration = Duration::from_secs(6);
/// And then for so long again: the other side is gone, and what it was given is free for others.
const GONE: Duration = Duration::from_secs(4);
/// How often to say that we are here when nothing else is sent.
const KEEPALIVE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(typ: RTCIceCandidateType, address: &str, port: u16) -> RTCIceCandidate {
        RTCIceCandidate {
            typ,
            address: address.into(),
            port,
            ..RTCIceCandidate::default()
        }
    }

    #[test]
    fn a_relay_whose_check_came_before_its_candidate_is_one_all_the_same() {
        let line =
            "candidate:1 1 udp 16777215 198.51.100.1 50000 typ relay raddr 203.0.113.7 rport 40001";
        let told = IceCandidate::parse(line).expect("a candidate");
        let mut remote = Remote::default();
        remote.note(&told.expect("one of use"));
        let host = seen(RTCIceCandidateType::Host, "10.0.0.2", 40001);
        let reflexive = |port| seen(RTCIceCandidateType::Prflx, "198.51.100.1", port);
        assert_eq!(remote.path_of(&host, &reflexive(50000)), Path::Relay);
        assert_eq!(remote.path_of(&host, &reflexive(50001)), Path::Direct);
        let relay = seen(RTCIceCandidateType::Relay, "198.51.100.1", 50001);
        assert_eq!(remote.path_of(&relay, &host), Path::Relay);
        assert_eq!(remote.path_of(&host, &relay), Path::Relay);
    }
}
