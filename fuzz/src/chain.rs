//! A small chain that the targets about the ledger have in common.

use metanode::ledger::{
    Agreement, Genesis, GenesisAccount, GenesisValidator, Ledger, Mempool, NotExecuted, Params, Token,
};
use metanode::types::storage::{Batch, Txn};
use metanode::types::{MemoryStore, Tokens, WallMs};

use crate::{START_MS, author};

/// Two validators, of five accounts that have something; an epoch is two blocks.
pub fn genesis() -> Genesis {
    let mut params = Params { epoch_blocks: 2, minter: Some(author(1)), ..Params::default() };
    (params.voting.epochs, params.staking.unbonding_epochs) = (1, 2);
    let validator = |n| GenesisValidator { id: author(n), stake: Tokens(5_000_000), commission_permille: 100 };
    let account = |n| GenesisAccount { id: author(n), balance: Tokens(50_000_000) };
    let token = Token { symbol: "FZZ".into(), decimals: 6 };
    let (validators, accounts) = ((1..=2).map(validator).collect(), (1..=5).map(account).collect());
    let genesis = Genesis {
        name: "fuzz".into(),
        time_ms: WallMs(START_MS),
        treasury: Tokens(9),
        token,
        params,
        validators,
        accounts,
    };
    genesis.checked().expect("a good genesis")
}

/// The next block, of what waits in the pool.
pub fn decide(ledger: &mut Ledger, pool: &mut Mempool, store: &mut MemoryStore) {
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
