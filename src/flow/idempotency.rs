//! Keys under which clients repeat themselves: the second message with a key is the first.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;

use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{Hash, MessageId, WallMs, limits};

/// The keys of the last [`limits::IDEMPOTENCY_AGE`], at most [`limits::IDEMPOTENCY_KEYS`].
#[derive(Debug, Default)]
pub struct Idempotency {
    ids: BTreeMap<Hash, MessageId>,
    by_age: VecDeque<(WallMs, Hash)>,
}

impl Idempotency {
    /// The keys as the store has them, oldest first.
    pub fn load(view: &dyn View) -> Idempotency {
        let start = Key::new(Table::Idempotency, &[]);
        let mut keys = Idempotency::default();
        view.scan(&start, &start.after_prefix(), &mut |key, value| {
            if let Some((at, hash)) = read_key(key)
                && let Ok(id) = value.as_ref().try_into()
            {
                keys.ids.insert(hash, MessageId(id));
                keys.by_age.push_back((at, hash));
            }
            ControlFlow::Continue(())
        });
        keys
    }

    /// The message first said under a key.
    pub fn id(&self, key: &Hash) -> Option<MessageId> {
        self.ids.get(key).copied()
    }

    /// Remembers that `id` was said under `key`.
    pub fn note(&mut self, key: Hash, id: MessageId, wall: WallMs, tx: &mut Txn<'_>) {
        self.ids.insert(key, id);
        self.by_age.push_back((wall, key));
        tx.put(row_key(wall, key), id.0.to_vec());
    }

    /// Forgets keys that are too old or too many.
    pub fn forget(&mut self, wall: WallMs, tx: &mut Txn<'_>) {
        let oldest = wall.minus(limits::IDEMPOTENCY_AGE);
        while let Some((at, key)) = self.by_age.front().copied()
            && (at < oldest || self.by_age.len() > limits::IDEMPOTENCY_KEYS)
        {
            self.by_age.pop_front();
            self.ids.remove(&key);
            tx.delete(row_key(at, key));
        }
    }
}

fn row_key(at: WallMs, key: Hash) -> Key {
    Key::new(Table::Idempotency, &[&at.0.to_be_bytes(), key.as_bytes()])
}

fn read_key(key: &[u8]) -> Option<(WallMs, Hash)> {
    let (at, hash) = key.get(1..)?.split_first_chunk::<8>()?;
    Some((WallMs(u64::from_be_bytes(*at)), Hash(hash.try_into().ok()?)))
}
