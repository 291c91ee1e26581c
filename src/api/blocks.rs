//! Decided blocks: headers, who signed, what they did.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chain::{broken, head};
use super::params::{Params, Part};
use super::problem::{Cause, Problem};
use super::reader::Written;
use super::state::ApiState;
use super::transactions::{TransactionInfo, told};
use crate::ledger::chain::{self, Found, Head};
use crate::types::NodeId;
use crate::types::chain::{BlockId, Height};
use crate::types::storage::View;
use crate::wire::agreement::Certificate;
use crate::wire::ledger::{Anchor, Block, BlockHeader, Body, Event, Record, Sealed};

/// Blocks on one page, at most: each may be a MiB that is read.
const BLOCKS: usize = 50;
/// Records on one page, at most.
const RECORDS: usize = 1_000;

/// A decided block without what is in it.
#[derive(Serialize, JsonSchema)]
pub struct BlockInfo {
    /// Its id.
    id: BlockId,
    #[serde(flatten)]
    header: BlockHeader,
    /// Transactions in it.
    transactions: usize,
    /// Seals over them.
    seals: usize,
    /// Pieces of evidence in it.
    evidence: usize,
    /// Roots over replicated state that its proposer held.
    anchors: Vec<Anchor>,
    /// Its size, bytes.
    size_bytes: usize,
    /// The round in which it was decided.
    decided_round: u32,
    /// Who signed that, ascending.
    signers: Vec<NodeId>,
}

impl BlockInfo {
    fn of(block: &Block, certificate: &Certificate) -> BlockInfo {
        let count = |bytes: &axum::body::Bytes| Sealed::shape(bytes).map_or(0, |order| order.transactions.len());
        BlockInfo {
            id: block.id(),
            header: block.header().clone(),
            transactions: block.transactions().iter().map(count).sum(),
            seals: block.transactions().len(),
            evidence: block.evidence().len(),
            anchors: block.anchors().to_vec(),
            size_bytes: block.encode().len(),
            decided_round: certificate.round,
            signers: certificate.signatures.iter().map(|(signer, _)| *signer).collect(),
        }
    }

    /// The block at a height; none where it is not here.
    pub(super) fn read(height: Height, view: &dyn View) -> Result<Option<BlockInfo>, Problem> {
        let Some(block) = chain::block(height, view).map_err(broken)? else { return Ok(None) };
        let Some(bytes) = chain::certificate(height, view) else { return Ok(None) };
        let certificate = Certificate::decode(&bytes)
            .map_err(|_| Problem::new(Cause::Internal, "a certificate in the store is none; please report this"))?;
        Ok(Some(BlockInfo::of(&block, &certificate)))
    }
}

/// A height, or `latest`.
pub struct At(Option<Height>);

impl std::str::FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<At, String> {
        match text {
            "latest" => Ok(At(None)),
            _ => text
                .parse()
                .map(|height| At(Some(Height(height))))
                .map_err(|_| format!("`{text}` is no height: use a number from 1, or latest")),
        }
    }
}

impl At {
    fn height(&self, head: &Head) -> Height {
        self.0.unwrap_or(head.height)
    }
}

fn absent(height: Height, head: &Head) -> Problem {
    Problem::new(Cause::NotFound, format!("there is no block {height} here; the last one is {}", head.height))
}

