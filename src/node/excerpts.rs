//! What proves writes of the state when their bundle is gone, or never came: excerpts of bundles.
//!
//! An excerpt is kept for as long as the state has a row of a write in it that counts or may count again, and goes, or
//! becomes smaller, a few seconds after the last such row.
//!
//! ```text
//!  Excerpt  slot → the excerpt, packed
//!  Loose    slot → nothing: something in the excerpt may not be needed any more
//! ```

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::owner::{Node, Turn};
use super::state::{behind_key, unpacked};
use crate::crdt::{Entry, Member, Origin, Replica, origin_of};
use crate::feed::{Fork, Stored};
use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{Hash, MessageId, Version, limits};
use crate::wire::{Bundle, Category, Excerpt, FeedId, Message, SignedHeader, Slot, checksum, write_in};

/// Writes that are looked up in the time in which a bundle is let go.
const WRITES_A_BUNDLE: usize = 16;

fn key(slot: Slot) -> Key {
    Key::new(Table::Excerpt, &[&slot.to_bytes()])
}

fn loose(slot: Slot) -> Key {
    Key::new(Table::Loose, &[&slot.to_bytes()])
}

/// Something in an excerpt may not be needed.
pub(super) fn loosen(slot: Slot, tx: &mut Txn<'_>) {
    tx.put(loose(slot), Vec::new());
}

/// The excerpt kept of a bundle.
pub(super) fn load(slot: Slot, view: &dyn View) -> Option<Excerpt> {
    Excerpt::decode(&view.get(&key(slot))?).ok()
}

/// Looks at a bundle that is about to go, and keeps what the state needs of it. Returns what that cost, in bundles.
pub(super) fn on_last(slot: Slot, stored: &Stored, tx: &mut Txn<'_>) -> usize {
    if slot.feed.topic != Category::Data {
        return 0;
    }
    let Some((bundle, items)) = Bundle::decode(stored.wire.clone()).ok().zip(unpacked(stored)) else { return 0 };
    // What is not merged yet is needed whole.
    let waits = tx.get(&behind_key(slot)).is_some();
    let sound = |index: &u32| !stored.refused.contains(index);
    let all = items.iter().zip(0..).filter(|(_, index)| sound(index));
    let keep: BTreeSet<u32> = all.filter(|(item, _)| needed(slot, item, waits, tx)).map(|(_, index)| index).collect();
    match Excerpt::of(&bundle, &items, &keep) {
        Some(excerpt) => tx.put(key(slot), excerpt.encode_tight()),
        None => tx.delete(key(slot)),
    }
    if waits {
        loosen(slot, tx);
    }
    items.len() / WRITES_A_BUNDLE
}

/// Whether a message has a write of which the state has a row that counts, or may count again.
fn needed(slot: Slot, item: &Bytes, waits: bool, view: &dyn View) -> bool {
    let Ok(message) = Message::decode(item) else { return false };
    let Some(write) = write_in(&message) else { return false };
    waits || Member::of(write, origin(slot, message.id, checksum(item))).any(|member| member.is_known(view))
}

/// Where a write in a bundle comes from.
pub(super) fn origin(slot: Slot, message: MessageId, checksum: Hash) -> Origin {
    let FeedId { author, incarnation, .. } = slot.feed;
    Origin { author, incarnation, sequence: slot.sequence, message, checksum }
}

/// Keeps an excerpt, with what is kept of the bundle already.
pub(super) fn keep(slot: Slot, excerpt: &Excerpt, tx: &mut Txn<'_>) {
    let joined = load(slot, tx).and_then(|held| held.join(excerpt));
    tx.put(key(slot), joined.as_ref().unwrap_or(excerpt).encode_tight());
}

/// The signed header that is known of a slot, by a bundle or an excerpt.
pub(super) fn known_header(slot: Slot, view: &dyn View) -> Option<SignedHeader> {
    let stored = Stored::load(slot, view).and_then(|stored| Bundle::decode(stored.wire).ok());
    let held = || view.get(&key(slot)).and_then(|row| SignedHeader::decode(&row).ok());
    stored.map(|bundle| bundle.signed_header().clone()).or_else(held)
}

/// The proof of messages of one bundle, from the bundle or what is left of it.
pub(super) fn prove(slot: Slot, messages: &BTreeSet<MessageId>, view: &dyn View) -> Option<Excerpt> {
    let wanted = |item: &Bytes| Message::decode(item).is_ok_and(|message| messages.contains(&message.id));
    let of_bundle = || {
        let stored = Stored::load(slot, view)?;
        let (bundle, items) = (Bundle::decode(stored.wire.clone()).ok()?, unpacked(&stored)?);
        let indices = items.iter().zip(0..).filter(|(item, _)| wanted(item)).map(|(_, index)| index).collect();
        Excerpt::of(&bundle, &items, &indices)
    };
    let of_excerpt = || {
        let held = load(slot, view)?;
        let indices = held.items().iter().filter(|(_, item)| wanted(item)).map(|(index, _)| *index).collect();
        held.narrow(&indices)
    };
    of_bundle().or_else(of_excerpt)
}

