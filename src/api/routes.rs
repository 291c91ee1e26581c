//! Every route. What is not here does not exist; what is here is in the API's description.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::guard::guard;
use super::metrics::measure;
use super::problem::{Cause, Problem};
use super::state::ApiState;
use super::{
    accounts, anchors, block_stream, blocks, bundles, cells, chain, chain_rows, changes, checkpoints, collections,
    consume, consumers, dead_letters, economy, endorsements, floors, flow, governance, graphs, health, keys, kinds,
    messages, metrics, nodes, openapi, packs, peers, pending, perturbation, publish, queues, requests, routing,
    schemas, status, subscribe, tap, transactions,
};
use crate::types::limits;

/// The API's routes.
pub fn router(state: ApiState) -> Router {
    let (router, _) = described().split_for_parts();
    router
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(limits::API_BODY_BYTES))
        .layer(from_fn_with_state(state.clone(), guard))
        .layer(from_fn_with_state(state.clone(), measure))
        .with_state(state)
}

/// The routes with their descriptions.
pub(super) fn described() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(messages::list, publish::publish))
        .routes(routes!(messages::show))
        .routes(routes!(messages::discuss))
        .routes(routes!(requests::request))
        .routes(routes!(subscribe::events))
        .routes(routes!(subscribe::frames))
        .routes(routes!(bundles::bundles))
        .routes(routes!(consumers::list))
        .routes(routes!(consumers::show, consumers::put, consumers::remove))
        .routes(routes!(consumers::pause))
        .routes(routes!(consumers::resume))
        .routes(routes!(consume::fetch))
        .routes(routes!(consume::settled))
        .routes(routes!(consume::frames))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::redrive))
        .routes(routes!(dead_letters::remove))
        .routes(routes!(dead_letters::show))
        .routes(routes!(collections::list))
        .routes(routes!(collections::cells))
        .routes(routes!(cells::show, cells::put, cells::remove))
        .routes(routes!(cells::batch))
        .routes(routes!(cells::restore))
        .routes(routes!(collections::history))
        .routes(routes!(collections::conflicts))
        .routes(routes!(collections::check))
        .routes(routes!(floors::show, floors::put))
        .routes(routes!(checkpoints::chunk))
        .routes(routes!(checkpoints::join))
        .routes(routes!(endorsements::extent))
        .routes(routes!(endorsements::endorse))
        .routes(routes!(pending::show))
        .routes(routes!(changes::list))
        .routes(routes!(changes::events))
        .routes(routes!(graphs::list_nodes))
        .routes(routes!(graphs::show_node, graphs::put_node, graphs::patch_node, graphs::remove_node))
        .routes(routes!(graphs::neighbours))
        .routes(routes!(graphs::list_edges))
        .routes(routes!(graphs::show_edge, graphs::put_edge, graphs::patch_edge, graphs::remove_edge))
        .routes(routes!(graphs::paths))
        .routes(routes!(graphs::path_events))
        .routes(routes!(graphs::at))
        .routes(routes!(graphs::graph_events))
        .routes(routes!(graphs::graph_frames))
        .routes(routes!(graphs::positions))
        .routes(routes!(status::show))
        .routes(routes!(chain::show))
        .routes(routes!(chain::submit))
        .routes(routes!(packs::submit))
        .routes(routes!(accounts::show))
        .routes(routes!(accounts::transactions))
        .routes(routes!(transactions::show))
        .routes(routes!(blocks::list))
        .routes(routes!(blocks::show))
        .routes(routes!(blocks::records))
        .routes(routes!(block_stream::events))
        .routes(routes!(block_stream::frames))
        .routes(routes!(chain_rows::list))
        .routes(routes!(chain_rows::prove))
        .routes(routes!(anchors::prove))
        .routes(routes!(economy::validators))
        .routes(routes!(economy::supply))
        .routes(routes!(governance::list))
        .routes(routes!(governance::show))
        .routes(routes!(governance::votes))
        .routes(routes!(governance::rules))
        .routes(routes!(flow::show))
        .routes(routes!(flow::alerts))
        .routes(routes!(tap::events))
        .routes(routes!(tap::frames))
        .routes(routes!(queues::list))
        .routes(routes!(queues::schedule))
        .routes(routes!(routing::explain))
        .routes(routes!(routing::outbox))
        .routes(routes!(peers::list))
        .routes(routes!(peers::show))
        .routes(routes!(peers::ban))
        .routes(routes!(peers::unban))
        .routes(routes!(peers::dial))
        .routes(routes!(perturbation::show, perturbation::perturb, perturbation::heal))
        .routes(routes!(nodes::list))
        .routes(routes!(nodes::show))
        .routes(routes!(nodes::topology))
        .routes(routes!(kinds::list))
        .routes(routes!(kinds::show))
        .routes(routes!(kinds::show_of_category))
        .routes(routes!(keys::list))
        .routes(routes!(keys::rotate))
        .routes(routes!(schemas::list))
        .routes(routes!(schemas::history))
        .routes(routes!(schemas::add))
        .routes(routes!(schemas::show))
        .routes(routes!(schemas::check))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(metrics::metrics))
        .routes(routes!(openapi::show))
}

async fn no_route(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(Cause::NotFound, format!("there is no `{path}`; /openapi.json describes what there is"))
}

async fn no_method(method: Method, uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(Cause::Method, format!("`{path}` does not take {method}; /openapi.json says what it takes"))
}
