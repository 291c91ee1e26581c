//! The chain as it is used from outside: by commands of other processes, against four validators.

use std::fs;
use std::path::Path;

use ed25519_dalek::SigningKey;
use metanode::types::chain::ChainId;
use metanode::types::{Hash, NodeId, Tokens};
use metanode::wire::ledger::{Body, Order, Transaction};
use serde_json::{Value, json};

use crate::chain::{agree, pay, start, validators};
use crate::net_common::{Home, Node, both, run, succeed, until};

/// Four validators of a chain whose epochs have four blocks.
async fn quick(root: &Path) -> (Vec<Home>, Vec<Node>) {
    let homes = validators(root).await;
    let path = root.join("genesis.toml");
    let mut genesis: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
    let params = genesis["params"].as_table_mut().unwrap();
    params.insert("epoch_blocks".into(), 4.into());
    params["voting"].as_table_mut().unwrap().insert("epochs".into(), 2.into());
    params["staking"].as_table_mut().unwrap().insert("unbonding_epochs".into(), 3.into());
    fs::write(&path, genesis.to_string()).unwrap();
    let nodes = start(&homes).await;
    (homes, nodes)
}

/// Runs a command of the ledger for the account of a home.
async fn does(home: &Home, at: &Node, words: &[&str]) -> Value {
    let (api, dir) = (at.api(), home.dir.display().to_string());
    let more = ["--json", "--timeout", "60", "--api", &api, "--dir", &dir];
    let done = succeed(&home.dir, &[words, &more[..]].concat()).await;
    serde_json::from_slice(&done.stdout).unwrap()
}

/// The same, when it must fail; what it says.
async fn fails(home: &Home, at: &Node, words: &[&str]) -> String {
    let (api, dir) = (at.api(), home.dir.display().to_string());
    let more = ["--timeout", "60", "--api", &api, "--dir", &dir];
    let done = run(&home.dir, &[], &[words, &more[..]].concat()).await;
    assert_eq!(done.status.code(), Some(1), "{}", both(&done));
    both(&done)
}

async fn told(at: &Node, words: &[&str]) -> Value {
    let done = succeed(Path::new("/"), &[words, &["--json", "--api", &at.api()]].concat()).await;
    serde_json::from_slice(&done.stdout).unwrap()
}

#[tokio::test]
async fn a_vote_of_the_stakers_changes_a_fee() {
    let root = tempfile::tempdir().unwrap();
    let (homes, nodes) = quick(root.path()).await;
    let fee = |paid: &Value| paid["fee"].as_str().unwrap().parse::<u64>().unwrap();
    let before = fee(&does(&homes[0], &nodes[0], &["ledger", "burn", "--amount", "1"]).await);
    let proposed =
        does(&homes[0], &nodes[0], &["gov", "propose", "--title", "dearer", "--change-fee", "transaction=77"]).await;
    let number = proposed["transactions"][0]["outcome"]["succeeded"]["proposal"].to_string();
    // What comes next from the same account takes its nonce from another node.
    agree(&nodes).await;
    for (home, choice) in homes.iter().zip(["yes", "yes", "yes", "no"]) {
        does(home, &nodes[1], &["gov", "vote", &number, choice]).await;
    }
    let open = told(&nodes[2], &["gov", "ls", "--open"]).await;
    // A vote weighs what is staked when it is cast: an epoch that ended before has brought rewards.
    let yes = open["proposals"][0]["tally"]["yes"].as_str().unwrap().parse::<u64>().unwrap();
    assert!((30_000_000..31_000_000).contains(&yes), "{open}");
    // Blocks come with transactions, and the vote ends with its last epoch.
    let mut height = 0;
    while height < open["proposals"][0]["decided_at"].as_u64().unwrap() {
        height = pay(&homes[0], &nodes[0], &nodes[1]).await["height"].as_u64().unwrap();
    }
    agree(&nodes).await;
    let decided = told(&nodes[3], &["gov", "show", &number]).await;
    assert_eq!((&decided["outcome"], &decided["failed"]), (&"passed".into(), &Value::Null), "{decided}");
    assert_eq!(decided["votes"].as_array().unwrap().len(), 4);
    assert_eq!(told(&nodes[3], &["gov", "rules"]).await["parameters"]["fees"]["transaction"], "77");
    let block = told(&nodes[3], &["ledger", "block", &decided["decided_at"].to_string(), "--records"]).await;
    let events = block["records"].as_array().unwrap().iter().filter_map(|record| record["event"].get("decided"));
    assert_eq!(events.count(), 1, "{block}");
    let dearer = does(&homes[0], &nodes[0], &["ledger", "burn", "--amount", "1"]).await;
    assert!((before + 60..before + 80).contains(&fee(&dearer)), "10 became 77: {before}, {dearer}");
    let late = fails(&homes[0], &nodes[0], &["gov", "vote", &number, "no"]).await;
    assert!(late.contains("vote_over"), "{late}");
}

