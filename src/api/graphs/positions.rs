//! Positions of nodes in motion over WebSocket, in binary frames (`docs/graph.md`).
//!
//! ```text
//!  client ──frame──▶ Data/GraphUpdate, Bulk ──▶ node ──▶ what is not kept ──▶ live ──tick──▶ every client
//!                                                                              └── due ──▶ Call::Write
//! ```
//!
//! One task for each graph whose positions somebody follows or has just moved. Clients share its frames.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::Instant;

use super::Named;
use super::hub::Hub;
use super::live::{Live, Tick, WRITTEN_EVERY};
use crate::api::params::{Params, Upgrade};
use crate::api::problem::Problem;
use crate::api::state::ApiState;
use crate::api::subscribe::SIGN_OF_LIFE;
use crate::crdt;
use crate::feed::Entry;
use crate::graph::{NODES, id_fault, moved};
use crate::node::{Ack, Call, Write};
use crate::types::{NodeId, limits};
use crate::wire::kind::data::{GraphEvent, GraphUpdate, Vector};
use crate::wire::kind::{LIST_ITEMS, state::owner};
use crate::wire::{Draft, Kind, Payload, Place, PositionFrame, Priority};

/// Frames are so far apart, 60 in a second; after a late one the next comes when it would have come anyway.
const FRAME_EVERY: Duration = Duration::from_micros(16_600);
/// What is due is written down this often, one write at a time.
const WRITE_EVERY: Duration = Duration::from_millis(100);
/// Frames a client may fall behind before it skips to the newest.
const BEHIND: usize = 8;
/// A client's frame, bytes: names of the longest kind.
const FRAME_BYTES: usize = 4 + limits::FRAME_POSITIONS * (5 + limits::GRAPH_ID_BYTES);
/// Nodes one client has numbers for.
const NAMES: usize = limits::GRAPH_ITEMS;
/// What is known of who may move nodes is looked up again after this long.
const ACCESS_FOR: Duration = Duration::from_secs(1);
/// Authors of which that is remembered.
const AUTHORS: usize = 1_024;
/// A client takes a frame within this long.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);
/// Close codes of RFC 6455: data that is not what it should be, and what the node does not take.
const UNREADABLE: u16 = 1007;
const REFUSED: u16 = 1008;

/// The nodes of a graph that move, for all clients of this API.
pub struct Motion {
    hub: Arc<Hub>,
    own: NodeId,
    live: Mutex<Live>,
    ticks: broadcast::Sender<Arc<Tick>>,
}

/// How to take part.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PositionParams {
    /// Whether frames are wanted; by default they are.
    listen: Option<bool>,
}

/// Positions of nodes in motion: binary frames over WebSocket, in both directions, at most 60 a second from the node.
///
/// A frame of names says which node has which number, one of positions where numbers are and how they move; see the
/// page on the graph for every byte. A client that falls behind skips to the newest. What a client sends wrongly closes
/// the connection with the reason.
#[utoipa::path(
    get,
    path = "/v1/graphs/{graph}/positions",
    tag = "graphs",
    params(("graph" = String, Path, description = "The collection it is in"), PositionParams),
    responses((status = 101, description = "Binary frames follow")),
)]
pub async fn positions(
    State(state): State<ApiState>,
    Named(name): Named,
    Params(params): Params<PositionParams>,
    Upgrade(upgrade): Upgrade,
) -> Result<Response, Problem> {
    let (seat, motion) = (state.seat()?, Motion::of(&state, &name).await?);
    let listens = params.listen.unwrap_or(true);
    let upgrade = upgrade.max_message_size(FRAME_BYTES).max_frame_size(FRAME_BYTES);
    let talk = move |socket| async move {
        let _seat = seat;
        talk(socket, motion, state, listens).await;
    };
    Ok(upgrade.on_upgrade(talk).into_response())
}

