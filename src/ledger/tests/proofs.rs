//! Proofs for third parties, of rows as they are and as they were.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::ledger::query::{NoProof, prove, prove_anchors};
use crate::ledger::rows::{Account, Pool, Row};
use crate::types::Hash;
use crate::types::storage::{Key, Table};
use crate::wire::Signature;
use crate::wire::agreement::{Certificate, Evidence, Signed, Step, Vote};
use crate::wire::ledger::{Anchor, AnchorProof, LedgerProof, NotProof};

fn precommit(world: &World, n: u8, height: u64, value: Hash) -> Signed<Vote> {
    let vote =
        Vote { step: Step::Precommit, height: Height(height), round: 0, value: Some(BlockId(value)), voter: id(n) };
    vote.sign(world.chain(), &key(n))
}

/// A block that its validators decided with real signatures.
pub(super) fn decided(world: &mut World) {
    let proposer = world.proposer();
    let executed = world.ledger.propose(&world.pool, &world.store, 0, START, proposer, &Agreement).unwrap();
    let height = executed.block.header().height;
    let mut signatures: Vec<(NodeId, Signature)> = (1..=6)
        .filter(|n| world.ledger.next_validators().index(id(*n)).is_some())
        .map(|n| (id(n), precommit(world, n, height.0, executed.id.0).signature))
        .collect();
    signatures.sort_by_key(|(id, _)| *id);
    let certificate = Certificate { height, round: 0, value: executed.id, signatures }.encode();
    let mut batch = Batch::default();
    let tx = &mut Txn::new(&world.store, &mut batch);
    world.ledger.apply(executed, certificate.into(), &mut world.pool, tx, &Agreement).unwrap();
    world.store.commit(batch);
}

fn account_proof(world: &World, n: u8) -> LedgerProof {
    prove(&Account::key(&id(n)), None, Height(1), &world.store).unwrap()
}

#[test]
fn a_third_party_believes_a_row_by_the_genesis_alone() {
    let genesis = genesis_with(params());
    let mut world = World::of(&genesis, 50);
    world.send(4, Body::Stake { amount: Tokens(600_000) });
    for _ in 0..5 {
        decided(&mut world);
    }
    assert_ne!(*world.ledger.next_validators().as_ref(), genesis.seats().unwrap(), "other validators decide by now");
    let (chain, trusted) = (genesis.chain(), genesis.seats().unwrap().hash());
    let proof = account_proof(&world, 4);
    assert_eq!(proof.finalities.len(), 2, "the change of validators, and the last block");
    for proof in
        [LedgerProof::from_bytes(&proof.to_bytes()).unwrap(), LedgerProof::from_json(&proof.to_json()).unwrap()]
    {
        let proved = verify(&proof, chain, trusted, &Agreement).unwrap();
        assert_eq!(proved.row::<Account>(&id(4)).unwrap().unwrap(), Some(world.account(4)));
        assert_eq!(proved.header.height, Height(5));
        assert_eq!(proved.row::<Account>(&id(5)), None, "it is about another");
    }
    let absent = account_proof(&world, 99);
    assert_eq!(verify(&absent, chain, trusted, &Agreement).unwrap().row::<Account>(&id(99)), Some(Ok(None)));
    let later = prove(&Pool::key(&id(4)), None, Height(4), &world.store).unwrap();
    let now = world.ledger.next_validators().hash();
    assert_eq!(later.finalities.len(), 1, "who trusts the present validators needs no more");
    assert!(verify(&later, chain, now, &Agreement).unwrap().row::<Pool>(&id(4)).unwrap().unwrap().is_some());
}

