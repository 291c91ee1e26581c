//! How much there is of replicated state, and asking for the validators' word on it.

use serde_json::json;

use super::rig::Rig;

#[tokio::test]
async fn what_there_is_of_a_range_is_counted_and_a_node_without_a_chain_says_so() {
    let rig = Rig::start().await;
    for n in 0..4 {
        rig.put(&format!("/v1/state/c/cell?path=p/{n}"), &json!({ "value": n })).await;
    }
    let (_, listed) = rig.get("/v1/state").await;
    let (status, all) = rig.get("/v1/state/c/extent").await;
    assert_eq!((status, &all["writes"], &all["root"]), (200, &json!(4), &listed["collections"][0]["root"]));
    let (_, history) = rig.get("/v1/state/c/history?path=p/1").await;
    let version = history["writes"][0]["version"].as_str().unwrap().to_string();
    let (_, before) = rig.get(&format!("/v1/state/c/extent?before={version}")).await;
    let (_, after) = rig.get(&format!("/v1/state/c/extent?after={version}")).await;
    assert_eq!((&before["writes"], &after["writes"]), (&json!(1), &json!(2)), "it is in neither");
    let (_, none) = rig.get("/v1/state/nothing/extent").await;
    assert_eq!(none, json!({"writes": 0, "root": "0".repeat(64)}));
    assert_eq!(rig.get("/v1/state/c/extent?after=x").await.0, 400);
    assert_eq!(rig.get("/v1/state/a%2Fb/extent").await.0, 400);
    let chunk = rig.request(reqwest::Method::GET, &format!("/v1/state/c/chunk?before={version}"));
    assert_eq!(chunk.send().await.unwrap().headers()["metanode-unproved"], "0");

    let asked = json!({"until_ms": 5, "collections": [{"name": "c", "writes": 4, "root": all["root"]}]});
    let (status, problem) = rig.post("/v1/state/endorsement", &asked).await;
    assert_eq!(status, 404, "{problem}");
    let (status, _) = rig.post("/v1/state/endorsement", &json!({"until_ms": 5})).await;
    assert_eq!(status, 400);
    rig.stop().await;
}
