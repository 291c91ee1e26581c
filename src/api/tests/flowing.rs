//! The six stages, tapped and counted; rates; alerts; and that what is handed to Prometheus names what exists.

use reqwest::Method;
use serde_json::{Value, json};

use super::following::frame;
use super::rig::{Rig, envelope, raw, trade};
use crate::api::look;
use crate::meter::{AlertRule, Comparison, Metric};
use crate::wire::Kind;

async fn metrics(rig: &Rig) -> String {
    rig.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn every_message_is_counted_at_every_stage_and_every_refusal_with_its_reason() {
    let rig = Rig::start().await;
    rig.trades(0..5).await;
    assert_eq!(rig.post("/v1/messages", &json!({"kind": "Data/ExchangeData", "payload": {}})).await.0, 422);
    let sealed_for_nobody = json!({"kind": "Data/ExchangeData", "payload": trade(1), "destination": {"service": "x"}});
    assert_ne!(rig.post("/v1/messages", &sealed_for_nobody).await.0, 201);
    // What is answered when it is on the disk is through with the last stage soon after.
    assert_eq!(rig.post("/v1/messages?ack=durable", &envelope(9)).await.0, 201);
    let last = "metanode_stage_messages_total{priority=\"Normal\",category=\"Data\",stage=\"postprocess\"} 6\n";
    let mut text = metrics(&rig).await;
    while !text.contains(last) {
        text = metrics(&rig).await;
    }
    let flow = rig.get("/v1/flow").await.1;
    let stages = flow["stages"].as_array().unwrap();
    let names: Vec<&str> = stages.iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    assert_eq!(names, ["preprocess", "validate", "transform", "route", "deliver", "postprocess"]);
    let of_data = |stage: &str| {
        format!("metanode_stage_messages_total{{priority=\"Normal\",category=\"Data\",stage=\"{stage}\"}} ")
    };
    for (stage, count) in names.iter().zip([7, 6, 6, 6, 6, 6]) {
        assert!(text.contains(&format!("{}{count}\n", of_data(stage))), "{stage}: {text}");
    }
    for line in [
        "metanode_stage_refused_messages_total{stage=\"preprocess\",reason=\"malformed\"} 1",
        "metanode_stage_refused_messages_total{stage=\"validate\",reason=\"no_reader\"} 1",
        "metanode_stage_duration_seconds_bucket{le=\"0.00005\",priority=\"Normal\",category=\"Data\",stage=\"route\"}",
        "metanode_packing_unpacked_bytes_total ",
        "metanode_store_written_rows_total ",
        "metanode_net_received_bytes_total 0",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_tap_shows_messages_with_their_ids_and_what_was_refused_and_lets_the_rest_pass() {
    let rig = Rig::start().await;
    let mut tap = rig.follow_at("/v1/tap", "?category=Data&stage=route,validate", None).await;
    let mut refused = rig.follow_at("/v1/tap", "?refused=true&stage=preprocess", None).await;
    let ids = rig.trades(0..3).await;
    let validated = tap.next().await.unwrap();
    assert_eq!((validated.event.as_str(), &validated.data["stage"]), ("seen", &json!("validate")));
    let (kind, count) = (&validated.data["kind"], &validated.data["messages"]);
    assert_eq!((kind, count), (&serde_json::to_value(Kind::ExchangeData).unwrap(), &json!(3)));
    for id in &ids {
        let seen = tap.next().await.unwrap().data;
        assert_eq!((&seen["stage"], seen["id"].as_str()), (&json!("route"), Some(id.as_str())), "{seen}");
        assert_eq!((&seen["outcome"], &seen["own"]), (&json!("passed"), &json!(true)));
        assert!(seen["took_us"].is_u64());
    }
    rig.lines("/v1/messages", "no json").await;
    let seen = refused.next().await.unwrap().data;
    assert_eq!((&seen["reason"], &seen["outcome"]), (&json!("malformed"), &json!("refused")));
    assert_eq!(rig.get("/v1/tap?stage=nowhere").await.0, 400);
    rig.stop().await;
}

#[tokio::test]
async fn a_tap_over_websocket_shows_what_the_events_show() {
    let rig = Rig::start().await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let query = "category=Data&stage=route";
    let ask = format!("GET /v1/tap/ws?{query} HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n");
    let (mut socket, head) = raw(&rig, &ask).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let mut events = rig.follow_at("/v1/tap", &format!("?{query}"), None).await;
    for id in rig.trades(0..3).await {
        let (opcode, text) = frame(&mut socket).await;
        let told: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((opcode, &told["type"], told["seen"]["id"].as_str()), (1, &json!("seen"), Some(id.as_str())));
        assert_eq!(told["seen"], events.next().await.unwrap().data);
    }
    assert_eq!(rig.get("/v1/tap/ws").await.0, 400);
    let wrong = format!("GET /v1/tap/ws?stage=nowhere HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n");
    assert!(raw(&rig, &wrong).await.1.starts_with("HTTP/1.1 400"));
    let (closed, ()) = tokio::join!(frame(&mut socket), rig.stop());
    assert_eq!(closed.0, 8);
}

#[tokio::test]
async fn whoever_taps_too_slowly_is_told_how_many_messages_were_missed() {
    let rig = Rig::start().await;
    let pipeline = rig.state.watch.pipeline.clone();
    let mut slow = pipeline.tap();
    rig.trades(0..4).await;
    let first = slow.recv().await.unwrap();
    let mut seen = first.before + first.passages.iter().map(|passage| passage.messages).sum::<u64>();
    // Nobody reads while many more pass than are kept for whoever is slow.
    for n in 0..100 {
        rig.trades(n..n + 2).await;
    }
    let (mut lagged, mut missed) = (false, 0);
    while !slow.is_empty() {
        match slow.recv().await {
            Ok(tapped) => {
                missed += tapped.before - seen;
                seen = tapped.before + tapped.passages.iter().map(|passage| passage.messages).sum::<u64>();
            }
            Err(_) => lagged = true,
        }
    }
    assert!(lagged && missed > 0, "{missed}");
    drop(slow);
    assert!(!pipeline.is_tapped());
    rig.stop().await;
}

fn rule(name: &str, metric: Metric, threshold: f64, announce: bool) -> AlertRule {
    let comparison = Comparison::Above;
    AlertRule { name: name.into(), metric, comparison, threshold, for_s: 0, announce, enabled: true }
}

#[tokio::test]
async fn an_alert_that_fires_is_shown_and_told_to_the_network() {
    let rules = [rule("any_peers", Metric::Peers, -1.0, true), rule("disk", Metric::DiskBytes, 1e15, false)];
    let rig = Rig::start_with(|state, _| state.alerting(&rules)).await;
    assert_eq!(rig.get("/v1/status").await.1["firing_alerts"], json!([]));
    look(&rig.state).await.unwrap();
    assert_eq!(rig.get("/v1/status").await.1["firing_alerts"], json!(["any_peers"]));
    let alerts = rig.get("/v1/alerts").await.1;
    let of =
        |name: &str| alerts["alerts"].as_array().unwrap().iter().find(|alert| alert["name"] == name).unwrap().clone();
    assert_eq!((&of("any_peers")["state"], &of("any_peers")["fired"]), (&json!("firing"), &json!(1)));
    assert_eq!((&of("disk")["state"], &of("slow")["state"]), (&json!("quiet"), &json!("quiet")));
    let mut told = rig.follow("?from=start&kind=Monitoring/LogRecord", None).await;
    let told = told.next().await.unwrap().data;
    assert_eq!(told["payload"]["fields"]["alert"], "any_peers", "{told}");
    look(&rig.state).await.unwrap();
    assert_eq!(rig.get("/v1/alerts").await.1["alerts"][1]["fired"], json!(1), "once, not every second");
    rig.stop().await;
}

#[tokio::test]
async fn rates_are_of_what_passed_between_two_looks() {
    let rig = Rig::start().await;
    look(&rig.state).await.unwrap();
    rig.trades(0..50).await;
    look(&rig.state).await.unwrap();
    let flow = rig.get("/v1/flow").await.1;
    let number = |name: &str| flow["rates"][name].as_f64().unwrap();
    assert!(number("messages_per_second") > 0.0 && number("bytes_per_second") > 0.0, "{flow}");
    assert!(number("peak_messages_per_second") >= number("messages_per_second") * 0.99, "{flow}");
    rig.stop().await;
}

/// The names of metrics in a text.
fn named(text: &str) -> std::collections::BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_name(c)).filter(|word| word.starts_with("metanode_"));
    words.map(String::from).collect()
}

#[tokio::test]
async fn alert_rules_and_dashboard_name_metrics_that_exist() {
    let rig = Rig::start().await;
    rig.trades(0..3).await;
    rig.post("/v1/messages", &json!({"kind": "x"})).await;
    let exported = named(&metrics(&rig).await);
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/prometheus");
    let rules = std::fs::read_to_string(folder.join("alerts.yml")).unwrap();
    let dashboard = std::fs::read_to_string(folder.join("dashboard.json")).unwrap();
    let panels: Value = serde_json::from_str(&dashboard).unwrap();
    assert!(panels["panels"].as_array().unwrap().len() >= 8);
    // These have no value before a peer's message came live; their family is there all the same.
    let families = |name: &String| {
        exported.contains(name)
            || ["_bucket", "_sum", "_count"]
                .iter()
                .any(|end| name.strip_suffix(end).is_some_and(|n| exported.contains(n)))
    };
    for text in [rules, dashboard] {
        let names = named(&text);
        assert!(names.len() > 8, "{names:?}");
        let unknown: Vec<&String> = names.iter().filter(|name| !families(name)).collect();
        assert!(unknown.is_empty(), "{unknown:?} in {exported:?}");
    }
    rig.stop().await;
}