impl Motion {
    /// What moves in a graph; begun if nobody follows it yet.
    async fn of(state: &ApiState, name: &str) -> Result<Arc<Motion>, Problem> {
        let (hub, own) = (state.graph(name).await?, state.status().await?.id);
        let slot = hub.clone();
        let mut motion = slot.motion.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = motion.upgrade() {
            return Ok(there);
        }
        let new = Arc::new(Motion { hub, own, live: Mutex::default(), ticks: broadcast::channel(BEHIND).0 });
        *motion = Arc::downgrade(&new);
        let heard = state.watch.ephemeral.subscribe();
        tokio::spawn(run(Arc::downgrade(&new), heard, state.clone()));
        Ok(new)
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what was said, by those who may move nodes.
    async fn hear(&self, entries: &[Entry], access: &mut Access, state: &ApiState) {
        for entry in entries {
            let Some(events) = self.events(entry) else { continue };
            if !access.allows(entry.author, &self.hub.name, state).await {
                continue;
            }
            let at = entry.message().map(|message| message.id.stamp().wall()).unwrap_or_default();
            let (now, own) = (Instant::now(), entry.author == self.own);
            let (graph, mut live) = (self.hub.graph(), self.live());
            for event in events {
                if let GraphEvent::NodeMoved { id, position, velocity } = event
                    && graph.has(&id)
                {
                    live.hear(&id, (position, velocity), at, own, now);
                }
            }
        }
    }

    /// What is said about this graph.
    fn events(&self, entry: &Entry) -> Option<Vec<GraphEvent>> {
        let message = entry.message().filter(|message| message.known_kind() == Some(Kind::GraphUpdate))?;
        match Payload::decode(Kind::GraphUpdate, message.payload).ok()? {
            Payload::GraphUpdate(GraphUpdate { graph, events }) if graph == self.hub.name => Some(events),
            _ => None,
        }
    }

    /// Writes down everything that is not: the API closes.
    async fn write_all(&self, state: &ApiState) {
        let later = Instant::now() + WRITTEN_EVERY;
        while self.live().has_unwritten() {
            self.write(later, state).await;
        }
    }

    /// Writes down what is due, one write.
    async fn write(&self, now: Instant, state: &ApiState) {
        let due = {
            let mut live = self.live();
            live.forget(now);
            live.due(now)
        };
        // Whoever was taken out meanwhile gets no fields.
        let wishes: Vec<_> = {
            let graph = self.hub.graph();
            let there = due.iter().filter(|(id, ..)| graph.has(id));
            there.flat_map(|(id, position, velocity)| moved(id, *position, *velocity)).collect()
        };
        if wishes.is_empty() {
            return;
        }
        let collection = self.hub.name.clone();
        let write = Write { collection, client: None, wishes, restores: None, ack: Ack::Accepted };
        if let Err(error) = state.client.call(Call::Write(Box::new(write))).await {
            tracing::debug!(graph = self.hub.name, %error, "positions are not written down");
        }
    }
}

/// Who may move nodes, as last looked up.
#[derive(Default)]
struct Access {
    known: BTreeMap<NodeId, (bool, Instant)>,
}

impl Access {
    async fn allows(&mut self, author: NodeId, graph: &str, state: &ApiState) -> bool {
        if owner(graph).is_none() {
            return true;
        }
        let now = Instant::now();
        if let Some((allowed, at)) = self.known.get(&author)
            && now.duration_since(*at) < ACCESS_FOR
        {
            return *allowed;
        }
        let name = graph.to_string();
        let allowed = state.read(move |view| crdt::may_write(&name, NODES, author, view)).await.unwrap_or(false);
        if self.known.len() >= AUTHORS {
            self.known.clear();
        }
        self.known.insert(author, (allowed, now));
        allowed
    }
}

type Heard = broadcast::Receiver<Arc<Vec<Entry>>>;

/// Hears what moves, tells it in frames, writes down what is due; until nobody is there and nothing is left to write.
async fn run(motion: Weak<Motion>, mut heard: Heard, state: ApiState) {
    let (mut access, mut stop) = (Access::default(), state.stopping());
    let (mut next_frame, mut next_write) = (Instant::now(), Instant::now() + WRITE_EVERY);
    // Held while something is to be written down, whoever else has left.
    let mut held = Vec::new();
    loop {
        let pending = motion.upgrade().is_some_and(|motion| motion.live().has_moved());
        let wake = if pending { next_frame.min(next_write) } else { next_write };
        let entries = tokio::select! {
            heard = heard.recv() => match heard {
                Ok(entries) => Some(entries),
                Err(RecvError::Lagged(_)) => None,
                Err(RecvError::Closed) => return,
            },
            _ = stop.changed() => {
                if let Some(motion) = motion.upgrade() {
                    motion.write_all(&state).await;
                }
                return;
            }
            () = tokio::time::sleep_until(wake) => None,
        };
        let Some(motion) = motion.upgrade() else { return };
        if let Some(entries) = entries {
            motion.hear(&entries, &mut access, &state).await;
        }
        let now = Instant::now();
        if now >= next_frame && motion.live().has_moved() {
            // Nobody may be listening.
            let _ = motion.ticks.send(Arc::new(motion.live().tick()));
            // By the schedule, not from now: one late frame does not hold up all that come after it.
            next_frame = next_frame.max(now - FRAME_EVERY) + FRAME_EVERY;
        }
        if now >= next_write {
            next_write = now + WRITE_EVERY;
            motion.write(now, &state).await;
            held.clear();
            held.extend(motion.live().has_unwritten().then(|| motion.clone()));
        }
    }
}

/// What a client sent that ends the conversation.
struct Wrong {
    code: u16,
    reason: String,
}

fn wrong(code: u16, reason: impl ToString) -> Wrong {
    // A close frame has room for 123 bytes of reason (RFC 6455, section 5.5).
    Wrong { code, reason: reason.to_string().chars().take(100).filter(char::is_ascii).collect() }
}

async fn talk(mut socket: WebSocket, motion: Arc<Motion>, state: ApiState, listens: bool) {
    let (mut ticks, mut stop) = (motion.ticks.subscribe(), state.stopping());
    let mut names = BTreeMap::new();
    let mut frames = if listens { motion.live().whole().frames } else { Vec::new() };
    loop {
        if !send(&mut socket, &frames).await {
            return;
        }
        frames = tokio::select! {
            tick = ticks.recv(), if listens => match tick {
                Ok(tick) => tick.frames.clone(),
                Err(RecvError::Lagged(_)) => {
                    // What it missed is in the whole, and what comes next follows from that.
                    ticks = motion.ticks.subscribe();
                    motion.live().whole().frames
                }
                Err(RecvError::Closed) => return,
            },
            heard = socket.recv() => {
                let said = match heard {
                    Some(Ok(Message::Binary(bytes))) => hear(&bytes, &mut names, &motion, &state).await,
                    Some(Ok(Message::Text(_))) => Err(wrong(UNREADABLE, "frames are binary")),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                };
                if let Err(Wrong { code, reason }) = said {
                    // The client may be gone already; then nobody waits for this frame.
                    let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
                    return;
                }
                Vec::new()
            }
            _ = stop.changed() => {
                let _ = socket.send(Message::Close(None)).await;
                return;
            }
            () = tokio::time::sleep(SIGN_OF_LIFE) => {
                if socket.send(Message::Ping(Bytes::new())).await.is_err() {
                    return;
                }
                Vec::new()
            }
        };
    }
}

/// False when the client is gone, or takes nothing.
async fn send(socket: &mut WebSocket, frames: &[Bytes]) -> bool {
    for frame in frames {
        let sent = tokio::time::timeout(TAKEN_WITHIN, socket.send(Message::Binary(frame.clone()))).await;
        if !matches!(sent, Ok(Ok(()))) {
            return false;
        }
    }
    true
}

/// Takes a client's frame: its names are remembered, its positions said.
async fn hear(bytes: &[u8], names: &mut BTreeMap<u32, String>, motion: &Motion, state: &ApiState) -> Result<(), Wrong> {
    match PositionFrame::decode(bytes).map_err(|fault| wrong(UNREADABLE, fault))? {
        PositionFrame::Names(new) => {
            if let Some(fault) = new.iter().find_map(|(_, id)| id_fault(id)) {
                return Err(wrong(UNREADABLE, fault));
            }
            names.extend(new);
            if names.len() > NAMES { Err(wrong(REFUSED, "too many numbers have names")) } else { Ok(()) }
        }
        PositionFrame::Places { places, .. } => say(&places, names, motion, state).await,
    }
}

async fn say(places: &[Place], names: &BTreeMap<u32, String>, motion: &Motion, state: &ApiState) -> Result<(), Wrong> {
    let three = |[x, y, z]: [f32; 3]| Vector { x: x.into(), y: y.into(), z: z.into() };
    let mut drafts = Vec::new();
    for some in places.chunks(LIST_ITEMS) {
        let mut events = Vec::with_capacity(some.len());
        for place in some {
            let Some(id) = names.get(&place.number) else {
                return Err(wrong(UNREADABLE, format!("number {} has no name yet", place.number)));
            };
            let (position, velocity) = (three(place.position), three(place.velocity));
            events.push(GraphEvent::NodeMoved { id: id.clone(), position, velocity });
        }
        let payload = Payload::GraphUpdate(GraphUpdate { graph: motion.hub.name.clone(), events });
        let mut draft = Draft::new(&payload);
        draft.priority = Priority::Bulk;
        drafts.push(draft);
    }
    // When the lane is full they are dropped and counted: the next ones are newer.
    let said = state.client.call(Call::Publish { drafts, ack: Ack::Accepted }).await;
    said.map(drop).map_err(|error| wrong(REFUSED, error))
}
