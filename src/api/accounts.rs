//! Accounts of the chain: what they have, what they have staked, what they had to do with.

use std::fmt;
use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chain::{broken, no_chain};
use super::params::{Params, Part, parsed};
use super::problem::{Cause, Problem};
use super::reader::Written;
use super::state::ApiState;
use super::transactions::{TransactionInfo, transaction};
use crate::ledger::chain::{self, Found};
use crate::ledger::rows::{Account, Delegation, Pool};
use crate::ledger::{self, query};
use crate::types::chain::{ChainId, Height};
use crate::types::storage::View;
use crate::types::{NodeId, Tokens};

/// Transactions on one page, at most: each needs its block.
const PAGE: usize = 100;
/// Validators one account can have stake on; see docs/ledger.md.
const DELEGATIONS: usize = 64;

/// An account as the last block left it.
#[derive(Serialize, JsonSchema)]
pub struct AccountInfo {
    /// Whose.
    account: NodeId,
    /// What it can spend.
    balance: Tokens,
    /// What it can spend on fees only.
    gas: Tokens,
    /// What it has staked, itself included, as it is worth now.
    staked: Tokens,
    /// On whom.
    delegations: Vec<DelegationInfo>,
    /// The number its next transaction must have.
    next_nonce: u64,
    /// After which block this was so.
    height: Height,
    /// On which chain.
    chain: ChainId,
    /// What a transaction in the next block costs.
    price: Price,
}

/// Stake of an account on a validator.
#[derive(Serialize, JsonSchema)]
pub struct DelegationInfo {
    /// On whom; the account itself if it is a validator.
    validator: NodeId,
    /// What it is worth now.
    stake: Tokens,
    /// Its shares of the validator's pool.
    shares: u64,
}

/// A transaction pays `transaction + byte × its sealed bytes + gas × its gas` or more, base units.
#[derive(Serialize, JsonSchema)]
pub struct Price {
    transaction: Tokens,
    byte: Tokens,
    gas: Tokens,
    /// Rent of a byte for an epoch.
    storage: Tokens,
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
pub async fn show(State(state): State<ApiState>, Part(account): Part<NodeId>) -> Result<Json<AccountInfo>, Problem> {
    let read = move |view: &dyn View, head: &chain::Head| {
        let row = query::row::<Account>(&account, view).map_err(broken)?;
        let row = row.ok_or_else(|| Problem::new(Cause::NotFound, format!("there is no account {account}")))?;
        let params = query::row::<ledger::Params>(&(), view).map_err(broken)?.ok_or_else(no_chain)?;
        let delegations = delegations(account, view)?;
        let staked = delegations.iter().fold(Tokens::ZERO, |sum, one| sum.plus(one.stake).unwrap_or(sum));
        let fees = params.fees;
        Ok(AccountInfo {
            account,
            balance: row.balance,
            gas: row.gas,
            staked,
            delegations,
            next_nonce: row.nonce,
            height: head.height,
            chain: head.chain,
            price: Price { transaction: fees.transaction, byte: fees.byte, gas: fees.gas, storage: fees.storage },
        })
    };
    state.ledger(read).await.map(Json)
}

fn delegations(account: NodeId, view: &dyn View) -> Result<Vec<DelegationInfo>, Problem> {
    let rows = query::rows_of::<Delegation>(account.as_bytes(), None, DELEGATIONS, view).map_err(broken)?;
    let mut found = Vec::new();
    for (key, Delegation { shares }) in rows {
        let Some(validator) = key.last_chunk::<32>().map(|id| NodeId(*id)) else { continue };
        let pool = query::row::<Pool>(&validator, view).map_err(broken)?.unwrap_or_default();
        found.push(DelegationInfo { validator, stake: query::worth(&pool, shares), shares });
    }
    Ok(found)
}

/// A place in a list of transactions, written `height.index`.
#[derive(Clone, Copy, Debug)]
struct Place(Found);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.height, self.0.index)
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let place = text.split_once('.').and_then(|(height, index)| {
            Some(Found { height: Height(height.parse().ok()?), index: index.parse().ok()? })
        });
        place.map(Place).ok_or_else(|| "give the `next` of the page before unchanged".into())
    }
}

/// Which transactions of an account.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// Older than this place: the `next` of the page before.
    before: Option<String>,
    /// At most so many, 1 to 100; by default 20.
    limit: Option<usize>,
}

/// Transactions of an account, newest first.
#[derive(Serialize, JsonSchema)]
pub struct AccountTransactions {
    /// Those it sent, and those that name it.
    transactions: Vec<TransactionInfo>,
    /// Where to go on; none at the end.
    next: Option<String>,
}

/// The transactions an account sent, and those that name it, newest first.
#[utoipa::path(
    get,
    path = "/v1/chain/accounts/{account}/transactions",
    tag = "chain",
    params(("account" = String, Path, description = "A node's id"), PageParams),
    responses((status = 200, description = "A page", body = ref("#/components/schemas/AccountTransactions"), content_type = "application/json")),
)]
pub async fn transactions(
    State(state): State<ApiState>,
    Part(account): Part<NodeId>,
    Params(params): Params<PageParams>,
) -> Result<Written, Problem> {
    let before = parsed::<Place>("before", params.before.as_deref())?.map(|place| place.0);
    let most = params.limit.unwrap_or(20);
    if !(1..=PAGE).contains(&most) {
        return Err(Problem::request(format!("limit: use 1 to {PAGE}, and go on with before=`next`")));
    }
    let read = move |view: &dyn View, _: &chain::Head| {
        let places = chain::of_account(account, before, most, view);
        let next = (places.len() == most).then(|| places.last().map(|place| Place(*place).to_string())).flatten();
        let found = places.into_iter().map(|place| transaction(place, view));
        let transactions = found.filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()?;
        Written::new(&AccountTransactions { transactions, next })
    };
    state.ledger(read).await
}
