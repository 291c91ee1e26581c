//! Reading paths and query strings, with problems that say what was expected.

use std::fmt::Display;
use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::guard::too_large;
use super::problem::Problem;
use crate::types::MessageId;

/// A query string.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Params<T>, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|Query(params)| Params(params))
            .map_err(|e| Problem::request(format!("in the query: {}", e.body_text())))
    }
}

/// A WebSocket client's wish to go on with frames.
pub struct Upgrade(pub WebSocketUpgrade);

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Upgrade, Problem> {
        let upgrade = WebSocketUpgrade::from_request_parts(parts, state).await;
        upgrade.map(Upgrade).map_err(|e| Problem::request(format!("{}; ask with a WebSocket client", e.body_text())))
    }
}

/// The one variable part of a path.
pub struct Part<T>(pub T);

impl<T: FromStr<Err: Display>, S: Send + Sync> FromRequestParts<S> for Part<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Part<T>, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) = path.map_err(|e| Problem::request(e.body_text()))?;
        text.parse().map(Part).map_err(|e: T::Err| Problem::request(e.to_string()))
    }
}

/// The body of a request, as it is.
pub struct Whole(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Whole, Problem> {
        let body = Bytes::from_request(request, state).await;
        body.map(Whole).map_err(|e| if e.status() == 413 { too_large() } else { Problem::request(e.body_text()) })
    }
}

/// The body of a request, as the JSON object it should be.
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Asked<T>, Problem> {
        let Whole(body) = Whole::from_request(request, state).await?;
        object(&body).map(Asked)
    }
}

/// The same, where no body at all means the usual.
pub struct MaybeAsked<T>(pub T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for MaybeAsked<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<MaybeAsked<T>, Problem> {
        let Whole(body) = Whole::from_request(request, state).await?;
        if body.is_empty() { Ok(MaybeAsked(T::default())) } else { object(&body).map(MaybeAsked) }
    }
}

/// The JSON object that some bytes should be.
pub fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes)
        .map_err(|e| Problem::request(format!("this is not the JSON object it should be: {e}")))
}

/// One value of a query string, if it is there.
pub fn parsed<T: FromStr<Err: Display>>(name: &str, text: Option<&str>) -> Result<Option<T>, Problem> {
    text.map(|text| text.parse().map_err(|e| Problem::request(format!("{name}: {e}")))).transpose()
}

/// The values of a list with commas.
pub fn listed<T, C>(name: &str, text: Option<&str>) -> Result<C, Problem>
where
    T: FromStr<Err: Display>,
    C: FromIterator<T>,
{
    let items = text.unwrap_or_default().split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| item.parse().map_err(|e| Problem::request(format!("{name}: {e}")))).collect()
}

/// A message's id in a query string.
pub fn message_id(name: &str, text: Option<&str>) -> Result<Option<MessageId>, Problem> {
    parsed(name, text)
}
