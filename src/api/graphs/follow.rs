//! Following a graph: its changes as events and as frames, and its shortest paths as they become others.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::Message;
use axum::response::Response;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};

use super::hub::{Hub, Told};
use super::ways::{Found, PathParams, ShortestPath};
use super::{Named, no_node, too_large};
use crate::api::params::{Params, Upgrade};
use crate::api::problem::Problem;
use crate::api::state::ApiState;
use crate::api::subscribe::{Frames, SIGN_OF_LIFE, upgraded};
use crate::crdt;
use crate::graph::{Change, Graph, TooLarge};
use crate::types::limits;

/// Shortest paths are looked for at most this often.
const PATHS_EVERY: Duration = Duration::from_millis(100);

/// How to begin.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GraphParams {
    /// Begin with the whole graph, as events, and `Ready`.
    #[serde(default)]
    snapshot: bool,
}

/// What a follower is told.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub enum GraphEvent {
    /// A change.
    Change(Change),
    /// Something about the stream itself.
    Stream(Stage),
}

/// Where a stream is.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "event")]
pub enum Stage {
    /// The whole graph was told; what follows are changes.
    Ready,
    /// Frames of changes were missed: what is known of the graph is not true any more. Read it again, unless the
    /// stream began with a snapshot: then it does so again.
    Lag,
}

impl GraphEvent {
    fn name(&self) -> &'static str {
        match self {
            GraphEvent::Change(change) => change.name(),
            GraphEvent::Stream(Stage::Ready) => "Ready",
            GraphEvent::Stream(Stage::Lag) => "Lag",
        }
    }

    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Follows a graph as server-sent events, each named by what happened.
#[utoipa::path(
    get,
    path = "/v1/graphs/{graph}/subscribe",
    tag = "graphs",
    params(("graph" = String, Path, description = "The collection it is in"), GraphParams),
    responses((status = 200, description = "Events; their data is a `GraphEvent`", body = String, content_type = "text/event-stream")),
)]
pub async fn graph_events(
    State(state): State<ApiState>,
    Named(name): Named,
    Params(params): Params<GraphParams>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let follower = Follower::open(state, &name, params.snapshot).await?;
    let events = stream::unfold(follower, |mut follower| async {
        let told = follower.next().await?;
        Some((Ok(Event::default().event(told.name()).data(told.text())), follower))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)))
}

/// Follows a graph over WebSocket: each frame is a JSON text with the member `event`.
#[utoipa::path(
    get,
    path = "/v1/graphs/{graph}/ws",
    tag = "graphs",
    params(("graph" = String, Path, description = "The collection it is in"), GraphParams),
    responses((status = 101, description = "Frames follow; each is a `GraphEvent`")),
)]
pub async fn graph_frames(
    State(state): State<ApiState>,
    Named(name): Named,
    Params(params): Params<GraphParams>,
    Upgrade(upgrade): Upgrade,
) -> Result<Response, Problem> {
    upgraded(upgrade, Follower::open(state, &name, params.snapshot)).await
}

impl Frames for Follower {
    async fn frame(&mut self) -> Option<Message> {
        self.next().await.map(|told| Message::Text(told.text().into()))
    }
}

/// A follower of changes. What waits to be told is bounded by one snapshot or one frame of changes.
struct Follower {
    state: ApiState,
    hub: Arc<Hub>,
    snapshot: bool,
    told: broadcast::Receiver<Arc<Told>>,
    ready: VecDeque<GraphEvent>,
    stop: watch::Receiver<bool>,
    _seat: OwnedSemaphorePermit,
}

/// The whole graph as changes to an empty one.
fn whole(graph: &Graph, cells: &crdt::State<'_>) -> Result<Vec<Change>, TooLarge> {
    let most = limits::GRAPH_PAST_ITEMS;
    let (nodes, edges): (Vec<&str>, Vec<&str>) =
        (graph.nodes_after(None).take(most + 1).collect(), graph.edges_after(None).take(most + 1).collect());
    if nodes.len() + edges.len() > most {
        return Err(TooLarge { most });
    }
    let nodes =
        nodes.into_iter().filter_map(|id| graph.node(id, cells)).map(|node| Change::NodeAdded { node: node.into() });
    let edges =
        edges.into_iter().filter_map(|id| graph.edge(id, cells)).map(|edge| Change::EdgeCreated { edge: edge.into() });
    Ok(nodes.chain(edges).collect())
}

impl Follower {
    async fn open(state: ApiState, name: &str, snapshot: bool) -> Result<Follower, Problem> {
        let (seat, hub, stop) = (state.seat()?, state.graph(name).await?, state.stopping());
        let (told, ready) = begin(&hub, &state, snapshot).await?;
        Ok(Follower { state, hub, snapshot, told, ready, stop, _seat: seat })
    }

