//! The relay itself, without IO: datagrams and times in, datagrams and sockets to open out.
//!
//! RFC 8656 for UDP relays. Invariants: what an unknown client sends costs no memory (nonces are made, not kept); nobody is relayed to or heard
//! from without a permission of the client's; a permission is never given for an address that the filter refuses; packets to our own
//! relay address stay inside and reach other allocations only, never a socket of this machine.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::accounts::Accounts;
use super::allocation::{AGE_MAX, Allocation, CHANNEL_LIFETIME, PERMISSION_LIFETIME, lifetime};
use super::credential::{self, Secret};
use super::filter;
use super::stun::{self, Class, Message, Writer, attribute, method};
use crate::log::Log;
use crate::metrics::Metrics;
use crate::proxy::Network;

/// What the operator decides.
#[derive(Clone)]
pub struct Settings {
    pub secret: Secret,
    /// The address that relays are reached at; of their family are the peers.
    pub public: IpAddr,
    pub allowed_peers: Vec<Network>,
    /// Which addresses this machine has, beside `public`.
    pub is_ours: fn(IpAddr) -> bool,
    /// Allocations of one credential, from one address, and in all.
    pub allocations_per_user: usize,
    pub allocations_per_address: usize,
    pub allocations_max: usize,
    /// Bytes per second of one user, of one address and in all, both directions together.
    pub user_bytes_per_second: u32,
    pub address_bytes_per_second: u32,
    pub bytes_per_second: u32,
    pub log: Log,
}

/// Who speaks to us, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Client {
    pub transport: Transport,
    pub address: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    Udp,
    /// Over a connection of this number.
    Tcp(u64),
}

/// An allocation and the socket that belongs to it. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelayId(pub u64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To a client.
    Answer {
        to: Client,
        bytes: Vec<u8>,
    },
    /// Open a socket for this allocation, then [`Relays::handle_opened`].
    Open(RelayId),
    /// From an allocation's socket to a peer.
    Relay {
        relay: RelayId,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    Close(RelayId),
}

/// All allocations of one server.
pub struct Relays {
    settings: Settings,
    metrics: Arc<Metrics>,
    zero: (Instant, u64),
    allocations: BTreeMap<RelayId, Allocation>,
    by_client: BTreeMap<Client, RelayId>,
    by_relayed: BTreeMap<SocketAddr, RelayId>,
    accounts: Accounts,
    next: u64,
    outputs: Vec<Output>,
}

