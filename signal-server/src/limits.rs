//! Limits that need a memory: how fast a client talks, and how much one address takes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use baton_signal_protocol::{BLOB_MAX, CLIENT_MESSAGE_MAX, Refusal, SwarmId};

/// The longest that HTTP headers, a request line included, may take to arrive.
pub const HTTP_HEADER_TIMEOUT_S: u64 = 15;
/// How long a plain HTTP connection may last; the whole web app over 10 KB/s takes one minute. Stops those who read a byte a minute.
pub const HTTP_LIFETIME_S: u64 = 300;
/// Requests have no bodies that matter here.
pub const HTTP_HEADERS_MAX: usize = 64;
/// Bytes of a request's head.
pub const HTTP_HEAD_MAX: usize = 16 * 1024;
/// Requests at one time on an HTTP/2 connection; the app has a dozen files.
pub const HTTP2_STREAMS_MAX: u32 = 32;
/// Bytes that wait on one HTTP/2 stream for a client that reads slowly; the assets themselves are in memory once.
pub const HTTP2_SEND_BUFFER: usize = 64 * 1024;
/// A session's tungstenite buffer. It grows for longer messages and does not shrink: an idle socket holds what its longest took.
pub const READ_BUFFER: usize = 2048;
/// Refused connections of one address that we go on reading for a while. A page and its retries are a few; beyond, a refused one is closed at once.
pub const LINGERING_PER_ADDRESS: usize = 16;
/// What the shortest frame costs its sender, bytes: so a client has a thousand frames a second carried at most.
pub const CARRY_COST_MIN: usize = 1024;
/// Bytes of one message that count as much as the message itself: what a client sends is read no faster than its messages may come at this length.
pub const READ_PER_MESSAGE: u32 = 4096;
/// Bytes of a client's that are read at once, so that parts of messages and empty ones cost us no more than messages do.
pub const READ_BURST: u32 = 1024 * 1024;
/// How often it is looked who can be forgotten.
pub const SWEEP: Duration = Duration::from_secs(10);
/// Addresses with connections; more than connections can be.
const ADDRESSES_MAX: usize = 100_000;

/// Bytes of a client's longest message: without carried frames a blob, with room for fields that later versions add.
pub fn message_max(carries: bool) -> usize {
    if carries {
        CLIENT_MESSAGE_MAX
    } else {
        BLOB_MAX + 1024
    }
}

/// What carrying a frame of so many bytes costs: a short one what handing it on does.
pub fn carry_cost(len: usize) -> u32 {
    len.max(CARRY_COST_MIN) as u32
}

/// How fast a bucket fills, and what it holds.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

impl Rate {
    /// What comes in a second may be taken at once.
    pub fn even(per_second: u32) -> Self {
        Self {
            per_second,
            burst: per_second,
        }
    }
}

/// Tokens that come back with time.
#[derive(Debug)]
pub struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    pub fn full(burst: u32, now: Instant) -> Self {
        Self {
            tokens: f64::from(burst),
            filled: now,
        }
    }

    /// Takes one token, if there is one.
    pub fn take(&mut self, per_second: u32, burst: u32, now: Instant) -> bool {
        self.take_many(1, per_second, burst, now)
    }

    /// Takes `count` tokens, if there are as many.
    pub fn take_many(&mut self, count: u32, per_second: u32, burst: u32, now: Instant) -> bool {
        let earned =
            now.saturating_duration_since(self.filled).as_secs_f64() * f64::from(per_second);
        self.tokens = (self.tokens + earned).min(f64::from(burst));
        self.filled = now;
        let enough = self.tokens >= f64::from(count);
        if enough {
            self.tokens -= f64::from(count);
        }
        enough
    }

    /// Takes `count` tokens whether they are there or not; how long it takes until the debt is paid. Beyond `most` it takes none.
    pub fn owe(
        &mut self,
        count: u32,
        rate: Rate,
        most: Duration,
        now: Instant,
    ) -> Option<Duration> {
        // Fills it up to now; nothing is as much as there always is.
        self.take_many(0, rate.per_second, rate.burst, now);
        let left = self.tokens - f64::from(count);
        let debt_s = (-left).max(0.0) / f64::from(rate.per_second.max(1));
        let debt = Duration::from_secs_f64(debt_s);
        (debt <= most).then(|| {
            self.tokens = left;
            debt
        })
    }

    /// Whether nothing was taken for so long.
    pub fn is_idle(&self, for_: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.filled) >= for_
    }
}

/// What each address takes at this moment, and how much it did just now.
#[derive(Clone, Default)]
pub struct Addresses(Arc<Mutex<HashMap<AddressKey, Taken>>>);

/// An IPv4 address or an IPv6 /64, which is what one customer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressKey(u64);

