//! Following blocks as they become final: as server-sent events, and over WebSocket.

use std::convert::Infallible;

use axum::extract::State;
use axum::extract::ws::Message;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::blocks::{BlockInfo, BlockRecords, page};
use super::chain::head;
use super::params::{Params, Upgrade};
use super::problem::Problem;
use super::reader::Timed;
use super::state::ApiState;
use super::subscribe::{Frames, SIGN_OF_LIFE, last_event, upgraded};
use crate::ledger::chain::{self, Found};
use crate::types::chain::Height;

/// Records that come with a block, at most; the others are at `/v1/chain/blocks/{height}/records`.
const RECORDS: usize = 100;

/// Which blocks.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FollowBlocksParams {
    /// From this height on; by default the next.
    from: Option<u64>,
    /// With what the blocks did, the first 100 records of each.
    records: Option<bool>,
}

/// A block as it is told.
#[derive(Serialize)]
struct ToldBlock {
    #[serde(flatten)]
    block: BlockInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<BlockRecords>,
}

/// What a follower is told.
enum Told {
    /// A block, as JSON.
    Block { height: Height, text: String },
    /// So many blocks are not here.
    Lag { missed: u64, next: Height },
}

/// Follows blocks as server-sent events.
///
/// Events are `block`, whose data is the block, and `lag`, whose data is `{"missed": n}`, for blocks that are not here
/// any more. The id of an event is the height after it; a client that comes back with it as `Last-Event-ID` misses
/// nothing.
#[utoipa::path(
    get,
    path = "/v1/chain/subscribe",
    tag = "chain",
    params(FollowBlocksParams, ("Last-Event-ID" = Option<String>, Header, description = "Go on after this event")),
    responses((status = 200, description = "Events", body = String, content_type = "text/event-stream")),
)]
pub async fn events(
    State(state): State<ApiState>,
    Params(params): Params<FollowBlocksParams>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let follower = Follower::open(state, &params, last_event(&headers)?).await?;
    let events = stream::unfold(follower, |mut follower| async {
        let event = match follower.next().await? {
            Told::Block { height, text } => Event::default().event("block").id(height.next().to_string()).data(text),
            Told::Lag { missed, next } => {
                Event::default().event("lag").id(next.to_string()).data(format!("{{\"missed\":{missed}}}"))
            }
        };
        Some((Ok(event), follower))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)))
}

/// Follows blocks over WebSocket.
///
/// Frames are JSON texts: `{"type": "block", "next": height, "block": {…}}` and `{"type": "lag", "missed": n}`. To go on
/// after a lost connection, come back with `from=next`.
#[utoipa::path(
    get,
    path = "/v1/chain/ws",
    tag = "chain",
    params(FollowBlocksParams),
    responses((status = 101, description = "Frames follow")),
)]
pub async fn frames(
    State(state): State<ApiState>,
    Params(params): Params<FollowBlocksParams>,
    Upgrade(upgrade): Upgrade,
) -> Result<Response, Problem> {
    let follower = async { Follower::open(state, &params, None).await };
    upgraded(upgrade, follower).await
}

/// A subscriber's place in the chain. It reads on when there are more blocks, so a slow one slows nobody.
struct Follower {
    state: ApiState,
    next: Height,
    records: bool,
    height: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
    _seat: OwnedSemaphorePermit,
}

impl Follower {
    async fn open(state: ApiState, params: &FollowBlocksParams, resume: Option<u64>) -> Result<Follower, Problem> {
        let seat = state.seat()?;
        let now = state.read(|view| head(view)).await??.height;
        let next = resume.or(params.from).map_or(now.next(), |from| Height(from.max(1)));
        let (height, stop) = (state.watch.height.clone(), state.stopping());
        Ok(Follower { state, next, records: params.records.unwrap_or(false), height, stop, _seat: seat })
    }

    /// What to tell next; none when the stream ends.
    async fn next(&mut self) -> Option<Told> {
        loop {
            if *self.stop.borrow() {
                return None;
            }
            // Whatever becomes final after this look wakes the wait below.
            self.height.borrow_and_update();
            let (next, records) = (self.next, self.records);
            let found = self.state.read(move |view| look(next, records, view)).await.ok()?.ok()?;
            match found {
                Some(told) => {
                    self.next = match &told {
                        Told::Block { height, .. } => height.next(),
                        Told::Lag { next, .. } => *next,
                    };
                    return Some(told);
                }
                None => tokio::select! {
                    changed = self.height.changed() => changed.ok()?,
                    _ = self.stop.changed() => return None,
                },
            }
        }
    }
}

impl Frames for Follower {
    async fn frame(&mut self) -> Option<Message> {
        let text = match self.next().await? {
            Told::Block { height, text } => {
                format!("{{\"type\":\"block\",\"next\":{},\"block\":{text}}}", height.next())
            }
            Told::Lag { missed, .. } => format!("{{\"type\":\"lag\",\"missed\":{missed}}}"),
        };
        Some(Message::Text(text.into()))
    }
}

/// The block at a height, or that it and some after it are not here; none while it is to come.
fn look(next: Height, records: bool, view: &Timed<'_>) -> Result<Option<Told>, Problem> {
    let Some(first) = chain::first_block(next, view).filter(|_| next <= Height(u64::MAX - 1)) else { return Ok(None) };
    if first > next {
        return Ok(Some(Told::Lag { missed: first.0 - next.0, next: first }));
    }
    let Some(block) = BlockInfo::read(next, view)? else { return Ok(None) };
    let records = match records {
        true => page(Found { height: next, index: 0 }, RECORDS, view)?,
        false => None,
    };
    let text = serde_json::to_string(&ToldBlock { block, records }).unwrap_or_default();
    Ok(Some(Told::Block { height: next, text }))
}
