//! Short names that hold at all nodes: in Redis for as long as they last, with one account of questions per address.
//!
//! Each is a key of its own and gone after [`LASTS`] whatever happens to its node, so nothing of it needs a lease.

use baton_signal_protocol::{Finding, Ticket};

use crate::cluster::Cluster;
use crate::cluster::presence::{asked, name_key};
use crate::limits::AddressKey;

/// What an address asks for, in its account.
#[derive(Clone, Copy)]
pub enum Question {
    Name,
    Find,
}

/// Methods give `None` where Redis did not answer: the node then goes by its own table.
impl Cluster {
    /// How often an address asked so at all nodes in its present window, this time included.
    pub async fn count_question(&self, address: AddressKey, question: Question) -> Option<u64> {
        let up = self.up()?;
        let field = match question {
            Question::Name => b"names".as_slice(),
            Question::Find => b"finds".as_slice(),
        };
        up.heard(up.store.count_question(&asked(address), field).await)
    }

    /// Takes a name for a connection of this node; false if another one has it.
    pub async fn claim_name(&self, name: u16, ticket: &Ticket, connection: u64) -> Option<bool> {
        let up = self.up()?;
        let owner = up.field(connection);
        up.heard(up.store.claim_name(&name_key(name), &owner, ticket).await)
    }

    /// Spends one of the name's finds.
    pub async fn find_name(&self, name: u16) -> Option<Finding> {
        let up = self.up()?;
        let ticket = up.heard(up.store.find_name(&name_key(name)).await)?;
        Some(ticket.map_or(Finding::Nobody, Finding::Here))
    }

    /// The connection has this name no more. Redis hears of it soon; what it never hears it forgets by itself.
    pub fn free_name(&self, name: u16, connection: u64) {
        if self.up().is_some() {
            let mut news = self.news();
            if news.freed.len() < super::NEWS_MAX {
                news.freed.push((name, connection));
            }
        }
    }
}
