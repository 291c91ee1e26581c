//! How long messages are kept, by category: by age, by bytes, or for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

use super::chain::Chain;
use super::feeds::Feeds;
use super::log::Stored;
use crate::types::storage::{Txn, View};
use crate::types::{Stamp, WallMs};
use crate::wire::{Bundle, Category, FeedId, Slot};

/// The bounds for one category; none means for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Bundles older than this go.
    pub max_age: Option<Duration>,
    /// When all feeds of the category hold more than this, bytes, the oldest bundles go; the last of each feed only
    /// when nothing else is left.
    pub max_bytes: Option<u64>,
}

/// The rule of every category; a category without one is kept for ever.
pub type Retention = BTreeMap<Category, Rule>;

/// Lets go of what the rules no longer keep, oldest first, at most `budget` bundles. Returns how many went; `budget`
/// means there may be more.
pub fn trim(feeds: &mut Feeds, rules: &Retention, wall: WallMs, budget: usize, tx: &mut Txn<'_>) -> usize {
    trim_after(feeds, rules, wall, budget, tx, &mut |_, _, _| 0).0
}

/// Looks at a bundle that is about to go, and says what that has cost beside letting it go: as many bundles.
pub type Last<'a> = dyn FnMut(Slot, &Stored, &mut Txn<'_>) -> usize + 'a;

/// The same, after `last` has seen each. Returns how many went, and whether there may be more.
pub fn trim_after(
    feeds: &mut Feeds,
    rules: &Retention,
    wall: WallMs,
    budget: usize,
    tx: &mut Txn<'_>,
    last: &mut Last<'_>,
) -> (usize, bool) {
    let (mut gone, mut extra) = (0, 0);
    for (category, rule) in rules {
        if rule.max_age.is_none() && rule.max_bytes.is_none() {
            continue;
        }
        let mut ages = oldest(feeds, *category, tx);
        let mut bytes: u64 = feeds.chains().filter(|(f, _)| f.topic == *category).map(|(_, c)| c.bytes).sum();
        let too_many = |bytes: u64| rule.max_bytes.is_some_and(|most| bytes > most);
        let mut heads = Vec::new();
        while gone + extra < budget
            && let Some((clock, feed)) = ages.pop_first()
        {
            let too_old = rule.max_age.is_some_and(|age| clock.wall() < wall.minus(age));
            if !too_old && !too_many(bytes) {
                break;
            }
            if !too_old && feeds.chain(feed).is_some_and(Chain::is_down_to_its_head) {
                heads.push(feed);
                continue;
            }
            extra += see_base(feeds, feed, tx, last);
            bytes = bytes.saturating_sub(drop_base(feeds, feed, tx));
            gone += 1;
            ages.extend(base_clock(feeds, feed, tx).map(|clock| (clock, feed)));
        }
        // Nodes that hold the end of every feed know that they hold the same: bytes take it only when all else is gone.
        for feed in heads {
            if gone + extra < budget && too_many(bytes) {
                extra += see_base(feeds, feed, tx, last);
                bytes = bytes.saturating_sub(drop_base(feeds, feed, tx));
                gone += 1;
            }
        }
    }
    (gone, gone + extra >= budget)
}

fn see_base(feeds: &Feeds, feed: FeedId, tx: &mut Txn<'_>, last: &mut Last<'_>) -> usize {
    let Some(chain) = feeds.chain(feed) else { return 0 };
    let slot = Slot { feed, sequence: chain.base };
    Stored::load(slot, tx).map_or(0, |stored| last(slot, &stored, tx))
}

/// The feeds of a category that hold something, by the clock of their lowest bundle.
fn oldest(feeds: &Feeds, category: Category, view: &dyn View) -> BTreeSet<(Stamp, FeedId)> {
    let of_category = feeds.chains().filter(|(feed, _)| feed.topic == category).map(|(feed, _)| *feed);
    of_category.filter_map(|feed| Some((base_clock(feeds, feed, view)?, feed))).collect()
}

fn base_clock(feeds: &Feeds, feed: FeedId, view: &dyn View) -> Option<Stamp> {
    let chain = feeds.chain(feed).filter(|c| c.base < c.stored)?;
    let stored = Stored::load(Slot { feed, sequence: chain.base }, view);
    // A row that cannot be read counts as oldest, so that it is passed over at once.
    Some(stored.and_then(|s| Bundle::decode(s.wire).ok()).map_or(Stamp(0), |b| b.header().clock))
}

fn drop_base(feeds: &mut Feeds, feed: FeedId, tx: &mut Txn<'_>) -> u64 {
    let Some(chain) = feeds.chain_mut(feed) else { return 0 };
    let freed = Stored::remove(Slot { feed, sequence: chain.base }, tx);
    chain.base = lowest_stored(feed, chain.base + 1, chain.stored, tx);
    chain.lower.retain(|run| run.end > chain.base);
    if let Some(lowest) = chain.lower.first_mut() {
        lowest.start = lowest.start.max(chain.base);
    }
    chain.trimmed = chain.trimmed.max(chain.base.min(chain.next));
    if chain.joined < chain.base && chain.joined < chain.next {
        chain.joined = chain.base.min(chain.next);
        let first = Feeds::signed_header(Slot { feed, sequence: chain.joined }, tx);
        chain.joined_previous = first.map(|s| s.header.previous).unwrap_or_default();
    }
    chain.bytes = chain.bytes.saturating_sub(freed);
    chain.save(feed, tx);
    freed
}

/// The lowest sequence from `from` on that has a row, or `end`.
fn lowest_stored(feed: FeedId, from: u64, end: u64, view: &dyn View) -> u64 {
    let slot = |sequence| Stored::key(Slot { feed, sequence });
    let mut found = None;
    view.scan(&slot(from), &slot(end), &mut |key, _| {
        found = key.get(1..).and_then(Slot::from_bytes).map(|slot| slot.sequence);
        ControlFlow::Break(())
    });
    found.unwrap_or(end)
}
