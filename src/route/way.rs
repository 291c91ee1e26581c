//! Links, and the ways over them.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use serde::Serialize;

use super::quality::Quality;
use super::strategy::Strategy;
use crate::types::{Mono, NodeId, limits};
use crate::wire::kind::system::{Link, LinkReport};

/// A way that failed is not tried again for this long, unless there is no other.
const AVOID: Duration = Duration::from_secs(15);

/// What a node last said of its links.
#[derive(Clone, Debug)]
struct Report {
    at: Mono,
    load_percent: u8,
    links: BTreeMap<NodeId, Quality>,
}

/// Ways are found anew after this: to look over a large network costs milliseconds.
const FRESH: Duration = Duration::from_secs(1);

/// Ways, and when they were found.
type Found = (Mono, Vec<Way>);

/// Everything known of who is connected to whom.
#[derive(Debug)]
pub struct Routes {
    id: NodeId,
    /// This node's own links.
    own: BTreeMap<NodeId, Quality>,
    reports: BTreeMap<NodeId, Report>,
    /// First hops that led nowhere, by where they were to lead.
    avoided: BTreeMap<(NodeId, NodeId), Mono>,
    /// Readers that did not take what reached them: no way to them is better than another.
    declined: BTreeMap<NodeId, Mono>,
    /// Ways found a moment ago.
    found: RefCell<BTreeMap<(NodeId, Strategy), Found>>,
}

/// A way to a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, schemars::JsonSchema)]
pub struct Way {
    /// The nodes, the next first, the one it leads to last.
    pub hops: Vec<NodeId>,
    /// How long a message takes, microseconds: half of each round trip.
    pub time_us: u64,
    /// Of a million messages, as many arrive.
    pub success_ppm: u32,
    /// The load of the most loaded node on it, percent.
    pub load_percent: u8,
    /// What the strategy makes of it; less is better.
    pub cost: u64,
    /// It failed a moment ago and is tried last.
    pub avoided: bool,
}

impl Routes {
    /// Of the node `id`, which knows of nobody yet.
    pub fn new(id: NodeId) -> Routes {
        Routes {
            id,
            own: BTreeMap::new(),
            reports: BTreeMap::new(),
            avoided: BTreeMap::new(),
            declined: BTreeMap::new(),
            found: RefCell::default(),
        }
    }

    /// A connection stands.
    pub fn on_up(&mut self, peer: NodeId) {
        self.own.entry(peer).or_default();
        self.look_anew();
        self.avoided.retain(|(_, first), _| *first != peer);
    }

    /// It is gone.
    pub fn on_down(&mut self, peer: NodeId) {
        self.own.remove(&peer);
        self.look_anew();
    }

    /// A peer answered a ping.
    pub fn on_round_trip(&mut self, peer: NodeId, time: Duration) {
        if let Some(link) = self.own.get_mut(&peer) {
            link.on_round_trip(time);
        }
    }

    /// A message that went this way was delivered, or came to nothing.
    pub fn on_outcome(&mut self, to: NodeId, first: NodeId, delivered: bool, now: Mono) {
        if let Some(link) = self.own.get_mut(&first) {
            link.on_outcome(delivered);
        }
        if delivered {
            if self.avoided.remove(&(to, first)).is_some() {
                self.look_anew();
            }
        } else {
            self.look_anew();
            self.avoided.retain(|_, until| now < *until);
            if self.avoided.len() < limits::LINK_REPORTS {
                self.avoided.insert((to, first), now + AVOID);
            }
        }
    }

    /// A reader has, and does not take, what was for it. That is no link's fault; others that answer to the same
    /// destination are tried first.
    pub fn on_declined(&mut self, reader: NodeId, now: Mono) {
        self.look_anew();
        self.declined.retain(|_, until| now < *until);
        if self.declined.len() < limits::LINK_REPORTS {
            self.declined.insert(reader, now + AVOID);
        }
    }

    /// Whether a way is to be tried last: it failed, or its reader declined, a moment ago.
    fn is_avoided(&self, to: NodeId, first: NodeId, now: Mono) -> bool {
        let since = [self.avoided.get(&(to, first)), self.declined.get(&to)];
        since.into_iter().flatten().any(|until| now < *until)
    }

    /// A node says how it is connected. True when it is connected to others than before.
    pub fn on_report(&mut self, author: NodeId, report: &LinkReport, now: Mono) -> bool {
        if self.reports.len() >= limits::LINK_REPORTS && !self.reports.contains_key(&author) {
            self.forget_old(now);
            if self.reports.len() >= limits::LINK_REPORTS {
                return false;
            }
        }
        let links = report.links.iter().take(limits::LINKS);
        let links = links.map(|link| (link.peer, Quality::new(link.round_trip_us, link.loss_ppm)));
        let links: BTreeMap<NodeId, Quality> = links.collect();
        let load_percent = report.load_percent.clamp(0.0, 100.0) as u8;
        let peers: Vec<NodeId> = links.keys().copied().collect();
        let before = self.reports.insert(author, Report { at: now, load_percent, links });
        before.is_none_or(|before| !before.links.into_keys().eq(peers))
    }

    /// Whether anything is known of a node.
    pub fn has(&self, node: NodeId) -> bool {
        self.own.contains_key(&node) || self.reports.contains_key(&node)
    }

