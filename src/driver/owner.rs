//! The thread that owns the node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::clock::SystemClock;
use super::flusher::Flusher;
use super::journal::{Journal, JournalError, Scribe};
use super::pipeline::{Unflushed, routed};
use super::ports::{Asked, NetCommand, Ports};
use crate::consensus::journal::note_begun;
use crate::feed::ephemeral_entries;
use crate::meter::{Laps, Passage, Station};
use crate::node::{Answer, Call, CallRefusal, ChainInput, ChainOutput, Event, Gate, Input, Node, Output, Setup, Step};
use crate::store::{Store, StoreError};
use crate::types::chain::Height;
use crate::types::storage::Batch;
use crate::types::{Mono, Now, WallMs, limits};
use crate::wire::{Course, Header, Priority, Verified};

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the store does not make sense: {0}; start with an empty --dir and let the node catch up from its peers")]
    Node(String),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// How a node ended.
pub type Ended = Result<(), String>;

/// The loop's state.
pub struct Driver {
    node: Node,
    store: Arc<Store>,
    clock: SystemClock,
    ports: Ports,
    flusher: Flusher,
    /// Agreement's log, and how far it is written; none without a chain.
    scribe: Option<Scribe>,
    logged: mpsc::UnboundedReceiver<Result<u64, JournalError>>,
    /// The last height of which something is in that log, and the step with which it begins there, until it is noted.
    begun: Option<(u64, Height)>,
    noted: Option<Height>,
    /// What the node tells itself.
    own: Vec<Input>,
    flushed: mpsc::UnboundedReceiver<Result<u64, StoreError>>,
    replies: BTreeMap<u64, oneshot::Sender<Result<Answer, CallRefusal>>>,
    next_call: u64,
    gate: Gate,
    ended: Option<Ended>,
    /// The last step took no bundles but urgent ones.
    hurried: bool,
    /// When something Critical last came from a peer.
    critical_heard: Option<Mono>,
    /// What waits for the disk.
    unflushed: Unflushed,
}

impl Driver {
    /// Opens the node in the store and starts the thread that owns both. The thread's result says how the node ended.
    /// A node with a chain needs the log of agreement that its setup was read from.
    pub fn start(
        setup: Setup,
        journal: Option<Journal>,
        store: Arc<Store>,
        ports: Ports,
    ) -> Result<JoinHandle<Ended>, DriverError> {
        Driver::start_by(SystemClock::start(), setup, journal, store, ports)
    }

