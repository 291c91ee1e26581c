//! The shared graph over the API: fields, visibility, pages, paths, the past, and what followers are told.

use futures::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::following::frame;
use super::rig::{Events, Rig, answer, now, raw};
use crate::types::{WallMs, limits};
use crate::wire::{Place, PositionFrame};

async fn put(rig: &Rig, path: &str, body: Value) -> Value {
    let (status, answer) = rig.put(&format!("/v1/graphs/g/{path}"), &body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn patch(rig: &Rig, path: &str, body: Value) -> (u16, Value) {
    answer(rig.request(Method::PATCH, &format!("/v1/graphs/g/{path}")).json(&body)).await
}

async fn remove(rig: &Rig, path: &str) -> (u16, Value) {
    answer(rig.request(Method::DELETE, &format!("/v1/graphs/g/{path}"))).await
}

async fn join(rig: &Rig, id: &str, source: &str, target: &str, weight: f64) {
    put(rig, &format!("edges/{id}"), json!({"source": source, "target": target, "weight": weight})).await;
}

/// Four nodes in a row, and a long way round.
async fn row(rig: &Rig) {
    for id in ["a", "b", "c", "d"] {
        put(rig, &format!("nodes/{id}"), json!({"title": id.to_uppercase()})).await;
    }
    for (id, source, target, weight) in [("ab", "a", "b", 1.0), ("bc", "b", "c", 1.0), ("cd", "c", "d", 1.0)] {
        join(rig, id, source, target, weight).await;
    }
    join(rig, "ad", "a", "d", 9.0).await;
}

async fn next(events: &mut Events) -> Value {
    let heard = events.next().await.unwrap();
    let mut data = heard.data;
    assert_eq!(data["event"].take(), heard.event);
    data["event"] = json!(heard.event);
    data
}

#[tokio::test]
async fn nodes_and_edges_are_put_patched_paged_and_taken_out() {
    let rig = Rig::start().await;
    let all = json!({"type": "city", "title": "Home", "content": "long", "position": {"x": 1, "y": 2, "z": 3},
        "velocity": {"x": 0, "y": 0, "z": 0.5}, "metadata": {"k": "v", "l": "w"}});
    put(&rig, "nodes/a?client=me&ack=written", all).await;
    let (status, node) = rig.get("/v1/graphs/g/nodes/a").await;
    assert_eq!(status, 200);
    assert_eq!(
        (&node["type"], &node["position"]["z"], &node["metadata"]["k"]),
        (&json!("city"), &json!(3.0), &json!("v"))
    );
    assert!(node["last_modified_ms"].as_u64().unwrap() > 1_600_000_000_000);
    assert_eq!(patch(&rig, "nodes/a", json!({"title": "New", "metadata": {"l": null}})).await.0, 200);
    let (_, node) = rig.get("/v1/graphs/g/nodes/a").await;
    assert_eq!(
        (&node["title"], &node["content"], &node["metadata"]),
        (&json!("New"), &json!("long"), &json!({"k": "v"}))
    );
    assert_eq!(patch(&rig, "nodes/none", json!({"title": "x"})).await.0, 404);
    assert_eq!(rig.get("/v1/graphs/g/nodes/none").await.0, 404);

    put(&rig, "nodes/b", json!({})).await;
    join(&rig, "e", "a", "b", 2.0).await;
    assert_eq!(rig.get("/v1/graphs/g/edges/e").await.1["weight"], 2.0);
    assert_eq!(patch(&rig, "edges/e", json!({"weight": 3, "type": "road"})).await.0, 200);
    let (_, edge) = rig.get("/v1/graphs/g/edges/e").await;
    assert_eq!((&edge["weight"], &edge["type"], &edge["source"]), (&json!(3.0), &json!("road"), &json!("a")));
    let (_, next_to) = rig.get("/v1/graphs/g/nodes/b/neighbours").await;
    assert_eq!(
        (&next_to["neighbours"][0]["node"]["id"], &next_to["neighbours"][0]["edges"][0]["id"]),
        (&json!("a"), &json!("e"))
    );

    assert_eq!(remove(&rig, "nodes/b").await.0, 200);
    assert_eq!((rig.get("/v1/graphs/g/edges/e").await.0, remove(&rig, "nodes/b").await.0), (404, 404));
    assert_eq!(rig.get("/v1/graphs/g/nodes/a").await.1["connections"], json!([]));
    put(&rig, "nodes/b", json!({"title": "back"})).await;
    assert_eq!(rig.get("/v1/graphs/g/edges/e").await.0, 200, "the edge is shown again");
    assert_eq!(rig.get("/v1/graphs/g/nodes/a").await.1["connections"], json!(["b"]));
    assert_eq!((remove(&rig, "edges/e").await.0, remove(&rig, "edges/e").await.0), (200, 404));

    let (_, page) = rig.get("/v1/graphs/g/nodes?limit=1").await;
    assert_eq!((page["nodes"].as_array().unwrap().len(), &page["next"]), (1, &json!("a")));
    let (_, page) = rig.get("/v1/graphs/g/nodes?after=a").await;
    assert_eq!((&page["nodes"][0]["id"], &page["next"]), (&json!("b"), &json!(null)));
    // It is state like any other.
    assert_eq!(rig.get("/v1/state/g/cell?path=node/a/title").await.1["register"]["value"], "New");
    rig.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_what_would_be_right() {
    let rig = Rig::start().await;
    for (path, body, code) in [
        ("nodes/a%2Fb", json!({}), 400),
        ("nodes/..", json!({}), 404),
        ("nodes/%00", json!({}), 400),
        ("nodes/a", json!({"colour": 1}), 400),
        ("nodes/a", json!({"title": ""}), 422),
        ("nodes/a", json!({"content": "x".repeat(9_000)}), 422),
        ("edges/e", json!({"source": "a", "target": "a"}), 422),
        ("edges/e", json!({"source": "a"}), 422),
        ("edges/e", json!({"source": "a", "target": "b", "weight": -1}), 422),
    ] {
        let (status, problem) = rig.put(&format!("/v1/graphs/g/{path}"), &body).await;
        assert_eq!(status, code, "{path} {body}: {problem}");
    }
    assert_eq!(rig.get("/v1/graphs/a%20b/nodes").await.0, 400);
    assert_eq!(rig.get("/v1/graphs/g/paths?from=a").await.0, 404);
    assert_eq!(rig.get("/v1/graphs/g/nodes?limit=0").await.0, 400);
    rig.stop().await;
}

#[tokio::test]
async fn shortest_paths_are_told_and_told_again_when_they_change() {
    let rig = Rig::start().await;
    row(&rig).await;
    let (_, found) = rig.get("/v1/graphs/g/paths?from=a&to=d").await;
    let path = &found["paths"][0];
    assert_eq!((&path["distance"], &path["nodes"]), (&json!(3.0), &json!(["a", "b", "c", "d"])));
    assert_eq!(rig.get("/v1/graphs/g/paths?from=d&to=a").await.0, 404);
    assert_eq!(rig.get("/v1/graphs/g/paths?from=d&to=a&directed=false").await.1["paths"][0]["distance"], 3.0);
    let mut events = rig.follow_at("/v1/graphs/g/paths/subscribe", "?from=a", None).await;
    assert_eq!(events.next().await.unwrap().data["changed"].as_array().unwrap().len(), 4);
    assert_eq!(patch(&rig, "edges/bc", json!({"weight": 20})).await.0, 200);
    let data = events.next().await.unwrap().data;
    let told: Vec<(&Value, &Value)> =
        data["changed"].as_array().unwrap().iter().map(|path| (&path["to"], &path["distance"])).collect();
    assert_eq!(told, [(&json!("c"), &json!(21.0)), (&json!("d"), &json!(9.0))]);
    assert_eq!(remove(&rig, "nodes/b").await.0, 200);
    let data = events.next().await.unwrap().data;
    assert_eq!((&data["changed"], &data["gone"]), (&json!([]), &json!(["b", "c"])));
    rig.stop().await;
}

#[tokio::test]
async fn followers_are_told_each_change_and_a_snapshot_before_if_they_ask() {
    let rig = Rig::start().await;
    row(&rig).await;
    let mut live = rig.follow_at("/v1/graphs/g/subscribe", "", None).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let ask = format!("GET /v1/graphs/g/ws?snapshot=true HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n");
    let (mut socket, head) = raw(&rig, &ask).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    for number in 0..9 {
        let told: Value = serde_json::from_str(&frame(&mut socket).await.1).unwrap();
        let expected = ["NodeAdded", "EdgeCreated", "Ready"][number / 4];
        assert_eq!(told["event"], expected, "{told}");
    }
    assert_eq!(patch(&rig, "nodes/a", json!({"position": {"x": 5, "y": 0, "z": 0}})).await.0, 200);
    let told = next(&mut live).await;
    assert_eq!((&told["event"], &told["id"], &told["position"]["x"]), (&json!("NodeMoved"), &json!("a"), &json!(5.0)));
    let told: Value = serde_json::from_str(&frame(&mut socket).await.1).unwrap();
    assert_eq!((&told["event"], &told["id"]), (&json!("NodeMoved"), &json!("a")));
    assert_eq!(patch(&rig, "nodes/a", json!({"title": "other"})).await.0, 200);
    assert_eq!(next(&mut live).await["node"]["title"], "other");
    assert_eq!(patch(&rig, "edges/ab", json!({"weight": 4})).await.0, 200);
    let told = next(&mut live).await;
    assert_eq!((&told["event"], &told["weight"]), (&json!("EdgeWeightChanged"), &json!(4.0)));
    assert_eq!(remove(&rig, "nodes/b").await.0, 200);
    let told = [next(&mut live).await, next(&mut live).await, next(&mut live).await];
    let told = told.map(|told| told["event"].as_str().unwrap().to_string() + told["id"].as_str().unwrap());
    assert_eq!(told, ["EdgeDeletedab", "EdgeDeletedbc", "NodeRemovedb"]);
    put(&rig, "nodes/b", json!({})).await;
    assert_eq!(next(&mut live).await["event"], "NodeAdded");
    assert_eq!(next(&mut live).await["edge"]["id"], "ab");
    rig.stop().await;
}

#[tokio::test]
async fn the_graph_at_a_time_is_replayed() {
    let rig = Rig::start().await;
    put(&rig, "nodes/a", json!({"title": "first"})).await;
    put(&rig, "nodes/b", json!({})).await;
    join(&rig, "e", "a", "b", 1.0).await;
    let (_, cell) = rig.get("/v1/state/g/cell?path=edge/e").await;
    let then = cell["register"]["written_ms"].as_u64().unwrap();
    // The clock goes on until a later millisecond is written.
    while {
        put(&rig, "nodes/a", json!({"title": "later"})).await;
        let (_, cell) = rig.get("/v1/state/g/cell?path=node/a/title").await;
        cell["register"]["written_ms"].as_u64().unwrap() <= then
    } {}
    assert_eq!(remove(&rig, "nodes/b").await.0, 200);
    let (status, was) = rig.get(&format!("/v1/graphs/g/at?at_ms={then}")).await;
    assert_eq!((status, was["nodes"].as_array().unwrap().len(), &was["edges"][0]["id"]), (200, 2, &json!("e")));
    assert_eq!((&was["nodes"][0]["connections"], &was["forgotten"]), (&json!(["b"]), &json!(0)));
    let (_, last) = rig.get("/v1/graphs/g/at?at_ms=99999999999999").await;
    assert_eq!((last["nodes"].as_array().unwrap().len(), &last["edges"]), (1, &json!([])));
    assert_eq!(rig.get("/v1/graphs/g/at?at_ms=1").await.1["nodes"], json!([]));
    rig.stop().await;
}

#[tokio::test]
async fn only_so_many_graphs_are_held_and_idle_ones_make_room() {
    let rig = Rig::start().await;
    let mut followed = Vec::new();
    for n in 0..limits::GRAPHS {
        followed.push(rig.follow_at(&format!("/v1/graphs/g{n}/subscribe"), "", None).await);
    }
    assert_eq!(rig.get("/v1/graphs/more/nodes").await.0, 503);
    rig.stop().await;
}

type Socket = tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>;

async fn motion(rig: &Rig, query: &str) -> Socket {
    let stream = tokio::net::TcpStream::connect(rig.address).await.unwrap();
    let url = format!("ws://{}/v1/graphs/g/positions{query}", rig.address);
    tokio_tungstenite::client_async(url, stream).await.unwrap().0
}

async fn move_to(socket: &mut Socket, number: u32, x: f32) {
    let place = Place { number, position: [x, 0.0, 0.0], velocity: [0.5, 0.0, 0.0] };
    say(socket, PositionFrame::Places { frame: 0, at: WallMs(0), places: vec![place] }).await;
}

async fn say(socket: &mut Socket, frame: PositionFrame) {
    socket.send(Message::Binary(frame.encode().into())).await.unwrap();
}

/// The next frame; a close is its reason.
async fn hear(socket: &mut Socket) -> Result<PositionFrame, String> {
    loop {
        match now(socket.next()).await.unwrap().unwrap() {
            Message::Binary(bytes) => return Ok(PositionFrame::decode(&bytes).unwrap()),
            Message::Close(close) => return Err(close.unwrap().reason.to_string()),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn places(socket: &mut Socket) -> Vec<(u32, f32)> {
    match hear(socket).await.unwrap() {
        PositionFrame::Places { places, .. } => places.iter().map(|p| (p.number, p.position[0])).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nodes_in_motion_are_told_in_frames_and_written_down_at_rest() {
    let rig = Rig::start().await;
    row(&rig).await;
    let (mut sender, mut reader) = (motion(&rig, "?listen=false").await, motion(&rig, "").await);
    say(&mut sender, PositionFrame::Names(vec![(9, "b".into()), (4, "nobody".into())])).await;
    move_to(&mut sender, 4, 1.0).await;
    move_to(&mut sender, 9, 2.0).await;
    assert_eq!(hear(&mut reader).await, Ok(PositionFrame::Names(vec![(0, "b".into())])), "numbers are the node's own");
    assert_eq!(places(&mut reader).await, [(0, 2.0)]);
    move_to(&mut sender, 9, 3.0).await;
    assert_eq!(places(&mut reader).await, [(0, 3.0)]);
    // Who comes later begins with everything in motion.
    let mut late = motion(&rig, "").await;
    assert_eq!(hear(&mut late).await, Ok(PositionFrame::Names(vec![(0, "b".into())])));
    assert_eq!(places(&mut late).await, [(0, 3.0)]);
    // At rest it is written down, and the graph's followers are told.
    let mut changes = rig.follow_at("/v1/graphs/g/subscribe", "?snapshot=true", None).await;
    loop {
        let told = next(&mut changes).await;
        let moved = told["event"] == "NodeMoved" && told["position"]["x"] == 3.0;
        if moved || told["node"]["id"] == "b" && told["node"]["position"]["x"] == 3.0 {
            break;
        }
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_client_that_sends_what_is_no_frame_is_told_why() {
    let rig = Rig::start().await;
    row(&rig).await;
    let mut socket = motion(&rig, "").await;
    move_to(&mut socket, 7, 1.0).await;
    assert_eq!(hear(&mut socket).await, Err("number 7 has no name yet".into()));
    let mut socket = motion(&rig, "").await;
    socket.send(Message::Binary(vec![9, 9, 9, 9].into())).await.unwrap();
    assert!(hear(&mut socket).await.unwrap_err().contains("version 9"));
    let mut socket = motion(&rig, "").await;
    socket.send(Message::Text("{}".into())).await.unwrap();
    assert_eq!(hear(&mut socket).await, Err("frames are binary".into()));
    rig.stop().await;
}

/// More frames than wait for a client: what it reads after that is the newest, and all of it.
#[tokio::test]
async fn a_client_that_falls_behind_skips_to_the_newest() {
    let rig = Rig::start().await;
    row(&rig).await;
    let (mut sender, mut quick) = (motion(&rig, "?listen=false").await, motion(&rig, "").await);
    let slow = motion(&rig, "").await;
    say(&mut sender, PositionFrame::Names(vec![(0, "a".into()), (1, "b".into())])).await;
    let mut seen = 0.0;
    for x in 1..=40u8 {
        move_to(&mut sender, u32::from(x % 2), x.into()).await;
        while seen < f32::from(x) {
            if let Ok(PositionFrame::Places { places, .. }) = hear(&mut quick).await {
                seen = places.iter().map(|place| place.position[0]).fold(seen, f32::max);
            }
        }
    }
    let mut slow = slow;
    let mut last = std::collections::BTreeMap::new();
    while last.values().copied().fold(0.0, f32::max) < 40.0 {
        if let Ok(PositionFrame::Places { places, .. }) = hear(&mut slow).await {
            last.extend(places.iter().map(|place| (place.number, place.position[0])));
        }
    }
    assert_eq!(last.into_values().collect::<Vec<_>>(), [39.0, 40.0]);
    rig.stop().await;
}