    /// Drops reports that count no more.
    pub fn forget_old(&mut self, now: Mono) {
        self.reports.retain(|_, report| now - report.at < 3 * limits::LINK_REPORT_EVERY);
    }

    /// This node's own links, as it tells everyone: the best connected first, as many as a report takes.
    pub fn links(&self) -> Vec<Link> {
        let mut links: Vec<Link> = self
            .own
            .iter()
            .map(|(peer, link)| Link { peer: *peer, round_trip_us: link.round_trip_us, loss_ppm: link.loss_ppm })
            .collect();
        links.sort_by_key(|link| (link.loss_ppm, link.round_trip_us, link.peer));
        links.truncate(limits::LINKS);
        links
    }

    /// Every node that reported, its load, and the links that both ends speak of.
    pub fn topology(&self) -> impl Iterator<Item = (NodeId, u8, Vec<Link>)> {
        self.reports.iter().map(|(node, report)| {
            let links = report.links.iter().filter_map(|(peer, link)| {
                let link = link.worse(*self.reports.get(peer)?.links.get(node)?);
                Some(Link { peer: *peer, round_trip_us: link.round_trip_us, loss_ppm: link.loss_ppm })
            });
            (*node, report.load_percent, links.collect())
        })
    }

    /// Forgets the ways found so far.
    pub fn look_anew(&mut self) {
        self.found.take();
    }

    /// The ways to a node, the best first: for each link of this node the best that begins with it, if any. What others
    /// said in the last second may not be in it yet.
    pub fn ways(&self, to: NodeId, strategy: Strategy, now: Mono) -> Vec<Way> {
        if let Some((at, ways)) = self.found.borrow().get(&(to, strategy))
            && now - *at < FRESH
        {
            return ways.clone();
        }
        let ways = self.find(to, strategy, now);
        let mut found = self.found.borrow_mut();
        if found.len() >= limits::DESTINATIONS {
            found.clear();
        }
        found.insert((to, strategy), (now, ways.clone()));
        ways
    }

    fn find(&self, to: NodeId, strategy: Strategy, now: Mono) -> Vec<Way> {
        let spread = self.spread(to, strategy);
        let mut ways: Vec<Way> = self
            .own
            .iter()
            .filter_map(|(first, link)| {
                let mut hops = vec![*first];
                while let Some(last) = hops.last().filter(|last| **last != to) {
                    hops.push(spread.get(last)?.1);
                }
                let avoided = self.is_avoided(to, *first, now);
                (hops.len() <= limits::HOPS).then(|| self.way(hops, *link, strategy, avoided))
            })
            .collect();
        ways.sort_by(|a, b| (a.avoided, a.cost, &a.hops).cmp(&(b.avoided, b.cost, &b.hops)));
        ways
    }

    /// From every node the cost to `to` and the next hop there: Dijkstra's algorithm, from the end backwards. Ways
    /// through this node are none: it is where they begin.
    fn spread(&self, to: NodeId, strategy: Strategy) -> BTreeMap<NodeId, (u64, NodeId)> {
        let mut settled: BTreeMap<NodeId, (u64, NodeId)> = BTreeMap::new();
        let mut heap = BinaryHeap::from([Reverse((0u64, to, to))]);
        while let Some(Reverse((cost, node, next))) = heap.pop() {
            if settled.contains_key(&node) {
                continue;
            }
            settled.insert(node, (cost, next));
            let Some(report) = self.reports.get(&node) else { continue };
            for (before, there) in &report.links {
                let back = self.reports.get(before).and_then(|other| other.links.get(&node));
                if let Some(back) = back.filter(|_| *before != self.id && !settled.contains_key(before)) {
                    let step = strategy.cost(back.worse(*there), report.load_percent);
                    heap.push(Reverse((cost.saturating_add(step), *before, node)));
                }
            }
        }
        settled
    }

    fn way(&self, hops: Vec<NodeId>, first: Quality, strategy: Strategy, avoided: bool) -> Way {
        let later = hops.windows(2).map(|pair| self.link(pair[0], pair[1]));
        let links: Vec<Quality> = std::iter::once(first).chain(later).collect();
        let loads: Vec<u8> = hops.iter().map(|node| self.reports.get(node).map_or(0, |r| r.load_percent)).collect();
        let success = |so_far: u64, link: &Quality| so_far * (1_000_000 - u64::from(link.loss_ppm)) / 1_000_000;
        Way {
            time_us: links.iter().map(|link| u64::from(link.round_trip_us) / 2).sum(),
            success_ppm: u32::try_from(links.iter().fold(1_000_000, success)).unwrap_or_default(),
            load_percent: loads.iter().copied().max().unwrap_or_default(),
            cost: links.iter().zip(&loads).map(|(link, load)| strategy.cost(*link, *load)).sum(),
            hops,
            avoided,
        }
    }

    fn link(&self, from: NodeId, to: NodeId) -> Quality {
        let said = |a: &NodeId, b: &NodeId| self.reports.get(a).and_then(|report| report.links.get(b)).copied();
        said(&from, &to).zip(said(&to, &from)).map_or_else(Quality::default, |(there, back)| there.worse(back))
    }
}
