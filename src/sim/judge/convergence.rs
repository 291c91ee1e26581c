//! When all is well again, all hold the same.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::Verdict;
use crate::feed::{Chain, Feeds, Retention};
use crate::types::storage::{Key, Table, View};
use crate::types::{Hash, NodeId};
use crate::wire::{Bundle, FeedId, Slot};

/// What one node holds.
#[derive(Clone, Debug, Default)]
pub struct Holdings {
    /// Its number.
    pub host: usize,
    /// The root over its heads.
    pub root: Hash,
    /// Where its feeds stand.
    pub chains: BTreeMap<FeedId, Chain>,
    /// Its bundles, those a fork cut off included.
    pub bundles: BTreeMap<Slot, Hash>,
}

impl Holdings {
    /// What a node holds.
    pub fn of(host: usize, feeds: &Feeds, view: &dyn View) -> Holdings {
        let mut bundles = BTreeMap::new();
        let start = Key::new(Table::Bundle, &[]);
        view.scan(&start, &start.after_prefix(), &mut |key, row| {
            let stored = crate::feed::Stored::decode(row).and_then(|s| Bundle::decode(s.wire).ok());
            if let (Some(slot), Some(bundle)) = (key.get(1..).and_then(Slot::from_bytes), stored) {
                bundles.insert(slot, bundle.header().id());
            }
            ControlFlow::Continue(())
        });
        let chains = feeds.chains().map(|(feed, chain)| (*feed, chain.clone())).collect();
        Holdings { host, root: feeds.heads_root(), chains, bundles }
    }

    /// The bundles of a feed that are in its chain, from `floor` on.
    fn in_chain(&self, feed: FeedId, floor: u64) -> BTreeMap<u64, Hash> {
        let next = self.chains.get(&feed).map_or(0, |chain| chain.next);
        let (low, high) = (Slot { feed, sequence: floor }, Slot { feed, sequence: next.max(floor) });
        self.bundles.range(low..high).map(|(slot, id)| (slot.sequence, *id)).collect()
    }
}

/// Whether all nodes hold the same: equal roots, the same bundles of every feed, the same forks. With a rule of
/// retention, a feed is compared from where the one that has let go of most of it still holds it.
pub fn convergence(all: &[Holdings], rules: &Retention, villains: &BTreeSet<NodeId>) -> Verdict {
    let Some((first, others)) = all.split_first() else { return Ok(()) };
    for other in others {
        if first.root != other.root {
            differing_heads(first, other, rules)?;
        }
    }
    let feeds: BTreeSet<FeedId> = all.iter().flat_map(|h| h.chains.keys().copied()).collect();
    for feed in feeds {
        let floor = floor_of(feed, all, rules);
        let ours = first.in_chain(feed, floor);
        for other in others {
            let theirs = other.in_chain(feed, floor);
            if ours != theirs {
                return Err(differing_bundles(feed, (first.host, &ours), (other.host, &theirs)));
            }
        }
        if villains.contains(&feed.author) {
            forks(feed, all)?;
        }
    }
    Ok(())
}

fn floor_of(feed: FeedId, all: &[Holdings], rules: &Retention) -> u64 {
    if !rules.contains_key(&feed.topic) {
        return 0;
    }
    let base = |h: &Holdings| h.chains.get(&feed).map_or(u64::MAX, |chain| chain.base.max(chain.trimmed));
    all.iter().map(base).max().unwrap_or(0)
}

/// A fork that two nodes hold halves of must be known to all, at one place.
fn forks(feed: FeedId, all: &[Holdings]) -> Verdict {
    let known: BTreeSet<Option<u64>> = all.iter().map(|h| h.chains.get(&feed).and_then(|c| c.forked)).collect();
    if known.len() > 1 {
        return Err(format!("{feed}: nodes differ on where its author forked: {known:?}"));
    }
    let mut held: BTreeMap<Slot, Hash> = BTreeMap::new();
    let (low, high) = (Slot { feed, sequence: 0 }, Slot { feed, sequence: u64::MAX });
    for (slot, id) in all.iter().flat_map(|h| h.bundles.range(low..high)) {
        let before = *held.entry(*slot).or_insert(*id);
        if before != *id && known.contains(&None) {
            return Err(format!("{slot:?}: two bundles are held and nobody calls it a fork"));
        }
    }
    Ok(())
}

fn differing_heads(one: &Holdings, two: &Holdings, rules: &Retention) -> Verdict {
    let feeds: BTreeSet<&FeedId> = one.chains.keys().chain(two.chains.keys()).collect();
    let stand = |h: &Holdings, feed: &FeedId| {
        let head = h.chains.get(feed)?.announcement(*feed)?;
        Some((head.next, head.hash, head.forked))
    };
    let differing: Vec<&FeedId> = feeds.into_iter().filter(|feed| stand(one, feed) != stand(two, feed)).collect();
    let excused = |feed: &&&FeedId| let_go_by_bytes(feed, one, two, rules);
    if !differing.is_empty() && differing.iter().all(|feed| excused(&feed)) {
        return Ok(());
    }
    let told = |feed: &&FeedId| format!("{feed} {:?} and {:?}", one.chains.get(feed), two.chains.get(feed));
    let lines: Vec<String> = differing.iter().filter(|feed| !excused(feed)).take(3).map(told).collect();
    Err(format!("heads of nodes {} and {} differ: {}", one.host, two.host, lines.join("; ")))
}

/// Whether one of two nodes has let go of the last bundle of a feed, and the other has the very same one, or was not that
/// far and can be handed nothing any more: a rule that leaves too few bytes for the heads alone takes them by what else
/// was there at the time.
fn let_go_by_bytes(feed: &FeedId, one: &Holdings, two: &Holdings, rules: &Retention) -> bool {
    let (Some(one), Some(two)) = (one.chains.get(feed), two.chains.get(feed)) else { return false };
    let gone = |chain: &Chain| chain.bytes == 0 && chain.trimmed == chain.next;
    let by_bytes = rules.get(&feed.topic).is_some_and(|rule| rule.max_bytes.is_some());
    let same = (one.next, one.head, one.forked) == (two.next, two.head, two.forked);
    let is_late = |late: &Chain, ahead: &Chain| gone(ahead) && late.next < ahead.next && late.forked == ahead.forked;
    by_bytes && ((gone(one) || gone(two)) && same || is_late(one, two) || is_late(two, one))
}

fn differing_bundles(feed: FeedId, one: (usize, &BTreeMap<u64, Hash>), two: (usize, &BTreeMap<u64, Hash>)) -> String {
    let places: BTreeSet<&u64> = one.1.keys().chain(two.1.keys()).collect();
    let differing = places.into_iter().filter(|place| one.1.get(place) != two.1.get(place));
    let places: Vec<String> = differing.take(8).map(u64::to_string).collect();
    format!("{feed}: nodes {} and {} hold different bundles at {}", one.0, two.0, places.join(", "))
}