/// Retained writes with their proofs, as they travel. What has no room, or is not to be proved, is given back.
pub(super) struct Packed {
    /// The excerpts, each of another bundle.
    pub writes: Vec<Bytes>,
    /// The writes that have no room, in the order in which they came.
    pub left: Vec<Entry>,
}

/// Packs retained writes of a collection, up to [`limits::WRITES_BYTES`], bundle by bundle in the order given.
pub(super) fn pack(collection: &str, entries: Vec<Entry>, view: &dyn View) -> Packed {
    let mut bundles: Vec<(Slot, BTreeSet<MessageId>)> = Vec::new();
    let mut places = std::collections::BTreeMap::new();
    let mut of_entry = Vec::with_capacity(entries.len());
    for entry in entries {
        let Some((author, incarnation, sequence, message)) = origin_of(collection, &entry, view) else { continue };
        let slot = Slot { feed: FeedId { author, incarnation, topic: Category::Data }, sequence };
        let place = *places.entry(slot).or_insert_with(|| {
            bundles.push((slot, BTreeSet::new()));
            bundles.len() - 1
        });
        if let Some((_, messages)) = bundles.get_mut(place) {
            messages.insert(message);
        }
        of_entry.push((place, entry));
    }
    let (mut writes, mut bytes, mut full) = (Vec::new(), 0, bundles.len());
    for (place, (slot, messages)) in bundles.iter().enumerate() {
        let Some(excerpt) = prove(*slot, messages, view) else { continue };
        let size = excerpt.items().values().map(Bytes::len).sum::<usize>();
        if bytes > 0 && bytes + size > limits::WRITES_BYTES {
            full = place;
            break;
        }
        bytes += size;
        writes.push(excerpt.encode());
    }
    let left = of_entry.into_iter().filter(|(place, _)| *place >= full).map(|(_, entry)| entry).collect();
    Packed { writes, left }
}

/// What is retained of a collection and can not be proved: nothing, at a node that has kept its promise.
pub fn unproved(replica: &Replica, collection: &str, view: &dyn View) -> Vec<Entry> {
    let all = replica.index(collection).map(|index| index.entries(&(Version::default()..Version::MAX)));
    let proved = |entry: &Entry| {
        let (author, incarnation, sequence, message) = origin_of(collection, entry, view)?;
        let slot = Slot { feed: FeedId { author, incarnation, topic: Category::Data }, sequence };
        let excerpt = prove(slot, &BTreeSet::from([message]), view)?;
        let proven = excerpt.clone().prove(excerpt.header().network).ok()?;
        let said = proven.writes().iter().find(|said| said.message == message)?;
        let mut members = Member::of(said.write.clone(), origin(slot, message, said.checksum));
        members.any(|member| (member.version(), member.digest()) == (entry.version, entry.digest)).then_some(())
    };
    all.unwrap_or_default().into_iter().filter(|entry| proved(entry).is_none()).collect()
}

impl Node {
    /// Writes that were let go in this step may have been all that an excerpt was kept for.
    pub(super) fn note_let_go(&mut self, turn: &mut Turn<'_>) {
        for (author, incarnation, sequence) in self.states.replica.take_let_go() {
            let slot = Slot { feed: FeedId { author, incarnation, topic: Category::Data }, sequence };
            // While the bundle is in its feed there is seldom an excerpt.
            let in_feed = self.feeds.chain(slot.feed).is_some_and(|c| (c.joined..c.next).contains(&sequence));
            if !in_feed && turn.tx.get(&key(slot)).is_some() {
                loosen(slot, &mut turn.tx);
            }
        }
    }

    /// Lets go of what excerpts have that is not needed any more, of some of them. Whether there are more.
    pub(super) fn tidy_excerpts(&mut self, turn: &mut Turn<'_>) -> bool {
        let start = Key::new(Table::Loose, &[]);
        let mut slots = Vec::new();
        turn.tx.scan(&start, &start.after_prefix(), &mut |key, _| {
            slots.extend(key.get(1..).and_then(Slot::from_bytes));
            if slots.len() < limits::TIDY_EXCERPTS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        for slot in &slots {
            tidy(*slot, &mut turn.tx);
        }
        slots.len() == limits::TIDY_EXCERPTS
    }

    /// Two bundles of one author in one place, of which at least one is known by an excerpt only.
    pub(super) fn fork_of(&self, excerpt: &Excerpt, turn: &Turn<'_>) -> Option<Fork> {
        let known = known_header(excerpt.header().slot(), &turn.tx)?;
        Fork::between(&known, excerpt.signed_header())
    }
}

fn tidy(slot: Slot, tx: &mut Txn<'_>) {
    if tx.get(&behind_key(slot)).is_some() {
        return;
    }
    tx.delete(loose(slot));
    let Some(held) = load(slot, tx) else { return tx.delete(key(slot)) };
    let keep: BTreeSet<u32> =
        held.items().iter().filter(|(_, item)| needed(slot, item, false, tx)).map(|(index, _)| *index).collect();
    let in_feed = Stored::load(slot, tx).is_some();
    match held.narrow(&keep).filter(|_| !in_feed) {
        Some(rest) if rest.items().len() == held.items().len() => {}
        Some(rest) => tx.put(key(slot), rest.encode_tight()),
        None => tx.delete(key(slot)),
    }
}
