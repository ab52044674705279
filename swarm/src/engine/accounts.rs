//! Who gave whom how much (docs/decisions.md): receipts for what came, receipts for what went, and what follows for whose turn it is.
//!
//! There is no ledger that all share. What a peer gave us counts, because we verified it; what others say that it gave them counts so far as
//! they themselves gave to us. So who invents others to speak for it gains nothing, and a publisher, to whom nobody gives, believes nobody.

use super::Swarm;
use crate::config;
use crate::face::{ConnId, Flood, Reason};
use crate::peer::{Account, Peer, Standing, Vouched};
use crate::picker;
use crate::wire::{Message, Receipt, Signature, receipt_statement};
use baton_content::{PeerId, verify_signature};

impl Swarm {
    /// Somebody comes, perhaps again. Nothing is proven before its Hello, so all of it is kept as it is until then.
    pub(super) fn open_account(&mut self, peer: &mut Peer) {
        let known = |(id, _): &(PeerId, Account)| *id == peer.id;
        if let Some(at) = self.accounts.iter().position(known) {
            peer.account = self.accounts.swap_remove(at).1;
        }
    }

    /// It went: what is remembered of the fewest bytes makes room.
    pub(super) fn keep_account(&mut self, peer: &Peer) {
        if peer.account.weight() == 0 {
            return;
        }
        self.accounts.push((peer.id, peer.account));
        if self.accounts.len() > config::ACCOUNTS_MAX {
            let weights = self.accounts.iter().map(|(_, account)| account.weight());
            let least = weights.zip(0..).min().map_or(0, |(_, at)| at);
            let confirmed = self.accounts.swap_remove(least).1.confirmed();
            self.counters.forgotten.0 += confirmed;
            self.counters.forgotten.1 += u32::from(confirmed > 0);
        }
    }

    /// With each Ping but the first, when it has not said yet whom it knows.
    pub(super) fn settle_account(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get(&conn) else {
            return;
        };
        let due = peer.account.received - peer.account.signed;
        if due >= config::RECEIPT_BYTES || peer.down.owed_blocks == 0 {
            self.give_receipt(conn);
        }
        self.show_receipts(conn);
        self.look_at_standing(conn);
        if let Some(peer) = self.peers.get_mut(&conn) {
            let [last, before, _] = peer.given_before;
            peer.given_before = [peer.account.given, last, before];
        }
    }

    /// Signs what came from a peer, if there is news.
    pub(super) fn give_receipt(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        let bytes = peer.account.received;
        if bytes == peer.account.signed {
            return;
        }
        peer.account.signed = bytes;
        let statement = receipt_statement(&self.swarm, &peer.id, &self.me, bytes);
        let receipt = Receipt {
            receiver: self.me.0,
            bytes,
            signature: Signature::new(&self.key.sign(&statement)),
        };
        self.send(conn, &Message::Receipts(vec![receipt]));
    }

