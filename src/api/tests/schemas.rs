//! Schemas: registered, compared, and held against Custom messages before they are said and when they are read.

use serde_json::{Value, json};

use super::rig::{Rig, now};
use crate::wire::{Kind, Payload};

const SUBJECT: &str = "/v1/schemas/acme.orders";

fn order(required: &[&str]) -> Value {
    json!({
        "type": "object", "required": required, "additionalProperties": false,
        "properties": {"id": {"type": "integer"}, "note": {"type": "string", "maxLength": 5}},
    })
}

fn custom(version: u32, body: &Value) -> Value {
    json!({
        "type_name": "acme.orders", "schema_version": version, "content_type": "application/json",
        "body": hex::encode(body.to_string()),
    })
}

fn paths(problem: &Value) -> Vec<&str> {
    problem["faults"].as_array().unwrap().iter().map(|fault| fault["path"].as_str().unwrap()).collect()
}

async fn publish(rig: &Rig, payload: Value) -> (u16, Value) {
    rig.post("/v1/messages", &json!({"kind": "External/Custom", "payload": payload})).await
}

#[tokio::test]
async fn versions_are_registered_when_they_go_with_those_before() {
    let rig = Rig::start().await;
    assert_eq!(rig.get("/v1/schemas").await, (200, json!({"schemas": [], "more": false})));
    assert_eq!(rig.get(SUBJECT).await.0, 404);
    let versions = format!("{SUBJECT}/versions");
    let (status, first) = rig.post(&versions, &json!({"schema": order(&["id", "note"])})).await;
    assert_eq!((status, &first["version"], &first["compatibility"]), (201, &json!(1), &json!("backward")), "{first}");
    // The same again is the same.
    let (status, again) = rig.post(&versions, &json!({"schema": order(&["id", "note"])})).await;
    assert_eq!((status, &again), (200, &first));
    let (status, second) = rig.post(&versions, &json!({"schema": order(&["id"]), "compatibility": "full"})).await;
    assert_eq!((status, &second["version"]), (201, &json!(2)));

    let check = |schema: Value| json!({ "schema": schema });
    let (status, found) = rig.post(&format!("{SUBJECT}/check"), &check(order(&["id", "note"]))).await;
    assert_eq!((status, &found["verdict"], &found["compatibility"]), (200, &json!("incompatible"), &json!("full")));
    assert_eq!(found["conflicts"][0]["findings"][0]["path"], "/required");
    let mut other = order(&["id"]);
    other["not"] = json!({"required": ["note"], "maxProperties": 1});
    let (_, found) = rig.post(&format!("{SUBJECT}/check"), &check(other)).await;
    assert_eq!(found["verdict"], "cannot_tell");
    let (_, found) = rig.post(&format!("{SUBJECT}/check"), &check(order(&["id"]))).await;
    assert_eq!((&found["verdict"], &found["conflicts"]), (&json!("compatible"), &json!([])));

    let (status, problem) = rig.post(&versions, &check(order(&["id", "note"]))).await;
    assert_eq!((status, paths(&problem)), (422, vec!["/schema/required"]));
    let broken = json!({"schema": {"typ": 1, "$ref": "http://x"}, "version": 7});
    let (status, problem) = rig.post(&versions, &broken).await;
    assert_eq!((status, paths(&problem)), (422, vec!["/version", "/schema/$ref", "/schema/typ"]));
    assert_eq!(rig.post("/v1/schemas/no%20name/versions", &check(json!({}))).await.0, 422);
    assert_eq!(rig.post("/v1/schemas/a%00b/versions", &check(json!({}))).await.0, 422);

    let (_, history) = rig.get(SUBJECT).await;
    assert_eq!((&history["latest"], history["versions"].as_array().unwrap().len()), (&json!(2), 2));
    assert_eq!(history["owner"], rig.get("/v1/status").await.1["id"]);
    assert_eq!(rig.get(&format!("{SUBJECT}/versions/latest")).await, (200, second));
    assert_eq!(rig.get(&format!("{SUBJECT}/versions/1")).await.1["schema"], order(&["id", "note"]));
    assert_eq!(rig.get(&format!("{SUBJECT}/versions/3")).await.0, 404);
    assert_eq!(rig.get("/v1/schemas?limit=0").await.0, 400);
    let (_, listed) = rig.get("/v1/schemas").await;
    assert_eq!((&listed["schemas"][0]["subject"], &listed["schemas"][0]["latest"]), (&json!("acme.orders"), &json!(2)));
    // The way of any message is the way of a registration, with the same checks.
    let payload =
        json!({"subject": "acme.orders", "version": 9, "compatibility": "none", "schema": {"type": "string"}});
    let message = json!({"kind": "SchemaRegistration", "payload": payload});
    let (status, problem) = rig.post("/v1/messages", &message).await;
    assert_eq!(
        (status, paths(&problem)),
        (422, vec!["/payload/version", "/payload/schema/type", "/payload/schema/type"])
    );
    rig.stop().await;
}

