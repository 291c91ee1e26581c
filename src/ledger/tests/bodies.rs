//! Each way in which a transaction can fail, and what it does when it does not.

use super::*;
use crate::ledger::books::state_row;
use crate::ledger::execute::Execution;
use crate::ledger::rows::{
    Account, Billing, Closed, Delegation, Policy, Pool, Proposal, Record as Stored, Row, Seats, Standing,
};
use crate::ledger::state::Change;
use crate::types::Hash;
use crate::wire::kind::Blob;
use crate::wire::kind::economic::FeeType;
use crate::wire::kind::governance::{VoteChoice, VotingOutcome};
use crate::wire::ledger::{Action, binary};

/// Places of validators.
const CANDIDATES: u32 = 1024;

fn store(name: &str, size: usize, epochs: u32) -> Body {
    Body::Store { name: name.into(), value: Blob(vec![7; size]), epochs }
}

fn propose(action: Action) -> Body {
    Body::Propose { title: "a title".into(), action, deposit: Tokens(500) }
}

fn vote(proposal: u64, choice: VoteChoice) -> Body {
    Body::Vote { proposal, choice }
}

fn billing(provider: u8, amount: u64, payments: u32) -> Body {
    Body::OpenBilling { provider: id(provider), service: "light".into(), amount: Tokens(amount), every: 1, payments }
}

#[test]
fn a_transfer_moves_tokens_and_a_failing_one_costs_its_fee_alone() {
    let mut world = World::new();
    assert_eq!(world.works(4, transfer(5, 300_000)), Effect::Done);
    assert_eq!(world.account(5).balance, Tokens(1_300_000));
    assert_eq!(world.account(4).balance, Tokens(700_000 - FEE.0));

    let before = world.account(4);
    let have = before.balance.minus(FEE).unwrap();
    let failure = world.fails(4, transfer(9, 2_000_000));
    assert_eq!(failure, Failure::InsufficientBalance { have, need: Tokens(2_000_000) });
    assert_eq!(world.account(4), Account { balance: have, nonce: before.nonce + 1, ..before });
    assert_eq!(world.row::<Account>(&id(9)), None, "who was to be paid is not there");
    assert_eq!(
        world.fails(4, transfer(5, u64::MAX)),
        Failure::InsufficientBalance { have: Tokens(685_000), need: Tokens(u64::MAX) }
    );
}

#[test]
fn a_fee_is_burned_taxed_and_earned() {
    let mut world = World::new();
    let (before, proposer) = (world.totals(), world.proposer());
    let earned = world.row::<Account>(&proposer).unwrap().balance;
    world.send(4, transfer(5, 1));
    world.block();
    let after = world.totals();
    assert_eq!(before.supply.minus(after.supply), Ok(Tokens(1_000)));
    assert_eq!(after.treasury.minus(before.treasury), Ok(Tokens(1_500)));
    assert_eq!(world.row::<Account>(&proposer).unwrap().balance, earned.plus(Tokens(2_500)).unwrap());
}

#[test]
fn tokens_are_made_by_the_minter_alone_and_up_to_the_limit() {
    let mut world = World::new();
    let mint = |amount| Body::Mint { to: id(9), amount: Tokens(amount) };
    assert_eq!(world.fails(2, mint(1)), Failure::NotMinter);
    assert_eq!(world.works(1, mint(77)), Effect::Done);
    assert_eq!(world.account(9).balance, Tokens(77));
    assert_eq!(world.fails(1, mint(10_000_000_000)), Failure::SupplyLimit);
    assert_eq!(world.fails(1, mint(u64::MAX)), Failure::SupplyLimit);
    let supply = world.totals().supply;
    assert_eq!(world.works(4, Body::Burn { amount: Tokens(5) }), Effect::Done);
    assert_eq!(world.totals().supply, Tokens(supply.0 - 5 - FEE.permille(200).0));
}

#[test]
fn paid_gas_pays_fees_and_nothing_else() {
    let mut world = World::new();
    world.works(4, Body::PayGas { to: id(9), amount: Tokens(7_000) });
    assert_eq!(world.fails(9, transfer(4, 1)), Failure::InsufficientBalance { have: Tokens(0), need: Tokens(1) });
    assert_eq!((world.account(9).gas, world.account(9).balance), (Tokens(2_000), Tokens(0)));
}