#[tokio::test]
async fn stake_is_seen_everywhere_and_a_balance_is_proved_to_a_process_without_a_node() {
    let root = tempfile::tempdir().unwrap();
    let (homes, nodes) = quick(root.path()).await;
    let (staker, validator) = (nodes[0].id(), nodes[1].id());
    does(&homes[0], &nodes[0], &["ledger", "delegate", "--validator", &validator, "--amount", "5000"]).await;
    does(&homes[0], &nodes[0], &["ledger", "stake", "--amount", "3000"]).await;
    does(&homes[0], &nodes[0], &["ledger", "unstake", "--amount", "1000"]).await;
    let file = root.path().join("orders.json");
    let store =
        json!([{"store": {"name": "a/b", "value": "c0ffee", "epochs": 9}}, {"fund_treasury": {"amount": "40"}}]);
    fs::write(&file, store.to_string()).unwrap();
    let both = does(&homes[0], &nodes[0], &["ledger", "submit", file.to_str().unwrap()]).await;
    assert_eq!(both["transactions"].as_array().unwrap().len(), 2, "{both}");
    let last = agree(&nodes).await;

    let account = told(&nodes[2], &["ledger", "account", &staker, "--transactions", "3"]).await;
    // The epoch that ended has brought rewards.
    let staked = account["staked"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(account["next_nonce"] == 5 && staked >= 10_007_000, "{account}");
    assert_eq!(account["transactions"][0]["body"]["fund_treasury"]["amount"], "40");
    assert_eq!(account["delegations"].as_array().unwrap().len(), 2);
    let record = told(&nodes[2], &["ledger", "rows", "record", &staker]).await;
    assert_eq!(record["rows"][0]["row"]["value"], "c0ffee", "{record}");
    let supply = told(&nodes[2], &["ledger", "supply"]).await;
    let tokens = |name: &str| supply[name].as_str().unwrap().parse::<u64>().unwrap();
    let parts = ["accounts", "staked", "unbonding", "deposits", "treasury"].map(tokens);
    assert_eq!(parts.iter().sum::<u64>(), tokens("supply"), "{supply}");
    assert_eq!((parts[2], tokens("minted") > 0), (1000, last >= 4), "{supply}");
    let seats = told(&nodes[2], &["ledger", "validators"]).await;
    let candidate = seats["candidates"].as_array().unwrap().iter().find(|one| one["validator"] == validator.as_str());
    assert_eq!(seats["next"].as_array().unwrap().len(), 4);
    assert!(candidate.unwrap()["power"].as_u64().unwrap() >= 10_005, "{seats}");
    let api = nodes[3].api();
    let watched = ["ledger", "watch", "--from", "1", "--count", "2", "--json", "--api", &api];
    let lines = String::from_utf8(succeed(root.path(), &watched).await.stdout).unwrap();
    let heights: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["height"].clone()).collect();
    assert_eq!(heights, [1, 2]);

    let proof = root.path().join("balance.json").display().to_string();
    told(&nodes[3], &["ledger", "proof", &staker, "--out", &proof]).await;
    let block = told(&nodes[3], &["ledger", "block"]).await;
    let metrics = reqwest::get(format!("{}/metrics", nodes[0].api())).await.unwrap().text().await.unwrap();
    for line in ["type=\"stake\",outcome=\"succeeded\"} 1", "chain_finality_seconds_count 5", "chain_pool_bytes 0"] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    nodes.into_iter().for_each(|node| drop(node.kill()));
    let genesis = root.path().join("genesis.toml").display().to_string();
    let checked = succeed(root.path(), &["ledger", "verify", &proof, "--genesis", &genesis, "--json"]).await;
    let checked: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!((&checked["valid"], &checked["height"]), (&true.into(), &last.into()));
    assert_eq!(checked["row"]["row"]["balance"], account["balance"]);
    let id = block["id"].as_str().unwrap();
    succeed(root.path(), &["ledger", "verify", &proof, "--block", id]).await;
    let other = run(root.path(), &[], &["ledger", "verify", &proof, "--block", &Hash([1; 32]).to_string()]).await;
    assert_eq!(other.status.code(), Some(1));
    let mut altered: Value = serde_json::from_str(&fs::read_to_string(&proof).unwrap()).unwrap();
    altered["value"] = Value::Null;
    fs::write(&proof, altered.to_string()).unwrap();
    let refused = run(root.path(), &[], &["ledger", "verify", &proof, "--genesis", &genesis]).await;
    assert!(refused.status.code() == Some(1) && self::both(&refused).contains("state root"), "{refused:?}");
}

