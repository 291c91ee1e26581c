//! The loop with a real store and no network: stages, restarts, copies.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use ed25519_dalek::SigningKey;

use super::*;
use crate::feed::{Room, bounds, page};
use crate::node::{Ack, Answer, Call, CallRefusal, LaneInfo, Life, Setup, Status};
use crate::store::{Store, StoreOptions};
use crate::types::{Hash, Incarnation, MessageId, NodeId, WallMs, limits};
use crate::wire::kind::Blob;
use crate::wire::kind::external::Custom;
use crate::wire::{Draft, Filter, Kind, Payload, Priority};

struct Loop {
    client: Client,
    watch: Watch,
    store: Arc<Store>,
    thread: JoinHandle<Ended>,
    commands: tokio::sync::mpsc::UnboundedReceiver<NetCommand>,
    inlet: Inlet,
}

impl Loop {
    fn start(folder: &Path, entropy: u64) -> Loop {
        let options = StoreOptions { path: folder.into(), cache_bytes: 1 << 20, flush_every_ms: 60_000 };
        let store = Arc::new(Store::open(&options).unwrap());
        let (ports, inlet, commands, client, watch) = ports();
        let setup = Setup {
            network: "driver".parse().unwrap(),
            key: SigningKey::from_bytes(&[7; 32]),
            entropy,
            place: store.place(),
            bootstrap: vec![("/ip4/127.0.0.1/tcp/9".into(), None)],
            target_peers: 4,
            scheduler: Default::default(),
            packing: Default::default(),
            lanes: Default::default(),
            strategy: Default::default(),
            role: Default::default(),
            retention: Default::default(),
            floor_waits: crate::types::limits::FLOOR_MEMBERS,
            registration: None,
            chain: None,
        };
        let thread = Driver::start(setup, None, store.clone(), ports).unwrap();
        Loop { client, watch, store, thread, commands, inlet }
    }

    async fn publish(&self, drafts: Vec<Draft>, ack: Ack) -> Result<Vec<MessageId>, CallError> {
        match self.client.call(Call::Publish { drafts, ack }).await? {
            Answer::Published { ids } => Ok(ids),
            other => panic!("{other:?}"),
        }
    }

    async fn status(&self) -> Status {
        match self.client.call(Call::Status).await.unwrap() {
            Answer::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    async fn stop(self) -> Incarnation {
        let incarnation = self.status().await.incarnation;
        self.client.call(Call::Stop).await.unwrap();
        self.thread.join().unwrap().unwrap();
        incarnation
    }
}

fn draft() -> Draft {
    let vectors = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/kinds.json"));
    let vectors: Vec<serde_json::Value> = serde_json::from_str(vectors).unwrap();
    let vector = vectors.iter().find(|v| v["kind"] == Kind::ExchangeData.to_string()).unwrap();
    Draft::new(&Payload::from_json(Kind::ExchangeData, &vector["payload"]).unwrap())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            std::fs::copy(entry.path(), target).map(|_| ()).unwrap()
        }
    }
}

#[tokio::test]
async fn what_is_acknowledged_as_durable_is_in_a_copy_of_the_disk_taken_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let node = Loop::start(&first, 1);
    let ids = node.publish(vec![draft(); 300], Ack::Durable).await.unwrap();
    copy(&first, &second);
    let copied = Loop::start(&second, 2);
    let read = page(0, Room::of(1000), &Filter::default(), WallMs(0), copied.store.as_ref());
    let found: Vec<MessageId> = read.entries.iter().map(|e| e.message().unwrap().id).collect();
    assert_eq!(found, ids);
    let (one, two) = (node.status().await.incarnation, copied.stop().await);
    assert_ne!(one, two, "a copy is another life, so that it cannot fork the first");
    node.stop().await;
}

#[tokio::test]
async fn a_life_goes_on_after_a_clean_stop_in_the_same_place_only() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    let first = Loop::start(&here, 1);
    first.publish(vec![draft()], Ack::Written).await.unwrap();
    let first = first.stop().await;
    copy(&here, &there);
    let again = Loop::start(&here, 2);
    let ids = again.publish(vec![draft()], Ack::Durable).await.unwrap();
    assert_eq!(ids.len(), 1);
    assert_eq!(again.status().await.categories.len(), 1, "one feed goes on");
    assert_eq!(again.stop().await, first);
    assert_ne!(Loop::start(&there, 3).stop().await, first, "a backup begins a life of its own");
}

#[tokio::test]
async fn every_acknowledgement_has_ids_that_grow_and_the_log_ends_where_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let node = Loop::start(folder.path(), 1);
    let mut last = None;
    for ack in [Ack::Accepted, Ack::Written, Ack::Durable] {
        let ids = node.publish(vec![draft(); 10], ack).await.unwrap();
        assert!(ids.windows(2).all(|w| w[0] < w[1]) && last < ids.first().copied());
        last = ids.last().copied();
    }
    assert_eq!(*node.watch.log_end.borrow(), 30);
    assert_eq!(bounds(node.store.as_ref()), (0, 30));
    node.stop().await;
}

