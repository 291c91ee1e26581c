//! `metanode ledger` as a process of its own: a genesis file, and a proof that a third party checks with it.

use std::path::Path;
use std::process::{Command, Output};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use metanode::ledger::rows::{Account, Row};
use metanode::ledger::{Agreement, Genesis, Ledger, Mempool, query};
use metanode::types::chain::Height;
use metanode::types::storage::{Batch, Txn};
use metanode::types::{MemoryStore, NodeId, Tokens, WallMs};
use metanode::wire::agreement::{Certificate, Step, Vote};
use metanode::wire::ledger::{Body, LedgerProof, Order, Transaction};
use serde_json::Value;

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn id(n: u8) -> NodeId {
    NodeId(key(n).verifying_key().to_bytes())
}

fn ledger(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_metanode")).arg("ledger").args(args).output().unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The proof of account 2 after one block of a chain whose only validator is 1: it paid account 3.
fn proof(genesis: &Genesis) -> LedgerProof {
    let (mut store, mut batch, mut pool) = (MemoryStore::default(), Batch::default(), Mempool::default());
    let mut ledger = Ledger::open(genesis, 10, &mut Txn::new(&store, &mut batch)).unwrap();
    store.commit(batch);
    let (chain, mut batch) = (ledger.head().chain, Batch::default());
    let pay = Transaction { fee: Tokens(1_000), body: Body::Transfer { to: id(3), amount: Tokens(250), memo: None } };
    let sealed = Order { chain, account: id(2), nonce: 0, transactions: vec![pay] }.seal(&key(2)).unwrap();
    let tx = &mut Txn::new(&store, &mut batch);
    ledger.submit(sealed.bytes().clone(), &mut pool, tx).unwrap();
    let block = ledger.propose(&pool, &*tx, 0, WallMs(0), id(1), &Agreement).unwrap();
    let vote = Vote { step: Step::Precommit, height: Height(1), round: 0, value: Some(block.id), voter: id(1) };
    let signatures = vec![(id(1), vote.sign(chain, &key(1)).signature)];
    let certificate = Certificate { height: Height(1), round: 0, value: block.id, signatures }.encode();
    ledger.apply(block, Bytes::from(certificate), &mut pool, tx, &Agreement).unwrap();
    store.commit(batch);
    query::prove(&Account::key(&id(2)), None, Height(1), &store).unwrap()
}

fn written(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

#[test]
fn a_third_party_checks_a_balance_with_the_genesis_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("genesis.toml").display().to_string();
    let (validator, account) = (format!("{}=5000000", id(1)), format!("{}=1000000", id(2)));
    let new = ["genesis", "new", "--name", "main", "--validator", &validator, "--account", &account, "--out", &file];
    let made = json(&ledger(&[&new[..], &["--json"]].concat()));
    assert_eq!(json(&ledger(&["genesis", "check", &file, "--json"]))["chain"], made["chain"]);
    assert_eq!(json(&ledger(&["genesis", "show", &file, "--json"]))["total_power"], 5_000);
    assert_eq!(ledger(&new).status.code(), Some(1), "a genesis is never overwritten");

    let genesis = Genesis::from_text(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let mut proof = proof(&genesis);
    for bytes in [proof.to_bytes(), proof.to_json().into_bytes()] {
        let path = written(folder.path(), "balance.proof", bytes);
        let told = json(&ledger(&["verify", &path, "--genesis", &file, "--json"]));
        assert_eq!((&told["valid"], &told["height"], &told["chain"]), (&true.into(), &1.into(), &made["chain"]));
        assert_eq!(told["row"]["sort"], "account");
        assert_eq!(told["row"]["name"], id(2).to_string());
        assert_eq!(told["row"]["row"]["balance"], (1_000_000 - 1_000 - 250).to_string());
    }
    proof.value = None;
    let path = written(folder.path(), "poor.proof", proof.to_bytes());
    let refused = ledger(&["verify", &path, "--genesis", &file]);
    assert_eq!(refused.status.code(), Some(1));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("does not hold") && why.contains("state root"), "{why}");
}

#[test]
fn a_genesis_file_that_cannot_begin_a_chain_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), "genesis.toml", "name = \"main\"\n");
    let refused = ledger(&["genesis", "check", &path]);
    assert_eq!((refused.status.code(), refused.stdout.is_empty()), (Some(1), true));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("missing field"), "{why}");
}