    /// The same by a certain clock.
    pub fn start_by(
        clock: SystemClock,
        setup: Setup,
        journal: Option<Journal>,
        store: Arc<Store>,
        ports: Ports,
    ) -> Result<JoinHandle<Ended>, DriverError> {
        let (mut node, first) = Node::open(setup, store.as_ref(), clock.now()).map_err(DriverError::Node)?;
        let laps = clock.clone();
        node.measure(Laps::by(move || laps.mono()));
        store.healthy()?;
        let (done, flushed) = mpsc::unbounded_channel();
        let (written, logged) = mpsc::unbounded_channel();
        let scribe = journal.map(|journal| Scribe::start(journal, written)).transpose()?;
        let driver = Driver {
            node,
            clock,
            ports,
            flusher: Flusher::start(store.clone(), done),
            scribe,
            logged,
            begun: None,
            noted: None,
            own: Vec::new(),
            store,
            flushed,
            replies: BTreeMap::new(),
            next_call: 1,
            gate: Gate::default(),
            ended: None,
            hurried: false,
            critical_heard: None,
            unflushed: Unflushed::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let run = move || runtime.block_on(driver.run(first));
        Ok(std::thread::Builder::new().name("node".into()).spawn(run)?)
    }

    async fn run(mut self, first: Step) -> Ended {
        self.ports.log_end.send_replace(self.node.log_end());
        self.release(first);
        let (mut calls, mut bundles, mut control) = (Vec::new(), Vec::new(), Vec::new());
        while self.ended.is_none() {
            let wake = if self.own.is_empty() { self.node.next_wake() } else { Mono::default() };
            let wake = tokio::time::Instant::from_std(self.clock.instant(wake));
            tokio::select! {
                biased;
                done = self.flushed.recv() => self.on_flushed(done),
                done = self.logged.recv(), if self.scribe.is_some() => self.on_logged(done),
                _ = self.ports.control.recv_many(&mut control, limits::STEP_INPUTS) => {}
                Some(input) = self.ports.urgent.recv() => bundles.push(input),
                Some(asked) = self.ports.calls.recv() => calls.push(asked),
                Some(input) = self.ports.bundles.recv() => bundles.push(input),
                () = tokio::time::sleep_until(wake) => {}
            }
            self.gather(&mut control, &mut calls, &mut bundles);
            self.step(control.drain(..), calls.drain(..), bundles.drain(..));
        }
        self.ended.unwrap_or(Ok(()))
    }

    /// One step takes whatever else has come meanwhile, within bounds. After urgent bundles nothing else is taken, so
    /// that they are through soon; the next step takes the others first.
    fn gather(&mut self, control: &mut Vec<Input>, calls: &mut Vec<Asked>, bundles: &mut Vec<Input>) {
        while control.len() < limits::STEP_INPUTS
            && let Ok(input) = self.ports.control.try_recv()
        {
            control.push(input);
        }
        let mut drafts = calls.iter().map(draft_count).sum::<usize>();
        while drafts < limits::STEP_DRAFTS
            && calls.len() < limits::CALL_QUEUE
            && let Ok(asked) = self.ports.calls.try_recv()
        {
            drafts += draft_count(&asked);
            calls.push(asked);
        }
        let mut bytes = bundles.iter().map(size_bytes).sum::<usize>();
        let most = self.step_bytes();
        if !self.hurried {
            drain(&mut self.ports.urgent, bundles, &mut bytes, most);
        }
        if bundles.iter().any(|input| rank(input) == Some(Priority::Critical)) {
            self.critical_heard = Some(self.clock.mono());
        }
        self.hurried = !self.hurried && bundles.iter().filter_map(rank).any(|rank| rank <= Priority::High);
        if !self.hurried {
            drain(&mut self.ports.bundles, bundles, &mut bytes, most);
        }
    }

    /// What a step takes, bytes: little while something Critical may come at any moment, since that would wait for it.
    fn step_bytes(&self) -> usize {
        let recent = self.critical_heard.is_some_and(|at| self.clock.mono() - at < limits::URGENT_MEMORY);
        if recent { limits::STEP_BUNDLE_BYTES / 8 } else { limits::STEP_BUNDLE_BYTES }
    }

    fn step(
        &mut self,
        control: impl Iterator<Item = Input>,
        calls: impl Iterator<Item = Asked>,
        bundles: impl Iterator<Item = Input>,
    ) {
        let (now, mut step): (Now, Step) = (self.clock.now(), Step::default());
        let calls: Vec<Input> = calls.map(|asked| self.number(asked)).collect();
        let own = std::mem::take(&mut self.own);
        for input in own.into_iter().chain(control).chain(calls).chain(bundles) {
            self.node.handle(input, self.store.as_ref(), now, &mut step);
        }
        self.node.finish(self.store.as_ref(), now, &mut step);
        self.release(step);
    }

    fn number(&mut self, (call, reply): Asked) -> Input {
        let id = self.next_call;
        self.next_call += 1;
        self.replies.insert(id, reply);
        Input::Call { id, call }
    }

    /// Commits a step, then lets its outputs go, each at its stage.
    fn release(&mut self, step: Step) {
        let (flush, began) = (step.needs_flush(), self.clock.mono());
        let Step { batch, outputs, barrier, log, passed } = step;
        // A failed read answers nothing, so what the node concluded from it must not be written either.
        if let Err(e) = self.store.healthy().and_then(|()| self.store.commit(batch)) {
            self.ended = Some(Err(e.to_string()));
            return;
        }
        let freed = self.gate.committed(outputs, flush, barrier, log);
        if let (Some((number, log)), Some(scribe)) = (freed.log, &self.scribe) {
            let height = log.last().map(|(height, _)| *height);
            if height > self.begun.map(|(_, height)| height) {
                self.begun = height.map(|height| (number, height));
            }
            scribe.write(number, log);
        }
        if let Some(epoch) = freed.flush {
            self.flusher.request(epoch);
        }
        freed.outputs.into_iter().for_each(|output| self.emit(output));
        self.note(passed, freed.flush, began);
    }

    /// Notes what passed inside the node, and that what it keeps has been delivered.
    fn note(&mut self, mut passed: Vec<Passage>, flush: Option<u64>, began: Mono) {
        if !self.ports.pipeline.is_tapped() {
            passed.iter_mut().for_each(Passage::strip);
        }
        let now = self.clock.mono();
        let took_us = (now - began).as_micros() as u64;
        let delivered: Vec<Passage> = routed(&passed).map(|passage| passage.at(Station::Deliver, took_us)).collect();
        let through = self.unflushed.committed(delivered.clone(), flush, now.0);
        passed.extend(delivered.into_iter().chain(through));
        self.ports.pipeline.note(passed);
    }

    fn on_flushed(&mut self, done: Option<Result<u64, StoreError>>) {
        match done {
            Some(Ok(epoch)) => {
                self.gate.flushed(epoch).into_iter().for_each(|output| self.emit(output));
                self.ports.pipeline.note(self.unflushed.flushed(epoch, self.clock.mono().0));
            }
            Some(Err(e)) => self.ended = Some(Err(e.to_string())),
            None => self.ended = Some(Err("the thread that flushes the store has died".into())),
        }
    }

    fn on_logged(&mut self, done: Option<Result<u64, JournalError>>) {
        match done {
            Some(Ok(number)) => {
                self.note_begun(number);
                self.gate.logged(number).into_iter().for_each(|output| self.emit(output));
            }
            Some(Err(e)) => self.ended = Some(Err(e.to_string())),
            None => self.ended = Some(Err("the thread that writes agreement's log has died".into())),
        }
    }

    /// The log of a height is on the disk up to this step: from now on it must be there.
    fn note_begun(&mut self, number: u64) {
        let begun = self.begun.filter(|(step, _)| *step <= number).map(|(_, height)| height);
        if begun <= self.noted {
            return;
        }
        let mut batch = Batch::default();
        begun.iter().for_each(|height| note_begun(*height, &mut batch));
        match self.store.commit(batch) {
            Ok(()) => self.noted = begun,
            Err(e) => self.ended = Some(Err(e.to_string())),
        }
    }

    fn emit(&mut self, output: Output) {
        match output {
            Output::Verdict { ticket, verdict } => self.ports.send(NetCommand::Verdict { ticket, verdict }),
            Output::Publish { topic, bytes } => self.ports.send(NetCommand::Publish { topic, bytes }),
            Output::Request { to, id, request } => self.ports.send(NetCommand::Request { to, id, request }),
            Output::Respond { id, response } => self.ports.send(NetCommand::Respond { id, response }),
            Output::Dial { address, peer } => self.ports.send(NetCommand::Dial { address, peer }),
            Output::Ban { peer, until, reason } => {
                if until == WallMs(0) {
                    tracing::info!(%peer, "ban lifted");
                } else {
                    tracing::info!(%peer, until_ms = until.0, reason, "peer banned");
                }
                self.ports.send(NetCommand::Ban { peer, until });
            }
            Output::Reply { id, answer } => {
                // A client that went away does not want its answer.
                let _ = self.replies.remove(&id).map(|reply| reply.send(answer));
            }
            Output::Chain(output) => self.emit_chain(output),
            Output::Event(event) => self.announce(event),
            Output::Halt { fault } => self.ended = Some(fault.map_or(Ok(()), Err)),
        }
    }

    fn emit_chain(&mut self, output: ChainOutput) {
        match output {
            ChainOutput::Say { channel, bytes } => self.ports.send(NetCommand::Say { channel, bytes }),
            ChainOutput::Roster(roster) => {
                self.ports.roster.send_replace(Some(roster));
            }
            ChainOutput::Applied { height } => self.own.push(Input::Chain(ChainInput::Applied { height })),
        }
    }

    fn announce(&mut self, event: Event) {
        match event {
            Event::Log { end } => {
                self.ports.log_end.send_replace(end);
            }
            Event::Ephemeral(bundle) => {
                if self.ports.ephemeral.receiver_count() > 0 {
                    let entries = ephemeral_entries(&bundle, self.clock.now().wall);
                    let _ = self.ports.ephemeral.send(Arc::new(entries));
                }
            }
            Event::State { end } => {
                self.ports.state_end.send_replace(end);
            }
            Event::Block { height } => {
                self.ports.height.send_replace(height.0);
            }
            Event::Deliverable(names) => {
                // Nobody may be waiting.
                let _ = self.ports.deliverable.send(Arc::new(names));
            }
            Event::Fork(fork) => {
                tracing::warn!(feed = %fork.feed(), sequence = fork.sequence(), "an author said two things in one place");
            }
        }
    }
}

/// Takes frames off a queue, up to a step's share.
fn drain(port: &mut mpsc::Receiver<Input>, bundles: &mut Vec<Input>, bytes: &mut usize, most: usize) {
    while bundles.len() < limits::STEP_INPUTS
        && *bytes < most
        && let Ok(input) = port.try_recv()
    {
        *bytes += size_bytes(&input);
        bundles.push(input);
    }
}

/// The most urgent rank of what a frame brings and is kept. What is not kept, heartbeats above all, can wait its turn.
fn rank(input: &Input) -> Option<Priority> {
    let rank = |header: &Header| (header.course != Course::Ephemeral).then(|| header.priority.rank(header.feed.topic));
    match input {
        Input::Bundle { bundles, .. } => bundles.iter().filter_map(|bundle| rank(bundle.header())).min(),
        Input::Deliver { bundle, .. } => rank(bundle.header()),
        _ => None,
    }
}

fn draft_count((call, _): &Asked) -> usize {
    if let Call::Publish { drafts, .. } = call { drafts.len() } else { 1 }
}

/// The bundles an input brings, bytes: a step is kept short, so that what is urgent need not wait for a long one.
fn size_bytes(input: &Input) -> usize {
    match input {
        Input::Bundle { bundles, .. } | Input::Range { bundles, .. } => {
            bundles.iter().map(Verified::memory_bytes).sum()
        }
        Input::Deliver { bundle, .. } => bundle.memory_bytes(),
        Input::State(input) => input.memory_bytes(),
        _ => 0,
    }
}
