//! Bytes of the ledger that must never change, and what is refused as none.

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::types::chain::{BlockId, ChainId, Height, TransactionId, Validator, ValidatorSet};
use crate::types::{Hash, NodeId, Tokens, WallMs};
use crate::wire::kind::Blob;
use crate::wire::kind::economic::FeeType;
use crate::wire::kind::governance::{VoteChoice, VotingOutcome};

const CHAIN: ChainId = ChainId(Hash([9; 32]));

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn node(n: u8) -> NodeId {
    NodeId(key(n).verifying_key().to_bytes())
}

/// One of each.
fn bodies() -> Vec<Body> {
    let (to, amount, name) = (node(2), Tokens(1_000), || String::from("readings"));
    vec![
        Body::Transfer { to, amount, memo: Some("for the light".into()) },
        Body::Mint { to, amount },
        Body::Burn { amount },
        Body::Stake { amount },
        Body::Unstake { amount },
        Body::Delegate { validator: to, amount },
        Body::Undelegate { validator: to, amount },
        Body::SetCommission { permille: 50 },
        Body::Work { epoch: 3, solution: 70_000 },
        Body::PayGas { to, amount },
        Body::Store { name: name(), value: Blob(vec![1, 2, 3]), epochs: 4 },
        Body::PayRent { owner: to, name: name(), epochs: 5 },
        Body::Erase { name: name() },
        Body::OpenBilling { provider: to, service: "light".into(), amount, every: 6, payments: 7 },
        Body::CloseBilling { billing: 8 },
        Body::FundTreasury { amount },
        Body::Vote { proposal: 9, choice: VoteChoice::Veto },
    ]
}

fn actions() -> Vec<Action> {
    let (to, amount, digest) = (node(2), Tokens(1_000), Hash([5; 32]));
    vec![
        Action::Declare { statement: "so it is".into() },
        Action::ChangeFee { fee_type: FeeType::Gas, new_fee: amount },
        Action::AdoptPolicy { policy_id: "access".into(), version: 2, digest },
        Action::Spend { to, amount },
        Action::Mint { to, amount },
        Action::AdmitValidator { validator: to },
        Action::RemoveValidator { validator: to },
    ]
}

fn order() -> Order {
    let proposals =
        actions().into_iter().map(|action| Body::Propose { title: "a title".into(), action, deposit: Tokens(77) });
    let transactions = bodies().into_iter().chain(proposals).map(|body| Transaction { fee: Tokens(300), body });
    Order { chain: CHAIN, account: node(1), nonce: 12, transactions: transactions.collect() }
}

fn header() -> BlockHeader {
    let hash = |n| Hash([n; 32]);
    BlockHeader {
        chain: CHAIN,
        height: Height(258),
        round: 1,
        time_ms: WallMs(1_763_683_200_000),
        parent: BlockId(hash(1)),
        transactions_root: hash(2),
        state_root: hash(3),
        receipts_root: hash(4),
        validators: hash(5),
        next_validators: hash(6),
        evidence_root: hash(7),
        anchors_root: hash(8),
        proposer: node(1),
    }
}

fn block() -> Block {
    let sealed = order().seal(&key(1)).unwrap();
    Block::new(header(), vec![sealed.bytes().clone()], vec![Bytes::from_static(b"evidence")]).anchored(anchors())
}

fn anchors() -> Vec<Anchor> {
    let anchor = |collection: &str, n| Anchor {
        collection: collection.into(),
        clock_ms: WallMs(1_763_683_200_000),
        root: Hash([n; 32]),
    };
    vec![anchor("rates", 11), anchor("settings", 12)]
}

