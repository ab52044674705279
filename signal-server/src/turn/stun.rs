//! STUN messages (RFC 8489) as far as TURN (RFC 8656) needs them: read without trust, written whole.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;

/// A message that was checked for its form; attributes are read where they stand.
pub struct Message<'a> {
    raw: &'a [u8],
    pub class: Class,
    pub method: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Request = 0,
    Indication = 1,
    Success = 2,
    Error = 3,
}

pub mod method {
    pub const BINDING: u16 = 0x001;
    pub const ALLOCATE: u16 = 0x003;
    pub const REFRESH: u16 = 0x004;
    pub const SEND: u16 = 0x006;
    pub const DATA: u16 = 0x007;
    pub const CREATE_PERMISSION: u16 = 0x008;
    pub const CHANNEL_BIND: u16 = 0x009;
}

pub mod attribute {
    pub const USERNAME: u16 = 0x0006;
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub const ERROR_CODE: u16 = 0x0009;
    pub const CHANNEL_NUMBER: u16 = 0x000C;
    pub const LIFETIME: u16 = 0x000D;
    pub const XOR_PEER_ADDRESS: u16 = 0x0012;
    pub const DATA: u16 = 0x0013;
    pub const REALM: u16 = 0x0014;
    pub const NONCE: u16 = 0x0015;
    pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    pub const REQUESTED_TRANSPORT: u16 = 0x0019;
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub const FINGERPRINT: u16 = 0x8028;
}

impl<'a> Message<'a> {
    /// `None` for what is no STUN message, or is cut off, or has attributes that do not fit.
    pub fn read(raw: &'a [u8]) -> Option<Self> {
        let kind = u16::from_be_bytes(*raw.first_chunk()?);
        let len = usize::from(u16::from_be_bytes(raw.get(2..4)?.try_into().ok()?));
        let is_stun = kind & 0xC000 == 0
            && len % 4 == 0
            && raw.len() == HEADER_LEN + len
            && raw[4..8] == COOKIE;
        let message = Self {
            raw,
            class: match (kind >> 7 & 2) | (kind >> 4 & 1) {
                0 => Class::Request,
                1 => Class::Indication,
                2 => Class::Success,
                _ => Class::Error,
            },
            method: kind & 0xF | kind >> 1 & 0x70 | kind >> 2 & 0xF80,
        };
        // The last attribute must end where the message does.
        (is_stun && message.attributes().last().is_none_or(|it| it.1.is_some())).then_some(message)
    }

    pub fn transaction(&self) -> [u8; 12] {
        self.raw[8..20].try_into().expect("read() saw the header")
    }

