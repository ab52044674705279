//! Short names for tickets: how a telephone finds the television whose code somebody reads out (docs/remote.md).
//!
//! In this process's memory, and where there are many nodes in Redis too, for all of them (`cluster/names.rs`); without Redis a name holds at its own node. The server learns a ticket, which lets it into a pairing room like anybody who guessed a
//! name, and never the other half of a code.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use baton_signal_protocol::{Finding, NAMES, Ticket};

use crate::cluster::{Cluster, Question};
use crate::limits::AddressKey;
use crate::metrics::Metrics;

/// All names of this server.
pub struct Names {
    table: Mutex<Table>,
    /// Where names are kept for all nodes, if there are many.
    cluster: Option<Arc<Cluster>>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Table {
    named: HashMap<u16, Named>,
    /// All names by their end, so that those that are over are found without a look at the others.
    ends: BTreeSet<(Instant, u16)>,
    /// Which name a connection has: most connections have none, and all of them end.
    of: HashMap<u64, u16>,
    asked: HashMap<AddressKey, Asked>,
    /// The same addresses and when the window of each began, earliest first.
    windows: VecDeque<(Instant, AddressKey)>,
}

struct Named {
    ticket: Ticket,
    /// The connection that it is for, and with which it goes.
    connection: u64,
    until: Instant,
    finds_left: u8,
    /// Redis has it: that counts how often it is found, at all nodes together.
    shared: bool,
}

/// What one address asked for in its present window.
#[derive(Default)]
struct Asked {
    names: u32,
    finds: u32,
}

impl Names {
    pub fn new(cluster: Option<Arc<Cluster>>, metrics: Arc<Metrics>) -> Self {
        Self {
            table: Mutex::default(),
            cluster,
            metrics,
        }
    }

    /// A name for this ticket, by chance among the free ones; what the connection had before is free again.
    pub async fn name(
        &self,
        ticket: Ticket,
        connection: u64,
        address: IpAddr,
        now: Instant,
    ) -> Option<u16> {
        let may = {
            let mut table = self.lock();
            self.free(&mut table, connection);
            table.may_name(address, now) && self.has_room(&mut table, now)
        };
        let may = may && self.within(address, Question::Name).await;
        let Some((name, shared)) = self.draw(may, &ticket, connection).await else {
            self.metrics.names_refused_total.add(1);
            return None;
        };
        let named = Named {
            ticket,
            connection,
            until: now + LASTS,
            finds_left: FINDS,
            shared,
        };
        if !self.lock().give(name, named) {
            // Another question of ours drew it in this very moment.
            if let Some(cluster) = self.cluster.as_ref().filter(|_| shared) {
                cluster.free_name(name, connection);
            }
            self.metrics.names_refused_total.add(1);
            return None;
        }
        self.metrics.names.add(1);
        self.metrics.names_total.add(1);
        Some(name)
    }

    /// Whether one more may have a name, now that those whose time is over have none.
    fn has_room(&self, table: &mut Table, now: Instant) -> bool {
        while let Some((_, name)) = table.ends.first().filter(|(until, _)| *until <= now) {
            let name = *name;
            self.take_back(table, name);
        }
        table.named.len() < NAMED_MAX
    }

    /// A name that is free here and, as far as Redis answers (then it is shared), at all nodes.
    async fn draw(&self, may: bool, ticket: &Ticket, connection: u64) -> Option<(u16, bool)> {
        for _ in 0..if may { DRAWS } else { 0 } {
            let name = fastrand::u16(..NAMES);
            if self.lock().named.contains_key(&name) {
                continue;
            }
            let claimed = match &self.cluster {
                Some(cluster) => cluster.claim_name(name, ticket, connection).await,
                None => None,
            };
            match claimed {
                Some(true) => return Some((name, true)),
                Some(false) => {}
                // Another connection of ours may have drawn it meanwhile.
                None if self.lock().named.contains_key(&name) => {}
                None => return Some((name, false)),
            }
        }
        None
    }

    /// Whether an address may ask once more, at all nodes together. Without Redis that is for this node's own account to say.
    async fn within(&self, address: IpAddr, question: Question) -> bool {
        let Some(cluster) = &self.cluster else {
            return true;
        };
        let asked = cluster
            .count_question(AddressKey::of(address), question)
            .await;
        let most = match question {
            Question::Name => NAMES_PER_ADDRESS,
            Question::Find => FINDS_PER_ADDRESS,
        };
        asked.is_none_or(|asked| asked <= u64::from(most))
    }

