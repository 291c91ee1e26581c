//! The ledger's face: propose, execute, apply.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::books::{Carried, Closed, conserved, forget, key_bytes, key_row, state_row};
use super::chain::{self, Head};
use super::execute::{BadEvidence, Done, Excluded, Execution, Unfit, price};
use super::fault::Fault;
use super::genesis::Genesis;
use super::mempool::{Mempool, NotPooled};
use super::params::Params;
use super::refusal::{BlockRefusal, NotExecuted, NotTaken, OpenError};
use super::rows::{Account, Seats, Totals};
use super::state::{Change, State, in_tree};
use super::tree::{self, Slot};
use super::witness::Witness;
use crate::types::chain::{BlockId, ChainId, Height, TransactionId, ValidatorSet};
use crate::types::storage::{Batch, Txn, View};
use crate::types::{Hash, NodeId, WallMs, limits};
use crate::wire::ledger::{
    ANCHOR_BYTES, Anchor, BLOCK_ANCHORS, BLOCK_BYTES, BLOCK_EVIDENCE, BLOCK_SEALS, Block, BlockHeader,
    CERTIFICATE_BYTES, EVIDENCE_BYTES, NotSealed, Record, Sealed, binary,
};
use crate::wire::root_of;

/// Heights whose state can be proved, if the operator says nothing else.
pub const HISTORY: u64 = 1_000;
/// Transactions that a proposer looks at in vain before it makes do with what it has. Those that cannot be paid for are
/// let go after every block, so there are few.
const MISSES: usize = 4 * PRUNED;
/// Of those that wait so many are looked at after a block.
const PRUNED: usize = 1_024;
/// Bytes of a block that are not transactions, at most: header, counts, evidence and anchors.
const OVERHEAD: usize =
    BlockHeader::BYTES + 12 + BLOCK_EVIDENCE * (EVIDENCE_BYTES + 4) + BLOCK_ANCHORS * (ANCHOR_BYTES + 4);

/// A block and everything that becomes true with it. It says nothing yet: only a decided one is applied.
#[derive(Clone, Debug)]
pub struct Executed {
    /// The block.
    pub block: Block,
    /// Its id.
    pub id: BlockId,
    /// What it does: receipts, then events.
    pub records: Vec<Record>,
    /// Root of the state after it.
    pub state_root: Hash,
    /// Who decides the next.
    pub next: Arc<ValidatorSet>,
    /// Each account's next nonce, of those with transactions in it.
    pub nonces: BTreeMap<NodeId, u64>,
    head: Head,
    batch: Batch,
}

/// What a block has from whoever makes it.
#[derive(Clone, Debug)]
pub struct Maker {
    /// Who makes it.
    pub proposer: NodeId,
    /// In which round.
    pub round: u32,
    /// When.
    pub time_ms: WallMs,
    /// Roots over replicated state that it holds, for which nobody else vouches.
    pub anchors: Vec<Anchor>,
}

/// The chain as far as it is decided. All it needs of the state is in the store.
#[derive(Clone, Debug)]
pub struct Ledger {
    head: Head,
    /// The place of the state's root in its tree.
    root: Slot,
    validators: Arc<ValidatorSet>,
    history: u64,
}

impl Ledger {
    /// Begins a chain in a store that has none, or goes on with the one that is there, which must be the same. So many
    /// heights of `history` can be proved.
    pub fn open(genesis: &Genesis, history: u64, tx: &mut Txn<'_>) -> Result<Ledger, OpenError> {
        let ours = genesis.chain();
        match chain::head(tx)? {
            Some(head) if head.chain == ours => Ok(Self::at(head, history, tx)?),
            Some(head) => Err(OpenError::AnotherChain { stored: head.chain, ours }),
            None if chain::is_swapping(tx) => Err(OpenError::Swapping),
            None => Ok(Self::begin(genesis, history, tx)?),
        }
    }

    /// Goes on with the chain that is in the store, if there is one.
    pub fn resume(history: u64, view: &dyn View) -> Result<Option<Ledger>, Fault> {
        chain::head(view)?.map(|head| Self::at(head, history, view)).transpose()
    }

