//! What every handler holds.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use super::metrics::Requests;
use super::problem::{Cause, Problem};
use crate::driver::{Client, SystemClock, Watch};
use crate::node::{Answer, Call, PeerInfo, Queues, Status};
use crate::store::Store;
use crate::types::{NetworkName, WallMs, limits};

/// Reads from the store at once; more wait their turn.
const READERS: usize = 16;
/// Large bodies turned into messages at once; more wait their turn.
const INTAKE: usize = 4;

/// What every handler holds; cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    pub(super) client: Client,
    pub(super) watch: Watch,
    pub(super) store: Arc<Store>,
    pub(super) network: NetworkName,
    pub(super) address: Option<SocketAddr>,
    pub(super) requests: Arc<Requests>,
    pub(super) readers: Arc<Semaphore>,
    pub(super) intake: Arc<Semaphore>,
    pub(super) seats: Arc<Semaphore>,
    stop: watch::Sender<bool>,
    clock: SystemClock,
}

impl ApiState {
    /// The API of the node that `client` and `watch` belong to and whose messages are in `store`.
    pub fn new(client: Client, watch: Watch, store: Arc<Store>, network: NetworkName) -> ApiState {
        ApiState {
            client,
            watch,
            store,
            network,
            address: None,
            requests: Arc::new(Requests::default()),
            readers: Arc::new(Semaphore::new(READERS)),
            intake: Arc::new(Semaphore::new(INTAKE)),
            seats: Arc::new(Semaphore::new(limits::SUBSCRIBERS)),
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

    pub(super) fn wall(&self) -> WallMs {
        self.clock.now().wall
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
        Answer::Status(_) => "a status",
        Answer::Queues(_) => "queues",
        Answer::Peers(_) => "peers",
        Answer::Done => "done",
    };
    Problem::new(Cause::Internal, format!("the node answered {what} to another question; please report this"))
}
