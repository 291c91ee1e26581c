//! Blocks that are refused, each for its own reason, and what two nodes do at once.

use super::*;
use crate::ledger::books::{Carried, Closed, forget};
use crate::ledger::chain::{self, Found};
use crate::ledger::state::Change;
use crate::ledger::tree::{Slot, TreeUpdate};
use crate::types::Hash;
use crate::types::storage::{Key, Table};
use crate::wire::ledger::{Block, BlockHeader, NotBlock};

/// The refusal of a block by a node with an empty pool, as a code.
fn refused(world: &World, block: &Block) -> &'static str {
    match world.ledger.execute(block, &Mempool::default(), &world.store, &Gullible) {
        Err(NotExecuted::Refused(why)) => why.code(),
        other => panic!("{other:?}"),
    }
}

/// The proposed block with another header or body.
fn with(block: &Block, change: impl FnOnce(&mut BlockHeader)) -> Block {
    let mut header = block.header().clone();
    change(&mut header);
    Block::new(header, block.transactions().to_vec(), block.evidence().to_vec())
}

fn carrying(block: &Block, transactions: Vec<Bytes>, evidence: Vec<Bytes>) -> Block {
    Block::new(block.header().clone(), transactions, evidence)
}

#[test]
fn a_block_that_lies_is_refused_for_what_it_lies_about() {
    let mut world = World::new();
    world.send(4, transfer(5, 10));
    let good = world.propose().block;
    let other = Hash([9; 32]);
    let lies: Vec<(&str, Block)> = vec![
        ("wrong_chain", with(&good, |header| header.chain = ChainId(other))),
        ("height", with(&good, |header| header.height = Height(2))),
        ("height", with(&good, |header| header.height = Height(0))),
        ("parent", with(&good, |header| header.parent = BlockId(other))),
        ("time", with(&good, |header| header.time_ms = START)),
        ("validators", with(&good, |header| header.validators = other)),
        ("proposer", with(&good, |header| header.proposer = id(5))),
        ("state_root", with(&good, |header| header.state_root = other)),
        ("receipts_root", with(&good, |header| header.receipts_root = other)),
        ("next_validators", with(&good, |header| header.next_validators = other)),
        ("state_root", carrying(&good, vec![], vec![])),
        ("state_root", carrying(&good, good.transactions().to_vec(), vec![evidence(2, 1)])),
        ("evidence", carrying(&good, good.transactions().to_vec(), vec![evidence(5, 1)])),
        ("evidence", carrying(&good, vec![], vec![evidence(2, 1), evidence(2, 1)])),
        ("evidence", carrying(&good, vec![], vec![Bytes::from_static(b"?")])),
    ];
    for (code, block) in lies {
        assert_eq!(refused(&world, &block), code, "{:?}", block.header());
    }
    assert!(world.ledger.execute(&good, &Mempool::default(), &world.store, &Gullible).is_ok());
}

#[test]
fn a_block_from_the_future_waits_for_its_time() {
    let header = World::new().propose().block.header().clone();
    let late = |ahead| WallMs(header.time_ms.0 - ahead);
    assert_eq!(Ledger::timely(&header, late(15_000)), Ok(()));
    assert_eq!(Ledger::timely(&header, late(15_001)), Err(std::time::Duration::from_millis(1)));
}

#[test]
fn a_transaction_that_does_not_belong_in_a_block_spoils_it() {
    let mut world = World::new();
    let one = |body| vec![Transaction { fee: FEE, body }];
    let cheap = vec![Transaction { fee: Tokens(3), body: transfer(5, 1) }];
    let dear = vec![Transaction { fee: Tokens(2_000_000), body: transfer(5, 1) }];
    let elsewhere =
        Order { chain: ChainId(Hash([1; 32])), account: id(4), nonce: 0, transactions: one(transfer(5, 1)) };
    let mut forged = world.order(4, 0, one(transfer(5, 1))).bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let many = vec![Transaction { fee: FEE, body: transfer(5, 1) }; 3];
    world.works(4, transfer(5, 1));
    let base = world.propose().block;
    let next = world.order(4, 1, one(transfer(5, 1)));
    let cases: Vec<(&str, Vec<Bytes>)> = vec![
        ("nonce", vec![world.order(4, 0, one(transfer(5, 1))).bytes().clone()]),
        ("nonce", vec![world.order(4, 2, one(transfer(5, 1))).bytes().clone()]),
        ("nonce", vec![next.bytes().clone(), next.bytes().clone()]),
        (
            "nonce",
            vec![world.order(4, 1, many).bytes().clone(), world.order(4, 3, one(transfer(5, 1))).bytes().clone()],
        ),
        ("unknown_account", vec![world.order(77, 0, one(transfer(5, 1))).bytes().clone()]),
        ("fee_too_low", vec![world.order(4, 1, cheap).bytes().clone()]),
        ("cannot_pay", vec![world.order(4, 1, dear).bytes().clone()]),
        ("wrong_chain", vec![elsewhere.seal(&key(4)).unwrap().bytes().clone()]),
        ("bad_seal", vec![forged.into()]),
        ("bytes", vec![Bytes::from_static(b"no transaction")]),
    ];
    for (code, transactions) in cases {
        assert_eq!(refused(&world, &carrying(&base, transactions, vec![])), code);
    }
}

