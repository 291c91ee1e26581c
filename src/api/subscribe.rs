//! Following messages: as server-sent events, and over WebSocket. Both tell what one [`Cursor`] tells.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, stream};

use super::cursor::{Cursor, Told};
use super::filter::FollowParams;
use super::params::{Params, Upgrade};
use super::problem::Problem;
use super::state::ApiState;

/// A silent stream shows that it lives this often.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// A frame is taken within this long.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);
/// A client's frame has at most this many bytes; it has nothing to say but control frames.
const FRAME_BYTES: usize = 4 * 1024;

/// Follows messages as server-sent events.
///
/// Events are `message` and `ephemeral`, whose data is an envelope, and `lag`, whose data is `{"missed": n}`. The id of
/// a message is the position after it; a client that comes back with it as `Last-Event-ID` misses nothing.
#[utoipa::path(
    get,
    path = "/v1/subscribe",
    tag = "messages",
    params(FollowParams, ("Last-Event-ID" = Option<String>, Header, description = "Go on after this event")),
    responses((status = 200, description = "Events", body = String, content_type = "text/event-stream")),
)]
pub async fn events(
    State(state): State<ApiState>,
    Params(params): Params<FollowParams>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let cursor = open(state, &params, last_event(&headers)?).await?;
    let events = stream::unfold(cursor, |mut cursor| async {
        let told = cursor.next().await?;
        Some((Ok(event(told)), cursor))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)))
}

/// Follows messages over WebSocket.
///
/// Frames are JSON texts: `{"type": "message", "next": position, "message": envelope}`, `{"type": "ephemeral",
/// "message": envelope}` and `{"type": "lag", "missed": n}`. To go on after a lost connection, come back with
/// `from=next`.
#[utoipa::path(
    get,
    path = "/v1/ws",
    tag = "messages",
    params(FollowParams),
    responses((status = 101, description = "Frames follow")),
)]
pub async fn frames(
    State(state): State<ApiState>,
    Params(params): Params<FollowParams>,
    Upgrade(upgrade): Upgrade,
) -> Result<Response, Problem> {
    upgraded(upgrade, open(state, &params, None)).await
}

/// What tells one frame after the other.
pub(super) trait Frames: Send + 'static {
    /// The next frame; none when the stream ends. Dropping it before it is there loses nothing.
    fn frame(&mut self) -> impl Future<Output = Option<Message>> + Send;
}

impl Frames for Cursor {
    async fn frame(&mut self) -> Option<Message> {
        self.next().await.map(frame)
    }
}

/// Answers a WebSocket client with the frames of what is opened for it.
pub(super) async fn upgraded<F: Frames>(
    upgrade: WebSocketUpgrade,
    opened: impl Future<Output = Result<F, Problem>>,
) -> Result<Response, Problem> {
    let frames = opened.await?;
    let upgrade = upgrade.max_message_size(FRAME_BYTES).max_frame_size(FRAME_BYTES);
    Ok(upgrade.on_upgrade(move |socket| tell(socket, frames)).into_response())
}

async fn open(state: ApiState, params: &FollowParams, resume: Option<u64>) -> Result<Cursor, Problem> {
    Cursor::open(state, params.filter()?, params.start()?, resume, params.ephemeral()).await
}

pub(super) fn last_event(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(id) = headers.get("last-event-id").filter(|id| !id.is_empty()) else { return Ok(None) };
    let position = id.to_str().ok().and_then(|id| id.parse().ok());
    position.map(Some).ok_or_else(|| Problem::request("Last-Event-ID is a position: give the id of an event unchanged"))
}

fn event(told: Told) -> Event {
    match told {
        Told::Message { next, envelope } => Event::default().event("message").id(next.to_string()).data(envelope),
        Told::Ephemeral { envelope } => Event::default().event("ephemeral").data(envelope),
        Told::Lag { missed, next } => {
            let event = Event::default().event("lag").data(format!("{{\"missed\":{missed}}}"));
            match next {
                Some(next) => event.id(next.to_string()),
                None => event,
            }
        }
    }
}

fn frame(told: Told) -> Message {
    let text = match told {
        Told::Message { next, envelope } => format!("{{\"type\":\"message\",\"next\":{next},\"message\":{envelope}}}"),
        Told::Ephemeral { envelope } => format!("{{\"type\":\"ephemeral\",\"message\":{envelope}}}"),
        Told::Lag { missed, .. } => format!("{{\"type\":\"lag\",\"missed\":{missed}}}"),
    };
    Message::Text(text.into())
}

/// Tells a client until it leaves or the stream ends.
async fn tell(mut socket: WebSocket, mut frames: impl Frames) {
    loop {
        tokio::select! {
            frame = frames.frame() => {
                let Some(frame) = frame else {
                    // The client may be gone already; then nobody waits for this frame.
                    let _ = socket.send(Message::Close(None)).await;
                    return;
                };
                // Whoever takes nothing for so long gives its seat to another.
                match tokio::time::timeout(TAKEN_WITHIN, socket.send(frame)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => return,
                }
            }
            // Answers to pings are sent while receiving; everything else a client says is passed over.
            heard = socket.recv() => if !matches!(heard, Some(Ok(_))) {
                return;
            },
            () = tokio::time::sleep(SIGN_OF_LIFE) => if socket.send(Message::Ping(Vec::new().into())).await.is_err() {
                return;
            },
        }
    }
}
