//! What is put to the vote, how it stands, and the rules that votes change.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chain::broken;
use super::chain_rows::{NumberParams, always, limit};
use super::params::{Params, Part};
use super::problem::{Cause, Problem};
use super::state::ApiState;
use crate::ledger::chain::Head;
use crate::ledger::rows::{Ballot, Policy, Proposal, Totals};
use crate::ledger::{self, query};
use crate::types::chain::Height;
use crate::types::storage::View;
use crate::types::{NodeId, Tokens};

/// Something put to the vote.
#[derive(Serialize, JsonSchema)]
pub struct ProposalInfo {
    /// Its number.
    number: u64,
    #[serde(flatten)]
    proposal: Proposal,
    /// All stake there is now; votes are weighed against it.
    staked: Tokens,
    /// The epoch of the next block; the vote is over after epoch `until`.
    epoch: u64,
    /// It is decided with this block, if blocks go on.
    decided_at: Height,
}

impl ProposalInfo {
    fn of(number: u64, proposal: Proposal, view: &dyn View, head: &Head) -> Result<ProposalInfo, Problem> {
        let (params, totals): (ledger::Params, Totals) = (always(view)?, always(view)?);
        Ok(ProposalInfo {
            number,
            staked: totals.staked,
            epoch: params.epoch(head.height.next().0),
            decided_at: Height(proposal.until.saturating_add(1).saturating_mul(params.epoch_blocks)),
            proposal,
        })
    }
}

/// Which proposals.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ProposalParams {
    /// After this number: the `next` of the page before.
    after: Option<u64>,
    /// Only those that are not decided.
    open: Option<bool>,
    /// At most so many are looked at, 1 to 1,000; by default 100.
    limit: Option<usize>,
}

/// Proposals, by number.
#[derive(Serialize, JsonSchema)]
pub struct Proposals {
    /// Those found.
    proposals: Vec<ProposalInfo>,
    /// Where to go on; none at the end.
    next: Option<u64>,
}

/// What is and was put to the vote.
#[utoipa::path(
    get,
    path = "/v1/chain/proposals",
    tag = "governance",
    params(ProposalParams),
    responses((status = 200, description = "A page", body = ref("#/components/schemas/Proposals"), content_type = "application/json")),
)]
pub async fn list(
    State(state): State<ApiState>,
    Params(params): Params<ProposalParams>,
) -> Result<Json<Proposals>, Problem> {
    let most = limit(params.limit)?;
    let open = params.open.unwrap_or(false);
    let read = move |view: &dyn View, head: &Head| {
        let after = params.after.map(u64::to_be_bytes);
        let rows = query::rows_of::<Proposal>(&[], after.as_ref().map(|key| &key[..]), most, view).map_err(broken)?;
        let full = rows.len() == most;
        let numbered = rows.into_iter().filter_map(|(key, row)| Some((u64::from_be_bytes(key.try_into().ok()?), row)));
        let (mut proposals, mut next) = (Vec::new(), None);
        for (number, row) in numbered {
            next = full.then_some(number);
            if !open || row.outcome.is_none() {
                proposals.push(ProposalInfo::of(number, row, view, head)?);
            }
        }
        Ok(Proposals { proposals, next })
    };
    state.ledger(read).await.map(Json)
}

/// One proposal: what it would do, how the vote stands or how it ended.
#[utoipa::path(
    get,
    path = "/v1/chain/proposals/{number}",
    tag = "governance",
    params(("number" = u64, Path, description = "Its number, as its receipt says")),
    responses(
        (status = 200, description = "The proposal", body = ref("#/components/schemas/ProposalInfo"), content_type = "application/json"),
        (status = 404, description = "There is none", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn show(State(state): State<ApiState>, Part(number): Part<u64>) -> Result<Json<ProposalInfo>, Problem> {
    let read = move |view: &dyn View, head: &Head| {
        let row = query::row::<Proposal>(&number, view).map_err(broken)?;
        let row = row.ok_or_else(|| {
            Problem::new(Cause::NotFound, format!("there is no proposal {number}; `metanode gov ls` lists them"))
        })?;
        ProposalInfo::of(number, row, view, head)
    };
    state.ledger(read).await.map(Json)
}

/// A vote.
#[derive(Serialize, JsonSchema)]
pub struct VoteInfo {
    /// Whose.
    voter: NodeId,
    #[serde(flatten)]
    ballot: Ballot,
}

/// Votes on a proposal, by voter.
#[derive(Serialize, JsonSchema)]
pub struct Votes {
    /// Those found.
    votes: Vec<VoteInfo>,
    /// Where to go on; none at the end.
    next: Option<NodeId>,
}

/// The votes on a proposal.
#[utoipa::path(
    get,
    path = "/v1/chain/proposals/{number}/votes",
    tag = "governance",
    params(("number" = u64, Path, description = "The proposal's number"), NumberParams),
    responses((status = 200, description = "A page", body = ref("#/components/schemas/Votes"), content_type = "application/json")),
)]
pub async fn votes(
    State(state): State<ApiState>,
    Part(number): Part<u64>,
    Params(params): Params<NumberParams>,
) -> Result<Json<Votes>, Problem> {
    let (after, most) = (params.after::<NodeId>()?, limit(params.limit)?);
    let read = move |view: &dyn View, _: &Head| {
        let prefix = number.to_be_bytes();
        let after = after.map(|id| [&prefix[..], &id.0].concat());
        let rows = query::rows_of::<Ballot>(&prefix, after.as_deref(), most, view).map_err(broken)?;
        let full = rows.len() == most;
        let told = |(key, ballot): (Vec<u8>, Ballot)| Some(VoteInfo { voter: NodeId(*key.last_chunk()?), ballot });
        let votes: Vec<VoteInfo> = rows.into_iter().filter_map(told).collect();
        let next = votes.last().filter(|_| full).map(|one| one.voter);
        Ok(Votes { votes, next })
    };
    state.ledger(read).await.map(Json)
}

/// The rules of the chain as they are now, and the policies in effect.
#[derive(Serialize, JsonSchema)]
pub struct ChainRules {
    /// After which block.
    height: Height,
    /// Numbers: genesis set them, votes change the fees.
    parameters: ledger::Params,
    /// Policies that votes adopted, by id: version, and the hash of the text.
    policies: Vec<PolicyInfo>,
}

/// A policy in effect.
#[derive(Serialize, JsonSchema)]
pub struct PolicyInfo {
    /// Its id.
    policy_id: String,
    #[serde(flatten)]
    policy: Policy,
}

/// The rules of the chain as they are now, and the policies in effect, the first 1,000 by id.
#[utoipa::path(
    get,
    path = "/v1/chain/rules",
    tag = "governance",
    responses(
        (status = 200, description = "The rules", body = ref("#/components/schemas/ChainRules"), content_type = "application/json"),
        (status = 404, description = "This node takes part in no chain", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn rules(State(state): State<ApiState>) -> Result<Json<ChainRules>, Problem> {
    let read = |view: &dyn View, head: &Head| {
        let rows = query::rows_of::<Policy>(&[], None, limit(Some(1_000))?, view).map_err(broken)?;
        let told =
            |(key, policy): (Vec<u8>, Policy)| Some(PolicyInfo { policy_id: String::from_utf8(key).ok()?, policy });
        let policies = rows.into_iter().filter_map(told).collect();
        Ok(ChainRules { height: head.height, parameters: always(view)?, policies })
    };
    state.ledger(read).await.map(Json)
}
