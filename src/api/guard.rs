//! Who may ask, how much, how long.
//!
//! The API has no tokens: it is for programs on this machine. A browser runs programs of strangers on this machine, so
//! a request that a page of another site can cause is refused: one that names a host which is not this machine (a
//! name that was rebound to 127.0.0.1), and one with an `Origin` that is not the host it is sent to.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::{Cause, Problem};
use super::state::ApiState;
use crate::types::limits;

/// An answer begins within this long. A stream may go on after it.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Lets a request through that may pass.
pub async fn guard(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    if let Err(problem) = check(request.uri(), request.headers(), state.address) {
        return problem.into_response();
    }
    match tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            Cause::TimedOut,
            "no answer within 30 seconds; what was asked may still happen. Give messages idempotency keys and publish \
             them again; see `metanode status` for how busy the node is",
        )
        .into_response(),
    }
}

fn check(uri: &Uri, headers: &HeaderMap, address: Option<SocketAddr>) -> Result<(), Problem> {
    let host = host(uri, headers)?;
    let local = address.is_none_or(|a| a.ip().is_loopback());
    if local && !is_local(host.host(), address) {
        return Err(Problem::new(
            Cause::Forbidden,
            format!("`{}` is not this machine; ask for localhost or the address the node listens at", host.host()),
        ));
    }
    if let Some(origin) = text(headers, &ORIGIN)?
        && !same_host(origin, &host)
    {
        let detail = format!("pages of {origin} may not use this API; open one that the node itself serves");
        return Err(Problem::new(Cause::Forbidden, detail));
    }
    let size = text(headers, &CONTENT_LENGTH)?.and_then(|size| size.parse::<u64>().ok()).unwrap_or(0);
    if size > limits::API_BODY_BYTES as u64 { Err(too_large()) } else { Ok(()) }
}

/// A body over the limit.
pub fn too_large() -> Problem {
    let most = limits::API_BODY_BYTES;
    Problem::new(Cause::TooLarge, format!("a body has at most {most} bytes; send the messages in several requests"))
}

/// The host that is asked for.
fn host(uri: &Uri, headers: &HeaderMap) -> Result<Authority, Problem> {
    if let Some(authority) = uri.authority() {
        return Ok(authority.clone());
    }
    let named = text(headers, &HOST)?.and_then(|host| host.parse().ok());
    named.ok_or_else(|| Problem::request("a request needs a Host header that names this machine"))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let value = headers.get(name).map(|value| value.to_str()).transpose();
    value.map_err(|_| Problem::request(format!("the header {name} is not text")))
}

fn is_local(host: &str, address: Option<SocketAddr>) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let ip = bare.parse::<IpAddr>().ok();
    bare.eq_ignore_ascii_case("localhost")
        || ip.is_some_and(|ip| ip.is_loopback() || address.is_some_and(|a| a.ip() == ip))
}

fn same_host(origin: &str, host: &Authority) -> bool {
    let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    rest.is_some_and(|rest| rest.eq_ignore_ascii_case(host.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(host: &str, origin: Option<&str>, address: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        check(&Uri::from_static("/v1/status"), &headers, Some(address.parse().unwrap())).is_ok()
    }

    #[test]
    fn names_of_this_machine_pass_and_others_do_not() {
        for host in ["localhost:7780", "LOCALHOST", "127.0.0.1:7780", "127.9.9.9", "[::1]:7780"] {
            assert!(passes(host, None, "127.0.0.1:7780"), "{host}");
        }
        for host in ["example.com", "localhost.example.com", "127.0.0.1.example.com:7780", "10.0.0.1"] {
            assert!(!passes(host, None, "127.0.0.1:7780"), "{host}");
        }
        assert!(passes("node.example.com", None, "0.0.0.0:7780"), "beyond loopback a node may have any name");
    }

    #[test]
    fn only_pages_of_the_same_host_pass() {
        assert!(passes("localhost:7780", Some("http://localhost:7780"), "127.0.0.1:7780"));
        for origin in ["http://localhost:3000", "http://localhost", "https://example.com", "null", "file://"] {
            assert!(!passes("localhost:7780", Some(origin), "127.0.0.1:7780"), "{origin}");
        }
        assert!(!passes("node.example.com", Some("https://example.com"), "0.0.0.0:7780"));
    }
}