    fn at(head: Head, history: u64, view: &dyn View) -> Result<Ledger, Fault> {
        let root = chain::root(head.height, view)?.ok_or(Fault::Corrupt("the root of the state is missing"))?;
        if root.hash() != head.state_root {
            return Err(Fault::Corrupt("the root of the state is another than the head's"));
        }
        let Seats(seats) = State::new(view).must(&())?;
        Ok(Ledger { head, root, validators: Arc::new(ValidatorSet::new(seats)?), history: history.max(1) })
    }

    fn begin(genesis: &Genesis, history: u64, tx: &mut Txn<'_>) -> Result<Ledger, Fault> {
        let mut state = State::new(tx);
        genesis.write(&mut state)?;
        let totals: Totals = state.must(&())?;
        let changes = state.into_changes();
        conserved(&changes, &Totals::default(), &Totals { minted: totals.supply, ..totals }, Height::GENESIS)?;
        let grown = tree::update(Slot::Empty, &in_tree(&changes), Height::GENESIS, tx)?;
        let validators = Arc::new(genesis.seats()?);
        let head = Head {
            chain: genesis.chain(),
            height: Height::GENESIS,
            id: BlockId::default(),
            time_ms: genesis.time_ms,
            state_root: grown.root.hash(),
            oldest: Height::GENESIS,
        };
        for Change { key, place, after, .. } in changes {
            if let Some(value) = after {
                tx.put(key_row(&place), key_bytes(&key, Height::GENESIS));
                tx.put(state_row(&key), value);
            }
        }
        grown.written.into_iter().for_each(|(key, page)| tx.put(key, page));
        tx.put(chain::genesis_row(), binary(genesis));
        tx.put(chain::head_row(), binary(&head));
        tx.put(chain::root_row(Height::GENESIS), grown.root.to_bytes());
        tx.put(chain::set_row(&validators.hash()), validators.to_bytes());
        Ok(Ledger { head, root: grown.root, validators, history: history.max(1) })
    }

    /// Where the chain stands.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Who decides the next block.
    pub fn next_validators(&self) -> &Arc<ValidatorSet> {
        &self.validators
    }

    /// Who decides, or decided, the block at a height up to the next. None for others, and for height 0.
    pub fn validators(&self, height: Height, view: &dyn View) -> Result<Option<Arc<ValidatorSet>>, Fault> {
        if height == self.head.height.next() {
            return Ok(Some(self.validators.clone()));
        }
        let Some(header) = chain::header(height, view)? else { return Ok(None) };
        Ok(chain::validators(&header.validators, view)?.map(Arc::new))
    }

    /// What waited when the node stopped.
    pub fn load_pool(&self, view: &dyn View) -> Result<Mempool, Fault> {
        let state = State::new(view);
        let next = |account| Ok(state.or_new::<Account>(&account)?.nonce);
        Mempool::load(self.head.chain, view, next)
    }

    /// Takes sealed transactions to wait for a block, and says their ids.
    pub fn submit(&self, bytes: Bytes, pool: &mut Mempool, tx: &mut Txn<'_>) -> Result<Vec<TransactionId>, NotTaken> {
        let sealed = Sealed::check(bytes, self.head.chain)?;
        self.submit_checked(sealed, pool, tx)
    }

    /// The same for transactions whose seal was checked elsewhere: signatures are the verifiers' work.
    pub fn submit_checked(
        &self,
        sealed: Sealed,
        pool: &mut Mempool,
        tx: &mut Txn<'_>,
    ) -> Result<Vec<TransactionId>, NotTaken> {
        let chain = sealed.order().chain;
        if chain != self.head.chain {
            return Err(NotSealed::WrongChain(chain).into());
        }
        let state = State::new(tx);
        let params: Params = state.must(&())?;
        let id = sealed.account();
        let account: Account = state.read(&id)?.ok_or(NotPooled::Unfit(Unfit::UnknownAccount(id)))?;
        let need = price(&params, &sealed).map_err(|_| NotSealed::Overflow)?;
        let ids = sealed.ids().to_vec();
        pool.submit(sealed, &account, need, tx)?;
        Ok(ids)
    }

