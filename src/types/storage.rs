//! The storage contract: ordered keys, one table byte first, read through a [`View`], written by one [`Batch`].

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;

/// The first byte of every key. Values are for ever; see `docs/storage.md`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Table {
    /// Schema version, clean-stop mark, clock ceiling.
    Meta = 0x01,
    /// Bundles by slot: author, incarnation, topic, sequence.
    Bundle = 0x02,
    /// Where each feed stands.
    Chain = 0x03,
    /// Arrival order: position of a bundle's first message to its slot.
    Log = 0x04,
    /// Bundles by clock, for finding a message by its id.
    Span = 0x05,
    /// Messages by correlation id.
    Correlation = 0x06,
    /// Two signed headers in one slot.
    Fork = 0x07,
    /// Peers by id: addresses, score, ban.
    Peer = 0x08,
    /// Idempotency keys by their time.
    Idempotency = 0x09,
    /// What nodes say of themselves, by id.
    Registry = 0x0A,
    /// What durable subscriptions are to be, by name.
    Subscription = 0x0B,
    /// How far each of them is.
    Progress = 0x0C,
    /// How open messages failed, by subscription and position.
    Failure = 0x0D,
    /// Dead letters, by subscription and position.
    Dead = 0x0E,
    /// The messages of dead letters with their proofs.
    Letter = 0x0F,
    /// Direct bundles by topic and clock.
    Direct = 0x20,
    /// Drafts of the Normal lane that found no room in memory, by number.
    Spill = 0x21,
    /// Registrations of schemas, by subject and message.
    Schema = 0x10,
    /// The same by author and message.
    SchemaAuthor = 0x11,
    /// The key that messages for a node are sealed with, by node.
    SealingKey = 0x12,
    /// Replicated state: every write that is known, by cell.
    State = 0x30,
    /// The writes that are retained, by version.
    Member = 0x31,
    /// Writes that lost to one that had not seen them, by cell.
    Conflict = 0x32,
    /// What happened to the state, in order.
    Change = 0x33,
    /// Collections: how many writes are retained, and the root over them.
    Collection = 0x34,
    /// Parts of the state that are to be judged anew.
    Sweep = 0x35,
    /// Bundles whose writes are not applied yet.
    Backlog = 0x36,
    /// What is left of bundles that are gone, or never came: messages that write to the state, with their proof.
    Excerpt = 0x37,
    /// Excerpts in which something may not be needed any more.
    Loose = 0x38,
    /// From which event on it is remembered when writes to the state came.
    Arrival = 0x39,
    /// The writes that count below the floors of collections, by number of roll and version.
    Roll = 0x3A,
    /// Which floor counts in a collection, and what is to be done about others.
    Floor = 0x3B,
    /// The ledger's state as it is now.
    LedgerState = 0x40,
    /// What rows of it were before a height changed them.
    LedgerBefore = 0x41,
    /// Pages of the tree over it, by place and height.
    LedgerPage = 0x42,
    /// What can be let go when a height is far enough behind.
    LedgerStale = 0x43,
    /// Which chain this is, and where it stands.
    Ledger = 0x44,
    /// Blocks by height.
    Block = 0x45,
    /// Their certificates, by height.
    Certificate = 0x46,
    /// Records of what they did, by height and index.
    Record = 0x47,
    /// Transactions by id, and an account's by number: where they are.
    Executed = 0x48,
    /// Transactions that wait for a block.
    Waiting = 0x49,
    /// The keys of the state's rows by where they stand in its tree.
    LedgerKey = 0x5A,
    /// Headers of decided blocks that are not here themselves.
    Header = 0x5B,
    /// Rows of a state that is being fetched, under the keys they will have.
    Staged = 0x5C,
}

/// A key: the table's byte and the parts after it, numbers big-endian so that order is by number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Key(Vec<u8>);

impl Key {
    /// The key of `parts` in `table`.
    pub fn new(table: Table, parts: &[&[u8]]) -> Key {
        let size = 1 + parts.iter().map(|p| p.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(size);
        bytes.push(table as u8);
        for part in parts {
            bytes.extend_from_slice(part);
        }
        Key(bytes)
    }

    /// The first key after every key that begins with this one.
    pub fn after_prefix(&self) -> Key {
        let mut bytes = self.0.clone();
        while let Some(last) = bytes.last_mut() {
            if *last < u8::MAX {
                *last += 1;
                return Key(bytes);
            }
            bytes.pop();
        }
        Key(vec![u8::MAX; 2])
    }

    /// The key with these bytes, the table's first; none without one.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Key> {
        (!bytes.is_empty()).then_some(Key(bytes))
    }

