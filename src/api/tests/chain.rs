//! The chain over the API: a node that is its only validator.

use ed25519_dalek::SigningKey;
use serde_json::{Value, json};

use super::following::frame;
use super::rig::{Rig, key, raw};
use crate::ledger::{Genesis, GenesisAccount, GenesisValidator, Params, Token};
use crate::types::chain::ChainId;
use crate::types::{NodeId, Tokens, WallMs};
use crate::wire::ledger::{Body, Order, Transaction};

fn id(key: &SigningKey) -> NodeId {
    NodeId(key.verifying_key().to_bytes())
}

fn genesis() -> Genesis {
    let genesis = Genesis {
        name: "api".into(),
        time_ms: WallMs(1),
        treasury: Tokens(5),
        token: Token { symbol: "MNT".into(), decimals: 6 },
        params: Params::default(),
        validators: vec![GenesisValidator { id: id(&key()), stake: Tokens(5_000_000), commission_permille: 0 }],
        accounts: vec![GenesisAccount { id: id(&key()), balance: Tokens(1_000_000) }],
    };
    genesis.checked().unwrap()
}

/// Submits burns under one seal; their ids.
async fn burn(rig: &Rig, chain: ChainId, nonce: u64, count: usize) -> Vec<String> {
    let one = Transaction { fee: Tokens(5_000), body: Body::Burn { amount: Tokens(1) } };
    let order = Order { chain, account: id(&key()), nonce, transactions: vec![one; count] };
    let sealed = hex::encode(order.seal(&key()).unwrap().bytes());
    let (status, answer) = rig.post("/v1/chain/transactions", &json!({ "sealed": sealed })).await;
    assert_eq!(status, 202, "{answer}");
    serde_json::from_value(answer["ids"].clone()).unwrap()
}

async fn get(rig: &Rig, path: &str) -> Value {
    let (status, answer) = rig.get(path).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

#[tokio::test]
async fn a_transaction_is_waited_for_and_its_block_read_in_pages() {
    let genesis = genesis();
    let chain = genesis.chain();
    let rig = Rig::start_chain(genesis).await;
    let unknown = format!("/v1/chain/transactions/{}", "0".repeat(64));
    assert_eq!(rig.get(&unknown).await.0, 404);
    assert_eq!(rig.get(&format!("{unknown}?wait_ms=60001")).await.0, 400);
    let ids = burn(&rig, chain, 0, 5).await;
    let last = get(&rig, &format!("/v1/chain/transactions/{}?wait_ms=30000", ids[4])).await;
    assert_eq!((&last["height"], &last["index"], &last["nonce"]), (&json!(1), &json!(4), &json!(4)));
    assert_eq!(last["outcome"], json!({"succeeded": "done"}));
    assert_eq!(last["body"], json!({"burn": {"amount": "1"}}));

    let first = get(&rig, "/v1/chain/blocks/1/records?limit=2").await;
    assert_eq!((first["records"].as_array().unwrap().len(), &first["next"]), (2, &json!(2)));
    let rest = get(&rig, "/v1/chain/blocks/latest/records?from=2").await;
    assert_eq!((rest["records"].as_array().unwrap().len(), &rest["next"]), (3, &json!(null)));
    assert_eq!(rest["records"][2]["transaction"]["id"], ids[4].as_str());
    let block = get(&rig, "/v1/chain/blocks/latest").await;
    assert_eq!(
        (&block["transactions"], &block["seals"], &block["signers"][0]),
        (&json!(5), &json!(1), &json!(id(&key())))
    );
    let blocks = get(&rig, "/v1/chain/blocks").await;
    assert_eq!((&blocks["blocks"][0]["id"], &blocks["next"]), (&block["id"], &json!(2)));

    let own = format!("/v1/chain/accounts/{}", id(&key()));
    assert_eq!(get(&rig, &own).await["next_nonce"], 5);
    let page = get(&rig, &format!("{own}/transactions?limit=3")).await;
    assert_eq!((&page["transactions"][0]["id"], &page["next"]), (&json!(ids[4]), &json!("1.2")));
    let page = get(&rig, &format!("{own}/transactions?limit=3&before=1.2")).await;
    assert_eq!((&page["transactions"][1]["id"], &page["next"]), (&json!(ids[0]), &json!(null)));
    assert_eq!(rig.get(&format!("{own}/transactions?before=2")).await.0, 400);
    let again = burn(&rig, chain, 5, 1).await;
    get(&rig, &format!("/v1/chain/transactions/{}?wait_ms=30000", again[0])).await;
    let rows = get(&rig, "/v1/chain/rows?sort=pool&limit=1").await;
    let next = rows["next"].as_str().unwrap();
    assert_eq!(get(&rig, &format!("/v1/chain/rows?sort=pool&after={next}")).await["rows"], json!([]));
    assert_eq!(rig.get(&format!("/v1/chain/rows?sort=account&after={next}")).await.0, 400, "of another sort");
    rig.stop().await;
}

#[tokio::test]
async fn blocks_are_followed_from_any_height_and_as_they_become_final() {
    let genesis = genesis();
    let chain = genesis.chain();
    let rig = Rig::start_chain(genesis).await;
    let mut live = rig.follow_at("/v1/chain/subscribe", "", None).await;
    burn(&rig, chain, 0, 1).await;
    let heard = live.next().await.unwrap();
    assert_eq!((heard.event.as_str(), heard.id.as_str(), &heard.data["height"]), ("block", "2", &json!(1)));
    assert_eq!(heard.data.get("records"), None);
    burn(&rig, chain, 1, 2).await;
    assert_eq!(live.next().await.unwrap().data["height"], 2);
    let mut again = rig.follow_at("/v1/chain/subscribe", "?from=1&records=true", Some("2")).await;
    let heard = again.next().await.unwrap();
    assert_eq!(heard.data["height"], 2, "the last event counts, not the query");
    assert_eq!(heard.data["records"]["records"].as_array().unwrap().len(), 2);

    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let ask = format!("GET /v1/chain/ws?from=0 HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n");
    let (mut socket, head) = raw(&rig, &ask).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    for height in 1..=2 {
        let (opcode, text) = frame(&mut socket).await;
        let told: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((opcode, &told["type"], &told["block"]["height"]), (1, &json!("block"), &json!(height)));
        assert_eq!(told["next"], height + 1);
    }
    let (closed, ()) = tokio::join!(frame(&mut socket), rig.stop());
    assert_eq!(closed.0, 8);
}

#[tokio::test]
async fn a_node_without_a_chain_says_so_everywhere() {
    let rig = Rig::start().await;
    for path in [
        "",
        "/blocks",
        "/blocks/1",
        "/supply",
        "/validators",
        "/rules",
        "/proposals",
        "/subscribe",
        "/proof?sort=totals",
    ] {
        let (status, answer) = rig.get(&format!("/v1/chain{path}")).await;
        assert_eq!(status, 404, "{path}: {answer}");
        assert!(answer["detail"].as_str().unwrap().contains("chain.genesis"), "{path}: {answer}");
    }
    rig.stop().await;
}