    /// Takes evidence to wait for a block, if it shows someone guilty who can be punished. False when there is no room.
    pub fn accuse(
        &self,
        evidence: Bytes,
        pool: &mut Mempool,
        tx: &mut Txn<'_>,
        witness: &dyn Witness,
    ) -> Result<Result<bool, BadEvidence>, Fault> {
        let mut execution = Execution::begin(self.head.height.next(), self.head.id, NodeId([0; 32]), tx)?;
        let outcome = slash(&mut execution, self.head.chain, &evidence, witness)?;
        Ok(outcome.map(|()| pool.accuse(evidence, tx)))
    }

    /// Makes the next block of what waits, dearest first.
    pub fn propose(
        &self,
        pool: &Mempool,
        view: &dyn View,
        round: u32,
        time_ms: WallMs,
        proposer: NodeId,
        witness: &dyn Witness,
    ) -> Result<Executed, Fault> {
        self.propose_by(Maker { proposer, round, time_ms, anchors: Vec::new() }, pool, view, witness)
    }

    /// The same, with what its maker adds.
    pub fn propose_by(
        &self,
        maker: Maker,
        pool: &Mempool,
        view: &dyn View,
        witness: &dyn Witness,
    ) -> Result<Executed, Fault> {
        let Maker { proposer, round, time_ms, anchors } = maker;
        let height = self.head.height.next();
        let mut execution = Execution::begin(height, self.head.id, proposer, view)?;
        let evidence = self.charge(&mut execution, pool, witness)?;
        let (transactions, carried) = fill(&mut execution, pool)?;
        let done = execution.finish()?;
        let header = BlockHeader {
            chain: self.head.chain,
            height,
            round,
            // A clock behind the chain's makes a block all the same.
            time_ms: WallMs(time_ms.0.max(self.head.time_ms.0.saturating_add(1))),
            parent: self.head.id,
            transactions_root: Hash::ZERO,
            state_root: Hash::ZERO,
            receipts_root: Hash::ZERO,
            validators: self.validators.hash(),
            next_validators: Hash::ZERO,
            evidence_root: Hash::ZERO,
            anchors_root: Hash::ZERO,
            proposer,
        };
        let closed = self.close(done, height, view)?;
        let header = BlockHeader {
            state_root: closed.tree.root.hash(),
            receipts_root: closed.receipts_root,
            next_validators: closed.next.hash(),
            ..header
        };
        self.executed(Block::new(header, transactions, evidence).anchored(anchors), carried, closed, view)
    }

    fn charge(
        &self,
        execution: &mut Execution<'_>,
        pool: &Mempool,
        witness: &dyn Witness,
    ) -> Result<Vec<Bytes>, Fault> {
        let mut evidence = Vec::new();
        for piece in pool.evidence() {
            if evidence.len() < BLOCK_EVIDENCE && slash(execution, self.head.chain, piece, witness)?.is_ok() {
                evidence.push(piece.clone());
            }
        }
        Ok(evidence)
    }

    /// Checks a block in everything and executes it. What waits in the pool has its seal checked already.
    pub fn execute(
        &self,
        block: &Block,
        pool: &Mempool,
        view: &dyn View,
        witness: &dyn Witness,
    ) -> Result<Executed, NotExecuted> {
        self.execute_with(block, &|leaf| pool.seal(leaf).cloned(), view, witness)
    }

