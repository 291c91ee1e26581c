//! From a listener to the last answer.

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::routes::router;
use super::state::ApiState;
use super::webhook;
use crate::types::limits;

/// Requests under way have this long to end once the node stops.
const GRACE: Duration = Duration::from_secs(5);
/// The head of a request comes within this long, and the next on the same connection begins within it.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// What is sent is taken by the client within this long, milliseconds.
const TAKEN_WITHIN_MS: u32 = 60_000;
/// After a failed accept (no descriptors left), the next is tried so much later.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// Serves the API until `shutdown` is ready: then nothing new is taken, open streams end, requests under way are
/// answered, and after five seconds what is left is cut off.
pub async fn serve(
    listener: TcpListener,
    state: ApiState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let state = state.listening_at(listener.local_addr()?);
    let router = router(state.clone());
    let mut open = JoinSet::new();
    let webhooks = tokio::spawn(webhook::run(state.clone()));
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = open.join_next() => {}
            // Whoever finds no room waits in the listener's own queue.
            accepted = listener.accept(), if open.len() < limits::API_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    open.spawn(answer(stream, router.clone(), state.stopping()));
                }
                Err(cause) => {
                    tracing::warn!(%cause, "the API cannot take a connection");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            },
        }
    }
    drop(listener);
    state.stop();
    let rest = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, rest).await.is_err() {
        tracing::warn!("API requests were still under way and were cut off");
    }
    webhooks.abort();
    Ok(())
}

/// One connection, HTTP/1.1 and what it is upgraded to, until it ends or the API does.
async fn answer(stream: TcpStream, router: Router, mut stop: watch::Receiver<bool>) {
    // Small answers leave at once, and whoever takes nothing for a minute is cut off: its seat is for another. A socket
    // that does not take the options only does without them.
    let _ = stream.set_nodelay(true);
    let _ = set_tcp_user_timeout(&stream, TAKEN_WITHIN_MS);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    tokio::pin!(connection);
    // A client that breaks off, or never finishes its request, is no news.
    let stopped = async { stop.wait_for(|stop| *stop).await.map(drop) };
    let ended = tokio::select! {
        _ = &mut connection => true,
        _ = stopped => false,
    };
    if !ended {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}