#[derive(Default)]
struct Taken {
    counts: [usize; 4],
    swarms: HashMap<SwarmId, usize>,
    /// WebSockets that it may open.
    arrivals: Option<Bucket>,
    /// Bytes that it may have carried.
    toll: Option<Bucket>,
    /// When both buckets are full again: until then it is remembered with nothing open.
    until: Option<Instant>,
}

impl Taken {
    fn remember(&mut self, rate: Rate, now: Instant) {
        let full = f64::from(rate.burst) / f64::from(rate.per_second.max(1));
        let until = now + Duration::from_secs_f64(full);
        self.until = Some(self.until.map_or(until, |it| it.max(until)));
    }

    fn is_over(&self, now: Instant) -> bool {
        self.counts == [0; 4] && self.until.is_none_or(|until| until <= now)
    }
}

/// What an address takes places for; each has its own limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// A WebSocket from its upgrade to its end.
    Socket = 0,
    /// A plain HTTP connection, until it ends or becomes a WebSocket.
    Http = 1,
    /// A WebSocket that was refused a place, while it may read why.
    Lingering = 2,
    /// A TCP connection to the relay.
    Turn = 3,
}

/// One connection's place in its address's account; given back on drop.
pub struct Place {
    addresses: Addresses,
    key: AddressKey,
    account: Account,
    swarm: Option<SwarmId>,
}

impl Addresses {
    /// A place for one more connection of this address, if it has fewer than `connections_max` of that kind.
    pub fn connect(
        &self,
        address: IpAddr,
        account: Account,
        connections_max: usize,
    ) -> Result<Place, Refusal> {
        let key = AddressKey::of(address);
        let mut all = self.lock();
        if all.len() >= ADDRESSES_MAX && !all.contains_key(&key) {
            // Better to forget what somebody did than to turn somebody away.
            all.retain(|_, taken| taken.counts != [0; 4]);
            if all.len() >= ADDRESSES_MAX {
                return Err(Refusal::ServerFull);
            }
        }
        if all
            .get(&key)
            .map_or(0, |taken| taken.counts[account as usize])
            >= connections_max
        {
            return Err(Refusal::AddressConnections);
        }
        all.entry(key).or_default().counts[account as usize] += 1;
        Ok(Place {
            addresses: self.clone(),
            key,
            account,
            swarm: None,
        })
    }

    /// One more WebSocket of an address that has a place.
    pub fn arrive(&self, address: IpAddr, rate: Rate, now: Instant) -> Result<(), Refusal> {
        let mut all = self.lock();
        let Some(taken) = all.get_mut(&AddressKey::of(address)) else {
            return Ok(());
        };
        let bucket = taken
            .arrivals
            .get_or_insert_with(|| Bucket::full(rate.burst, now));
        let may = bucket.take(rate.per_second, rate.burst, now);
        taken.remember(rate, now);
        may.then_some(()).ok_or(Refusal::TooFast)
    }

    /// Counts what is carried for an address that has a place, as [`Bucket::owe`] does.
    pub fn owe(
        &self,
        address: IpAddr,
        cost: u32,
        rate: Rate,
        most: Duration,
        now: Instant,
    ) -> Option<Duration> {
        let mut all = self.lock();
        let Some(taken) = all.get_mut(&AddressKey::of(address)) else {
            return Some(Duration::ZERO);
        };
        taken.remember(rate, now);
        let bucket = taken
            .toll
            .get_or_insert_with(|| Bucket::full(rate.burst, now));
        bucket.owe(cost, rate, most, now)
    }