    /// The same; `known` gives seals that were checked already, by their leaves.
    pub fn execute_with(
        &self,
        block: &Block,
        known: &dyn Fn(&Hash) -> Option<Arc<Sealed>>,
        view: &dyn View,
        witness: &dyn Witness,
    ) -> Result<Executed, NotExecuted> {
        let header = block.header();
        self.follows(header)?;
        let mut execution = Execution::begin(header.height, header.parent, header.proposer, view)?;
        for (index, piece) in block.evidence().iter().enumerate() {
            let outcome = slash(&mut execution, self.head.chain, piece, witness)?;
            outcome.map_err(|why| BlockRefusal::Evidence { index, why })?;
        }
        let mut carried = Carried::default();
        for (index, bytes) in block.transactions().iter().enumerate() {
            let sealed = match known(&Sealed::leaf_of(bytes)) {
                Some(known) => known,
                None => {
                    let sealed = Sealed::check(bytes.clone(), self.head.chain);
                    Arc::new(sealed.map_err(|why| BlockRefusal::Seal { index, why })?)
                }
            };
            match execution.group(&sealed) {
                Ok(()) => carried.add(&sealed),
                Err(Excluded::Unfit(why)) => return Err(BlockRefusal::Unfit { index, why }.into()),
                Err(Excluded::Broken(fault)) => return Err(fault.into()),
            }
        }
        let closed = self.close(execution.finish()?, header.height, view)?;
        closed.led_to_by(header)?;
        Ok(self.executed(block.clone(), carried, closed, view)?)
    }

    /// Whether a header follows the head.
    fn follows(&self, header: &BlockHeader) -> Result<(), BlockRefusal> {
        let (have, next) = (header.height, self.head.height.next());
        if header.chain != self.head.chain {
            return Err(BlockRefusal::WrongChain(header.chain));
        }
        if have != next {
            return Err(BlockRefusal::Height { have, next });
        }
        if header.parent != self.head.id {
            return Err(BlockRefusal::Parent(header.parent));
        }
        if header.time_ms <= self.head.time_ms {
            return Err(BlockRefusal::Time);
        }
        if header.validators != self.validators.hash() {
            return Err(BlockRefusal::Validators);
        }
        if self.validators.index(header.proposer).is_none() {
            return Err(BlockRefusal::Proposer(header.proposer));
        }
        Ok(())
    }

    /// Roots over what a block did, after its books are found to balance.
    fn close(&self, done: Done<'_>, height: Height, view: &dyn View) -> Result<Closed, Fault> {
        let before: Totals = State::new(view).must(&())?;
        let Seats(seats) = done.state.must(&())?;
        let changes = done.state.into_changes();
        conserved(&changes, &before, &done.totals, height)?;
        let tree = tree::update(self.root, &in_tree(&changes), height, view)?;
        let next = Arc::new(ValidatorSet::new(seats)?);
        let leaves: Vec<Vec<u8>> = done.records.iter().map(binary).collect();
        let receipts_root = root_of(leaves.iter().map(Vec::as_slice));
        Ok(Closed { changes, tree, records: done.records, leaves, receipts_root, next })
    }

    fn executed(&self, block: Block, carried: Carried, closed: Closed, view: &dyn View) -> Result<Executed, Fault> {
        let (id, height) = (block.id(), block.header().height);
        let oldest = Height(height.0.saturating_sub(self.history)).max(self.head.oldest);
        let head = Head {
            chain: self.head.chain,
            height,
            id,
            time_ms: block.header().time_ms,
            state_root: closed.tree.root.hash(),
            oldest,
        };
        let mut batch = Batch::default();
        // First of all: what is let go may be written anew by this block.
        for gone in self.head.oldest.0 + 1..=oldest.0 {
            forget(Height(gone), view, &mut batch)?;
        }
        closed.write(&block, &carried, height, &mut batch);
        batch.put(chain::head_row(), binary(&head));
        let (state_root, next, nonces) = (head.state_root, closed.next, carried.nonces);
        Ok(Executed { block, id, records: closed.records, state_root, next, nonces, head, batch })
    }

