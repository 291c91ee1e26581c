//! What happens to replicated state, as it happens here: applied, restored, lost, masked, deferred; in pages and as events.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::collections::{collection, path};
use super::params::{Params, parsed};
use super::problem::Problem;
use super::reader::Written;
use super::state::ApiState;
use super::subscribe::{SIGN_OF_LIFE, last_event};
use crate::crdt::{self, Reason, What};
use crate::types::storage::View;
use crate::types::{MessageId, NodeId, Version, WallMs, limits};
use crate::wire::kind::{Json, state::Op};

/// Events read at once for a stream.
const PAGE: usize = 256;

/// What happened to a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// It stands.
    Applied,
    /// It stands again: what had taken its place does not count any more.
    Restored,
    /// It does not stand, and what took its place had not seen it.
    Lost,
    /// Its author said two things in one place.
    Masked,
    /// It is stamped more than 15 seconds ahead of this node's clock, and waits elsewhere until its time has come.
    Deferred,
}

/// Something that happened to replicated state.
#[derive(Serialize, JsonSchema)]
pub struct StateEvent {
    /// Its number at this node, from 0.
    number: u64,
    /// When, by this node's clock.
    at_ms: WallMs,
    /// What.
    event: Happened,
    /// Why it was lost.
    reason: Option<Reason>,
    /// From when on a deferred one is taken, by this node's clock, milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    due_ms: Option<u64>,
    /// Where.
    collection: String,
    path: String,
    /// The write it happened to.
    version: Version,
    /// What stood there before an applied one, or took the place of a lost one.
    other: Option<Version>,
    /// What the write did, and what the other one had done; none where that is not remembered any more.
    op: Option<Op>,
    other_op: Option<Op>,
    /// The register's value before and after, where the event is one of a register that became another.
    #[serde(flatten)]
    delta: Option<Delta>,
    /// Who wrote it, in which message, and which client of the author, if it said.
    author: Option<NodeId>,
    message: Option<MessageId>,
    client: Option<String>,
}

/// What a register was, and what it is now.
#[derive(Serialize, JsonSchema)]
pub struct Delta {
    /// Its value before; none if it had none, or it is not remembered.
    old: Option<Json>,
    /// Its value now; none if it is gone.
    new: Option<Json>,
}

impl Delta {
    fn of(happened: Happened, op: Option<&Op>, other: Option<&Op>) -> Option<Delta> {
        let value = |op: Option<&Op>| match op {
            Some(Op::Set { value }) => Some(value.clone()),
            Some(Op::Delete | Op::Count { .. } | Op::Add { .. } | Op::Remove | Op::DeletePrefix) | None => None,
        };
        let stands = matches!(happened, Happened::Applied | Happened::Restored);
        let register = matches!(op, Some(Op::Set { .. } | Op::Delete));
        (stands && register).then(|| Delta { old: value(other), new: value(op) })
    }
}

/// When a write from the future is near enough to be taken.
fn due(version: Version) -> u64 {
    version.stamp.ms().saturating_sub(limits::MAX_FUTURE.as_millis() as u64)
}

impl StateEvent {
    fn of(event: &crdt::Event, view: &dyn View) -> StateEvent {
        let (happened, reason) = match event.what {
            What::Applied => (Happened::Applied, None),
            What::Restored => (Happened::Restored, None),
            What::Lost(reason) => (Happened::Lost, Some(reason)),
            What::Masked => (Happened::Masked, None),
            What::Deferred => (Happened::Deferred, None),
        };
        let (collection, path) = event.place();
        let body = event.body(view);
        let (op, other_op) = (body.as_ref().map(|body| body.op.clone()), event.other_op(view));
        StateEvent {
            due_ms: (happened == Happened::Deferred).then(|| due(event.version)),
            delta: Delta::of(happened, op.as_ref(), other_op.as_ref()),
            number: event.number,
            at_ms: event.at,
            event: happened,
            reason,
            collection: collection.into(),
            path: path.into(),
            version: event.version,
            other: event.other,
            other_op,
            author: body.as_ref().map(|body| body.author),
            message: body.as_ref().map(|body| body.message),
            client: body.as_ref().and_then(|body| body.client.clone()),
            op,
        }
    }
}

/// Which events.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChangeParams {
    /// From this number on; by default what comes from now on, in pages the oldest.
    from: Option<u64>,
    /// Of this collection.
    collection: Option<String>,
    /// At and below this path.
    prefix: Option<String>,
    /// Only what happened to writes of this node: its clients are told of their losses so.
    author: Option<String>,
    /// Not what this client of this node wrote: it knows that itself.
    not_client: Option<String>,
    /// In pages at most so many are looked at, 1 to 1,000; by default 100.
    limit: Option<usize>,
}

/// Which events are wanted.
#[derive(Clone, Default)]
struct Wanted {
    collection: Option<String>,
    prefix: Option<String>,
    author: Option<NodeId>,
    /// A client of this node, whose own writes are not wanted.
    not: Option<(NodeId, String)>,
}

impl Wanted {
    async fn of(params: &ChangeParams, state: &ApiState) -> Result<Wanted, Problem> {
        let not = match &params.not_client {
            Some(client) => Some((state.status().await?.id, client.clone())),
            None => None,
        };
        Ok(Wanted {
            not,
            collection: params.collection.clone().map(collection).transpose()?,
            prefix: params.prefix.as_deref().map(path).transpose()?,
            author: parsed("author", params.author.as_deref())?,
        })
    }