#[tokio::test]
async fn what_a_schema_refuses_is_not_said_and_tells_every_fault() {
    let rig = Rig::start().await;
    assert_eq!(publish(&rig, custom(1, &json!({"any": "thing"}))).await.0, 201, "nobody registered it yet");
    let made = rig.post(&format!("{SUBJECT}/versions"), &json!({"schema": order(&["id"])})).await;
    assert_eq!(made.0, 201);
    assert_eq!(publish(&rig, custom(1, &json!({"id": 7}))).await.0, 201);
    let (status, problem) = publish(&rig, custom(1, &json!({"note": "too long", "any": 1}))).await;
    let mut found = paths(&problem);
    found.sort_unstable();
    assert_eq!((status, found), (422, vec!["/payload/body/any", "/payload/body/id", "/payload/body/note"]));
    let (status, problem) = publish(&rig, custom(2, &json!({"id": 7}))).await;
    assert_eq!((status, paths(&problem)), (422, vec!["/payload/schema_version"]));
    // Of many, each tells its line; nothing is published.
    let lines = [custom(1, &json!({"id": 1})), custom(1, &json!({})), custom(1, &json!([]))];
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    let (status, problem) = rig.lines("/v1/messages?kind=External/Custom", lines.join("\n")).await;
    let told: Vec<_> = problem["faults"].as_array().unwrap().iter().map(|fault| fault["line"].clone()).collect();
    assert_eq!((status, told), (422, vec![json!(2), json!(3)]));
    let text = rig.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(text.contains("metanode_schema_refused_messages_total 4"), "{text}");
    rig.stop().await;
}

#[tokio::test]
async fn what_a_schema_refuses_goes_to_no_reader_and_dies_in_a_durable_subscription() {
    let rig = Rig::start().await;
    let read = |version, body: &Value| Payload::from_json(Kind::Custom, &custom(version, body)).unwrap();
    let mut events = rig.follow("?kind=External/Custom", None).await;
    // Said before its schema was known here, as other nodes do.
    let bad = rig.say(read(1, &json!({"id": "seven"}))).await;
    let good = rig.say(read(1, &json!({"id": 7}))).await;
    let unknown = rig.say(read(5, &json!("of a version that may be on its way"))).await;
    assert_eq!(events.next().await.unwrap().data["id"], bad.to_string());
    let made = rig.post(&format!("{SUBJECT}/versions"), &json!({"schema": order(&["id"])})).await;
    assert_eq!(made.0, 201);

    let (_, page) = rig.get("/v1/messages?kind=External/Custom").await;
    let ids: Vec<&Value> = page["messages"].as_array().unwrap().iter().map(|message| &message["id"]).collect();
    assert_eq!(ids, [&json!(good), &json!(unknown)]);
    let (_, found) = rig.get(&format!("/v1/messages/{bad}")).await;
    assert_eq!(found["faults"][0]["path"], "/payload/body/id", "it can be looked at, and says what is wrong");
    assert_eq!(rig.get(&format!("/v1/messages/{good}")).await.1.get("faults"), None);
    let mut again = rig.follow("?kind=External/Custom&from=start", None).await;
    assert_eq!(again.next().await.unwrap().data["id"], good.to_string());

    let made = rig.put("/v1/subscriptions/orders", &json!({"filter": {"kinds": ["Custom"]}, "from": "start"})).await;
    assert_eq!(made.0, 200, "{}", made.1);
    let fetched = now(rig.post("/v1/subscriptions/orders/fetch", &json!({"max": 9, "wait_ms": 0}))).await;
    let ids: Vec<&Value> = fetched.1["messages"].as_array().unwrap().iter().map(|m| &m["message"]["id"]).collect();
    assert_eq!(ids, [&json!(good), &json!(unknown)]);
    let (_, dead) = rig.get("/v1/dead-letters").await;
    let dead = &dead["dead_letters"][0];
    assert_eq!((&dead["message"], &dead["disposition"]), (&json!(bad), &json!("schema")));
    assert!(dead["reason"].as_str().unwrap().contains("/payload/body/id"), "{dead}");
    rig.stop().await;
}
