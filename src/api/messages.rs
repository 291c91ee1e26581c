//! Reading what is kept: pages, one message with its proof, conversations.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::envelope::Envelope;
use super::filter::ReadParams;
use super::judge::Judge;
use super::params::{Params, Part};
use super::problem::{Cause, Problem};
use super::reader::Written;
use super::state::ApiState;
use crate::feed::{Entry, Page, Room, bounds, conversation, find, page, start_position};
use crate::types::{MessageId, limits};
use crate::wire::{Faults, Proof};

/// One page of a reading.
#[derive(Serialize, JsonSchema)]
pub struct Messages<'a> {
    /// What was found, in order of arrival at this node.
    messages: Vec<Envelope<'a>>,
    /// Read on from here. Nothing more is here once it is `end`; before that, a page can be short, or empty, because
    /// one reading looks through the log for a second at most, and holds 4 MiB of messages at most.
    next: u64,
    /// The position the next message will have.
    end: u64,
    /// Messages, of any kind, that were let go between where reading was to begin and the oldest one kept.
    missed: u64,
}

/// Reads messages in order of arrival.
#[utoipa::path(
    get,
    path = "/v1/messages",
    tag = "messages",
    params(ReadParams),
    responses((status = 200, description = "A page", body = ref("#/components/schemas/Messages"), content_type = "application/json")),
)]
pub async fn list(State(state): State<ApiState>, Params(params): Params<ReadParams>) -> Result<Written, Problem> {
    let (start, limit, filter) = (params.start()?, params.limit()?, params.filter()?);
    let (wall, judge) = (state.wall(), state.judge.clone());
    let read = state.read(move |view| {
        let (_, end) = bounds(view);
        let Page { entries, next, missed } = page(start_position(start, view), Room::of(limit), &filter, wall, view);
        let messages = entries.iter().filter(|e| judge.passes(e)).filter_map(|e| Envelope::kept(e, &judge)).collect();
        Written::new(&Messages { messages, next, end: end.max(next), missed })
    });
    read.await?
}

/// A message, and what proves it to anyone who knows the network's name.
#[derive(Serialize, JsonSchema)]
pub struct FoundMessage<'a> {
    message: Envelope<'a>,
    /// Header, index, path and signed bytes; `metanode verify` checks it without a node.
    #[schemars(with = "ProofForm")]
    proof: Proof,
    /// The name under the signature.
    network: String,
    /// What the schema registered for its type has against it: such a message goes to no reader.
    #[serde(skip_serializing_if = "Faults::is_empty")]
    #[schemars(with = "Vec<super::problem::FaultForm>")]
    faults: Faults,
}

/// A message cut out of its bundle, hexadecimal.
#[derive(JsonSchema)]
#[schemars(rename = "Proof")]
#[allow(dead_code, reason = "describes how a proof is written")]
pub struct ProofForm {
    /// The bundle's header and its author's signature.
    header: String,
    /// The message's index in the bundle.
    index: u32,
    /// Siblings from its leaf to the root.
    path: Vec<crate::types::Hash>,
    /// The bytes that were signed.
    message: String,
}

/// One message with its proof.
#[utoipa::path(
    get,
    path = "/v1/messages/{id}",
    tag = "messages",
    params(("id" = String, Path, description = "The message's id")),
    responses(
        (status = 200, description = "The message", body = ref("#/components/schemas/FoundMessage"), content_type = "application/json"),
        (status = 404, description = "Not here", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn show(State(state): State<ApiState>, Part(id): Part<MessageId>) -> Result<Written, Problem> {
    let (network, judge) = (state.network.to_string(), state.judge.clone());
    let read = state.read(move |view| {
        let found = find(id, view).ok_or_else(|| missing(id))?;
        let message = Envelope::kept(&found.entry, &judge).ok_or_else(|| missing(id))?;
        let faults = found.entry.message().map(|message| judge.against(&message)).unwrap_or_default();
        Written::new(&FoundMessage { message, proof: found.proof, network, faults })
    });
    read.await?
}

fn missing(id: MessageId) -> Problem {
    Problem::new(
        Cause::NotFound,
        format!("message {id} is not here: it was let go, it is not kept (a heartbeat), or it has not come yet"),
    )
}

/// How many messages of a conversation.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ConversationParams {
    /// At most so many messages, 1 to 10,000; by default 1,000.
    limit: Option<usize>,
}

/// A conversation: what was said, and what followed from what.
#[derive(Serialize, JsonSchema)]
pub struct Conversation<'a> {
    /// The id its messages share; the id of its first message, if that is here.
    id: MessageId,
    /// In order of creation.
    messages: Vec<Envelope<'a>>,
    /// Messages that follow from none that is here.
    roots: Vec<MessageId>,
    /// What follows from each message.
    children: BTreeMap<MessageId, Vec<MessageId>>,
    /// There is more than was asked for.
    truncated: bool,
}

/// The messages of a conversation and what followed from what.
#[utoipa::path(
    get,
    path = "/v1/conversations/{id}",
    tag = "messages",
    params(("id" = String, Path, description = "The correlation id"), ConversationParams),
    responses(
        (status = 200, description = "The conversation", body = ref("#/components/schemas/Conversation"), content_type = "application/json"),
        (status = 404, description = "Nothing here", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn discuss(
    State(state): State<ApiState>,
    Part(id): Part<MessageId>,
    Params(params): Params<ConversationParams>,
) -> Result<Written, Problem> {
    let most = limits::QUERY_MESSAGES;
    let limit = params.limit.unwrap_or(1000);
    if !(1..=most).contains(&limit) {
        return Err(Problem::request(format!("limit: use 1 to {most}")));
    }
    let judge = state.judge.clone();
    let read = state.read(move |view| {
        let (mut entries, more) = conversation(id, Room::of(limit), view);
        entries.retain(|entry| judge.passes(entry));
        let truncated = more || view.cut.get();
        if entries.is_empty() {
            let detail = format!("no message here has the id or the correlation id {id}");
            return Err(Problem::new(Cause::NotFound, detail));
        }
        Written::new(&tree(id, &entries, truncated, &judge))
    });
    read.await?
}

fn tree<'a>(id: MessageId, entries: &'a [Entry], truncated: bool, judge: &Judge) -> Conversation<'a> {
    let messages: Vec<Envelope<'_>> = entries.iter().filter_map(|e| Envelope::kept(e, judge)).collect();
    let here: BTreeSet<MessageId> = messages.iter().map(|m| m.id).collect();
    let (mut roots, mut children) = (Vec::new(), BTreeMap::<MessageId, Vec<MessageId>>::new());
    for message in &messages {
        match message.parent_id.filter(|parent| here.contains(parent)) {
            Some(parent) => children.entry(parent).or_default().push(message.id),
            None => roots.push(message.id),
        }
    }
    Conversation { id, messages, roots, children, truncated }
}
