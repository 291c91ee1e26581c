//! The links that both ends speak of, and the shortest ways over them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::quality::Quality;
use super::strategy::Strategy;
use super::way::Report;
use crate::types::NodeId;

/// Nodes by number, in the order of their ids, so that a search over a large network compares numbers.
#[derive(Debug, Default)]
pub(super) struct Graph {
    ids: Vec<NodeId>,
    load_percent: Vec<u8>,
    /// Of each node those that are connected to it.
    links: Vec<Vec<(usize, Quality)>>,
}

/// From each node, if it leads to any of those searched for, the next on the way there.
pub(super) type Spread = Vec<Option<usize>>;

impl Graph {
    pub fn new(reports: &BTreeMap<NodeId, Report>) -> Graph {
        let ids: Vec<NodeId> = reports.keys().copied().collect();
        let links_of = |(node, report): (&NodeId, &Report)| {
            let both = report.links.iter().filter_map(|(peer, there)| {
                let back = reports.get(peer)?.links.get(node)?;
                Some((ids.binary_search(peer).ok()?, back.worse(*there)))
            });
            both.collect()
        };
        let links = reports.iter().map(links_of).collect();
        let load_percent = reports.values().map(|report| report.load_percent).collect();
        Graph { ids, load_percent, links }
    }

    /// From every node the next hop to the nearest of `readers`: Dijkstra's algorithm, from all ends at once backwards.
    /// Ways through the node `not` are none: it is where they begin.
    pub fn spread(&self, readers: &BTreeSet<NodeId>, not: NodeId, strategy: Strategy) -> Spread {
        let not = self.ids.binary_search(&not).ok();
        let mut spread: Spread = vec![None; self.ids.len()];
        let mut least = vec![u64::MAX; self.ids.len()];
        let ends = readers.iter().filter_map(|reader| self.ids.binary_search(reader).ok());
        let mut heap: BinaryHeap<_> = ends.map(|end| Reverse((0u64, end, end))).collect();
        while let Some(Reverse((cost, node, next))) = heap.pop() {
            let (Some(place), Some(links)) = (spread.get_mut(node), self.links.get(node)) else { continue };
            if place.is_some() {
                continue;
            }
            *place = Some(next);
            let load = self.load_percent.get(node).copied().unwrap_or_default();
            for (before, link) in links.iter().filter(|(before, _)| Some(*before) != not) {
                let whole = cost.saturating_add(strategy.cost(*link, load));
                if let Some(least) = least.get_mut(*before).filter(|least| whole <= **least) {
                    *least = whole;
                    heap.push(Reverse((whole, *before, node)));
                }
            }
        }
        spread
    }

    /// The way from a node, itself first, to where it ends; none if it leads nowhere.
    pub fn follow(&self, spread: &Spread, from: NodeId) -> Option<Vec<NodeId>> {
        let mut at = self.ids.binary_search(&from).ok()?;
        let mut hops = vec![from];
        loop {
            let next = (*spread.get(at)?)?;
            if next == at {
                return Some(hops);
            }
            hops.push(*self.ids.get(next)?);
            at = next;
        }
    }
}
