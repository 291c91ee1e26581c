//! What the shells hold of the driver, and what the driver holds of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::pipeline::Pipeline;
use crate::deliver::Name;
use crate::feed::Entry;
use crate::meter::{Passage, Station};
use crate::node::{Answer, Call, CallRefusal, Channel, Input, Verdict};
use crate::types::{NodeId, WallMs, limits};
use crate::wire::agreement::Roster;
use crate::wire::{Bundle, Category, Request, Response};

/// What the network is told to do.
#[derive(Debug)]
pub enum NetCommand {
    /// Tell gossip what to do with a bundle.
    Verdict { ticket: u64, verdict: Verdict },
    /// Hand a bundle to gossip.
    Publish { topic: Category, bytes: Bytes },
    /// Gossip a word about the chain.
    Say { channel: Channel, bytes: Bytes },
    /// Ask a peer.
    Request { to: NodeId, id: u64, request: Request },
    /// Answer a peer.
    Respond { id: u64, response: Response },
    /// Connect.
    Dial { address: String, peer: Option<NodeId> },
    /// Refuse a peer until then; the past means no more.
    Ban { peer: NodeId, until: WallMs },
}

impl NetCommand {
    /// Bytes it keeps in memory until it is taken. Answers are bounded by the requests that are let in.
    pub fn size_bytes(&self) -> usize {
        match self {
            NetCommand::Publish { bytes, .. } | NetCommand::Say { bytes, .. } => bytes.len(),
            NetCommand::Respond { .. }
            | NetCommand::Verdict { .. }
            | NetCommand::Request { .. }
            | NetCommand::Dial { .. }
            | NetCommand::Ban { .. } => 0,
        }
    }
}

/// Bytes of commands the network has not taken yet; above this, bundles are let go and peers fetch them by repair.
pub const NET_QUEUE_BYTES: usize = 64 << 20;

/// A call with the place its answer goes to.
pub(super) type Asked = (Call, oneshot::Sender<Result<Answer, CallRefusal>>);

/// Why a call has no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallError {
    #[error(transparent)]
    Refused(#[from] CallRefusal),
    #[error("the node has stopped")]
    Gone,
}

/// How programs on this machine speak to the node.
#[derive(Clone)]
pub struct Client {
    calls: mpsc::Sender<Asked>,
}

impl Client {
    /// Asks, and waits for the answer. Waits as well while [`limits::CALL_QUEUE`] calls are before it.
    pub async fn call(&self, call: Call) -> Result<Answer, CallError> {
        let (reply, answer) = oneshot::channel();
        self.calls.send((call, reply)).await.map_err(|_| CallError::Gone)?;
        Ok(answer.await.map_err(|_| CallError::Gone)??)
    }
}

/// What listeners can watch without asking the node.
#[derive(Clone)]
pub struct Watch {
    /// The log's end.
    pub log_end: watch::Receiver<u64>,
    /// The end of the events of replicated state. Zero until the first in this life.
    pub state_end: watch::Receiver<u64>,
    /// The height of the last block that became final in this life; zero until then.
    pub height: watch::Receiver<u64>,
    /// Messages that are not kept, as they come; a slow listener is told how many it missed.
    pub ephemeral: broadcast::Sender<Arc<Vec<Entry>>>,
    /// Durable subscriptions that may have something now; who misses some looks for itself.
    pub deliverable: broadcast::Sender<Arc<BTreeSet<Name>>>,
    /// What passes the stages.
    pub pipeline: Pipeline,
    /// Bytes on connections since the start, in and out, everything included.
    pub traffic: Arc<Traffic>,
}

/// How the network hands inputs over.
#[derive(Clone)]
pub struct Inlet {
    /// Verified bundles that say they are urgent; taken before the others.
    pub urgent: mpsc::Sender<Input>,
    /// Verified bundles and answers with bundles; bounded, so that verifiers wait for the node.
    pub bundles: mpsc::Sender<Input>,
    /// Everything else; as many as there can be connections and streams.
    pub control: mpsc::UnboundedSender<Input>,
    /// What the node wants of the network.
    pub queued_bytes: Arc<AtomicUsize>,
    /// Who may speak about the chain; none for a node without one.
    pub roster: watch::Receiver<Option<Arc<Roster>>>,
    /// Where the network says what passed its stages, and how many bytes went.
    pub pipeline: Pipeline,
    pub traffic: Arc<Traffic>,
}

