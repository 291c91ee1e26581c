//! Links, and the ways over them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::graph::Graph;
use super::quality::Quality;
use super::strategy::Strategy;
use crate::types::{Mono, NodeId, limits};
use crate::wire::Destination;
use crate::wire::kind::system::{Link, LinkReport};

/// A way that failed is not tried again for this long, unless there is no other.
const AVOID: Duration = Duration::from_secs(15);

/// What a node last said of its links.
#[derive(Clone, Debug)]
pub(super) struct Report {
    at: Mono,
    pub load_percent: u8,
    pub links: BTreeMap<NodeId, Quality>,
}

/// Reports looked at for one that makes room.
const LOOKED_AT: usize = 16;

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
    /// Where a stranger's report is looked for that makes room for a neighbour's.
    strangers: NodeId,
    /// Ways found a moment ago, and the links they were found over.
    found: RefCell<BTreeMap<(Destination, Strategy), Found>>,
    graph: RefCell<Option<(Mono, Arc<Graph>)>>,
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
            strangers: NodeId([0; 32]),
            found: RefCell::default(),
            graph: RefCell::default(),
        }
    }

    /// A connection stands.
    pub fn on_up(&mut self, peer: NodeId) {
        self.own.entry(peer).or_default();
        self.found.take();
        self.avoided.retain(|(_, first), _| *first != peer);
    }

    /// It is gone.
    pub fn on_down(&mut self, peer: NodeId) {
        self.own.remove(&peer);
        self.found.take();
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
            self.avoided.remove(&(to, first));
        } else {
            self.avoided.retain(|_, until| now < *until);
            if self.avoided.len() < limits::LINK_REPORTS {
                self.avoided.insert((to, first), now + AVOID);
            }
        }
    }

    /// A reader has, and does not take, what was for it. That is no link's fault; others that answer to the same
    /// destination are tried first.
    pub fn on_declined(&mut self, reader: NodeId, now: Mono) {
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
            if self.reports.len() >= limits::LINK_REPORTS && !(self.is_near(author) && self.forget_stranger()) {
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

    /// Whether a node is connected to this one, or to one that is, by the word of that one.
    fn is_near(&self, node: NodeId) -> bool {
        let said = |peer: &NodeId| self.reports.get(peer).is_some_and(|report| report.links.contains_key(&node));
        node == self.id || self.own.contains_key(&node) || self.own.keys().any(said)
    }

    /// Forgets the report of one node that is not near. False when none was found among a few, the next in turn.
    fn forget_stranger(&mut self) -> bool {
        let from = self.strangers;
        let turn = self.reports.range(from..).chain(self.reports.range(..from)).map(|(node, _)| *node);
        let few: Vec<NodeId> = turn.take(LOOKED_AT).collect();
        self.strangers = few.last().copied().unwrap_or(from);
        let stranger = few.into_iter().find(|node| !self.is_near(*node));
        stranger.is_some_and(|stranger| self.reports.remove(&stranger).is_some())
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
        self.graph.take();
    }

    /// The ways to a destination, the best first: for each link of this node the best that begins with it, if any, to
    /// whichever of its readers is nearest, and the same for those readers of whom something failed a moment ago. What
    /// others said in the last second may not be in it yet; what failed is.
    pub fn ways(
        &self,
        to: &Destination,
        readers: impl FnOnce() -> Vec<NodeId>,
        strategy: Strategy,
        now: Mono,
    ) -> Vec<Way> {
        let known = self.found.borrow().get(&(to.clone(), strategy)).cloned();
        let mut ways = match known.filter(|(at, _)| now - *at < FRESH) {
            Some((_, ways)) => ways,
            None => {
                let ways = self.find(readers(), strategy, now);
                self.note(to.clone(), strategy, now, ways.clone());
                ways
            }
        };
        for way in &mut ways {
            let ends = way.hops.first().zip(way.hops.last());
            way.avoided = ends.is_some_and(|(first, reader)| self.is_avoided(*reader, *first, now));
        }
        ways.sort_by(|a, b| (a.avoided, a.cost, &a.hops).cmp(&(b.avoided, b.cost, &b.hops)));
        ways
    }

    fn note(&self, to: Destination, strategy: Strategy, now: Mono, ways: Vec<Way>) {
        let mut found = self.found.borrow_mut();
        if found.len() >= limits::DESTINATIONS {
            found.retain(|_, (at, _)| now - *at < FRESH);
        }
        if found.len() >= limits::DESTINATIONS {
            found.pop_first();
        }
        found.insert((to, strategy), (now, ways));
    }

    fn find(&self, readers: Vec<NodeId>, strategy: Strategy, now: Mono) -> Vec<Way> {
        let graph = self.graph(now);
        let (doubtful, sound): (BTreeSet<NodeId>, BTreeSet<NodeId>) =
            readers.into_iter().partition(|reader| self.is_doubtful(*reader, now));
        let groups = [sound, doubtful].into_iter().filter(|readers| !readers.is_empty());
        groups.flat_map(|readers| self.find_nearest(&readers, &graph, strategy)).collect()
    }

    /// Whether any way to a reader failed, or it declined, a moment ago.
    fn is_doubtful(&self, reader: NodeId, now: Mono) -> bool {
        let failed = self.avoided.range((reader, NodeId([0; 32]))..=(reader, NodeId([0xFF; 32])));
        let since = failed.map(|(_, until)| until).chain(self.declined.get(&reader));
        since.into_iter().any(|until| now < *until)
    }

    fn find_nearest(&self, readers: &BTreeSet<NodeId>, graph: &Graph, strategy: Strategy) -> Vec<Way> {
        let spread = graph.spread(readers, self.id, strategy);
        let ways = self.own.iter().filter_map(|(first, link)| {
            let hops = if readers.contains(first) { vec![*first] } else { graph.follow(&spread, *first)? };
            (hops.len() <= limits::HOPS).then(|| self.way(hops, *link, strategy))
        });
        ways.collect()
    }

    /// The links as they were reported up to a moment ago.
    fn graph(&self, now: Mono) -> Arc<Graph> {
        let mut kept = self.graph.borrow_mut();
        match &*kept {
            Some((at, graph)) if now - *at < FRESH => graph.clone(),
            Some(_) | None => {
                let graph = Arc::new(Graph::new(&self.reports));
                *kept = Some((now, graph.clone()));
                graph
            }
        }
    }

    fn way(&self, hops: Vec<NodeId>, first: Quality, strategy: Strategy) -> Way {
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
            avoided: false,
        }
    }

    fn link(&self, from: NodeId, to: NodeId) -> Quality {
        let said = |a: &NodeId, b: &NodeId| self.reports.get(a).and_then(|report| report.links.get(b)).copied();
        said(&from, &to).zip(said(&to, &from)).map_or_else(Quality::default, |(there, back)| there.worse(back))
    }
}