#[tokio::test]
async fn one_key_is_one_message_in_one_call_in_two_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut keyed = draft();
    keyed.idempotency = Some(Hash([5; 32]));
    let node = Loop::start(folder.path(), 1);
    let ids = node.publish(vec![keyed.clone(), keyed.clone()], Ack::Durable).await.unwrap();
    assert_eq!(ids[0], ids[1]);
    assert_eq!(node.publish(vec![keyed.clone()], Ack::Durable).await.unwrap()[0], ids[0]);
    node.stop().await;
    let node = Loop::start(folder.path(), 2);
    assert_eq!(node.publish(vec![keyed], Ack::Durable).await.unwrap()[0], ids[0]);
    assert_eq!(node.status().await.messages, 1);
    node.stop().await;
}

#[tokio::test]
async fn bad_calls_are_refused_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let node = Loop::start(folder.path(), 1);
    let mut expired = draft();
    (expired.expires, expired.tags) = (Some(WallMs(1)), vec!["t".repeat(500)]);
    let refused = node.publish(vec![draft(), expired], Ack::Durable).await.unwrap_err();
    let CallError::Refused(CallRefusal::Invalid { index: 1, faults }) = refused else { panic!("{refused:?}") };
    assert_eq!(faults.as_slice().len(), 2, "both faults at once: {faults}");
    let many = node.publish(vec![draft(); limits::PUBLISH_BATCH + 1], Ack::Durable).await.unwrap_err();
    assert_eq!(many, CallError::Refused(CallRefusal::TooMany));
    let stranger = node.client.call(Call::Unban { peer: NodeId([3; 32]) }).await.unwrap_err();
    assert!(matches!(stranger, CallError::Refused(CallRefusal::UnknownPeer(_))));
    assert_eq!(node.status().await.messages, 0);
    node.stop().await;
}

#[tokio::test]
async fn the_first_thing_a_node_does_is_to_dial_and_to_say_that_it_lives() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Loop::start(folder.path(), 1);
    let (mut dialled, mut spoke) = (false, false);
    while !(dialled && spoke) {
        match node.commands.recv().await.unwrap() {
            NetCommand::Dial { address, .. } => dialled |= address == "/ip4/127.0.0.1/tcp/9",
            NetCommand::Publish { .. } => spoke = true,
            _ => {}
        }
    }
    assert!(Life::load(node.store.as_ref()).is_some_and(|life| !life.clean));
    drop(node.inlet.clone());
    node.stop().await;
}

async fn queue(node: &Loop, priority: Priority) -> LaneInfo {
    match node.client.call(Call::Queues).await.unwrap() {
        Answer::Queues(queues) => queues.lanes.into_iter().find(|lane| lane.priority == priority).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Calls at once that overflow a lane.
const FLOOD: usize = 8;

/// What each of so many calls is answered.
async fn flood(node: &Loop, priority: Priority) -> Vec<Answer> {
    let body = Blob(vec![b'a'; 2_000]);
    let (type_name, content_type) = ("flood".into(), "text/plain".into());
    let mut one = Draft::new(&Payload::Custom(Custom { type_name, schema_version: 1, content_type, body }));
    one.priority = priority;
    let calls = (0..FLOOD).map(|_| {
        let drafts = vec![one.clone(); limits::PUBLISH_BATCH];
        node.client.call(Call::Publish { drafts, ack: Ack::Accepted })
    });
    futures::future::join_all(calls).await.into_iter().map(Result::unwrap).collect()
}

#[tokio::test]
async fn what_normal_cannot_hold_waits_on_the_disk_and_what_bulk_cannot_is_dropped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let node = Loop::start(folder.path(), 1);
    let mut ids: Vec<MessageId> = Vec::new();
    for answer in flood(&node, Priority::Normal).await {
        let Answer::Published { ids: some } = answer else { panic!("{answer:?}") };
        assert!(some.is_sorted(), "a call's messages are in its order");
        ids.extend(some);
    }
    let normal = queue(&node, Priority::Normal).await;
    assert!(normal.spilled_messages > 0, "the lane was never full: {normal:?}");
    assert_eq!((normal.on_disk_messages, normal.on_disk_bytes, normal.overflowed_messages), (0, 0, 0));
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), FLOOD * limits::PUBLISH_BATCH, "each of them once");
    let (mut published, mut dropped) = (0, 0);
    for answer in flood(&node, Priority::Bulk).await {
        match answer {
            Answer::Published { ids } => published += ids.len(),
            Answer::Dropped { lane, count } => {
                assert_eq!(lane, Priority::Bulk);
                dropped += count;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(published + dropped, FLOOD * limits::PUBLISH_BATCH, "every message is said or counted");
    assert_eq!(queue(&node, Priority::Bulk).await.overflowed_messages, dropped as u64);
    assert!(dropped > 0);
    assert_eq!(*node.watch.log_end.borrow(), (ids.len() + published) as u64);
    node.stop().await;
}
