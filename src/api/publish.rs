//! Publishing: one message, many, or bare payloads of one kind.

use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use futures::{StreamExt, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::intake::{self, Bare};
use super::judge::Judge;
use super::keys::no_keys;
use super::params::{Params, Whole, listed, parsed};
use super::problem::{Cause, LineFault, Problem};
use super::state::{ApiState, unexpected};
use crate::driver::CallError;
use crate::meter::{Outcome, Passage, Station};
use crate::node::{Ack, Answer, Call, CallRefusal};
use crate::types::{MessageId, WallMs, limits};
use crate::wire::{Draft, FaultCode, Faults, Kind, Seal};

/// Payloads in their binary form, one after the other.
const BINARY: &str = "application/x-metanode-payloads";
/// Messages whose faults are told in one answer.
const FAULTY_MESSAGES: usize = 100;
/// Calls of one request that the node has at once.
const CALLS_AT_ONCE: usize = 8;
/// A body over this is read on a thread that may block, bytes.
const READ_HERE_BYTES: usize = 32 * 1024;

/// How to publish; with `kind`, the body is bare payloads and the rest of the envelope is here.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PublishParams {
    /// Answer when the messages are `accepted`, `written` or `durable` (on the disk); by default `durable`.
    ack: Option<String>,
    /// One signature over as many messages as wait together, or one for `each`; by default `bundle`.
    seal: Option<String>,
    /// Whether to answer the messages' ids; by default `true`.
    ids: Option<bool>,
    /// The body is bare payloads of this kind: `Data/ExchangeData`.
    kind: Option<String>,
    /// With `kind`: `Critical`, `High`, `Normal`, `Low` or `Bulk`.
    priority: Option<String>,
    /// With `kind`: `everyone`, a node's id, `service:NAME`, `layer:NAME`, `node_type:NAME` or `topic:NAME`.
    to: Option<String>,
    /// With `kind`: the conversation they belong to.
    corr: Option<String>,
    /// With `kind`: the message they follow from.
    parent: Option<String>,
    /// With `kind`: after this they mean nothing, milliseconds since 1970.
    expires_at: Option<u64>,
    /// With `kind`: tags, with commas.
    tag: Option<String>,
    /// With `kind`: headers, as a JSON object of texts.
    headers: Option<String>,
    /// With `kind`: only the node they are for may read them; by default `false`.
    sealed: Option<bool>,
}

/// What was published.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Published {
    /// The messages' ids, in the order of the body, unless they were not asked for.
    pub ids: Vec<MessageId>,
    /// What is certain of them.
    pub ack: Ack,
    /// How many.
    pub count: usize,
    /// How many were not: their lane is full, and a Low or Bulk lane drops what finds no room.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// How the messages of a body are written.
enum Form {
    Envelopes,
    Bare(Box<Bare>),
}

/// How a body is divided into messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    Json,
    Lines,
    /// Payloads in their binary form, each with its size in front of it: 4 bytes, little-endian. Only with `kind`.
    Binary,
}