#[test]
fn anchors_are_few_named_in_order_and_under_the_header() {
    let good = block();
    assert_eq!(Block::decode(good.encode().into()), Ok(good.clone()));
    let many: Vec<Anchor> =
        (0..17).map(|n| Anchor { collection: format!("c{n:02}"), ..anchors()[0].clone() }).collect();
    assert_eq!(good.clone().anchored(many).anchors().len(), BLOCK_ANCHORS, "what is too much is left out");
    let end = good.encode().len() - anchors().iter().map(|one| one.encode().len() + 4).sum::<usize>() - 4;
    let with = |items: &[Bytes]| {
        let mut bytes = good.encode()[..end].to_vec();
        bytes.extend((items.len() as u32).to_le_bytes());
        for item in items {
            bytes.extend((item.len() as u32).to_le_bytes());
            bytes.extend_from_slice(item);
        }
        Block::decode(bytes.into())
    };
    let [one, other] = [0, 1].map(|n| anchors()[n].encode());
    assert_eq!(with(&[one.clone(), other.clone()]), Ok(good.clone()));
    assert_eq!(with(std::slice::from_ref(&one)), Err(NotBlock::Roots), "one is missing");
    let nameless = Anchor { collection: String::new(), ..anchors()[0].clone() }.encode();
    let long = Anchor { collection: "x".repeat(129), ..anchors()[0].clone() }.encode();
    let all = [vec![other.clone(), one.clone()], vec![one.clone(), one.clone()], vec![nameless], vec![long]];
    for items in all.into_iter().chain([vec![one.slice(1..)], vec![one; 17]]) {
        assert_eq!(with(&items), Err(NotBlock::Anchors), "{items:?}");
    }
}

fn records() -> Vec<Record> {
    let (one, other, amount, epoch) = (node(1), node(2), Tokens(1_000), 3);
    let receipt = |outcome| {
        let transaction = TransactionId(Hash([8; 32]));
        Record::Receipt(Receipt { transaction, account: one, nonce: 12, fee: Tokens(300), gas: 10, outcome })
    };
    let effects = [Effect::Done, Effect::Moved(amount), Effect::Proposal(4), Effect::Billing(5)];
    let failures = [
        Failure::InsufficientBalance { have: Tokens(1), need: Tokens(2) },
        Failure::Overflow,
        Failure::SupplyLimit,
        Failure::NotMinter,
        Failure::NotValidator(other),
        Failure::Excluded(other),
        Failure::OneselfDelegated,
        Failure::InsufficientStake { have: Tokens(1), need: Tokens(2) },
        Failure::TooSmall,
        Failure::StakeTooSmall(Tokens(3)),
        Failure::TooManyValidators(1024),
        Failure::TooManyMiners(1024),
        Failure::TooManyDelegations(16),
        Failure::NoMining,
        Failure::WrongEpoch(4),
        Failure::NotEnoughWork,
        Failure::SolutionUsed,
        Failure::UnknownRecord,
        Failure::TooFarAhead,
        Failure::OneselfBilled,
        Failure::UnknownBilling,
        Failure::NotParty,
        Failure::DepositTooSmall(Tokens(5)),
        Failure::TooManyProposals(64),
        Failure::UnknownProposal,
        Failure::VoteOver,
        Failure::NoVote,
        Failure::TreasuryTooSmall { have: Tokens(1), need: Tokens(2) },
        Failure::PolicyVersion,
    ];
    let tally = Tally { yes: Tokens(4), no: Tokens(3), abstain: Tokens(2), veto: Tokens(1) };
    let action = Action::Spend { to: other, amount };
    let failed = Some(Failure::Overflow);
    let events = [
        Event::Slashed { validator: one, height: Height(7), burned: amount },
        Event::ValidatorReward { validator: one, epoch, amount },
        Event::StakingReward { validator: one, epoch, amount },
        Event::MiningReward { miner: one, epoch, amount },
        Event::Released { account: one, validator: other, amount },
        Event::Billed { billing: 5, customer: one, provider: other, amount, left: 2 },
        Event::BillingLapsed { billing: 5, customer: one, provider: other, amount },
        Event::RecordExpired { owner: one, name: "readings".into() },
        Event::Decided { proposal: 4, outcome: VotingOutcome::Passed, tally, action, failed },
        Event::GasPrice { old: Tokens(10), new: Tokens(11) },
    ];
    let effects = effects.map(|effect| receipt(Outcome::Succeeded(effect)));
    let failures = failures.map(|failure| receipt(Outcome::Failed(failure)));
    effects.into_iter().chain(failures).chain(events.map(Record::Event)).collect()
}