#[tokio::test]
async fn what_cannot_be_in_a_block_is_refused_with_a_code_and_what_fails_in_one_has_a_receipt() {
    let root = tempfile::tempdir().unwrap();
    let (homes, nodes) = quick(root.path()).await;
    pay(&homes[0], &nodes[0], &nodes[1]).await;
    let (home, at) = (&homes[0], &nodes[0]);
    let burn = ["ledger", "burn", "--amount"];
    let used = fails(home, at, &[&burn[..], &["1", "--nonce", "0"]].concat()).await;
    assert!(used.contains("nonce"), "{used}");
    let zeros = ChainId::default().to_string();
    let strange = fails(home, at, &[&burn[..], &["1", "--chain", &zeros]].concat()).await;
    assert!(strange.contains("made for chain 0000"), "{strange}");
    let cheap = fails(home, at, &[&burn[..], &["1", "--fee", "1"]].concat()).await;
    assert!(cheap.contains("fee"), "{cheap}");
    let poor = fails(home, at, &[&burn[..], &["99000000"]].concat()).await;
    assert!(poor.contains("insufficient_balance") && poor.contains("height"), "{poor}");
    let mint = fails(home, at, &["ledger", "mint", "--to", &nodes[1].id(), "--amount", "1"]).await;
    assert!(mint.contains("not_minter"), "{mint}");

    let chain: ChainId = at.ask("/v1/chain").await.unwrap()["chain"].as_str().unwrap().parse().unwrap();
    let key = SigningKey::from_bytes(&[9; 32]);
    let body = Transaction { fee: Tokens(9_999), body: Body::Burn { amount: Tokens(1) } };
    let order = |chain| Order {
        chain,
        account: NodeId(key.verifying_key().to_bytes()),
        nonce: 0,
        transactions: vec![body.clone()],
    };
    let bytes = |chain| order(chain).seal(&key).unwrap().bytes().to_vec();
    let sealed = |chain| hex::encode(bytes(chain));
    let mut forged = bytes(chain);
    *forged.last_mut().unwrap() ^= 1;
    let cases = [
        (sealed(chain), 422, "unknown_account"),
        (sealed(ChainId::default()), 422, "wrong_chain"),
        (hex::encode(forged), 422, "bad_seal"),
        ("00".into(), 422, "bytes"),
    ];
    for (sealed, status, code) in cases {
        let client = reqwest::Client::new().post(format!("{}/v1/chain/transactions", at.api()));
        let answer = client.json(&json!({ "sealed": sealed })).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], code);
    }
    for (path, status) in [
        ("chain/blocks/999", 404),
        ("chain/blocks/x", 400),
        ("chain/blocks?limit=51", 400),
        ("chain/blocks/1/records?limit=0", 400),
        ("chain/proof?sort=pocket", 400),
        ("chain/proof?name=x", 400),
        ("chain/proof?sort=account", 400),
        ("chain/proof?sort=totals&height=999", 404),
        ("chain/rows?sort=account&after=zz", 400),
        ("chain/transactions/00", 400),
        ("chain/proposals/7", 404),
        ("chain/subscribe?from=x", 400),
    ] {
        let answer = reqwest::get(format!("{}/v1/{path}", at.api())).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn a_validator_that_lost_its_log_is_silent_until_the_height_is_decided() {
    let root = tempfile::tempdir().unwrap();
    let (homes, mut nodes) = quick(root.path()).await;
    pay(&homes[0], &nodes[0], &nodes[1]).await;
    agree(&nodes).await;
    // Two of four decide nothing, and what they say at the second height they have written down.
    let (three, two) = (nodes.pop().unwrap().kill(), nodes.pop().unwrap().kill());
    does(&homes[0], &nodes[0], &["ledger", "burn", "--amount", "1", "--no-wait"]).await;
    let (heard, voter) = (homes[0].dir.join("agreement/2.log"), nodes[1].id().parse::<NodeId>().unwrap());
    until("the first hears a vote of the second", async || {
        fs::read(&heard).ok()?.windows(32).any(|bytes| bytes == voter.as_bytes()).then_some(())
    })
    .await;
    let (_, ended) = nodes.pop().unwrap().stop().await;
    assert!(ended.success(), "{ended}");
    fs::remove_file(homes[1].dir.join("agreement/2.log")).unwrap();
    let one = homes[1].clone().knowing(&nodes[0]).start().await;
    let chain = one.ask("/v1/chain").await.unwrap();
    assert_eq!((&chain["height"], &chain["votes"], &chain["abstains"]), (&2.into(), &false.into(), &true.into()));
    assert!(one.log().contains("vote_without_log"));
    nodes.extend([one, two.knowing(&nodes[0]).start().await, three.knowing(&nodes[0]).start().await]);
    until("three decide the height, and the fourth votes again", async || {
        let chain = nodes[1].ask("/v1/chain").await?;
        (chain["height"].as_u64() >= Some(3) && chain["votes"] == true).then_some(())
    })
    .await;
    pay(&homes[1], &nodes[1], &nodes[0]).await;
    for node in &nodes {
        assert_eq!(node.ask("/v1/chain").await.unwrap()["evidence"], 0, "nobody voted twice");
    }
}
