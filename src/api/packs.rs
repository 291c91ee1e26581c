//! Many sealed transactions in one call, in their binary form.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::chain::no_chain;
use super::params::Whole;
use super::problem::{Cause, Problem};
use super::state::ApiState;
use crate::driver::CallError;
use crate::node::{Call, CallRefusal};
use crate::wire::ledger::{Pack, Sealed};

/// What became of a pack.
#[derive(Serialize, JsonSchema)]
pub struct PackTaken {
    /// Seals that wait for a block.
    taken: usize,
    /// The others.
    refused: Vec<RefusedSeal>,
}

/// A seal that is not taken.
#[derive(Serialize, JsonSchema)]
pub struct RefusedSeal {
    /// Its place in the pack, from 0.
    index: usize,
    /// Why, as a stable name: see docs/ledger.md.
    code: &'static str,
    /// Why.
    reason: String,
}

/// Takes a pack of sealed transactions and passes them on to the validators.
///
/// The body is a pack, docs/wire.md section 19: many seals of any accounts, each taken or refused by itself. One who
/// sends a thousand transfers a second sends a few packs.
#[utoipa::path(
    post,
    path = "/v1/chain/packs",
    tag = "chain",
    request_body(content = Vec<u8>, content_type = "application/x-metanode-pack"),
    responses(
        (status = 202, description = "What was taken", body = ref("#/components/schemas/PackTaken"), content_type = "application/json"),
        (status = 404, description = "This node takes part in no chain", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 422, description = "No pack, and why", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn submit(
    State(state): State<ApiState>,
    Whole(body): Whole,
) -> Result<(StatusCode, Json<PackTaken>), Problem> {
    let chain = state.agreement().await?.ok_or_else(no_chain)?.chain;
    let pack = Pack::decode(body).map_err(|why| Problem::new(Cause::Invalid, why.to_string()))?;
    // The seals are checked here, on a thread of the API's, not on the owner's.
    let check = move || pack.seals.into_iter().map(|bytes| Sealed::check(bytes, chain)).collect::<Vec<_>>();
    let checked = tokio::task::spawn_blocking(check).await;
    let checked = checked.map_err(|_| Problem::new(Cause::Internal, "a check ended early"))?;
    let calls = checked.into_iter().map(|sealed| async {
        let sealed = sealed.map_err(|why| (why.code(), why.to_string()))?;
        match state.client.call(Call::Submit(Box::new(sealed))).await {
            Ok(_) => Ok(()),
            Err(CallError::Refused(CallRefusal::NotTaken(why))) => Err((why.code(), why.to_string())),
            Err(other) => Err(("unavailable", other.to_string())),
        }
    });
    let answers = futures::future::join_all(calls).await;
    let refused = answers.iter().enumerate().filter_map(|(index, answer)| {
        let (code, reason) = answer.as_ref().err()?;
        Some(RefusedSeal { index, code, reason: reason.clone() })
    });
    let refused: Vec<RefusedSeal> = refused.collect();
    Ok((StatusCode::ACCEPTED, Json(PackTaken { taken: answers.len() - refused.len(), refused })))
}
