//! How chains begin, and how files that cannot begin one are refused.

use super::*;
use crate::ledger::GenesisError;

#[test]
fn a_genesis_is_written_and_read_again() {
    let genesis = genesis_with(Params { minter: None, ..params() });
    let toml = genesis.to_toml().unwrap();
    assert_eq!(Genesis::from_text(&toml).unwrap(), genesis, "{toml}");
    let json = serde_json::to_string(&genesis).unwrap();
    assert_eq!(Genesis::from_text(&json).unwrap(), genesis);
}

#[test]
fn the_chain_is_what_the_file_says_whatever_its_order() {
    let genesis = genesis_with(params());
    let mut turned = genesis.clone();
    turned.accounts.reverse();
    turned.validators.reverse();
    assert_eq!(turned.checked().unwrap().chain(), genesis.chain());
    let mut richer = genesis.clone();
    richer.accounts[0].balance = Tokens(1_000_001);
    assert_ne!(richer.chain(), genesis.chain());
}

#[test]
fn two_nodes_with_different_genesis_refuse_each_other() {
    let ours = World::new();
    let mut theirs = World::with(Params { epoch_blocks: 4, ..params() });
    let sealed = ours.order(4, 0, vec![Transaction { fee: FEE, body: transfer(5, 1) }]);
    assert_eq!(theirs.submit(&sealed).unwrap_err().code(), "wrong_chain");
    let block = ours.propose().block;
    let refused = theirs.ledger.execute(&block, &Mempool::default(), &theirs.store, &Gullible);
    assert!(matches!(refused, Err(NotExecuted::Refused(BlockRefusal::WrongChain(chain))) if chain == ours.chain()));
    let mut batch = Batch::default();
    let opened = Ledger::open(&genesis_with(params()), 5, &mut Txn::new(&theirs.store, &mut batch));
    let (stored, ours) = (theirs.chain(), ours.chain());
    assert_eq!(opened.unwrap_err(), crate::ledger::OpenError::AnotherChain { stored, ours });
}

#[test]
fn a_genesis_that_cannot_begin_a_chain_says_everything_that_is_wrong() {
    let mut genesis = genesis_with(params());
    genesis.name = "Bad Name".into();
    genesis.token.symbol = "tst".into();
    genesis.token.decimals = 19;
    genesis.validators.push(genesis.validators[0].clone());
    genesis.validators[1].stake = Tokens(5);
    genesis.accounts.push(genesis.accounts[0].clone());
    genesis.params.voting.epochs = 3;
    genesis.params.epoch_blocks = 0;
    genesis.params.fees.burned_permille = 800;
    let GenesisError::Faults(faults) = genesis.checked().unwrap_err() else { panic!("no list") };
    let text = faults.join("\n");
    for word in [
        "name:",
        "token.symbol",
        "token.decimals",
        "named twice",
        "staking.least",
        "accounts:",
        "the same stake could vote twice",
        "epoch_blocks",
        "together at most 1000",
        "validators: 4",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn tokens_that_do_not_add_up_begin_no_chain() {
    for (balance, word) in [(u64::MAX, "64 bits"), (10_000_000_000, "supply_limit")] {
        let mut genesis = genesis_with(params());
        genesis.accounts[0].balance = Tokens(balance);
        let error = genesis.checked().unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    let mut genesis = genesis_with(params());
    genesis.validators.clear();
    assert!(genesis.checked().unwrap_err().to_string().contains("at least one"));
}

#[test]
fn a_file_that_is_no_genesis_says_where() {
    let toml = genesis_with(params()).to_toml().unwrap();
    let spelled = toml.replace("epoch_blocks", "epoch_block");
    let error = Genesis::from_text(&spelled).unwrap_err().to_string();
    assert!(error.contains("epoch_block") && error.contains("line"), "{error}");
    let error = Genesis::from_text("{\"name\": 3}").unwrap_err().to_string();
    assert!(error.contains("line 1"), "{error}");
    assert!(Genesis::from_text("").is_err());
}

#[test]
fn the_rules_that_come_along_are_good() {
    assert_eq!(Params::default().faults(), Vec::<String>::new());
}

/// A chain begun by this file has this id and this state everywhere, for ever.
#[test]
fn a_genesis_keeps_its_chain_and_its_state() {
    let path = |name: &str| format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    let world = World::of(&genesis_with(params()), 5);
    let current = serde_json::json!({
        "genesis": hex::encode(crate::wire::ledger::binary(&genesis_with(params()))),
        "chain": world.chain(),
        "state_root": world.ledger.head().state_root,
        "validators": world.ledger.next_validators().hash(),
    });
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(path("genesis.toml"), genesis_with(params()).to_toml().unwrap()).unwrap();
        std::fs::write(path("genesis.json"), serde_json::to_string_pretty(&current).unwrap() + "\n").unwrap();
    }
    let golden: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path("genesis.json")).unwrap()).unwrap();
    assert_eq!(current, golden);
    let read = Genesis::from_text(&std::fs::read_to_string(path("genesis.toml")).unwrap()).unwrap();
    assert_eq!(read.chain(), world.chain());
}
