//! Chunks of replicated state over the API, fetched and joined.

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::rig::{Rig, answer};

async fn chunk(rig: &Rig, query: &str) -> reqwest::Response {
    rig.request(Method::GET, &format!("/v1/state/c/chunk{query}")).send().await.unwrap()
}

async fn join(rig: &Rig, bytes: Vec<u8>) -> (u16, serde_json::Value) {
    answer(rig.request(Method::POST, "/v1/state/join").body(bytes)).await
}

#[tokio::test]
async fn chunks_are_fetched_and_joined_and_what_is_damaged_costs_nothing() {
    let (rig, other) = (Rig::start().await, Rig::start().await);
    for n in 0..5 {
        let (status, _) = rig.put(&format!("/v1/state/c/cell?path=p/{n}"), &json!({ "value": n })).await;
        assert_eq!(status, 200);
    }
    let response = chunk(&rig, "").await;
    assert_eq!((response.status(), &response.headers()["metanode-unproved"]), (StatusCode::OK, &"0".parse().unwrap()));
    let last = response.headers()["metanode-last"].to_str().unwrap().to_string();
    let bytes = response.bytes().await.unwrap().to_vec();
    assert_eq!(chunk(&rig, &format!("?after={last}")).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(chunk(&rig, "?after=x").await.status(), StatusCode::BAD_REQUEST);

    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let (status, problem) = join(&other, damaged).await;
    assert_eq!((status, &problem["code"]), (422, &json!("packing")), "{problem}");
    let (status, problem) = join(&other, [&u32::MAX.to_le_bytes(), &bytes[4..]].concat()).await;
    assert_eq!((status, &problem["code"]), (422, &json!("too_large")));
    assert_eq!(join(&other, Vec::new()).await.0, 422);
    assert_eq!(other.get("/v1/state").await.1["collections"], json!([]));

    let (status, joined) = join(&other, bytes.clone()).await;
    let all = json!({"new": 5, "waiting": 0, "ahead": 0, "forked": 0, "no_room": 0});
    assert_eq!((status, joined), (200, all));
    assert_eq!(join(&other, bytes).await.1["new"], 0);
    let (mine, theirs) = (rig.get("/v1/state/c/cells").await.1, other.get("/v1/state/c/cells").await.1);
    assert_eq!((mine["cells"].as_array().unwrap().len(), &mine), (5, &theirs));
    assert_eq!(rig.get("/v1/state").await.1, other.get("/v1/state").await.1);
    rig.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn what_was_known_is_read_and_what_is_not_remembered_says_so() {
    let rig = Rig::start().await;
    for n in 0..3 {
        rig.put("/v1/state/c/cell?path=x", &json!({ "value": n })).await;
    }
    for known in 1..=3u64 {
        let (status, cell) = rig.get(&format!("/v1/state/c/cell?path=x&known={known}")).await;
        assert_eq!((status, &cell["register"]["value"]), (200, &json!(known - 1)));
        let (_, listed) = rig.get(&format!("/v1/state/c/cells?known={known}")).await;
        assert_eq!((&listed["cells"][0], listed.get("forgotten")), (&cell, None));
    }
    assert_eq!(rig.get("/v1/state/c/cell?path=x&known=0").await.0, 404);
    assert_eq!(rig.get("/v1/state/c/cell?path=x&known=1&at_ms=5").await.0, 400);
    let (status, problem) = rig.get("/v1/state/c/cell?path=x&known=4").await;
    assert_eq!((status, &problem["known_until"]), (404, &json!(3)));
    let (_, history) = rig.get("/v1/state/c/history?path=x&known=2").await;
    let statuses: Vec<_> =
        history["writes"].as_array().unwrap().iter().map(|w| (&w["status"], &w["arrived"])).collect();
    assert_eq!(statuses, [(&json!("kept"), &json!(1)), (&json!("superseded"), &json!(0))]);
    for n in 3..120 {
        rig.put("/v1/state/c/cell?path=x", &json!({ "value": n })).await;
    }
    let (status, problem) = rig.get("/v1/state/c/cell?path=x&known=1").await;
    let from = problem["known_from"].as_u64().unwrap();
    assert_eq!(status, 404, "{problem}");
    let (_, cell) = rig.get(&format!("/v1/state/c/cell?path=x&known={from}")).await;
    assert_eq!(cell["register"]["value"], from - 1);
    let (_, listed) = rig.get("/v1/state/c/cells?known=1").await;
    assert_eq!(listed["forgotten"], json!([{"path": "x", "known_from": from}]));
    assert_eq!(rig.put("/v1/state/c/cell?path=x&known=1", &json!({"value": 1})).await.0, 400);
    rig.stop().await;
}