fn proof() -> LedgerProof {
    let validators = ValidatorSet::new([Validator { id: node(1), power: 3 }, Validator { id: node(2), power: 4 }]);
    LedgerProof {
        finalities: vec![Finality {
            header: header(),
            validators: validators.unwrap(),
            certificate: Bytes::from_static(b"certificate"),
        }],
        key: vec![4, 1, 2, 3],
        value: Some(vec![5, 6]),
        path: StatePath { leaf: Some((Hash([1; 32]), Hash([2; 32]))), siblings: vec![Hash([3; 32])] },
    }
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Vectors {
    chain: String,
    secret_key: String,
    account: String,
    order: Order,
    sealed: String,
    ids: Vec<TransactionId>,
    header: String,
    block_id: BlockId,
    block: String,
    validators: String,
    validators_hash: Hash,
    records: Vec<(Record, String)>,
    proof: String,
}

#[test]
fn the_ledger_keeps_its_bytes() {
    let (sealed, proof) = (order().seal(&key(1)).unwrap(), proof());
    let validators = &proof.finalities[0].validators;
    let current = Vectors {
        chain: CHAIN.to_string(),
        secret_key: hex::encode(key(1).to_bytes()),
        account: node(1).to_string(),
        order: order(),
        sealed: hex::encode(sealed.bytes()),
        ids: sealed.ids().to_vec(),
        header: hex::encode(header().encode()),
        block_id: block().id(),
        block: hex::encode(block().encode()),
        validators: hex::encode(validators.to_bytes()),
        validators_hash: validators.hash(),
        records: records().into_iter().map(|record| (record.clone(), hex::encode(binary(&record)))).collect(),
        proof: hex::encode(proof.to_bytes()),
    };
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/ledger.json");
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(path, serde_json::to_string_pretty(&current).unwrap() + "\n").unwrap();
    }
    let golden: Vectors = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(current, golden);
    let bytes = |text: &str| hex::decode(text).unwrap();
    assert_eq!(Sealed::check(bytes(&golden.sealed).into(), CHAIN).unwrap().order(), &golden.order);
    assert_eq!(BlockHeader::decode(&bytes(&golden.header)), Ok(header()));
    assert_eq!(Block::decode(bytes(&golden.block).into()), Ok(block()));
    assert_eq!(LedgerProof::from_bytes(&bytes(&golden.proof)), Ok(proof.clone()));
    assert_eq!(LedgerProof::from_json(&proof.to_json()), Ok(proof));
    for (record, text) in golden.records {
        assert_eq!(exactly(&bytes(&text)), Some(record));
    }
}

