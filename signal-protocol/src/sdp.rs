//! SDP in and out (RFC 8839, 8841): a browser's own SDP is read into a [`Description`], and what the browser is given is made here from a
//! template. Foreign SDP never reaches a browser.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::description::{
    Address, CandidateKind, Description, DescriptionError, IceCandidate, Setup, TcpType, Transport,
};

/// The largest message that our template announces; the peer wire stays below with 64 KiB.
pub const MAX_MESSAGE_SIZE: u32 = 262_144;

/// Why an SDP or a candidate line is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    #[error("longer than {SDP_MAX} bytes")]
    TooLong,
    #[error("no a={0}")]
    Missing(&'static str),
    #[error("a={0} says two different things")]
    Twice(&'static str),
    #[error("a={0} is malformed")]
    Malformed(&'static str),
    #[error("not an SDP with exactly one data channel section")]
    Sections,
    #[error(transparent)]
    Description(#[from] DescriptionError),
}

/// Whether an SDP is the first or the second of its exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Offer,
    Answer,
}

impl Description {
    /// Reads the local description of an RTCPeerConnection that has data channels only.
    pub fn from_local_sdp(sdp: &str, session_nonce: [u8; 16]) -> Result<Self, SdpError> {
        if sdp.len() > SDP_MAX {
            return Err(SdpError::TooLong);
        }
        if sdp.lines().filter(|line| line.starts_with("m=")).count() != 1 {
            return Err(SdpError::Sections);
        }
        let fingerprint = only(sdp, "fingerprint")?;
        let mut candidates = Vec::new();
        for line in attributes(sdp, "candidate") {
            candidates.extend(IceCandidate::parse(line)?);
        }
        let description = Self {
            session_nonce,
            ufrag: only(sdp, "ice-ufrag")?.to_string(),
            pwd: only(sdp, "ice-pwd")?.to_string(),
            fingerprint: parse_fingerprint(fingerprint)
                .ok_or(SdpError::Malformed("fingerprint"))?,
            setup: match only(sdp, "setup")? {
                "actpass" => Setup::ActPass,
                "active" => Setup::Active,
                "passive" => Setup::Passive,
                _ => return Err(SdpError::Malformed("setup")),
            },
            candidates,
        };
        description.validate()?;
        Ok(description)
    }

    /// The SDP to give to `setRemoteDescription`, candidates included.
    ///
    /// # Errors
    /// If a field is outside its grammar, which an opened blob never is.
    pub fn to_remote_sdp(&self) -> Result<String, SdpError> {
        self.validate()?;
        let setup = match self.setup {
            Setup::ActPass => "actpass",
            Setup::Active => "active",
            Setup::Passive => "passive",
        };
        let mut sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
             m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n\
             a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=ice-options:trickle\r\na=fingerprint:sha-256 {}\r\na=setup:{setup}\r\n\
             a=sctp-port:5000\r\na=max-message-size:{MAX_MESSAGE_SIZE}\r\n",
            self.ufrag,
            self.pwd,
            format_fingerprint(&self.fingerprint),
        );
        for candidate in &self.candidates {
            write!(sdp, "a={}\r\n", candidate.to_line()).expect("writing to a string");
        }
        Ok(sdp)
    }
}

impl IceCandidate {
    /// Reads what `RTCIceCandidate.candidate` holds, with or without a leading `a=` or `candidate:`.
    ///
    /// `None` for one that is of no use to a peer: another component or transport than ours, an address family or host name we do not know, or
    /// nothing at all (Firefox says the empty string after its last one).
    pub fn parse(line: &str) -> Result<Option<Self>, SdpError> {
        let malformed = SdpError::Malformed("candidate");
        if line.len() > LINE_MAX {
            return Err(SdpError::TooLong);
        }
        let line = line.strip_prefix("a=").unwrap_or(line);
        let line = line.strip_prefix("candidate:").unwrap_or(line);
        if !line.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            return Err(malformed);
        }
        if line.is_empty() {
            return Ok(None);
        }
        let mut words = line.split(' ');
        let mut word = || words.next().ok_or(malformed);
        let (foundation, component, transport) = (word()?, word()?, word()?);
        let (priority, address, port) = (word()?, word()?, word()?);
        let (typ, kind) = (word()?, word()?);
        let extensions: Vec<&str> = words.collect();
        let extension = |name: &str| {
            extensions
                .chunks(2)
                .find(|pair| pair[0] == name)
                .and_then(|pair| pair.get(1).copied())
        };
        let priority = number(priority).ok_or(malformed)?;
        let port = number(port)
            .and_then(|port| u16::try_from(port).ok())
            .ok_or(malformed)?;
        if typ != "typ" {
            return Err(malformed);
        }
        let kind = match kind {
            "host" => CandidateKind::Host,
            "srflx" => CandidateKind::ServerReflexive,
            "prflx" => CandidateKind::PeerReflexive,
            "relay" => CandidateKind::Relay,
            _ => return Ok(None),
        };
        let transport = match (transport, extension("tcptype")) {
            (udp, _) if udp.eq_ignore_ascii_case("udp") => Transport::Udp,
            (tcp, Some(tcp_type)) if tcp.eq_ignore_ascii_case("tcp") => {
                Transport::Tcp(match tcp_type {
                    "active" => TcpType::Active,
                    "passive" => TcpType::Passive,
                    "so" => TcpType::SimultaneousOpen,
                    _ => return Err(malformed),
                })
            }
            _ => return Ok(None),
        };
        let address = match (address.parse(), address.strip_suffix(".local")) {
            (Ok(IpAddr::V4(address)), _) => Address::V4(address.octets()),
            (Ok(IpAddr::V6(address)), _) => Address::V6(address.octets()),
            (Err(_), Some(name)) => Address::Mdns(name.to_string()),
            (Err(_), None) => return Ok(None),
        };
        if component != "1" || port == 0 {
            return Ok(None);
        }
        let candidate = Self {
            foundation: foundation.to_string(),
            transport,
            priority,
            address,
            port,
            kind,
        };
        crate::description::validate_candidates(core::slice::from_ref(&candidate))?;
        Ok(Some(candidate))
    }

    /// The line for `addIceCandidate`, without `a=`. The related address that RFC 8839 demands is written as unknown.
    pub fn to_line(&self) -> String {
        let (transport, tcp_type) = match self.transport {
            Transport::Udp => ("udp", ""),
            Transport::Tcp(TcpType::Active) => ("tcp", " tcptype active"),
            Transport::Tcp(TcpType::Passive) => ("tcp", " tcptype passive"),
            Transport::Tcp(TcpType::SimultaneousOpen) => ("tcp", " tcptype so"),
        };
        let address = match &self.address {
            Address::V4(octets) => Ipv4Addr::from(*octets).to_string(),
            Address::V6(octets) => Ipv6Addr::from(*octets).to_string(),
            Address::Mdns(name) => format!("{name}.local"),
        };
        let unknown = if matches!(self.address, Address::V6(_)) {
            "::"
        } else {
            "0.0.0.0"
        };
        let (kind, has_related) = match self.kind {
            CandidateKind::Host => ("host", false),
            CandidateKind::ServerReflexive => ("srflx", true),
            CandidateKind::PeerReflexive => ("prflx", true),
            CandidateKind::Relay => ("relay", true),
        };
        let related = if has_related {
            format!(" raddr {unknown} rport 0")
        } else {
            String::new()
        };
        format!(
            "candidate:{} 1 {transport} {} {address} {} typ {kind}{related}{tcp_type}",
            self.foundation, self.priority, self.port
        )
    }
}