#[test]
fn a_proof_that_was_touched_proves_nothing() {
    let genesis = genesis_with(params());
    let mut world = World::of(&genesis, 50);
    world.send(4, Body::Stake { amount: Tokens(600_000) });
    for _ in 0..5 {
        decided(&mut world);
    }
    let (chain, trusted) = (genesis.chain(), genesis.seats().unwrap().hash());
    let good = account_proof(&world, 4);
    let why = |change: &dyn Fn(&mut LedgerProof)| {
        let mut proof = good.clone();
        change(&mut proof);
        verify(&proof, chain, trusted, &Agreement).unwrap_err()
    };
    assert_eq!(why(&|proof| proof.value = None), Unproved::Path(Height(5)));
    assert_eq!(why(&|proof| proof.value.as_mut().unwrap()[0] ^= 1), Unproved::Path(Height(5)));
    assert_eq!(why(&|proof| proof.key[1] ^= 1), Unproved::Path(Height(5)));
    assert_eq!(why(&|proof| proof.finalities.clear()), Unproved::Nothing);
    assert_eq!(why(&|proof| drop(proof.finalities.remove(0))), Unproved::Strangers(Height(5)));
    assert_eq!(why(&|proof| proof.finalities[1].header.state_root = Hash([0; 32])), Unproved::NotDecided(Height(5)));
    assert_eq!(why(&|proof| proof.finalities[1].header.chain = ChainId::default()), Unproved::WrongChain(Height(5)));
    assert_eq!(why(&|proof| proof.finalities[1].header.height = Height(2)), Unproved::Order(Height(2)));
    assert_eq!(why(&|proof| proof.finalities[0].certificate = Bytes::new()), Unproved::NotDecided(Height(3)));
    let mut lone = Certificate::decode(&good.finalities[0].certificate).unwrap();
    lone.signatures.truncate(1);
    let lone = Bytes::from(lone.encode());
    assert_eq!(why(&|proof| proof.finalities[0].certificate = lone.clone()), Unproved::NotDecided(Height(3)));
    assert_eq!(verify(&good, ChainId::default(), trusted, &Agreement), Err(Unproved::WrongChain(Height(3))));
    assert_eq!(verify(&good, chain, Hash([1; 32]), &Agreement), Err(Unproved::Strangers(Height(3))));
}

#[test]
fn real_evidence_is_believed_and_forged_is_not() {
    let mut world = World::new();
    let (one, other) = (precommit(&world, 3, 1, Hash([1; 32])), precommit(&world, 3, 1, Hash([2; 32])));
    let accuse = |world: &mut World, evidence: &Evidence| {
        let bytes = Bytes::from(evidence.encode());
        world.commit(|ledger, pool, tx| ledger.accuse(bytes, pool, tx, &Agreement)).unwrap()
    };
    let forged = Signed { signature: other.signature, said: Vote { voter: id(2), ..other.said } };
    let framed = Signed { signature: one.signature, said: Vote { voter: id(2), ..one.said } };
    let forged = Evidence::of_votes(framed, forged).unwrap();
    assert_eq!(accuse(&mut world, &forged), Err(BadEvidence::NoGuilt));
    assert_eq!(accuse(&mut world, &Evidence::of_votes(one, other).unwrap()), Ok(true));
    decided(&mut world);
    assert_eq!(world.row::<Pool>(&id(3)).unwrap().standing, rows::Standing::Slashed);
}

#[test]
fn what_is_too_old_or_not_yet_cannot_be_proved() {
    let mut world = World::new();
    let key = Account::key(&id(4));
    assert_eq!(prove(&key, None, Height(1), &world.store), Err(NoProof::NoBlock));
    for _ in 0..12 {
        world.block();
    }
    let (oldest, newest) = (Height(7), Height(12));
    for have in [Height(1), Height(6), Height(13)] {
        assert_eq!(prove(&key, Some(have), Height(1), &world.store), Err(NoProof::Height { have, oldest, newest }));
    }
}

