//! The keeper's ticket: enough to join a swarm, serve and verify it, not to read it (docs/protocol.md section 2).
//!
//! base64url of `0x81 | publisher 32 | swarm key seed 32 | signalling key 32 | TLVs and CRC-32 as in a link`.

use core::fmt;

use crate::id::PublisherId;
use crate::keys::SwarmKey;
use crate::link::{
    LinkError, Servers, TICKET_BIT, checked_bytes, checked_text, read_tlvs, write_tlv,
};
use crate::read::Reader;

/// What a keeper holds.
#[derive(Clone)]
pub struct Ticket {
    pub publisher: PublisherId,
    pub swarm: SwarmKey,
    pub signalling: [u8; 32],
    servers: Servers,
    unknown: Vec<(u8, Vec<u8>)>,
}

impl Ticket {
    pub(crate) fn new(
        publisher: PublisherId,
        swarm: SwarmKey,
        signalling: [u8; 32],
        servers: Servers,
    ) -> Self {
        Ticket {
            publisher,
            swarm,
            signalling,
            servers,
            unknown: Vec::new(),
        }
    }

    /// Servers that know the swarm, as origins.
    pub fn servers(&self) -> &[String] {
        &self.servers.0
    }

    pub fn encode(&self) -> String {
        let mut bytes = vec![TICKET_VERSION];
        bytes.extend(self.publisher.0);
        bytes.extend(self.swarm.seed());
        bytes.extend(self.signalling);
        self.servers.write(&mut bytes);
        for (kind, value) in &self.unknown {
            write_tlv(&mut bytes, *kind, value);
        }
        checked_text(bytes)
    }

    pub fn parse(text: &str) -> Result<Ticket, LinkError> {
        let bytes = checked_bytes(text)?;
        let mut reader = Reader::new(&bytes);
        match reader.u8() {
            Some(TICKET_VERSION) => {}
            Some(version) if version & TICKET_BIT == 0 => return Err(LinkError::IsALink),
            Some(version) => return Err(LinkError::UnknownVersion { version }),
            None => return Err(LinkError::NotALink),
        }
        let publisher = PublisherId(reader.array().ok_or(LinkError::Malformed)?);
        let swarm = SwarmKey::from_seed(reader.array().ok_or(LinkError::Malformed)?);
        let signalling = reader.array().ok_or(LinkError::Malformed)?;
        let (servers, unknown) = read_tlvs(reader)?;
        Ok(Ticket {
            publisher,
            swarm,
            signalling,
            servers,
            unknown,
        })
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({:?}, {:?}, ..)", self.publisher, self.swarm.id())
    }
}

const TICKET_VERSION: u8 = TICKET_BIT | 1;
