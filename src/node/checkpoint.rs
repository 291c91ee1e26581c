//! Copies of what is retained, in chunks that prove themselves: cut from the store, counted, and joined into the state
//! again, by the door of all writes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;

use super::call::{Answer, CallRefusal};
use super::excerpts::{origin, prove};
use super::output::{Output, Stage};
use super::owner::{Node, Turn};
use crate::crdt::{Entry, Member, Root, origin_of, retained};
use crate::types::storage::View;
use crate::types::{Hash, MessageId, Stamp, Version, limits};
use crate::wire::{
    Category, Chunk, ChunkPart, Excerpt, FaultCode, Faults, FeedId, Message, Proven, Slot, checksum, write_in,
};

/// A chunk of a collection, and where the next one begins.
#[derive(Debug)]
pub struct Cut {
    /// The writes; there may be none in it.
    pub chunk: Chunk,
    /// The next chunk begins after this version.
    pub last: Version,
    /// Writes up to there that are retained and cannot be proved.
    pub unproved: u64,
}

/// The messages of one bundle in which a chunk's writes are.
struct Group {
    slot: Slot,
    first: Version,
    messages: BTreeSet<MessageId>,
}

/// Cuts the next chunk of a collection, oldest writes first: those after one version and before another. None if there
/// are none.
///
/// Chunks are cut one after the other while the node goes on writing. What takes the place of a write has a later
/// version, so whatever a chunk misses because it was replaced is in a later one, or what replaced that.
pub fn cut(collection: &str, after: Option<Version>, before: Option<Version>, view: &dyn View) -> Option<Cut> {
    let mut entries = retained(collection, after, limits::RANGE_WRITES, view);
    entries.retain(|entry| before.is_none_or(|before| entry.version < before));
    let mut last = entries.last()?.version;
    let (mut excerpts, mut bytes) = (Vec::new(), 0);
    for Group { slot, first, messages } in groups(collection, &entries, view) {
        let Some(excerpt) = prove(slot, &messages, view) else { continue };
        let size = excerpt.items().values().map(Bytes::len).sum::<usize>();
        if bytes > 0 && bytes + size > limits::WRITES_BYTES {
            if let Some(before) = entries.iter().rfind(|entry| entry.version < first) {
                last = before.version;
                break;
            }
            // An author that says the first write again and again does not make a chunk larger.
            continue;
        }
        bytes += size;
        excerpts.push(excerpt);
    }
    let mut missing: BTreeSet<Entry> = entries.into_iter().filter(|entry| entry.version <= last).collect();
    let marked = excerpts.into_iter().map(|excerpt| mark(collection, excerpt, &mut missing));
    let parts = marked.filter(|part| part.marks.iter().any(|mark| *mark != 0)).collect();
    // What was replaced meanwhile is not missing.
    let unproved = missing.iter().filter(|entry| origin_of(collection, entry, view).is_some()).count() as u64;
    Some(Cut { chunk: Chunk { parts }, last, unproved })
}

/// The bundles that entries come from, in the order of their first.
fn groups(collection: &str, entries: &[Entry], view: &dyn View) -> Vec<Group> {
    let (mut groups, mut places): (Vec<Group>, BTreeMap<Slot, usize>) = (Vec::new(), BTreeMap::new());
    for entry in entries {
        let Some((author, incarnation, sequence, message)) = origin_of(collection, entry, view) else { continue };
        let slot = Slot { feed: FeedId { author, incarnation, topic: Category::Data }, sequence };
        let place = *places.entry(slot).or_insert_with(|| {
            groups.push(Group { slot, first: entry.version, messages: BTreeSet::new() });
            groups.len() - 1
        });
        groups.get_mut(place).map(|group| group.messages.insert(message));
    }
    groups
}

/// Says which changes of an excerpt are meant: those that are missing still.
fn mark(collection: &str, excerpt: Excerpt, missing: &mut BTreeSet<Entry>) -> ChunkPart {
    let slot = excerpt.header().slot();
    let marks = excerpt.items().values().map(|item| {
        let message = Message::decode(item).ok();
        let said = message.and_then(|message| Some((message.id, write_in(&message)?)));
        let Some((id, write)) = said.filter(|(_, write)| write.collection == collection) else { return 0 };
        let members = Member::of(write, origin(slot, id, checksum(item)));
        let meant = members.map(|member| missing.remove(&Entry { version: member.version(), digest: member.digest() }));
        meant.zip(0..).fold(0, |mark, (meant, bit)| mark | u64::from(meant) << bit)
    });
    let marks = marks.collect();
    ChunkPart { excerpt, marks }
}

