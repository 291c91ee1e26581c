//! Reading: pages, conversations, kinds, nodes.

use serde_json::json;

use super::rig::{Rig, envelope, ids};
use crate::wire::Kind;

#[tokio::test]
async fn pages_lead_from_one_to_the_next() {
    let rig = Rig::start().await;
    rig.trades(0..10).await;
    let (_, first) = rig.get("/v1/messages?limit=4").await;
    assert_eq!((&first["next"], &first["end"], &first["missed"]), (&json!(4), &json!(10), &json!(0)));
    let (_, rest) = rig.get("/v1/messages?from=4&limit=100").await;
    assert_eq!((rest["messages"].as_array().unwrap().len(), &rest["next"]), (6, &json!(10)));
    for (from, count) in [("start", 10), ("end", 0), ("-3", 3), ("@1", 10), ("@4000000000000", 0), ("99", 0)] {
        let (_, page) = rig.get(&format!("/v1/messages?from={from}")).await;
        assert_eq!(page["messages"].as_array().unwrap().len(), count, "{from}");
    }
    let own = first["messages"][0]["source"].as_str().unwrap();
    for (query, count) in [
        ("category=Data".to_string(), 10),
        ("category=Economic,Security".into(), 0),
        ("kind=Data/ExchangeData,LogRecord".into(), 10),
        (format!("author={own}"), 10),
        ("tag=none".into(), 0),
        (format!("correlation={}", first["messages"][2]["id"].as_str().unwrap()), 1),
    ] {
        let (_, page) = rig.get(&format!("/v1/messages?{query}")).await;
        assert_eq!(page["messages"].as_array().unwrap().len(), count, "{query}");
    }
    for wrong in
        ["from=yesterday", "limit=0", "limit=100000", "kind=Nothing", "category=Date", "author=me", "colour=red"]
    {
        assert_eq!(rig.get(&format!("/v1/messages?{wrong}")).await.0, 400, "{wrong}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_conversation_is_a_tree() {
    let rig = Rig::start().await;
    let (_, first) = rig.post("/v1/messages", &envelope(0)).await;
    let root = ids(&first)[0].clone();
    let child_of = |parent: &str, n| {
        let mut message = envelope(n);
        message["correlation_id"] = json!(root);
        message["parent_id"] = json!(parent);
        message
    };
    let (_, second) = rig.post("/v1/messages", &child_of(&root, 1)).await;
    let child = ids(&second)[0].clone();
    let (_, third) = rig.post("/v1/messages", &child_of(&child, 2)).await;
    rig.post("/v1/messages", &envelope(3)).await;
    let (status, tree) = rig.get(&format!("/v1/conversations/{root}")).await;
    assert_eq!((status, tree["messages"].as_array().unwrap().len()), (200, 3));
    assert_eq!(tree["roots"], json!([root]));
    assert_eq!(tree["children"], json!({ root.clone(): [child.clone()], child: ids(&third) }));
    assert_eq!(tree["truncated"], false);
    let (_, cut) = rig.get(&format!("/v1/conversations/{root}?limit=2")).await;
    assert_eq!((cut["messages"].as_array().unwrap().len(), &cut["truncated"]), (2, &json!(true)));
    assert_eq!(rig.get("/v1/conversations/018f0000-0000-7000-8000-000000000000").await.0, 404);
    rig.stop().await;
}

#[tokio::test]
async fn nodes_and_topology_show_this_node_and_those_that_registered() {
    let rig = Rig::start().await;
    let own = rig.get("/v1/status").await.1["id"].clone();
    let registration = json!({
        "id": own, "node_type": "Validator", "layer": "BpiCore", "capabilities": ["validate"], "status": "active",
        "endpoints": [{"protocol": "http", "address": "http://127.0.0.1:1"}], "version": "1",
    });
    let message = json!({"kind": "System/NodeRegistration", "payload": registration});
    assert_eq!(rig.post("/v1/messages", &message).await.0, 201);
    let (_, nodes) = rig.get("/v1/nodes").await;
    let node = &nodes["nodes"][0];
    assert_eq!((&node["id"], &node["type"], &node["health"]), (&own, &json!("Validator"), &json!("healthy")));
    assert_eq!((&node["layer"], &node["trust_score"]), (&json!("BpiCore"), &json!(1.0)));
    let id = own.as_str().unwrap();
    assert_eq!(rig.get(&format!("/v1/nodes/{id}")).await.1["capabilities"], json!(["validate"]));
    assert_eq!(rig.get(&format!("/v1/nodes/{}", crate::types::NodeId([9; 32]))).await.0, 404);
    for (query, found) in [
        ("type=Validator&layer=BpiCore&capability=validate&health=healthy", 1),
        ("type=Notary", 0),
        ("layer=HttpCage", 0),
        ("capability=notary", 0),
        ("health=left", 0),
    ] {
        let (_, nodes) = rig.get(&format!("/v1/nodes?{query}")).await;
        assert_eq!(nodes["nodes"].as_array().unwrap().len(), found, "{query}");
    }
    assert_eq!(rig.get("/v1/nodes?type=King").await.0, 400);
    let (status, topology) = rig.get("/v1/topology").await;
    assert_eq!((status, topology["nodes"].as_array().unwrap().len(), &topology["edges"]), (200, 1, &json!([])));
    rig.stop().await;
}

#[tokio::test]
async fn kinds_are_listed_with_their_schemas() {
    let rig = Rig::start().await;
    let (_, kinds) = rig.get("/v1/kinds").await;
    assert_eq!(kinds["kinds"].as_array().unwrap().len(), Kind::ALL.len());
    for path in ["ExchangeData", "Data%2FExchangeData", "Data/ExchangeData"] {
        let (status, kind) = rig.get(&format!("/v1/kinds/{path}")).await;
        assert_eq!((status, &kind["kind"]), (200, &json!("Data/ExchangeData")));
        assert!(kind["schema"]["properties"]["price"].is_object());
    }
    assert_eq!(rig.get("/v1/kinds/ExchangeDate").await.0, 404);
    rig.stop().await;
}
