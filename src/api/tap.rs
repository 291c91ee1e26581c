//! Tapping the pipeline: messages at their stages as they pass, as server-sent events and over WebSocket. Costs nothing
//! while nobody taps.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::Message;
use axum::response::Response;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, stream};
use serde::Deserialize;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::params::{Params, Upgrade, listed, message_id};
use super::problem::Problem;
use super::state::ApiState;
use super::subscribe::{Frames, SIGN_OF_LIFE, upgraded};
use crate::driver::Tapped;
use crate::meter::Station;
use crate::wire::Filter;

/// What to see.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TapParams {
    /// Of these stages, with commas: preprocess, validate, transform, route, deliver, postprocess. By default all.
    stage: Option<String>,
    /// Of these kinds, with commas: `Data/ExchangeData`.
    kind: Option<String>,
    /// Or of these categories, with commas.
    category: Option<String>,
    /// By these nodes, with commas.
    author: Option<String>,
    /// With one of these tags, with commas.
    tag: Option<String>,
    /// Of this conversation.
    correlation: Option<String>,
    /// Only what was refused.
    refused: Option<bool>,
}

impl TapParams {
    fn filter(&self) -> Result<Filter, Problem> {
        Ok(Filter {
            categories: listed("category", self.category.as_deref())?,
            kinds: listed("kind", self.kind.as_deref())?,
            authors: listed("author", self.author.as_deref())?,
            tags: listed("tag", self.tag.as_deref())?,
            correlation: message_id("correlation", self.correlation.as_deref())?,
        })
    }
}

/// What someone who taps is told.
enum Told {
    /// A message at a stage, as JSON.
    Seen(String),
    /// So many messages at stages were not shown.
    Lag(u64),
}

/// Someone who taps.
struct Tap {
    passing: broadcast::Receiver<Arc<Tapped>>,
    stages: BTreeSet<Station>,
    filter: Filter,
    only_refused: bool,
    /// Messages in passages up to here were seen or told of as missed; none before the first.
    up_to: Option<u64>,
    ready: VecDeque<Told>,
    stop: watch::Receiver<bool>,
    _seat: OwnedSemaphorePermit,
}

/// Follows messages through the stages, live.
///
/// Events are `seen`, a message at a stage with how that ended and how long it took; what has no id yet comes together,
/// with a number. Who takes them too slowly gets `lag` with `{"missed": n}`, messages at stages that were not shown,
/// and slows nobody.
#[utoipa::path(
    get,
    path = "/v1/tap",
    tag = "node",
    params(TapParams),
    responses((status = 200, description = "Events", body = String, content_type = "text/event-stream")),
)]
pub async fn events(
    State(state): State<ApiState>,
    Params(params): Params<TapParams>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let events = stream::unfold(Tap::open(&state, &params)?, |mut tap| async {
        let event = match tap.next().await? {
            Told::Seen(seen) => Event::default().event("seen").data(seen),
            Told::Lag(missed) => Event::default().event("lag").data(format!("{{\"missed\":{missed}}}")),
        };
        Some((Ok(event), tap))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)))
}

/// Follows messages through the stages, live, over WebSocket.
///
/// Frames are JSON texts: `{"type": "seen", "seen": {…}}` with what the event `seen` of `/v1/tap` has, and
/// `{"type": "lag", "missed": n}`.
#[utoipa::path(
    get,
    path = "/v1/tap/ws",
    tag = "node",
    params(TapParams),
    responses((status = 101, description = "Frames follow")),
)]
pub async fn frames(
    State(state): State<ApiState>,
    Params(params): Params<TapParams>,
    Upgrade(upgrade): Upgrade,
) -> Result<Response, Problem> {
    upgraded(upgrade, async { Tap::open(&state, &params) }).await
}

impl Frames for Tap {
    async fn frame(&mut self) -> Option<Message> {
        let text = match self.next().await? {
            Told::Seen(seen) => format!("{{\"type\":\"seen\",\"seen\":{seen}}}"),
            Told::Lag(missed) => format!("{{\"type\":\"lag\",\"missed\":{missed}}}"),
        };
        Some(Message::Text(text.into()))
    }
}

impl Tap {
    fn open(state: &ApiState, params: &TapParams) -> Result<Tap, Problem> {
        Ok(Tap {
            stages: listed("stage", params.stage.as_deref())?,
            filter: params.filter()?,
            only_refused: params.refused.unwrap_or_default(),
            up_to: None,
            ready: VecDeque::new(),
            stop: state.stopping(),
            _seat: state.seat()?,
            passing: state.watch.pipeline.tap(),
        })
    }

    /// What to tell next; none when the stream ends.
    async fn next(&mut self) -> Option<Told> {
        loop {
            if *self.stop.borrow() {
                return None;
            }
            if let Some(told) = self.ready.pop_front() {
                return Some(told);
            }
            tokio::select! {
                biased;
                _ = self.stop.changed() => {}
                passing = self.passing.recv() => match passing {
                    Ok(tapped) => self.take(&tapped),
                    // How many messages that were is told by the next that comes.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }

    fn take(&mut self, tapped: &Tapped) {
        let missed = tapped.before.saturating_sub(self.up_to.unwrap_or(tapped.before));
        if missed > 0 {
            self.ready.push_back(Told::Lag(missed));
        }
        self.up_to = Some(tapped.before + tapped.passages.iter().map(|passage| passage.messages).sum::<u64>());
        let wanted =
            tapped.passages.iter().filter(|passage| self.stages.is_empty() || self.stages.contains(&passage.station));
        let seen = wanted.flat_map(|passage| passage.seen(&self.filter));
        let seen = seen.filter(|seen| !self.only_refused || seen.reason.is_some());
        self.ready.extend(seen.filter_map(|seen| serde_json::to_string(&seen).ok().map(Told::Seen)));
    }
}