/// Publishes messages.
///
/// All are checked before the first is published; every fault of every message is told. Up to 4,096 messages are
/// published together or not at all; more are cut into parts, each of which is.
#[utoipa::path(
    post,
    path = "/v1/messages",
    tag = "messages",
    params(PublishParams, ("Idempotency-Key" = Option<String>, Header, description = "For a single message: a second one with this key is the first")),
    request_body(
        description = "One message, an array of them, or one on each line; with `kind`, bare payloads",
        content(
            (ref("#/components/schemas/Message") = "application/json"),
            (ref("#/components/schemas/Message") = "application/x-ndjson"),
            (String = "application/x-metanode-payloads"),
        ),
    ),
    responses(
        (status = 202, description = "Some or all were dropped: their lane is full, and may lose what finds no room", body = ref("#/components/schemas/Published"), content_type = "application/json"),
        (status = 201, description = "Published", body = ref("#/components/schemas/Published"), content_type = "application/json"),
        (status = 422, description = "Not valid; nothing was published", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn publish(
    State(state): State<ApiState>,
    Params(params): Params<PublishParams>,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<(StatusCode, Json<Published>), Problem> {
    let ack = parsed("ack", params.ack.as_deref())?.unwrap_or_default();
    let seal: Seal = parsed("seal", params.seal.as_deref())?.unwrap_or_default();
    let (form, layout) = (params.form()?, layout(&headers)?);
    let read = drafts_of(&state, body, form, layout).await?;
    let mut batch = read.accepted(&state).await?;
    if let Some(key) = headers.get("idempotency-key") {
        batch.key(key.to_str().map_err(|_| Problem::request("the header Idempotency-Key is not text"))?)?;
    }
    batch.drafts.iter_mut().for_each(|draft| draft.seal = seal);
    let (ids, dropped) = say(&state, batch, ack).await?;
    let count = ids.len();
    let ids = if params.ids.unwrap_or(true) { ids } else { Vec::new() };
    let status = if dropped == 0 { StatusCode::CREATED } else { StatusCode::ACCEPTED };
    Ok((status, Json(Published { count, dropped, ids, ack })))
}

impl PublishParams {
    fn form(&self) -> Result<Form, Problem> {
        let Some(kind) = parsed::<Kind>("kind", self.kind.as_deref())? else {
            return if self.is_bare() {
                Err(Problem::request(
                    "priority, to, corr, parent, expires_at, tag and headers go with `kind`; without it, write them in each envelope",
                ))
            } else {
                Ok(Form::Envelopes)
            };
        };
        let headers = self.headers.as_deref().map(serde_json::from_str).transpose();
        Ok(Form::Bare(Box::new(Bare {
            kind,
            priority: parsed("priority", self.priority.as_deref())?.unwrap_or_default(),
            destination: parsed("to", self.to.as_deref())?.unwrap_or_default(),
            correlation: parsed("corr", self.corr.as_deref())?,
            parent: parsed("parent", self.parent.as_deref())?,
            expires: self.expires_at.map(WallMs),
            tags: listed("tag", self.tag.as_deref())?,
            headers: headers
                .map_err(|e| Problem::request(format!("headers: {e}; write a JSON object of names and texts")))?
                .unwrap_or_default(),
            sealed: self.sealed.unwrap_or_default(),
        })))
    }

    fn is_bare(&self) -> bool {
        let texts = [&self.priority, &self.to, &self.corr, &self.parent, &self.tag, &self.headers];
        self.expires_at.is_some() || self.sealed.is_some() || texts.iter().any(|text| text.is_some())
    }
}

fn layout(headers: &HeaderMap) -> Result<Layout, Problem> {
    let Some(given) = headers.get(CONTENT_TYPE) else { return Ok(Layout::Json) };
    let media = given.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media.as_str() {
        "application/json" => Ok(Layout::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Layout::Lines),
        BINARY => Ok(Layout::Binary),
        _ => Err(Problem::new(
            Cause::MediaType,
            format!(
                "`{media}`: send `content-type: application/json`, application/x-ndjson for one message a line, or \
                 {BINARY} for payloads in their binary form"
            ),
        )),
    }
}

/// Drafts, and the line or place in the array that each came from.
#[derive(Default)]
struct Batch {
    drafts: Vec<Draft>,
    lines: Vec<usize>,
    single: bool,
    faults: Vec<LineFault>,
    faulty: usize,
    bytes: usize,
}

impl Batch {
    /// Takes one message in. False when enough are faulty, or all take too much.
    fn take(&mut self, line: usize, read: Result<Draft, Faults>) -> bool {
        match read {
            Ok(draft) => {
                self.bytes += draft.size_bytes();
                self.drafts.push(draft);
                self.lines.push(line);
            }
            Err(faults) => {
                let line = (!self.single).then_some(line);
                self.faulty += 1;
                self.faults.extend(faults.as_slice().iter().map(|f| LineFault { line, fault: f.clone() }));
            }
        }
        self.faulty < FAULTY_MESSAGES && self.bytes <= limits::API_DRAFT_BYTES
    }

    fn done(self) -> Result<Batch, Problem> {
        if self.faulty > 0 {
            return Err(invalid(self.faulty, &self.faults, 0));
        }
        if self.bytes > limits::API_DRAFT_BYTES {
            let most = limits::API_DRAFT_BYTES;
            let detail = format!("with tags and headers the messages take more than {most} bytes; send fewer at once");
            return Err(Problem::new(Cause::TooLarge, detail));
        }
        let empty = || Problem::request("the body has no message; send one JSON object, an array, or one on each line");
        if self.drafts.is_empty() { Err(empty()) } else { Ok(self) }
    }

    /// The part of the second stage that is not the node's: registered schemas, and sealing.
    async fn accepted(self, state: &ApiState) -> Result<Batch, Problem> {
        let count = self.drafts.len() as u64;
        let refused = |reason| state.watch.pipeline.note(vec![Passage::unread(Station::Validate, true, count, reason)]);
        let judged = self.judged(state).await.inspect_err(|_| refused("schema"))?;
        judged.sealed(state).await.inspect_err(|_| refused("unsealable"))
    }

    /// Holds what has a registered schema against it.
    async fn judged(self, state: &ApiState) -> Result<Batch, Problem> {
        if !self.drafts.iter().any(Judge::concerns) {
            return Ok(self);
        }
        let (own, judge) = (state.status().await?.id, state.judge.clone());
        let judged = state.read(move |_| {
            let mut batch = Batch { single: self.single, ..Batch::default() };
            for (draft, line) in self.drafts.into_iter().zip(self.lines) {
                let faults = if Judge::concerns(&draft) { judge.before(own, &draft) } else { Faults::default() };
                if !batch.take(line, faults.or(draft)) {
                    break;
                }
            }
            batch.done()
        });
        judged.await?
    }

    /// Seals what only one node may read.
    async fn sealed(self, state: &ApiState) -> Result<Batch, Problem> {
        if !self.drafts.iter().any(|draft| draft.confidential) {
            return Ok(self);
        }
        let (judge, wall) = (state.judge.clone(), state.wall());
        let sealed = state.read(move |_| {
            let vault = judge.vault().ok_or_else(no_keys)?;
            let mut batch = Batch { single: self.single, ..Batch::default() };
            for (mut draft, line) in self.drafts.into_iter().zip(self.lines) {
                let sealed = if draft.confidential { vault.seal(&mut draft, wall) } else { Ok(()) };
                if !batch.take(line, sealed.map(|()| draft)) {
                    break;
                }
            }
            batch.done()
        });
        sealed.await?
    }

    /// Gives the one message its idempotency key.
    fn key(&mut self, key: &str) -> Result<(), Problem> {
        let hash = intake::idempotency(key).map_err(|e| Problem::request(format!("Idempotency-Key: {e}")))?;
        let [draft] = self.drafts.as_mut_slice() else {
            return Err(Problem::request("Idempotency-Key is for one message; of many, give each its idempotency_key"));
        };
        if draft.idempotency.is_some_and(|other| other != hash) {
            return Err(Problem::request("Idempotency-Key and the message's idempotency_key differ; give one of them"));
        }
        draft.idempotency = Some(hash);
        Ok(())
    }
}

async fn drafts_of(state: &ApiState, body: Bytes, form: Form, layout: Layout) -> Result<Batch, Problem> {
    let (wall, began) = (state.wall(), Instant::now());
    if body.len() <= READ_HERE_BYTES {
        return preprocessed(state, read(&body, &form, layout, wall), began);
    }
    let closed = |_| Problem::new(Cause::Unavailable, "the API is closing; try again once the node is back");
    let turn = state.intake.clone().acquire_owned().await.map_err(closed)?;
    let work = tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        let batch = read(&body, &form, layout, wall);
        drop(turn);
        (batch, began)
    });
    let read = work.await.map_err(|e| Problem::new(Cause::Internal, format!("the body cannot be read: {e}")));
    let (batch, began) = read?;
    preprocessed(state, batch, began)
}

/// Notes what came of the first stage.
fn preprocessed(state: &ApiState, read: Result<Batch, Problem>, began: Instant) -> Result<Batch, Problem> {
    let took_us = began.elapsed().as_micros() as u64;
    state.watch.pipeline.note(match &read {
        Ok(batch) => Passage::drafts(Station::Preprocess, &batch.drafts, took_us, Outcome::Passed),
        Err(_) => vec![Passage::unread(Station::Preprocess, true, 1, "malformed")],
    });
    read
}

fn read(body: &[u8], form: &Form, layout: Layout, wall: WallMs) -> Result<Batch, Problem> {
    match layout {
        Layout::Lines => read_lines(body, form, wall),
        Layout::Binary => read_binary(body, form, wall),
        Layout::Json => read_json(body, form, wall),
    }
}

fn read_lines(body: &[u8], form: &Form, wall: WallMs) -> Result<Batch, Problem> {
    let mut batch = Batch::default();
    for (index, line) in body.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if !line.is_empty() && !batch.take(index + 1, read_text(line, form, wall)) {
            break;
        }
    }
    batch.done()
}