    fn takes(&self, event: &StateEvent) -> bool {
        self.collection.as_ref().is_none_or(|collection| *collection == event.collection)
            && self.prefix.as_ref().is_none_or(|prefix| crdt::covers(prefix, &event.path))
            && self.author.is_none_or(|author| event.author == Some(author))
            && !self.is_own(event)
    }

    fn is_own(&self, event: &StateEvent) -> bool {
        self.not
            .as_ref()
            .is_some_and(|(node, client)| event.author == Some(*node) && event.client.as_ref() == Some(client))
    }
}

/// Events, and where to go on.
#[derive(Serialize, JsonSchema)]
pub struct StateEvents {
    /// In the order in which they happened here.
    events: Vec<StateEvent>,
    /// Go on from this number.
    next: u64,
    /// Events from the asked number on that are not remembered any more.
    missed: u64,
}

fn read(from: u64, most: usize, wanted: &Wanted, view: &dyn View) -> StateEvents {
    let first = crdt::first_event(view);
    let found = crdt::events(from.max(first), most, view);
    let next = found.last().map_or(from.max(first), |last| last.number + 1);
    let events = found.iter().map(|event| StateEvent::of(event, view)).filter(|event| wanted.takes(event)).collect();
    StateEvents { events, next, missed: first.saturating_sub(from) }
}

/// What happened to replicated state, in pages.
#[utoipa::path(
    get,
    path = "/v1/state/changes",
    tag = "state",
    params(ChangeParams),
    responses((status = 200, description = "A page", body = ref("#/components/schemas/StateEvents"), content_type = "application/json")),
)]
pub async fn list(State(state): State<ApiState>, Params(params): Params<ChangeParams>) -> Result<Written, Problem> {
    let wanted = Wanted::of(&params, &state).await?;
    let most = params.limit.unwrap_or(100);
    if !(1..=limits::STATE_PAGE).contains(&most) {
        return Err(Problem::request(format!("limit: use 1 to {}, and go on from `next`", limits::STATE_PAGE)));
    }
    state.read(move |view| Written::new(&read(params.from.unwrap_or(0), most, &wanted, view))).await?
}

/// Follows what happens to replicated state, as server-sent events.
///
/// Events are named by what happened: `applied`, `restored`, `lost`, `masked`, `deferred`, and `lag`, whose data is `{"missed": n}`.
/// The id of an event is the number after it; a client that comes back with it as `Last-Event-ID` misses nothing that
/// is remembered.
#[utoipa::path(
    get,
    path = "/v1/state/subscribe",
    tag = "state",
    params(ChangeParams, ("Last-Event-ID" = Option<String>, Header, description = "Go on after this event")),
    responses((status = 200, description = "Events", body = String, content_type = "text/event-stream")),
)]
pub async fn events(
    State(state): State<ApiState>,
    Params(params): Params<ChangeParams>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let follower = Follower::open(state, &params, last_event(&headers)?).await?;
    let events = stream::unfold(follower, |mut follower| async {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)))
}

/// A subscriber's place among the events. It reads on when there are more, so a slow one slows nobody.
struct Follower {
    state: ApiState,
    wanted: Wanted,
    next: u64,
    ready: VecDeque<Event>,
    end: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
    _seat: OwnedSemaphorePermit,
}

impl Follower {
    async fn open(state: ApiState, params: &ChangeParams, resume: Option<u64>) -> Result<Follower, Problem> {
        let (seat, wanted) = (state.seat()?, Wanted::of(params, &state).await?);
        let next = match resume.or(params.from) {
            Some(next) => next,
            None => state.read(|view| crdt::events_end(view)).await?,
        };
        let (end, stop) = (state.watch.state_end.clone(), state.stopping());
        Ok(Follower { state, wanted, next, ready: VecDeque::new(), end, stop, _seat: seat })
    }

    /// What to tell next; none when the stream ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if *self.stop.borrow() {
                return None;
            }
            // Whatever comes after this look wakes the wait below.
            self.end.borrow_and_update();
            let (from, wanted) = (self.next, self.wanted.clone());
            let page = self.state.read(move |view| read(from, PAGE, &wanted, view)).await.ok()?;
            let grown = page.next > self.next;
            self.take(page);
            if !grown {
                tokio::select! {
                    changed = self.end.changed() => changed.ok()?,
                    _ = self.stop.changed() => return None,
                }
            }
        }
    }

    fn take(&mut self, page: StateEvents) {
        if page.missed > 0 {
            let lag = Event::default().event("lag").id(page.next.to_string());
            self.ready.push_back(lag.data(format!("{{\"missed\":{}}}", page.missed)));
        }
        self.next = page.next;
        self.ready.extend(page.events.iter().filter_map(|event| {
            let name = match event.event {
                Happened::Applied => "applied",
                Happened::Restored => "restored",
                Happened::Lost => "lost",
                Happened::Masked => "masked",
                Happened::Deferred => "deferred",
            };
            let data = serde_json::to_string(event).ok()?;
            Some(Event::default().event(name).id((event.number + 1).to_string()).data(data))
        }));
    }
}
