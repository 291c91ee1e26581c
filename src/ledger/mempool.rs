//! Transactions that wait for a block.
//!
//! Each account has a queue by nonce; what is ahead of a gap waits for it, for some blocks. A queue's first is ready when
//! its nonce is the account's next. Everything is bounded; when the pool is full, what is behind a gap gives way, then the
//! end of the queue that pays least. An account can pay for all it has waiting, and a block has room for each of it.
//!
//! ```text
//!   submit ─▶ queue of its account ─▶ ready, dearest first ─▶ block
//!                  │ dearer ones with the same nonces take its place; the cheapest ends fall out
//! ```

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use super::execute::Unfit;
use super::fault::Fault;
use super::rows::Account;
use crate::types::chain::{ChainId, TransactionId};
use crate::types::storage::{Key, Table, Txn, View};
use crate::types::{Hash, NodeId, Tokens};
use crate::wire::checksum;
use crate::wire::ledger::{BLOCK_EVIDENCE, BLOCK_GAS, EVIDENCE_BYTES, Sealed};

/// All that waits, bytes.
pub const POOL_BYTES: usize = 32 << 20;
/// Seals of one account, and their bytes.
pub const ACCOUNT_SEALS: usize = 64;
pub const ACCOUNT_BYTES: usize = 256 << 10;
/// How far a nonce may be ahead of the account's next.
pub const NONCES_AHEAD: u64 = 4096;
/// What is behind a gap is let go when the gap has stood for so many blocks.
pub const GAP_BLOCKS: u64 = 256;
/// What takes the place of another pays so much more, percent.
pub const REPLACE_PERCENT: u64 = 10;
/// Evidence that waits: several blocks full.
pub const POOL_EVIDENCE: usize = 4 * BLOCK_EVIDENCE;

/// Why transactions do not wait for a block here.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotPooled {
    #[error("they wait already")]
    Known,
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error("nonce {have} is too far ahead; the account's next is {next}, and {NONCES_AHEAD} more are kept")]
    TooFarAhead { have: u64, next: u64 },
    #[error("others with these nonces wait; pay {need} or more to take their place")]
    Underpriced { need: Tokens },
    #[error("the account has {ACCOUNT_SEALS} seals or {} KiB waiting; send again when some are in a block", ACCOUNT_BYTES >> 10)]
    AccountFull,
    #[error("the pool is full; pay {need} or more, or send again later")]
    Full { need: Tokens },
}

impl NotPooled {
    /// A stable name, for programs and metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            NotPooled::Known => "known",
            NotPooled::Unfit(unfit) => unfit.code(),
            NotPooled::TooFarAhead { .. } => "too_far_ahead",
            NotPooled::Underpriced { .. } => "underpriced",
            NotPooled::AccountFull => "account_full",
            NotPooled::Full { .. } => "pool_full",
        }
    }
}

/// What is paid for a KiB, base units: what decides between those that wait.
type Price = u64;
/// A place among those that are ready, or that end a queue: price, then age.
type Rank = (Price, Reverse<u64>, NodeId);
/// The end of a queue: whether there is no gap before it, and its rank.
type Tail = (bool, Rank);

/// A nonce that is missing before others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Gap {
    missing: u64,
    /// In blocks since the pool was loaded.
    since: u64,
}

#[derive(Clone, Debug)]
struct Waiting {
    sealed: Arc<Sealed>,
    price: Price,
    /// The number it was given when it came.
    arrival: u64,
}

#[derive(Clone, Debug, Default)]
struct Queue {
    /// The account's next nonce.
    next: u64,
    /// By first nonce; no two overlap.
    waiting: BTreeMap<u64, Waiting>,
    bytes: usize,
    /// What all of it offers, base units.
    fees: u128,
    /// Where it stands in the pool's orders.
    ready: Option<Rank>,
    tail: Option<Tail>,
    gap: Option<Gap>,
}

/// Transactions that wait for a block, and evidence.
#[derive(Clone, Debug)]
pub struct Mempool {
    queues: BTreeMap<NodeId, Queue>,
    ready: BTreeSet<Rank>,
    /// The cheapest first, and before all of them those with a gap.
    tails: BTreeSet<Tail>,
    /// Queues with a gap, by since when.
    gaps: BTreeSet<(u64, NodeId)>,
    /// Blocks since the pool was loaded.
    blocks: u64,
    seals: BTreeMap<Hash, Arc<Sealed>>,
    ids: BTreeMap<TransactionId, NodeId>,
    bytes: usize,
    most_bytes: usize,
    arrivals: u64,
    evidence: BTreeSet<Bytes>,
}

