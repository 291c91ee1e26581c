//! Publishing: forms, faults, keys; what is published is found and proved.

use reqwest::Method;
use serde_json::json;

use super::rig::{Rig, answer, envelope, ids, paths, payload, trade};
use crate::api::Envelope;
use crate::types::{NetworkName, limits};
use crate::wire::Proof;

#[tokio::test]
async fn what_is_published_is_found_with_a_proof_that_holds() {
    let rig = Rig::start().await;
    let parent = rig.say(payload(0)).await;
    let mut message = envelope(1);
    message["priority"] = json!("High");
    message["destination"] = json!({"topic": "trades"});
    message["correlation_id"] = json!(parent.to_string());
    message["parent_id"] = json!(parent.to_string());
    message["expires_at"] = json!(4_000_000_000_000_u64);
    message["tags"] = json!(["a", "b"]);
    message["headers"] = json!({"trace": "1"});
    let (status, published) = rig.post("/v1/messages", &message).await;
    assert_eq!((status, &published["ack"], &published["count"]), (201, &json!("durable"), &json!(1)));

    let (status, found) = rig.get(&format!("/v1/messages/{}", ids(&published)[0])).await;
    assert_eq!(status, 200);
    let proof: Proof = serde_json::from_value(found["proof"].clone()).unwrap();
    let network: NetworkName = found["network"].as_str().unwrap().parse().unwrap();
    let proved = proof.verify(network.id()).unwrap();
    let shown = &found["message"];
    assert_eq!(shown["id"], proved.id.to_string());
    assert_eq!(shown["payload"], trade(1));
    for (name, expected) in [
        ("correlation_id", json!(parent.to_string())),
        ("parent_id", json!(parent.to_string())),
        ("category", json!("Data")),
        ("message_type", json!("ExchangeData")),
        ("priority", json!("High")),
        ("destination", json!({"topic": "trades"})),
        ("routing_path", json!([])),
        ("expires_at", json!(4_000_000_000_000_u64)),
        ("retry_count", json!(0)),
        ("signature", json!(hex::encode(proof.signed.signature.0))),
        ("encryption_key_id", json!(null)),
        ("checksum", json!(crate::wire::checksum(&proof.message))),
        ("position", json!(1)),
        ("sequence", json!(1)),
    ] {
        assert_eq!(shown[name], expected, "{name}");
    }
    let metadata = &shown["metadata"];
    assert_eq!(metadata["tags"], json!(["a", "b"]));
    assert_eq!(metadata["custom_headers"], json!({"trace": "1"}));
    assert_eq!(metadata["content_type"], "application/x-bincode");
    assert_eq!(metadata["compression"], "none");
    assert_eq!((&metadata["schema_version"], &metadata["encoding"]), (&json!(1), &json!("bincode")));
    assert_eq!(metadata["size_bytes"], proved.payload.len());
    assert_eq!(serde_json::to_value(Envelope::proved(&proof).unwrap()).unwrap()["payload"], trade(1));

    let (status, _) = rig.get("/v1/messages/018f0000-0000-7000-8000-000000000000").await;
    assert_eq!(status, 404);
    let (status, _) = rig.get("/v1/messages/nonsense").await;
    assert_eq!(status, 400);
    rig.stop().await;
}

