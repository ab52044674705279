//! Who is connected with whom, looked at once a second: whether all who are there hang together, and how many neighbours each has.

use crate::node::Node;
use std::collections::{BTreeMap, BTreeSet};

/// Who came or woke so lately need not have its neighbours yet.
const SETTLED_US: u64 = 30_000_000;
/// Nor be connected at all.
const NEW_US: u64 = 10_000_000;

/// What was seen in all looks so far.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    /// The most parts that those who are there fell into.
    pub components_max: u64,
    /// Seconds that each was without anybody.
    pub isolated_s: BTreeMap<u32, u64>,
    /// Peers looked at who had time to find their neighbours, and those of them with less than a third of the most they may have though
    /// there were so many others.
    pub settled: u64,
    pub few: u64,
    /// The most that anybody had beyond what it may have.
    pub beyond_max: u64,
}

impl Overlay {
    /// `most`: how many connections each may have.
    pub fn look<'a>(&mut self, now: u64, nodes: impl Iterator<Item = (&'a Node, usize)>) {
        let here: Vec<(&Node, usize)> = nodes.filter(|(node, _)| node.is_here()).collect();
        let named: BTreeMap<u32, BTreeSet<u32>> = here
            .iter()
            .map(|(node, _)| (node.index, node.neighbours()))
            .collect();
        let both = |a: u32, b: &u32| named.get(b).is_some_and(|of_b| of_b.contains(&a));
        let ways: BTreeMap<u32, Vec<u32>> = named
            .iter()
            .map(|(&a, of_a)| (a, of_a.iter().copied().filter(|b| both(a, b)).collect()))
            .collect();
        let since = |node: &Node| now.saturating_sub(node.settles_from());
        for &(node, most) in &here {
            let count = ways[&node.index].len();
            self.beyond_max = self.beyond_max.max(count.saturating_sub(most) as u64);
            if since(node) >= SETTLED_US {
                self.settled += 1;
                self.few += u64::from(count < (most / 3).min(here.len() - 1));
            }
            if node.came_before(now, NEW_US) && count == 0 && here.len() > 1 {
                *self.isolated_s.entry(node.index).or_default() += 1;
            }
        }
        let counts = |node: u32| {
            here.iter()
                .any(|(it, _)| it.index == node && it.came_before(now, NEW_US))
        };
        let mut left: BTreeSet<u32> = named.keys().copied().collect();
        let mut components = 0;
        while let Some(first) = left.pop_first() {
            let (mut part, mut at) = (vec![first], 0);
            while let Some(&node) = part.get(at) {
                part.extend(ways[&node].iter().filter(|other| left.remove(other)));
                at += 1;
            }
            components += u64::from(part.into_iter().any(counts));
        }
        self.components_max = self.components_max.max(components);
    }
}