impl Default for Mempool {
    fn default() -> Mempool {
        Mempool::with_bytes(POOL_BYTES)
    }
}

impl Mempool {
    /// An empty pool that takes so many bytes.
    pub fn with_bytes(most_bytes: usize) -> Mempool {
        Mempool {
            queues: BTreeMap::new(),
            ready: BTreeSet::new(),
            tails: BTreeSet::new(),
            gaps: BTreeSet::new(),
            blocks: 0,
            seals: BTreeMap::new(),
            ids: BTreeMap::new(),
            bytes: 0,
            most_bytes,
            arrivals: 0,
            evidence: BTreeSet::new(),
        }
    }

    /// What waited when the node stopped, in the order in which it came. `next` knows each account's next nonce.
    pub fn load(
        chain: ChainId,
        view: &dyn View,
        next: impl Fn(NodeId) -> Result<u64, Fault>,
    ) -> Result<Mempool, Fault> {
        let mut pool = Mempool { evidence: kept(EVIDENCE, view).into_iter().collect(), ..Mempool::default() };
        for row in kept(SEALED, view) {
            let (arrival, _) = row.split_first_chunk::<8>().ok_or(Fault::Corrupt("a waiting transaction is none"))?;
            let arrival = u64::from_be_bytes(*arrival);
            let sealed =
                Sealed::kept(row.slice(8..), chain).map_err(|_| Fault::Corrupt("a waiting transaction is none"))?;
            let next = next(sealed.account())?;
            if sealed.nonce() >= next && sealed.gas() <= BLOCK_GAS {
                pool.arrivals = pool.arrivals.max(arrival + 1);
                pool.insert(Arc::new(sealed), next, arrival);
            }
        }
        Ok(pool)
    }

    /// How many seals wait, over how many transactions, and their bytes.
    pub fn size(&self) -> (usize, usize, usize) {
        (self.seals.len(), self.ids.len(), self.bytes)
    }

    /// Whether anything could be in the next block.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Of what could be in the next block, up to so many that have waited longest.
    pub fn longest_ready(&self, most: usize) -> impl Iterator<Item = &Sealed> {
        let mut oldest = BTreeSet::new();
        for (_, Reverse(arrival), account) in &self.ready {
            oldest.insert((*arrival, *account));
            if oldest.len() > most {
                oldest.pop_last();
            }
        }
        let queues = oldest.into_iter().filter_map(|(_, account)| self.queues.get(&account));
        queues.filter_map(|queue| queue.waiting.get(&queue.next)).map(|one| &*one.sealed)
    }

    /// Whether a transaction waits.
    pub fn holds(&self, id: &TransactionId) -> bool {
        self.ids.contains_key(id)
    }

    /// The sealed transactions of which these are the bytes' leaf, if they wait: their seal is known to hold.
    pub fn seal(&self, leaf: &Hash) -> Option<&Arc<Sealed>> {
        self.seals.get(leaf)
    }

    /// The nonce after all of an account's that wait without a gap.
    pub fn next_nonce(&self, account: NodeId, next: u64) -> u64 {
        let waiting = self.queues.get(&account).into_iter().flat_map(|queue| queue.waiting.values());
        waiting.fold(next, |next, one| if one.sealed.nonce() == next { one.sealed.next_nonce() } else { next })
    }

    /// What an account has waiting, by nonce.
    pub fn of(&self, account: NodeId) -> impl Iterator<Item = &Sealed> {
        self.queues.get(&account).into_iter().flat_map(|queue| queue.waiting.values()).map(|one| &*one.sealed)
    }

    /// Takes in sealed transactions of an account that stands so and would pay at least `need` at present prices.
    pub fn submit(
        &mut self,
        sealed: Sealed,
        account: &Account,
        need: Tokens,
        tx: &mut Txn<'_>,
    ) -> Result<(), NotPooled> {
        if self.seals.contains_key(&sealed.leaf()) {
            return Err(NotPooled::Known);
        }
        payable(&sealed, account, need)?;
        let replaced = self.replaced(&sealed)?;
        self.all_payable(&sealed, &replaced, account)?;
        self.room_in_queue(&sealed, &replaced)?;
        let is_next = sealed.nonce() <= self.next_nonce(sealed.account(), account.nonce);
        let evicted = self.room_in_pool(&sealed, &replaced, is_next)?;
        for (account, nonce) in replaced.iter().map(|nonce| (sealed.account(), *nonce)).chain(evicted) {
            self.remove(account, nonce, tx);
        }
        let arrival = self.arrivals;
        self.arrivals += 1;
        tx.put(row(sealed.account(), sealed.nonce()), [&arrival.to_be_bytes()[..], sealed.bytes()].concat());
        self.insert(Arc::new(sealed), account.nonce, arrival);
        Ok(())
    }

