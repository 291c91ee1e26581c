//! Blocks of real transactions, plausible and not: a ledger takes or refuses them, and never breaks.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use metanode::ledger::{
    Agreement, Genesis, GenesisAccount, GenesisValidator, Ledger, Mempool, NotExecuted, Params, Token,
};
use metanode::types::storage::{Batch, Txn};
use metanode::types::{Hash, MemoryStore, NodeId, Tokens, WallMs};
use metanode::wire::kind::Blob;
use metanode::wire::kind::economic::FeeType;
use metanode::wire::kind::governance::VoteChoice;
use metanode::wire::ledger::{Action, Body, Order, Transaction};
use metanode_fuzz::{START_MS, author, key};

/// One transaction of one of five accounts.
#[derive(Arbitrary, Debug)]
struct Step {
    who: u8,
    other: u8,
    sort: u8,
    amount: u64,
    small: u16,
    fee: u16,
    ahead: bool,
    block: bool,
}

fn body(step: &Step) -> Body {
    let (to, amount, number) = (author(1 + step.other % 5), Tokens(step.amount), u64::from(step.small));
    let (epochs, name) = (u32::from(step.small), format!("{}", step.other % 3));
    match step.sort % 24 {
        0 => Body::Transfer { to, amount, memo: None },
        1 => Body::Mint { to, amount },
        2 => Body::Burn { amount },
        3 => Body::Stake { amount },
        4 => Body::Unstake { amount },
        5 => Body::Delegate { validator: to, amount },
        6 => Body::Undelegate { validator: to, amount },
        7 => Body::SetCommission { permille: step.small },
        8 => Body::Work { epoch: number % 4, solution: step.amount },
        9 => Body::PayGas { to, amount },
        10 => Body::Store { name, value: Blob(vec![1; usize::from(step.small % 99)]), epochs },
        11 => Body::PayRent { owner: to, name, epochs },
        12 => Body::Erase { name },
        13 => Body::OpenBilling { provider: to, service: name, amount, every: 1 + epochs % 3, payments: epochs },
        14 => Body::CloseBilling { billing: number % 8 },
        15 => Body::FundTreasury { amount },
        16 | 17 => {
            let choices = [VoteChoice::Yes, VoteChoice::No, VoteChoice::Abstain, VoteChoice::Veto];
            Body::Vote { proposal: number % 8, choice: choices[usize::from(step.other % 4)] }
        }
        sort => {
            Body::Propose { title: "title".into(), action: action(sort, to, amount, epochs), deposit: Tokens(100_000) }
        }
    }
}

fn action(sort: u8, to: NodeId, amount: Tokens, version: u32) -> Action {
    match sort {
        18 => Action::Spend { to, amount },
        19 => Action::Mint { to, amount },
        20 => Action::AdmitValidator { validator: to },
        21 => Action::RemoveValidator { validator: to },
        22 => Action::ChangeFee { fee_type: FeeType::Gas, new_fee: Tokens(amount.0 % 100) },
        _ => Action::AdoptPolicy { policy_id: "p".into(), version, digest: Hash([1; 32]) },
    }
}

fn genesis() -> Genesis {
    let mut params = Params { epoch_blocks: 2, minter: Some(author(1)), ..Params::default() };
    (params.voting.epochs, params.staking.unbonding_epochs) = (1, 2);
    let validator = |n| GenesisValidator { id: author(n), stake: Tokens(5_000_000), commission_permille: 100 };
    let account = |n| GenesisAccount { id: author(n), balance: Tokens(50_000_000) };
    let token = Token { symbol: "FZZ".into(), decimals: 6 };
    let (validators, accounts) = ((1..=2).map(validator).collect(), (1..=5).map(account).collect());
    Genesis { name: "fuzz".into(), time_ms: WallMs(START_MS), treasury: Tokens(9), token, params, validators, accounts }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(steps) = Vec::<Step>::arbitrary(&mut Unstructured::new(bytes)) else { return };
    let (mut store, mut pool, mut batch) = (MemoryStore::default(), Mempool::default(), Batch::default());
    let genesis = genesis().checked().expect("a good genesis");
    let mut ledger = Ledger::open(&genesis, 3, &mut Txn::new(&store, &mut batch)).expect("it begins");
    store.commit(batch);
    for step in steps.iter().take(60) {
        let n = 1 + step.who % 5;
        let nonce = pool.next_nonce(author(n), next(&store, n)) + u64::from(step.ahead);
        let transactions = vec![Transaction { fee: Tokens(step.fee.into()), body: body(step) }];
        let order = Order { chain: ledger.head().chain, account: author(n), nonce, transactions };
        let mut batch = Batch::default();
        if let Ok(sealed) = order.seal(&key(n)) {
            let _ = ledger.submit_checked(sealed, &mut pool, &mut Txn::new(&store, &mut batch));
        }
        store.commit(batch);
        if step.block {
            decide(&mut ledger, &mut pool, &mut store);
        }
    }
    decide(&mut ledger, &mut pool, &mut store);
});

fn next(store: &MemoryStore, n: u8) -> u64 {
    let account = metanode::ledger::query::row::<metanode::ledger::rows::Account>(&author(n), store);
    account.expect("the store is whole").map_or(0, |account| account.nonce)
}

fn decide(ledger: &mut Ledger, pool: &mut Mempool, store: &mut MemoryStore) {
    let proposer = ledger.next_validators().iter().next().expect("there is one").id;
    let proposed = ledger.propose(pool, store, 0, WallMs(START_MS), proposer, &Agreement).expect("books balance");
    match ledger.execute(&proposed.block, &Mempool::default(), store, &Agreement) {
        Ok(executed) => assert_eq!(executed.state_root, proposed.state_root),
        Err(NotExecuted::Refused(why)) => panic!("its own block: {why}"),
        Err(NotExecuted::Fault(fault)) => panic!("{fault}"),
    }
    let mut batch = Batch::default();
    ledger.apply(proposed, Default::default(), pool, &mut Txn::new(store, &mut batch), &Agreement).expect("it follows");
    store.commit(batch);
}
