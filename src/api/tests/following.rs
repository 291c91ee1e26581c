//! Following: events and frames, from anywhere, told what is missed.

use std::ops::ControlFlow;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::rig::{Rig, measured, now, raw, trade};
use crate::api::cursor::{Cursor, Told};
use crate::feed::{Start, Stored};
use crate::types::limits;
use crate::types::storage::{Batch, Key, Table, Txn, View};
use crate::wire::{Filter, Kind, Slot};

#[tokio::test]
async fn events_come_from_the_start_then_live_and_resume_after_the_last() {
    let rig = Rig::start().await;
    rig.trades(0..3).await;
    let mut events = rig.follow("?from=start&category=Data", None).await;
    assert_eq!(events.trades(2).await, ["0", "1"]);
    let third = events.next().await.unwrap();
    assert_eq!((third.id.as_str(), &third.data["position"]), ("3", &json!(2)));
    rig.trades(3..5).await;
    assert_eq!(events.trades(2).await, ["3", "4"]);
    drop(events);
    let mut again = rig.follow("?from=start&category=Data", Some(&third.id)).await;
    assert_eq!(again.trades(2).await, ["3", "4"]);
    assert_eq!(rig.get("/v1/subscribe?from=x").await.0, 400);
    rig.stop().await;
}

#[tokio::test]
async fn streams_end_when_the_api_stops() {
    let rig = Rig::start().await;
    let mut events = rig.follow("?kind=ExchangeData", None).await;
    rig.trades(0..1).await;
    assert_eq!(events.trades(1).await, ["0"]);
    let (rest, ()) = tokio::join!(events.next(), rig.stop());
    assert_eq!(rest, None);
}

#[tokio::test]
async fn what_was_let_go_is_told() {
    let rig = Rig::start().await;
    rig.trades(0..4).await;
    rig.trades(4..6).await;
    let mut batch = Batch::default();
    let mut tx = Txn::new(rig.store.as_ref(), &mut batch);
    let bundles = Key::new(Table::Bundle, &[]);
    let mut first = None;
    rig.store.scan(&bundles, &bundles.after_prefix(), &mut |key, _| {
        first = Slot::from_bytes(&key[1..]);
        ControlFlow::Break(())
    });
    Stored::remove(first.unwrap(), &mut tx);
    rig.store.commit(batch).unwrap();
    let mut events = rig.follow("?from=0", None).await;
    let lag = events.next().await.unwrap();
    assert_eq!((lag.event.as_str(), lag.id.as_str(), &lag.data), ("lag", "4", &json!({"missed": 4})));
    assert_eq!(events.trades(2).await, ["4", "5"]);
    assert_eq!(rig.get("/v1/messages?from=0").await.1["missed"], 4);
    rig.stop().await;
}

#[tokio::test]
async fn a_live_reader_far_behind_goes_on_at_the_newest_and_is_told() {
    let rig = Rig::start().await;
    let mut slow = Cursor::open(rig.state.clone(), Filter::default(), Start::End, None, false).await.unwrap();
    slow.patience = Some(3);
    rig.trades(0..3).await;
    assert!(matches!(now(slow.next()).await, Some(Told::Message { next: 1, .. })));
    rig.trades(3..13).await;
    for next in [2, 3] {
        assert!(matches!(now(slow.next()).await, Some(Told::Message { next: n, .. }) if n == next));
    }
    assert_eq!(now(slow.next()).await, Some(Told::Lag { missed: 10, next: Some(13) }));
    rig.trades(13..14).await;
    assert!(matches!(now(slow.next()).await, Some(Told::Message { next: 14, .. })));

    let mut replay = Cursor::open(rig.state.clone(), Filter::default(), Start::Beginning, None, false).await.unwrap();
    for next in 1..=14 {
        assert!(matches!(now(replay.next()).await, Some(Told::Message { next: n, .. }) if n == next));
    }
    rig.stop().await;
}

#[tokio::test]
async fn what_is_not_kept_is_told_to_those_who_are_level() {
    let rig = Rig::start().await;
    let filter = Filter { kinds: [Kind::Metrics].into(), ..Filter::default() };
    let mut cursor = Cursor::open(rig.state.clone(), filter, Start::End, None, true).await.unwrap();
    tokio::select! {
        biased;
        told = cursor.next() => panic!("{told:?}"),
        () = std::future::ready(()) => {}
    }
    rig.say(measured()).await;
    let Some(Told::Ephemeral { envelope }) = now(cursor.next()).await else { panic!("not ephemeral") };
    let envelope: Value = serde_json::from_str(&envelope).unwrap();
    assert_eq!((&envelope["message_type"], &envelope["position"]), (&json!("Metrics"), &json!(null)));

    // The channel holds so many; those who do not listen are told how many they missed.
    for _ in 0..limits::EPHEMERAL_QUEUE + 8 {
        rig.say(measured()).await;
    }
    let Some(Told::Lag { missed, next: None }) = now(cursor.next()).await else { panic!("no lag") };
    assert!(missed >= 8, "{missed}");
    rig.stop().await;
}

#[tokio::test]
async fn there_are_only_so_many_subscribers() {
    let rig = Rig::start().await;
    let seats = rig.state.seats.clone().acquire_many_owned(limits::SUBSCRIBERS as u32 - 1).await.unwrap();
    let events = rig.follow("", None).await;
    assert_eq!(rig.get("/v1/subscribe").await.0, 503);
    assert_eq!(rig.get("/v1/status").await.1["subscribers"], limits::SUBSCRIBERS);
    drop((events, seats));
    rig.stop().await;
}

/// Reads one unmasked frame of at most 64 KiB (RFC 6455, section 5.2): its opcode and its text.
pub async fn frame(socket: &mut TcpStream) -> (u8, String) {
    let mut head = [0; 2];
    now(socket.read_exact(&mut head)).await.unwrap();
    let size = match head[1] {
        126 => {
            let mut size = [0; 2];
            socket.read_exact(&mut size).await.unwrap();
            usize::from(u16::from_be_bytes(size))
        }
        size => usize::from(size),
    };
    let mut text = vec![0; size];
    socket.read_exact(&mut text).await.unwrap();
    (head[0] & 0x0F, String::from_utf8_lossy(&text).into())
}

#[tokio::test]
async fn frames_come_over_websocket() {
    let rig = Rig::start().await;
    rig.trades(0..2).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let ask = format!("GET /v1/ws?from=-1&category=Data HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n");
    let (mut socket, head) = raw(&rig, &ask).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let (opcode, text) = frame(&mut socket).await;
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((opcode, &told["type"], &told["next"]), (1, &json!("message"), &json!(2)));
    assert_eq!(told["message"]["payload"], trade(1));
    rig.trades(2..3).await;
    assert!(frame(&mut socket).await.1.contains("\"trade_id\":\"2\""));

    let foreign = format!("GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n{upgrade}\r\n");
    assert!(raw(&rig, &foreign).await.1.starts_with("HTTP/1.1 403"));
    assert_eq!(rig.get("/v1/ws").await.0, 400);
    let (closed, ()) = tokio::join!(frame(&mut socket), rig.stop());
    assert_eq!(closed.0, 8);
}