    /// The nonces of what these would take the place of, if they pay enough for that.
    fn replaced(&self, sealed: &Sealed) -> Result<Vec<u64>, NotPooled> {
        let Some(queue) = self.queues.get(&sealed.account()) else { return Ok(Vec::new()) };
        let reaches = |one: &&Waiting| one.sealed.next_nonce() > sealed.nonce();
        let others: Vec<_> = queue.waiting.range(..sealed.next_nonce()).map(|(_, one)| one).filter(reaches).collect();
        let dearest = others.iter().map(|one| one.price).max().unwrap_or(0);
        let least = dearest.saturating_add(dearest.saturating_mul(REPLACE_PERCENT).div_ceil(100));
        if !others.is_empty() && price(sealed) < least.max(dearest + 1) {
            return Err(NotPooled::Underpriced { need: fee_for(least.max(dearest + 1), sealed) });
        }
        Ok(others.iter().map(|one| one.sealed.nonce()).collect())
    }

    /// Whether the account has enough for the fees of these and of all others it has waiting.
    fn all_payable(&self, sealed: &Sealed, replaced: &[u64], account: &Account) -> Result<(), NotPooled> {
        let Some(queue) = self.queues.get(&sealed.account()) else { return Ok(()) };
        let gone = replaced.iter().filter_map(|nonce| queue.waiting.get(nonce)).map(Waiting::fee).sum::<u128>();
        let need = (queue.fees - gone).saturating_add(u128::from(sealed.fee().0));
        let have = funds(account);
        let short = || Unfit::CannotPay { have, need: Tokens(u64::try_from(need).unwrap_or(u64::MAX)) };
        if need <= u128::from(have.0) { Ok(()) } else { Err(short().into()) }
    }

    fn room_in_queue(&self, sealed: &Sealed, replaced: &[u64]) -> Result<(), NotPooled> {
        let Some(queue) = self.queues.get(&sealed.account()) else { return Ok(()) };
        let freed: usize = replaced.iter().filter_map(|nonce| queue.waiting.get(nonce)).map(Waiting::bytes).sum();
        let fits = queue.waiting.len() - replaced.len() < ACCOUNT_SEALS
            && queue.bytes - freed + sealed.bytes().len() <= ACCOUNT_BYTES;
        if fits { Ok(()) } else { Err(NotPooled::AccountFull) }
    }

    /// The ends of queues that give way: what is behind a gap to what `is_next`, whatever it pays, and else what pays
    /// less. Nobody's own give way.
    fn room_in_pool(&self, sealed: &Sealed, replaced: &[u64], is_next: bool) -> Result<Vec<(NodeId, u64)>, NotPooled> {
        let own = self.queues.get(&sealed.account());
        let freed: usize = replaced.iter().filter_map(|nonce| own?.waiting.get(nonce)).map(Waiting::bytes).sum();
        let mut over = (self.bytes + sealed.bytes().len()).saturating_sub(self.most_bytes + freed);
        let (mut evicted, mine) = (Vec::new(), price(sealed));
        let gives_way = |one_is_next: bool, theirs: Price| match (is_next, one_is_next) {
            (true, false) => true,
            (false, true) => false,
            (true, true) | (false, false) => theirs < mine,
        };
        let mut tails = self.tails.iter().filter(|(_, (_, _, account))| *account != sealed.account());
        while over > 0 {
            let full = |least: Price| NotPooled::Full { need: fee_for(least.saturating_add(1), sealed) };
            let (is_whole, (theirs, _, account)) = tails.next().ok_or(full(mine))?;
            if !gives_way(*is_whole, *theirs) {
                return Err(full((*theirs).max(mine)));
            }
            let Some(queue) = self.queues.get(account) else { continue };
            for (nonce, one) in queue.waiting.iter().rev() {
                let one_is_next = queue.gap.is_none_or(|gap| *nonce < gap.missing);
                if over == 0 || !gives_way(one_is_next, one.price) {
                    break;
                }
                over = over.saturating_sub(one.bytes());
                evicted.push((*account, *nonce));
            }
        }
        Ok(evicted)
    }

