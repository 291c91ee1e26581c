//! Who validates the chain, with what power, and where its tokens are.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::chain::broken;
use super::chain_rows::always;
use super::problem::{Cause, Problem};
use super::state::ApiState;
use crate::ledger::chain::{self, Head};
use crate::ledger::rows::{Pool, Proposal, Seats, Standing, Totals, Unbonding};
use crate::ledger::{Params, query};
use crate::types::chain::{Height, Validator};
use crate::types::storage::View;
use crate::types::{NodeId, Tokens};

/// Validators with a pool; a chain has no more.
const POOLS: usize = 1_024;
/// Rows read at once.
const PAGE: usize = 4_096;

/// Who validates.
#[derive(Serialize, JsonSchema)]
pub struct Validators {
    /// The last block.
    height: Height,
    /// Who decided it; nobody before the first.
    current: Vec<Validator>,
    /// Who decides the next.
    next: Vec<Validator>,
    /// All power that decides the next.
    total_power: u64,
    /// What is enough of it: more than two thirds.
    quorum_power: u64,
    /// The epoch of the next block.
    epoch: u64,
    /// After this block seats are given anew.
    epoch_ends: Height,
    /// Everyone who has stake as a validator, largest first.
    candidates: Vec<Candidate>,
}

/// One who has stake as a validator.
#[derive(Serialize, JsonSchema)]
pub struct Candidate {
    /// Who.
    validator: NodeId,
    /// All stake on it, its own included.
    stake: Tokens,
    /// What it keeps of its stakers' rewards, thousandths.
    commission_permille: u16,
    /// Whether it may take part.
    standing: Standing,
    /// Its power over the next block; 0 without a seat.
    power: u64,
    /// Blocks it made in this epoch.
    proposed: u32,
}

/// Who validates, now and next, with what power.
#[utoipa::path(
    get,
    path = "/v1/chain/validators",
    tag = "chain",
    responses(
        (status = 200, description = "Validators", body = ref("#/components/schemas/Validators"), content_type = "application/json"),
        (status = 404, description = "This node takes part in no chain", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn validators(State(state): State<ApiState>) -> Result<Json<Validators>, Problem> {
    state.ledger(seated).await.map(Json)
}

fn seated(view: &dyn View, head: &Head) -> Result<Validators, Problem> {
    let Seats(next) = always(view)?;
    let params: Params = always(view)?;
    let current = match chain::header(head.height, view).map_err(broken)? {
        Some(header) => chain::validators(&header.validators, view).map_err(broken)?,
        None => None,
    };
    let power: BTreeMap<NodeId, u64> = next.iter().map(|one| (one.id, one.power)).collect();
    let total_power = power.values().sum::<u64>();
    let rows = query::rows_of::<Pool>(&[], None, POOLS, view).map_err(broken)?;
    let candidate = |(key, pool): (Vec<u8>, Pool)| {
        let validator = NodeId(*key.first_chunk::<32>()?);
        Some(Candidate {
            validator,
            stake: pool.tokens,
            commission_permille: pool.commission,
            standing: pool.standing,
            power: power.get(&validator).copied().unwrap_or_default(),
            proposed: pool.proposed,
        })
    };
    let mut candidates: Vec<Candidate> = rows.into_iter().filter_map(candidate).collect();
    candidates.sort_by_key(|one| (std::cmp::Reverse(one.stake), one.validator));
    let coming = head.height.next();
    let epoch = params.epoch(coming.0);
    Ok(Validators {
        height: head.height,
        current: current.map(|set| set.iter().copied().collect()).unwrap_or_default(),
        next,
        total_power,
        quorum_power: (u128::from(total_power) * 2 / 3) as u64 + 1,
        epoch,
        epoch_ends: Height(epoch.saturating_add(1).saturating_mul(params.epoch_blocks)),
        candidates,
    })
}

/// Where the tokens are. All parts together are the supply.
#[derive(Serialize, JsonSchema)]
pub struct Supply {
    /// After this block.
    height: Height,
    /// All tokens there are.
    supply: Tokens,
    /// What it never passes.
    limit: Tokens,
    /// Balances of accounts, and what they can spend on fees only.
    accounts: Tokens,
    /// Bound to validators.
    staked: Tokens,
    /// Taken back from validators, and not free yet.
    unbonding: Tokens,
    /// Bound to open proposals.
    deposits: Tokens,
    /// The treasury's.
    treasury: Tokens,
    /// Ever minted after genesis: by the minter, votes and rewards.
    minted: Tokens,
    /// Ever burned: by accounts, fees and punishments.
    burned: Tokens,
}

/// Where the chain's tokens are, and how many were ever minted and burned.
#[utoipa::path(
    get,
    path = "/v1/chain/supply",
    tag = "chain",
    responses(
        (status = 200, description = "The supply", body = ref("#/components/schemas/Supply"), content_type = "application/json"),
        (status = 404, description = "This node takes part in no chain", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn supply(State(state): State<ApiState>) -> Result<Json<Supply>, Problem> {
    state.ledger(counted).await.map(Json)
}

fn counted(view: &dyn View, head: &Head) -> Result<Supply, Problem> {
    let totals: Totals = always(view)?;
    let params: Params = always(view)?;
    let unbonding = sum::<Unbonding>(view, |row| row.tokens)?;
    let deposits = sum::<Proposal>(view, |row| row.deposit)?;
    // Accounts may be millions; they have what nobody else has, because every block's books balance.
    let others = [totals.treasury, totals.staked, unbonding, deposits];
    let accounts = others.iter().try_fold(totals.supply, |left, part| left.minus(*part));
    let accounts =
        accounts.map_err(|_| Problem::new(Cause::Internal, "the supply does not add up; please report this"))?;
    Ok(Supply {
        height: head.height,
        supply: totals.supply,
        limit: params.supply_limit,
        accounts,
        staked: totals.staked,
        unbonding,
        deposits,
        treasury: totals.treasury,
        minted: totals.minted,
        burned: totals.burned,
    })
}

/// What all rows of a sort hold.
fn sum<R: crate::ledger::rows::Row>(view: &dyn View, held: impl Fn(&R) -> Tokens) -> Result<Tokens, Problem> {
    let (mut total, mut after) = (Tokens::ZERO, None::<Arc<[u8]>>);
    loop {
        let rows = query::rows_of::<R>(&[], after.as_deref(), PAGE, view).map_err(broken)?;
        for (_, row) in &rows {
            total = total.plus(held(row)).unwrap_or(Tokens::MOST);
        }
        match rows.last() {
            Some((key, _)) if rows.len() == PAGE => after = Some(key.as_slice().into()),
            Some(_) | None => return Ok(total),
        }
    }
}