/// What is in the chunks of a collection, counted one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Writes.
    pub writes: u64,
    /// The sum over them.
    pub root: Root,
    /// The latest version among them.
    pub last: Option<Version>,
}

impl Tally {
    /// Counts a chunk that is proved; or says what is wrong with what it means. Returns its writes.
    pub fn add(&mut self, collection: &str, parts: &[(Proven, Vec<u64>)]) -> Result<u32, &'static str> {
        let mut meant: BTreeSet<Entry> = BTreeSet::new();
        for (proven, marks) in parts {
            let slot = proven.header().slot();
            let indices = proven.excerpt().items().keys().zip(marks);
            let marked: BTreeMap<u32, u64> = indices.map(|(index, mark)| (*index, *mark)).collect();
            let mut left: u32 = marks.iter().map(|mark| mark.count_ones()).sum();
            for said in proven.writes().iter().filter(|said| said.write.collection == collection) {
                let mark = marked.get(&said.index).copied().unwrap_or(0);
                let members = Member::of(said.write.clone(), origin(slot, said.message, said.checksum));
                for (member, _) in members.zip(0..).filter(|(_, bit)| mark & (1u64 << bit) != 0) {
                    meant.insert(Entry { version: member.version(), digest: member.digest() });
                    left -= 1;
                }
            }
            if left > 0 {
                return Err("it means changes that are not in it, or are of another collection");
            }
        }
        if meant.first().is_some_and(|first| Some(first.version) <= self.last) {
            return Err("it does not begin after the chunk before it");
        }
        self.last = meant.last().map(|last| last.version).or(self.last);
        self.writes += meant.len() as u64;
        self.root = meant.iter().fold(self.root, |root, entry| root.with(entry.digest));
        Ok(meant.len() as u32)
    }

    /// What it comes to with what follows it.
    pub fn and(self, next: Tally) -> Tally {
        let last = self.last.max(next.last);
        Tally { writes: self.writes + next.writes, root: self.root.plus(next.root), last }
    }

    /// The sum as it is shown.
    pub fn hash(&self) -> Hash {
        self.root.hash()
    }

    /// The latest stamp among the writes.
    pub fn clock(&self) -> Stamp {
        self.last.map(|last| last.stamp).unwrap_or_default()
    }
}

/// What joining the writes of a chunk came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, JsonSchema)]
pub struct Joined {
    /// Changes that were not here.
    pub new: u64,
    /// Messages that wait on the disk, to be merged in the next steps.
    pub waiting: u64,
    /// Bundles too far ahead of this node's clock: join them when their time has come.
    pub ahead: u64,
    /// Bundles in which their author said something else than elsewhere: they do not count.
    pub forked: u64,
    /// Bundles whose collection this node has no room for.
    pub no_room: u64,
}

/// What became of an excerpt at the door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Took {
    /// So many changes were new.
    New(u64),
    /// So many messages wait.
    Later(u64),
    Ahead,
    Forked,
    NoRoom,
}

impl Took {
    /// How much of it was new, or may be.
    pub fn useful(self) -> u64 {
        match self {
            Took::New(new) => new,
            Took::Later(messages) => messages,
            Took::Ahead | Took::Forked | Took::NoRoom => 0,
        }
    }
}

impl Node {
    /// Joins the writes of a chunk, each proved, into the state. The answer leaves when they are on the disk.
    pub(super) fn on_join(&mut self, id: u64, writes: &[Proven], turn: &mut Turn<'_>) {
        let refusal = if self.stopping {
            Some(CallRefusal::Stopping)
        } else if !self.follows(Category::Data) {
            let mut faults = Faults::default();
            faults.add(FaultCode::NotAuthorised, "/kind", "a node of this type does not follow Data and has no state");
            Some(CallRefusal::Invalid { index: 0, faults })
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return turn.out.push((Stage::Now, Output::Reply { id, answer: Err(refusal) }));
        }
        let mut joined = Joined::default();
        for proven in writes {
            match self.take_proven(proven, turn) {
                Took::New(new) => joined.new += new,
                Took::Later(messages) => joined.waiting += messages,
                Took::Ahead => joined.ahead += 1,
                Took::Forked => joined.forked += 1,
                Took::NoRoom => joined.no_room += 1,
            }
        }
        turn.out.push((Stage::Flushed, Output::Reply { id, answer: Ok(Answer::Joined(joined)) }));
    }
}
