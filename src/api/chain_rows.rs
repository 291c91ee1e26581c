//! Rows of the chain's state in words, and their proofs.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::chain::{broken, no_chain};
use super::params::{Params, parsed};
use super::problem::{Cause, Problem};
use super::reader::Written;
use super::state::ApiState;
use crate::ledger::chain::Head;
use crate::ledger::query::{self, NoProof};
use crate::ledger::rows::Sort;
use crate::ledger::{Shown, key_named, shown, sort_named, sorts};
use crate::types::chain::Height;
use crate::types::storage::View;
use crate::wire::kind::Blob;

/// Rows on one page, at most.
const PAGE: usize = 1_000;

/// Which row is proved, and to whom.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ProofParams {
    /// The sort of row; by default account. `/v1/chain/rows` lists the sorts.
    sort: Option<String>,
    /// What names it, with `/` between the parts: an account's id, a proposal's number.
    name: Option<String>,
    /// As it was after this block; by default the last.
    height: Option<u64>,
    /// For one who trusts the validators that decide from this height on; by default 1, those of genesis.
    trusted: Option<u64>,
}

/// A proof of a row, or that there is none, under a decided header.
///
/// What is answered is the proof itself, to be kept as a file and checked offline: `metanode ledger verify`.
#[utoipa::path(
    get,
    path = "/v1/chain/proof",
    tag = "chain",
    params(ProofParams),
    responses(
        (status = 200, description = "A proof as JSON, docs/wire.md section 20", body = Object, content_type = "application/json"),
        (status = 404, description = "There is no block yet, or the height is not kept", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn prove(State(state): State<ApiState>, Params(params): Params<ProofParams>) -> Result<Written, Problem> {
    let sort = sort(params.sort.as_deref().unwrap_or("account"))?;
    let key = key(sort, params.name.as_deref().unwrap_or_default())?;
    if shown(&key, None).ok().flatten().is_none() {
        return Err(Problem::request("name: it has too few parts; see docs/ledger.md"));
    }
    let (height, trusted) = (params.height.map(Height), Height(params.trusted.unwrap_or(1)));
    let read = move |view: &dyn View, _: &Head| {
        query::prove(&key, height, trusted, view).map(|proof| Written::text(proof.to_json())).map_err(no_proof)
    };
    state.ledger(read).await
}

pub(super) fn no_proof(why: NoProof) -> Problem {
    let problem = |cause| Problem::new(cause, why.to_string());
    match &why {
        NoProof::NoBlock => problem(Cause::NotFound),
        NoProof::Height { oldest, newest, .. } => {
            problem(Cause::NotFound).with("oldest", json!(oldest)).with("newest", json!(newest))
        }
        NoProof::TooFar(_) | NoProof::Before(_) => problem(Cause::Invalid),
        NoProof::Fault(fault) => broken(fault.clone()),
    }
}

fn sort(name: &str) -> Result<Sort, Problem> {
    sort_named(name).ok_or_else(|| {
        let all: Vec<&str> = sorts().collect();
        Problem::request(format!("sort: `{name}` is none; use one of {}", all.join(", ")))
    })
}

fn key(sort: Sort, name: &str) -> Result<Vec<u8>, Problem> {
    key_named(sort, name).ok_or_else(|| {
        Problem::request(format!("name: `{name}` names no such row; give ids and numbers with `/` between"))
    })
}

/// Which rows.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RowParams {
    /// The sort: account, pool, closed, delegation, unbonding, leaving, record, billing, proposal, ballot, policy, worker,
    /// duty, params, totals, seats.
    sort: String,
    /// Whose names begin so: `sort=delegation&name=ACCOUNT` are all of an account.
    name: Option<String>,
    /// After this row: the `next` of the page before.
    after: Option<String>,
    /// At most so many, 1 to 1,000; by default 100.
    limit: Option<usize>,
}

/// Rows of the state.
#[derive(Serialize, JsonSchema)]
pub struct ChainRows {
    /// In the order of their keys.
    rows: Vec<Shown>,
    /// After which block they were so.
    height: Height,
    /// Where to go on; none at the end.
    next: Option<Blob>,
}

/// Rows of the state of the chain: records, billings, policies, stake that is taken back, and every other sort.
#[utoipa::path(
    get,
    path = "/v1/chain/rows",
    tag = "chain",
    params(RowParams),
    responses((status = 200, description = "A page", body = ref("#/components/schemas/ChainRows"), content_type = "application/json")),
)]
pub async fn list(
    State(state): State<ApiState>,
    Params(params): Params<RowParams>,
) -> Result<Json<ChainRows>, Problem> {
    let prefix = key(sort(&params.sort)?, params.name.as_deref().unwrap_or_default())?;
    let after = params.after.map(hex::decode).transpose();
    let after = after.map_err(|_| Problem::request("after: give the `next` of the page before unchanged"))?;
    if after.as_ref().is_some_and(|after| !after.starts_with(&prefix)) {
        return Err(Problem::request("after: it is of another sort or name; give the `next` of the page before"));
    }
    let most = limit(params.limit)?;
    let read = move |view: &dyn View, head: &Head| {
        let found = query::any_rows(&prefix, after.as_deref(), most, view);
        let next = found.last().filter(|_| found.len() == most).map(|(key, _)| Blob(key.clone()));
        let told = found.iter().map(|(key, value)| shown(key, Some(value)).map_err(broken));
        let rows = told.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        Ok(ChainRows { rows, height: head.height, next })
    };
    state.ledger(read).await.map(Json)
}

/// The limit of a page of rows.
pub(super) fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    let most = asked.unwrap_or(100);
    if (1..=PAGE).contains(&most) {
        return Ok(most);
    }
    Err(Problem::request(format!("limit: use 1 to {PAGE}, and go on after `next`")))
}

/// The parameters of a page whose rows are named by numbers.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NumberParams {
    /// After this one: the `next` of the page before.
    pub after: Option<String>,
    /// At most so many, 1 to 1,000; by default 100.
    pub limit: Option<usize>,
}

impl NumberParams {
    /// What `after` says.
    pub fn after<T: std::str::FromStr<Err: std::fmt::Display>>(&self) -> Result<Option<T>, Problem> {
        parsed("after", self.after.as_deref())
    }
}

/// The row that a chain always has.
pub(super) fn always<R: crate::ledger::rows::Row<Name = ()>>(view: &dyn View) -> Result<R, Problem> {
    query::row::<R>(&(), view).map_err(broken)?.ok_or_else(no_chain)
}
