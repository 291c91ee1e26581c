//! Optimistic writes: they stand here at once, are pending until so many others hold them, and their writer learns what
//! became of them.

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use tokio::time::Instant;

use super::params::{Params, Part};
use super::problem::{Cause, Problem};
use super::state::{ApiState, unexpected};
use crate::crdt::{self, Cell, Member, Origin, Status};
use crate::feed::find;
use crate::node::{Ack, Answer, Call};
use crate::types::storage::View;
use crate::types::{Incarnation, MessageId, NodeId, Version};
use crate::wire::{ContentType, Kind, Payload, checksum};

/// A write that is to be held by others is waited for so long, if nothing else is asked.
const WAIT: Duration = Duration::from_secs(10);
/// The longest wait of one request.
const LONGEST_WAIT_MS: u64 = 30_000;
/// Others are asked after this often.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Nodes that a write can be waited for at.
const MOST_PEERS: u16 = 64;

/// How sure a writer wants to be before it is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sure {
    /// At this node.
    pub ack: Ack,
    /// So many other nodes hold it, as they say.
    pub peers: u16,
}

impl FromStr for Sure {
    type Err = String;

    fn from_str(text: &str) -> Result<Sure, String> {
        let Some(peers) = text.strip_prefix("peers:") else {
            return text.parse().map(|ack| Sure { ack, peers: 0 }).map_err(|e: String| format!("{e}, or peers:2"));
        };
        let peers = peers.parse().ok().filter(|peers| (1..=MOST_PEERS).contains(peers));
        let peers = peers.ok_or_else(|| format!("`{text}`: write peers: and 1 to {MOST_PEERS}"))?;
        Ok(Sure { ack: Ack::Durable, peers })
    }
}

impl<'de> Deserialize<'de> for Sure {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Sure, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Sure {
    fn schema_name() -> Cow<'static, str> {
        "Sure".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^(accepted|written|durable|peers:[0-9]+)$"})
    }
}

/// Which other nodes hold a write.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Held {
    /// So many were to hold it.
    wanted: u16,
    /// Those that do, as they say; a heartbeat or two behind.
    held_by: Vec<NodeId>,
    /// They are too few as yet. The write stands here all the same; `/v1/state/writes/{message}` tells more later.
    pending: bool,
}

/// What became of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It counts here.
    Stands,
    /// Something took its place that had seen it.
    Replaced,
    /// Something took its place that had not seen it; it is in the conflict log, from where it can be restored.
    Lost,
    /// It is not remembered here any more, or not merged yet.
    Unknown,
}

/// A change of a write, and what became of it here.
#[derive(Serialize, JsonSchema)]
pub struct ChangeFate {
    /// Where.
    path: String,
    /// The version it made.
    version: Version,
    /// What became of it.
    fate: Fate,
    /// What is at the path now: after a loss, what to show in its place.
    now: Option<Cell>,
}

/// A write, who holds it, and what became of it.
#[derive(Serialize, JsonSchema)]
pub struct WriteState {
    /// The message that says it.
    message: MessageId,
    /// The collection.
    collection: String,
    #[serde(flatten)]
    held: Held,
    /// Its changes, in their order.
    changes: Vec<ChangeFate>,
}

/// How long to wait for what.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WriteStateParams {
    /// Until so many other nodes hold it; by default nothing is waited for.
    peers: Option<u16>,
    /// At most so long, milliseconds; by default 10,000, at most 30,000.
    wait_ms: Option<u64>,
}

/// Who holds a write of this node, and what became of it. With `peers`, waits until so many others hold it.
#[utoipa::path(
    get,
    path = "/v1/state/writes/{message}",
    tag = "state",
    params(("message" = String, Path, description = "The message that says it"), WriteStateParams),
    responses(
        (status = 200, description = "What became of it", body = ref("#/components/schemas/WriteState"), content_type = "application/json"),
        (status = 404, description = "This node has no such write", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn show(
    State(state): State<ApiState>,
    Part(message): Part<MessageId>,
    Params(params): Params<WriteStateParams>,
) -> Result<Json<WriteState>, Problem> {
    let wait = params.wait_ms.map_or(WAIT, |ms| Duration::from_millis(ms.min(LONGEST_WAIT_MS)));
    let held = held(&state, message, params.peers.unwrap_or(0).min(MOST_PEERS), wait).await?;
    let read = state.read(move |view| fates(message, view)).await?;
    let (collection, changes) = read.ok_or_else(|| missing(message))?;
    Ok(Json(WriteState { message, collection, held, changes }))
}

fn missing(message: MessageId) -> Problem {
    Problem::new(Cause::NotFound, format!("this node has no write to replicated state in the message {message}"))
}

/// Waits until so many others hold a write, or the time is over.
pub(super) async fn held(state: &ApiState, message: MessageId, wanted: u16, wait: Duration) -> Result<Held, Problem> {
    let place =
        state.read(move |view| find(message, view).map(|found| (found.entry.incarnation, found.entry.sequence)));
    let (incarnation, sequence) = place.await?.ok_or_else(|| missing(message))?;
    let until = Instant::now() + wait;
    loop {
        let held_by = holders(state, incarnation, sequence).await?;
        let pending = held_by.len() < usize::from(wanted);
        if !pending || Instant::now() >= until || *state.stopping().borrow() {
            return Ok(Held { wanted, held_by, pending });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The same with the usual wait, where others are waited for at all.
pub(super) async fn held_by_peers(state: &ApiState, message: MessageId, peers: u16) -> Result<Option<Held>, Problem> {
    if peers == 0 { Ok(None) } else { held(state, message, peers, WAIT).await.map(Some) }
}

async fn holders(state: &ApiState, incarnation: Incarnation, sequence: u64) -> Result<Vec<NodeId>, Problem> {
    match state.client.call(Call::Holders { incarnation, sequence }).await? {
        Answer::Holders(nodes) => Ok(nodes),
        other => Err(unexpected(&other)),
    }
}

fn fates(message: MessageId, view: &dyn View) -> Option<(String, Vec<ChangeFate>)> {
    let entry = find(message, view)?.entry;
    let said = entry.message().filter(|said| said.known_kind() == Some(Kind::CollectionWrite))?;
    let payload = match said.content_type {
        ContentType::Bincode => Payload::decode(Kind::CollectionWrite, said.payload).ok()?,
        ContentType::Json => {
            Payload::from_json_str(Kind::CollectionWrite, std::str::from_utf8(said.payload).ok()?).ok()?
        }
    };
    let Payload::CollectionWrite(write) = payload else { return None };
    let origin = Origin {
        author: entry.author,
        incarnation: entry.incarnation,
        sequence: entry.sequence,
        message,
        checksum: checksum(&entry.bytes),
    };
    let collection = write.collection.clone();
    let cells = crdt::State::of(&collection, view);
    let fate = |member: Member| {
        let (version, path) = (member.version(), member.place().1.to_string());
        let now = cells.cell(&path).filter(|cell| !cell.is_empty());
        let lost = crdt::conflict(&collection, &path, version, view).is_some();
        let fate = match cells.version(&path, version).map(|past| past.status) {
            _ if lost => Fate::Lost,
            Some(Status::Kept | Status::Hollow) => Fate::Stands,
            Some(Status::Superseded) => Fate::Replaced,
            Some(Status::Masked | Status::Denied) => Fate::Lost,
            None => Fate::Unknown,
        };
        ChangeFate { path, version, fate, now }
    };
    let fates = Member::of(write, origin).map(fate).collect();
    Some((collection, fates))
}
