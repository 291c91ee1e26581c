//! Endorsements of replicated state: how much there is of it, and the validators' word on that.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chain_rows::no_proof;
use super::collections::collection;
use super::params::{Asked, Params, Part, parsed};
use super::problem::{Cause, Problem};
use super::state::{ApiState, unexpected};
use crate::ledger::chain::Head;
use crate::ledger::query;
use crate::node::{Answer, Call, Endorse, Gathered, Word};
use crate::types::chain::{BlockId, ChainId, Height};
use crate::types::storage::View;
use crate::types::{Hash, NodeId, Version, WallMs};
use crate::wire::CollectionHead;
use crate::wire::kind::Blob;
use crate::wire::ledger::{Endorsed, Endorsement};

/// Which writes to count.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExtentParams {
    /// Those after this version; by default from the first on.
    after: Option<String>,
    /// Those before this version; by default up to the last.
    before: Option<String>,
}

/// How much is retained.
#[derive(Serialize, JsonSchema)]
pub struct ExtentInfo {
    /// Writes.
    writes: u64,
    /// The sum over them, as a collection's root is.
    root: Hash,
}

/// How many writes of a range of versions are retained, and the sum over them.
///
/// Equal at nodes that retain the same. It reads no write: it is answered as fast for millions as for one.
#[utoipa::path(
    get,
    path = "/v1/state/{collection}/extent",
    tag = "state",
    params(("collection" = String, Path, description = "Its name"), ExtentParams),
    responses((status = 200, description = "Number and sum", body = ref("#/components/schemas/ExtentInfo"), content_type = "application/json")),
)]
pub async fn extent(
    State(state): State<ApiState>,
    Part(name): Part<String>,
    Params(params): Params<ExtentParams>,
) -> Result<Json<ExtentInfo>, Problem> {
    let collection = collection(name)?;
    let after = parsed::<Version>("after", params.after.as_deref())?;
    let before = parsed::<Version>("before", params.before.as_deref())?;
    let (from, to) = (after.map(Version::next).unwrap_or_default(), before.unwrap_or(Version::MAX));
    match state.client.call(Call::Extent { collection, from, to }).await? {
        Answer::Extent(sum) => Ok(Json(ExtentInfo { writes: sum.count, root: sum.root.hash() })),
        other => Err(unexpected(&other)),
    }
}

/// What validators are to endorse.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtentForm {
    /// Writes stamped before this count, milliseconds since 1970.
    until_ms: WallMs,
    /// 1 to 4,096 of them, each once.
    collections: Vec<CollectionForm>,
}

/// How much of a collection.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectionForm {
    /// Its name.
    name: String,
    /// Writes stamped before that time that are retained.
    writes: u64,
    /// The sum over them.
    root: Hash,
}

/// What came of asking the validators.
#[derive(Serialize, JsonSchema)]
pub struct EndorsementInfo {
    /// The chain.
    chain: ChainId,
    /// The decided block whose validators were asked.
    height: Height,
    /// Its id.
    block: BlockId,
    /// The power of those who signed.
    power: u64,
    /// The power of all.
    total: u64,
    /// The file for whoever checks it offline, hexadecimal: if those who signed have more than two thirds.
    endorsement: Option<Blob>,
    /// Each validator, by id.
    validators: Vec<ValidatorWord>,
}

/// What a validator said.
#[derive(Serialize, JsonSchema)]
pub struct ValidatorWord {
    /// Who.
    validator: NodeId,
    /// Its power.
    power: u64,
    /// `signed`; or `differs`, `behind`, `early`, `old`, `not_validator`, `wrong_chain`, `no_state`, `busy`,
    /// `bad_signature`, `not_connected`, `no_answer`.
    said: &'static str,
    /// The first collection of which it has something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    collection: Option<String>,
    /// How many writes it has of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    writes: Option<u64>,
    /// The sum over them.
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<Hash>,
    /// The last block it has, if it is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<Height>,
}

