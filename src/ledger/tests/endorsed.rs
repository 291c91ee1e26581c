//! Endorsements: who is believed without a node, and who is not.

use proptest::prelude::*;

use super::proofs::decided;
use super::*;
use crate::ledger::query::finalities;
use crate::types::{Hash, NetworkId, limits};
use crate::wire::CollectionHead;
use crate::wire::ledger::{Endorsement, EndorsementAsk, Extent};

/// A chain whose validators are not those of genesis any more, after five blocks.
fn world() -> World {
    let mut world = World::of(&genesis_with(params()), 50);
    world.send(4, Body::Stake { amount: Tokens(600_000) });
    (0..5).for_each(|_| decided(&mut world));
    world
}

fn genesis_hash() -> Hash {
    genesis_with(params()).seats().unwrap().hash()
}

fn extent(chain: ChainId) -> Extent {
    let head = |name: &str, retained| CollectionHead { name: name.into(), retained, root: Hash([7; 32]) };
    let collections = vec![head("a", 3), head("b", 4)];
    Extent { chain, network: NetworkId(Hash([1; 32])), until: START, collections }
}

/// Signed by these, whoever they are.
fn endorsed(world: &World, signers: &[u8]) -> Endorsement {
    endorsed_until(START, world, signers)
}

fn endorsed_until(until: WallMs, world: &World, signers: &[u8]) -> Endorsement {
    let finalities = finalities(Height(1), Height(5), &world.store).unwrap();
    let extent = Extent { until, ..extent(world.chain()) };
    let mut endorsement = Endorsement { extent, finalities, signatures: Vec::new() };
    let asked: EndorsementAsk = endorsement.asked().unwrap();
    endorsement.signatures = signers.iter().map(|n| (id(*n), asked.sign(&key(*n)))).collect();
    endorsement.signatures.sort();
    endorsement
}

fn seated(world: &World) -> Vec<u8> {
    let finalities = finalities(Height(1), Height(5), &world.store).unwrap();
    (1..=6).filter(|n| finalities.last().unwrap().validators.index(id(*n)).is_some()).collect()
}

#[test]
fn two_thirds_of_proved_validators_are_believed_by_the_genesis_alone() {
    let world = world();
    let (chain, all) = (world.chain(), seated(&world));
    let whole = Endorsement::decode(&endorsed(&world, &all).encode().unwrap()).unwrap();
    assert_eq!(whole.finalities.len(), 2, "the change of validators, and the last block");
    let endorsers = verify_endorsement(&whole, chain, genesis_hash(), &Agreement).unwrap();
    assert_eq!((endorsers.header.height, endorsers.power), (Height(5), endorsers.total));
    let now = whole.finalities[1].header.validators;
    assert_ne!(now, genesis_hash());
    let later = verify_endorsement(&whole, chain, now, &Agreement).unwrap();
    assert_eq!(later, endorsers, "who trusts the present validators needs no header before");
}

#[test]
fn an_endorsement_of_a_time_long_before_its_block_says_nothing() {
    let world = world();
    let all = seated(&world);
    let block = endorsed(&world, &all).finalities.last().unwrap().header.time_ms;
    let hour = limits::ENDORSED_AGE;
    let check = |until| {
        let endorsement = endorsed_until(until, &world, &all);
        verify_endorsement(&endorsement, world.chain(), genesis_hash(), &Agreement).map(|_| ())
    };
    assert_eq!(check(block.minus(hour)), Ok(()));
    let stale = |until: WallMs| Err(NotEndorsed::Stale(std::time::Duration::from_millis(block.0 - until.0)));
    let before = WallMs(block.minus(hour).0 - 1);
    assert_eq!(check(before), stale(before));
    assert_eq!(check(WallMs(0)), stale(WallMs(0)), "of what was before all writes everyone has the same");
}

#[test]
fn an_endorsement_that_was_touched_is_none() {
    let world = world();
    let (chain, all) = (world.chain(), seated(&world));
    let good = endorsed(&world, &all);
    let why = |change: &dyn Fn(&mut Endorsement)| {
        let mut touched = good.clone();
        change(&mut touched);
        verify_endorsement(&touched, chain, genesis_hash(), &Agreement).unwrap_err()
    };
    let first = good.signatures[0].0;
    let other = ChainId(Hash([3; 32]));
    assert_eq!(why(&|touched| touched.extent.chain = other), NotEndorsed::WrongChain);
    assert_eq!(verify_endorsement(&good, other, genesis_hash(), &Agreement), Err(NotEndorsed::WrongChain));
    assert_eq!(verify_endorsement(&good, chain, Hash([3; 32]), &Agreement), Err(NotEndorsed::Trust));
    assert_eq!(why(&|touched| drop(touched.finalities.remove(0))), NotEndorsed::Trust);
    assert_eq!(why(&|touched| touched.finalities.clear()), NotEndorsed::Trust);
    let bad = NotEndorsed::BadSignature(first);
    assert_eq!(why(&|touched| touched.extent.until = WallMs(START.0 + 1)), bad);
    assert_eq!(why(&|touched| touched.extent.collections[0].retained += 1), bad);
    assert_eq!(why(&|touched| touched.extent.collections[1].root = Hash::ZERO), bad);
    assert_eq!(why(&|touched| touched.extent.network = NetworkId(Hash::ZERO)), bad);
    assert_eq!(why(&|touched| touched.signatures[0].1.0[0] ^= 1), bad);
    let twice = |touched: &mut Endorsement| touched.signatures.insert(0, touched.signatures[0]);
    assert_eq!(why(&twice), NotEndorsed::Stranger(first), "nobody counts twice");
    let asked = good.asked().unwrap();
    let strange = |touched: &mut Endorsement| {
        touched.signatures.push((id(99), asked.sign(&key(99))));
        touched.signatures.sort();
    };
    assert_eq!(why(&strange), NotEndorsed::Stranger(id(99)));
    // A header that nobody decided, and one that was: those who signed named another block.
    let forged = |touched: &mut Endorsement| touched.finalities[1].header.round += 1;
    assert!(matches!(why(&forged), NotEndorsed::Header(Unproved::NotDecided(Height(5)))));
    let before = finalities(Height(1), Height(4), &world.store).unwrap();
    assert_eq!(why(&|touched| touched.finalities = before.clone()), bad);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_takes_more_than_two_thirds_of_the_power(signs in prop::collection::vec(any::<bool>(), 6)) {
        let world = world();
        let all = seated(&world);
        let signers: Vec<u8> = all.iter().zip(&signs).filter(|(_, signs)| **signs).map(|(n, _)| *n).collect();
        let endorsement = endorsed(&world, &signers);
        let set = &endorsement.finalities.last().unwrap().validators;
        let power: u64 = signers.iter().map(|n| set.power(id(*n))).sum();
        let verified = verify_endorsement(&endorsement, world.chain(), genesis_hash(), &Agreement);
        let total = set.total();
        if 3 * power > 2 * total {
            prop_assert_eq!(verified.map(|endorsers| endorsers.power), Ok(power));
        } else {
            prop_assert_eq!(verified, Err(NotEndorsed::Power { power, total }));
        }
    }
}
