//! A node put wrong on purpose: only one that was started for it, within bounds, one thing beside the other.

use reqwest::Method;
use serde_json::{Value, json};

use super::rig::{Rig, answer};
use crate::driver::{SystemClock, perturbation};
use crate::types::NodeId;

async fn rig(holds_up: bool) -> Rig {
    let (perturber, perturbed) = perturbation(holds_up);
    Rig::start_with(|state, _| state.perturbed_by(SystemClock::perturbed(Some(perturbed)), Some(perturber))).await
}

async fn told(rig: &Rig, body: Value) -> (u16, Value) {
    rig.post("/v1/perturbation", &body).await
}

#[tokio::test]
async fn what_is_wrong_adds_up_is_replaced_and_ends_when_told_to() {
    let rig = rig(true).await;
    let peer = NodeId([9; 32]).to_string();
    let nothing = json!({"cut": null, "delay": null, "loss": null, "clock": null});
    assert_eq!(rig.get("/v1/perturbation").await, (200, nothing.clone()));
    assert_eq!(told(&rig, json!({"what": "cut", "peers": [peer], "for_ms": 60_000})).await.0, 200);
    assert_eq!(told(&rig, json!({"what": "delay", "by_ms": 5, "jitter_ms": 2, "for_ms": 60_000})).await.0, 200);
    assert_eq!(told(&rig, json!({"what": "loss", "percent": 3, "for_ms": 60_000})).await.0, 200);
    told(&rig, json!({"what": "clock", "by_ms": 7, "for_ms": 60_000})).await;
    let (status, all) = told(&rig, json!({"what": "clock", "by_ms": -3_600_000, "for_ms": 60_000})).await;
    assert_eq!(status, 200);
    assert_eq!((&all["cut"]["peers"][0], &all["delay"]["jitter_ms"]), (&json!(peer), &json!(2)));
    assert_eq!((&all["loss"]["percent"], &all["clock"]["by_ms"]), (&json!(3), &json!(-3_600_000)));
    assert!(all["cut"]["left_ms"].as_u64().is_some_and(|left| (1..=60_000).contains(&left)), "{all}");
    assert!(rig.state.wall().0 + 3_500_000 < SystemClock::start().wall().0, "its clock is behind");
    assert_eq!(answer(rig.request(Method::DELETE, "/v1/perturbation")).await, (200, nothing.clone()));
    assert_eq!(rig.get("/v1/perturbation").await, (200, nothing));
    rig.stop().await;
}

#[tokio::test]
async fn what_is_out_of_bounds_or_reach_is_refused_and_changes_nothing() {
    let quic = rig(false).await;
    assert_eq!(told(&quic, json!({"what": "delay", "by_ms": 5, "for_ms": 1_000})).await.0, 409);
    assert_eq!(told(&quic, json!({"what": "loss", "percent": 5, "for_ms": 1_000})).await.0, 409);
    assert_eq!(told(&quic, json!({"what": "clock", "by_ms": 5, "for_ms": 1_000})).await.0, 200);
    quic.stop().await;
    let rig = rig(true).await;
    for (body, status) in [
        (json!({"what": "clock", "by_ms": 1, "for_ms": 0}), 422),
        (json!({"what": "clock", "by_ms": 1, "for_ms": 3_600_001}), 422),
        (json!({"what": "clock", "by_ms": i64::MIN, "for_ms": 1}), 422),
        (json!({"what": "delay", "by_ms": 10_001, "for_ms": 1}), 422),
        (json!({"what": "loss", "percent": 91, "for_ms": 1}), 422),
        (json!({"what": "loss", "percent": 0, "for_ms": 1}), 422),
        (json!({"what": "cut", "peers": [], "for_ms": 1}), 422),
        (json!({"what": "cut", "peers": ["nobody"], "for_ms": 1}), 400),
        (json!({"what": "flood", "for_ms": 1}), 400),
        (json!({"what": "loss", "percent": 1, "for_ms": 1, "more": 1}), 400),
    ] {
        assert_eq!(told(&rig, body.clone()).await.0, status, "{body}");
    }
    let standing = rig.get("/v1/perturbation").await.1;
    assert!(standing.as_object().unwrap().values().all(Value::is_null), "{standing}");
    rig.stop().await;
}

#[tokio::test]
async fn a_node_that_was_not_started_for_it_refuses_all_of_it() {
    let rig = Rig::start().await;
    assert_eq!(rig.get("/v1/perturbation").await.0, 403);
    let (status, problem) = told(&rig, json!({"what": "clock", "by_ms": 1, "for_ms": 1})).await;
    assert_eq!(status, 403);
    assert!(problem["detail"].as_str().unwrap().contains("--perturbable"), "{problem}");
    assert_eq!(answer(rig.request(Method::DELETE, "/v1/perturbation")).await.0, 403);
    rig.stop().await;
}