    /// All bytes, the table's first.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, for a store that keeps them.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// What a scan hands over: key bytes (table byte first) and value.
pub type Visit<'a> = dyn FnMut(&[u8], &Bytes) -> ControlFlow<()> + 'a;

/// A consistent way to read. Reading cannot fail for the reader: a store that cannot read poisons itself, answers
/// nothing, and the driver throws the step away.
pub trait View {
    /// The value at `key`.
    fn get(&self, key: &Key) -> Option<Bytes>;

    /// Calls `visit` for every pair with `from <= key < to`, ascending, until it breaks.
    fn scan(&self, from: &Key, to: &Key, visit: &mut Visit<'_>);

    /// The same, descending.
    fn scan_back(&self, from: &Key, to: &Key, visit: &mut Visit<'_>);

    /// The last pair with `from <= key < to`.
    fn last(&self, from: &Key, to: &Key) -> Option<(Vec<u8>, Bytes)> {
        let mut found = None;
        self.scan_back(from, to, &mut |key, value| {
            found = Some((key.to_vec(), value.clone()));
            ControlFlow::Break(())
        });
        found
    }
}

/// Writes that become true together or not at all. The last write of a key wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    writes: BTreeMap<Key, Option<Bytes>>,
}

impl Batch {
    /// Sets `key` to `value`.
    pub fn put(&mut self, key: Key, value: impl Into<Bytes>) {
        self.writes.insert(key, Some(value.into()));
    }

    /// Removes `key`.
    pub fn delete(&mut self, key: Key) {
        self.writes.insert(key, None);
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// The writes in key order; `None` removes.
    pub fn into_writes(self) -> impl Iterator<Item = (Key, Option<Bytes>)> {
        self.writes.into_iter()
    }
}

/// A step's reads and writes: a view with the step's own batch laid over it.
pub struct Txn<'a> {
    base: &'a dyn View,
    batch: &'a mut Batch,
}

type Written<'a> = (&'a Key, &'a Option<Bytes>);

impl<'a> Txn<'a> {
    /// `batch` over `base`.
    pub fn new(base: &'a dyn View, batch: &'a mut Batch) -> Txn<'a> {
        Txn { base, batch }
    }

    /// Sets `key` to `value`, for this step and, once it is committed, for all.
    pub fn put(&mut self, key: Key, value: impl Into<Bytes>) {
        self.batch.put(key, value);
    }

    /// Removes `key`.
    pub fn delete(&mut self, key: Key) {
        self.batch.delete(key);
    }

    fn written(&self, from: &Key, to: &Key) -> Vec<Written<'_>> {
        if from >= to { Vec::new() } else { self.batch.writes.range(from.clone()..to.clone()).collect() }
    }
}

/// Merges base pairs with the batch's, which come in the scan's direction and win over equal keys.
fn merge<'a>(
    written: impl Iterator<Item = Written<'a>>,
    before: impl Fn(&[u8], &[u8]) -> bool,
    scan_base: impl FnOnce(&mut Visit<'_>),
    visit: &mut Visit<'_>,
) {
    let mut written = written.peekable();
    let mut flow = ControlFlow::Continue(());
    scan_base(&mut |key, value| {
        while let Some((k, v)) = written.next_if(|(k, _)| before(k.as_bytes(), key)) {
            if let Some(v) = v {
                flow = visit(k.as_bytes(), v);
                if flow.is_break() {
                    return flow;
                }
            }
        }
        flow = match written.next_if(|(k, _)| k.as_bytes() == key) {
            Some((_, None)) => ControlFlow::Continue(()),
            Some((_, Some(v))) => visit(key, v),
            None => visit(key, value),
        };
        flow
    });
    if flow.is_break() {
        return;
    }
    for (k, v) in written {
        if let Some(v) = v
            && visit(k.as_bytes(), v).is_break()
        {
            return;
        }
    }
}

impl View for Txn<'_> {
    fn get(&self, key: &Key) -> Option<Bytes> {
        match self.batch.writes.get(key) {
            Some(written) => written.clone(),
            None => self.base.get(key),
        }
    }

    fn scan(&self, from: &Key, to: &Key, visit: &mut Visit<'_>) {
        let written = self.written(from, to).into_iter();
        merge(written, |a, b| a < b, |v| self.base.scan(from, to, v), visit);
    }

    fn scan_back(&self, from: &Key, to: &Key, visit: &mut Visit<'_>) {
        let written = self.written(from, to).into_iter().rev();
        merge(written, |a, b| a > b, |v| self.base.scan_back(from, to, v), visit);
    }
}
