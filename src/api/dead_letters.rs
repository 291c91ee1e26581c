//! Dead letters: what durable subscriptions could not take, and what is to become of it.

use axum::Json;
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::envelope::Envelope;
use super::messages::ProofForm;
use super::params::{Asked, Params, parsed};
use super::problem::{Cause, Problem};
use super::reader::Written;
use super::state::{ApiState, unexpected};
use crate::deliver::{DeadLetter, Disposition, Name, Refused, Selector, dead_letter, dead_letters, letter};
use crate::driver::CallError;
use crate::node::{Answer, Call, CallRefusal};
use crate::types::{WallMs, limits};
use crate::wire::Proof;

/// Dead letters of a page if nothing else is asked, and at most.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 1_000;
/// Letters that stay and are named in one answer.
const STAYS: usize = 100;

/// Which dead letters to read.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeadParams {
    /// Of this subscription.
    subscription: Option<String>,
    /// That died of this: `max_attempts`, `rejected`, `expired`, `no_route`, `circuit_open`, `schema` or `overflow`.
    disposition: Option<String>,
    /// That died before this, milliseconds since 1970.
    before_ms: Option<u64>,
    /// At most so many, 1 to 1,000; by default 100.
    limit: Option<usize>,
    /// After this one: `next` of the page before.
    after: Option<String>,
}

/// A page of dead letters.
#[derive(Serialize, JsonSchema)]
pub struct DeadLetters {
    /// In the order of subscriptions and positions.
    dead_letters: Vec<DeadLetter>,
    /// Read on with `after` this; none at the end.
    next: Option<String>,
}

/// Dead letters, in pages.
#[utoipa::path(
    get,
    path = "/v1/dead-letters",
    tag = "subscriptions",
    params(DeadParams),
    responses((status = 200, description = "A page", body = ref("#/components/schemas/DeadLetters"), content_type = "application/json")),
)]
pub async fn list(State(state): State<ApiState>, Params(params): Params<DeadParams>) -> Result<Written, Problem> {
    let limit = params.limit.unwrap_or(PAGE);
    if !(1..=LONGEST_PAGE).contains(&limit) {
        return Err(Problem::request(format!("limit: use 1 to {LONGEST_PAGE}, and read on from `next`")));
    }
    let selector = Selector {
        subscription: parsed("subscription", params.subscription.as_deref())?,
        disposition: parsed("disposition", params.disposition.as_deref())?,
        before: params.before_ms.map(WallMs),
        after: params.after.as_deref().map(place).transpose()?,
        position: None,
    };
    let read = state.read(move |view| {
        let page = dead_letters(&selector, limit, limits::DEAD_SWEEP, view);
        let next = page.next.map(|(name, position)| format!("{name}/{position}"));
        Written::new(&DeadLetters { dead_letters: page.letters, next })
    });
    read.await?
}

fn place(text: &str) -> Result<(Name, u64), Problem> {
    let parts = text.split_once('/').and_then(|(name, position)| Some((name.parse().ok()?, position.parse().ok()?)));
    parts.ok_or_else(|| Problem::request("after: give `next` of the page before unchanged"))
}

/// A dead letter with its message, and what proves that to anyone who knows the network's name.
#[derive(Serialize, JsonSchema)]
pub struct FoundDeadLetter<'a> {
    dead_letter: DeadLetter,
    /// None when it was let go before it died.
    message: Option<Envelope<'a>>,
    #[schemars(with = "Option<ProofForm>")]
    proof: Option<&'a Proof>,
    /// The name under the signature.
    network: String,
}

