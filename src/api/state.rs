//! What every handler holds.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::flow::Pulses;
use super::graphs::Graphs;
use super::judge::Judge;
use super::metrics::Requests;
use super::problem::{Cause, Problem};
use super::vault::Vault;
use crate::deliver::Name;
use crate::driver::{Client, Perturber, SystemClock, Watch};
use crate::meter::AlertRule;
use crate::node::{Answer, Call, Outbox, PeerInfo, Queues, Status, SubscriptionInfo};
use crate::store::Store;
use crate::types::{NetworkName, Now, WallMs, limits};

/// Reads from the store at once; more wait their turn.
const READERS: usize = 16;
/// Large bodies turned into messages at once; more wait their turn.
const INTAKE: usize = 4;

/// Durable subscriptions that look at what has just come, at once: a thousand of them must not take the processors from
/// the node.
const SEARCHERS: usize = 2;

/// What every handler holds; cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    pub(super) client: Client,
    pub(super) watch: Watch,
    pub(super) store: Arc<Store>,
    pub(super) network: NetworkName,
    pub(super) address: Option<SocketAddr>,
    pub(super) requests: Arc<Requests>,
    /// Rates and alerts.
    pub(super) pulses: Pulses,
    /// Schemas of Custom messages.
    pub(super) judge: Arc<Judge>,
    pub(super) readers: Arc<Semaphore>,
    pub(super) intake: Arc<Semaphore>,
    pub(super) seats: Arc<Semaphore>,
    /// Turns of those who look at what has just come for durable subscriptions.
    pub(super) searchers: Arc<Semaphore>,
    /// Told when durable subscriptions come, change or go.
    pub(super) subscriptions_changed: Arc<Notify>,
    /// Graphs in memory.
    pub(super) graphs: Arc<Graphs>,
    /// Puts the node wrong on purpose; none at a node that was not started for that.
    pub(super) perturber: Option<Perturber>,
    stop: watch::Sender<bool>,
    clock: SystemClock,
}

impl ApiState {
    /// The API of the node that `client` and `watch` belong to and whose messages are in `store`.
    pub fn new(client: Client, watch: Watch, store: Arc<Store>, network: NetworkName) -> ApiState {
        ApiState {
            client,
            watch,
            judge: Arc::new(Judge::new(store.clone())),
            store,
            network,
            address: None,
            requests: Arc::new(Requests::default()),
            pulses: Pulses::new(&[]),
            readers: Arc::new(Semaphore::new(READERS)),
            intake: Arc::new(Semaphore::new(INTAKE)),
            seats: Arc::new(Semaphore::new(limits::SUBSCRIBERS)),
            searchers: Arc::new(Semaphore::new(SEARCHERS)),
            subscriptions_changed: Arc::new(Notify::new()),
            graphs: Arc::default(),
            perturber: None,
            stop: watch::Sender::new(false),
            clock: SystemClock::start(),
        }
    }

    /// The same, listening at `address`: requests that name another host are refused when it is a loopback address,
    /// and without an address.
    pub fn listening_at(mut self, address: SocketAddr) -> ApiState {
        self.address = Some(address);
        self
    }

    /// The same, with this node's sealing keys.
    pub fn holding(mut self, vault: Vault) -> ApiState {
        self.judge = Arc::new(Judge::new(self.store.clone()).holding(vault));
        self
    }

    /// The same, with an operator's alert rules over the built-in ones.
    pub fn alerting(mut self, rules: &[AlertRule]) -> ApiState {
        self.pulses = Pulses::new(rules);
        self
    }

    /// The same, of a node whose clock this is and that can be put wrong on purpose, if it was started for that.
    pub fn perturbed_by(mut self, clock: SystemClock, perturber: Option<Perturber>) -> ApiState {
        (self.clock, self.perturber) = (clock, perturber);
        self
    }

    /// Ends every open stream, now and from now on.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Turns true when streams are to end.
    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Streams open now.
    pub(super) fn subscribers(&self) -> usize {
        limits::SUBSCRIBERS.saturating_sub(self.seats.available_permits())
    }

    /// A place among those who wait for messages.
    pub(super) fn seat(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.seats.clone().try_acquire_owned().map_err(|_| {
            let most = limits::SUBSCRIBERS;
            Problem::new(
                Cause::Unavailable,
                format!("there are {most} subscribers already; try again when one has left"),
            )
        })
    }

    pub(super) fn wall(&self) -> WallMs {
        self.now().wall
    }

    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }

    pub(super) async fn status(&self) -> Result<Status, Problem> {
        match self.client.call(Call::Status).await? {
            Answer::Status(status) => Ok(*status),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn peers(&self) -> Result<Vec<PeerInfo>, Problem> {
        match self.client.call(Call::Peers).await? {
            Answer::Peers(peers) => Ok(peers),
            other => Err(unexpected(&other)),
        }
    }

    /// What waits to be said.
    pub(super) async fn queues(&self) -> Result<Queues, Problem> {
        match self.client.call(Call::Queues).await? {
            Answer::Queues(queues) => Ok(queues),
            other => Err(unexpected(&other)),
        }
    }

    /// Direct messages that are not with their readers.
    pub(super) async fn outbox(&self) -> Result<Outbox, Problem> {
        match self.client.call(Call::Outbox).await? {
            Answer::Outbox(outbox) => Ok(outbox),
            other => Err(unexpected(&other)),
        }
    }

    /// Durable subscriptions: one, or all.
    pub(super) async fn subscriptions(&self, name: Option<Name>) -> Result<Vec<SubscriptionInfo>, Problem> {
        match self.client.call(Call::Subscriptions { name }).await? {
            Answer::Subscriptions(subscriptions) => Ok(subscriptions),
            other => Err(unexpected(&other)),
        }
    }

    /// One durable subscription.
    pub(super) async fn subscription(&self, name: &Name) -> Result<SubscriptionInfo, Problem> {
        let found = self.subscriptions(Some(name.clone())).await?.pop();
        found.ok_or_else(|| Problem::new(Cause::NotFound, format!("there is no subscription `{name}`")))
    }

    /// A call that is answered with nothing but that it is done.
    pub(super) async fn order(&self, call: Call) -> Result<(), Problem> {
        match self.client.call(call).await? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}

/// An answer to another question than the one that was asked.
pub(super) fn unexpected(answer: &Answer) -> Problem {
    let what = match answer {
        Answer::Published { .. } => "ids",
        Answer::Dropped { .. } => "that they were dropped",
        Answer::Status(_) => "a status",
        Answer::Queues(_) => "queues",
        Answer::Peers(_) => "peers",
        Answer::Subscriptions(_) => "subscriptions",
        Answer::Leased(_) => "leases",
        Answer::Settled(_) => "a settlement",
        Answer::Swept(_) => "dead letters",
        Answer::Explained(_) => "ways",
        Answer::Links(_) => "links",
        Answer::Outbox(_) => "an outbox",
        Answer::Holders(_) => "who holds it",
        Answer::Wrote(_) => "versions",
        Answer::Floor(_) => "a floor",
        Answer::Joined(_) => "what was joined",
        Answer::Extent(_) => "a sum",
        Answer::Endorsed(_) => "what validators said",
        Answer::Submitted { .. } => "transactions",
        Answer::Agreement(_) => "agreement",
        Answer::Done => "done",
    };
    Problem::new(Cause::Internal, format!("the node answered {what} to another question; please report this"))
}