/// The values of all `a=name:value` lines.
fn attributes<'a>(sdp: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    sdp.lines().filter_map(move |line| {
        line.strip_prefix("a=")?
            .strip_prefix(name)?
            .strip_prefix(':')
    })
}

/// The one value of an attribute that may stand in the session and in its section, but must say the same.
fn only<'a>(sdp: &'a str, name: &'static str) -> Result<&'a str, SdpError> {
    let mut values = attributes(sdp, name);
    let first = values.next().ok_or(SdpError::Missing(name))?;
    if values.all(|other| other == first) {
        Ok(first)
    } else {
        Err(SdpError::Twice(name))
    }
}

/// `sha-256 AA:BB:…`, 32 octets.
fn parse_fingerprint(value: &str) -> Option<[u8; 32]> {
    let (hash, hex) = value.split_once(' ')?;
    if !hash.eq_ignore_ascii_case("sha-256") {
        return None;
    }
    let mut fingerprint = [0; 32];
    let mut octets = hex.split(':');
    for octet in &mut fingerprint {
        let digits = octets
            .next()
            .filter(|digits| digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *octet = u8::from_str_radix(digits, 16).ok()?;
    }
    octets.next().is_none().then_some(fingerprint)
}

fn format_fingerprint(fingerprint: &[u8; 32]) -> String {
    let mut text = String::with_capacity(95);
    for (i, octet) in fingerprint.iter().enumerate() {
        let colon = if i == 0 { "" } else { ":" };
        write!(text, "{colon}{octet:02X}").expect("writing to a string");
    }
    text
}

/// Decimal digits only: `parse` alone would take a sign.
fn number(text: &str) -> Option<u32> {
    (text.len() <= 10 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// A browser's SDP with two dozen candidates is 3 KiB.
const SDP_MAX: usize = 16 * 1024;
/// A candidate line of a browser is below 200 bytes.
const LINE_MAX: usize = 512;
