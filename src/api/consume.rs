//! Taking messages of a durable subscription and saying how each ended: by requests, or over WebSocket.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::params::{Asked, MaybeAsked, Params, Part, Upgrade, object, parsed};
use super::problem::{Cause, Problem};
use super::reader::Written;
use super::state::ApiState;
use super::subscribe::SIGN_OF_LIFE;
use super::worker::{Taken, Worker, settle};
use crate::deliver::{Disposition, Name, Outcome, Settled};
use crate::node::Ack;
use crate::types::limits;

/// A request waits no longer for messages; its answer has to begin within 30 seconds.
const LONGEST_WAIT: Duration = Duration::from_secs(25);
/// Messages over a WebSocket without an answer, if nothing else is asked.
const UNANSWERED: usize = 32;
/// A client's frame, bytes: answers for all it can have.
const FRAME_BYTES: usize = 1 << 20;

/// How many messages, and how long to wait for the first.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fetch {
    /// At most so many, 1 to 1,000; by default 1.
    max: usize,
    /// Wait so long for the first, milliseconds, up to 25,000; by default 0.
    wait_ms: u64,
}

impl Default for Fetch {
    fn default() -> Fetch {
        Fetch { max: 1, wait_ms: 0 }
    }
}

/// A message that is handed out.
#[derive(JsonSchema)]
#[schemars(rename = "Delivery")]
#[allow(dead_code, reason = "describes what `Delivery::members` writes")]
pub struct DeliveryForm {
    /// Names it when it is settled.
    position: u64,
    /// How often it was handed out, this time included.
    attempt: u32,
    /// It was handed out before, and may have been handled.
    redelivered: bool,
    /// The message: an envelope.
    message: Value,
}

/// What is handed out.
#[derive(JsonSchema)]
#[schemars(rename = "Fetched")]
#[allow(dead_code, reason = "describes what `fetch` writes")]
pub struct FetchedForm {
    /// The messages, oldest first. Settle each before its time is over, or it comes again.
    messages: Vec<DeliveryForm>,
    /// Why there are none, if the subscription is paused.
    paused: Option<String>,
}

/// Hands out messages of a durable subscription: each to one worker, until it is settled or its time is over.
#[utoipa::path(
    post,
    path = "/v1/subscriptions/{name}/fetch",
    tag = "subscriptions",
    params(("name" = String, Path, description = "The subscription's name")),
    request_body(content = ref("#/components/schemas/Fetch"), content_type = "application/json"),
    responses(
        (status = 200, description = "Messages, or none in time", body = ref("#/components/schemas/Fetched"), content_type = "application/json"),
        (status = 404, description = "No such subscription", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn fetch(
    State(state): State<ApiState>,
    Part(name): Part<Name>,
    MaybeAsked(Fetch { max, wait_ms }): MaybeAsked<Fetch>,
) -> Result<Written, Problem> {
    bounded("max", max as u64, 1, limits::LEASE_MESSAGES as u64)?;
    bounded("wait_ms", wait_ms, 0, LONGEST_WAIT.as_millis() as u64)?;
    let _seat = if wait_ms > 0 { Some(state.seat()?) } else { None };
    let until = Instant::now() + Duration::from_millis(wait_ms);
    let Taken { deliveries, paused } = Worker::new(state, name).take(max, until).await?;
    let messages: Vec<String> = deliveries.iter().map(|delivery| format!("{{{}}}", delivery.members())).collect();
    Ok(Written::text(format!("{{\"messages\":[{}],\"paused\":{}}}", messages.join(","), json!(paused))))
}

fn bounded(name: &str, value: u64, least: u64, most: u64) -> Result<(), Problem> {
    let fits = (least..=most).contains(&value);
    fits.then_some(()).ok_or_else(|| Problem::new(Cause::Invalid, format!("{name} is {value}; use {least} to {most}")))
}

/// How messages ended. Positions are those they were handed out with.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settle {
    /// These are done.
    ack: Vec<u64>,
    /// These failed, and come again.
    nack: Vec<Nack>,
    /// These can never be handled, and become dead letters.
    park: Vec<Park>,
    /// This one comes again, and the subscription is paused until somebody resumes it.
    stop: Option<Stop>,
}

/// A message that failed.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nack {
    position: u64,
    /// Why, for people.
    #[serde(default)]
    reason: String,
    /// It comes again after so long, milliseconds; by default after the subscription's own time.
    after_ms: Option<u64>,
    /// Not the message is to blame, but what it was for is down: enough of these in a row pause the subscription for a
    /// while, and then do not count against messages.
    #[serde(default)]
    sink_down: bool,
}