    /// Forgets whoever has nothing open and did nothing lately.
    pub fn sweep(&self, now: Instant) {
        self.lock().retain(|_, taken| !taken.is_over(now));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AddressKey, Taken>> {
        self.0
            .lock()
            .expect("nobody panics while holding the addresses")
    }
}

impl Place {
    /// Counts `swarm` to the address. Called once per connection.
    pub fn enter(&mut self, swarm: SwarmId, swarms_max: usize) -> Result<(), Refusal> {
        let mut all = self.addresses.lock();
        let taken = all.get_mut(&self.key).expect("a place keeps its entry");
        if taken.swarms.len() >= swarms_max && !taken.swarms.contains_key(&swarm) {
            return Err(Refusal::AddressSwarms);
        }
        *taken.swarms.entry(swarm).or_default() += 1;
        drop(all);
        self.swarm = Some(swarm);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.addresses.lock();
        let Some(taken) = all.get_mut(&self.key) else {
            return;
        };
        taken.counts[self.account as usize] -= 1;
        if let Some(swarm) = self.swarm
            && let Some(count) = taken.swarms.get_mut(&swarm)
        {
            *count -= 1;
            if *count == 0 {
                taken.swarms.remove(&swarm);
            }
        }
        if taken.is_over(Instant::now()) {
            all.remove(&self.key);
        }
    }
}

impl AddressKey {
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            // Outside of what a global /64 can begin with, so the two never meet.
            IpAddr::V4(v4) => Self(u64::from(v4.to_bits())),
            IpAddr::V6(v6) => Self((v6.to_bits() >> 64) as u64),
        }
    }

    pub fn number(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_allows_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::full(3, start);
        let mut take = |ms| bucket.take(2, 3, start + Duration::from_millis(ms));
        assert_eq!(
            [take(0), take(0), take(0), take(0)],
            [true, true, true, false]
        );
        assert_eq!([take(500), take(500)], [true, false]);
        assert_eq!(
            [take(60_000), take(60_000), take(60_000), take(60_000)],
            [true, true, true, false]
        );
    }

    #[test]
    fn a_debt_is_paid_in_time() {
        let start = Instant::now();
        let rate = Rate {
            per_second: 5,
            burst: 10,
        };
        let mut bucket = Bucket::full(10, start);
        let mut owe = |count, at_s| {
            let now = start + Duration::from_secs(at_s);
            bucket.owe(count, rate, Duration::from_secs(3), now)
        };
        assert_eq!(owe(10, 0), Some(Duration::ZERO));
        assert_eq!(owe(10, 0), Some(Duration::from_secs(2)));
        assert_eq!(owe(10, 0), None, "nothing is taken that costs too long");
        assert_eq!(owe(5, 3), Some(Duration::ZERO));
    }

    #[test]
    fn an_address_arrives_no_faster_because_it_leaves_and_is_forgotten_in_the_end() {
        let addresses = Addresses::default();
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let (start, rate) = (
            Instant::now(),
            Rate {
                per_second: 1,
                burst: 3,
            },
        );
        let arrive = |at_s| {
            let place = addresses.connect(ip, Account::Socket, 1).ok().unwrap();
            let came = addresses.arrive(ip, rate, start + Duration::from_secs(at_s));
            drop(place);
            came
        };
        let came = [arrive(0), arrive(0), arrive(0), arrive(0), arrive(1)];
        let too_fast = Err(Refusal::TooFast);
        assert_eq!(came, [Ok(()), Ok(()), Ok(()), too_fast, Ok(())]);
        addresses.sweep(start + Duration::from_secs(2));
        assert!(!addresses.lock().is_empty());
        addresses.sweep(start + Duration::from_secs(4));
        assert!(addresses.lock().is_empty());
    }

    #[test]
    fn an_address_gets_its_connections_back() {
        let addresses = Addresses::default();
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let first = addresses.connect(ip, Account::Socket, 2).ok().unwrap();
        let _second = addresses.connect(ip, Account::Socket, 2).ok().unwrap();
        assert_eq!(
            addresses.connect(ip, Account::Socket, 2).err(),
            Some(Refusal::AddressConnections)
        );
        assert!(
            addresses
                .connect("192.0.2.2".parse().unwrap(), Account::Socket, 2)
                .is_ok()
        );
        drop(first);
        assert!(addresses.connect(ip, Account::Socket, 2).is_ok());
    }

    #[test]
    fn each_kind_of_connection_has_its_own_limit_and_none_leaves_anything_behind() {
        let addresses = Addresses::default();
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let kinds = [Account::Socket, Account::Http, Account::Lingering];
        let places = kinds.map(|account| addresses.connect(ip, account, 1).ok().unwrap());
        for account in kinds {
            assert!(addresses.connect(ip, account, 1).is_err());
        }
        drop(places);
        assert!(addresses.connect(ip, Account::Http, 0).is_err());
        assert!(addresses.lock().is_empty());
    }

    #[test]
    fn one_ipv6_customer_is_one_address() {
        let addresses = Addresses::default();
        let _place = addresses
            .connect("2001:db8:0:1::1".parse().unwrap(), Account::Socket, 1)
            .ok()
            .unwrap();
        assert!(
            addresses
                .connect("2001:db8:0:1:ffff::2".parse().unwrap(), Account::Socket, 1)
                .is_err()
        );
        assert!(
            addresses
                .connect("2001:db8:0:2::1".parse().unwrap(), Account::Socket, 1)
                .is_ok()
        );
    }

    #[test]
    fn swarms_are_counted_once_and_nothing_is_left_behind() {
        let addresses = Addresses::default();
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let mut places: Vec<Place> = (0..4)
            .map(|_| addresses.connect(ip, Account::Socket, 9).ok().unwrap())
            .collect();
        assert_eq!(places[0].enter([1; 32], 2), Ok(()));
        assert_eq!(places[1].enter([1; 32], 2), Ok(()));
        assert_eq!(places[2].enter([2; 32], 2), Ok(()));
        assert_eq!(places[3].enter([3; 32], 2), Err(Refusal::AddressSwarms));
        drop(places);
        assert!(addresses.lock().is_empty());
    }
}
