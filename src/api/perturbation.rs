//! Putting a node wrong on purpose, for a time: only one that was started for that.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::params::Asked;
use super::problem::{Cause, Problem};
use super::state::ApiState;
use crate::driver::{Delay, Perturbation, Perturber, Spell};
use crate::types::{NodeId, limits};

/// Nothing is wrong on purpose for longer than this, milliseconds.
const LONGEST_MS: u64 = 3_600_000;
/// Bytes come later by at most this, milliseconds.
const DELAY_MS: u64 = 10_000;
/// At most so many packets of a hundred are lost.
const LOSS_PERCENT: u8 = 90;
/// A clock is wrong by at most this, milliseconds.
const CLOCK_MS: i64 = 86_400_000;

/// What is to be wrong with this node, and for how long.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum Perturb {
    /// Connections with these nodes fall, and dials of them and by them fail.
    Cut {
        /// Who is out of reach.
        peers: BTreeSet<NodeId>,
        /// For so long, milliseconds.
        for_ms: u64,
    },
    /// What comes over its connections comes late.
    Delay {
        /// By so much, milliseconds.
        by_ms: u64,
        /// And up to so much more, milliseconds.
        #[serde(default)]
        jitter_ms: u64,
        /// For so long, milliseconds.
        for_ms: u64,
    },
    /// Packets that come to it are lost, and come when they are sent again.
    Loss {
        /// So many of a hundred.
        percent: u8,
        /// For so long, milliseconds.
        for_ms: u64,
    },
    /// Its wall clock is wrong.
    Clock {
        /// Ahead by so much, or behind, milliseconds.
        by_ms: i64,
        /// For so long, milliseconds.
        for_ms: u64,
    },
}

/// What is wrong with a node on purpose; null what is not.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Perturbations {
    cut: Option<CutOff>,
    delay: Option<Late>,
    loss: Option<Lost>,
    clock: Option<Wrong>,
}

/// It is cut off from some nodes.
#[derive(Debug, Serialize, JsonSchema)]
struct CutOff {
    peers: BTreeSet<NodeId>,
    /// Until it ends, milliseconds.
    left_ms: u64,
}

/// Bytes come late.
#[derive(Debug, Serialize, JsonSchema)]
struct Late {
    by_ms: u64,
    jitter_ms: u64,
    /// Until it ends, milliseconds.
    left_ms: u64,
}

/// Packets are lost.
#[derive(Debug, Serialize, JsonSchema)]
struct Lost {
    percent: u8,
    /// Until it ends, milliseconds.
    left_ms: u64,
}

/// The wall clock is wrong.
#[derive(Debug, Serialize, JsonSchema)]
struct Wrong {
    by_ms: i64,
    /// Until it ends, milliseconds.
    left_ms: u64,
}

