//! What waits for a block: who gets in, who gives way, what survives.

use proptest::prelude::*;

use super::*;
use crate::ledger::{ACCOUNT_SEALS, GAP_BLOCKS, NONCES_AHEAD};

fn paying(world: &World, n: u8, nonce: u64, fee: u64) -> Sealed {
    world.order(n, nonce, vec![Transaction { fee: Tokens(fee), body: transfer(5, 1) }])
}

fn refusal(world: &mut World, sealed: &Sealed) -> &'static str {
    world.submit(sealed).unwrap_err().code()
}

#[test]
fn what_cannot_be_in_a_block_does_not_wait_for_one() {
    let mut world = World::new();
    world.works(4, transfer(5, 1));
    let mut forged = paying(&world, 4, 1, 5_000).bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let forged = Bytes::from(forged);
    let seal = world.commit(|ledger, pool, tx| ledger.submit(forged, pool, tx)).unwrap_err();
    assert_eq!(seal.code(), "bad_seal");
    let large = Bytes::from(vec![0; 70_000]);
    let seal = world.commit(|ledger, pool, tx| ledger.submit(large, pool, tx)).unwrap_err();
    assert_eq!(seal.code(), "too_large");
    for (code, sealed) in [
        ("nonce", paying(&world, 4, 0, 5_000)),
        ("too_far_ahead", paying(&world, 4, 2 + NONCES_AHEAD, 5_000)),
        ("unknown_account", paying(&world, 77, 0, 5_000)),
        ("fee_too_low", paying(&world, 4, 1, 7)),
        ("cannot_pay", paying(&world, 4, 1, 5_000_000)),
    ] {
        assert_eq!(refusal(&mut world, &sealed), code);
    }
    let good = paying(&world, 4, 1, 5_000);
    world.submit(&good).unwrap();
    assert!(world.pool.holds(&good.ids()[0]));
    assert_eq!(refusal(&mut world, &good), "known");
}

#[test]
fn what_is_ahead_of_a_gap_waits_for_it() {
    let mut world = World::new();
    world.submit(&paying(&world, 4, 1, 9_000)).unwrap();
    world.submit(&paying(&world, 4, 3, 9_000)).unwrap();
    assert_eq!(outcomes(&world.block()).len(), 0);
    world.submit(&paying(&world, 4, 0, 5_000)).unwrap();
    assert_eq!(world.pool.next_nonce(id(4), 0), 2);
    assert_eq!(outcomes(&world.block()).len(), 2);
    assert_eq!((world.account(4).nonce, world.pool.size().0), (2, 1));
    world.submit(&paying(&world, 4, 2, 5_000)).unwrap();
    assert_eq!(outcomes(&world.block()).len(), 2);
    assert_eq!(world.pool.size(), (0, 0, 0));
}

#[test]
fn the_dearer_take_the_place_of_the_cheaper() {
    let mut world = World::new();
    let (cheap, dear) = (paying(&world, 4, 0, 5_000), paying(&world, 4, 0, 6_000));
    world.submit(&cheap).unwrap();
    let NotTaken::Pool(NotPooled::Underpriced { need }) = world.submit(&paying(&world, 4, 0, 5_400)).unwrap_err()
    else {
        panic!("taken for less than a tenth more")
    };
    assert!(need > Tokens(5_499) && need < Tokens(5_510), "{need}");
    world.submit(&paying(&world, 4, 0, need.0)).unwrap();
    world.submit(&dear.clone()).unwrap_err();
    let dearest = paying(&world, 4, 0, 7_000);
    world.submit(&dearest).unwrap();
    assert_eq!(world.pool.size().0, 1);
    let records = world.block();
    assert_eq!(receipts(&records).next().unwrap().fee, Tokens(7_000));
}

#[test]
fn blocks_take_the_dearest_first_and_each_account_in_its_order() {
    let mut world = World::new();
    for (n, nonce, fee) in [(4, 0, 1_000), (4, 1, 9_000), (5, 0, 5_000), (6, 0, 2_000), (6, 1, 3_000)] {
        world.submit(&paying(&world, n, nonce, fee)).unwrap();
    }
    let records = world.block();
    let order: Vec<_> = receipts(&records).map(|receipt| (receipt.account, receipt.fee.0)).collect();
    let expected = [(5, 5_000), (6, 2_000), (6, 3_000), (4, 1_000), (4, 9_000)];
    assert_eq!(order, expected.map(|(n, fee)| (id(n), fee)));
}

#[test]
fn one_account_cannot_flood_the_pool() {
    let mut world = World::new();
    for nonce in 0..ACCOUNT_SEALS as u64 {
        world.submit(&paying(&world, 4, nonce, 5_000)).unwrap();
    }
    let one_more = paying(&world, 4, ACCOUNT_SEALS as u64, 500_000);
    assert_eq!(refusal(&mut world, &one_more), "account_full");
    let dearer = paying(&world, 4, 3, 6_000);
    world.submit(&dearer).unwrap();
    world.submit(&paying(&world, 6, 0, 5_000)).unwrap();
}