#[test]
fn a_store_does_not_keep_what_only_old_heights_needed() {
    let rows = |world: &World, table| {
        let (from, mut count) = (Key::new(table, &[]), 0);
        world.store.scan(&from, &from.after_prefix(), &mut |_, _| {
            count += 1;
            std::ops::ControlFlow::Continue(())
        });
        count
    };
    let mut world = World::new();
    let mut counts = BTreeMap::new();
    for height in 1..=60 {
        world.send(4, transfer(5, 1));
        world.block();
        counts.insert(
            height,
            [Table::LedgerPage, Table::LedgerBefore, Table::LedgerStale].map(|table| rows(&world, table)),
        );
    }
    let (then, now) = (counts[&30], counts[&60]);
    for (then, now) in then.into_iter().zip(now) {
        assert!(now <= then + 4, "{counts:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_height_that_is_kept_is_proved_as_it_was(
        blocks in prop::collection::vec(prop::collection::vec((1..=6u8, 4..=9u8, 1..50_000u64), 0..4), 1..14),
    ) {
        let mut world = World::new();
        let (chain, mut were) = (world.chain(), BTreeMap::new());
        for transfers in blocks {
            for (from, to, amount) in transfers {
                let sealed = world.order(from, world.next_nonce(from), vec![Transaction { fee: FEE, body: transfer(to, amount) }]);
                world.submit(&sealed).unwrap();
            }
            world.block();
            let accounts: Vec<_> = (1..=9).map(|n| world.row::<Account>(&id(n))).collect();
            were.insert(world.ledger.head().height, accounts);
        }
        let newest = world.ledger.head().height;
        for (height, accounts) in were.range(Height(newest.0.saturating_sub(5).max(1))..) {
            let trusted = world.ledger.validators(*height, &world.store).unwrap().unwrap().hash();
            for (n, account) in (1..=9).zip(accounts) {
                let proof = prove(&Account::key(&id(n)), Some(*height), *height, &world.store).unwrap();
                let proved = verify(&proof, chain, trusted, &Gullible).unwrap();
                prop_assert_eq!(&proved.row::<Account>(&id(n)).unwrap().unwrap(), account);
            }
        }
    }

    #[test]
    fn bytes_that_are_no_proof_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(proof) = LedgerProof::from_bytes(&bytes) {
            prop_assert_eq!(proof.to_bytes(), bytes);
        }
    }
}

#[test]
fn a_proof_without_headers_is_none() {
    let mut world = World::new();
    world.block();
    let mut proof = account_proof(&world, 4);
    proof.finalities.clear();
    assert_eq!(LedgerProof::from_bytes(&proof.to_bytes()), Err(NotProof::Finalities(0)));
    assert_eq!(LedgerProof::from_json("{}"), Err(NotProof::Form));
}

#[test]
fn a_third_party_believes_the_anchors_of_a_block_and_no_others() {
    let genesis = genesis_with(params());
    let mut world = World::of(&genesis, 50);
    let anchor = |n: u8| Anchor { collection: format!("c{n}"), clock_ms: START, root: Hash([n; 32]) };
    let maker = Maker { proposer: world.proposer(), round: 0, time_ms: START, anchors: vec![anchor(2), anchor(1)] };
    let executed = world.ledger.propose_by(maker, &world.pool, &world.store, &Gullible);
    let executed = executed.unwrap();
    assert_eq!(executed.block.anchors(), [anchor(1), anchor(2)]);
    let block = executed.id;
    let again = world.ledger.execute(&executed.block, &Mempool::default(), &world.store, &Gullible).unwrap();
    assert_eq!(again.id, block);
    world.apply(executed);
    world.block();
    let proof = prove_anchors(Height(1), Height(1), &world.store).unwrap().unwrap();
    let proof = AnchorProof::from_json(&proof.to_json()).unwrap();
    let (chain, trusted) = (genesis.chain(), genesis.seats().unwrap().hash());
    assert_eq!(verify_anchors(&proof, chain, trusted, &Gullible).unwrap().id(), block);
    assert_eq!(verify_anchors_at(&proof, block).unwrap().height, Height(1));
    assert_eq!(verify_anchors_at(&proof, BlockId::default()).err(), Some(Unproved::AnotherBlock(Height(1))));
    let strangers = verify_anchors(&proof, chain, Hash([1; 32]), &Gullible);
    assert_eq!(strangers.err(), Some(Unproved::Strangers(Height(1))));
    for anchors in [Vec::new(), vec![anchor(1)], vec![anchor(1), Anchor { root: Hash([9; 32]), ..anchor(2) }]] {
        let lie = AnchorProof { anchors, ..proof.clone() };
        assert_eq!(verify_anchors(&lie, chain, trusted, &Gullible).err(), Some(Unproved::Anchors(Height(1))));
    }
    assert_eq!(prove_anchors(Height(9), Height(1), &world.store), Ok(None));
}