/// Asks the validators to endorse that this much is retained before a time.
///
/// Each that is connected and has the same by its own index signs; nobody signs what this node itself has otherwise
/// (409). Two thirds of the power make an endorsement: what a checkpoint is checked against, docs/checkpoints.md.
#[utoipa::path(
    post,
    path = "/v1/state/endorsement",
    tag = "state",
    request_body(content = ref("#/components/schemas/ExtentForm"), content_type = "application/json"),
    responses(
        (status = 200, description = "What they said", body = ref("#/components/schemas/EndorsementInfo"), content_type = "application/json"),
        (status = 404, description = "This node takes part in no chain, or the chain has no block", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 409, description = "This node retains something else: `collection`, `writes`, `root`", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 422, description = "No extent, and why", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn endorse(
    State(state): State<ApiState>,
    Asked(form): Asked<ExtentForm>,
) -> Result<Json<EndorsementInfo>, Problem> {
    let head = |CollectionForm { name, writes: retained, root }| CollectionHead { name, retained, root };
    let collections = form.collections.into_iter().map(head).collect();
    let wanted = Endorse { until: form.until_ms, collections };
    let gathered = match state.client.call(Call::Endorse(Box::new(wanted))).await? {
        Answer::Endorsed(gathered) => *gathered,
        other => return Err(unexpected(&other)),
    };
    let endorsement = if gathered.is_enough { Some(file(&state, &gathered).await?) } else { None };
    let Gathered { asked, power, total, words, .. } = gathered;
    let validators = words.into_iter().map(|(validator, (power, word))| ValidatorWord::of(validator, power, word));
    Ok(Json(EndorsementInfo {
        chain: asked.extent.chain,
        height: asked.height,
        block: asked.block,
        power,
        total,
        endorsement: endorsement.map(Blob),
        validators: validators.collect(),
    }))
}

/// The signatures with all that is needed to check them.
async fn file(state: &ApiState, gathered: &Gathered) -> Result<Vec<u8>, Problem> {
    let (extent, height) = (gathered.asked.extent.clone(), gathered.asked.height);
    let signed = gathered.words.iter().filter_map(|(validator, (_, word))| match word {
        Word::Signed(signature) => Some((*validator, *signature)),
        Word::Refused(_) | Word::BadSignature | Word::NotConnected | Word::NoAnswer => None,
    });
    let signatures = signed.collect();
    let read = move |view: &dyn View, _: &Head| query::finalities(Height(1), height, view).map_err(no_proof);
    let finalities = state.ledger(read).await?;
    let file = Endorsement { extent, finalities, signatures }.encode();
    let large = "the endorsement has more headers than one file takes: the validators changed too often";
    file.ok_or_else(|| Problem::new(Cause::Invalid, large))
}

impl ValidatorWord {
    fn of(validator: NodeId, power: u64, word: Word) -> ValidatorWord {
        let (mut differs, mut at) = (None, None);
        let said = match word {
            Word::Signed(_) | Word::Refused(Endorsed::Signed(_)) => "signed",
            Word::Refused(Endorsed::Differs(head)) => {
                differs = Some(head);
                "differs"
            }
            Word::Refused(Endorsed::Behind(height)) => {
                at = Some(height);
                "behind"
            }
            Word::Refused(Endorsed::Early) => "early",
            Word::Refused(Endorsed::Old) => "old",
            Word::Refused(Endorsed::NotValidator) => "not_validator",
            Word::Refused(Endorsed::WrongChain) => "wrong_chain",
            Word::Refused(Endorsed::NoState) => "no_state",
            Word::Refused(Endorsed::Busy) => "busy",
            Word::BadSignature => "bad_signature",
            Word::NotConnected => "not_connected",
            Word::NoAnswer => "no_answer",
        };
        let (writes, root) = differs.as_ref().map(|head| (head.retained, head.root)).unzip();
        let collection = differs.map(|head| head.name);
        ValidatorWord { validator, power, said, collection, writes, root, height: at }
    }
}
