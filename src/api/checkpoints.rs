//! Copies of replicated state: cut into chunks of writes that prove themselves, and joined again.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::collections::collection;
use super::params::{Params, Part, Whole, parsed};
use super::problem::{Cause, Problem};
use super::state::{ApiState, unexpected};
use crate::node::{Answer, Call, Joined, cut};
use crate::types::Version;
use crate::wire::{Chunk, Proven, Refusal};

/// What a chunk is.
pub(crate) const MEDIA: &str = "application/x-metanode-chunk";
/// The version after which the next chunk begins, and how many writes cannot be proved.
pub(crate) const LAST: HeaderName = HeaderName::from_static("metanode-last");
pub(crate) const UNPROVED: HeaderName = HeaderName::from_static("metanode-unproved");

/// Which chunk.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChunkParams {
    /// After this version: the header `metanode-last` of the chunk before.
    after: Option<String>,
    /// Writes before this version only.
    before: Option<String>,
}

/// Writes that are retained, oldest first, each with its proof: up to a mebibyte of them.
///
/// The body is a chunk of a checkpoint, docs/checkpoints.md; there may be no write in it. The next one is after the
/// version that the header `metanode-last` names. `metanode-unproved` counts writes that cannot be proved and are not
/// in it. `metanode state checkpoint` makes files of them.
#[utoipa::path(
    get,
    path = "/v1/state/{collection}/chunk",
    tag = "state",
    params(("collection" = String, Path, description = "Its name"), ChunkParams),
    responses(
        (status = 200, description = "A chunk", body = String, content_type = "application/x-metanode-chunk"),
        (status = 204, description = "There are no later writes"),
    ),
)]
pub async fn chunk(
    State(state): State<ApiState>,
    Part(name): Part<String>,
    Params(params): Params<ChunkParams>,
) -> Result<Response, Problem> {
    let (name, after) = (collection(name)?, parsed::<Version>("after", params.after.as_deref())?);
    let before = parsed::<Version>("before", params.before.as_deref())?;
    let read =
        state.read(move |view| cut(&name, after, before, view).map(|cut| (cut.chunk.encode(), cut.last, cut.unproved)));
    let Some((body, last, unproved)) = read.await? else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let body = body.ok_or_else(|| Problem::new(Cause::Internal, "a chunk is larger than it may be"))?;
    let last = HeaderValue::from_str(&last.to_string());
    let last = last.map_err(|_| Problem::new(Cause::Internal, "a version that is no header"))?;
    let media = HeaderValue::from_static(MEDIA);
    Ok(([(CONTENT_TYPE, media), (LAST, last), (UNPROVED, HeaderValue::from(unproved))], body).into_response())
}

/// Joins the writes of a chunk into the state of this node.
///
/// Every write is proved by its author's signature and goes the way of all writes; who brings it is not asked. A chunk
/// of which anything is not as it should be is refused whole: `code` is a stable name for why.
#[utoipa::path(
    post,
    path = "/v1/state/join",
    tag = "state",
    request_body(content = Vec<u8>, content_type = "application/x-metanode-chunk"),
    responses(
        (status = 200, description = "They are on the disk", body = ref("#/components/schemas/Joined"), content_type = "application/json"),
        (status = 422, description = "The chunk is not what it should be", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn join(State(state): State<ApiState>, Whole(body): Whole) -> Result<Json<Joined>, Problem> {
    let network = state.network.id();
    let closed = |_| Problem::new(Cause::Unavailable, "the API is closing; try again once the node is back");
    let turn = state.intake.clone().acquire_owned().await.map_err(closed)?;
    // Signatures are checked here, on a thread of the API's, not on the owner's.
    let check = move || {
        let checked = Chunk::decode(&body).and_then(|chunk| chunk.prove(network));
        drop(turn);
        checked
    };
    let checked = tokio::task::spawn_blocking(check).await;
    let checked = checked.map_err(|_| Problem::new(Cause::Internal, "a check ended early"))?;
    let writes: Vec<Proven> = checked.map_err(|why| refused(&why))?.into_iter().map(|(proven, _)| proven).collect();
    match state.client.call(Call::Join(writes)).await? {
        Answer::Joined(joined) => Ok(Json(joined)),
        other => Err(unexpected(&other)),
    }
}

fn refused(why: &Refusal) -> Problem {
    let detail = format!("the chunk is not taken: {why}; verify the checkpoint, or fetch it anew");
    Problem::new(Cause::Invalid, detail).with("code", why.code().into())
}