#[test]
fn a_full_pool_takes_the_dearer_and_lets_go_the_ends_that_pay_least() {
    let mut world = World::new();
    let size = paying(&world, 4, 0, 5_000).bytes().len();
    world.pool = Mempool::with_bytes(size * 4);
    for (n, nonce, fee) in [(4, 0, 5_000), (4, 1, 5_000), (5, 0, 7_000), (6, 0, 9_000)] {
        world.submit(&paying(&world, n, nonce, fee)).unwrap();
    }
    let cheap = paying(&world, 1, 0, 5_000);
    assert_eq!(refusal(&mut world, &cheap), "pool_full");
    world.submit(&paying(&world, 1, 0, 6_000)).unwrap();
    assert_eq!(world.pool.of(id(4)).map(Sealed::nonce).collect::<Vec<_>>(), [0]);
    let own = paying(&world, 4, 1, 5_500);
    assert_eq!(refusal(&mut world, &own), "pool_full", "nobody pushes out its own beginning");
    world.submit(&paying(&world, 2, 0, 8_000)).unwrap();
    assert_eq!(world.pool.of(id(4)).count(), 0);
    assert_eq!(world.pool.size(), (4, 4, size * 4));
}

#[test]
fn what_can_no_longer_be_paid_for_does_not_stand_in_the_way() {
    let mut world = World::new();
    world.submit(&paying(&world, 4, 1, 500_000)).unwrap();
    let all = vec![Transaction { fee: FEE, body: transfer(5, 900_000) }];
    world.submit(&world.order(4, 0, all)).unwrap();
    let records = world.block();
    assert_eq!(outcomes(&records).len(), 1, "the second cannot be paid for any more");
    assert_eq!(world.pool.size(), (0, 0, 0));
    assert_eq!(world.ledger.load_pool(&world.store).unwrap().size(), (0, 0, 0));
}

#[test]
fn what_waits_survives_a_restart() {
    let mut world = World::new();
    for (n, nonce, fee) in [(4, 0, 5_000), (4, 1, 6_000), (4, 3, 6_000), (5, 0, 5_000)] {
        world.submit(&paying(&world, n, nonce, fee)).unwrap();
    }
    let piece = evidence(2, 1);
    world.commit(|ledger, pool, tx| ledger.accuse(piece, pool, tx, &Gullible)).unwrap().unwrap();
    let before = world.propose();
    world.pool = world.ledger.load_pool(&world.store).unwrap();
    assert_eq!(world.propose().id, before.id);
    world.block();
    world.pool = world.ledger.load_pool(&world.store).unwrap();
    assert_eq!(world.pool.of(id(4)).map(Sealed::nonce).collect::<Vec<_>>(), [3]);
    assert_eq!((world.pool.size().0, world.pool.evidence().count()), (1, 0));
}

#[test]
fn a_block_is_not_larger_than_one_may_be() {
    let mut world = World::new();
    for n in 1..=6 {
        for nonce in 0..ACCOUNT_SEALS as u64 {
            let store =
                Body::Store { name: format!("{nonce}"), value: crate::wire::kind::Blob(vec![1; 3_900]), epochs: 1 };
            let sealed = world.order(n, nonce, vec![Transaction { fee: Tokens(6_000), body: store }]);
            world.submit(&sealed).unwrap();
        }
    }
    let executed = world.propose();
    let bytes = executed.block.encode().len();
    assert!(bytes <= 1 << 20 && bytes > 900_000, "{bytes}");
    assert!(world.ledger.execute(&executed.block, &world.pool, &world.store, &Gullible).is_ok());
}

#[test]
fn what_no_block_has_room_for_does_not_wait_for_one() {
    let genesis = genesis_with(Params {
        fees: Fees { transaction: Tokens(0), byte: Tokens(0), gas: Tokens(0), ..params().fees },
        ..params()
    });
    let mut world = World::of(&genesis, 5);
    let body =
        Body::OpenBilling { provider: id(5), service: "light".into(), amount: Tokens(1), every: 1, payments: 1000 };
    let sealed = world.order(4, 0, vec![Transaction { fee: Tokens(1), body }; 40]);
    assert!(sealed.gas() > crate::wire::ledger::BLOCK_GAS);
    assert_eq!(refusal(&mut world, &sealed), "gas");
}

#[test]
fn an_account_can_pay_for_all_it_has_waiting() {
    let mut world = World::new();
    world.submit(&paying(&world, 4, 0, 600_000)).unwrap();
    let sealed = paying(&world, 4, 1, 400_001);
    assert_eq!(refusal(&mut world, &sealed), "cannot_pay");
    let sealed = paying(&world, 4, 7, 400_001);
    assert_eq!(refusal(&mut world, &sealed), "cannot_pay");
    world.submit(&paying(&world, 4, 0, 700_000)).unwrap();
    let sealed = paying(&world, 4, 1, 400_000);
    assert_eq!(refusal(&mut world, &sealed), "cannot_pay", "the dearer took the place");
    world.submit(&paying(&world, 4, 1, 300_000)).unwrap();
}