    /// Shows what others signed for us: first those whom this peer is connected with, since it believes nobody else.
    fn show_receipts(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get(&conn) else {
            return;
        };
        let (at, shown) = peer.shown.unwrap_or_default();
        let soon = peer.shown.is_some() && self.now.since(at) < config::RECEIPTS_SHOWN_INTERVAL_US;
        if soon || peer.is_publisher() || peer.is_local() {
            return;
        }
        let mut sum = 0u64;
        let mut receipts = Vec::new();
        for met in [true, false] {
            let here = self.peers.values().map(|peer| &peer.account);
            let gone = self.accounts.iter().map(|(_, account)| account);
            for receipt in here.chain(gone).filter_map(|account| account.receipt) {
                let id = PeerId(receipt.receiver);
                let worth = receipt.bytes >= config::GIVER_BYTES && id != peer.id;
                if worth && peer.neighbours.contains(&id) == met {
                    sum = sum.saturating_add(receipt.bytes);
                    if receipts.len() < config::RECEIPTS_SHOWN_MAX {
                        receipts.push(receipt);
                    }
                }
            }
        }
        if sum < shown.saturating_add(config::GIVER_BYTES) {
            return;
        }
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.shown = Some((self.now, sum));
        }
        self.send(conn, &Message::Receipts(receipts));
    }

    /// Its own receipts for us, and what others signed for it. A signature is checked only where it may count.
    pub(super) fn learn_receipts(
        &mut self,
        conn: ConnId,
        receipts: &[Receipt],
    ) -> Result<(), Reason> {
        let peer = self.peers.get_mut(&conn).ok_or(Reason::Goodbye)?;
        if !peer.receipts.take(self.now, receipts.len() as u64) {
            return Err(Reason::Flood(Flood::Receipts));
        }
        for receipt in receipts {
            if receipt.receiver == self.peers[&conn].id.0 {
                self.take_receipt(conn, *receipt)?;
            } else {
                self.vouch(conn, receipt)?;
            }
        }
        self.look_at_standing(conn);
        Ok(())
    }

    fn take_receipt(&mut self, conn: ConnId, receipt: Receipt) -> Result<(), Reason> {
        let peer = self.peers.get_mut(&conn).ok_or(Reason::Goodbye)?;
        let known = peer.account.receipt.map_or(0, |receipt| receipt.bytes);
        if receipt.bytes > known {
            // Also because it is shown to others, who would hold a false one against us.
            check(
                &receipt_statement(&self.swarm, &self.me, &peer.id, receipt.bytes),
                &receipt,
            )?;
            peer.account.receipt = Some(receipt);
        }
        Ok(())
    }

    /// Somebody else says that it got something from this peer. That counts no further than what it gave to us, less what it has said for others: those
    /// who never gave us anything are not even checked.
    fn vouch(&mut self, conn: ConnId, receipt: &Receipt) -> Result<(), Reason> {
        let id = PeerId(receipt.receiver);
        let lent = self.received_from(&id);
        let peer = self.peers.get(&conn).ok_or(Reason::Goodbye)?;
        let known = peer.vouched.iter().position(|it| it.by == id);
        let said = known.map_or(0, |at| peer.vouched[at].said);
        let full = known.is_none() && peer.vouched.len() >= config::VOUCHERS_MAX;
        if lent == 0 || full || receipt.bytes <= said {
            return Ok(());
        }
        check(
            &receipt_statement(&self.swarm, &peer.id, &id, receipt.bytes),
            receipt,
        )?;
        let others = self.peers.values().filter(|peer| peer.conn != conn);
        let used = others.flat_map(|peer| &peer.vouched);
        let used: u64 = used.map(|it| if it.by == id { it.counts } else { 0 }).sum();
        let vouched = Vouched {
            by: id,
            said: receipt.bytes,
            counts: receipt.bytes.min(lent.saturating_sub(used)),
        };
        let list = &mut self.peers.get_mut(&conn).ok_or(Reason::Goodbye)?.vouched;
        match known {
            Some(at) => list[at] = vouched,
            None => list.push(vouched),
        }
        Ok(())
    }

    fn received_from(&self, id: &PeerId) -> u64 {
        let here = self.by_id.get(id).and_then(|conn| self.peers.get(conn));
        match here {
            Some(peer) => peer.account.received,
            None => self.account_of_gone(id).received,
        }
    }

    pub(super) fn account_of_gone(&self, id: &PeerId) -> Account {
        let known = self.accounts.iter().find(|(at, _)| at == id);
        known.map_or_else(Account::default, |(_, account)| *account)
    }

    /// What we saw ourselves has the last word: whoever owes and brings nothing is not helped by what others say, and whoever gives to us need
    /// not sign anything.
    pub(super) fn look_at_standing(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else {
            return;
        };
        let Account {
            received,
            given,
            receipt,
            ..
        } = peer.account;
        let owes = peer.down.stalled && received == 0;
        let said: u64 = peer.vouched.iter().map(|it| it.counts).sum();
        let credit = received + if owes { 0 } else { said };
        let taken = peer.given_before[2];
        // It signs what was new to it; what came twice is never three quarters.
        let signed = receipt.map_or(0, |receipt| receipt.bytes);
        let unsigned = taken / 4 > signed.saturating_add(config::RECEIPT_BYTES);
        let takes = given >= config::NEWCOMER_BYTES && credit < given / 8;
        peer.standing = if takes && !peer.is_local() && (owes || unsigned || !picker::is_open(peer))
        {
            Standing::Last
        } else if credit >= config::GIVER_BYTES && credit >= given / 4 {
            Standing::Gives
        } else {
            Standing::Usual
        };
    }
}

fn check(statement: &[u8], receipt: &Receipt) -> Result<(), Reason> {
    if verify_signature(&receipt.receiver, statement, &receipt.signature.bytes()) {
        Ok(())
    } else {
        Err(Reason::BadReceipt)
    }
}
