//! Operating: status, peers, health, metrics, the description, and who is let in.

use reqwest::Method;
use serde_json::{Value, json};

use super::rig::{Rig, answer, envelope, now, raw};
use crate::driver::NetCommand;
use crate::node::Call;
use crate::types::{NodeId, limits};

#[tokio::test]
async fn status_has_its_stable_shape() {
    let rig = Rig::start().await;
    rig.trades(0..5).await;
    let (status, state) = rig.get("/v1/status").await;
    assert_eq!(status, 200);
    for name in [
        "id",
        "network",
        "version",
        "uptime_s",
        "peers",
        "categories",
        "heads_root",
        "state_root",
        "height",
        "resident_bytes",
        "disk_bytes",
        "messages",
        "log_end",
        "counters",
    ] {
        assert!(state.get(name).is_some(), "{name} in {state}");
    }
    assert_eq!(state["network"], "api-test");
    assert_eq!(state["categories"]["Data"]["messages"], 5);
    assert!(state["categories"]["Data"]["bytes"].as_u64().unwrap() > 0);
    rig.stop().await;
}

#[tokio::test]
async fn peers_are_shown_banned_forgiven_and_dialled() {
    let mut rig = Rig::start().await;
    let peer = NodeId([9; 32]);
    assert_eq!(rig.get("/v1/peers").await, (200, json!({"peers": []})));
    assert_eq!(rig.get(&format!("/v1/peers/{peer}")).await.0, 404);
    assert_eq!(rig.get("/v1/peers/nobody").await.0, 400);
    assert_eq!(rig.post(&format!("/v1/peers/{peer}/unban"), &json!({})).await.0, 404);
    let (status, banned) = rig.post(&format!("/v1/peers/{peer}/ban"), &json!({"seconds": 60, "reason": "noise"})).await;
    assert_eq!((status, &banned["ban_reason"]), (200, &json!("noise")));
    let (status, free) = rig.post(&format!("/v1/peers/{peer}/unban"), &json!({})).await;
    assert_eq!((status, &free["banned_until_ms"]), (200, &json!(null)));
    let own = rig.get("/v1/status").await.1["id"].as_str().unwrap().to_string();
    assert_eq!(rig.post(&format!("/v1/peers/{own}/ban"), &json!({"seconds": 60})).await.0, 422);
    assert_eq!(rig.post(&format!("/v1/peers/{peer}/ban"), &json!({"seconds": 0})).await.0, 422);
    assert_eq!(rig.post(&format!("/v1/peers/{peer}/ban"), &json!({"minutes": 1})).await.0, 400);

    let address = format!("/ip4/127.0.0.1/tcp/1/p2p/{peer}");
    let (status, _) = rig.post("/v1/dial", &json!({"address": address})).await;
    assert_eq!(status, 202);
    let dialled = loop {
        if let NetCommand::Dial { address, peer } = now(rig.commands.recv()).await.unwrap() {
            break (address, peer);
        }
    };
    assert_eq!(dialled, (address, Some(peer)));
    assert_eq!(rig.post("/v1/dial", &json!({"address": "localhost:1"})).await.0, 422);
    rig.stop().await;
}

#[tokio::test]
async fn a_healthy_node_is_ready_and_a_stopped_one_is_not() {
    let mut rig = Rig::start().await;
    assert_eq!(rig.get("/livez").await, (200, json!({"alive": true})));
    assert_eq!(rig.get("/readyz").await, (200, json!({"ready": true})));
    let (_, ready) = rig.get("/readyz?verbose").await;
    let names: Vec<&str> = ready["checks"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["store", "node", "clock", "feeds"]);

    rig.state.client.call(Call::Stop).await.unwrap();
    let node = rig.node.take().unwrap();
    tokio::task::spawn_blocking(|| node.join().unwrap().unwrap()).await.unwrap();
    let (status, problem) = rig.get("/readyz").await;
    assert_eq!((status, &problem["checks"][1]["ok"]), (503, &json!(false)));
    assert_eq!(rig.post("/v1/messages", &envelope(1)).await.0, 503);
    assert_eq!(rig.get("/livez").await.0, 200);
}

#[tokio::test]
async fn metrics_have_rooms_units_and_no_ids() {
    let rig = Rig::start().await;
    let id = rig.trades(0..3).await.remove(0);
    rig.get(&format!("/v1/messages/{id}")).await;
    let text = rig.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    for line in [
        "metanode_feed_messages{category=\"Data\"} 3",
        "metanode_node_published_messages_total 3",
        "metanode_api_requests_total{method=\"GET\",route=\"/v1/messages/{id}\",status=\"200\"} 1",
        "metanode_api_latency_seconds_bucket{le=\"0.00005\",route=\"/v1/messages\"}",
        "metanode_flow_sent_messages_total{priority=\"Normal\"} ",
        "metanode_flow_waiting_messages{priority=\"Critical\"} 0",
        "metanode_flow_wait_seconds_total{priority=\"Bulk\"} 0",
        "metanode_deliver_messages{state=\"dead\"} 0",
        "metanode_deliver_acknowledged_messages_total 0",
        "metanode_store_disk_bytes ",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains(&id));
    rig.stop().await;
}