#[test]
fn stake_is_bound_and_free_again_after_the_delay() {
    let mut world = World::new();
    let small = Body::Stake { amount: Tokens(999) };
    assert_eq!(world.fails(4, small), Failure::StakeTooSmall(Tokens(1_000)));
    let to = |n, amount| Body::Delegate { validator: id(n), amount: Tokens(amount) };
    assert_eq!(world.fails(4, to(5, 10)), Failure::NotValidator(id(5)));
    assert_eq!(world.works(4, Body::Stake { amount: Tokens(400_000) }), Effect::Moved(Tokens(400_000)));
    assert_eq!(world.fails(4, to(4, 10)), Failure::OneselfDelegated);
    assert_eq!(world.works(5, to(4, 1_000)), Effect::Moved(Tokens(1_000)));
    world.epoch();
    let Seats(seats) = world.row(&()).unwrap();
    assert!(seats.iter().any(|seat| seat.id == id(4)) && seats.len() == 3, "the fourth by stake has lost its seat");

    let worth = world.row::<Pool>(&id(4)).unwrap().tokens;
    let too_much = Body::Undelegate { validator: id(4), amount: worth };
    assert!(matches!(world.fails(5, too_much), Failure::InsufficientStake { need, .. } if need == worth));
    let Effect::Moved(moved) = world.works(5, Body::Undelegate { validator: id(4), amount: Tokens(600) }) else {
        panic!()
    };
    assert!(moved >= Tokens(600));
    let before = world.account(5).balance;
    let mut records = Vec::new();
    for _ in 0..4 {
        assert_eq!(world.account(5).balance, before);
        records = world.epoch();
    }
    assert_eq!(world.account(5).balance, before.plus(moved).unwrap());
    assert!(events(&records).contains(&&Event::Released { account: id(5), validator: id(4), amount: moved }));
}

#[test]
fn an_account_stakes_on_a_bounded_number_of_validators() {
    let mut world = World::new();
    for n in 10..=26 {
        world.works(1, transfer(n, 20_000));
        world.works(n, Body::Stake { amount: Tokens(1_000) });
        let last = world.run(6, Body::Delegate { validator: id(n), amount: Tokens(5) });
        match n {
            26 => assert_eq!(last, Outcome::Failed(Failure::TooManyDelegations(16))),
            _ => assert_eq!(last, Outcome::Succeeded(Effect::Moved(Tokens(5)))),
        }
    }
}

#[test]
fn evidence_costs_stake_and_seat_and_none_twice() {
    let mut world = World::new();
    world.works(4, Body::Delegate { validator: id(3), amount: Tokens(100_000) });
    world.works(4, Body::Undelegate { validator: id(3), amount: Tokens(50_000) });
    let (supply, accuse) = (world.totals().supply, |world: &mut World, n, height| {
        let piece = evidence(n, height);
        world.commit(|ledger, pool, tx| ledger.accuse(piece, pool, tx, &Gullible)).unwrap()
    });
    assert_eq!(accuse(&mut world, 5, 1), Err(BadEvidence::NoStake(id(5))));
    assert_eq!(accuse(&mut world, 3, 99), Err(BadEvidence::Age(Height(99))));
    assert_eq!(accuse(&mut world, 3, 0), Err(BadEvidence::Age(Height(0))));
    let nothing = world.commit(|ledger, pool, tx| ledger.accuse(Bytes::from_static(b"?"), pool, tx, &Gullible));
    assert_eq!(nothing.unwrap(), Err(BadEvidence::NoGuilt));
    assert_eq!(accuse(&mut world, 3, 2), Ok(true));
    let records = world.block();
    // A tenth of what is staked and of what was taken back since.
    let burned = Tokens(40_000);
    let slashed = Event::Slashed { validator: id(3), height: Height(2), burned };
    assert!(events(&records).contains(&&slashed), "{records:?}");
    let minted: u64 = world.totals().minted.0;
    assert_eq!(world.totals().supply.0, supply.0 - burned.0 + minted);
    assert_eq!(world.row::<Pool>(&id(3)).unwrap().standing, Standing::Slashed);
    assert!(world.ledger.next_validators().index(id(3)).is_none());
    assert_eq!(accuse(&mut world, 3, 2), Err(BadEvidence::Slashed(id(3))));
    assert_eq!(world.pool.evidence().count(), 0, "a block carried it");
    assert_eq!(world.fails(3, Body::Stake { amount: Tokens(5_000) }), Failure::Excluded(id(3)));
    let back = Body::Undelegate { validator: id(3), amount: Tokens(10_000) };
    assert!(matches!(world.works(4, back), Effect::Moved(_)), "what is left is its stakers'");
}

