//! Reading the store without the node: on threads that may block, a bounded number at once, for a bounded time.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::{Cause, Problem};
use super::state::ApiState;
use crate::types::storage::{Key, View, Visit};

/// One reading looks through the store for at most this long; the answer says where to go on.
const READING: Duration = Duration::from_secs(1);

/// The store, until time is up: scans then end with the pair they are at. Each scan sees at least one pair, so a
/// reader that goes on where it was always gets further.
pub struct Timed<'a> {
    view: &'a dyn View,
    until: Instant,
    /// Whether a scan was ended early.
    pub cut: Cell<bool>,
}

impl<'a> Timed<'a> {
    fn new(view: &'a dyn View) -> Timed<'a> {
        Timed { view, until: Instant::now() + READING, cut: Cell::new(false) }
    }

    fn watch(&self, flow: ControlFlow<()>) -> ControlFlow<()> {
        if flow.is_continue() && Instant::now() >= self.until {
            self.cut.set(true);
            return ControlFlow::Break(());
        }
        flow
    }
}

impl View for Timed<'_> {
    fn get(&self, key: &Key) -> Option<Bytes> {
        self.view.get(key)
    }

    fn scan(&self, from: &Key, to: &Key, visit: &mut Visit<'_>) {
        self.view.scan(from, to, &mut |key, value| self.watch(visit(key, value)));
    }

    fn scan_back(&self, from: &Key, to: &Key, visit: &mut Visit<'_>) {
        self.view.scan_back(from, to, &mut |key, value| self.watch(visit(key, value)));
    }
}

impl ApiState {
    /// What `read` finds in the store.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Timed<'_>) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let closed = |_| Problem::new(Cause::Unavailable, "the API is closing; try again once the node is back");
        let turn = self.readers.clone().acquire_owned().await.map_err(closed)?;
        let store = self.store.clone();
        let work = move || {
            let found = read(&Timed::new(store.as_ref()));
            drop(turn);
            store.healthy().map(|()| found)
        };
        let found = tokio::task::spawn_blocking(work).await;
        let found = found.map_err(|e| Problem::new(Cause::Internal, format!("a reading failed: {e}")))?;
        found.map_err(|e| Problem::new(Cause::Unavailable, e.to_string()))
    }
}

/// A JSON answer, written where it is called.
pub struct Written(Vec<u8>);

impl Written {
    /// Writes `value`.
    pub fn new(value: &impl Serialize) -> Result<Written, Problem> {
        let written = serde_json::to_vec(value).map(Written);
        written.map_err(|e| Problem::new(Cause::Internal, format!("cannot be written as JSON: {e}")))
    }

    /// What is JSON already.
    pub fn text(json: String) -> Written {
        Written(json.into_bytes())
    }
}

impl IntoResponse for Written {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], self.0).into_response()
    }
}
