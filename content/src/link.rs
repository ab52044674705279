//! The link: what a person passes on (docs/protocol.md section 1).
//!
//! `https://HOST/#` and then base64url of
//! `version 1 | publisher 32 | secret 16 | TLVs: type 1, length 1, value | CRC-32 of all before it, 4 little-endian`.
//! The fragment never reaches a server.

use thiserror::Error;

use crate::id::PublisherId;
use crate::keys::{Secret, StreamKeys};
use crate::read::Reader;
use crate::text::{self, Undecodable};
use crate::ticket::Ticket;

/// All that is needed to find and watch a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub publisher: PublisherId,
    pub secret: Secret,
    servers: Servers,
    /// What a later version put in and this one does not know: passed on as it came.
    unknown: Vec<(u8, Vec<u8>)>,
}

impl Link {
    pub fn new(publisher: PublisherId, secret: Secret) -> Self {
        Link {
            publisher,
            secret,
            servers: Servers::default(),
            unknown: Vec::new(),
        }
    }

    /// Names one more server, as an origin: `https://host[:port]` or `http://host[:port]`.
    pub fn add_server(&mut self, origin: &str) -> Result<(), LinkError> {
        self.servers.add(origin)
    }

    /// Further servers that know the swarm, beside the one the link points at.
    pub fn servers(&self) -> &[String] {
        &self.servers.0
    }

    /// The fragment, without its `#`.
    pub fn encode(&self) -> String {
        let mut bytes = vec![LINK_VERSION];
        bytes.extend(self.publisher.0);
        bytes.extend(self.secret.0);
        self.servers.write(&mut bytes);
        for (kind, value) in &self.unknown {
            write_tlv(&mut bytes, *kind, value);
        }
        checked_text(bytes)
    }

    /// The whole link on a server's page.
    pub fn url(&self, origin: &str) -> String {
        format!("{}/#{}", origin.trim_end_matches('/'), self.encode())
    }

    /// Reads a fragment, with or without its `#`, or a whole link of which it takes what follows the first `#`.
    pub fn parse(text: &str) -> Result<Link, LinkError> {
        let bytes = checked_bytes(text)?;
        let mut reader = Reader::new(&bytes);
        match reader.u8() {
            Some(LINK_VERSION) => {}
            Some(version) if version & TICKET_BIT != 0 => return Err(LinkError::IsATicket),
            Some(version) => return Err(LinkError::UnknownVersion { version }),
            None => return Err(LinkError::NotALink),
        }
        let publisher = PublisherId(reader.array().ok_or(LinkError::Malformed)?);
        let secret = Secret(reader.array().ok_or(LinkError::Malformed)?);
        let (servers, unknown) = read_tlvs(reader)?;
        Ok(Link {
            publisher,
            secret,
            servers,
            unknown,
        })
    }

    /// What the link derives.
    pub fn keys(&self) -> StreamKeys {
        StreamKeys::derive(&self.publisher, &self.secret)
    }

    /// What a keeper needs: to join, serve and verify, not to read.
    pub fn ticket(&self) -> Ticket {
        let keys = self.keys();
        Ticket::new(
            self.publisher,
            keys.swarm,
            keys.signalling,
            self.servers.clone(),
        )
    }
}

/// Why a text is no link that this version can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LinkError {
    #[error("this is not a Baton link")]
    NotALink,
    #[error("the link is mistyped or incomplete: its checksum does not fit")]
    Mistyped,
    #[error("the link is of version {version}, which this Baton does not know")]
    UnknownVersion { version: u8 },
    #[error("the link needs something (type {kind}) that this Baton does not know")]
    NeedsNewer { kind: u8 },
    #[error("this is a keeper's ticket: it cannot be watched")]
    IsATicket,
    #[error("this is a link, not a keeper's ticket")]
    IsALink,
    #[error("the link is longer than any link")]
    TooLong,
    #[error("the link's checksum fits but its contents do not")]
    Malformed,
    #[error(
        "a server is named as http(s)://host[:port], in at most {SERVER_LEN_MAX} characters, and at most {SERVERS_MAX} of them"
    )]
    BadServer,
}

