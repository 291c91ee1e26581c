//! Durable subscriptions: which there are, what they are, how they stand.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::filter::start;
use super::params::{Asked, MaybeAsked, Part};
use super::problem::{Cause, Problem};
use super::state::ApiState;
use crate::deliver::{Name, Spec};
use crate::feed::{Start, start_position};
use crate::node::{Call, SubscriptionInfo};

/// Durable subscriptions.
#[derive(Serialize, JsonSchema)]
pub struct Subscriptions {
    /// By name.
    subscriptions: Vec<SubscriptionInfo>,
}

/// What a durable subscription is to be, and where it begins.
#[derive(JsonSchema)]
#[schemars(rename = "Subscription")]
#[allow(dead_code, reason = "describes what `put` reads")]
pub struct SubscriptionForm {
    #[serde(flatten)]
    spec: Spec,
    /// Where it begins: `start`, `end`, a position, `-N` for the last N, `@MS` for what arrived since then. By default
    /// `end`. Means nothing for a subscription that is there.
    from: Option<String>,
}

/// All durable subscriptions.
#[utoipa::path(
    get,
    path = "/v1/subscriptions",
    tag = "subscriptions",
    responses((status = 200, description = "The subscriptions", body = ref("#/components/schemas/Subscriptions"), content_type = "application/json")),
)]
pub async fn list(State(state): State<ApiState>) -> Result<Json<Subscriptions>, Problem> {
    Ok(Json(Subscriptions { subscriptions: state.subscriptions(None).await? }))
}

/// One durable subscription.
#[utoipa::path(
    get,
    path = "/v1/subscriptions/{name}",
    tag = "subscriptions",
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "The subscription", body = ref("#/components/schemas/SubscriptionInfo"), content_type = "application/json"),
        (status = 404, description = "Not there", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn show(State(state): State<ApiState>, Part(name): Part<Name>) -> Result<Json<SubscriptionInfo>, Problem> {
    state.subscription(&name).await.map(Json)
}

/// Creates a durable subscription, or changes one; its filter cannot change.
///
/// What is not said is as by default, also when it was something else before.
#[utoipa::path(
    put,
    path = "/v1/subscriptions/{name}",
    tag = "subscriptions",
    params(("name" = String, Path, description = "Its name: 1 to 64 of letters, digits, `.`, `_` and `-`")),
    request_body(content = ref("#/components/schemas/Subscription"), content_type = "application/json"),
    responses(
        (status = 200, description = "The subscription as it is now", body = ref("#/components/schemas/SubscriptionInfo"), content_type = "application/json"),
        (status = 422, description = "It cannot be kept", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn put(
    State(state): State<ApiState>,
    Part(name): Part<Name>,
    Asked(form): Asked<Value>,
) -> Result<Json<SubscriptionInfo>, Problem> {
    let (spec, start) = read(form)?;
    let from = state.read(move |view| start_position(start, view)).await?;
    state.order(Call::PutSubscription { name: name.clone(), spec: Box::new(spec), from }).await?;
    state.subscriptions_changed.notify_one();
    state.subscription(&name).await.map(Json)
}

fn read(mut form: Value) -> Result<(Spec, Start), Problem> {
    let from = form.as_object_mut().and_then(|members| members.remove("from"));
    let from = match &from {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.as_str()),
        Some(other) => return Err(Problem::request(format!("from: {other} is no place to begin; write it as a text"))),
    };
    let spec = serde_json::from_value(form).map_err(|e| {
        Problem::new(Cause::Invalid, format!("this is no subscription: {e}; /openapi.json says what is"))
    })?;
    Ok((spec, start(from, Start::End)?))
}

/// Removes a durable subscription and where it stands. One with dead letters stays.
#[utoipa::path(
    delete,
    path = "/v1/subscriptions/{name}",
    tag = "subscriptions",
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "Not there", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    ),
)]
pub async fn remove(State(state): State<ApiState>, Part(name): Part<Name>) -> Result<StatusCode, Problem> {
    state.order(Call::DropSubscription { name }).await?;
    state.subscriptions_changed.notify_one();
    Ok(StatusCode::NO_CONTENT)
}

/// Why a subscription is paused.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pause {
    /// For whoever looks at it later.
    reason: String,
}

/// Pauses a durable subscription: nothing is handed out until it is resumed. What is with a worker can be settled.
#[utoipa::path(
    post,
    path = "/v1/subscriptions/{name}/pause",
    tag = "subscriptions",
    params(("name" = String, Path, description = "Its name")),
    request_body(content = ref("#/components/schemas/Pause"), content_type = "application/json"),
    responses((status = 200, description = "The subscription as it is now", body = ref("#/components/schemas/SubscriptionInfo"), content_type = "application/json")),
)]
pub async fn pause(
    State(state): State<ApiState>,
    Part(name): Part<Name>,
    MaybeAsked(Pause { reason }): MaybeAsked<Pause>,
) -> Result<Json<SubscriptionInfo>, Problem> {
    let reason = if reason.is_empty() { "paused by its operator".into() } else { reason };
    state.order(Call::PauseSubscription { name: name.clone(), reason: Some(reason) }).await?;
    state.subscription(&name).await.map(Json)
}

/// Lets a durable subscription go on, and its breaker begin anew.
#[utoipa::path(
    post,
    path = "/v1/subscriptions/{name}/resume",
    tag = "subscriptions",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "The subscription as it is now", body = ref("#/components/schemas/SubscriptionInfo"), content_type = "application/json")),
)]
pub async fn resume(State(state): State<ApiState>, Part(name): Part<Name>) -> Result<Json<SubscriptionInfo>, Problem> {
    state.order(Call::PauseSubscription { name: name.clone(), reason: None }).await?;
    state.subscription(&name).await.map(Json)
}
