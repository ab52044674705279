//! Who has how much of the relay: allocations per user, per address and in all, bytes per second, and answers to strangers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::relay::{Refused, Settings};
use crate::limits::{AddressKey, Bucket};

/// The accounts of everybody who has something now. Invariant: an entry without allocations is gone as soon as its bucket is full again; not
/// before, or whoever gave back a relay and asked for another would begin with a full one.
pub struct Accounts {
    users: BTreeMap<String, Account>,
    addresses: BTreeMap<AddressKey, Account>,
    strangers: BTreeMap<AddressKey, Bucket>,
    in_all: Bucket,
}

struct Account {
    allocations: usize,
    bucket: Bucket,
}

impl Account {
    fn new(rate: u32, now: Instant) -> Self {
        Self {
            allocations: 0,
            bucket: Bucket::full(burst(rate), now),
        }
    }

    fn is_needed(&self, now: Instant) -> bool {
        let full_again = Duration::from_secs(BURST_S.into());
        self.allocations > 0 || !self.bucket.is_idle(full_again, now)
    }
}

impl Accounts {
    pub fn new(settings: &Settings, now: Instant) -> Self {
        Self {
            users: BTreeMap::new(),
            addresses: BTreeMap::new(),
            strangers: BTreeMap::new(),
            in_all: Bucket::full(burst(settings.bytes_per_second), now),
        }
    }

    /// Whether nobody has anything; how often strangers were answered does not count.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.addresses.is_empty()
    }

    /// Counts one more allocation.
    ///
    /// # Errors
    /// When the user, its address or all together have as many as they may.
    pub fn open(
        &mut self,
        settings: &Settings,
        now: Instant,
        user: &str,
        address: IpAddr,
        in_all: usize,
    ) -> Result<(), Refused> {
        let key = AddressKey::of(address);
        let of_user = self.users.get(user).map_or(0, |it| it.allocations);
        let of_address = self.addresses.get(&key).map_or(0, |it| it.allocations);
        if of_user >= settings.allocations_per_user
            || of_address >= settings.allocations_per_address
        {
            return Err((486, "allocation quota reached"));
        }
        let is_known = self.users.contains_key(user);
        if in_all >= settings.allocations_max || (self.users.len() >= USERS_MAX && !is_known) {
            return Err((508, "all relays are taken"));
        }
        let of_user = || Account::new(settings.user_bytes_per_second, now);
        let user = self.users.entry(user.to_owned()).or_insert_with(of_user);
        user.allocations += 1;
        let of_address = || Account::new(settings.address_bytes_per_second, now);
        let address = self.addresses.entry(key).or_insert_with(of_address);
        address.allocations += 1;
        Ok(())
    }

    /// Gives back what [`Accounts::open`] counted.
    pub fn close(&mut self, user: &str, address: IpAddr) {
        let of_user = self.users.get_mut(user);
        let of_address = self.addresses.get_mut(&AddressKey::of(address));
        for account in of_user.into_iter().chain(of_address) {
            account.allocations -= 1;
        }
    }

    /// Takes the cost of a packet of so many bytes from the user's account, its address's and the server's, until one has not as much: then the
    /// packet is lost. Anybody makes as many users as it likes, but not addresses.
    pub fn pay(
        &mut self,
        settings: &Settings,
        now: Instant,
        user: &str,
        address: IpAddr,
        bytes: usize,
    ) -> bool {
        let cost = bytes as u32 + OVERHEAD;
        let take = |bucket: &mut Bucket, rate: u32| bucket.take_many(cost, rate, burst(rate), now);
        let of_user = self.users.get_mut(user);
        let of_address = self.addresses.get_mut(&AddressKey::of(address));
        of_user.is_some_and(|it| take(&mut it.bucket, settings.user_bytes_per_second))
            && of_address.is_some_and(|it| take(&mut it.bucket, settings.address_bytes_per_second))
            && take(&mut self.in_all, settings.bytes_per_second)
    }

    /// Whether an unproven client gets an answer: under a false address it would hit somebody else.
    pub fn may_answer(&mut self, now: Instant, stranger: IpAddr) -> bool {
        if self.strangers.len() >= STRANGERS_MAX {
            self.strangers.clear();
        }
        let bucket = self
            .strangers
            .entry(AddressKey::of(stranger))
            .or_insert_with(|| Bucket::full(STRANGER_BURST, now));
        bucket.take(STRANGER_PER_SECOND, STRANGER_BURST, now)
    }

    /// Forgets strangers whose bucket is full again, and who else has nothing.
    pub fn forget(&mut self, now: Instant) {
        self.users.retain(|_, it| it.is_needed(now));
        self.addresses.retain(|_, it| it.is_needed(now));
        self.strangers
            .retain(|_, bucket| !bucket.is_idle(Duration::from_secs(60), now));
    }
}

/// Two seconds of a rate, saved up.
fn burst(rate: u32) -> u32 {
    rate.saturating_mul(BURST_S)
}

/// Seconds of its rate that an account holds.
const BURST_S: u32 = 2;
/// Bytes of IP, UDP and channel headers, which the line carries too.
const OVERHEAD: u32 = 32;
/// Answers to whoever did not prove itself, per address: two hundred viewers of one school begin in the same ten seconds.
const STRANGER_PER_SECOND: u32 = 200;
const STRANGER_BURST: u32 = 1000;
/// Users who have a relay or had one in the last seconds, about 100 bytes each; many times as many as relays can be.
const USERS_MAX: usize = 65_536;
/// Addresses whose answers are counted, about 100 bytes each. When there are more, all begin anew.
const STRANGERS_MAX: usize = 65_536;