    fn insert(&mut self, sealed: Arc<Sealed>, next: u64, arrival: u64) {
        let account = sealed.account();
        self.bytes += sealed.bytes().len();
        self.seals.insert(sealed.leaf(), sealed.clone());
        self.ids.extend(sealed.ids().iter().map(|id| (*id, account)));
        let queue = self.queues.entry(account).or_default();
        queue.next = next;
        queue.bytes += sealed.bytes().len();
        queue.fees += u128::from(sealed.fee().0);
        queue.waiting.insert(sealed.nonce(), Waiting { price: price(&sealed), sealed, arrival });
        self.place(account);
    }

    /// Lets go what an account has waiting at a nonce.
    pub(super) fn remove(&mut self, account: NodeId, nonce: u64, tx: &mut Txn<'_>) {
        let Some(queue) = self.queues.get_mut(&account) else { return };
        if let Some(gone) = queue.waiting.remove(&nonce) {
            queue.bytes -= gone.bytes();
            queue.fees -= gone.fee();
            self.bytes -= gone.bytes();
            self.seals.remove(&gone.sealed.leaf());
            for id in gone.sealed.ids() {
                self.ids.remove(id);
            }
            tx.delete(row(account, nonce));
        }
        self.place(account);
    }

    /// Brings the pool's orders up to date with a queue.
    fn place(&mut self, account: NodeId) {
        let Some(queue) = self.queues.get_mut(&account) else { return };
        queue.ready.take().map(|rank| self.ready.remove(&rank));
        queue.tail.take().map(|tail| self.tails.remove(&tail));
        let before = queue.gap.take();
        before.map(|gap| self.gaps.remove(&(gap.since, account)));
        let rank = |one: &Waiting| (one.price, Reverse(one.arrival), account);
        queue.ready = queue.waiting.get(&queue.next).map(rank);
        queue.gap = queue.first_gap().map(|missing| {
            let old = before.filter(|gap| gap.missing == missing);
            old.unwrap_or(Gap { missing, since: self.blocks })
        });
        queue.tail = queue.waiting.values().next_back().map(|one| (queue.gap.is_none(), rank(one)));
        self.ready.extend(queue.ready);
        self.tails.extend(queue.tail);
        self.gaps.extend(queue.gap.map(|gap| (gap.since, account)));
        if queue.waiting.is_empty() {
            self.queues.remove(&account);
        }
    }

    /// A block has taken these accounts to these nonces: what waits below them never will be in one.
    pub fn decided(&mut self, accounts: &BTreeMap<NodeId, u64>, tx: &mut Txn<'_>) {
        for (account, next) in accounts {
            let Some(queue) = self.queues.get_mut(account) else { continue };
            queue.next = *next;
            let past: Vec<u64> = queue.waiting.range(..next).map(|(nonce, _)| *nonce).collect();
            past.into_iter().for_each(|nonce| self.remove(*account, nonce, tx));
            self.place(*account);
        }
        self.blocks += 1;
        while let Some((since, account)) = self.gaps.first().copied()
            && since + GAP_BLOCKS <= self.blocks
        {
            self.drop_behind_gap(account, tx);
        }
    }

    /// What waits for a nonce that does not come takes the room of others, and pays for none of it.
    fn drop_behind_gap(&mut self, account: NodeId, tx: &mut Txn<'_>) {
        let queue = self.queues.get(&account);
        let behind = queue.and_then(|queue| Some(queue.waiting.range(queue.gap?.missing..)));
        let behind: Vec<u64> = behind.into_iter().flatten().map(|(nonce, _)| *nonce).collect();
        behind.into_iter().for_each(|nonce| self.remove(account, nonce, tx));
    }

    /// Notes evidence that a block should carry; the caller knows that it shows someone guilty.
    /// False when there is no room for it.
    pub fn accuse(&mut self, evidence: Bytes, tx: &mut Txn<'_>) -> bool {
        if self.evidence.contains(&evidence) {
            return true;
        }
        let fits = evidence.len() <= EVIDENCE_BYTES && self.evidence.len() < POOL_EVIDENCE;
        if fits {
            tx.put(evidence_row(&evidence), evidence.clone());
            self.evidence.insert(evidence);
        }
        fits
    }

    /// Evidence that waits.
    pub fn evidence(&self) -> impl Iterator<Item = &Bytes> {
        self.evidence.iter()
    }

    /// Evidence means nothing any more, because a block carried it or none will.
    pub fn forget_evidence(&mut self, evidence: &Bytes, tx: &mut Txn<'_>) {
        self.evidence.remove(evidence);
        tx.delete(evidence_row(evidence));
    }