#[test]
fn records_are_kept_as_long_as_their_rent_is_paid() {
    let mut world = World::new();
    let treasury = world.totals().treasury;
    world.works(4, store("a", 99, 2));
    let rent = Tokens(3 * 100 * 2);
    let taxed = FEE.permille(300);
    assert_eq!(world.totals().treasury, treasury.plus(rent).unwrap().plus(taxed).unwrap());
    let more = |epochs| Body::PayRent { owner: id(4), name: "a".into(), epochs };
    assert_eq!(world.works(5, more(1)), Effect::Done, "anyone may pay");
    assert_eq!(world.fails(5, Body::PayRent { owner: id(5), name: "a".into(), epochs: 1 }), Failure::UnknownRecord);
    assert_eq!(world.fails(5, more(1 << 20)), Failure::TooFarAhead);
    assert_eq!(world.fails(5, Body::Erase { name: "a".into() }), Failure::UnknownRecord);
    let a = (id(4), "a".to_string());
    assert_eq!(world.row::<Stored>(&a).unwrap().paid_until, 2);
    let records = world.epoch();
    assert!(world.row::<Stored>(&a).is_some(), "{records:?}");
    let gone = Event::RecordExpired { owner: id(4), name: "a".into() };
    let mut records = Vec::new();
    while world.row::<Stored>(&a).is_some() {
        records = world.epoch();
    }
    assert_eq!(world.ledger.head().height, Height(9));
    assert!(events(&records).contains(&&gone));
    world.works(4, store("a", 1, 5));
    world.works(4, store("a", 2, 1));
    assert_eq!(world.row::<Stored>(&a).unwrap().value.0.len(), 2, "a second of that name replaces the first");
    world.works(4, Body::Erase { name: "a".into() });
    assert_eq!(world.row::<Stored>(&a), None);
}

#[test]
fn a_billing_is_paid_each_time_until_it_is_over() {
    let mut world = World::new();
    assert_eq!(world.fails(4, billing(4, 10, 3)), Failure::OneselfBilled);
    assert_eq!(world.works(4, billing(9, 1_000, 3)), Effect::Billing(0));
    assert_eq!(world.fails(5, Body::CloseBilling { billing: 0 }), Failure::NotParty);
    assert_eq!(world.fails(5, Body::CloseBilling { billing: 7 }), Failure::UnknownBilling);
    assert_eq!(world.account(9).balance, Tokens(1_000));
    let records = world.epoch();
    let (customer, provider, amount) = (id(4), id(9), Tokens(1_000));
    assert!(events(&records).contains(&&Event::Billed { billing: 0, customer, provider, amount, left: 1 }));
    world.epoch();
    assert_eq!(world.account(9).balance, Tokens(3_000));
    assert_eq!(world.row::<Billing>(&0), None);

    assert_eq!(world.works(5, billing(9, 500_000, 9)), Effect::Billing(1));
    assert_eq!(world.works(5, billing(9, 10, 9)), Effect::Billing(2));
    let mut records = Vec::new();
    while world.row::<Billing>(&1).is_some() {
        records = world.epoch();
    }
    let lapsed = Event::BillingLapsed { billing: 1, customer: id(5), provider, amount: Tokens(500_000) };
    assert!(events(&records).contains(&&lapsed), "{records:?}");
    assert!(world.row::<Billing>(&2).is_some());
    world.works(5, Body::CloseBilling { billing: 2 });
    assert_eq!(world.row::<Billing>(&2), None);
}

#[test]
fn work_is_paid_once_and_in_its_epoch() {
    let mut world = World::new();
    let seed = world.totals().work_seed;
    let shows = |seed: &Hash, solution: &u64| work_digest(seed, id(4), *solution).0[0] < 64;
    let good: Vec<u64> = (0..).filter(|solution| shows(&seed, solution)).take(2).collect();
    let bad = (0..).find(|solution| !shows(&seed, solution)).unwrap();
    let work = |epoch, solution| Body::Work { epoch, solution };
    for (n, body) in
        [(4, work(0, bad)), (4, work(0, good[1])), (4, work(0, good[1])), (4, work(0, good[0])), (4, work(1, good[1]))]
    {
        world.send(n, body);
    }
    let failed = |failure| Outcome::Failed(failure);
    let expected = [
        failed(Failure::NotEnoughWork),
        Outcome::Succeeded(Effect::Done),
        failed(Failure::SolutionUsed),
        failed(Failure::SolutionUsed),
        failed(Failure::WrongEpoch(0)),
    ];
    assert_eq!(outcomes(&world.block()), expected);
    let records = world.epoch();
    let amount = Tokens(100_003).permille(200);
    assert!(events(&records).contains(&&Event::MiningReward { miner: id(4), epoch: 0, amount }), "{records:?}");
    let mut quiet = World::with(Params {
        emission: Emission { mining_bits: 0, miners_permille: 0, ..params().emission },
        ..params()
    });
    assert_eq!(quiet.fails(4, work(0, 1)), Failure::NoMining);
}