fn read_json(body: &[u8], form: &Form, wall: WallMs) -> Result<Batch, Problem> {
    let body = body.trim_ascii();
    let mut batch = Batch { single: !body.starts_with(b"["), ..Batch::default() };
    if body.is_empty() {
        return batch.done();
    }
    if batch.single {
        batch.take(1, read_text(body, form, wall));
        return batch.done();
    }
    // Only where the items are: a tree of all of them takes many times what the body does.
    let items: Vec<&RawValue> = match serde_json::from_slice(body) {
        Ok(items) => items,
        Err(error) => return Err(Problem::request(format!("the body is not JSON: {error}"))),
    };
    for (index, item) in items.into_iter().enumerate() {
        if !batch.take(index + 1, read_text(item.get().as_bytes(), form, wall)) {
            break;
        }
    }
    batch.done()
}

fn read_binary(body: &[u8], form: &Form, wall: WallMs) -> Result<Batch, Problem> {
    let Form::Bare(bare) = form else {
        return Err(Problem::request(format!("{BINARY} is of payloads only: give their `kind` in the query")));
    };
    let (mut batch, mut rest, mut place) = (Batch::default(), body, 0);
    while let Some((size, tail)) = rest.split_first_chunk::<4>() {
        place += 1;
        let size = u32::from_le_bytes(*size) as usize;
        let Some((payload, after)) = tail.split_at_checked(size) else {
            return Err(Problem::request(format!("payload {place} has {size} bytes, and {} are left", tail.len())));
        };
        rest = after;
        if !batch.take(place, bare.binary(payload, wall)) {
            return batch.done();
        }
    }
    if !rest.is_empty() {
        return Err(Problem::request(format!("{} bytes after the last payload are no size", rest.len())));
    }
    batch.done()
}