impl From<Perturbation> for Perturbations {
    fn from(told: Perturbation) -> Perturbations {
        let left = |until: Instant| ms(until.saturating_duration_since(Instant::now()));
        Perturbations {
            cut: told.cut.map(|cut| CutOff { peers: cut.what, left_ms: left(cut.until) }),
            delay: told.delay.map(|delay| Late {
                by_ms: ms(delay.what.by),
                jitter_ms: ms(delay.what.jitter),
                left_ms: left(delay.until),
            }),
            loss: told.loss.map(|loss| Lost { percent: loss.what, left_ms: left(loss.until) }),
            clock: told.clock_ms.map(|clock| Wrong { by_ms: clock.what, left_ms: left(clock.until) }),
        }
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn perturber(state: &ApiState) -> Result<&Perturber, Problem> {
    state.perturber.as_ref().ok_or_else(|| {
        Problem::new(
            Cause::Denied,
            "this node was not started to be perturbed; nodes of `metanode testnet up` are, and others with `metanode \
             start --perturbable`",
        )
    })
}

/// What is wrong with this node on purpose. Refused by a node that was not started for it, as are the others here.
#[utoipa::path(
    get,
    path = "/v1/perturbation",
    tag = "node",
    responses(
        (status = 200, description = "What is wrong", body = ref("#/components/schemas/Perturbations"), content_type = "application/json"),
        (status = 403, description = "It was not started for this", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn show(State(state): State<ApiState>) -> Result<Json<Perturbations>, Problem> {
    Ok(Json(perturber(&state)?.standing().into()))
}

/// Puts one thing wrong, for a time; what else is wrong stays so. It ends by itself.
#[utoipa::path(
    post,
    path = "/v1/perturbation",
    tag = "node",
    request_body(content = ref("#/components/schemas/Perturb"), content_type = "application/json"),
    responses(
        (status = 200, description = "What is wrong now", body = ref("#/components/schemas/Perturbations"), content_type = "application/json"),
        (status = 403, description = "It was not started for this", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn perturb(
    State(state): State<ApiState>,
    Asked(asked): Asked<Perturb>,
) -> Result<Json<Perturbations>, Problem> {
    let perturber = perturber(&state)?;
    let change = change(asked, perturber.holds_up())?;
    tracing::warn!("something is put wrong with this node on purpose");
    Ok(Json(perturber.change(change).into()))
}

/// Ends everything that is wrong on purpose, at once.
#[utoipa::path(
    delete,
    path = "/v1/perturbation",
    tag = "node",
    responses(
        (status = 200, description = "Nothing is wrong any more", body = ref("#/components/schemas/Perturbations"), content_type = "application/json"),
        (status = 403, description = "It was not started for this", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn heal(State(state): State<ApiState>) -> Result<Json<Perturbations>, Problem> {
    Ok(Json(perturber(&state)?.change(|told| *told = Perturbation::default()).into()))
}

/// What a wish does to what a node suffers.
type Changed = Box<dyn FnOnce(&mut Perturbation) + Send>;

/// What is asked for, if it is within bounds.
fn change(asked: Perturb, holds_up: bool) -> Result<Changed, Problem> {
    match asked {
        Perturb::Cut { peers, for_ms } => {
            let until = until(for_ms)?;
            within("peers", peers.len() as u64, 1, limits::KNOWN_PEERS as u64)?;
            Ok(Box::new(move |told| told.cut = Some(Spell { what: peers, until })))
        }
        Perturb::Delay { by_ms, jitter_ms, for_ms } => {
            let until = until(for_ms)?;
            within("by_ms", by_ms, 0, DELAY_MS)?;
            within("jitter_ms", jitter_ms, 0, DELAY_MS)?;
            over_tcp(holds_up)?;
            let what = Delay { by: Duration::from_millis(by_ms), jitter: Duration::from_millis(jitter_ms) };
            Ok(Box::new(move |told| told.delay = Some(Spell { what, until })))
        }
        Perturb::Loss { percent, for_ms } => {
            let until = until(for_ms)?;
            within("percent", percent.into(), 1, LOSS_PERCENT.into())?;
            over_tcp(holds_up)?;
            Ok(Box::new(move |told| told.loss = Some(Spell { what: percent, until })))
        }
        Perturb::Clock { by_ms, for_ms } => {
            let until = until(for_ms)?;
            if !(-CLOCK_MS..=CLOCK_MS).contains(&by_ms) {
                return Err(Problem::new(Cause::Invalid, format!("by_ms: use -{CLOCK_MS} to {CLOCK_MS}")));
            }
            Ok(Box::new(move |told| told.clock_ms = Some(Spell { what: by_ms, until })))
        }
    }
}

fn until(for_ms: u64) -> Result<Instant, Problem> {
    within("for_ms", for_ms, 1, LONGEST_MS)?;
    Ok(Instant::now() + Duration::from_millis(for_ms))
}

fn within(name: &str, value: u64, least: u64, most: u64) -> Result<(), Problem> {
    let fits = (least..=most).contains(&value);
    fits.then_some(()).ok_or_else(|| Problem::new(Cause::Invalid, format!("{name}: use {least} to {most}")))
}

fn over_tcp(holds_up: bool) -> Result<(), Problem> {
    let advice = "this node does not listen on TCP alone, and packets of QUIC cannot be held up; use a network over TCP \
                  (`metanode testnet up --transport tcp`)";
    holds_up.then_some(()).ok_or_else(|| Problem::new(Cause::Conflict, advice))
}
