//! What a scenario says: film, publisher, server, crowd, and the bounds that a run must meet (docs/simulation.md).

use serde::Deserialize;
use std::collections::BTreeMap;

/// One file of scenarios/.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, in a sentence.
    pub about: String,
    pub seeds: Vec<u64>,
    /// How long the world runs.
    pub seconds: u64,
    /// Ends earlier when every viewer that is there has everything and has seen it.
    #[serde(default)]
    pub until_complete: bool,
    pub film: FilmPlan,
    pub publisher: PublisherPlan,
    #[serde(default)]
    pub server: ServerPlan,
    pub crowd: Vec<Group>,
    pub partition: Option<Partition>,
    /// What gets lost between peers: to see what it is good for.
    #[serde(default)]
    pub unheard: Vec<Word>,
    /// Run it once more like this, to compare: metrics named `…_over_baseline`.
    pub baseline: Option<Baseline>,
    /// Metrics (docs/simulation.md) that must not be above.
    #[serde(default)]
    pub at_most: BTreeMap<String, f64>,
    /// Metrics that must not be below.
    #[serde(default)]
    pub at_least: BTreeMap<String, f64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilmPlan {
    pub seconds: u64,
    pub kbit: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublisherPlan {
    pub up_kbit: u64,
    /// One way of its access link.
    #[serde(default = "five")]
    pub latency_ms: u64,
    #[serde(default = "frankfurt")]
    pub city: String,
    /// It closes its tab at these seconds: one run each.
    #[serde(default)]
    pub leaves_at_s: Vec<u64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerPlan {
    pub city: String,
    pub gone_at_s: Option<u64>,
    pub ranking: Ranking,
    /// Whether it relays for those who cannot meet (TURN).
    pub relay: bool,
}

impl Default for ServerPlan {
    fn default() -> Self {
        ServerPlan {
            city: frankfurt(),
            gone_at_s: None,
            ranking: Ranking::Country,
            relay: true,
        }
    }
}

/// What the server knows of places (docs/signalling.md#candidates).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ranking {
    /// Addresses only: peers of other houses are all alike to it.
    Prefix,
    /// Countries and their distance, by a database.
    Country,
}

/// Viewers of one kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub name: String,
    pub count: u64,
    #[serde(default)]
    pub from_s: u64,
    /// They come within so many seconds, each at a random moment.
    #[serde(default)]
    pub over_s: u64,
    /// Evenly spread between the two.
    pub up_kbit: [u64; 2],
    pub down_kbit: [u64; 2],
    /// One way of the access link.
    #[serde(default = "usual_latency")]
    pub latency_ms: [u64; 2],
    /// What the uplink's router holds before it stops taking more.
    #[serde(default = "usual_queue")]
    pub queue_ms: u64,
    /// Packets lost on the access link, per million.
    #[serde(default = "usual_loss")]
    pub loss_ppm: u64,
    /// How many in ten have an open address, an ordinary NAT, a symmetric one.
    #[serde(default = "usual_nat")]
    pub nat: [u64; 3],
    /// Names of cities, countries or regions; everywhere if empty.
    #[serde(default)]
    pub places: Vec<String>,
    /// Half of them stay longer.
    pub stay_median_s: Option<u64>,
    #[serde(default)]
    pub habit: Habit,
    /// Not players, but downloads.
    #[serde(default)]
    pub only_fetch: bool,
    /// Comes with everything.
    #[serde(default)]
    pub has_all: bool,
    /// Jumps to a random place this often.
    pub seek_every_s: Option<u64>,
    /// Peers to look for and to have at most: fewer on phones and TVs.
    pub peers: Option<[u16; 2]>,
    /// How often one of its connections dies at a random moment; both ends learn it fifteen seconds later.
    pub break_every_s: Option<u64>,
    /// How often it sleeps for ten seconds, as a phone in a pocket, and wakes with one connection.
    pub sleep_every_s: Option<u64>,
}

/// A message between peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    Neighbours,
    Introduce,
}

/// What a peer does to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Habit {
    #[default]
    Honest,
    /// Uploads nothing and says so: its upload is paused.
    FreeRider,
    /// Spoils a byte of every block message.
    Poisoner,
    /// Says that it has everything and never sends a block.
    Liar,
}

/// The named places and the rest of the world cannot reach each other; the server reaches all.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    pub from_s: u64,
    pub until_s: u64,
    pub region: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// Honest viewers alone.
    HonestOnly,
    /// The publisher stays.
    PublisherStays,
    /// The server ranks without knowing countries.
    Unranked,
}

/// One run of a scenario.
#[derive(Clone, Debug)]
pub struct Run {
    pub label: String,
    pub plan: Scenario,
    pub leaves_at_s: Option<u64>,
}

impl Scenario {
    /// Its baseline first, if it has one, then its variants.
    pub fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = self
            .baseline
            .iter()
            .map(|baseline| self.without(*baseline))
            .collect();
        let run = |label: String, leaves_at_s| Run {
            label,
            plan: self.clone(),
            leaves_at_s,
        };
        match &self.publisher.leaves_at_s[..] {
            [] => runs.push(run(String::new(), None)),
            moments => runs.extend(
                moments
                    .iter()
                    .map(|&at| run(format!("publisher leaves at {at} s"), Some(at))),
            ),
        }
        runs
    }

    fn without(&self, baseline: Baseline) -> Run {
        let mut plan = self.clone();
        match baseline {
            Baseline::HonestOnly => plan.crowd.retain(|group| group.habit == Habit::Honest),
            Baseline::PublisherStays => {}
            Baseline::Unranked => plan.server.ranking = Ranking::Prefix,
        }
        Run {
            label: "baseline".into(),
            plan,
            leaves_at_s: None,
        }
    }

    /// The same with another number of viewers, each group in proportion.
    pub fn with_peers(mut self, peers: u64) -> Scenario {
        let total: u64 = self.crowd.iter().map(|group| group.count).sum();
        for group in &mut self.crowd {
            group.count = (group.count * peers).div_ceil(total.max(1));
        }
        self
    }
}

fn five() -> u64 {
    5
}

fn frankfurt() -> String {
    "Frankfurt".into()
}

/// Fibre to bad DSL.
fn usual_latency() -> [u64; 2] {
    [3, 12]
}

fn usual_queue() -> u64 {
    100
}

fn usual_loss() -> u64 {
    100
}

/// Everybody meets everybody: who cannot is a matter for scenarios that say so.
fn usual_nat() -> [u64; 3] {
    [2, 8, 0]
}