fn read_text(text: &[u8], form: &Form, wall: WallMs) -> Result<Draft, Faults> {
    let text = std::str::from_utf8(text).map_err(|e| intake::malformed(format!("not UTF-8: {e}")))?;
    match form {
        Form::Envelopes => intake::envelope_text(text, wall),
        Form::Bare(bare) => bare.text(text, wall),
    }
}

/// A single draft, held against its schema, and sealed where only one node may read it.
pub(super) async fn prepared(state: &ApiState, draft: Draft) -> Result<Draft, Problem> {
    let batch = Batch { single: true, drafts: vec![draft], lines: vec![1], ..Batch::default() };
    let batch = batch.accepted(state).await?;
    batch.drafts.into_iter().next().ok_or_else(|| Problem::request("the body has no message"))
}

/// Hands the drafts to the node, in order, in calls of as many as one may have. The ids, and how many were dropped.
async fn say(state: &ApiState, batch: Batch, ack: Ack) -> Result<(Vec<MessageId>, usize), Problem> {
    let Batch { mut drafts, lines, single, .. } = batch;
    let mut parts = Vec::with_capacity(drafts.len().div_ceil(limits::PUBLISH_BATCH));
    while !drafts.is_empty() {
        let rest = drafts.split_off(drafts.len().min(limits::PUBLISH_BATCH));
        parts.push(std::mem::replace(&mut drafts, rest));
    }
    let calls = parts.into_iter().map(|drafts| state.client.call(Call::Publish { drafts, ack }));
    let mut answers = stream::iter(calls).buffered(CALLS_AT_ONCE);
    let (mut ids, mut dropped) = (Vec::with_capacity(lines.len()), 0);
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(Answer::Published { ids: some }) => ids.extend(some),
            Ok(Answer::Dropped { count, .. }) => dropped += count,
            Ok(other) => return Err(unexpected(&other)),
            Err(CallError::Refused(CallRefusal::Invalid { index, faults })) => {
                let line = lines.get(ids.len() + dropped + index).copied().filter(|_| !single);
                let faults: Vec<LineFault> =
                    faults.as_slice().iter().map(|f| LineFault { line, fault: f.clone() }).collect();
                return Err(invalid(1, &faults, ids.len()));
            }
            Err(error) => return Err(Problem::from(error).with("published", json!(ids.len()))),
        }
    }
    Ok((ids, dropped))
}

/// The problem of messages with faults; `published` of those before them were published all the same.
pub(super) fn invalid(faulty: usize, faults: &[LineFault], published: usize) -> Problem {
    let more = if faulty >= FAULTY_MESSAGES { " or more" } else { "" };
    let what = if faulty == 1 { "1 message is".into() } else { format!("{faulty}{more} messages are") };
    let known = faults.iter().all(|f| f.fault.code != FaultCode::UnknownKind);
    let advice =
        if known { "`metanode kinds KIND` shows what a kind needs" } else { "`metanode kinds` lists all kinds" };
    let done =
        if published == 0 { "nothing was published".into() } else { format!("the first {published} were published") };
    Problem::new(Cause::Invalid, format!("{what} not valid and {done}; mend the faults and send again; {advice}"))
        .with("faults", json!(faults))
        .with("published", json!(published))
}