/// A message that can never be handled.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Park {
    position: u64,
    /// Why, for people.
    #[serde(default)]
    reason: String,
    /// Why, in one word; by default `rejected`.
    disposition: Option<Disposition>,
}

/// Why a subscription has to stop.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    position: u64,
    /// Why, for people.
    #[serde(default)]
    reason: String,
}

impl Settle {
    fn outcomes(self) -> Vec<(u64, Outcome)> {
        let acks = self.ack.into_iter().map(|position| (position, Outcome::Ack));
        let nacks = self.nack.into_iter().map(|Nack { position, reason, after_ms, sink_down }| {
            (position, Outcome::Nack { reason, after: after_ms.map(Duration::from_millis), sink_down })
        });
        let parks = self.park.into_iter().map(|Park { position, reason, disposition }| {
            let disposition = disposition.unwrap_or(Disposition::Rejected);
            (position, Outcome::Park { disposition, reason })
        });
        let stop = self.stop.map(|Stop { position, reason }| (position, Outcome::Stop { reason }));
        acks.chain(nacks).chain(parks).chain(stop).collect()
    }
}

/// When settling is answered.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SettleParams {
    /// Answer when it is `accepted`, `written` or `durable` (on the disk); by default `durable`.
    ack: Option<String>,
}

/// What settling came to.
#[derive(Serialize, JsonSchema)]
pub struct SettledMessages {
    /// Messages settled as was said.
    settled: u64,
    /// Of these, messages that became dead letters.
    dead: u64,
    /// Positions that nobody has: settled before, never handed out, or lent to another since.
    unknown: Vec<u64>,
}

impl From<Settled> for SettledMessages {
    fn from(settled: Settled) -> SettledMessages {
        SettledMessages { settled: settled.settled, dead: settled.dead, unknown: settled.unknown }
    }
}

/// Says how messages ended. Once answered, what was acknowledged does not come again.
#[utoipa::path(
    post,
    path = "/v1/subscriptions/{name}/settle",
    tag = "subscriptions",
    params(("name" = String, Path, description = "The subscription's name"), SettleParams),
    request_body(content = ref("#/components/schemas/Settle"), content_type = "application/json"),
    responses(
        (status = 200, description = "What it came to", body = ref("#/components/schemas/SettledMessages"), content_type = "application/json"),
        (status = 404, description = "No such subscription", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn settled(
    State(state): State<ApiState>,
    Part(name): Part<Name>,
    Params(params): Params<SettleParams>,
    Asked(said): Asked<Settle>,
) -> Result<Written, Problem> {
    let ack: Ack = parsed("ack", params.ack.as_deref())?.unwrap_or_default();
    Written::new(&SettledMessages::from(settle(&state, &name, said.outcomes(), ack).await?))
}

/// How a client wants messages over WebSocket.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ConsumeParams {
    /// At most so many messages without an answer, 1 to 1,000; by default 32.
    max: Option<usize>,
}

/// Hands out messages of a durable subscription over WebSocket.
///
/// The node's frames are JSON texts: `{"type": "delivery", "position", "attempt", "redelivered", "message"}`,
/// `{"type": "settled", "settled", "dead", "unknown"}` for every frame of the client, `{"type": "paused", "reason"}`,
/// and `{"type": "problem", "detail"}`. The client's frames are what `settle` takes.
#[utoipa::path(
    get,
    path = "/v1/subscriptions/{name}/ws",
    tag = "subscriptions",
    params(("name" = String, Path, description = "The subscription's name"), ConsumeParams),
    responses((status = 101, description = "Frames follow")),
)]
pub async fn frames(
    State(state): State<ApiState>,
    Part(name): Part<Name>,
    Params(params): Params<ConsumeParams>,
    Upgrade(upgrade): Upgrade,
) -> Result<Response, Problem> {
    let most = params.max.unwrap_or(UNANSWERED);
    bounded("max", most as u64, 1, limits::LEASE_MESSAGES as u64)?;
    let seat = state.seat()?;
    let ack_wait = state.subscription(&name).await?.spec.ack_wait();
    let upgrade = upgrade.max_message_size(FRAME_BYTES).max_frame_size(FRAME_BYTES);
    let talk = move |socket| async move {
        let _seat = seat;
        Talk::new(state, name, most, ack_wait).go(socket).await;
    };
    Ok(upgrade.on_upgrade(talk).into_response())
}