#[test]
fn transactions_are_refused_for_what_is_wrong_with_them() {
    let (mint, to) = (|body| Transaction { fee: Tokens(1), body }, node(2));
    let order = |transactions| Order { chain: CHAIN, account: node(1), nonce: 0, transactions };
    let code = |order: Order| order.seal(&key(1)).unwrap_err().code();
    let one = |body| order(vec![mint(body)]);
    let pay = |amount, memo: Option<&str>| Body::Transfer { to, amount: Tokens(amount), memo: memo.map(String::from) };
    assert_eq!(code(order(vec![])), "count");
    assert_eq!(code(order(vec![mint(Body::Burn { amount: Tokens(1) }); 1025])), "count");
    let large = Body::Store { name: "a".into(), value: Blob(vec![0; 4096]), epochs: 1 };
    assert_eq!(code(order(vec![mint(large); 17])), "too_large");
    assert_eq!(code(Order { nonce: u64::MAX, ..one(pay(1, None)) }), "overflow");
    let dear = Transaction { fee: Tokens(u64::MAX), body: pay(1, None) };
    assert_eq!(code(order(vec![dear.clone(), dear])), "overflow");
    assert_eq!(code(Order { account: to, ..one(pay(1, None)) }), "bad_seal", "the key of another");
    let long = "x".repeat(129);
    let propose = |action| Body::Propose { title: "t".into(), action, deposit: Tokens(1) };
    let billing =
        |payments| Body::OpenBilling { provider: to, service: "s".into(), amount: Tokens(1), every: 1, payments };
    for body in [
        pay(0, None),
        pay(1, Some("")),
        pay(1, Some(&long)),
        pay(1, Some("a\nb")),
        Body::SetCommission { permille: 1001 },
        Body::Store { name: "a".into(), value: Blob(vec![0; 4097]), epochs: 1 },
        Body::Store { name: " ".into(), value: Blob(vec![]), epochs: 1 },
        Body::Store { name: "a".into(), value: Blob(vec![]), epochs: 0 },
        Body::PayRent { owner: to, name: "a".into(), epochs: EPOCHS + 1 },
        Body::Erase { name: long.clone() },
        billing(0),
        billing(1001),
        propose(Action::Declare { statement: "x".repeat(1025) }),
        propose(Action::ChangeFee { fee_type: FeeType::Byte, new_fee: Tokens(FEE + 1) }),
        propose(Action::AdoptPolicy { policy_id: "p".into(), version: 0, digest: Hash([1; 32]) }),
        propose(Action::Spend { to, amount: Tokens(0) }),
    ] {
        assert_eq!(code(one(body.clone())), "malformed", "{body:?}");
    }
}

#[test]
fn a_seal_covers_everything_that_is_said() {
    let sealed = order().seal(&key(1)).unwrap();
    let bytes = sealed.bytes().to_vec();
    assert_eq!(Sealed::check(bytes.clone().into(), ChainId::default()).unwrap_err(), NotSealed::WrongChain(CHAIN));
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] ^= 1;
        assert!(Sealed::check(other.into(), CHAIN).is_err(), "byte {at} is outside the seal");
    }
    // The number 12 in three bytes where one is enough.
    let at = 64;
    assert_eq!(bytes[at], 12);
    let longer = [&bytes[..at], &[0xfb, 12, 0], &bytes[at + 1..]].concat();
    assert_eq!(Sealed::check(longer.into(), CHAIN).unwrap_err(), NotSealed::Bytes);
    let ids: std::collections::BTreeSet<_> = sealed.ids().iter().collect();
    assert_eq!(ids.len(), sealed.count());
}

proptest! {
    #[test]
    fn any_bytes_are_what_they_say_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        if let Ok(header) = BlockHeader::decode(&bytes) {
            prop_assert_eq!(header.encode(), bytes.clone());
        }
        if let Ok(block) = Block::decode(bytes.clone().into()) {
            prop_assert_eq!(block.encode(), bytes.clone());
        }
        if let Some(record) = exactly::<Record>(&bytes) {
            prop_assert_eq!(binary(&record), bytes.clone());
        }
        prop_assert!(Sealed::check(bytes.into(), CHAIN).is_err());
    }

    #[test]
    fn a_header_is_read_as_it_was_written(height: u64, round: u32, time: u64, digests: [[u8; 32]; 3]) {
        let [parent, state_root, proposer] = digests;
        let header = BlockHeader {
            height: Height(height),
            round,
            time_ms: WallMs(time),
            parent: BlockId(Hash(parent)),
            state_root: Hash(state_root),
            proposer: NodeId(proposer),
            ..header()
        };
        prop_assert_eq!(header.encode().len(), BlockHeader::BYTES);
        prop_assert_eq!(BlockHeader::decode(&header.encode()), Ok(header));
    }
}