#[test]
fn an_epoch_pays_who_made_blocks_and_who_staked() {
    let mut world = World::new();
    world.works(4, Body::Delegate { validator: id(1), amount: Tokens(100_000) });
    let before = world.totals();
    let records = world.epoch();
    let paid = events(&records).iter().filter(|event| matches!(event, Event::StakingReward { .. })).count();
    assert_eq!(paid, 3);
    let after = world.totals();
    // Nobody mined; thousandths that are nobody's are not made.
    assert!(after.minted.0 - before.minted.0 > 69_000 && after.minted.0 - before.minted.0 <= 70_003, "{after:?}");
    let (pool, own): (Pool, Delegation) = (world.row(&id(1)).unwrap(), world.row(&(id(4), id(1))).unwrap());
    assert_eq!(own.shares, 100_000);
    assert!(pool.tokens.0 > pool.shares, "each share is worth more");
    assert_eq!(world.works(1, Body::SetCommission { permille: 1000 }), Effect::Done);
    assert_eq!(world.fails(5, Body::SetCommission { permille: 1 }), Failure::NotValidator(id(5)));
    let tokens = world.row::<Pool>(&id(1)).unwrap().tokens;
    world.epoch();
    assert_eq!(world.row::<Pool>(&id(1)).unwrap().tokens, tokens, "it keeps all");
}

/// The outcome of a proposal that 1, 2 and 3 vote on so; they have 100, 200 and 300 thousand staked.
fn decided(world: &mut World, action: Action, choices: &[(u8, VoteChoice)]) -> (VotingOutcome, Proposal) {
    let Effect::Proposal(number) = world.works(4, propose(action)) else { panic!("no number") };
    for (n, choice) in choices {
        world.works(*n, vote(number, *choice));
    }
    while world.row::<Proposal>(&number).unwrap().outcome.is_none() {
        world.epoch();
    }
    let proposal: Proposal = world.row(&number).unwrap();
    (proposal.outcome.unwrap(), proposal)
}

#[test]
fn votes_are_weighted_by_stake_and_what_passes_is_done() {
    use VoteChoice::{Abstain, No, Veto, Yes};
    let mut world = World::new();
    let say = || Action::Declare { statement: "so it is".into() };
    let (spend, fee) = (Action::Spend { to: id(9), amount: Tokens(10_000) }, FeeType::Transaction);
    assert_eq!(decided(&mut world, spend, &[(3, Yes), (1, No), (2, No), (2, Yes)]).0, VotingOutcome::Passed);
    assert_eq!(world.account(9).balance, Tokens(10_000));
    assert_eq!(decided(&mut world, say(), &[(1, Yes), (3, No)]).0, VotingOutcome::Rejected);
    assert_eq!(decided(&mut world, say(), &[]).0, VotingOutcome::NoQuorum);
    assert_eq!(decided(&mut world, say(), &[(1, Yes)]).0, VotingOutcome::NoQuorum);
    assert_eq!(decided(&mut world, say(), &[(1, Yes), (2, Abstain)]).0, VotingOutcome::Passed);
    assert_eq!(decided(&mut world, say(), &[(3, Yes), (2, Veto)]).0, VotingOutcome::Vetoed);
    let dear = Action::ChangeFee { fee_type: fee, new_fee: Tokens(11) };
    assert_eq!(decided(&mut world, dear, &[(3, Yes), (2, Yes)]).0, VotingOutcome::Passed);
    assert_eq!(world.row::<Params>(&()).unwrap().fees.transaction, Tokens(11));
    let mint = Action::Mint { to: id(8), amount: Tokens(12) };
    assert_eq!(decided(&mut world, mint, &[(3, Yes), (2, Yes)]).0, VotingOutcome::Passed);
    assert_eq!(world.account(8).balance, Tokens(12));
    let adopt = |version| Action::AdoptPolicy { policy_id: "p".into(), version, digest: Hash([9; 32]) };
    assert_eq!(decided(&mut world, adopt(2), &[(3, Yes), (2, Yes)]).1.failed, None);
    assert_eq!(world.row::<Policy>(&"p".to_string()), Some(Policy { version: 2, digest: Hash([9; 32]) }));
    assert_eq!(decided(&mut world, adopt(1), &[(3, Yes), (2, Yes)]).1.failed, Some(Failure::PolicyVersion));
    let too_much = Action::Spend { to: id(9), amount: Tokens(1 << 50) };
    let failed = decided(&mut world, too_much, &[(3, Yes), (2, Yes)]).1.failed;
    assert!(matches!(failed, Some(Failure::TreasuryTooSmall { .. })), "{failed:?}");
    let too_much = Action::Mint { to: id(8), amount: Tokens(1 << 60) };
    assert_eq!(decided(&mut world, too_much, &[(3, Yes), (2, Yes)]).1.failed, Some(Failure::SupplyLimit));
}