/// Origins of further servers; only [`Servers::add`] and the reader put any in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Servers(pub(crate) Vec<String>);

impl Servers {
    fn add(&mut self, origin: &str) -> Result<(), LinkError> {
        if self.0.len() >= SERVERS_MAX || !is_origin(origin) {
            return Err(LinkError::BadServer);
        }
        self.0.push(origin.to_owned());
        Ok(())
    }

    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        for origin in &self.0 {
            write_tlv(bytes, TLV_SERVER, origin.as_bytes());
        }
    }
}

/// `http(s)://host[:port]`, nothing after it: no path, no user, no white space.
fn is_origin(text: &str) -> bool {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    text.len() <= SERVER_LEN_MAX
        && host.is_some_and(|host| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
            host.bytes()
                .next()
                .is_some_and(|first| first.is_ascii_alphanumeric() || first == b'[')
                && host.bytes().all(allowed)
        })
}

/// Appends a checksum and writes the text.
pub(crate) fn checked_text(mut bytes: Vec<u8>) -> String {
    bytes.extend(text::crc32(&bytes).to_le_bytes());
    text::encode(&bytes)
}

/// Reads a text and takes its checksum off. In every version the checksum is last and comes first to be looked at.
pub(crate) fn checked_bytes(text: &str) -> Result<Vec<u8>, LinkError> {
    let text = text.trim();
    let text = text.split_once('#').map_or(text, |(_, fragment)| fragment);
    if text.len() > LINK_TEXT_LEN_MAX {
        return Err(LinkError::TooLong);
    }
    let mut bytes = text::decode(text).map_err(|error| match error {
        Undecodable::Character => LinkError::NotALink,
        Undecodable::NotCanonical => LinkError::Mistyped,
    })?;
    let (body, checksum) = bytes.split_last_chunk::<4>().ok_or(LinkError::NotALink)?;
    if text::crc32(body).to_le_bytes() != *checksum {
        return Err(LinkError::Mistyped);
    }
    bytes.truncate(bytes.len() - 4);
    Ok(bytes)
}

pub(crate) type Tlvs = (Servers, Vec<(u8, Vec<u8>)>);

pub(crate) fn read_tlvs(mut reader: Reader<'_>) -> Result<Tlvs, LinkError> {
    let (mut servers, mut unknown) = (Servers::default(), Vec::new());
    while let Some(kind) = reader.u8() {
        let len = reader.u8().ok_or(LinkError::Malformed)?;
        let value = reader.slice(usize::from(len)).ok_or(LinkError::Malformed)?;
        match kind {
            TLV_SERVER => {
                servers.add(core::str::from_utf8(value).map_err(|_| LinkError::BadServer)?)?
            }
            TLV_MUST_KNOW.. => return Err(LinkError::NeedsNewer { kind }),
            _ => unknown.push((kind, value.to_vec())),
        }
    }
    Ok((servers, unknown))
}

pub(crate) fn write_tlv(bytes: &mut Vec<u8>, kind: u8, value: &[u8]) {
    let len = u8::try_from(value.len())
        .expect("a TLV's value is at most 255 bytes: checked when it was added");
    bytes.extend([kind, len]);
    bytes.extend(value);
}

const LINK_VERSION: u8 = 1;
/// Set in the first byte of a ticket.
pub(crate) const TICKET_BIT: u8 = 0x80;
/// Characters of a fragment: what fits a QR code of version 25 that a phone reads from a screen, twice over.
pub const LINK_TEXT_LEN_MAX: usize = 2048;
/// Further servers in one link: more would only make it longer; one that answers is enough.
pub const SERVERS_MAX: usize = 4;
/// Characters of one server's origin: the longest host name there is is 253, but a link is to be passed on.
pub const SERVER_LEN_MAX: usize = 128;
const TLV_SERVER: u8 = 1;
/// Types from here up must be understood by the reader; below they may be ignored.
const TLV_MUST_KNOW: u8 = 128;
