//! Sealing at the edge: what is for one reader leaves the API sealed, or not at all.

use serde_json::{Value, json};

use super::rig::{Rig, trade};
use crate::api::Vault;
use crate::keys::{Identity, KeyRing};
use crate::node::{Ack, Call, CallRefusal};
use crate::types::WallMs;
use crate::wire::{Destination, Draft, FaultCode, Kind, Payload};

/// A rig whose API has the node's sealing keys, announced.
async fn keyed() -> (Rig, String, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::from_seed(&[7; 32]);
    let (now, file) = (WallMs(crate::driver::SystemClock::start().now().wall.0), folder.path().join("sealing.json"));
    let ring = KeyRing::open(&file, &identity, now).unwrap();
    let rig = Rig::start_with(|state, store| {
        let vault = Vault::new(identity.node_id(), state.network.id(), store, ring).unwrap();
        state.holding(vault)
    })
    .await;
    crate::api::tend_keys(&rig.state).await.unwrap();
    // Told once; again only when it is news.
    crate::api::tend_keys(&rig.state).await.unwrap();
    (rig, identity.node_id().to_string(), folder)
}

fn message(to: &Value) -> Value {
    json!({"kind": "Data/ExchangeData", "payload": trade(1), "sealed": true, "destination": to})
}

#[tokio::test]
async fn a_node_seals_for_itself_and_opens_with_old_keys() {
    let (rig, own, _folder) = keyed().await;
    let (_, keys) = rig.get("/v1/keys").await;
    assert_eq!((keys["keys"].as_array().unwrap().len(), &keys["keys"][0]["own"]), (1, &json!(true)));
    let first = keys["keys"][0]["key_id"].clone();
    let (status, said) = rig.post("/v1/messages", &message(&json!({ "node": own }))).await;
    assert_eq!(status, 201, "{said}");
    let (status, rotated) = rig.post("/v1/keys/rotate", &json!({})).await;
    assert_eq!(status, 201);
    assert_eq!(rig.get("/v1/keys").await.1["keys"][0]["key_id"], rotated["key_id"]);
    let (_, found) = rig.get(&format!("/v1/messages/{}", said["ids"][0].as_str().unwrap())).await;
    let found = &found["message"];
    assert_eq!((&found["payload"], &found["sealed"]), (&trade(1), &json!("opened")));
    assert_eq!(found["encryption_key_id"], first);
    let text = rig.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    for line in ["metanode_sealed_sent_messages_total 1", "metanode_sealed_opened_messages_total 1"] {
        assert!(text.contains(line), "{line} in {text}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn what_cannot_be_sealed_is_not_said() {
    let (rig, own, _folder) = keyed().await;
    for to in [json!("everyone"), json!({"service": "storage"}), json!({"node": crate::types::NodeId([9; 32])})] {
        let (status, problem) = rig.post("/v1/messages", &message(&to)).await;
        let fault = &problem["faults"][0];
        assert_eq!((status, &fault["code"], &fault["path"]), (422, &json!("unsealable"), &json!("/destination")));
    }
    // The node itself takes no open payload that was to be sealed.
    let mut draft = Draft::new(&Payload::from_json(Kind::ExchangeData, &trade(1)).unwrap());
    draft.destination = Destination::Node(own.parse().unwrap());
    draft.confidential = true;
    let refused = rig.state.client.call(Call::Publish { drafts: vec![draft], ack: Ack::Written }).await.unwrap_err();
    let crate::driver::CallError::Refused(CallRefusal::Invalid { faults, .. }) = refused else { panic!("{refused}") };
    assert_eq!(faults.as_slice()[0].code, FaultCode::Unsealable);
    rig.stop().await;

    let bare = Rig::start().await;
    assert_eq!(
        bare.post("/v1/messages", &message(&json!({ "node": own }))).await.0,
        503,
        "without keys nothing is sealed"
    );
    assert_eq!(bare.get("/v1/keys").await, (200, json!({"keys": [], "own": []})));
    assert_eq!(bare.post("/v1/keys/rotate", &json!({})).await.0, 503);
    bare.stop().await;
}
