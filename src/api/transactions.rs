//! Transactions in blocks, with their receipts; and waiting for one to be final.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chain::broken;
use super::params::{Params, Part};
use super::problem::{Cause, Problem};
use super::state::ApiState;
use crate::ledger::chain::{self, Found, Head};
use crate::types::chain::{BlockId, Height, TransactionId};
use crate::types::storage::View;
use crate::types::{NodeId, Tokens, WallMs};
use crate::wire::ledger::{Block, Body, Outcome, Record};

/// Nobody waits longer for a transaction, milliseconds.
const WAIT_MS: u64 = 60_000;

/// A final transaction and what became of it.
#[derive(Serialize, JsonSchema)]
pub struct TransactionInfo {
    /// Which.
    pub id: TransactionId,
    /// The height of its block.
    pub height: Height,
    /// Its block.
    pub block: BlockId,
    /// When the block was made.
    pub time_ms: WallMs,
    /// Its place among the records of the block.
    pub index: u32,
    /// Whose.
    pub account: NodeId,
    /// Its number.
    pub nonce: u64,
    /// What it does.
    pub body: Body,
    /// What it paid.
    pub fee: Tokens,
    /// Gas it took.
    pub gas: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// How long to wait.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WaitParams {
    /// Wait so long for it to become final, milliseconds, up to 60,000; by default not at all.
    wait_ms: Option<u64>,
}

/// A final transaction with its receipt.
///
/// With `wait_ms` the answer comes as soon as it is final. A transaction that is not final in that time is a 404 like
/// one that nobody knows: this node cannot tell them apart for another.
#[utoipa::path(
    get,
    path = "/v1/chain/transactions/{id}",
    tag = "chain",
    params(("id" = String, Path, description = "Its id, as it was answered when it was submitted"), WaitParams),
    responses(
        (status = 200, description = "It is final", body = ref("#/components/schemas/TransactionInfo"), content_type = "application/json"),
        (status = 404, description = "It is not final here", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn show(
    State(state): State<ApiState>,
    Part(id): Part<TransactionId>,
    Params(params): Params<WaitParams>,
) -> Result<Json<TransactionInfo>, Problem> {
    let wait_ms = params.wait_ms.unwrap_or_default();
    if wait_ms > WAIT_MS {
        return Err(Problem::request(format!("wait_ms: at most {WAIT_MS}; then ask again")));
    }
    let found = match wait_ms {
        0 => found(&state, id).await?,
        _ => {
            let _seat = state.seat()?;
            let patience = Duration::from_millis(wait_ms);
            tokio::time::timeout(patience, until_final(&state, id)).await.ok().transpose()?
        }
    };
    found.map(Json).ok_or_else(|| {
        let told = format!("transaction {id} is in no block here; it may wait for one, see `waiting` in /v1/chain");
        Problem::new(Cause::NotFound, told)
    })
}

async fn until_final(state: &ApiState, id: TransactionId) -> Result<TransactionInfo, Problem> {
    let closing = || Problem::new(Cause::Unavailable, "the API is closing; ask again once the node is back");
    let (mut height, mut stop) = (state.watch.height.clone(), state.stopping());
    loop {
        // Whatever becomes final after this look wakes the wait below.
        height.borrow_and_update();
        if let Some(found) = found(state, id).await? {
            return Ok(found);
        }
        if *stop.borrow_and_update() {
            return Err(closing());
        }
        tokio::select! {
            changed = height.changed() => changed.map_err(|_| closing())?,
            _ = stop.changed() => {}
        }
    }
}

async fn found(state: &ApiState, id: TransactionId) -> Result<Option<TransactionInfo>, Problem> {
    let read = move |view: &dyn View, _: &Head| match chain::find(&id, view).map_err(broken)? {
        Some(place) => transaction(place, view),
        None => Ok(None),
    };
    state.ledger(read).await
}

/// The transaction at a place; none where the block is not here any more.
pub(super) fn transaction(place: Found, view: &dyn View) -> Result<Option<TransactionInfo>, Problem> {
    let Some(block) = chain::block(place.height, view).map_err(broken)? else { return Ok(None) };
    let Some(record) = chain::record(place, view).map_err(broken)? else { return Ok(None) };
    let Some((sealed, at)) = chain::transaction_at(&block, place.index).map_err(broken)? else { return Ok(None) };
    let body = sealed.order().transactions.get(at).map(|one| one.body.clone());
    Ok(body.and_then(|body| told(place, &block, body, record)))
}

/// A transaction in words; none for the record of something else.
pub(super) fn told(place: Found, block: &Block, body: Body, record: Record) -> Option<TransactionInfo> {
    let Record::Receipt(receipt) = record else { return None };
    let header = block.header();
    Some(TransactionInfo {
        id: receipt.transaction,
        height: place.height,
        block: header.id(),
        time_ms: header.time_ms,
        index: place.index,
        account: receipt.account,
        nonce: receipt.nonce,
        body,
        fee: receipt.fee,
        gas: receipt.gas,
        outcome: receipt.outcome,
    })
}
