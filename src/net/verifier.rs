//! The thread that decides what to believe, so that neither the swarm nor the node's owner spends time on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use bytes::Bytes;
use tokio::sync::mpsc as tokio_mpsc;

use crate::driver::Inlet;
use crate::feed::Fork;
use crate::node::Input;
use crate::types::{NetworkId, NodeId, limits};
use crate::wire::{Bundle, Refusal, Response, Verified};

/// Bytes to look at.
pub enum Job {
    /// A frame that came by gossip.
    Gossip { from: NodeId, ticket: u64, bytes: Bytes },
    /// The answer to a request.
    Response { from: NodeId, id: u64, bytes: Bytes },
}

/// Hands jobs to the verifiers.
pub struct Verifiers {
    jobs: mpsc::Sender<Job>,
    gossip_waiting: Arc<AtomicUsize>,
}

impl Verifiers {
    /// Starts as many threads as there are processors besides the one the node's owner uses. Tickets of refused
    /// bundles go to `refused`.
    pub fn start(
        network: NetworkId,
        inlet: &Inlet,
        refused: tokio_mpsc::UnboundedSender<u64>,
    ) -> std::io::Result<Verifiers> {
        let (jobs, queue) = mpsc::channel();
        let queue = Arc::new(std::sync::Mutex::new(queue));
        let gossip_waiting = Arc::new(AtomicUsize::new(0));
        let threads = thread::available_parallelism().map_or(1, |n| n.get().saturating_sub(1)).clamp(1, 8);
        for n in 0..threads {
            let (queue, waiting) = (queue.clone(), gossip_waiting.clone());
            let worker = Worker { network, inlet: inlet.clone(), refused: refused.clone() };
            thread::Builder::new().name(format!("verifier-{n}")).spawn(move || {
                loop {
                    // Held only while taking a job. A poisoned lock means a verifier panicked: the others go on.
                    let job = queue.lock().unwrap_or_else(|e| e.into_inner()).recv();
                    let Ok(job) = job else { return };
                    if matches!(job, Job::Gossip { .. }) {
                        waiting.fetch_sub(1, Ordering::Relaxed);
                    }
                    if !worker.run(job) {
                        return;
                    }
                }
            })?;
        }
        Ok(Verifiers { jobs, gossip_waiting })
    }

    /// Hands over a job. False when too much gossip waits: it is let go, and its feed brings it back by repair.
    pub fn take(&self, job: Job) -> bool {
        if matches!(job, Job::Gossip { .. }) {
            if self.gossip_waiting.load(Ordering::Relaxed) >= limits::VERIFY_QUEUE {
                return false;
            }
            self.gossip_waiting.fetch_add(1, Ordering::Relaxed);
        }
        self.jobs.send(job).is_ok()
    }
}

struct Worker {
    network: NetworkId,
    inlet: Inlet,
    refused: tokio_mpsc::UnboundedSender<u64>,
}

impl Worker {
    /// False when the node is gone.
    fn run(&self, job: Job) -> bool {
        match job {
            Job::Gossip { from, ticket, bytes } => self.gossip(from, ticket, bytes),
            Job::Response { from, id, bytes } => self.response(from, id, &bytes),
        }
    }

    /// One bad bundle spoils a frame: nobody honest forwards it.
    fn gossip(&self, from: NodeId, ticket: u64, bytes: Bytes) -> bool {
        let bundles = Bundle::split(bytes)
            .and_then(|bundles| bundles.into_iter().map(|bundle| Verified::check(bundle, self.network)).collect());
        match bundles {
            Ok(bundles) => self.inlet.bundles.blocking_send(Input::Bundle { from, ticket, bundles }).is_ok(),
            Err(refusal) => {
                let _ = self.refused.send(ticket);
                self.refuse(from, refusal)
            }
        }
    }

    fn verify(&self, bytes: Bytes) -> Result<Verified, Refusal> {
        Verified::check(Bundle::decode(bytes)?, self.network)
    }

    fn refuse(&self, from: NodeId, refusal: Refusal) -> bool {
        tracing::debug!(peer = %from, code = refusal.code(), %refusal, "refused");
        self.inlet.control.send(Input::Refused { from, refusal }).is_ok()
    }

    fn response(&self, from: NodeId, id: u64, bytes: &[u8]) -> bool {
        match Response::decode(bytes) {
            Ok(Response::Heads { heads, more }) => {
                self.inlet.control.send(Input::Heads { from, id, heads, more }).is_ok()
            }
            Ok(Response::Range { floor, bundles }) => {
                // What is good is used up to the first that is not.
                let mut good = Vec::with_capacity(bundles.len());
                let mut bad = None;
                for bundle in bundles {
                    match self.verify(bundle) {
                        Ok(bundle) => good.push(bundle),
                        Err(refusal) => {
                            bad = Some(refusal);
                            break;
                        }
                    }
                }
                let sent = self.inlet.bundles.blocking_send(Input::Range { from, id, floor, bundles: good }).is_ok();
                sent && bad.is_none_or(|refusal| self.refuse(from, refusal))
            }
            Ok(Response::Fork { first, second }) => match Fork::check(&first, &second, self.network) {
                Ok(fork) => self.inlet.control.send(Input::Fork { from, id, fork: Box::new(fork) }).is_ok(),
                Err(refusal) => {
                    self.refuse(from, refusal) && self.inlet.control.send(Input::Failed { from, id }).is_ok()
                }
            },
            Ok(Response::Unserved(reason)) => {
                tracing::debug!(peer = %from, ?reason, "a request was not served");
                self.inlet.control.send(Input::Failed { from, id }).is_ok()
            }
            Err(refusal) => self.refuse(from, refusal) && self.inlet.control.send(Input::Failed { from, id }).is_ok(),
        }
    }
}