/// Bytes on connections, counted.
#[derive(Debug, Default)]
pub struct Traffic {
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
}

impl Traffic {
    /// Bytes that came, and bytes that went.
    pub fn both(&self) -> (u64, u64) {
        (self.bytes_in.load(Ordering::Relaxed), self.bytes_out.load(Ordering::Relaxed))
    }
}

/// The driver's own ends.
pub struct Ports {
    pub(super) calls: mpsc::Receiver<Asked>,
    pub(super) urgent: mpsc::Receiver<Input>,
    pub(super) bundles: mpsc::Receiver<Input>,
    pub(super) control: mpsc::UnboundedReceiver<Input>,
    pub(super) net: mpsc::UnboundedSender<NetCommand>,
    pub(super) queued_bytes: Arc<AtomicUsize>,
    pub(super) log_end: watch::Sender<u64>,
    pub(super) state_end: watch::Sender<u64>,
    pub(super) height: watch::Sender<u64>,
    pub(super) roster: watch::Sender<Option<Arc<Roster>>>,
    pub(super) ephemeral: broadcast::Sender<Arc<Vec<Entry>>>,
    pub(super) deliverable: broadcast::Sender<Arc<BTreeSet<Name>>>,
    pub(super) pipeline: Pipeline,
    /// Keeps the queues open while the driver runs, so that an empty one is waited for.
    _open: (Inlet, Client),
}

/// All ends of a driver: its own, the network's, and what clients hold.
pub fn ports() -> (Ports, Inlet, mpsc::UnboundedReceiver<NetCommand>, Client, Watch) {
    let (calls_in, calls) = mpsc::channel(limits::CALL_QUEUE);
    let (urgent_in, urgent) = mpsc::channel(limits::INPUT_QUEUE);
    let (bundles_in, bundles) = mpsc::channel(limits::INPUT_QUEUE);
    let (control_in, control) = mpsc::unbounded_channel();
    let (net, commands) = mpsc::unbounded_channel();
    let (log_end, log_end_seen) = watch::channel(0);
    let (state_end, state_end_seen) = watch::channel(0);
    let (height, height_seen) = watch::channel(0);
    let (roster, roster_seen) = watch::channel(None);
    let (ephemeral, _) = broadcast::channel(limits::EPHEMERAL_QUEUE);
    let (deliverable, _) = broadcast::channel(limits::EPHEMERAL_QUEUE);
    let queued_bytes = Arc::new(AtomicUsize::new(0));
    let (pipeline, traffic) = (Pipeline::default(), Arc::new(Traffic::default()));
    let inlet = Inlet {
        urgent: urgent_in,
        bundles: bundles_in,
        control: control_in,
        queued_bytes: queued_bytes.clone(),
        roster: roster_seen,
        pipeline: pipeline.clone(),
        traffic: traffic.clone(),
    };
    let watch = Watch {
        log_end: log_end_seen,
        state_end: state_end_seen,
        height: height_seen,
        ephemeral: ephemeral.clone(),
        deliverable: deliverable.clone(),
        pipeline: pipeline.clone(),
        traffic,
    };
    let client = Client { calls: calls_in };
    let open = (inlet.clone(), client.clone());
    let ports = Ports {
        calls,
        urgent,
        bundles,
        control,
        net,
        queued_bytes,
        log_end,
        state_end,
        height,
        roster,
        ephemeral,
        deliverable,
        pipeline,
        _open: open,
    };
    (ports, inlet, commands, client, watch)
}

impl Ports {
    /// Hands a command to the network. A bundle is let go when too much waits there already: its feed brings it to
    /// others by repair.
    pub(super) fn send(&self, command: NetCommand) {
        let size = command.size_bytes();
        let waiting = self.queued_bytes.load(Ordering::Relaxed);
        if let NetCommand::Publish { bytes, .. } = &command
            && waiting + size > NET_QUEUE_BYTES
        {
            tracing::debug!(waiting, "the network is behind; a bundle is left to repair");
            let bundles = Bundle::split(bytes.clone()).unwrap_or_default();
            let messages = bundles.iter().map(|bundle| u64::from(bundle.header().count)).sum();
            self.pipeline.note(vec![Passage::unread(Station::Deliver, true, messages, "network_behind")]);
            return;
        }
        self.queued_bytes.fetch_add(size, Ordering::Relaxed);
        if self.net.send(command).is_err() {
            tracing::debug!("the network has stopped");
        }
    }
}
