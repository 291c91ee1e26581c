//! No write to replicated state is lost without a trace, and what is counted is what is there.

use std::collections::{BTreeMap, BTreeSet};

use super::Verdict;
use crate::crdt::{self, Recount, Replica, State, Status, Wish, Wished};
use crate::node::unproved;
use crate::types::storage::View;
use crate::types::{Incarnation, NodeId, Stamp, Version};
use crate::wire::kind::state::{CollectionWrite, Op};
use crate::wire::{Kind, Message, Payload, Verified};

/// A place in the state.
type Place = (String, String);

/// Whoever deletes a prefix: the author, the stamp, and what it had seen.
type Deleted = (NodeId, Stamp, BTreeSet<Version>);

/// What honest authors wrote: whom each write takes the place of, knowingly.
#[derive(Default)]
pub struct Writings {
    /// Versions that some write had seen and took the place of.
    seen: BTreeSet<Version>,
    /// The latest word of each life of an author about a counter.
    counted: BTreeMap<(Place, NodeId, Incarnation), Version>,
    deleted: BTreeMap<Place, Vec<Deleted>>,
}

/// A write that a client was told is on the disk.
#[derive(Clone, Debug)]
pub struct Promise {
    place: Place,
    version: Version,
    counts: bool,
    author: (NodeId, Incarnation),
}

impl Promise {
    /// The promise of one wish; none where nothing of its own is to be seen afterwards.
    pub fn of(collection: &str, wish: &Wish, version: Version, author: (NodeId, Incarnation)) -> Option<Promise> {
        let counts = match wish.wished {
            Wished::Put(_) | Wished::Add(_) | Wished::Assign(_) => false,
            Wished::Count(_) => true,
            Wished::Delete | Wished::DeletePrefix | Wished::Remove(_) => return None,
        };
        Some(Promise { place: (collection.into(), wish.path.clone()), version, counts, author })
    }

    /// Whether the write is known in a store, standing or not.
    pub fn is_known(&self, view: &dyn View) -> bool {
        let (collection, path) = &self.place;
        State::of(collection, view).version(path, self.version).is_some()
    }
}

impl Writings {
    /// An honest author lets a bundle out.
    pub fn wrote(&mut self, bundle: &Verified) {
        let header = bundle.header();
        let (author, life) = (header.feed.author, header.feed.incarnation);
        let items: Vec<_> = bundle.bytes().collect();
        for index in bundle.writes() {
            let item = items.get(*index as usize).and_then(|item| Message::decode(item).ok());
            let payload = item.as_ref().map(|message| Payload::decode(Kind::CollectionWrite, message.payload));
            if let Some((Ok(Payload::CollectionWrite(write)), message)) = payload.zip(item) {
                self.note(&write, message.id.stamp(), author, life, crate::wire::checksum(&items[*index as usize]));
            }
        }
    }

    fn note(
        &mut self,
        write: &CollectionWrite,
        stamp: Stamp,
        author: NodeId,
        life: Incarnation,
        sum: crate::types::Hash,
    ) {
        for (change, index) in write.changes.iter().zip(0..) {
            let place = (write.collection.clone(), change.path.clone());
            let version = Version::of(stamp, author, sum, index);
            match change.op {
                Op::DeletePrefix => {
                    let seen = change.over.iter().copied().collect();
                    self.deleted.entry(place).or_default().push((author, stamp, seen));
                }
                Op::Count { .. } => {
                    let latest = self.counted.entry((place, author, life)).or_default();
                    *latest = version.max(*latest);
                }
                Op::Set { .. } | Op::Delete | Op::Add { .. } | Op::Remove => self.seen.extend(&change.over),
            }
        }
    }

    /// A write that was acknowledged must be visible at a node, in its conflict log, or gone by the hand of someone who
    /// had seen it.
    pub fn check(&self, promise: &Promise, view: &dyn View) -> Verdict {
        let (collection, path) = &promise.place;
        let known = State::of(collection, view).version(path, promise.version);
        let stands = known.as_ref().is_some_and(|past| matches!(past.status, Status::Kept | Status::Hollow));
        let logged = || crdt::conflict(collection, path, promise.version, view).is_some();
        if stands || self.seen.contains(&promise.version) || logged() {
            return Ok(());
        }
        let (author, life) = promise.author;
        let counted = (promise.place.clone(), author, life);
        let counted_on = promise.counts && self.counted.get(&counted).is_some_and(|latest| *latest > promise.version);
        if counted_on || self.was_deleted(promise) {
            return Ok(());
        }
        let how = known.map_or("not known".into(), |past| format!("{:?}", past.status));
        Err(format!("{:?} at {collection}/{path} was acknowledged, and is {how} without a trace", promise.version))
    }

    fn was_deleted(&self, promise: &Promise) -> bool {
        let (collection, path) = &promise.place;
        let above = self.deleted.iter().filter(|(place, _)| place.0 == *collection && crdt::covers(&place.1, path));
        let mut deletes = above.flat_map(|(_, deletes)| deletes);
        deletes.any(|(author, stamp, seen)| {
            let knew = *author == promise.author.0 || seen.contains(&promise.version);
            knew && *stamp > promise.version.stamp
        })
    }
}

/// Whether what a node counts of its state is what its rows say.
pub fn counts(replica: &Replica, view: &dyn View) -> Verdict {
    let stored = crdt::collections(view);
    for info in &stored {
        let mut recount = Recount::default();
        recount.go_on(&info.name, usize::MAX, view);
        if (recount.retained, recount.hash()) != (info.retained, info.root) {
            return Err(format!("{} is counted as {info:?}, and has {recount:?}", info.name));
        }
    }
    for (name, retained, root) in replica.heads() {
        if !replica.index(name).is_some_and(|index| index.is_sound(retained, root)) {
            return Err(format!("the index of {name} is not what is retained"));
        }
    }
    let reloaded = Replica::load(view)?;
    if reloaded.root() != replica.root() {
        return Err("the root in memory is not the one in the store".into());
    }
    Ok(())
}

/// Whether a node can prove every write that it retains.
pub fn proofs(replica: &Replica, view: &dyn View) -> Verdict {
    let names: Vec<&str> = replica.heads().map(|(name, ..)| name).collect();
    names.into_iter().try_for_each(|name| match unproved(replica, name, view).first() {
        Some(entry) => Err(format!("{:?} of {name} is retained and cannot be proved", entry.version)),
        None => Ok(()),
    })
}