/// A decided block without what is in it.
#[utoipa::path(
    get,
    path = "/v1/chain/blocks/{height}",
    tag = "chain",
    params(("height" = String, Path, description = "A height from 1, or latest")),
    responses(
        (status = 200, description = "The block", body = ref("#/components/schemas/BlockInfo"), content_type = "application/json"),
        (status = 404, description = "It is not here", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn show(State(state): State<ApiState>, Part(at): Part<At>) -> Result<Json<BlockInfo>, Problem> {
    let read = move |view: &dyn View, head: &Head| {
        let height = at.height(head);
        BlockInfo::read(height, view)?.ok_or_else(|| absent(height, head))
    };
    state.ledger(read).await.map(Json)
}

/// Which blocks.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RangeParams {
    /// From this height on, ascending; by default the newest `limit` blocks.
    from: Option<u64>,
    /// At most so many, 1 to 50; by default 20.
    limit: Option<usize>,
}

/// Blocks, ascending.
#[derive(Serialize, JsonSchema)]
pub struct Blocks {
    /// Those that are here.
    blocks: Vec<BlockInfo>,
    /// The height of the last block of the chain here.
    height: Height,
    /// Go on from this height.
    next: Height,
}

/// Decided blocks, ascending, without what is in them.
#[utoipa::path(
    get,
    path = "/v1/chain/blocks",
    tag = "chain",
    params(RangeParams),
    responses((status = 200, description = "A page", body = ref("#/components/schemas/Blocks"), content_type = "application/json")),
)]
pub async fn list(State(state): State<ApiState>, Params(params): Params<RangeParams>) -> Result<Written, Problem> {
    let most = params.limit.unwrap_or(20);
    if !(1..=BLOCKS).contains(&most) {
        return Err(Problem::request(format!("limit: use 1 to {BLOCKS}, and go on with from=`next`")));
    }
    // Blocks that are final do not change: no second look is needed.
    let read = move |view: &super::reader::Timed<'_>| {
        let last = head(view)?.height;
        let newest = last.0.saturating_sub(most as u64 - 1);
        let mut next = chain::first_block(Height(params.from.unwrap_or(newest).max(1)), view).unwrap_or(last.next());
        let mut blocks = Vec::new();
        while blocks.len() < most
            && next <= last
            && let Some(block) = BlockInfo::read(next, view)?
        {
            blocks.push(block);
            next = next.next();
        }
        Written::new(&Blocks { blocks, height: last, next })
    };
    state.read(read).await?
}

/// Something a block did.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// A transaction, with its receipt.
    Transaction(Box<TransactionInfo>),
    /// Something that came about without one.
    Event(Event),
}

/// What a block did, in order.
#[derive(Serialize, JsonSchema)]
pub struct BlockRecords {
    /// The block's height.
    height: Height,
    /// Transactions with their receipts, then events.
    records: Vec<Happening>,
    /// Go on from this place; none at the end.
    next: Option<u32>,
}

/// Which records of a block.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RecordParams {
    /// From this place on; by default 0.
    from: Option<u32>,
    /// At most so many, 1 to 1,000; by default 100.
    limit: Option<usize>,
}

/// What a block did: its transactions with their receipts, then events such as rewards and decided votes.
#[utoipa::path(
    get,
    path = "/v1/chain/blocks/{height}/records",
    tag = "chain",
    params(("height" = String, Path, description = "A height from 1, or latest"), RecordParams),
    responses(
        (status = 200, description = "A page", body = ref("#/components/schemas/BlockRecords"), content_type = "application/json"),
        (status = 404, description = "The block is not here", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn records(
    State(state): State<ApiState>,
    Part(at): Part<At>,
    Params(params): Params<RecordParams>,
) -> Result<Written, Problem> {
    let (from, most) = (params.from.unwrap_or(0), params.limit.unwrap_or(100));
    if !(1..=RECORDS).contains(&most) {
        return Err(Problem::request(format!("limit: use 1 to {RECORDS}, and go on with from=`next`")));
    }
    let read = move |view: &super::reader::Timed<'_>| {
        let head = head(view)?;
        let height = at.height(&head);
        let page = page(Found { height, index: from }, most, view)?.ok_or_else(|| absent(height, &head))?;
        Written::new(&page)
    };
    state.read(read).await?
}

/// Records of a block from a place on; none where the block is not here.
pub(super) fn page(from: Found, most: usize, view: &dyn View) -> Result<Option<BlockRecords>, Problem> {
    let Some(block) = chain::block(from.height, view).map_err(broken)? else { return Ok(None) };
    let records = chain::records_from(from, most, view).map_err(broken)?;
    let full = records.len() == most;
    let next = records.last().filter(|_| full).map(|(place, _)| place.index.saturating_add(1));
    let mut bodies = bodies(&block).skip(from.index as usize);
    let mut told = Vec::with_capacity(records.len());
    for (place, record) in records {
        told.extend(happening(place, record, &block, bodies.next()));
    }
    Ok(Some(BlockRecords { height: from.height, records: told, next }))
}

/// What the transactions of a block do, in the order of their records.
fn bodies(block: &Block) -> impl Iterator<Item = Body> {
    let orders = block.transactions().iter().filter_map(|bytes| Sealed::shape(bytes));
    orders.flat_map(|order| order.transactions.into_iter().map(|one| one.body))
}

fn happening(place: Found, record: Record, block: &Block, body: Option<Body>) -> Option<Happening> {
    match (record, body) {
        (Record::Event(event), _) => Some(Happening::Event(event)),
        (record @ Record::Receipt(_), Some(body)) => {
            told(place, block, body, record).map(|told| Happening::Transaction(Box::new(told)))
        }
        (Record::Receipt(_), None) => None,
    }
}
