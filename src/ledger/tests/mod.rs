//! Laws of the ledger, on a chain in memory.

mod blocks;
mod bodies;
mod endorsed;
mod genesis;
mod pool;
mod proofs;
mod random;
mod snapshot;
mod tree;

use bytes::Bytes;
use ed25519_dalek::SigningKey;

use super::*;
use crate::types::chain::{BlockId, ChainId, Height, ValidatorSet};
use crate::types::storage::{Batch, Txn, View};
use crate::types::{MemoryStore, NodeId, Tokens, WallMs};
use crate::wire::ledger::{Body, Effect, Event, Failure, Order, Outcome, Receipt, Record, Sealed, Transaction};

const START: WallMs = WallMs(1_700_000_000_000);
/// More than any body costs at the prices of these tests.
const FEE: Tokens = Tokens(5_000);

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn id(n: u8) -> NodeId {
    NodeId(key(n).verifying_key().to_bytes())
}

/// Believes evidence and certificates that say what they are in plain words.
struct Gullible;

fn evidence(n: u8, height: u64) -> Bytes {
    [&id(n).0[..], &height.to_be_bytes()].concat().into()
}

impl Witness for Gullible {
    fn guilty(&self, _: ChainId, evidence: &[u8]) -> Option<Guilt> {
        let (validator, height) = evidence.split_first_chunk::<32>()?;
        let height = Height(u64::from_be_bytes(height.try_into().ok()?));
        Some(Guilt { validator: NodeId(*validator), height })
    }

    fn decided(&self, _: ChainId, _: Height, id: BlockId, _: &ValidatorSet, certificate: &[u8]) -> bool {
        certificate == id.as_bytes()
    }
}

/// Rules small enough that everything happens within a few blocks.
fn params() -> Params {
    Params {
        epoch_blocks: 3,
        supply_limit: Tokens(10_000_000_000),
        minter: Some(id(1)),
        fees: Fees {
            transaction: Tokens(10),
            byte: Tokens(1),
            gas: Tokens(2),
            storage: Tokens(3),
            burned_permille: 200,
            treasury_permille: 300,
            gas_target: 0,
        },
        staking: Staking {
            validators: 3,
            least: Tokens(1_000),
            per_power: 10,
            unbonding_epochs: 3,
            slash_permille: 100,
            by_vote: false,
        },
        emission: Emission {
            per_epoch: Tokens(100_003),
            halve_every: 4,
            validators_permille: 300,
            stakers_permille: 400,
            miners_permille: 200,
            mining_bits: 2,
        },
        voting: Voting {
            deposit: Tokens(500),
            epochs: 1,
            quorum_permille: 334,
            threshold_permille: 500,
            veto_permille: 334,
        },
    }
}

/// Accounts 1 to 6 have a million each; 1, 2 and 3 validate.
fn genesis_with(params: Params) -> Genesis {
    Genesis {
        name: "test".into(),
        time_ms: START,
        treasury: Tokens(50_000),
        token: Token { symbol: "TST".into(), decimals: 6 },
        params,
        validators: (1..=3)
            .map(|n| GenesisValidator { id: id(n), stake: Tokens(100_000 * u64::from(n)), commission_permille: 100 })
            .collect(),
        accounts: (1..=6).map(|n| GenesisAccount { id: id(n), balance: Tokens(1_000_000) }).collect(),
    }
    .checked()
    .unwrap()
}

/// A chain in memory and its pool.
#[derive(Clone)]
struct World {
    store: MemoryStore,
    ledger: Ledger,
    pool: Mempool,
}

impl World {
    fn new() -> World {
        World::with(params())
    }

    fn with(params: Params) -> World {
        World::of(&genesis_with(params), 5)
    }

    fn of(genesis: &Genesis, history: u64) -> World {
        let (mut store, mut batch) = (MemoryStore::default(), Batch::default());
        let ledger = Ledger::open(genesis, history, &mut Txn::new(&store, &mut batch)).unwrap();
        store.commit(batch);
        World { store, ledger, pool: Mempool::default() }
    }

    fn chain(&self) -> ChainId {
        self.ledger.head().chain
    }