    /// The first attribute of this type before MESSAGE-INTEGRITY, or that itself: what follows it is not signed and means nothing.
    pub fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.all(kind).next()
    }

    pub fn all(&self, kind: u16) -> impl Iterator<Item = &'a [u8]> {
        let mut ended = false;
        self.attributes()
            .take_while(move |(_, value)| {
                let goes_on = !ended && value.is_some();
                ended |= matches!(value, Some((attribute::MESSAGE_INTEGRITY, _)));
                goes_on
            })
            .filter_map(move |(_, value)| value.filter(|it| it.0 == kind).map(|it| it.1))
    }

    pub fn text(&self, kind: u16) -> Option<&'a str> {
        std::str::from_utf8(self.get(kind)?).ok()
    }

    pub fn number(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    pub fn peers(&self) -> impl Iterator<Item = Option<SocketAddr>> {
        let transaction = self.transaction();
        self.all(attribute::XOR_PEER_ADDRESS)
            .map(move |value| read_address(value, &transaction))
    }

    /// An attribute that must be understood and that we do not know, before the integrity.
    pub fn unknown(&self) -> Option<u16> {
        use attribute::*;
        let known = [
            USERNAME,
            MESSAGE_INTEGRITY,
            CHANNEL_NUMBER,
            LIFETIME,
            XOR_PEER_ADDRESS,
            DATA,
            REALM,
            NONCE,
            REQUESTED_ADDRESS_FAMILY,
            REQUESTED_TRANSPORT,
            XOR_MAPPED_ADDRESS,
        ];
        self.attributes()
            .filter_map(|(_, value)| Some(value?.0))
            .take_while(|kind| *kind != MESSAGE_INTEGRITY)
            .find(|kind| *kind < 0x8000 && !known.contains(kind))
    }

    /// Whether MESSAGE-INTEGRITY is there and made with `key`.
    pub fn is_signed_with(&self, key: &[u8; 16]) -> bool {
        let signed = self
            .attributes()
            .find(|(_, value)| value.is_some_and(|it| it.0 == attribute::MESSAGE_INTEGRITY));
        let Some((at, Some((_, tag)))) = signed else {
            return false;
        };
        // As if the message ended with this attribute.
        let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("any length");
        mac.update(&self.raw[..2]);
        mac.update(&((at + 24 - HEADER_LEN) as u16).to_be_bytes());
        mac.update(&self.raw[4..at]);
        mac.verify_slice(tag).is_ok()
    }

    /// Place, type and value of each attribute; one `None` at the end when something does not fit.
    fn attributes(&self) -> impl Iterator<Item = (usize, Option<(u16, &'a [u8])>)> + use<'a> {
        let raw = self.raw;
        let mut at = HEADER_LEN;
        std::iter::from_fn(move || {
            if at >= raw.len() {
                return None;
            }
            let here = at;
            let value = || {
                let kind = u16::from_be_bytes(*raw.get(here..)?.first_chunk()?);
                let len = usize::from(u16::from_be_bytes(*raw.get(here + 2..)?.first_chunk()?));
                Some((kind, raw.get(here + 4..here + 4 + len)?))
            };
            let value = value();
            at = value.map_or(raw.len(), |(_, value)| {
                here + 4 + value.len().next_multiple_of(4)
            });
            Some((here, value.filter(|_| at <= raw.len())))
        })
    }
}

/// A message being written.
pub struct Writer {
    raw: Vec<u8>,
}

impl Writer {
    pub fn new(class: Class, method: u16, transaction: &[u8; 12]) -> Self {
        let class = (class as u16 & 1) << 4 | (class as u16 & 2) << 7;
        let kind = method & 0xF | (method & 0x70) << 1 | (method & 0xF80) << 2 | class;
        let mut raw = Vec::with_capacity(128);
        raw.extend(kind.to_be_bytes());
        raw.extend([0, 0]);
        raw.extend(COOKIE);
        raw.extend(transaction);
        Self { raw }
    }

    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.raw.extend(kind.to_be_bytes());
        self.raw.extend((value.len() as u16).to_be_bytes());
        self.raw.extend(value);
        self.raw.resize(self.raw.len().next_multiple_of(4), 0);
        self
    }

    /// Puts another byte where one was written, if there is one.
    #[cfg(test)]
    pub fn change(mut self, at: usize, byte: u8) -> Self {
        if let Some(there) = self.raw.get_mut(at) {
            *there = byte;
        }
        self
    }

    pub fn number(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    pub fn error(self, code: u16, reason: &str) -> Self {
        let head = [0, 0, (code / 100) as u8, (code % 100) as u8];
        self.attribute(attribute::ERROR_CODE, &[&head, reason.as_bytes()].concat())
    }

    pub fn address(self, kind: u16, address: SocketAddr) -> Self {
        let transaction: [u8; 12] = self.raw[8..20].try_into().expect("a header");
        let port = address.port() ^ 0x2112;
        let mask: Vec<u8> = COOKIE.iter().chain(&transaction).copied().collect();
        let (family, octets) = match address.ip() {
            IpAddr::V4(v4) => (1, v4.octets().to_vec()),
            IpAddr::V6(v6) => (2, v6.octets().to_vec()),
        };
        let masked: Vec<u8> = octets
            .iter()
            .zip(mask)
            .map(|(byte, mask)| byte ^ mask)
            .collect();
        self.attribute(
            kind,
            &[&[0, family][..], &port.to_be_bytes(), &masked].concat(),
        )
    }

    pub fn sign(mut self, key: &[u8; 16]) -> Self {
        self.set_len(24);
        let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("any length");
        mac.update(&self.raw);
        let tag = mac.finalize().into_bytes();
        self.attribute(attribute::MESSAGE_INTEGRITY, &tag)
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.set_len(8);
        let sum = crc32(&self.raw) ^ 0x5354_554E;
        self.number(attribute::FINGERPRINT, sum).raw
    }

    fn set_len(&mut self, more: usize) {
        let len = (self.raw.len() - HEADER_LEN + more) as u16;
        self.raw[2..4].copy_from_slice(&len.to_be_bytes());
    }
}

/// Data on a channel (RFC 8656 §12.4): `None` for what is none, or cut off.
pub fn read_channel_data(raw: &[u8]) -> Option<(u16, &[u8])> {
    let channel = u16::from_be_bytes(*raw.first_chunk()?);
    let len = usize::from(u16::from_be_bytes(raw.get(2..4)?.try_into().ok()?));
    let data = raw.get(4..4 + len)?;
    (0x4000..=0x4FFF)
        .contains(&channel)
        .then_some((channel, data))
}

pub fn channel_data(channel: u16, data: &[u8]) -> Vec<u8> {
    let len = data.len() as u16;
    [&channel.to_be_bytes()[..], &len.to_be_bytes(), data].concat()
}

/// The key of a long-term credential (RFC 8489 §9.2.2).
pub fn long_term_key(username: &str, realm: &str, password: &str) -> [u8; 16] {
    Md5::digest(format!("{username}:{realm}:{password}")).into()
}

pub fn read_address(value: &[u8], transaction: &[u8; 12]) -> Option<SocketAddr> {
    let [_, family, port @ ..] = value.first_chunk::<4>()?;
    let port = u16::from_be_bytes(*port) ^ 0x2112;
    let mask = COOKIE.iter().chain(transaction);
    let octets: Vec<u8> = value[4..]
        .iter()
        .zip(mask)
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    let ip: IpAddr = match family {
        1 => Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into(),
        2 => Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc: u32, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 }
        })
    })
}

