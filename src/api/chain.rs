//! The chain: how agreement stands, accounts, and transactions for the next block.

use axum::Json;
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::params::Asked;
use super::problem::{Cause, Problem};
use super::state::{ApiState, unexpected};
use crate::ledger::rows::Account;
use crate::ledger::{Params, query};
use crate::node::{AgreementStatus, Answer, Call, CallRefusal};
use crate::types::chain::{ChainId, Height, TransactionId};
use crate::types::{NodeId, Tokens};
use crate::wire::ledger::Sealed;

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
    agreement(&state).await.map(Json)
}

async fn agreement(state: &ApiState) -> Result<AgreementStatus, Problem> {
    match state.client.call(Call::Agreement).await? {
        Answer::Agreement(Some(status)) => Ok(*status),
        Answer::Agreement(None) => Err(Problem::new(Cause::NotFound, CallRefusal::NoChain.to_string())),
        other => Err(unexpected(&other)),
    }
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
#[utoipa::path(
    post,
    path = "/v1/chain/transactions",
    tag = "chain",
    request_body(content = ref("#/components/schemas/Submission"), content_type = "application/json"),
    responses(
        (status = 202, description = "They wait for a block", body = ref("#/components/schemas/Submitted"), content_type = "application/json"),
        (status = 422, description = "They are not taken, and why", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn submit(
    State(state): State<ApiState>,
    Asked(Submission { sealed }): Asked<Submission>,
) -> Result<(axum::http::StatusCode, Json<Submitted>), Problem> {
    let chain = agreement(&state).await?.chain;
    let invalid = |why: String| Problem::new(Cause::Invalid, why);
    let bytes = hex::decode(&sealed).map_err(|e| invalid(format!("`sealed` is hexadecimal: {e}")))?;
    // The seal is checked here, on a thread of the API's, not on the owner's.
    let sealed = tokio::task::spawn_blocking(move || Sealed::check(bytes.into(), chain)).await;
    let sealed = sealed.map_err(|_| Problem::new(Cause::Internal, "a check ended early"))?;
    let sealed = sealed.map_err(|why| invalid(why.to_string()))?;
    match state.client.call(Call::Submit(Box::new(sealed))).await? {
        Answer::Submitted { ids } => Ok((axum::http::StatusCode::ACCEPTED, Json(Submitted { ids }))),
        other => Err(unexpected(&other)),
    }
}

/// An account as the last block left it.
#[derive(Serialize, JsonSchema)]
pub struct AccountInfo {
    /// Whose.
    account: NodeId,
    /// What it has.
    balance: Tokens,
    /// The number its next transaction must have.
    next_nonce: u64,
    /// After which block this was so.
    height: Height,
    /// On which chain.
    chain: ChainId,
    /// What a transaction in the next block costs.
    price: Price,
}

/// A transaction pays `transaction + byte × its sealed bytes + gas × its gas` or more, base units.
#[derive(Serialize, JsonSchema)]
pub struct Price {
    transaction: Tokens,
    byte: Tokens,
    gas: Tokens,
}

/// An account as the last block left it.
#[utoipa::path(
    get,
    path = "/v1/chain/accounts/{account}",
    tag = "chain",
    params(("account" = String, Path, description = "A node's id")),
    responses(
        (status = 200, description = "The account", body = ref("#/components/schemas/AccountInfo"), content_type = "application/json"),
        (status = 404, description = "There is none", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn account(State(state): State<ApiState>, Path(account): Path<String>) -> Result<Json<AccountInfo>, Problem> {
    let account: NodeId =
        account.parse().map_err(|e: crate::types::IdError| Problem::new(Cause::Invalid, e.to_string()))?;
    let read = state
        .read(move |view| {
            let head = crate::ledger::chain::head(view)?;
            Ok::<_, crate::ledger::Fault>((
                head,
                query::row::<Account>(&account, view)?,
                query::row::<Params>(&(), view)?,
            ))
        })
        .await?;
    let (head, row, params) = read.map_err(|fault| Problem::new(Cause::Internal, fault.to_string()))?;
    let head = head.ok_or_else(|| Problem::new(Cause::NotFound, CallRefusal::NoChain.to_string()))?;
    let row = row.ok_or_else(|| Problem::new(Cause::NotFound, format!("there is no account {account}")))?;
    let fees = params.ok_or_else(|| Problem::new(Cause::Internal, "the ledger has no rules; please report this"))?.fees;
    let price = Price { transaction: fees.transaction, byte: fees.byte, gas: fees.gas };
    let (balance, next_nonce) = (row.balance, row.nonce);
    Ok(Json(AccountInfo { account, balance, next_nonce, height: head.height, chain: head.chain, price }))
}
