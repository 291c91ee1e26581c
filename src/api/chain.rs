//! The chain: how agreement stands, and transactions for the next block.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::params::Asked;
use super::problem::{Cause, Problem, not_taken};
use super::state::{ApiState, unexpected};
use crate::ledger::chain::{self, Head};
use crate::ledger::{Fault, NotTaken};
use crate::node::{AgreementStatus, Answer, Call, CallRefusal};
use crate::types::chain::TransactionId;
use crate::types::storage::View;
use crate::wire::ledger::Sealed;

/// While something is read several blocks may become final; then it is read again, so often.
const LOOKS: usize = 8;

impl ApiState {
    /// What `read` finds of the chain as it stands after one block.
    pub(super) async fn ledger<T: Send + 'static>(
        &self,
        read: impl Fn(&dyn View, &Head) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        self.read(move |view| steady(view, read)).await?
    }

    /// How agreement stands; none at a node without a chain.
    pub(super) async fn agreement(&self) -> Result<Option<AgreementStatus>, Problem> {
        match self.client.call(Call::Agreement).await? {
            Answer::Agreement(status) => Ok(status.map(|status| *status)),
            other => Err(unexpected(&other)),
        }
    }
}

/// The store has no snapshots: what was read while a block became final is read again.
fn steady<T>(view: &dyn View, read: impl Fn(&dyn View, &Head) -> Result<T, Problem>) -> Result<T, Problem> {
    let mut now = head(view)?;
    for _ in 0..LOOKS {
        let found = read(view, &now);
        let after = head(view)?;
        if after.height == now.height {
            return found;
        }
        now = after;
    }
    Err(Problem::new(Cause::Busy, "blocks come faster than this can be read; ask again"))
}

/// Where the chain stands.
pub(super) fn head(view: &dyn View) -> Result<Head, Problem> {
    let absent = || {
        if chain::is_swapping(view) {
            return Problem::new(Cause::Busy, "this node takes in the state of a later block; ask again in a moment");
        }
        no_chain()
    };
    chain::head(view).map_err(broken)?.ok_or_else(absent)
}

pub(super) fn no_chain() -> Problem {
    Problem::new(Cause::NotFound, CallRefusal::NoChain.to_string())
}

/// The store does not make sense.
pub(super) fn broken(fault: Fault) -> Problem {
    Problem::new(Cause::Internal, format!("{fault}; please report this"))
}

/// How agreement stands.
#[utoipa::path(
    get,
    path = "/v1/chain",
    tag = "chain",
    responses(
        (status = 200, description = "How agreement stands", body = ref("#/components/schemas/AgreementStatus"), content_type = "application/json"),
        (status = 404, description = "This node takes part in no chain", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn show(State(state): State<ApiState>) -> Result<Json<AgreementStatus>, Problem> {
    state.agreement().await?.map(Json).ok_or_else(no_chain)
}

/// Transactions under one seal.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// The sealed bytes, hexadecimal.
    sealed: String,
}

/// Transactions that wait for a block.
#[derive(Serialize, JsonSchema)]
pub struct Submitted {
    /// Their ids, in order.
    ids: Vec<TransactionId>,
}

/// Takes sealed transactions and passes them on to the validators.
///
/// A problem has a `code` that says why they are not taken: `wrong_chain`, `bad_seal`, `nonce`, `fee_too_low`,
/// `cannot_pay`, `gas` and others, see docs/ledger.md.
#[utoipa::path(
    post,
    path = "/v1/chain/transactions",
    tag = "chain",
    request_body(content = ref("#/components/schemas/Submission"), content_type = "application/json"),
    responses(
        (status = 202, description = "They wait for a block", body = ref("#/components/schemas/Submitted"), content_type = "application/json"),
        (status = 422, description = "They are not taken, and why", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 503, description = "There is no room now", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn submit(
    State(state): State<ApiState>,
    Asked(Submission { sealed }): Asked<Submission>,
) -> Result<(axum::http::StatusCode, Json<Submitted>), Problem> {
    let chain = state.agreement().await?.ok_or_else(no_chain)?.chain;
    let bytes =
        hex::decode(&sealed).map_err(|e| Problem::new(Cause::Invalid, format!("`sealed` is hexadecimal: {e}")))?;
    // The seal is checked here, on a thread of the API's, not on the owner's.
    let sealed = tokio::task::spawn_blocking(move || Sealed::check(bytes.into(), chain)).await;
    let sealed = sealed.map_err(|_| Problem::new(Cause::Internal, "a check ended early"))?;
    let sealed = sealed.map_err(|why| not_taken(&NotTaken::Seal(why)))?;
    match state.client.call(Call::Submit(Box::new(sealed))).await? {
        Answer::Submitted { ids } => Ok((axum::http::StatusCode::ACCEPTED, Json(Submitted { ids }))),
        other => Err(unexpected(&other)),
    }
}