#[test]
fn proposals_and_votes_are_refused_for_what_they_lack() {
    let mut world = World::new();
    let say = Action::Declare { statement: "so it is".into() };
    let poor = Body::Propose { title: "t".into(), action: say.clone(), deposit: Tokens(499) };
    assert_eq!(world.fails(4, poor), Failure::DepositTooSmall(Tokens(500)));
    assert_eq!(world.fails(1, vote(0, VoteChoice::Yes)), Failure::UnknownProposal);
    assert_eq!(world.works(4, propose(say.clone())), Effect::Proposal(0));
    assert_eq!(world.fails(5, vote(0, VoteChoice::Yes)), Failure::NoVote);
    while world.row::<Proposal>(&0).unwrap().outcome.is_none() {
        world.epoch();
    }
    assert_eq!(world.fails(1, vote(0, VoteChoice::Yes)), Failure::VoteOver);
    for _ in 0..64 {
        world.send(4, propose(say.clone()));
    }
    world.block();
    assert_eq!(world.fails(4, propose(say)), Failure::TooManyProposals(64));
}

#[test]
fn where_validators_are_admitted_by_vote_stake_alone_gives_no_seat() {
    let mut world = World::with(Params { staking: Staking { by_vote: true, ..params().staking }, ..params() });
    world.works(4, Body::Stake { amount: Tokens(500_000) });
    world.epoch();
    assert!(world.ledger.next_validators().index(id(4)).is_none());
    let yes = [(3, VoteChoice::Yes), (2, VoteChoice::Yes)];
    decided(&mut world, Action::AdmitValidator { validator: id(4) }, &yes);
    assert!(world.ledger.next_validators().index(id(4)).is_some());
    decided(&mut world, Action::RemoveValidator { validator: id(4) }, &[(4, VoteChoice::Yes), (3, VoteChoice::Yes)]);
    assert!(world.ledger.next_validators().index(id(4)).is_none());
    assert_eq!(world.fails(5, Body::Delegate { validator: id(4), amount: Tokens(9) }), Failure::Excluded(id(4)));
}

#[test]
fn the_price_of_gas_follows_the_use_of_blocks() {
    let fees = Fees { gas: Tokens(100), gas_target: 20, ..params().fees };
    let mut world = World::with(Params { fees, ..params() });
    let gas = |world: &World| world.row::<Params>(&()).unwrap().fees.gas;
    for _ in 0..4 {
        world.send(4, transfer(5, 1));
    }
    let records = world.block();
    assert_eq!(gas(&world), Tokens(112));
    assert!(events(&records).contains(&&Event::GasPrice { old: Tokens(100), new: Tokens(112) }));
    for _ in 0..100 {
        world.block();
    }
    assert_eq!(gas(&world), Tokens(1), "it falls, and not to nothing");
}

/// A node that nobody has the key of.
fn nobody(n: u64) -> NodeId {
    NodeId(crate::types::Domain::Trace.hash(&[&n.to_le_bytes()]).0)
}