    /// Makes a decided block true. The certificate is kept as it is.
    pub fn apply(
        &mut self,
        executed: Executed,
        certificate: Bytes,
        pool: &mut Mempool,
        tx: &mut Txn<'_>,
        witness: &dyn Witness,
    ) -> Result<(), Fault> {
        let (head, have) = (self.head.height, executed.head.height);
        if executed.block.header().parent != self.head.id || have != head.next() {
            return Err(Fault::Order { head, have });
        }
        if certificate.len() > CERTIFICATE_BYTES {
            return Err(Fault::Corrupt("the certificate is larger than any"));
        }
        for (key, value) in executed.batch.into_writes() {
            match value {
                Some(value) => tx.put(key, value),
                None => tx.delete(key),
            }
        }
        tx.put(chain::certificate_row(have), certificate);
        self.root = chain::root(have, tx)?.ok_or(Fault::Corrupt("the root of the state is missing"))?;
        (self.head, self.validators) = (executed.head, executed.next);
        pool.decided(&executed.nonces, tx);
        self.prune(pool, tx)?;
        self.drop_evidence(pool, tx, witness)
    }

    /// What could not be paid for if it were in the next block is let go, the dearest first: it stands in the way of
    /// others.
    fn prune(&self, pool: &mut Mempool, tx: &mut Txn<'_>) -> Result<(), Fault> {
        let (state, mut gone) = (State::new(tx), Vec::new());
        let params: Params = state.must(&())?;
        let mut picker = pool.pick();
        for _ in 0..PRUNED {
            let Some(sealed) = picker.dearest() else { break };
            let account: Account = state.or_new(&sealed.account())?;
            let affordable = account.balance.plus(account.gas)? >= sealed.fee();
            if !affordable || price(&params, sealed).is_ok_and(|need| sealed.fee() < need) {
                gone.push((sealed.account(), sealed.nonce()));
            }
        }
        gone.into_iter().for_each(|(account, nonce)| pool.remove(account, nonce, tx));
        Ok(())
    }

    /// Whether a block's time is not too far ahead of this node's clock, or how long until it is not: to be asked
    /// before a vote, and not of what two thirds have voted for. It says nothing about the block, only about now.
    pub fn timely(header: &BlockHeader, now: WallMs) -> Result<(), Duration> {
        let early = header.time_ms.0.saturating_sub(now.plus(limits::MAX_FUTURE).0);
        if early == 0 { Ok(()) } else { Err(Duration::from_millis(early)) }
    }

    /// Evidence that no later block can carry is let go.
    fn drop_evidence(&self, pool: &mut Mempool, tx: &mut Txn<'_>, witness: &dyn Witness) -> Result<(), Fault> {
        let waiting: Vec<Bytes> = pool.evidence().cloned().collect();
        for piece in waiting {
            let mut execution = Execution::begin(self.head.height.next(), self.head.id, NodeId([0; 32]), tx)?;
            if slash(&mut execution, self.head.chain, &piece, witness)?.is_err() {
                pool.forget_evidence(&piece, tx);
            }
        }
        Ok(())
    }
}

/// Punishes whom evidence shows guilty.
fn slash(
    execution: &mut Execution<'_>,
    chain: ChainId,
    evidence: &[u8],
    witness: &dyn Witness,
) -> Result<Result<(), BadEvidence>, Fault> {
    match witness.guilty(chain, evidence) {
        Some(guilt) => execution.slash(guilt),
        None => Ok(Err(BadEvidence::NoGuilt)),
    }
}

/// Executes what waits, dearest first, until the block is full.
fn fill(execution: &mut Execution<'_>, pool: &Mempool) -> Result<(Vec<Bytes>, Carried), Fault> {
    let (mut transactions, mut carried, mut left) = (Vec::new(), Carried::default(), BLOCK_BYTES - OVERHEAD);
    let (mut picker, mut misses) = (pool.pick(), 0);
    while misses < MISSES
        && transactions.len() < BLOCK_SEALS
        && let Some(sealed) = picker.dearest()
    {
        let size = sealed.bytes().len() + 4;
        if size > left {
            misses += 1;
            continue;
        }
        match execution.group(sealed) {
            Ok(()) => {
                left -= size;
                transactions.push(sealed.bytes().clone());
                carried.add(sealed);
                picker.taken(sealed);
            }
            Err(Excluded::Unfit(_)) => misses += 1,
            Err(Excluded::Broken(fault)) => return Err(fault),
        }
    }
    Ok((transactions, carried))
}