#[test]
fn what_is_behind_a_gap_gives_way_to_what_is_next_and_takes_nobodys_place() {
    let mut world = World::new();
    let size = paying(&world, 4, 0, 5_000).bytes().len();
    world.pool = Mempool::with_bytes(size * 3);
    for (n, nonce, fee) in [(4, 1, 90_000), (5, 0, 3_000), (6, 0, 4_000)] {
        world.submit(&paying(&world, n, nonce, fee)).unwrap();
    }
    let sealed = paying(&world, 1, 5, 80_000);
    assert_eq!(refusal(&mut world, &sealed), "pool_full", "it would never be its turn");
    world.submit(&paying(&world, 1, 0, 2_000)).unwrap();
    assert_eq!(world.pool.of(id(4)).count(), 0, "whatever it pays");
    let sealed = paying(&world, 2, 0, 2_000);
    assert_eq!(refusal(&mut world, &sealed), "pool_full");
    let sealed = paying(&world, 2, 3, 90_000);
    assert_eq!(refusal(&mut world, &sealed), "pool_full");
    // The cheapest of all is the sender's own: that of others gives way.
    world.submit(&paying(&world, 1, 1, 3_500)).unwrap();
    assert_eq!((world.pool.of(id(1)).count(), world.pool.of(id(5)).count()), (2, 0));
}

#[test]
fn what_waits_for_a_nonce_that_does_not_come_is_let_go_after_some_blocks() {
    let mut world = World::new();
    for (nonce, fee) in [(0, 5_000), (2, 5_000), (5, 5_000)] {
        world.submit(&paying(&world, 4, nonce, fee)).unwrap();
    }
    assert!(world.pool.has_ready());
    world.block();
    assert!(!world.pool.has_ready(), "nothing could be in a block");
    for _ in 2..GAP_BLOCKS {
        world.block();
    }
    assert_eq!(world.pool.of(id(4)).count(), 2);
    // One nonce comes, and another is missing: that is another wait.
    world.submit(&paying(&world, 4, 1, 5_000)).unwrap();
    world.block();
    assert_eq!((world.account(4).nonce, world.pool.of(id(4)).count()), (3, 1));
    for _ in 2..GAP_BLOCKS {
        world.block();
    }
    assert_eq!(world.pool.of(id(4)).count(), 1);
    world.block();
    assert_eq!(world.pool.size(), (0, 0, 0));
    assert_eq!(world.ledger.load_pool(&world.store).unwrap().size(), (0, 0, 0));
}

#[test]
fn what_has_waited_longest_is_known_whatever_it_pays() {
    let mut world = World::new();
    for (n, nonce, fee) in [(4, 1, 5_000), (5, 0, 5_000), (6, 0, 9_000), (1, 0, 7_000), (5, 1, 5_000)] {
        world.submit(&paying(&world, n, nonce, fee)).unwrap();
    }
    let longest = |most| world.pool.longest_ready(most).map(Sealed::account).collect::<Vec<_>>();
    assert_eq!(longest(2), [id(5), id(6)]);
    assert_eq!(longest(9), [id(5), id(6), id(1)]);
}

/// What a pool must always be, whatever happened to it.
fn sound(world: &World, most: usize) {
    let (seals, transactions, bytes) = world.pool.size();
    assert!(bytes <= most);
    let mut counted = (0, 0, 0);
    for n in 1..=6 {
        let mut end = 0;
        for sealed in world.pool.of(id(n)) {
            assert!(sealed.nonce() >= end && sealed.nonce() >= world.account(n).nonce, "they overlap, or are past");
            end = sealed.next_nonce();
            counted = (counted.0 + 1, counted.1 + sealed.count(), counted.2 + sealed.bytes().len());
        }
    }
    assert_eq!((seals, transactions, bytes), counted);
    let loaded = world.ledger.load_pool(&world.store).unwrap();
    assert_eq!(loaded.size(), world.pool.size(), "the rows are another pool");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_pool_is_sound_whatever_comes(
        steps in prop::collection::vec((1..=6u8, 0..6u64, 300..9_000u64, 1..4usize, prop::bool::weighted(0.1)), 1..60),
    ) {
        let mut world = World::new();
        let most = 2_000;
        world.pool = Mempool::with_bytes(most);
        for (n, ahead, fee, count, block) in steps {
            let nonce = world.account(n).nonce + ahead;
            let transactions = vec![Transaction { fee: Tokens(fee), body: transfer(5, 1) }; count];
            let _ = world.submit(&world.order(n, nonce, transactions));
            sound(&world, most);
            if block {
                world.block();
                sound(&world, most);
            }
        }
    }
}