    pub async fn find(&self, name: u16, address: IpAddr, now: Instant) -> Finding {
        let may = self.lock().may_find(address, now);
        let found = match may && self.within(address, Question::Find).await {
            true => self.look_up(name, now).await,
            false => Finding::TooMany,
        };
        let counted = match found {
            Finding::Here(_) => &self.metrics.names_found_total,
            Finding::Nobody => &self.metrics.names_unknown_total,
            Finding::TooMany => &self.metrics.names_refused_total,
        };
        counted.add(1);
        found
    }

    async fn look_up(&self, name: u16, now: Instant) -> Finding {
        let own = |table: &Table| table.named.get(&name).is_some_and(|it| !it.shared);
        let ask = self.cluster.as_ref().filter(|_| !own(&self.lock()));
        let told = match ask {
            Some(cluster) => cluster.find_name(name).await,
            None => None,
        };
        let here = self.lock().spend(name, now);
        told.unwrap_or(here)
    }

    /// The connection is over, and its name with it. Not `async`: it is called when a session ends in whatever way.
    pub fn forget(&self, connection: u64) {
        let mut table = self.lock();
        self.free(&mut table, connection);
        table.forget_addresses(Instant::now());
    }

    fn free(&self, table: &mut Table, connection: u64) {
        if let Some(name) = table.of.get(&connection).copied() {
            self.take_back(table, name);
        }
    }

    /// The name is free again.
    fn take_back(&self, table: &mut Table, name: u16) {
        let named = table.named.remove(&name);
        let named = named.expect("what leads to a name is gone when it is");
        table.ends.remove(&(named.until, name));
        table.of.remove(&named.connection);
        if let Some(cluster) = self.cluster.as_ref().filter(|_| named.shared) {
            cluster.free_name(name, named.connection);
        }
        self.metrics.names.add(-1);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table
            .lock()
            .expect("nobody panics while holding the names")
    }
}

impl Table {
    /// One of the finds of a name of this node.
    fn spend(&mut self, name: u16, now: Instant) -> Finding {
        let named = self.named.get_mut(&name);
        match named.filter(|it| it.until > now && it.finds_left > 0) {
            Some(named) => {
                named.finds_left -= 1;
                Finding::Here(named.ticket)
            }
            None => Finding::Nobody,
        }
    }

    /// Whether the name was free and the connection had none; then it has it.
    fn give(&mut self, name: u16, named: Named) -> bool {
        if self.named.contains_key(&name) || self.of.contains_key(&named.connection) {
            return false;
        }
        self.ends.insert((named.until, name));
        self.of.insert(named.connection, name);
        self.named.insert(name, named);
        true
    }

    /// The address's account; `None` when there is no room for another one.
    fn asked(&mut self, address: IpAddr, now: Instant) -> Option<&mut Asked> {
        self.forget_addresses(now);
        let key = AddressKey::of(address);
        if !self.asked.contains_key(&key) {
            if self.asked.len() >= ADDRESSES_MAX {
                return None;
            }
            self.windows.push_back((now, key));
        }
        Some(self.asked.entry(key).or_default())
    }

    /// Forgets the addresses whose window is over: they may ask for as much again as those who never asked.
    fn forget_addresses(&mut self, now: Instant) {
        while let Some((_, key)) = self
            .windows
            .pop_front_if(|(since, _)| *since + LASTS <= now)
        {
            self.asked.remove(&key);
        }
    }

    fn may_name(&mut self, address: IpAddr, now: Instant) -> bool {
        self.asked(address, now).is_some_and(|it| {
            it.names += 1;
            it.names <= NAMES_PER_ADDRESS
        })
    }

    fn may_find(&mut self, address: IpAddr, now: Instant) -> bool {
        self.asked(address, now).is_some_and(|it| {
            it.finds += 1;
            it.finds <= FINDS_PER_ADDRESS
        })
    }
}

/// Long enough to look for the telephone and type six characters.
pub const LASTS: Duration = Duration::from_secs(120);
/// A telephone needs one; two more for slips of the hand. The television counts its own (docs/remote.md).
pub const FINDS: u8 = 3;
/// Half of all names, so that a free one is found by two draws of chance; televisions that nobody pairs need none.
const NAMED_MAX: usize = NAMES as usize / 2;
/// How often a free name is looked for: where half of them are taken, a draw too few happens once in four billion times.
const DRAWS: usize = 32;
/// Names given to one address (IPv6: /64) in [`LASTS`]: a house of televisions, each of which asks again when a telephone is paired or a film ends.
const NAMES_PER_ADDRESS: u32 = 100;
/// Names looked up by one address in [`LASTS`]: a house of people who mistype. Who tries all names needs two days.
const FINDS_PER_ADDRESS: u32 = 20;
/// As many addresses as the server keeps connections for (limits.rs).
const ADDRESSES_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    const TICKET: Ticket = [5; 32];

