//! Blocks of real transactions, plausible and not: a ledger takes or refuses them, and never breaks.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use metanode::ledger::{Ledger, Mempool};
use metanode::types::storage::{Batch, Txn};
use metanode::types::{Hash, MemoryStore, NodeId, Tokens};
use metanode::wire::kind::Blob;
use metanode::wire::kind::economic::FeeType;
use metanode::wire::kind::governance::VoteChoice;
use metanode::wire::ledger::{Action, Body, Order, Transaction};
use metanode_fuzz::chain::{decide, genesis};
use metanode_fuzz::{author, key};

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

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(steps) = Vec::<Step>::arbitrary(&mut Unstructured::new(bytes)) else { return };
    let (mut store, mut pool, mut batch) = (MemoryStore::default(), Mempool::default(), Batch::default());
    let genesis = genesis();
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