    /// Those that are ready, dearest first.
    pub fn pick(&self) -> Picker<'_> {
        Picker { pool: self, ready: self.ready.iter(), waiting: None, followers: BTreeMap::new() }
    }
}

/// Takes transactions for a block, dearest first; what follows one that was taken becomes ready.
pub struct Picker<'a> {
    pool: &'a Mempool,
    ready: std::collections::btree_set::Iter<'a, Rank>,
    /// Looked at, not taken yet.
    waiting: Option<(Rank, u64)>,
    followers: BTreeMap<Rank, u64>,
}

impl<'a> Picker<'a> {
    /// The next: dearest, then oldest.
    pub fn dearest(&mut self) -> Option<&'a Sealed> {
        if self.waiting.is_none() {
            self.waiting = self.ready.next_back().and_then(|rank| Some((*rank, self.pool.queues.get(&rank.2)?.next)));
        }
        let follower = self.followers.last_key_value().map(|(rank, _)| *rank);
        let first = self.waiting.map(|(rank, _)| rank);
        let (rank, nonce) = if follower > first { self.followers.pop_last()? } else { self.waiting.take()? };
        self.pool.queues.get(&rank.2)?.waiting.get(&nonce).map(|one| &*one.sealed)
    }

    /// The block took it.
    pub fn taken(&mut self, sealed: &Sealed) {
        let (account, next) = (sealed.account(), sealed.next_nonce());
        let follower = self.pool.queues.get(&account).and_then(|queue| queue.waiting.get(&next));
        self.followers.extend(follower.map(|one| ((one.price, Reverse(one.arrival), account), next)));
    }
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.sealed.bytes().len()
    }

    fn fee(&self) -> u128 {
        u128::from(self.sealed.fee().0)
    }
}

impl Queue {
    /// The first nonce that is missing before others, if any is.
    fn first_gap(&self) -> Option<u64> {
        let mut next = self.next;
        for one in self.waiting.values() {
            if one.sealed.nonce() > next {
                return Some(next);
            }
            next = one.sealed.next_nonce();
        }
        None
    }
}

/// What an account can pay fees with.
fn funds(account: &Account) -> Tokens {
    account.balance.plus(account.gas).unwrap_or(account.balance)
}

/// Sorts of rows in the table.
const SEALED: u8 = 0;
const EVIDENCE: u8 = 1;

fn row(account: NodeId, nonce: u64) -> Key {
    Key::new(Table::Waiting, &[&[SEALED], account.as_bytes(), &nonce.to_be_bytes()])
}

fn evidence_row(evidence: &[u8]) -> Key {
    Key::new(Table::Waiting, &[&[EVIDENCE], checksum(evidence).as_bytes()])
}

fn kept(sort: u8, view: &dyn View) -> Vec<Bytes> {
    let (mut rows, from) = (Vec::new(), Key::new(Table::Waiting, &[&[sort]]));
    view.scan(&from, &from.after_prefix(), &mut |_, value| {
        rows.push(value.clone());
        ControlFlow::Continue(())
    });
    rows
}

fn price(sealed: &Sealed) -> Price {
    let price = u128::from(sealed.fee().0) * 1024 / sealed.bytes().len().max(1) as u128;
    u64::try_from(price).unwrap_or(u64::MAX)
}

/// The fee at which transactions have a price.
fn fee_for(price: Price, sealed: &Sealed) -> Tokens {
    let fee = (u128::from(price) * sealed.bytes().len() as u128).div_ceil(1024);
    Tokens(u64::try_from(fee).unwrap_or(u64::MAX))
}

/// Whether an account could pay these, now or when it is their turn.
fn payable(sealed: &Sealed, account: &Account, need: Tokens) -> Result<(), NotPooled> {
    let (have, next) = (sealed.nonce(), account.nonce);
    if have < next {
        return Err(Unfit::Nonce { have, next }.into());
    }
    if have - next > NONCES_AHEAD {
        return Err(NotPooled::TooFarAhead { have, next });
    }
    let fee = sealed.fee();
    if fee < need {
        return Err(Unfit::FeeTooLow { have: fee, need }.into());
    }
    if sealed.gas() > BLOCK_GAS {
        return Err(Unfit::Gas { gas: sealed.gas() - BLOCK_GAS }.into());
    }
    let have = funds(account);
    if have < fee {
        return Err(Unfit::CannotPay { have, need: fee }.into());
    }
    Ok(())
}
