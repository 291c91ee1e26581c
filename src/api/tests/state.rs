//! Replicated state over the API: cells, batches, conditions, history, conflicts, what happens.

use reqwest::Method;
use serde_json::{Value, json};

use super::rig::{Events, Rig, answer};
use crate::types::{NodeId, Version};

async fn put(rig: &Rig, path: &str, value: Value) -> Value {
    let (status, answer) = rig.put(&format!("/v1/state/c/cell?path={path}"), &json!({ "value": value })).await;
    assert_eq!(status, 200, "{answer}");
    answer["versions"][0].clone()
}

async fn delete(rig: &Rig, query: &str) -> (u16, Value) {
    answer(rig.request(Method::DELETE, &format!("/v1/state/c/cell?{query}"))).await
}

async fn batch(rig: &Rig, changes: Value) -> (u16, Value) {
    rig.post("/v1/state/c/batch", &json!({ "changes": changes, "client": "test" })).await
}

#[tokio::test]
async fn a_cell_is_put_read_and_deleted_and_conditions_hold() {
    let rig = Rig::start().await;
    assert_eq!(rig.get("/v1/state/c/cell?path=a/b").await.0, 404);
    let first = put(&rig, "a/b", json!({"x": [1, 2]})).await;
    let (status, cell) = rig.get("/v1/state/c/cell?path=a/b").await;
    assert_eq!((status, &cell["register"]["value"]), (200, &json!({"x": [1, 2]})));
    assert_eq!((&cell["register"]["version"], &cell["counter"]), (&first, &json!(null)));
    let message = cell["register"]["message"].as_str().unwrap();
    let (_, found) = rig.get(&format!("/v1/messages/{message}")).await;
    assert_eq!(found["message"]["message_type"], "CollectionWrite", "the write is a message like any other");

    let expect = |more: Value| {
        let mut body = json!({"value": 2});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let path = "/v1/state/c/cell?path=a/b";
    let (status, problem) = rig.put(path, &expect(json!({"if_absent": true}))).await;
    assert_eq!((status, &problem["current"]), (409, &first));
    let wrong = Version::default().to_string();
    assert_eq!(rig.put(path, &expect(json!({ "if_version": wrong }))).await.0, 409);
    assert_eq!(rig.put(path, &expect(json!({ "if_version": first }))).await.0, 200);
    assert_eq!(delete(&rig, &format!("path=a/b&if_version={}", first.as_str().unwrap())).await.0, 409);
    assert_eq!(delete(&rig, "path=a/b").await.0, 200);
    assert_eq!(rig.get(path).await.0, 404);
    let (status, again) = delete(&rig, "path=a/b").await;
    assert_eq!((status, again), (200, json!({"message": null, "versions": [null]})), "there is nothing to delete");
    assert_eq!(rig.put(path, &expect(json!({"if_absent": true}))).await.0, 200);

    let written = cell["register"]["written_ms"].as_u64().unwrap();
    let (_, then) = rig.get(&format!("{path}&at_ms={written}")).await;
    let was: &Value = &then["register"]["value"];
    assert!(*was == json!({"x": [1, 2]}) || *was == json!(2), "both were written in that millisecond, or one: {then}");
    assert_eq!(rig.get(&format!("{path}&at_ms={}", written - 1)).await.0, 404);
    assert_eq!(rig.put(&format!("{path}&at_ms=1"), &expect(json!({}))).await.0, 400);
    let (_, history) = rig.get("/v1/state/c/history?path=a/b").await;
    let statuses: Vec<&Value> = history["writes"].as_array().unwrap().iter().map(|write| &write["status"]).collect();
    assert_eq!(statuses, ["kept", "superseded", "superseded", "superseded"]);
    let (_, page) = rig.get("/v1/state/c/history?path=a/b&limit=3").await;
    let next = page["next"].as_str().unwrap();
    let (_, rest) = rig.get(&format!("/v1/state/c/history?path=a/b&limit=3&before={next}")).await;
    assert_eq!((rest["writes"].as_array().unwrap().len(), &rest["next"]), (1, &json!(null)));
    assert_eq!(rig.get("/v1/state/c/conflicts").await.1["conflicts"], json!([]));
    rig.stop().await;
}

#[tokio::test]
async fn a_batch_is_made_whole_or_not_at_all() {
    let rig = Rig::start().await;
    let changes = json!([
        {"path": "s", "do": {"add": "x"}}, {"path": "s", "do": {"add": "y"}}, {"path": "n", "do": {"count": 5}},
        {"path": "v", "do": {"assign": 1}}, {"path": "r", "do": {"put": null}},
    ]);
    let (status, wrote) = batch(&rig, changes).await;
    assert_eq!(status, 200, "{wrote}");
    assert_eq!(wrote["versions"].as_array().unwrap().len(), 5);
    assert_eq!(
        batch(&rig, json!([{"path": "n", "do": {"count": -7}}, {"path": "s", "do": {"remove": "x"}}])).await.0,
        200
    );
    let (_, listed) = rig.get("/v1/state/c/cells").await;
    let cells = listed["cells"].as_array().unwrap();
    let paths: Vec<&Value> = cells.iter().map(|cell| &cell["path"]).collect();
    assert_eq!(paths, ["n", "r", "s", "v"]);
    assert_eq!(cells[0]["counter"], json!({"value": -2, "shares": 1}));
    assert_eq!(cells[1]["register"]["value"], json!(null));
    assert_eq!((cells[2]["elements"].as_array().unwrap().len(), &cells[2]["elements"][0]["element"]), (1, &json!("y")));

    let (_, before) = rig.get("/v1/state").await;
    let both = json!([{"path": "new", "do": {"put": 1}}, {"path": "r", "do": {"put": 1}, "if_absent": true}]);
    assert_eq!(batch(&rig, both).await.0, 409);
    assert_eq!(rig.get("/v1/state/c/cell?path=new").await.0, 404, "nothing of it was made");
    assert_eq!(rig.get("/v1/state").await.1, before);
    let twice = json!([{"path": "r", "do": {"put": 1}}, {"path": "r", "do": "delete"}]);
    assert_eq!(batch(&rig, twice).await.0, 422);
    assert_eq!(batch(&rig, json!([])).await.0, 422);
    let many: Vec<Value> = (0..65).map(|n| json!({"path": format!("m/{n}"), "do": {"put": n}})).collect();
    assert_eq!(batch(&rig, json!(many)).await.0, 422);
    rig.stop().await;
}

#[tokio::test]
async fn names_paths_and_values_out_of_bounds_are_refused_with_what_would_be_right() {
    let rig = Rig::start().await;
    for wrong in ["a%20b", "c@me", "", &"c".repeat(129)] {
        let (status, _) = rig.put(&format!("/v1/state/{wrong}/cell?path=a"), &json!({"value": 1})).await;
        assert!(matches!(status, 400 | 404), "{wrong}: {status}");
    }
    let deep = vec!["a"; 1_000].join("/");
    for wrong in ["", "/", "a//b", "a/../b", ".", "a/%00", &deep, &"p".repeat(513)] {
        let (status, problem) = rig.put(&format!("/v1/state/c/cell?path={wrong}"), &json!({"value": 1})).await;
        assert_eq!(status, 400, "{wrong}: {problem}");
    }
    let path = format!("/v1/state/c/cell?path={}", "p".repeat(512));
    let value = "v".repeat(64 * 1024 - 2);
    assert_eq!(rig.put(&path, &json!({ "value": value })).await.0, 200, "at the limit");
    assert_eq!(rig.put(&path, &json!({ "value": format!("{value}v") })).await.0, 422, "over it");
    let other = NodeId(ed25519_dalek::SigningKey::from_bytes(&[9; 32]).verifying_key().to_bytes());
    let (status, problem) = rig.put(&format!("/v1/state/c@{other}/cell?path=a"), &json!({"value": 1})).await;
    assert_eq!((status, &problem["type"]), (403, &json!("urn:metanode:problem:denied")));
    let own = rig.get("/v1/status").await.1["id"].as_str().unwrap().to_string();
    assert_eq!(rig.put(&format!("/v1/state/c@{own}/cell?path=a"), &json!({"value": 1})).await.0, 200);
    assert_eq!(rig.get("/v1/state/c/cells?limit=0").await.0, 400);
    assert_eq!(rig.get("/v1/state/c/conflicts?after=zz").await.0, 400);
    rig.stop().await;
}

async fn follow(rig: &Rig, query: &str, last: Option<&str>) -> Events {
    rig.follow_at("/v1/state/subscribe", query, last).await
}

#[tokio::test]
async fn what_happens_is_told_in_order_and_again_to_whoever_comes_back() {
    let rig = Rig::start().await;
    let first = put(&rig, "a/b", json!(1)).await;
    let mut live = follow(&rig, "", None).await;
    let mut replay = follow(&rig, "?from=0&prefix=a", None).await;
    put(&rig, "ab", json!(0)).await;
    let second = put(&rig, "a/b", json!(2)).await;
    let heard = replay.next().await.unwrap();
    assert_eq!((heard.event.as_str(), &heard.data["version"]), ("applied", &first));
    let again = replay.next().await.unwrap();
    assert_eq!((&again.data["version"], &again.data["other"]), (&second, &first));
    assert_eq!(
        (&again.data["op"], &again.data["other_op"]),
        (&json!({"set": {"value": 2}}), &json!({"set": {"value": 1}}))
    );
    assert_eq!(live.next().await.unwrap().data["path"], "ab");
    let mut back = follow(&rig, "", Some(&heard.id)).await;
    assert_eq!(back.next().await.unwrap().data["path"], "ab");
    let (_, page) = rig.get("/v1/state/changes?from=1&limit=1").await;
    assert_eq!((page["events"].as_array().unwrap().len(), &page["next"], &page["missed"]), (1, &json!(2), &json!(0)));
    rig.stop().await;
}

#[tokio::test]
async fn counts_are_those_of_the_rows() {
    let rig = Rig::start().await;
    for n in 0..20 {
        put(&rig, &format!("d/{}", n % 7), json!(n)).await;
    }
    assert_eq!(delete(&rig, "path=d&prefix=true").await.0, 200);
    put(&rig, "d/1", json!("new")).await;
    let (status, checked) = rig.get("/v1/state/c/check").await;
    assert_eq!((status, &checked["sound"], &checked["retained"]), (200, &json!(true), &json!(2)), "{checked}");
    assert_eq!(rig.get("/v1/state/other/check").await.0, 404);
    let (_, all) = rig.get("/v1/state").await;
    assert_eq!((&all["collections"][0]["root"], &all["collections"][0]["prefixes"]), (&checked["root"], &json!(1)));
    assert_eq!(rig.get("/v1/status").await.1["state_root"], all["root"]);
    rig.stop().await;
}

/// More changes in one bundle than a step has room for: the rest waits on the disk, and nothing is lost.
#[tokio::test]
async fn what_does_not_fit_a_step_is_merged_in_the_next() {
    let rig = Rig::start().await;
    let write = |n: usize| {
        let change = |k: usize| json!({"path": format!("{n}/{k}"), "op": {"set": {"value": k}}});
        json!({"collection": "c", "changes": (0..64).map(change).collect::<Vec<_>>()}).to_string()
    };
    let lines: Vec<String> = (0..100).map(write).collect();
    let (status, said) = rig.lines("/v1/messages?kind=Data/CollectionWrite&ack=written", lines.join("\n")).await;
    assert_eq!(status, 201, "{said}");
    let mut events = follow(&rig, "?from=0", None).await;
    for number in 0..6_400 {
        assert_eq!(events.next().await.unwrap().data["number"], number);
    }
    let (_, checked) = rig.get("/v1/state/c/check").await;
    assert_eq!((&checked["sound"], &checked["retained"]), (&json!(true), &json!(6_400)), "{checked}");
    let merged = rig.get("/v1/status").await.1["counters"]["merged_changes"].clone();
    assert_eq!(merged, 6_400, "each once");
    rig.stop().await;
}

/// The old value and the new one, when, by which client; and a client does not hear what it wrote itself.
#[tokio::test]
async fn settings_are_told_as_deltas_to_the_other_clients() {
    let rig = Rig::start().await;
    let mut others = follow(&rig, "?collection=c&prefix=ui&not_client=desk", None).await;
    let set = async |path: &str, value: Value, client: &str| {
        let body = json!({"value": value, "client": client});
        assert_eq!(rig.put(&format!("/v1/state/c/cell?path={path}"), &body).await.0, 200);
    };
    set("ui/theme", json!("grey"), "phone").await;
    set("ui/theme", json!("dark"), "desk").await;
    set("other", json!(1), "phone").await;
    set("ui/theme", json!("light"), "phone").await;
    assert_eq!(delete(&rig, "path=ui/theme&client=phone").await.0, 200);
    let mut told = Vec::new();
    for _ in 0..3 {
        let event = others.next().await.unwrap().data;
        assert!(event["at_ms"].as_u64().unwrap() > 0);
        told.push(json!([event["path"], event["old"], event["new"], event["client"]]));
    }
    let theme = |old: Value, new: Value| json!(["ui/theme", old, new, "phone"]);
    assert_eq!(told[0], theme(json!(null), json!("grey")));
    assert_eq!(told[1], theme(json!("dark"), json!("light")), "what desk wrote shows as what was before");
    assert_eq!(told[2], theme(json!("light"), json!(null)));
    rig.stop().await;
}

#[tokio::test]
async fn a_write_says_who_holds_it_and_what_became_of_it() {
    let rig = Rig::start().await;
    let body = json!({"value": 1, "ack": "peers:0"});
    assert_eq!(rig.put("/v1/state/c/cell?path=a", &body).await.0, 400);
    let (_, wrote) = rig.put("/v1/state/c/cell?path=a", &json!({"value": 1, "ack": "written"})).await;
    assert!(wrote.get("pending").is_none(), "{wrote}");
    let path = format!("/v1/state/writes/{}", wrote["message"].as_str().unwrap());
    let (status, state) = rig.get(&format!("{path}?peers=1&wait_ms=1")).await;
    assert_eq!((status, &state["pending"], &state["held_by"]), (200, &json!(true), &json!([])), "it is alone: {state}");
    assert_eq!((&state["collection"], &state["changes"][0]["fate"]), (&json!("c"), &json!("stands")));
    put(&rig, "a", json!(2)).await;
    let (_, state) = rig.get(&path).await;
    let change = &state["changes"][0];
    assert_eq!((&change["fate"], &change["now"]["register"]["value"]), (&json!("replaced"), &json!(2)));
    let trade = rig.trades(0..1).await.remove(0);
    assert_eq!(rig.get(&format!("/v1/state/writes/{trade}")).await.0, 404);
    rig.stop().await;
}
