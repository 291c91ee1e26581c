//! Request and reply: one message to one reader, and the message that answers it.

use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::envelope::Envelope;
use super::intake;
use super::params::{Params, Whole};
use super::problem::{Cause, LineFault, Problem};
use super::publish::{invalid, prepared};
use super::state::{ApiState, unexpected};
use crate::feed::{Entry, Room, page};
use crate::node::{Ack, Answer, Call};
use crate::types::{MessageId, limits};
use crate::wire::{Destination, Draft, Filter};

/// A reply is waited for this long, milliseconds, unless the client says otherwise.
const USUAL_MS: u64 = 5_000;
/// And no longer than this.
const LONGEST_MS: u64 = 300_000;

/// How long to wait.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RequestParams {
    /// How long to wait for the reply, milliseconds; 5,000 unless it is said, at most 300,000.
    timeout_ms: Option<u64>,
}

/// Sends one message to a node, a service or a layer, and waits for the message that answers it.
///
/// A reply is a message whose `parent_id` is the request's id; it carries the request's conversation. The request
/// expires when nobody waits for its reply any more, unless it says otherwise.
#[utoipa::path(
    post,
    path = "/v1/requests",
    tag = "messages",
    params(RequestParams),
    request_body(content = ref("#/components/schemas/Message"), content_type = "application/json"),
    responses(
        (status = 200, description = "The reply", body = ref("#/components/schemas/Envelope"), content_type = "application/json"),
        (status = 422, description = "Not valid, or nobody answers there", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 504, description = "No reply in time", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn request(
    State(state): State<ApiState>,
    Params(params): Params<RequestParams>,
    Whole(body): Whole,
) -> Result<Response, Problem> {
    let wait = Duration::from_millis(params.timeout_ms.unwrap_or(USUAL_MS).clamp(1, LONGEST_MS));
    let deadline = Instant::now() + wait;
    let draft = prepared(&state, draft(&state, &body, wait)?).await?;
    let to = draft.destination.clone();
    let from = *state.watch.log_end.borrow();
    let asked = ask(&state, draft).await?;
    match timeout_at(deadline, reply(&state, asked, from)).await {
        Ok(entry) => {
            let entry = entry?;
            let envelope =
                Envelope::kept(&entry, &state.judge).and_then(|envelope| serde_json::to_string(&envelope).ok());
            let damaged = || Problem::new(Cause::Internal, "the reply cannot be read".to_string());
            Ok(([(CONTENT_TYPE, "application/json")], envelope.ok_or_else(damaged)?).into_response())
        }
        Err(_) => Err(late(&state, &to, asked.id, wait).await),
    }
}

/// A request under way.
#[derive(Clone, Copy)]
struct AskedFor {
    id: MessageId,
    conversation: MessageId,
}

fn draft(state: &ApiState, body: &[u8], wait: Duration) -> Result<Draft, Problem> {
    let text = std::str::from_utf8(body).map_err(|e| Problem::request(format!("the body is not UTF-8: {e}")))?;
    let mut draft = intake::envelope_text(text, state.wall()).map_err(|faults| {
        let faults: Vec<LineFault> =
            faults.as_slice().iter().map(|fault| LineFault { line: None, fault: fault.clone() }).collect();
        invalid(1, &faults, 0)
    })?;
    if !draft.destination.is_direct() {
        let detail = "a request goes to one reader: give `destination` as {\"node\": ID}, {\"service\": NAME} or {\"layer\": NAME}";
        return Err(Problem::request(detail));
    }
    draft.expires = draft.expires.or(Some(state.wall().plus(wait)));
    Ok(draft)
}

async fn ask(state: &ApiState, draft: Draft) -> Result<AskedFor, Problem> {
    let correlation = draft.correlation;
    match state.client.call(Call::Publish { drafts: vec![draft], ack: Ack::Written }).await? {
        Answer::Published { ids } => {
            let id = ids.first().copied().ok_or_else(|| unexpected(&Answer::Done))?;
            Ok(AskedFor { id, conversation: correlation.unwrap_or(id) })
        }
        Answer::Dropped { lane, .. } => {
            Err(Problem::new(Cause::Busy, format!("the {lane} lane is full and dropped the request; try again later")))
        }
        other => Err(unexpected(&other)),
    }
}

/// Follows the conversation until the reply is there.
async fn reply(state: &ApiState, asked: AskedFor, mut from: u64) -> Result<Entry, Problem> {
    let mut log_end = state.watch.log_end.clone();
    let filter = Filter { correlation: Some(asked.conversation), ..Filter::default() };
    loop {
        let (wanted, wall) = (filter.clone(), state.wall());
        let room = Room { messages: 64, bytes: limits::SUBSCRIBER_BYTES };
        let read = state.read(move |view| page(from, room, &wanted, wall, view)).await?;
        let answers = |entry: &Entry| entry.message().is_some_and(|message| message.parent == Some(asked.id));
        if let Some(entry) = read.entries.into_iter().find(answers) {
            return Ok(entry);
        }
        if read.next > from {
            from = read.next;
            continue;
        }
        let gone = |_| Problem::new(Cause::Unavailable, "the node has stopped".to_string());
        drop(log_end.wait_for(|end| *end > from).await.map_err(gone)?);
    }
}

/// What is known of a request that nobody answered in time.
async fn late(state: &ApiState, to: &Destination, id: MessageId, wait: Duration) -> Problem {
    let word = to.to_string();
    let outbox = state.outbox().await.ok();
    let waiting = outbox.and_then(|outbox| outbox.destinations.into_iter().find(|one| one.to == word));
    let stuck = waiting.filter(|one| one.ready + one.under_way + one.waiting > 0);
    let detail = match stuck.map(|one| one.last_failure) {
        Some(Some(reason)) => format!("request {id} has not reached {to} within {wait:?}: {reason}"),
        Some(None) => format!("request {id} is on its way to {to}, and {wait:?} are over"),
        None => format!("{to} has request {id}, and did not reply within {wait:?}"),
    };
    Problem::new(Cause::TimedOut, detail)
}