/// All places of validators are taken: by 1 to 3, and by others with so much stake of account 6, and so much of their
/// own.
fn crowded(others: u64, own: u64) -> World {
    let mut world = World::new();
    let mut totals = world.totals();
    let mut batch = Batch::default();
    let mut put = |key: Vec<u8>, value: Vec<u8>| batch.put(state_row(&key), value);
    for n in 0..u64::from(CANDIDATES) - 3 {
        let pool = Pool { tokens: Tokens(others + own + n), shares: others + own + n, ..Pool::default() };
        put(Pool::key(&nobody(n)), binary(&pool));
        put(Delegation::key(&(id(6), nobody(n))), binary(&Delegation { shares: others + n }));
        if own > 0 {
            put(Delegation::key(&(nobody(n), nobody(n))), binary(&Delegation { shares: own }));
        }
        totals.pools += 1;
    }
    put(rows::Totals::key(&()), binary(&totals));
    world.store.commit(batch);
    world
}

fn execute(world: &World, orders: &[Sealed]) -> (Vec<Outcome>, MemoryStore) {
    let mut execution = Execution::begin(Height(1), BlockId::default(), id(1), &world.store).unwrap();
    orders.iter().for_each(|sealed| execution.group(sealed).unwrap());
    let done = execution.finish().unwrap();
    let (mut store, mut batch) = (world.store.clone(), Batch::default());
    for Change { key, after, .. } in done.state.into_changes() {
        match after {
            Some(value) => batch.put(state_row(&key), value),
            None => batch.delete(state_row(&key)),
        }
    }
    store.commit(batch);
    (outcomes(&done.records), store)
}

#[test]
fn places_of_validators_with_next_to_nothing_of_their_own_are_given_to_others() {
    let world = crowded(1, 0);
    let one = |n: u8, nonce, body| world.order(n, nonce, vec![Transaction { fee: FEE, body }]);
    let stake = Body::Stake { amount: Tokens(2_000) };
    let (ends, store) = execute(&world, &[one(4, 0, stake.clone()), one(5, 0, stake.clone())]);
    assert_eq!(ends, [2_000, 2_000].map(|amount| Outcome::Succeeded(Effect::Moved(Tokens(amount)))));
    let row = |store: &MemoryStore, n: u64| {
        (query::row::<Pool>(&nobody(n), store).unwrap(), query::row::<Closed>(&nobody(n), store).unwrap())
    };
    for gone in 0..2 {
        assert!(matches!(row(&store, gone), (None, Some(_))), "the smallest give way");
    }
    assert!(matches!(row(&store, 2), (Some(_), None)));
    let totals: rows::Totals = query::row(&(), &store).unwrap().unwrap();
    assert_eq!(totals.pools, CANDIDATES);
    // Who has stake in a closed pool takes it back, and with the last the pool is gone.
    let world = World { store, ..world };
    let back = |amount, validator| Body::Undelegate { validator, amount: Tokens(amount) };
    let order = |nonce, body| world.order(6, nonce, vec![Transaction { fee: FEE, body }]);
    let more = Body::Delegate { validator: nobody(1), amount: Tokens(10) };
    let (ends, store) = execute(&world, &[order(0, back(1, nobody(0))), order(1, back(1, nobody(1))), order(2, more)]);
    assert_eq!(ends[..2], [1, 1].map(|amount| Outcome::Succeeded(Effect::Moved(Tokens(amount)))));
    assert_eq!(ends[2], Outcome::Failed(Failure::NotValidator(nobody(1))));
    assert_eq!(row(&store, 0), (None, None));
    assert_eq!(row(&store, 1).1.map(|Closed(pool)| pool.tokens), Some(Tokens(1)));
}

#[test]
fn places_that_are_paid_for_are_kept() {
    let world = crowded(0, 1_000);
    let stake = Body::Stake { amount: Tokens(2_000) };
    let order = world.order(4, 0, vec![Transaction { fee: FEE, body: stake }]);
    let (ends, _) = execute(&world, &[order]);
    assert_eq!(ends, [Outcome::Failed(Failure::TooManyValidators(CANDIDATES))]);
}

#[test]
fn a_validator_keeps_the_least_or_nothing() {
    let mut world = World::new();
    world.works(4, Body::Stake { amount: Tokens(5_000) });
    let short = Failure::StakeTooSmall(Tokens(1_000));
    assert_eq!(world.fails(4, Body::Unstake { amount: Tokens(4_001) }), short);
    world.works(4, Body::Unstake { amount: Tokens(4_000) });
    assert_eq!(world.fails(4, Body::Unstake { amount: Tokens(999) }), short);
    world.works(4, Body::Unstake { amount: Tokens(1_000) });
    assert_eq!(world.row::<Pool>(&id(4)), None);
}