/// A request that was refused: code and words.
pub type Refused = (u16, &'static str);
/// What answers a proven request: with a message, with nothing yet, or with an error.
type Work =
    fn(&mut Relays, Instant, Client, &Message<'_>, &Proven) -> Result<Option<Writer>, Refused>;

impl Relays {
    /// `now` is `unix_s` seconds after 1970.
    pub fn new(settings: Settings, metrics: Arc<Metrics>, now: Instant, unix_s: u64) -> Self {
        Self {
            accounts: Accounts::new(&settings, now),
            settings,
            metrics,
            zero: (now, unix_s),
            allocations: BTreeMap::new(),
            by_client: BTreeMap::new(),
            by_relayed: BTreeMap::new(),
            next: 1,
            outputs: Vec::new(),
        }
    }

    /// The address that relays are reached at.
    pub fn public(&self) -> IpAddr {
        self.settings.public
    }

    /// Whether this client has a relay, or asked for one that is being opened.
    pub fn has_relay(&self, client: &Client) -> bool {
        self.by_client.contains_key(client)
    }

    #[cfg(test)]
    pub fn allocations(&self) -> usize {
        self.allocations.len()
    }

    /// Whether nothing is kept of anybody but how often strangers were answered.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.allocations.is_empty()
            && self.by_client.is_empty()
            && self.by_relayed.is_empty()
            && self.accounts.is_empty()
    }

    /// What is to be done, in order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// Something came from a client. What is nothing we know is not answered.
    pub fn handle_client(&mut self, now: Instant, from: Client, raw: &[u8]) {
        if let Some((channel, data)) = stun::read_channel_data(raw) {
            return self.channel_data(now, from, channel, data);
        }
        let Some(message) = Message::read(raw) else {
            return;
        };
        match (message.class, message.method) {
            (Class::Request, method::BINDING)
                if self.accounts.may_answer(now, from.address.ip()) =>
            {
                let writer = self.success(&message);
                let writer = writer.address(attribute::XOR_MAPPED_ADDRESS, from.address);
                self.answer(from, writer.finish());
            }
            (Class::Request, method::ALLOCATE) => {
                self.answered(now, from, &message, Self::allocate)
            }
            (Class::Request, method::REFRESH) => self.answered(now, from, &message, Self::refresh),
            (Class::Request, method::CREATE_PERMISSION) => {
                self.answered(now, from, &message, Self::create_permission)
            }
            (Class::Request, method::CHANNEL_BIND) => {
                self.answered(now, from, &message, Self::bind_channel)
            }
            (Class::Indication, method::SEND) => self.send(now, from, &message),
            _ => {}
        }
    }

    /// The socket of an allocation is open under this public address, or could not be opened.
    pub fn handle_opened(&mut self, relay: RelayId, relayed: Option<SocketAddr>) {
        let Some(allocation) = self.allocations.get_mut(&relay) else {
            // It ended meanwhile.
            self.outputs.push(Output::Close(relay));
            return;
        };
        allocation.relayed = relayed;
        let (to, key) = (allocation.client, allocation.key);
        let Some(relayed) = relayed else {
            let writer = Writer::new(Class::Error, method::ALLOCATE, &allocation.transaction);
            let bytes = writer.error(508, "no relay to be had").sign(&key).finish();
            self.answer(to, bytes);
            return self.remove(relay);
        };
        let bytes = allocation.welcome(relayed);
        self.by_relayed.insert(relayed, relay);
        self.metrics.turn_allocations_total.add(1);
        let client = self.settings.log.address(to.address.ip());
        tracing::debug!(relay = relay.0, client, "relay opened");
        self.answer(to, bytes);
    }

    /// Something came from a peer to an allocation's socket.
    pub fn handle_peer(&mut self, now: Instant, relay: RelayId, from: SocketAddr, data: &[u8]) {
        let Some(allocation) = self.allocations.get(&relay) else {
            return;
        };
        if !allocation.may_speak_with(from.ip(), now) {
            return;
        }
        let to = allocation.client;
        let bytes = match allocation.channel_of(from, now) {
            Some(channel) => stun::channel_data(channel, data),
            None => {
                self.next += 1;
                let mut transaction = [0; 12];
                transaction[4..].copy_from_slice(&self.next.to_be_bytes());
                Writer::new(Class::Indication, method::DATA, &transaction)
                    .address(attribute::XOR_PEER_ADDRESS, from)
                    .attribute(attribute::DATA, data)
                    .finish()
            }
        };
        if self.pays(now, relay, data.len()) {
            self.answer(to, bytes);
        }
    }

    /// A client's connection ended, and with it what it had.
    pub fn handle_gone(&mut self, client: Client) {
        if let Some(relay) = self.by_client.get(&client).copied() {
            self.remove(relay);
        }
    }

    /// Ends what is over. To be called every few seconds.
    pub fn handle_time(&mut self, now: Instant) {
        let over = self.allocations.iter().filter(|(_, it)| it.expires <= now);
        for relay in over.map(|(relay, _)| *relay).collect::<Vec<_>>() {
            self.remove(relay);
        }
        self.accounts.forget(now);
    }

    /// Answers a request with what `work` makes of it, once its credential was checked.
    fn answered(&mut self, now: Instant, from: Client, message: &Message<'_>, work: Work) {
        let proven = match self.authenticate(now, from, message) {
            Ok(proven) => proven,
            Err((code, reason)) => {
                // So far it may be anybody, under whatever address.
                if self.accounts.may_answer(now, from.address.ip()) {
                    let nonce = self.nonce(from, self.unix_s(now) + NONCE_LIFETIME_S);
                    let writer = Writer::new(Class::Error, message.method, &message.transaction())
                        .error(code, reason)
                        .attribute(attribute::REALM, REALM.as_bytes())
                        .attribute(attribute::NONCE, nonce.as_bytes());
                    self.answer(from, writer.finish());
                }
                return;
            }
        };
        let result = match message.unknown() {
            Some(_) => Err((420, "unknown attribute")),
            None => work(self, now, from, message, &proven),
        };
        let writer = match result {
            Ok(None) => return,
            Ok(Some(writer)) => writer,
            Err((code, reason)) => {
                self.metrics.turn_refusals_total.add(1);
                let client = self.settings.log.address(from.address.ip());
                tracing::debug!(code, reason, client, "relay refused");
                let writer = Writer::new(Class::Error, message.method, &message.transaction());
                writer.error(code, reason)
            }
        };
        self.answer(from, writer.sign(&proven.key).finish());
    }

    /// The long-term mechanism (RFC 8489 §9.2.4). Whether the credential has expired is asked by Allocate alone.
    fn authenticate(
        &self,
        now: Instant,
        from: Client,
        message: &Message<'_>,
    ) -> Result<Proven, Refused> {
        let text = |kind| message.text(kind);
        if message.get(attribute::MESSAGE_INTEGRITY).is_none() {
            return Err((401, "who are you?"));
        }
        let (Some(username), Some(nonce), Some(REALM)) = (
            text(attribute::USERNAME),
            text(attribute::NONCE),
            text(attribute::REALM),
        ) else {
            return Err((400, "user name, realm and nonce belong together"));
        };
        if !self.is_nonce(now, from, nonce) {
            return Err((438, "stale nonce"));
        }
        let (expiry, user) = credential::parse(username).ok_or((401, "no such user"))?;
        let password = self.settings.secret.password(username);
        let key = stun::long_term_key(username, REALM, &password);
        if !message.is_signed_with(&key) {
            return Err((401, "wrong password"));
        }
        Ok(Proven {
            username: username.to_owned(),
            user: user.to_owned(),
            expiry,
            key,
        })
    }

    fn allocate(
        &mut self,
        now: Instant,
        from: Client,
        message: &Message<'_>,
        proven: &Proven,
    ) -> Result<Option<Writer>, Refused> {
        self.end_if_over(now, from);
        if let Some(there) = self
            .by_client
            .get(&from)
            .and_then(|it| self.allocations.get(it))
        {
            if there.transaction != message.transaction() || there.key != proven.key {
                return Err((437, "there is an allocation already"));
            }
            let again = there.relayed.map(|relayed| there.welcome(relayed));
            if let Some(bytes) = again {
                self.answer(from, bytes);
            }
            return Ok(None);
        }
        if self.unix_s(now) > proven.expiry {
            return Err((401, "the credential has expired"));
        }
        let transport = message
            .get(attribute::REQUESTED_TRANSPORT)
            .ok_or((400, "which transport?"))?;
        if transport.first() != Some(&UDP) {
            return Err((442, "UDP only"));
        }
        let family = match message.get(attribute::REQUESTED_ADDRESS_FAMILY) {
            None => IPV4,
            Some(&[family, _, _, _]) => family,
            Some(_) => return Err((400, "which family?")),
        };
        let ours = match self.settings.public {
            IpAddr::V4(_) => IPV4,
            IpAddr::V6(_) => IPV6,
        };
        if family != ours {
            return Err((440, "no relays of this family"));
        }
        let (user, address) = (&proven.user, from.address.ip());
        let in_all = self.allocations.len();
        self.accounts
            .open(&self.settings, now, user, address, in_all)?;
        let lifetime = lifetime(message);
        let relay = RelayId(self.next);
        self.next += 1;
        self.metrics.turn_allocations.add(1);
        self.by_client.insert(from, relay);
        let allocation = Allocation {
            client: from,
            username: proven.username.clone(),
            user: proven.user.clone(),
            key: proven.key,
            transaction: message.transaction(),
            lifetime,
            relayed: None,
            created: now,
            expires: now + lifetime,
            permissions: BTreeMap::new(),
            channels: BTreeMap::new(),
        };
        self.allocations.insert(relay, allocation);
        self.outputs.push(Output::Open(relay));
        Ok(None)
    }

    fn end_if_over(&mut self, now: Instant, client: Client) {
        let there = self.by_client.get(&client).copied();
        if let Some(relay) = there.filter(|relay| !self.allocations[relay].is_live(now)) {
            self.remove(relay);
        }
    }

    fn refresh(
        &mut self,
        now: Instant,
        from: Client,
        message: &Message<'_>,
        proven: &Proven,
    ) -> Result<Option<Writer>, Refused> {
        let relay = self.own(now, from, proven)?;
        let success = self.success(message);
        if message.number(attribute::LIFETIME) == Some(0) {
            self.remove(relay);
            return Ok(Some(success.number(attribute::LIFETIME, 0)));
        }
        let allocation = self.allocations.get_mut(&relay).expect("own() found it");
        // However often it is refreshed, it ends one day.
        allocation.expires = (now + lifetime(message)).min(allocation.created + AGE_MAX);
        let left = allocation.expires.saturating_duration_since(now).as_secs();
        Ok(Some(success.number(attribute::LIFETIME, left as u32)))
    }

    fn create_permission(
        &mut self,
        now: Instant,
        from: Client,
        message: &Message<'_>,
        proven: &Proven,
    ) -> Result<Option<Writer>, Refused> {
        let relay = self.own(now, from, proven)?;
        let peers: Vec<SocketAddr> = message
            .peers()
            .collect::<Option<_>>()
            .ok_or((400, "not an address"))?;
        if peers.is_empty() {
            return Err((400, "permission for whom?"));
        }
        // All or none (RFC 8656 §10.2).
        peers
            .iter()
            .try_for_each(|peer| self.check_peer(peer.ip()))?;
        for peer in peers {
            self.permit(now, relay, peer.ip())?;
        }
        Ok(Some(self.success(message)))
    }

    fn bind_channel(
        &mut self,
        now: Instant,
        from: Client,
        message: &Message<'_>,
        proven: &Proven,
    ) -> Result<Option<Writer>, Refused> {
        let relay = self.own(now, from, proven)?;
        let channel = message
            .number(attribute::CHANNEL_NUMBER)
            .map(|it| (it >> 16) as u16);
        let channel = channel
            .filter(|channel| (0x4000..=0x4FFF).contains(channel))
            .ok_or((400, "which channel?"))?;
        let peer = message
            .peers()
            .next()
            .flatten()
            .ok_or((400, "which peer?"))?;
        self.check_peer(peer.ip())?;
        let allocation = self.allocations.get_mut(&relay).expect("own() found it");
        allocation.channels.retain(|_, (_, end)| *end > now);
        let is_taken = allocation
            .channels
            .iter()
            .any(|(other, (bound, _))| (*other == channel) != (*bound == peer));
        if is_taken {
            return Err((400, "this channel or peer is bound otherwise"));
        }
        if allocation.channels.len() >= PEERS_MAX && !allocation.channels.contains_key(&channel) {
            return Err((508, "too many channels"));
        }
        allocation
            .channels
            .insert(channel, (peer, now + CHANNEL_LIFETIME));
        self.permit(now, relay, peer.ip())?;
        Ok(Some(self.success(message)))
    }

    fn send(&mut self, now: Instant, from: Client, message: &Message<'_>) {
        let (Some(data), Some(Some(peer))) = (message.get(attribute::DATA), message.peers().next())
        else {
            return;
        };
        if let Some(relay) = self.by_client.get(&from).copied() {
            self.pass_on(now, relay, peer, data);
        }
    }

    fn channel_data(&mut self, now: Instant, from: Client, channel: u16, data: &[u8]) {
        let Some(relay) = self.by_client.get(&from).copied() else {
            return;
        };
        let bound = self.allocations[&relay].channels.get(&channel);
        if let Some((peer, _)) = bound.filter(|(_, end)| *end > now).copied() {
            self.pass_on(now, relay, peer, data);
        }
    }

    fn pass_on(&mut self, now: Instant, relay: RelayId, to: SocketAddr, data: &[u8]) {
        let allocation = &self.allocations[&relay];
        let Some(own) = allocation.relayed.filter(|_| allocation.is_live(now)) else {
            return;
        };
        if !allocation.may_speak_with(to.ip(), now) || !self.pays(now, relay, data.len()) {
            return;
        }
        if to.ip() != self.settings.public {
            let bytes = data.to_vec();
            self.outputs.push(Output::Relay { relay, to, bytes });
        } else if let Some(other) = self.by_relayed.get(&to).copied() {
            self.handle_peer(now, other, own, data);
        }
    }

    /// Takes bytes from the accounts of the user, its address and the server.
    fn pays(&mut self, now: Instant, relay: RelayId, bytes: usize) -> bool {
        let allocation = self.allocations.get(&relay);
        let pays = allocation.is_some_and(|it| {
            let address = it.client.address.ip();
            self.accounts
                .pay(&self.settings, now, &it.user, address, bytes)
        });
        let counter = if pays {
            &self.metrics.turn_bytes_total
        } else {
            &self.metrics.turn_dropped_bytes_total
        };
        counter.add(bytes as u64);
        pays
    }

    /// The allocation of this client, which it must have made itself.
    fn own(&self, now: Instant, from: Client, proven: &Proven) -> Result<RelayId, Refused> {
        let relay = self
            .by_client
            .get(&from)
            .ok_or((437, "there is no allocation"))?;
        let allocation = &self.allocations[relay];
        if !allocation.is_live(now) || allocation.relayed.is_none() {
            return Err((437, "there is no allocation"));
        }
        if allocation.username != proven.username {
            return Err((441, "this is somebody else's allocation"));
        }
        Ok(*relay)
    }

    fn check_peer(&self, peer: IpAddr) -> Result<(), Refused> {
        if peer.is_ipv6() != self.settings.public.is_ipv6() {
            return Err((443, "the peer is of another family"));
        }
        let Settings {
            public,
            allowed_peers,
            is_ours,
            ..
        } = &self.settings;
        // Our own address leads to other allocations and nowhere else.
        if peer != *public && !filter::is_allowed(peer, allowed_peers, is_ours) {
            return Err((403, "not to this address"));
        }
        Ok(())
    }

    fn permit(&mut self, now: Instant, relay: RelayId, peer: IpAddr) -> Result<(), Refused> {
        let allocation = self.allocations.get_mut(&relay).expect("own() found it");
        allocation.permissions.retain(|_, end| *end > now);
        if allocation.permissions.len() >= PEERS_MAX && !allocation.permissions.contains_key(&peer)
        {
            return Err((508, "too many permissions"));
        }
        allocation
            .permissions
            .insert(peer, now + PERMISSION_LIFETIME);
        Ok(())
    }

    fn remove(&mut self, relay: RelayId) {
        let Some(allocation) = self.allocations.remove(&relay) else {
            return;
        };
        self.by_client.remove(&allocation.client);
        if let Some(relayed) = allocation.relayed {
            self.by_relayed.remove(&relayed);
        }
        self.accounts
            .close(&allocation.user, allocation.client.address.ip());
        self.metrics.turn_allocations.add(-1);
        tracing::debug!(relay = relay.0, "relay closed");
        self.outputs.push(Output::Close(relay));
    }

    fn nonce(&self, from: Client, until_unix_s: u64) -> String {
        let ip = from.address.ip().to_string();
        let parts = [
            b"baton turn nonce",
            &until_unix_s.to_be_bytes()[..],
            ip.as_bytes(),
        ];
        let tag = self.settings.secret.hash(&parts);
        let tag: String = tag[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{until_unix_s:x}.{tag}")
    }

    fn is_nonce(&self, now: Instant, from: Client, nonce: &str) -> bool {
        let until = nonce
            .split('.')
            .next()
            .map(|until| u64::from_str_radix(until, 16));
        matches!(until, Some(Ok(until)) if until >= self.unix_s(now) && self.nonce(from, until) == nonce)
    }

    fn unix_s(&self, now: Instant) -> u64 {
        self.zero.1 + now.saturating_duration_since(self.zero.0).as_secs()
    }

    fn success(&self, message: &Message<'_>) -> Writer {
        Writer::new(Class::Success, message.method, &message.transaction())
    }

    fn answer(&mut self, to: Client, bytes: Vec<u8>) {
        self.outputs.push(Output::Answer { to, bytes });
    }
}

/// A client whose credential was checked.
struct Proven {
    username: String,
    user: String,
    expiry: u64,
    key: [u8; 16],
}

/// What clients say their credential is for.
pub const REALM: &str = "baton";
const UDP: u8 = 17;
/// RFC 8656 §18.6.
const IPV4: u8 = 1;
const IPV6: u8 = 2;
const NONCE_LIFETIME_S: u64 = 3600;
/// Permissions, and channels, of one allocation: a peer connection has one peer of at most 64 candidates.
const PEERS_MAX: usize = 64;