    fn address(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    fn names() -> Names {
        Names::new(None, Arc::new(Metrics::new()))
    }

    #[tokio::test]
    async fn a_name_leads_to_its_ticket_three_times_and_no_longer_than_two_minutes() {
        let (names, now) = (names(), Instant::now());
        let name = names.name(TICKET, 1, address(1), now).await.unwrap();
        assert!(name < NAMES);
        for _ in 0..3 {
            assert_eq!(
                names.find(name, address(2), now).await,
                Finding::Here(TICKET)
            );
        }
        assert_eq!(names.find(name, address(2), now).await, Finding::Nobody);
        let name = names.name(TICKET, 1, address(1), now).await.unwrap();
        let late = now + LASTS;
        assert_eq!(names.find(name, address(2), late).await, Finding::Nobody);
        names.name(TICKET, 2, address(3), late).await.unwrap();
        assert_eq!(names.metrics.names.get(), 1, "what has expired is gone");
    }

    #[tokio::test]
    async fn a_connection_has_one_name_and_takes_it_along() {
        let (names, now) = (names(), Instant::now());
        let first = names.name(TICKET, 1, address(1), now).await.unwrap();
        let second = names.name([6; 32], 1, address(1), now).await.unwrap();
        assert!(first == second || names.find(first, address(2), now).await == Finding::Nobody);
        assert_eq!(
            names.find(second, address(2), now).await,
            Finding::Here([6; 32])
        );
        names.forget(1);
        assert_eq!(names.find(second, address(2), now).await, Finding::Nobody);
        assert_eq!(names.metrics.names.get(), 0);
    }

    #[tokio::test]
    async fn an_address_that_tries_names_is_stopped_and_comes_back_later() {
        let (names, now) = (names(), Instant::now());
        let name = names.name(TICKET, 1, address(1), now).await.unwrap();
        let other = (name + 1) % NAMES;
        for _ in 0..FINDS_PER_ADDRESS {
            assert_eq!(names.find(other, address(2), now).await, Finding::Nobody);
        }
        assert_eq!(names.find(name, address(2), now).await, Finding::TooMany);
        assert_eq!(
            names.find(name, address(3), now).await,
            Finding::Here(TICKET),
            "others have room"
        );
        assert!(
            names
                .name(TICKET, 2, address(2), now + LASTS)
                .await
                .is_some()
        );
    }

    #[tokio::test]
    async fn nothing_is_left_of_names_and_addresses_when_their_time_is_over() {
        let (names, now) = (names(), Instant::now());
        for n in 0..50 {
            names.name(TICKET, n.into(), address(n), now).await.unwrap();
            names.find(7, address(100 + n), now).await;
        }
        // One asks for another name, one goes.
        names.name(TICKET, 1, address(1), now).await.unwrap();
        names.forget(2);
        let sizes = |names: &Names| {
            let table = names.lock();
            let of_names = [table.named.len(), table.ends.len(), table.of.len()];
            assert_eq!(of_names, [table.named.len(); 3]);
            assert_eq!(table.asked.len(), table.windows.len());
            (table.named.len(), table.asked.len())
        };
        assert_eq!(sizes(&names), (49, 100));
        names.name(TICKET, 99, address(200), now + LASTS).await;
        assert_eq!(sizes(&names), (1, 1));
        names.forget(99);
        assert_eq!(sizes(&names), (0, 1));
    }

    #[tokio::test]
    async fn who_may_not_have_a_name_makes_nobody_look_at_the_others() {
        let (names, now) = (names(), Instant::now() + LASTS);
        for _ in 0..NAMES_PER_ADDRESS {
            names.name(TICKET, 1, address(1), now).await.unwrap();
        }
        let late = now + LASTS - Duration::from_millis(1);
        names
            .name(TICKET, 2, address(2), now - LASTS)
            .await
            .unwrap();
        assert_eq!(names.name(TICKET, 1, address(1), late).await, None);
        let named = names.lock().named.len();
        assert_eq!(named, 1, "the one that is over was not looked for");
    }

    #[tokio::test]
    async fn a_full_table_names_nobody() {
        let (names, now) = (names(), Instant::now());
        for n in 0..NAMED_MAX as u32 {
            let address = IpAddr::from((n / 64).to_be_bytes());
            assert!(
                names
                    .name(TICKET, u64::from(n), address, now)
                    .await
                    .is_some()
            );
        }
        assert_eq!(names.name(TICKET, 99_999, address(1), now).await, None);
    }
}
