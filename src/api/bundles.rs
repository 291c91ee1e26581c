//! Bundles as they are kept, signatures and all, one after the other: for programs that follow everything, and check
//! it themselves.
//!
//! ```text
//!  bytes of the rest 4 │ position 8 │ arrived_ms 8 │ refused count 2, index 4 each │ the bundle (docs/wire.md, section 7)
//! ```
//!
//! Numbers are little-endian. A message's position is its bundle's and its index in it; those that are refused break a
//! rule of their kind and are delivered to nobody.

use std::convert::Infallible;
use std::ops::ControlFlow;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::filter::start;
use super::params::{Params, listed};
use super::problem::Problem;
use super::reader::Timed;
use super::state::ApiState;
use crate::feed::{Start, Stored, bundles_from, start_position};
use crate::types::limits;
use crate::wire::{Bundle, Filter};

/// What the stream is.
const MEDIA: &str = "application/x-metanode-bundles";
/// In front of every bundle but for refused indices, bytes.
const AROUND: usize = 22;

/// Which bundles.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BundleParams {
    /// Where to begin, as in `/v1/subscribe`; the first bundle is the one with that message in it. By default `end`.
    from: Option<String>,
    /// Of these categories, with commas.
    category: Option<String>,
    /// By these nodes, with commas.
    author: Option<String>,
    /// Go on with what comes; by default `true`. Without it the stream ends where the log ended when it was asked for.
    follow: Option<bool>,
}

/// A place in the log.
struct Reading {
    state: ApiState,
    filter: Filter,
    next: u64,
    /// Where to end, if not with the API.
    until: Option<u64>,
    log_end: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
    _seat: OwnedSemaphorePermit,
}

/// Streams bundles as they are kept: signed, checked, unpacked by whoever reads them.
///
/// The body is records one after the other, numbers little-endian: bytes of the rest (4), position of the first message
/// (8), arrival in milliseconds since 1970 (8), number of refused messages (2) and their indices (4 each), the bundle.
#[utoipa::path(
    get,
    path = "/v1/bundles",
    tag = "messages",
    params(BundleParams),
    responses((status = 200, description = "Records", body = String, content_type = "application/x-metanode-bundles")),
)]
pub async fn bundles(State(state): State<ApiState>, Params(params): Params<BundleParams>) -> Result<Response, Problem> {
    let filter = Filter {
        categories: listed("category", params.category.as_deref())?,
        authors: listed("author", params.author.as_deref())?,
        ..Filter::default()
    };
    let begin = start(params.from.as_deref(), Start::End)?;
    let seat = state.seat()?;
    let next = state.read(move |view| start_position(begin, view)).await?;
    let log_end = state.watch.log_end.clone();
    let until = (!params.follow.unwrap_or(true)).then(|| *log_end.borrow());
    let reading = Reading { filter, next, until, log_end, stop: state.stopping(), _seat: seat, state };
    let chunks = stream::unfold(reading, |mut reading| async {
        let chunk = reading.chunk().await?;
        Some((Ok::<Bytes, Infallible>(chunk), reading))
    });
    Ok(([(CONTENT_TYPE, MEDIA)], Body::from_stream(chunks)).into_response())
}

impl Reading {
    /// The next records; none when the stream ends.
    async fn chunk(&mut self) -> Option<Bytes> {
        loop {
            if *self.stop.borrow() {
                return None;
            }
            let grown = *self.log_end.borrow_and_update();
            let end = self.until.unwrap_or(grown);
            if self.next < end {
                let (from, filter) = (self.next, self.filter.clone());
                let read = self.state.read(move |view| records(from, end, &filter, view));
                let (chunk, next) = read.await.ok()?;
                self.next = next;
                if !chunk.is_empty() {
                    return Some(chunk);
                }
                if next > from {
                    continue;
                }
            }
            if self.until.is_some() {
                return None;
            }
            tokio::select! {
                _ = self.stop.changed() => {}
                grown = self.log_end.changed() => grown.ok()?,
            }
        }
    }
}

/// Records of the bundles that are wanted, as many as a subscriber may keep in memory, one at least; and where to read
/// on.
fn records(from: u64, end: u64, filter: &Filter, view: &Timed<'_>) -> (Bytes, u64) {
    let (mut chunk, mut next, mut reached_end) = (BytesMut::new(), from, true);
    bundles_from(from, view, &mut |slot, stored| {
        if stored.position >= end {
            return ControlFlow::Break(());
        }
        let Ok(bundle) = Bundle::decode(stored.wire.clone()) else { return ControlFlow::Continue(()) };
        let wanted = filter.topic_and_author(slot.feed.topic, slot.feed.author);
        if wanted && !chunk.is_empty() && chunk.len() + stored.wire.len() > limits::SUBSCRIBER_BYTES {
            reached_end = false;
            return ControlFlow::Break(());
        }
        if wanted {
            put(&stored, &mut chunk);
        }
        next = next.max(stored.position + u64::from(bundle.header().count));
        ControlFlow::Continue(())
    });
    // What was let go up to the end is passed over, unless time was up before the end.
    if reached_end && !view.cut.get() {
        next = next.max(end);
    }
    (chunk.freeze(), next)
}

fn put(stored: &Stored, chunk: &mut BytesMut) {
    let size = AROUND - 4 + 4 * stored.refused.len() + stored.wire.len();
    chunk.reserve(size + 4);
    chunk.put_u32_le(size as u32);
    chunk.put_u64_le(stored.position);
    chunk.put_u64_le(stored.arrived.0);
    chunk.put_u16_le(stored.refused.len() as u16);
    for index in &stored.refused {
        chunk.put_u32_le(*index);
    }
    chunk.extend_from_slice(&stored.wire);
}