    /// What to tell next; none when the stream ends. May be dropped while it waits: nothing is lost.
    async fn next(&mut self) -> Option<GraphEvent> {
        loop {
            if *self.stop.borrow() {
                return None;
            }
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let told = tokio::select! {
                _ = self.stop.changed() => return None,
                told = self.told.recv() => told,
            };
            match told.as_deref() {
                Ok(Told::Changes(changes)) => self.ready.extend(changes.iter().cloned().map(GraphEvent::Change)),
                Ok(Told::Anew) | Err(RecvError::Lagged(_)) => {
                    let (told, ready) = begin(&self.hub, &self.state, self.snapshot).await.ok()?;
                    self.told = told;
                    self.ready.push_back(GraphEvent::Stream(Stage::Lag));
                    self.ready.extend(ready);
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

type Begun = (broadcast::Receiver<Arc<Told>>, VecDeque<GraphEvent>);

async fn begin(hub: &Arc<Hub>, state: &ApiState, snapshot: bool) -> Result<Begun, Problem> {
    let read =
        move |graph: &Graph, cells: &crdt::State<'_>| if snapshot { whole(graph, cells).map(Some) } else { Ok(None) };
    let (told, changes) = hub.begin(state, read).await?;
    let mut ready = VecDeque::new();
    if let Some(changes) = changes.map_err(too_large)? {
        ready.extend(changes.into_iter().map(GraphEvent::Change));
        ready.push_back(GraphEvent::Stream(Stage::Ready));
    }
    Ok((told, ready))
}

/// What became of shortest paths.
#[derive(Serialize, JsonSchema)]
pub struct PathsChanged {
    /// Where they begin; the node may have gone, and come back.
    from: String,
    /// Those that are new or others than before. At first all that were asked for.
    changed: Vec<ShortestPath>,
    /// Where none leads any more.
    gone: Vec<String>,
}

/// Follows shortest paths as the graph changes: first all of them, then what became shorter, longer or unreachable.
///
/// Each event is named `paths`. Paths are looked for at most ten times a second.
#[utoipa::path(
    get,
    path = "/v1/graphs/{graph}/paths/subscribe",
    tag = "graphs",
    params(("graph" = String, Path, description = "The collection it is in"), PathParams),
    responses(
        (status = 200, description = "Events; their data is a `PathsChanged`", body = String, content_type = "text/event-stream"),
        (status = 404, description = "The node is not there", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn path_events(
    State(state): State<ApiState>,
    Named(name): Named,
    Params(params): Params<PathParams>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    params.check()?;
    let (seat, hub) = (state.seat()?, state.graph(&name).await?);
    let missing = no_node(&name, params.begins());
    let wanted = params.clone();
    let (told, found) = hub.begin(&state, move |graph, _| wanted.find(graph)).await?;
    let known = found.ok_or(missing)?;
    let first = difference(&params, &Found::new(), &known);
    let stop = state.stopping();
    let finder = Finder { state, hub, params, told, known, first, stop, _seat: seat };
    let events = stream::unfold(finder, |mut finder| async {
        let data = serde_json::to_string(&finder.next().await?).ok()?;
        Some((Ok(Event::default().event("paths").data(data)), finder))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)))
}

/// A follower of shortest paths.
struct Finder {
    state: ApiState,
    hub: Arc<Hub>,
    params: PathParams,
    told: broadcast::Receiver<Arc<Told>>,
    known: Found,
    first: Option<PathsChanged>,
    stop: watch::Receiver<bool>,
    _seat: OwnedSemaphorePermit,
}

impl Finder {
    /// What became of the paths; none when the stream ends.
    async fn next(&mut self) -> Option<PathsChanged> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            let told = tokio::select! {
                _ = self.stop.changed() => return None,
                told = self.told.recv() => told,
            };
            match told.as_deref() {
                Ok(Told::Changes(changes)) if !changes.iter().any(Change::concerns_paths) => continue,
                Ok(Told::Changes(_) | Told::Anew) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
            // What follows at once is looked at together with it.
            tokio::time::sleep(PATHS_EVERY).await;
            let params = self.params.clone();
            let begun = self.hub.begin(&self.state, move |graph, _| params.find(graph)).await.ok()?;
            let found = begun.1.unwrap_or_default();
            self.told = begun.0;
            let news = difference(&self.params, &self.known, &found);
            self.known = found;
            if news.is_some() {
                return news;
            }
        }
    }
}

/// The differences among the paths that are wanted; none if there are none.
fn difference(params: &PathParams, before: &Found, now: &Found) -> Option<PathsChanged> {
    let told = |to: &str, found: &Found| found.get(to).map(|route| params.path(to, route, found));
    let others = now.iter().filter(|(to, _)| params.wants(to) && told(to, before) != told(to, now));
    let changed: Vec<ShortestPath> = others.map(|(to, route)| params.path(to, route, now)).collect();
    let gone = before.keys().filter(|to| params.wants(to) && !now.contains_key(*to));
    let gone: Vec<String> = gone.cloned().collect();
    let from = params.begins().to_string();
    (!changed.is_empty() || !gone.is_empty()).then_some(PathsChanged { from, changed, gone })
}