#[tokio::test]
async fn arrays_lines_and_bare_payloads_are_published_in_order() {
    let rig = Rig::start().await;
    let (status, array) = rig.post("/v1/messages", &json!([envelope(0), envelope(1)])).await;
    assert_eq!((status, ids(&array).len()), (201, 2));
    let lines = format!("{}\n\n{}\r\n", envelope(2), envelope(3));
    assert_eq!(rig.lines("/v1/messages?ack=accepted", lines).await.0, 201);
    let bare = format!("{}\n{}", trade(4), trade(5));
    let query = "?kind=ExchangeData&priority=low&to=topic:desk&tag=x,y&headers=%7B%22h%22:%22v%22%7D&ack=written";
    assert_eq!(rig.lines(&format!("/v1/messages{query}"), bare).await.0, 201);
    assert_eq!(rig.post("/v1/messages?kind=ExchangeData", &trade(6)).await.0, 201);
    assert_eq!(rig.post("/v1/messages?kind=ExchangeData", &json!([trade(7)])).await.0, 201);
    let by_names = json!({"category": "Data", "message_type": "ExchangeData", "payload": trade(8)});
    assert_eq!(rig.post("/v1/messages", &by_names).await.0, 201);

    let (_, page) = rig.get("/v1/messages?kind=ExchangeData").await;
    let messages = page["messages"].as_array().unwrap();
    let trades: Vec<u64> =
        messages.iter().map(|m| m["payload"]["trade_id"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(trades, (0..9).collect::<Vec<_>>());
    assert_eq!(messages[4]["priority"], "Low");
    assert_eq!(messages[4]["destination"], json!({"topic": "desk"}));
    assert_eq!(messages[5]["metadata"]["tags"], json!(["x", "y"]));
    assert_eq!(messages[5]["metadata"]["custom_headers"], json!({"h": "v"}));
    rig.stop().await;
}

#[tokio::test]
async fn one_signature_is_over_all_of_a_body_or_each_has_its_own() {
    let rig = Rig::start().await;
    for (query, signatures) in [("", 1), ("&seal=bundle", 1), ("&seal=each", 3)] {
        let lines = [0, 1, 2].map(|n| trade(n).to_string()).join("\n");
        let (status, said) = rig.lines(&format!("/v1/messages?kind=ExchangeData{query}"), lines).await;
        assert_eq!(status, 201, "{said}");
        let mut different = std::collections::BTreeSet::new();
        for id in ids(&said) {
            let (_, message) = rig.get(&format!("/v1/messages/{id}")).await;
            different.insert(message["message"]["signature"].as_str().unwrap().to_string());
        }
        assert_eq!(different.len(), signatures, "{query}");
    }
    let (status, problem) = rig.lines("/v1/messages?kind=ExchangeData&seal=none", trade(1).to_string()).await;
    assert_eq!(status, 400);
    assert!(problem["detail"].as_str().unwrap().contains("bundle or each"), "{problem}");
    rig.stop().await;
}

#[tokio::test]
async fn more_than_one_call_takes_is_cut_into_several() {
    let rig = Rig::start().await;
    let count = limits::PUBLISH_BATCH as u64 + 10;
    let ids = rig.trades(0..count).await;
    assert_eq!(ids.len() as u64, count);
    assert!(ids.is_sorted());
    rig.stop().await;
}

#[tokio::test]
async fn all_faults_of_a_message_are_told_together() {
    let rig = Rig::start().await;
    let mut wrong = trade(1);
    wrong["price"] = json!(-1.0);
    wrong["side"] = json!("sideways");
    wrong.as_object_mut().unwrap().remove("amount");
    let message = json!({
        "kind": "Data/ExchangeData", "payload": wrong, "priority": "urgent", "destination": {"planet": "mars"},
        "correlation_id": "x", "expires_at": 5, "tags": ["t".repeat(limits::NAME_BYTES + 1)], "colour": "red",
    });
    let (status, answer) = rig.post("/v1/messages", &message).await;
    assert_eq!(status, 422);
    let told = paths(&answer);
    for path in [
        "/payload/price",
        "/payload/side",
        "/payload/amount",
        "/priority",
        "/destination",
        "/correlation_id",
        "/expires_at",
        "/tags",
        "/colour",
    ] {
        assert!(told.contains(&path), "{path} in {told:?}");
    }
    assert!(answer["faults"][0].get("line").is_none());
    assert!(answer["faults"].as_array().unwrap().iter().any(|f| f["class"] == "business"));

    for (message, path) in [
        (json!({"payload": {}}), "/kind"),
        (json!({"kind": "Data/ExchangeDate", "payload": {}}), "/kind"),
        (json!({"category": "Data", "payload": {}}), "/message_type"),
        (json!({"kind": "Data/ExchangeData", "category": "System", "payload": trade(1)}), "/category"),
        (json!({"kind": "Data/ExchangeData"}), "/payload"),
        (json!({"kind": 7, "payload": {}}), "/kind"),
        (json!("text"), ""),
    ] {
        let (status, answer) = rig.post("/v1/messages", &message).await;
        assert_eq!((status, paths(&answer)[0]), (422, path), "{message}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn faults_of_many_name_their_lines_and_nothing_is_published() {
    let rig = Rig::start().await;
    let lines = format!("{}\n{{\"exchange\": 1}}\n\nnot json\n{}", trade(1), trade(2));
    let (status, answer) = rig.lines("/v1/messages?kind=ExchangeData", lines).await;
    assert_eq!(status, 422);
    let mut told: Vec<u64> = answer["faults"].as_array().unwrap().iter().map(|f| f["line"].as_u64().unwrap()).collect();
    told.dedup();
    assert_eq!(told, [2, 4]);
    assert_eq!(answer["published"], 0);
    let (_, answer) = rig.post("/v1/messages", &json!([envelope(1), {}])).await;
    assert_eq!(answer["faults"][0]["line"], 2);

    let (_, answer) = rig.lines("/v1/messages?kind=ExchangeData", "[]\n".repeat(500)).await;
    assert_eq!(answer["faults"].as_array().unwrap().len(), 100);
    let (_, page) = rig.get("/v1/messages").await;
    assert_eq!(page["messages"], json!([]));
    rig.stop().await;
}

#[tokio::test]
async fn a_message_said_twice_under_one_key_is_one() {
    let rig = Rig::start().await;
    let mut message = envelope(1);
    message["idempotency_key"] = json!("order-1");
    let (_, first) = rig.post("/v1/messages", &message).await;
    let (_, second) = rig.post("/v1/messages", &message).await;
    let request = rig.request(Method::POST, "/v1/messages").json(&envelope(1)).header("idempotency-key", "order-1");
    let (_, third) = answer(request).await;
    assert_eq!((ids(&first), ids(&first)), (ids(&second), ids(&third)));
    let (_, page) = rig.get("/v1/messages").await;
    assert_eq!(page["messages"].as_array().unwrap().len(), 1);

    let both = json!([envelope(1), envelope(2)]);
    let request = rig.request(Method::POST, "/v1/messages").json(&both).header("idempotency-key", "order-1");
    assert_eq!(answer(request).await.0, 400);
    rig.stop().await;
}