    fn commit<T>(&mut self, work: impl FnOnce(&Ledger, &mut Mempool, &mut Txn<'_>) -> T) -> T {
        let mut batch = Batch::default();
        let result = work(&self.ledger, &mut self.pool, &mut Txn::new(&self.store, &mut batch));
        self.store.commit(batch);
        result
    }

    fn row<R: rows::Row>(&self, name: &R::Name) -> Option<R> {
        query::row(name, &self.store).unwrap()
    }

    fn account(&self, n: u8) -> rows::Account {
        self.row(&id(n)).unwrap_or_default()
    }

    fn totals(&self) -> rows::Totals {
        self.row(&()).unwrap()
    }

    fn next_nonce(&self, n: u8) -> u64 {
        self.pool.next_nonce(id(n), self.account(n).nonce)
    }

    fn order(&self, n: u8, nonce: u64, transactions: Vec<Transaction>) -> Sealed {
        Order { chain: self.chain(), account: id(n), nonce, transactions }.seal(&key(n)).unwrap()
    }

    fn submit(&mut self, sealed: &Sealed) -> Result<(), NotTaken> {
        let bytes = sealed.bytes().clone();
        self.commit(|ledger, pool, tx| ledger.submit(bytes, pool, tx)).map(drop)
    }

    /// Sends one transaction, next in its account's order, with a fee that is enough.
    fn send(&mut self, n: u8, body: Body) {
        let sealed = self.order(n, self.next_nonce(n), vec![Transaction { fee: FEE, body }]);
        self.submit(&sealed).unwrap();
    }

    fn propose(&self) -> Executed {
        let proposer = self.proposer();
        self.ledger.propose(&self.pool, &self.store, 0, START, proposer, &Gullible).unwrap()
    }

    /// Validators take turns.
    fn proposer(&self) -> NodeId {
        let set = self.ledger.next_validators();
        set.at(self.ledger.head().height.0 as usize % set.count()).unwrap().id
    }

    fn apply(&mut self, executed: Executed) {
        let (certificate, mut batch) = (Bytes::copy_from_slice(executed.id.as_bytes()), Batch::default());
        let tx = &mut Txn::new(&self.store, &mut batch);
        self.ledger.apply(executed, certificate, &mut self.pool, tx, &Gullible).unwrap();
        self.store.commit(batch);
    }

    /// A block of what waits: proposed, executed again by one who knows nothing of the pool, applied.
    fn block(&mut self) -> Vec<Record> {
        let proposed = self.propose();
        let bytes = Bytes::from(proposed.block.encode());
        let block = crate::wire::ledger::Block::decode(bytes).unwrap();
        let executed = self.ledger.execute(&block, &Mempool::default(), &self.store, &Gullible).unwrap();
        assert_eq!((executed.id, executed.state_root), (proposed.id, proposed.state_root));
        assert_eq!(executed.records, proposed.records);
        let records = executed.records.clone();
        self.apply(executed);
        records
    }

    /// Blocks up to the end of the present epoch.
    fn epoch(&mut self) -> Vec<Record> {
        let mut records = self.block();
        while !self.ledger.head().height.0.is_multiple_of(3) {
            records.extend(self.block());
        }
        records
    }

    /// One transaction in a block of its own, and how it ended.
    fn run(&mut self, n: u8, body: Body) -> Outcome {
        self.send(n, body);
        outcomes(&self.block()).pop().unwrap()
    }

    fn fails(&mut self, n: u8, body: Body) -> Failure {
        match self.run(n, body.clone()) {
            Outcome::Failed(failure) => failure,
            Outcome::Succeeded(_) => panic!("{body:?} is done"),
        }
    }

    fn works(&mut self, n: u8, body: Body) -> Effect {
        match self.run(n, body.clone()) {
            Outcome::Succeeded(effect) => effect,
            Outcome::Failed(failure) => panic!("{body:?}: {failure}"),
        }
    }
}

fn outcomes(records: &[Record]) -> Vec<Outcome> {
    receipts(records).map(|receipt| receipt.outcome.clone()).collect()
}

fn receipts(records: &[Record]) -> impl Iterator<Item = &Receipt> {
    records.iter().filter_map(|record| match record {
        Record::Receipt(receipt) => Some(receipt),
        Record::Event(_) => None,
    })
}

fn events(records: &[Record]) -> Vec<&Event> {
    let events = records.iter().filter_map(|record| match record {
        Record::Event(event) => Some(event),
        Record::Receipt(_) => None,
    });
    events.collect()
}

fn transfer(to: u8, amount: u64) -> Body {
    Body::Transfer { to: id(to), amount: Tokens(amount), memo: None }
}