/// One dead letter with its message.
#[utoipa::path(
    get,
    path = "/v1/dead-letters/{name}/{position}",
    tag = "subscriptions",
    params(
        ("name" = String, Path, description = "The subscription's name"),
        ("position" = u64, Path, description = "The message's position"),
    ),
    responses(
        (status = 200, description = "The dead letter", body = ref("#/components/schemas/FoundDeadLetter"), content_type = "application/json"),
        (status = 404, description = "Not there", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn show(
    State(state): State<ApiState>,
    Path((name, position)): Path<(String, String)>,
) -> Result<Written, Problem> {
    let name: Name = name.parse().map_err(Problem::request)?;
    let position = parsed::<u64>("position", Some(&position))?.unwrap_or_default();
    let (network, judge) = (state.network.to_string(), state.judge.clone());
    let read = state.read(move |view| {
        let dead = dead_letter(&name, position, view);
        let dead_letter = dead.ok_or_else(|| CallRefusal::Deliver(Refused::NotDead { name: name.clone(), position }));
        let dead_letter = dead_letter.map_err(CallError::Refused)?;
        let proof = letter(&name, position, view).and_then(|bytes| Proof::from_bytes(&bytes));
        let mut message = proof.as_ref().and_then(|proof| Envelope::proved(proof, Some(&judge)));
        if let Some(message) = &mut message {
            message.position = Some(position);
        }
        Written::new(&FoundDeadLetter { dead_letter, message, proof: proof.as_ref(), network })
    });
    read.await?
}

/// Which dead letters are to be redriven or dropped. Every part that is given has to be met.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Selection {
    /// Of this subscription.
    subscription: Option<Name>,
    /// At this position; goes with `subscription`.
    position: Option<u64>,
    /// That died of this.
    disposition: Option<Disposition>,
    /// That died before this, milliseconds since 1970.
    before_ms: Option<WallMs>,
    /// All there are; goes with nothing else.
    all: bool,
    /// Only say how many; do nothing.
    dry_run: bool,
}

impl Selection {
    fn selector(&self) -> Result<Selector, Problem> {
        let selector = Selector {
            subscription: self.subscription.clone(),
            position: self.position,
            disposition: self.disposition,
            before: self.before_ms,
            after: None,
        };
        let invalid = |detail: &str| Err(Problem::new(Cause::Invalid, detail));
        if self.all == (selector != Selector::default()) {
            return invalid("say which: subscription, position, disposition, before_ms; or `all` and none of them");
        }
        if self.position.is_some() && self.subscription.is_none() {
            return invalid("a position is one of a subscription; name that too");
        }
        Ok(selector)
    }
}

/// What became of dead letters.
#[derive(Serialize, JsonSchema)]
pub struct Swept {
    /// Nothing was done; this is what would be.
    dry_run: bool,
    /// Dead letters redriven, or dropped.
    done: u64,
    /// Dead letters that stay.
    stay: u64,
    /// The first hundred of them, and why.
    stays: Vec<Stay>,
}

/// A dead letter that stays.
#[derive(Serialize, JsonSchema)]
pub struct Stay {
    subscription: Name,
    position: u64,
    /// Why.
    reason: &'static str,
}

/// Brings dead letters back to their subscriptions: they are handed out again, marked as redelivered.
#[utoipa::path(
    post,
    path = "/v1/dead-letters/redrive",
    tag = "subscriptions",
    request_body(content = ref("#/components/schemas/Selection"), content_type = "application/json"),
    responses(
        (status = 200, description = "What became of them", body = ref("#/components/schemas/Swept"), content_type = "application/json"),
        (status = 404, description = "No such subscription or dead letter", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn redrive(
    State(state): State<ApiState>,
    Asked(selection): Asked<Selection>,
) -> Result<Json<Swept>, Problem> {
    sweep(&state, &selection, true).await
}

/// Removes dead letters for ever.
#[utoipa::path(
    post,
    path = "/v1/dead-letters/drop",
    tag = "subscriptions",
    request_body(content = ref("#/components/schemas/Selection"), content_type = "application/json"),
    responses(
        (status = 200, description = "What became of them", body = ref("#/components/schemas/Swept"), content_type = "application/json"),
        (status = 404, description = "No such subscription or dead letter", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn remove(State(state): State<ApiState>, Asked(selection): Asked<Selection>) -> Result<Json<Swept>, Problem> {
    sweep(&state, &selection, false).await
}

async fn sweep(state: &ApiState, selection: &Selection, redrive: bool) -> Result<Json<Swept>, Problem> {
    let (mut selector, dry) = (selection.selector()?, selection.dry_run);
    let mut all = Swept { dry_run: dry, done: 0, stay: 0, stays: Vec::new() };
    loop {
        let swept = match state.client.call(Call::Sweep { selector: selector.clone(), redrive, dry }).await? {
            Answer::Swept(swept) => swept,
            other => return Err(unexpected(&other)),
        };
        all.done += swept.done;
        all.stay += swept.stays.len() as u64;
        let named = swept.stays.into_iter().take(STAYS.saturating_sub(all.stays.len()));
        all.stays.extend(named.map(|(subscription, position, reason)| Stay { subscription, position, reason }));
        selector.after = swept.next;
        if selector.after.is_none() {
            return Ok(Json(all));
        }
    }
}
