//! Webhooks: the node posts the messages of a durable subscription to an address, and takes the status for an answer.
//!
//! One task for each subscription, so that a sink that is slow or hangs slows nobody else. Redirects are not followed;
//! an answer's body is read only so far that its connection can be used again.

use std::collections::BTreeMap;
use std::error::Error;
use std::pin::Pin;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::problem::Problem;
use super::state::ApiState;
use super::worker::{Delivery, Taken, Worker, settle};
use crate::deliver::{Name, Outcome, Sink, Spec};
use crate::node::Ack;

/// A connection stands within this long.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// An answer comes within this long, if the lease lasts as long.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of an answer's body that are read.
const BODY_BYTES: usize = 4 * 1024;
/// Characters of it that are kept as a reason.
const BODY_CHARS: usize = 200;
/// Requests under way for one subscription.
const AT_ONCE: usize = 32;
/// The node is asked again after this long when it could not answer.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// The subscriptions are looked at this often even if nobody says that they changed.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A worker is asked for messages for this long at a time.
const TAKING: Duration = Duration::from_secs(600);

/// Serves the webhooks of all subscriptions that have one, until the API closes.
pub async fn run(state: ApiState) {
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_WITHIN)
        .user_agent(concat!("metanode/", env!("CARGO_PKG_VERSION")))
        .build();
    let client = match client {
        Ok(client) => client,
        Err(e) => return tracing::error!(cause = %e, "webhooks are not served"),
    };
    let mut stop = state.stopping();
    let mut tasks = JoinSet::new();
    let mut running: BTreeMap<Name, (Spec, AbortHandle)> = BTreeMap::new();
    while !*stop.borrow() {
        let mut wait = LOOK_EVERY;
        match state.subscriptions(None).await {
            Ok(subscriptions) => {
                let wanted = subscriptions.into_iter().map(|one| (one.name, one.spec));
                let wanted = wanted.filter(|(_, spec)| matches!(spec.sink, Sink::Webhook { .. })).collect();
                keep(&state, &client, wanted, &mut running, &mut tasks);
            }
            Err(problem) => {
                tracing::debug!(%problem, "the subscriptions cannot be had");
                wait = ASK_AGAIN;
            }
        }
        tokio::select! {
            () = state.subscriptions_changed.notified() => {}
            _ = stop.changed() => {}
            Some(_) = tasks.join_next() => running.retain(|_, (_, task)| !task.is_finished()),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Ends what is not wanted any more, or as it is; starts what is.
fn keep(
    state: &ApiState,
    client: &reqwest::Client,
    wanted: BTreeMap<Name, Spec>,
    running: &mut BTreeMap<Name, (Spec, AbortHandle)>,
    tasks: &mut JoinSet<()>,
) {
    running.retain(|name, (spec, task)| {
        let stays = wanted.get(name) == Some(spec);
        if !stays {
            task.abort();
        }
        stays
    });
    for (name, spec) in wanted {
        if let Sink::Webhook { url } = &spec.sink
            && !running.contains_key(&name)
        {
            let hook = Hook { state: state.clone(), client: client.clone(), name: name.clone(), url: url.clone() };
            let task = tasks.spawn(hook.serve(spec.clone()));
            running.insert(name, (spec, task));
        }
    }
}

/// A subscription's webhook.
#[derive(Clone)]
struct Hook {
    state: ApiState,
    client: reqwest::Client,
    name: Name,
    url: String,
}

type Taking = Pin<Box<dyn Future<Output = (Worker, Result<Taken, Problem>)> + Send>>;

impl Hook {
    async fn serve(self, spec: Spec) {
        let most = AT_ONCE.min(spec.max_open as usize);
        // The lease must not be over before the answer is noted.
        let within = ANSWER_WITHIN.min(spec.ack_wait() * 9 / 10);
        let stop = self.state.stopping();
        let mut idle = Some(Worker::new(self.state.clone(), self.name.clone()));
        let (mut taking, mut posts): (Option<Taking>, JoinSet<()>) = (None, JoinSet::new());
        while !*stop.borrow() {
            let room = most.saturating_sub(posts.len());
            if room > 0
                && let Some(mut worker) = idle.take()
            {
                taking = Some(Box::pin(async move {
                    let taken = worker.take(room, Instant::now() + TAKING).await;
                    (worker, taken)
                }));
            }
            tokio::select! {
                (worker, taken) = taken(&mut taking) => {
                    (idle, taking) = (Some(worker), None);
                    match taken {
                        Ok(taken) => for delivery in taken.deliveries {
                            posts.spawn(self.clone().deliver(delivery, within));
                        },
                        Err(problem) => {
                            tracing::debug!(name = %self.name, %problem, "a webhook gets nothing");
                            tokio::time::sleep(ASK_AGAIN).await;
                        }
                    }
                }
                Some(_) = posts.join_next() => {}
            }
        }
    }

    /// Posts a message and notes the answer.
    async fn deliver(self, delivery: Delivery, within: Duration) {
        let position = delivery.position;
        let outcome = self.post(delivery, within).await;
        if let Outcome::Nack { reason, .. } = &outcome {
            tracing::debug!(name = %self.name, position, reason, "a webhook did not take a message");
        }
        // If the node has gone, the lease ends with it.
        let _ = settle(&self.state, &self.name, vec![(position, outcome)], Ack::Durable).await;
    }

    async fn post(&self, delivery: Delivery, within: Duration) -> Outcome {
        let until = Instant::now() + within;
        let request = self
            .client
            .post(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .header("metanode-subscription", self.name.as_str())
            .header("metanode-position", delivery.position)
            .header("metanode-attempt", delivery.attempt)
            .header("idempotency-key", delivery.id.to_string())
            .body(delivery.envelope);
        match tokio::time::timeout_at(until, request.send()).await {
            Err(_) => down(format!("no answer within {} ms", within.as_millis()), None),
            Ok(Err(error)) => down(cause(&error), None),
            Ok(Ok(response)) => judged(response, until).await,
        }
    }
}

async fn taken(taking: &mut Option<Taking>) -> (Worker, Result<Taken, Problem>) {
    match taking {
        Some(taking) => taking.await,
        None => std::future::pending().await,
    }
}

/// The sink is not there, or says that it cannot.
fn down(reason: String, after: Option<Duration>) -> Outcome {
    Outcome::Nack { reason, after, sink_down: true }
}

async fn judged(response: Response, until: Instant) -> Outcome {
    let status = response.status();
    let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let after = after.map(Duration::from_secs);
    let body = tokio::time::timeout_at(until, beginning(response)).await.unwrap_or_default();
    if status.is_success() {
        return Outcome::Ack;
    }
    let reason = format!("answered {} {}", status.as_u16(), body).trim_end().to_string();
    let busy = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    if busy || status.is_server_error() || status.is_redirection() {
        return down(reason, after);
    }
    Outcome::Nack { reason, after, sink_down: false }
}

/// The first of an answer's body, as text on one line.
async fn beginning(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < BODY_BYTES
        && let Ok(Some(chunk)) = response.chunk().await
    {
        bytes.extend_from_slice(&chunk);
    }
    let text = String::from_utf8_lossy(&bytes);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(BODY_CHARS).collect()
}

/// The deepest cause of an error.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    format!("cannot be reached: {cause}")
}