#[tokio::test]
async fn lanes_are_shown_and_served_by_another_rule_when_told() {
    let rig = Rig::start().await;
    rig.trades(0..3).await;
    let (status, queues) = rig.get("/v1/queues").await;
    assert_eq!((status, &queues["scheduler"]), (200, &json!("weighted")));
    assert_eq!(queues["window"]["peers"], 0, "it is alone");
    let normal = &queues["lanes"][2];
    assert_eq!((&normal["priority"], &normal["waiting_messages"]), (&json!("Normal"), &json!(0)));
    assert!(normal["sent_messages"].as_u64().unwrap() >= 3, "{queues}");
    let put = |rule: &str| rig.request(Method::PUT, "/v1/queues/scheduler").json(&json!({ "scheduler": rule })).send();
    assert_eq!(put("strict").await.unwrap().status(), 200);
    assert_eq!(rig.get("/v1/queues").await.1["scheduler"], "strict");
    let refused = put("fair").await.unwrap();
    assert_eq!(refused.status(), 400);
    assert!(refused.text().await.unwrap().contains("adaptive"));
    rig.stop().await;
}

#[tokio::test]
async fn every_route_is_described_and_every_reference_leads_somewhere() {
    let rig = Rig::start().await;
    let (status, document) = rig.get("/openapi.json").await;
    assert_eq!((status, &document["openapi"]), (200, &json!("3.1.0")));
    let described: Vec<(&str, &str)> = document["paths"].as_object().unwrap().iter().flat_map(operations).collect();
    let routes = [
        ("get", "/v1/messages"),
        ("post", "/v1/messages"),
        ("get", "/v1/messages/{id}"),
        ("get", "/v1/conversations/{id}"),
        ("get", "/v1/subscribe"),
        ("get", "/v1/ws"),
        ("get", "/v1/bundles"),
        ("get", "/v1/status"),
        ("get", "/v1/outbox"),
        ("post", "/v1/requests"),
        ("get", "/v1/routes"),
        ("get", "/v1/chain"),
        ("post", "/v1/chain/packs"),
        ("post", "/v1/chain/transactions"),
        ("get", "/v1/chain/accounts/{account}"),
        ("get", "/v1/chain/accounts/{account}/transactions"),
        ("get", "/v1/chain/transactions/{id}"),
        ("get", "/v1/chain/blocks"),
        ("get", "/v1/chain/blocks/{height}"),
        ("get", "/v1/chain/blocks/{height}/records"),
        ("get", "/v1/chain/blocks/{height}/anchors"),
        ("get", "/v1/chain/subscribe"),
        ("get", "/v1/chain/ws"),
        ("get", "/v1/chain/rows"),
        ("get", "/v1/chain/proof"),
        ("get", "/v1/chain/validators"),
        ("get", "/v1/chain/supply"),
        ("get", "/v1/chain/proposals"),
        ("get", "/v1/chain/proposals/{number}"),
        ("get", "/v1/chain/proposals/{number}/votes"),
        ("get", "/v1/chain/rules"),
        ("get", "/v1/peers"),
        ("get", "/v1/peers/{id}"),
        ("post", "/v1/peers/{id}/ban"),
        ("post", "/v1/peers/{id}/unban"),
        ("post", "/v1/dial"),
        ("get", "/v1/nodes"),
        ("get", "/v1/nodes/{id}"),
        ("get", "/v1/topology"),
        ("get", "/v1/kinds"),
        ("get", "/v1/kinds/{kind}"),
        ("get", "/v1/kinds/{category}/{message_type}"),
        ("get", "/v1/state"),
        ("get", "/v1/state/{collection}/cells"),
        ("get", "/v1/state/{collection}/cell"),
        ("put", "/v1/state/{collection}/cell"),
        ("delete", "/v1/state/{collection}/cell"),
        ("post", "/v1/state/{collection}/batch"),
        ("post", "/v1/state/{collection}/restore"),
        ("get", "/v1/state/{collection}/history"),
        ("get", "/v1/state/{collection}/conflicts"),
        ("get", "/v1/state/{collection}/check"),
        ("get", "/v1/state/{collection}/floor"),
        ("put", "/v1/state/{collection}/floor"),
        ("get", "/v1/state/{collection}/chunk"),
        ("post", "/v1/state/join"),
        ("get", "/v1/state/{collection}/extent"),
        ("post", "/v1/state/endorsement"),
        ("get", "/v1/state/writes/{message}"),
        ("get", "/v1/state/changes"),
        ("get", "/v1/state/subscribe"),
        ("get", "/v1/graphs/{graph}/nodes"),
        ("get", "/v1/graphs/{graph}/nodes/{id}"),
        ("put", "/v1/graphs/{graph}/nodes/{id}"),
        ("patch", "/v1/graphs/{graph}/nodes/{id}"),
        ("delete", "/v1/graphs/{graph}/nodes/{id}"),
        ("get", "/v1/graphs/{graph}/nodes/{id}/neighbours"),
        ("get", "/v1/graphs/{graph}/edges"),
        ("get", "/v1/graphs/{graph}/edges/{id}"),
        ("put", "/v1/graphs/{graph}/edges/{id}"),
        ("patch", "/v1/graphs/{graph}/edges/{id}"),
        ("delete", "/v1/graphs/{graph}/edges/{id}"),
        ("get", "/v1/graphs/{graph}/paths"),
        ("get", "/v1/graphs/{graph}/paths/subscribe"),
        ("get", "/v1/graphs/{graph}/at"),
        ("get", "/v1/graphs/{graph}/subscribe"),
        ("get", "/v1/graphs/{graph}/ws"),
        ("get", "/v1/graphs/{graph}/positions"),
        ("get", "/v1/queues"),
        ("get", "/v1/flow"),
        ("get", "/v1/alerts"),
        ("get", "/v1/tap"),
        ("get", "/v1/tap/ws"),
        ("put", "/v1/queues/scheduler"),
        ("get", "/v1/subscriptions"),
        ("get", "/v1/subscriptions/{name}"),
        ("put", "/v1/subscriptions/{name}"),
        ("delete", "/v1/subscriptions/{name}"),
        ("post", "/v1/subscriptions/{name}/pause"),
        ("post", "/v1/subscriptions/{name}/resume"),
        ("post", "/v1/subscriptions/{name}/fetch"),
        ("post", "/v1/subscriptions/{name}/settle"),
        ("get", "/v1/subscriptions/{name}/ws"),
        ("get", "/v1/dead-letters"),
        ("get", "/v1/dead-letters/{name}/{position}"),
        ("post", "/v1/dead-letters/redrive"),
        ("post", "/v1/dead-letters/drop"),
        ("get", "/v1/perturbation"),
        ("post", "/v1/perturbation"),
        ("delete", "/v1/perturbation"),
        ("get", "/v1/keys"),
        ("post", "/v1/keys/rotate"),
        ("get", "/v1/schemas"),
        ("get", "/v1/schemas/{subject}"),
        ("post", "/v1/schemas/{subject}/versions"),
        ("get", "/v1/schemas/{subject}/versions/{version}"),
        ("post", "/v1/schemas/{subject}/check"),
        ("get", "/livez"),
        ("get", "/readyz"),
        ("get", "/metrics"),
        ("get", "/openapi.json"),
    ];
    for route in &routes {
        assert!(described.contains(route), "{route:?}");
    }
    assert_eq!(described.len(), routes.len(), "{described:?}");
    let mut references = Vec::new();
    collect(&document, &mut references);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference}"));
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    assert!(document["components"]["schemas"]["Data.ExchangeData"]["properties"]["price"].is_object());
    rig.stop().await;
}

