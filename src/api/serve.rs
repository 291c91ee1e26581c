//! From a listener to the last answer.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::routes::router;
use super::state::ApiState;

/// Requests under way have this long to end once the node stops.
const GRACE: Duration = Duration::from_secs(5);

/// Serves the API until `shutdown` is ready: then nothing new is taken, open streams end, requests under way are
/// answered, and after five seconds what is left is cut off.
pub async fn serve(
    listener: TcpListener,
    state: ApiState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let state = state.listening_at(listener.local_addr()?);
    let (closing, mut closed) = watch::channel(false);
    let streams = state.clone();
    let signal = async move {
        shutdown.await;
        streams.stop();
        closing.send_replace(true);
    };
    let server = axum::serve(listener, router(state)).with_graceful_shutdown(signal);
    let grace = async move {
        // An error means that the server is gone, and its end with it.
        let _ = closed.wait_for(|closed| *closed).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        done = std::future::IntoFuture::into_future(server) => done,
        () = grace => {
            tracing::warn!("API requests were still under way and were cut off");
            Ok(())
        }
    }
}