#[test]
fn a_block_of_more_gas_than_any_may_use_is_refused() {
    let genesis = genesis_with(Params {
        fees: Fees { transaction: Tokens(0), byte: Tokens(0), gas: Tokens(0), ..params().fees },
        ..params()
    });
    let world = World::of(&genesis, 5);
    let base = world.propose().block;
    let work =
        Body::OpenBilling { provider: id(5), service: "light".into(), amount: Tokens(1), every: 1, payments: 1000 };
    let order = |nonce| {
        let transactions = vec![Transaction { fee: Tokens(0), body: work.clone() }; 10];
        world.order(4, nonce, transactions).bytes().clone()
    };
    let transactions = (0..4).map(|n| order(n * 10)).collect();
    assert_eq!(refused(&world, &carrying(&base, transactions, vec![])), "gas");
}

#[test]
fn what_one_account_spends_at_two_nodes_is_spent_once() {
    let one = World::new();
    let mut two = one.clone();
    let mut first = one.clone();
    // The same nonce, all that the account has, to two others, each known to one node only.
    let all = |to| vec![Transaction { fee: FEE, body: transfer(to, 1_000_000 - FEE.0) }];
    first.submit(&first.order(4, 0, all(5))).unwrap();
    two.submit(&two.order(4, 0, all(6))).unwrap();
    let decided = first.propose();
    // Both nodes execute the block that is decided.
    let at_two = two.ledger.execute(&decided.block, &two.pool, &two.store, &Gullible).unwrap();
    assert_eq!(at_two.state_root, decided.state_root);
    two.apply(at_two);
    first.apply(decided);
    assert_eq!(two.pool.size().0, 0, "the other can never be in a block");
    assert_eq!(two.account(6).balance, Tokens(1_000_000));
    assert_eq!(two.account(5).balance, Tokens(2_000_000 - FEE.0));
    assert_eq!(first.ledger.head(), two.ledger.head());
    let again = two.order(4, 0, all(6));
    assert_eq!(two.submit(&again).unwrap_err().code(), "nonce");
}

#[test]
fn several_under_one_seal_are_paid_for_before_the_first_is_done() {
    let mut world = World::new();
    let transactions: Vec<_> = [transfer(5, 1_000_000 - 3 * FEE.0), transfer(5, 1), transfer(5, 1)]
        .map(|body| Transaction { fee: FEE, body })
        .into();
    let sealed = world.order(4, 0, transactions);
    world.submit(&sealed).unwrap();
    let records = world.block();
    let poor = || Outcome::Failed(Failure::InsufficientBalance { have: Tokens(0), need: Tokens(1) });
    assert_eq!(outcomes(&records), [Outcome::Succeeded(Effect::Done), poor(), poor()]);
    assert_eq!(world.account(4).nonce, 3);
    let nonces: Vec<u64> = receipts(&records).map(|receipt| receipt.nonce).collect();
    assert_eq!(nonces, [0, 1, 2]);
    for (index, transaction) in sealed.ids().iter().enumerate() {
        let found = Found { height: Height(1), index: index as u32 };
        assert_eq!(chain::find(transaction, &world.store).unwrap(), Some(found));
        let Some(Record::Receipt(receipt)) = chain::record(found, &world.store).unwrap() else { panic!("no receipt") };
        assert_eq!(receipt.transaction, *transaction);
        let block = chain::block(Height(1), &world.store).unwrap().unwrap();
        let (seal, at) = chain::transaction_at(&block, index as u32).unwrap().unwrap();
        assert_eq!((seal.ids()[at], at), (*transaction, index));
    }
    assert_eq!(chain::records(Height(1), &world.store).unwrap(), records);
    for n in [4, 5] {
        let found = chain::of_account(id(n), None, 2, &world.store);
        assert_eq!(found.iter().map(|found| found.index).collect::<Vec<_>>(), [2, 1]);
        let older = chain::of_account(id(n), found.last().copied(), 9, &world.store);
        assert_eq!(older.len(), 1);
    }
}

#[test]
fn a_decided_block_is_applied_in_its_order_and_survives_a_restart() {
    let mut world = World::new();
    world.send(4, transfer(5, 10));
    let first = world.propose();
    let mut other = world.clone();
    world.apply(first.clone());
    let late = {
        let mut batch = Batch::default();
        let tx = &mut Txn::new(&world.store, &mut batch);
        world.ledger.apply(first.clone(), Bytes::new(), &mut world.pool, tx, &Gullible)
    };
    assert_eq!(late, Err(Fault::Order { head: Height(1), have: Height(1) }));
    other.apply(first);
    for _ in 0..7 {
        world.block();
        other.block();
        let genesis = genesis_with(params());
        let mut batch = Batch::default();
        other.ledger = Ledger::open(&genesis, 5, &mut Txn::new(&other.store, &mut batch)).unwrap();
        assert!(batch.is_empty());
        other.pool = other.ledger.load_pool(&other.store).unwrap();
        assert_eq!(world.ledger.head(), other.ledger.head());
    }
    for height in 1..=8 {
        let set = world.ledger.validators(Height(height), &world.store).unwrap().unwrap();
        let header = chain::header(Height(height), &world.store).unwrap().unwrap();
        assert_eq!(set.hash(), header.validators);
    }
    assert!(world.ledger.validators(Height(9), &world.store).unwrap().is_some());
    assert!(world.ledger.validators(Height(10), &world.store).unwrap().is_none());
}

