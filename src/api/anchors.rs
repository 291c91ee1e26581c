//! Proofs of the roots over replicated state that blocks carry.

use axum::extract::State;
use serde::Deserialize;

use super::chain_rows::no_proof;
use super::params::{Params, Part};
use super::problem::{Cause, Problem};
use super::reader::Written;
use super::state::ApiState;
use crate::ledger::chain::Head;
use crate::ledger::query;
use crate::types::chain::Height;
use crate::types::storage::View;

/// To whom it is proved.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AnchorParams {
    /// For one who trusts the validators that decide from this height on; by default 1, those of genesis.
    trusted: Option<u64>,
}

/// A proof of a block's anchors under its decided header.
///
/// What is answered is the proof itself, to be kept as a file and checked offline: `metanode ledger verify`.
#[utoipa::path(
    get,
    path = "/v1/chain/blocks/{height}/anchors",
    tag = "chain",
    params(("height" = u64, Path, description = "A height from 1"), AnchorParams),
    responses(
        (status = 200, description = "A proof as JSON, docs/wire.md section 20", body = Object, content_type = "application/json"),
        (status = 404, description = "The block is not here", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn prove(
    State(state): State<ApiState>,
    Part(height): Part<u64>,
    Params(params): Params<AnchorParams>,
) -> Result<Written, Problem> {
    let (height, trusted) = (Height(height), Height(params.trusted.unwrap_or(1)));
    let read = move |view: &dyn View, head: &Head| {
        let proof = query::prove_anchors(height, trusted, view).map_err(no_proof)?;
        let absent = || format!("there is no block {height} here; the last one is {}", head.height);
        let proof = proof.ok_or_else(|| Problem::new(Cause::NotFound, absent()))?;
        Ok(Written::text(proof.to_json()))
    };
    state.ledger(read).await
}
