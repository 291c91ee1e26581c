//! Problem details (RFC 9457): what is wrong, for programs and for people.

use std::fmt;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::crdt;
use crate::deliver::Refused;
use crate::driver::CallError;
use crate::ledger::{NotPooled, NotTaken};
use crate::node::{CallRefusal, NotAsked};
use crate::wire::Fault;

/// What sort of problem it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The request cannot be understood.
    Request,
    /// A browser or a name that has no business here.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// There is, but it does not take this method.
    Method,
    /// What is there is not what was expected.
    Conflict,
    /// It is not this node's to do.
    Denied,
    /// The body is larger than one request may be.
    TooLarge,
    /// The body is of a type that is not taken.
    MediaType,
    /// Messages or values that break rules.
    Invalid,
    /// There is nobody to go to, or no way there.
    NoRoute,
    /// The node cannot do it now.
    Unavailable,
    /// More is said than can leave; later it can.
    Busy,
    /// The answer did not come in time.
    TimedOut,
    /// The program is wrong.
    Internal,
}

impl Cause {
    const fn status(self) -> StatusCode {
        match self {
            Cause::Request => StatusCode::BAD_REQUEST,
            Cause::Forbidden => StatusCode::FORBIDDEN,
            Cause::NotFound => StatusCode::NOT_FOUND,
            Cause::Method => StatusCode::METHOD_NOT_ALLOWED,
            Cause::Conflict => StatusCode::CONFLICT,
            Cause::Denied => StatusCode::FORBIDDEN,
            Cause::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Cause::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Cause::Invalid | Cause::NoRoute => StatusCode::UNPROCESSABLE_ENTITY,
            Cause::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Cause::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Cause::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Cause::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Cause::Request => "The request cannot be understood",
            Cause::Forbidden => "This request may not come from there",
            Cause::NotFound => "Not found",
            Cause::Method => "Method not allowed",
            Cause::Conflict => "Not as expected",
            Cause::Denied => "Not allowed",
            Cause::TooLarge => "The body is too large",
            Cause::MediaType => "The body is of a type that is not taken",
            Cause::Invalid => "Not valid",
            Cause::NoRoute => "No route",
            Cause::Unavailable => "Not available now",
            Cause::Busy => "Busy",
            Cause::TimedOut => "No answer in time",
            Cause::Internal => "An error in the node",
        }
    }

    /// Stable; programs match on it.
    const fn urn(self) -> &'static str {
        match self {
            Cause::Request => "urn:metanode:problem:request",
            Cause::Forbidden => "urn:metanode:problem:forbidden",
            Cause::NotFound => "urn:metanode:problem:not-found",
            Cause::Method => "urn:metanode:problem:method",
            Cause::Conflict => "urn:metanode:problem:conflict",
            Cause::Denied => "urn:metanode:problem:denied",
            Cause::TooLarge => "urn:metanode:problem:too-large",
            Cause::MediaType => "urn:metanode:problem:media-type",
            Cause::Invalid => "urn:metanode:problem:invalid",
            Cause::NoRoute => "urn:metanode:problem:no-route",
            Cause::Unavailable => "urn:metanode:problem:unavailable",
            Cause::Busy => "urn:metanode:problem:busy",
            Cause::TimedOut => "urn:metanode:problem:timed-out",
            Cause::Internal => "urn:metanode:problem:internal",
        }
    }
}

/// A problem as it is answered.
#[derive(Clone, PartialEq, Debug)]
pub struct Problem {
    cause: Cause,
    detail: String,
    more: Map<String, Value>,
}

impl Problem {
    /// `detail` says what is wrong here and what to do.
    pub fn new(cause: Cause, detail: impl Into<String>) -> Problem {
        Problem { cause, detail: detail.into(), more: Map::new() }
    }

    /// A request that cannot be understood.
    pub fn request(detail: impl Into<String>) -> Problem {
        Problem::new(Cause::Request, detail)
    }

    /// With a member of its own.
    pub fn with(mut self, name: &str, value: Value) -> Problem {
        self.more.insert(name.into(), value);
        self
    }