type Taking = Pin<Box<dyn Future<Output = (Worker, Result<Taken, Problem>)> + Send>>;

/// A conversation with a worker over WebSocket.
struct Talk {
    state: ApiState,
    name: Name,
    most: usize,
    ack_wait: Duration,
    /// What it has, and until when.
    unanswered: BTreeMap<u64, Instant>,
    idle: Option<Worker>,
    taking: Option<Taking>,
}

impl Talk {
    fn new(state: ApiState, name: Name, most: usize, ack_wait: Duration) -> Talk {
        let idle = Some(Worker::new(state.clone(), name.clone()));
        Talk { state, name, most, ack_wait, unanswered: BTreeMap::new(), idle, taking: None }
    }

    /// Talks until the client leaves or the API closes.
    async fn go(mut self, mut socket: WebSocket) {
        let mut stop = self.state.stopping();
        loop {
            if *stop.borrow() {
                // The client may be gone already; then nobody waits for this frame.
                let _ = socket.send(Message::Close(None)).await;
                return;
            }
            self.unanswered.retain(|_, ends| *ends > Instant::now());
            self.take_more();
            let first_end = self.unanswered.values().min().copied();
            let told = tokio::select! {
                _ = stop.changed() => Vec::new(),
                (worker, taken) = taken(&mut self.taking) => {
                    (self.idle, self.taking) = (Some(worker), None);
                    match taken {
                        Ok(taken) => self.told(taken),
                        Err(problem) => {
                            let _ = socket.send(text(&json!({"type": "problem", "detail": problem.to_string()}))).await;
                            let _ = socket.send(Message::Close(None)).await;
                            return;
                        }
                    }
                }
                heard = socket.recv() => match heard {
                    Some(Ok(Message::Text(frame))) => vec![self.heard(frame.as_bytes()).await],
                    Some(Ok(Message::Binary(frame))) => vec![self.heard(&frame).await],
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => Vec::new(),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                },
                () = sleep_until(first_end) => Vec::new(),
                () = tokio::time::sleep(SIGN_OF_LIFE) => vec![Message::Ping(Vec::new().into())],
            };
            for frame in told {
                if socket.send(frame).await.is_err() {
                    return;
                }
            }
        }
    }

    fn take_more(&mut self) {
        let room = self.most.saturating_sub(self.unanswered.len());
        if room == 0 {
            return;
        }
        if let Some(mut worker) = self.idle.take() {
            let until = Instant::now() + SIGN_OF_LIFE;
            self.taking = Some(Box::pin(async move {
                let taken = worker.take(room, until).await;
                (worker, taken)
            }));
        }
    }

    fn told(&mut self, taken: Taken) -> Vec<Message> {
        let ends = Instant::now() + self.ack_wait;
        let frames = taken.deliveries.iter().map(|delivery| {
            self.unanswered.insert(delivery.position, ends);
            Message::Text(format!("{{\"type\":\"delivery\",{}}}", delivery.members()).into())
        });
        let mut frames: Vec<Message> = frames.collect();
        frames.extend(taken.paused.map(|reason| text(&json!({"type": "paused", "reason": reason}))));
        frames
    }

    async fn heard(&mut self, frame: &[u8]) -> Message {
        let settled = async {
            let outcomes = object::<Settle>(frame)?.outcomes();
            let positions: BTreeSet<u64> = outcomes.iter().map(|(position, _)| *position).collect();
            let settled = settle(&self.state, &self.name, outcomes, Ack::Durable).await?;
            Ok::<_, Problem>((positions, settled))
        };
        match settled.await {
            Ok((positions, Settled { settled, dead, unknown })) => {
                self.unanswered.retain(|position, _| !positions.contains(position));
                text(&json!({"type": "settled", "settled": settled, "dead": dead, "unknown": unknown}))
            }
            Err(problem) => text(&json!({"type": "problem", "detail": problem.to_string()})),
        }
    }
}

fn text(value: &Value) -> Message {
    Message::Text(value.to_string().into())
}

/// What is being taken, once it is; never while nothing is.
async fn taken(taking: &mut Option<Taking>) -> (Worker, Result<Taken, Problem>) {
    match taking {
        Some(taking) => taking.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