fn operations<'a>((path, item): (&'a String, &'a Value)) -> Vec<(&'a str, &'a str)> {
    item.as_object().unwrap().keys().map(|method| (method.as_str(), path.as_str())).collect()
}

fn collect<'a>(value: &'a Value, references: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            references.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|value| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}

#[tokio::test]
async fn strangers_large_bodies_and_unknown_routes_get_problems() {
    let rig = Rig::start().await;
    let get = |path| rig.request(Method::GET, path);
    assert_eq!(answer(get("/v1/status").header("host", "evil.example")).await.0, 403);
    assert_eq!(answer(get("/v1/status").header("origin", "http://evil.example")).await.0, 403);
    assert_eq!(answer(get("/v1/status").header("origin", format!("http://{}", rig.address))).await.0, 200);
    assert_eq!(rig.get("/v1/nothing").await.0, 404);
    assert_eq!(rig.post("/v1/status", &json!({})).await.0, 405);
    assert_eq!(
        answer(rig.request(Method::POST, "/v1/messages").body("x=1").header("content-type", "text/x")).await.0,
        415
    );
    for (body, query) in
        [("", ""), ("[]", ""), ("[", ""), ("{}", "?ack=maybe"), ("{}", "?priority=Low"), ("{}", "?kind=X")]
    {
        let request = rig.request(Method::POST, &format!("/v1/messages{query}")).body(body);
        assert_eq!(answer(request).await.0, 400, "{body} {query}");
    }
    let size = limits::API_BODY_BYTES + 1;
    let (_, head) =
        raw(&rig, &format!("POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 413") && head.contains("application/problem+json"), "{head}");
    rig.stop().await;
}