    fn body(&self) -> Value {
        let mut body = json!({
            "type": self.cause.urn(),
            "title": self.cause.title(),
            "status": self.cause.status().as_u16(),
            "detail": self.detail,
        });
        if let Some(members) = body.as_object_mut() {
            members.extend(self.more.clone());
        }
        body
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause.title(), self.detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.cause.status(), Json(self.body())).into_response();
        let media = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, media);
        if self.cause == Cause::Busy {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Problem {
        match &error {
            CallError::Gone | CallError::Refused(CallRefusal::Stopping) => {
                Problem::new(Cause::Unavailable, format!("{error}; start it again with `metanode start`"))
            }
            CallError::Refused(CallRefusal::Deliver(refused)) => {
                let cause = match refused {
                    Refused::Unknown(_) | Refused::NotDead { .. } => Cause::NotFound,
                    Refused::TooMany => Cause::Unavailable,
                    Refused::Spec(_)
                    | Refused::Filter(_)
                    | Refused::HasDead { .. }
                    | Refused::TooManyOutcomes
                    | Refused::Reserved(_) => Cause::Invalid,
                };
                Problem::new(cause, refused.to_string())
            }
            CallError::Refused(CallRefusal::State(refused)) => state(refused),
            CallError::Refused(CallRefusal::Floor(refused)) => super::floors::refused(refused),
            CallError::Refused(CallRefusal::NoReader { .. }) => Problem::new(Cause::NoRoute, error.to_string()),
            CallError::Refused(CallRefusal::Full { .. } | CallRefusal::NoRoom { .. }) => {
                Problem::new(Cause::Busy, error.to_string())
            }
            CallError::Refused(CallRefusal::UnknownPeer(_)) => {
                Problem::new(Cause::NotFound, format!("{error}; `metanode peer ls` lists the peers that are"))
            }
            CallError::Refused(CallRefusal::NoChain) => Problem::new(Cause::NotFound, error.to_string()),
            CallError::Refused(CallRefusal::NotTaken(why)) => not_taken(why),
            CallError::Refused(CallRefusal::NotAsked(why)) => not_asked(why),
            CallError::Refused(CallRefusal::Invalid { .. } | CallRefusal::TooMany) => {
                Problem::new(Cause::Invalid, error.to_string())
            }
        }
    }
}

/// Why transactions are not taken: `code` is a stable name.
pub(super) fn not_taken(why: &NotTaken) -> Problem {
    let cause = match why {
        NotTaken::Joining | NotTaken::Pool(NotPooled::AccountFull | NotPooled::Full { .. }) => Cause::Busy,
        NotTaken::Pool(NotPooled::Known) => Cause::Conflict,
        NotTaken::Fault(_) => Cause::Internal,
        NotTaken::Seal(_)
        | NotTaken::Pool(NotPooled::Unfit(_) | NotPooled::TooFarAhead { .. } | NotPooled::Underpriced { .. }) => {
            Cause::Invalid
        }
    };
    Problem::new(cause, why.to_string()).with("code", json!(why.code()))
}

/// Why validators are not asked: `code` is a stable name.
fn not_asked(why: &NotAsked) -> Problem {
    let cause = match why {
        NotAsked::Malformed(_) => Cause::Invalid,
        NotAsked::NoBlock | NotAsked::NoState => Cause::NotFound,
        NotAsked::Unsettled | NotAsked::Busy => Cause::Busy,
        NotAsked::Differs(_) => Cause::Conflict,
        NotAsked::Fault(_) => Cause::Internal,
    };
    let problem = Problem::new(cause, why.to_string()).with("code", json!(why.code()));
    let NotAsked::Differs(own) = why else { return problem };
    problem.with("collection", json!(own.name)).with("writes", json!(own.retained)).with("root", json!(own.root))
}

/// Why a write to replicated state is refused.
fn state(refused: &crdt::Refused) -> Problem {
    let cause = match refused {
        crdt::Refused::Changed { .. } => Cause::Conflict,
        crdt::Refused::Denied { .. } => Cause::Denied,
        crdt::Refused::NoConflict { .. } => Cause::NotFound,
        crdt::Refused::TooMany { .. } | crdt::Refused::Overflow { .. } => Cause::Invalid,
        crdt::Refused::Clock { .. } | crdt::Refused::Ahead { .. } | crdt::Refused::TooManyCollections => {
            Cause::Unavailable
        }
    };
    let problem = Problem::new(cause, refused.to_string());
    match refused {
        crdt::Refused::Changed { current, .. } => problem.with("current", json!(current)),
        _ => problem,
    }
}

/// A fault, and which of many messages has it.
#[derive(Clone, Debug, Serialize)]
pub struct LineFault {
    /// The line of the body, or the place in the array, from 1. Not there for a single message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    #[serde(flatten)]
    pub fault: Fault,
}

/// A problem document, for the API's own description.
#[derive(schemars::JsonSchema)]
#[schemars(rename = "Problem")]
#[allow(dead_code, reason = "describes what Problem::body writes")]
pub struct ProblemForm {
    /// Names the sort of problem: `urn:metanode:problem:…`.
    #[schemars(rename = "type")]
    kind: String,
    /// The sort of problem, for people.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong and what to do.
    detail: String,
    /// Everything that is wrong with the messages of the request.
    faults: Option<Vec<FaultForm>>,
}

/// One thing that is wrong with a message.
#[derive(schemars::JsonSchema)]
#[schemars(rename = "Fault")]
#[allow(dead_code, reason = "describes what LineFault writes")]
pub struct FaultForm {
    /// The line of the body, or the place in the array, from 1. Not there for a single message.
    line: Option<usize>,
    /// `schema`, `security` or `business`.
    class: String,
    /// Which check.
    code: String,
    /// Where, as a JSON pointer into the message.
    path: String,
    /// What is wrong and what would be right.
    detail: String,
}