const HEADER_LEN: usize = 20;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5769 §2.4: a request with long-term authentication.
    const SAMPLE: &str = "000100602112a44278ad3433c6ad72c029da412e\
        00060012e3839ee38388e383aae38383e382afe382b90000\
        0015001c662f2f3439396b39353464364f4c33346f4c394653547679363473410\
        014000b6578616d706c652e6f726700\
        00080014f67024656dd64a3e02b8e0712e85c9a28ca89666";

    fn sample() -> Vec<u8> {
        (0..SAMPLE.len() / 2)
            .map(|at| u8::from_str_radix(&SAMPLE[2 * at..2 * at + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn the_sample_of_rfc_5769_verifies_with_its_password_and_no_other() {
        let raw = sample();
        let message = Message::read(&raw).unwrap();
        assert_eq!(
            (message.class, message.method),
            (Class::Request, method::BINDING)
        );
        let username = message.text(attribute::USERNAME).unwrap();
        assert_eq!(username, "\u{30de}\u{30c8}\u{30ea}\u{30c3}\u{30af}\u{30b9}");
        assert_eq!(message.text(attribute::REALM), Some("example.org"));
        let key = |password| long_term_key(username, "example.org", password);
        assert!(message.is_signed_with(&key("TheMatrIX")));
        assert!(!message.is_signed_with(&key("TheMatrix")));
        let mut altered = raw.clone();
        altered[40] ^= 1;
        assert!(
            !Message::read(&altered)
                .unwrap()
                .is_signed_with(&key("TheMatrIX"))
        );
    }

    #[test]
    fn what_is_written_reads_as_it_was() {
        let key = [7; 16];
        for address in ["192.0.2.1:32853", "[2001:db8::1]:9"] {
            let address: SocketAddr = address.parse().unwrap();
            let raw = Writer::new(Class::Indication, method::SEND, &[9; 12])
                .address(attribute::XOR_PEER_ADDRESS, address)
                .attribute(attribute::DATA, b"seven b")
                .sign(&key)
                .finish();
            let message = Message::read(&raw).unwrap();
            assert_eq!(
                (message.class, message.method),
                (Class::Indication, method::SEND)
            );
            assert_eq!(message.peers().collect::<Vec<_>>(), [Some(address)]);
            assert_eq!(message.get(attribute::DATA), Some(&b"seven b"[..]));
            assert!(message.is_signed_with(&key) && !message.is_signed_with(&[8; 16]));
        }
        let data = channel_data(0x4001, b"hello");
        assert_eq!(read_channel_data(&data), Some((0x4001, &b"hello"[..])));
    }

    #[test]
    fn what_follows_the_integrity_is_not_read() {
        let raw = Writer::new(Class::Request, method::ALLOCATE, &[9; 12])
            .sign(&[7; 16])
            .number(attribute::LIFETIME, 1)
            .finish();
        let message = Message::read(&raw).unwrap();
        assert!(message.is_signed_with(&[7; 16]));
        assert_eq!(message.number(attribute::LIFETIME), None);
        assert!(message.get(attribute::MESSAGE_INTEGRITY).is_some());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(mut raw in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), seems_right in proptest::bool::ANY) {
            if seems_right && raw.len() >= 20 {
                raw.truncate(20 + (raw.len() - 20) / 4 * 4);
                let len = (raw.len() - 20) as u16;
                raw[0] &= 0x3F;
                raw[2..4].copy_from_slice(&len.to_be_bytes());
                raw[4..8].copy_from_slice(&COOKIE);
            }
            let _ = read_channel_data(&raw);
            if let Some(message) = Message::read(&raw) {
                let _ = (message.peers().count(), message.unknown(), message.is_signed_with(&[0; 16]), message.number(attribute::LIFETIME));
            }
        }
    }
}