#[test]
fn bytes_that_are_no_block_say_why() {
    let mut world = World::new();
    world.send(4, transfer(5, 10));
    let good = world.propose().block;
    let bytes = good.encode();
    let read = |bytes: Vec<u8>| Block::decode(bytes.into());
    assert_eq!(read(bytes.clone()).unwrap(), good);
    assert_eq!(read(vec![0; (1 << 20) + 1]), Err(NotBlock::TooLarge((1 << 20) + 1)));
    assert_eq!(read([&[9], &bytes[1..]].concat()), Err(NotBlock::Version(9)));
    assert_eq!(read([&bytes[..], &[0]].concat()), Err(NotBlock::Division));
    assert_eq!(read(bytes[..bytes.len() - 1].to_vec()), Err(NotBlock::Division));
    assert_eq!(read(vec![]), Err(NotBlock::Division));
    let mut seals = bytes.clone();
    seals[BlockHeader::BYTES..BlockHeader::BYTES + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(read(seals), Err(NotBlock::Seals(u32::MAX as usize)));
    // The last eight bytes are two counts: no evidence, no anchors.
    for (at, why) in [(8, NotBlock::Evidence), (4, NotBlock::Anchors)] {
        let mut body = bytes.clone();
        body[bytes.len() - at] = 17;
        assert_eq!(read(body), Err(why));
    }
    let mut root = bytes;
    root[BlockHeader::BYTES - 40] ^= 1;
    assert_eq!(read(root), Err(NotBlock::Roots));
}

/// A store that lies is found out before anything is built on it.
#[test]
fn a_supply_that_changed_by_itself_stops_the_ledger() {
    let mut world = World::new();
    let mut totals = world.totals();
    totals.minted = totals.minted.plus(Tokens(1)).unwrap();
    let mut batch = Batch::default();
    batch.put(
        crate::ledger::books::state_row(&<rows::Totals as rows::Row>::key(&())),
        crate::wire::ledger::binary(&totals),
    );
    world.store.commit(batch);
    // What was wrong before a block is the block's to inherit; what becomes wrong in one is not.
    world.send(4, transfer(5, 10));
    let executed = world.propose();
    let done = executed.records.len();
    assert_eq!(done, 1);
    let key = <rows::Account as rows::Row>::key(&id(4));
    let richer = rows::Account { balance: Tokens(7), ..rows::Account::default() };
    let after = Some(crate::wire::ledger::binary(&richer).into());
    let changes = vec![Change { place: rows::place(&key), key, before: None, after }];
    let fault = crate::ledger::books::conserved(&changes, &totals, &totals, Height(1));
    assert_eq!(fault, Err(Fault::Supply { height: Height(1), grown: 7, made: 0, burned: 0 }));
}

#[test]
fn the_largest_block_is_let_go_like_any_other() {
    // Forty thousand records erased, each a row of the state and of what it was before.
    let world = World::new();
    let block = world.propose().block;
    let change = |n: u64| Change {
        key: [&[10], &n.to_be_bytes()[..], &[7; 40]].concat(),
        place: crate::types::Domain::Trace.hash(&[&n.to_be_bytes()]),
        before: Some(Bytes::from_static(b"before")),
        after: None,
    };
    let changes: Vec<Change> = (0..80_000).map(change).collect();
    let rows = |store: &MemoryStore, table| {
        let (mut rows, from) = (0, Key::new(table, &[]));
        store.scan(&from, &from.after_prefix(), &mut |_, _| {
            rows += 1;
            std::ops::ControlFlow::Continue(())
        });
        rows
    };
    let tree = TreeUpdate { root: Slot::Empty, written: Default::default(), stale: Default::default() };
    let next = world.ledger.next_validators().clone();
    let closed = Closed { changes, tree, records: vec![], leaves: vec![], receipts_root: Hash::ZERO, next };
    let (mut store, mut batch) = (MemoryStore::default(), Batch::default());
    closed.write(&block, &Carried::default(), Height(1), &mut batch);
    store.commit(batch);
    assert_eq!(rows(&store, Table::LedgerBefore), 80_000);
    let mut batch = Batch::default();
    forget(Height(1), &store, &mut batch).unwrap();
    store.commit(batch);
    assert_eq!((rows(&store, Table::LedgerBefore), rows(&store, Table::LedgerStale)), (0, 0));
}
