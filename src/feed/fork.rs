//! Proof that an author said two things in one place.

use crate::types::NetworkId;
use crate::types::storage::{Key, Table, Txn, View};
use crate::wire::{Course, FeedId, Refusal, SIGNED_BYTES, SignedHeader, Slot};

/// Two headers by one author that cannot both stand in one chain: either they share a slot, or the second follows the
/// first and names another bundle before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fork {
    first: SignedHeader,
    second: SignedHeader,
}

impl Fork {
    /// The proof, if these two headers are one. Signatures are the caller's to check.
    pub fn between(a: &SignedHeader, b: &SignedHeader) -> Option<Fork> {
        let (first, second) = if a.header.sequence <= b.header.sequence { (a, b) } else { (b, a) };
        let (one, two) = (&first.header, &second.header);
        let kept = one.course == Course::Feed
            && two.course == Course::Feed
            && one.feed == two.feed
            && one.network == two.network;
        let same_slot = one.sequence == two.sequence && one.id() != two.id();
        let broken_link = two.sequence == one.sequence.saturating_add(1) && two.previous != one.id();
        (kept && (same_slot || broken_link)).then(|| Fork { first: first.clone(), second: second.clone() })
    }

    /// A proof from elsewhere: two encoded headers, both signatures checked.
    pub fn check(first: &[u8], second: &[u8], network: NetworkId) -> Result<Fork, Refusal> {
        let (first, second) = (SignedHeader::decode(first)?, SignedHeader::decode(second)?);
        let fork = Fork::between(&first, &second).ok_or(Refusal::BadProof)?;
        first.check(network)?;
        second.check(network)?;
        Ok(fork)
    }

    /// The feed.
    pub fn feed(&self) -> FeedId {
        self.first.header.feed
    }

    /// Where the author said two things.
    pub fn sequence(&self) -> u64 {
        self.first.header.sequence
    }

    /// Both headers, signed.
    pub fn headers(&self) -> (&SignedHeader, &SignedHeader) {
        (&self.first, &self.second)
    }

    /// Keeps the proof for good.
    pub fn save(&self, tx: &mut Txn<'_>) {
        let slot = Slot { feed: self.feed(), sequence: self.sequence() };
        let row = [self.first.encode(), self.second.encode()].concat();
        tx.put(Key::new(Table::Fork, &[&slot.to_bytes()]), row);
    }

    /// Lets go of the proof kept for a place: a lower one says all that it said.
    pub(super) fn remove(slot: Slot, tx: &mut Txn<'_>) {
        tx.delete(Key::new(Table::Fork, &[&slot.to_bytes()]));
    }

    /// The proof kept for a place.
    pub fn load(slot: Slot, view: &dyn View) -> Option<Fork> {
        Fork::decode(&view.get(&Key::new(Table::Fork, &[&slot.to_bytes()]))?)
    }

    fn decode(row: &[u8]) -> Option<Fork> {
        let (first, second) = row.split_at_checked(SIGNED_BYTES)?;
        Fork::between(&SignedHeader::decode(first).ok()?, &SignedHeader::decode(second).ok()?)
    }

    /// Every proof kept.
    pub fn all(view: &dyn View) -> Vec<Fork> {
        let start = Key::new(Table::Fork, &[]);
        let mut forks = Vec::new();
        view.scan(&start, &start.after_prefix(), &mut |_, row| {
            forks.extend(Fork::decode(row));
            std::ops::ControlFlow::Continue(())
        });
        forks
    }
}
