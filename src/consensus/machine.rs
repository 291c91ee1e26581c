//! Agreement itself: which height, how far, and what follows from what.

use arc_malachitebft_core_consensus::{
    Error, Input as CoreInput, LocallyProposedValue, Params, PeerId, ProposedValue, State, ThresholdParams,
    ValuePayload, process,
};
use arc_malachitebft_core_types::{
    CommitCertificate, CommitSignature, ExtendedCommitCertificate, Round, Threshold, TimeoutKind, Validity,
    ValueOrigin, ValueResponse, VoteExtensionPolicy, VoteExtensions,
};
use bytes::Bytes;
use ed25519_dalek::SigningKey;

use super::blocks::{Blocks, Progress};
use super::context::{CoreSet, Malachite, core_proposal, core_step, core_vote, our_vote, proposer};
use super::early::Early;
use super::host::Host;
use super::input::{Fault, Input, Output, Start};
use super::record::{Record, core_polka, core_round};
use super::timers::Timeouts;
use super::wants::Wants;
use crate::types::chain::{BlockId, ChainId, Height};
use crate::types::{Mono, NodeId};
use crate::wire::agreement::{Certificate, Genuine, Message, Proposal, Signed, Step, Vote};

/// What does not change from height to height.
#[derive(Clone)]
pub struct Setup {
    /// The chain.
    pub chain: ChainId,
    /// This node.
    pub me: NodeId,
    /// The key it votes with; none for a node that only follows.
    pub key: Option<SigningKey>,
    /// How long the steps of a round may take.
    pub timeouts: Timeouts,
}

/// How far a height is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It has not begun: for its time, and for something to agree on if it is idle.
    Waiting { not_before: Mono, idle: bool },
    /// Rounds are under way.
    Running,
    /// A block is final; the next height has not been given.
    Decided,
    /// Nothing more is said or done.
    Halted,
}

/// Agreement of one node. See the module's page.
pub struct Consensus {
    core: State<Malachite>,
    host: Host,
    phase: Phase,
    /// When the height began, or the one before if it has not.
    began: Mono,
    early: Early,
    blocks: Blocks,
    /// Heights whose decision others have.
    behind: Wants<Height>,
    /// A certificate of this height that is good, while its block is not.
    certified: Option<Certificate>,
    /// What this node was about to propose before a crash, by round.
    made: Option<(u32, BlockId)>,
    /// The last decision, when it was made or last said.
    last: Option<(Certificate, Mono)>,
}

impl Consensus {
    /// Agreement as it was when its log was last written: at the height after the last that was applied, with what the
    /// log of that height holds, and the last decision. An empty log is a height that has not begun.
    pub fn open(
        setup: Setup,
        start: Start,
        log: &[Record],
        last: Option<Certificate>,
        now: Mono,
    ) -> (Consensus, Vec<Output>) {
        let params = Params {
            address: setup.me,
            threshold_params: ThresholdParams::default(),
            value_payload: ValuePayload::ProposalAndParts,
            enabled: setup.key.is_some(),
        };
        let validators = CoreSet(start.validators.clone());
        let mut machine = Consensus {
            // Nothing waits in Malachite's own queue: see `early`.
            core: State::new(Malachite, start.height, validators, params, 1, 1),
            host: Host::new(setup, &start),
            phase: Phase::Waiting { not_before: start.not_before, idle: start.idle },
            began: Mono::default(),
            early: Early::default(),
            blocks: Blocks::default(),
            behind: Wants::default(),
            certified: None,
            made: None,
            last: last.map(|certificate| (certificate, now)),
        };
        if !log.is_empty() {
            machine.replay(log, now);
        }
        machine.settle(now);
        let out = machine.host.take_out();
        (machine, out)
    }

    /// Takes what happened; gives what follows.
    pub fn handle(&mut self, input: Input, now: Mono) -> Vec<Output> {
        if self.phase == Phase::Halted {
            return Vec::new();
        }
        match input {
            Input::Start(start) => self.on_start(start),
            Input::Heard { from, message } => self.on_heard(from, message, now),
            Input::Body { block } => self.on_body(block),
            Input::Lost { block } => self.blocks.lost(block),
            Input::Built { height, round, block } => self.on_built(height, round, block, now),
            Input::Checked { block, valid } => self.on_checked(block, valid, now),
            Input::Work => self.on_work(),
            Input::Tick => {}
        }
        self.tick(now);
        self.settle(now);
        self.host.take_out()
    }

    /// When it wants to be called even if nothing happens.
    pub fn next_wake(&self) -> Option<Mono> {
        let begins = match self.phase {
            Phase::Waiting { not_before, idle: false } => Some(not_before),
            Phase::Waiting { idle: true, .. } | Phase::Running | Phase::Decided | Phase::Halted => None,
        };
        [begins, self.host.timers.next(), self.blocks.next_wake(), self.behind.next()].into_iter().flatten().min()
    }

    /// The height that is agreed on.
    pub fn height(&self) -> Height {
        self.host.height
    }

    /// The attempt at it, from 0.
    pub fn round(&self) -> u32 {
        self.host.round
    }

    /// When rounds of the height began, or of the one before if they have not; 0 when none has.
    pub fn began(&self) -> Mono {
        self.began
    }

    /// How far it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The newest proposal of a block at this height: who asks for a body may lack it too.
    pub fn proposal_of(&self, block: BlockId) -> Option<&Signed<Proposal>> {
        self.host.proposal_of(block)
    }

    fn on_start(&mut self, start: Start) {
        let follows = self.phase == Phase::Decided && start.height == self.host.height.next();
        if !follows {
            return self.host.fail(format!("told to begin height {} while {:?}", start.height, self.phase));
        }
        self.phase = Phase::Waiting { not_before: start.not_before, idle: start.idle && !self.early.has(start.height) };
        self.host.begin(&start);
        self.blocks.clear();
        self.behind.clear();
        (self.certified, self.made) = (None, None);
    }

    fn on_work(&mut self) {
        if let Phase::Waiting { idle, .. } = &mut self.phase {
            *idle = false;
        }
    }

    fn on_heard(&mut self, from: NodeId, message: Genuine<Message>, now: Mono) {
        let height = message.get().height();
        if height > self.host.height {
            return self.on_later(from, message, now);
        }
        if height < self.host.height {
            return self.remind(message.get(), now);
        }
        match (self.phase, message.get()) {
            (Phase::Running, _) => self.on_message(from, message, now),
            (Phase::Waiting { .. }, Message::Certificate(certificate)) => {
                // Anyone can make a certificate of their own keys, and none of those begins anything.
                if let Err(why) = certificate.decides(&self.host.validators) {
                    return self.host.out.push(Output::Refused { from, why });
                }
                self.begin(now);
                self.on_message(from, message, now);
            }
            (Phase::Waiting { .. }, _) => {
                self.early.keep(from, message);
                self.on_work();
            }
            (Phase::Decided, said) => self.remind(said, now),
            (Phase::Halted, _) => {}
        }
    }

    /// Others are at a later height, so this one is decided: its decision is asked for at once. To wait and see would
    /// be to stop for ever when messages are lost.
    fn on_later(&mut self, from: NodeId, message: Genuine<Message>, now: Mono) {
        let height = self.host.height;
        let patience = self.host.timeouts.fetch;
        if self.phase != Phase::Decided {
            let speaker = message.get().speakers().first().copied().unwrap_or(from);
            if self.behind.add(height, speaker, now, patience) {
                self.host.out.push(Output::WantDecision { height, from: speaker });
            }
            self.behind.add(height, from, now, patience);
        }
        if message.get().height() == height.next() {
            self.early.keep(from, message);
        }
    }

    /// Someone still votes on what was decided a while ago: it missed the decision, and where nothing goes on it would
    /// never learn of it.
    fn remind(&mut self, said: &Message, now: Mono) {
        let patience = self.host.timeouts.rebroadcast / 2;
        let Message::Vote(vote) = said else { return };
        if let Some((last, when)) = &mut self.last
            && last.height == vote.said.height
            && now >= *when + patience
        {
            *when = now;
            let message = Message::Certificate(last.clone());
            self.host.out.push(Output::Say { message });
        }
    }

    fn on_message(&mut self, from: NodeId, message: Genuine<Message>, now: Mono) {
        match message.take() {
            Message::Vote(vote) => {
                if let Some(block) = vote.said.value.filter(|_| self.host.is_near(vote.said.round)) {
                    self.hear_of(block, vote.said.round, [vote.said.voter, from], now);
                }
                self.feed(CoreInput::Vote(core_vote(vote)), now);
                if let Some(block) =
                    vote.said.value.filter(|block| self.have_agreed(vote.said.step, *block, vote.said.round))
                {
                    self.on_quorum(block);
                }
            }
            Message::Proposal(proposal) => {
                let Proposal { round, value, .. } = proposal.said;
                let is_proposer = proposer(&self.host.validators, self.host.height, round).id == proposal.said.proposer;
                if is_proposer && self.host.is_near(round) {
                    self.host.note(proposal);
                    self.hear_of(value, round, [proposal.said.proposer, from], now);
                    self.feed(CoreInput::Proposal(core_proposal(proposal)), now);
                }
            }
            Message::Polka(polka) => match polka.suffices(&self.host.validators) {
                Ok(()) => {
                    let voter = polka.signatures.first().map_or(from, |(voter, _)| *voter);
                    self.hear_of(polka.value, polka.round, [voter, from], now);
                    self.on_quorum(polka.value);
                    self.feed(CoreInput::PolkaCertificate(core_polka(&polka)), now);
                }
                Err(why) => self.host.out.push(Output::Refused { from, why }),
            },
            Message::Round(certificate) => match certificate.suffices(&self.host.validators) {
                Ok(()) => self.feed(CoreInput::RoundCertificate(core_round(&certificate)), now),
                Err(why) => self.host.out.push(Output::Refused { from, why }),
            },
            Message::Certificate(certificate) => self.on_certificate(from, certificate, now),
        }
    }

    fn on_certificate(&mut self, from: NodeId, certificate: Certificate, now: Mono) {
        if let Err(why) = certificate.decides(&self.host.validators) {
            return self.host.out.push(Output::Refused { from, why });
        }
        let (block, round) = (certificate.value, certificate.round);
        if self.certified.is_none() {
            self.certified = Some(certificate.clone());
            match value_response(&certificate, from) {
                Some(response) => self.feed(CoreInput::SyncValueResponse(response), now),
                None => self.host.fail("a peer's id cannot be written".into()),
            }
        }
        if self.host.decided.is_some() {
            return;
        }
        let voter = certificate.signatures.first().map_or(from, |(voter, _)| *voter);
        match self.blocks.progress(block) {
            Some(Progress::Checked(valid)) => self.on_verdict(block, round, valid, now),
            // Who brings a certificate has the block, so it is asked first.
            Some(Progress::Wanted | Progress::Checking) | None => self.hear_of(block, round, [from, voter], now),
        }
        self.on_quorum(block);
    }

    /// Whether two thirds have said this vote.
    fn have_agreed(&self, step: Step, block: BlockId, round: u32) -> bool {
        self.core.driver.votes().is_threshold_met(&Round::new(round), core_step(step), Threshold::Value(block))
    }

    /// Two thirds have voted for a block, so more than a third are honest and found that it is of now.
    fn on_quorum(&mut self, block: BlockId) {
        if self.blocks.on_quorum(block) {
            self.host.out.push(Output::Check { height: self.host.height, block, quorum: true });
        }
    }

    fn hear_of(&mut self, block: BlockId, round: u32, who: [NodeId; 2], now: Mono) {
        let patience = self.host.timeouts.fetch;
        if let Some(from) = self.blocks.heard_of(block, round, who, now, patience) {
            self.host.out.push(Output::WantBody { block, from });
        }
    }

    fn on_body(&mut self, block: BlockId) {
        if self.phase == Phase::Running && self.blocks.arrived(block) {
            let quorum = self.blocks.has_quorum(block);
            self.host.out.push(Output::Check { height: self.host.height, block, quorum });
        }
    }

    fn on_built(&mut self, height: Height, round: u32, block: BlockId, now: Mono) {
        if self.phase == Phase::Running && height == self.host.height {
            self.blocks.learn(block, round, true);
            let value = LocallyProposedValue::new(height, Round::new(round), block);
            self.feed(CoreInput::Propose(value), now);
        }
    }

    fn on_checked(&mut self, block: BlockId, valid: bool, now: Mono) {
        if let Some(round) = self.blocks.checked(block, valid).filter(|_| self.phase == Phase::Running) {
            self.on_verdict(block, round, valid, now);
        }
    }

    /// A block is known and checked: Malachite learns of it, in the round its certificate is of if there is one.
    fn on_verdict(&mut self, block: BlockId, round: u32, valid: bool, now: Mono) {
        let certified = self.certified.as_ref().filter(|certificate| certificate.value == block);
        let (round, origin) = match certified {
            Some(_) if !valid => {
                self.host.fault = Some(Fault::Rejected { height: self.host.height, block });
                return;
            }
            Some(certificate) => (certificate.round, ValueOrigin::Sync),
            None => (round, ValueOrigin::Consensus),
        };
        let value = ProposedValue {
            height: self.host.height,
            round: Round::new(round),
            valid_round: Round::Nil,
            proposer: proposer(&self.host.validators, self.host.height, round).id,
            value: block,
            validity: Validity::from_bool(valid),
        };
        self.feed(CoreInput::ProposedValue(value, origin), now);
    }

    /// Runs what is due.
    fn tick(&mut self, now: Mono) {
        while self.phase == Phase::Running
            && let Some(timeout) = self.host.timers.take_due(now)
        {
            if timeout.kind == TimeoutKind::Rebroadcast
                && let Some(proposal) = self.host.own_proposal()
            {
                // Malachite says votes again, and proposals only once.
                let message = Message::Proposal(*proposal);
                self.host.out.push(Output::Say { message });
            }
            self.feed(CoreInput::TimeoutElapsed(timeout), now);
        }
        let patience = self.host.timeouts.fetch;
        let bodies = self.blocks.ask_again(now, patience).into_iter();
        self.host.out.extend(bodies.map(|(block, from)| Output::WantBody { block, from }));
        let decisions = self.behind.due(now, patience).into_iter();
        self.host.out.extend(decisions.map(|(height, from)| Output::WantDecision { height, from }));
    }

    /// Brings the phase up to what has happened.
    fn settle(&mut self, now: Mono) {
        if let Phase::Waiting { not_before, idle: false } = self.phase
            && not_before <= now
        {
            self.begin(now);
        }
        let is_proposed = self.host.own_proposal().is_some();
        if let Some(round) = self.host.wanted.take().filter(|_| !is_proposed && self.host.decided.is_none()) {
            let made = self.made.filter(|(of, _)| *of == round).map(|(_, block)| block);
            self.host.out.push(Output::WantBlock { height: self.host.height, round, made });
        }
        if self.phase == Phase::Running
            && let Some(certificate) = self.host.decided.clone()
        {
            self.finish(certificate, now);
        }
        if let Some(fault) = self.host.fault.take() {
            self.phase = Phase::Halted;
            self.host.out.push(Output::Halt { fault });
        }
    }

    fn begin(&mut self, now: Mono) {
        (self.phase, self.began) = (Phase::Running, now);
        let height = self.host.height;
        let validators = CoreSet(self.host.validators.clone());
        self.feed(CoreInput::StartHeight(height, validators, false, None, VoteExtensionPolicy::Disabled), now);
        for (from, message) in self.early.take(height) {
            self.on_heard(from, message, now);
        }
    }

    fn finish(&mut self, certificate: Certificate, now: Mono) {
        self.phase = Phase::Decided;
        self.host.timers.clear();
        self.blocks.clear();
        self.behind.clear();
        // One of them tells those who only follow, and whoever missed a vote.
        if self.host.key.is_some()
            && proposer(&self.host.validators, certificate.height, certificate.round).id == self.host.me
        {
            self.host.out.push(Output::Say { message: Message::Certificate(certificate.clone()) });
        }
        self.last = Some((certificate, now));
    }

    /// Comes to where the log ends: the same inputs give the same state, and what was signed is not signed again.
    fn replay(&mut self, log: &[Record], now: Mono) {
        for record in log {
            self.host.recall(record);
            self.recall(record);
        }
        let inputs: Vec<CoreInput<Malachite>> =
            log.iter().filter_map(|record| record.input(self.host.height)).collect();
        self.host.replaying = true;
        self.begin(now);
        self.core.index_wal_entries(inputs.iter());
        for input in inputs {
            self.feed(input, now);
        }
        self.core.reset_entries_index();
        self.host.replaying = false;
        let votes = [&self.core.last_signed_prevote, &self.core.last_signed_precommit];
        let said: Vec<Signed<Vote>> = votes.into_iter().flatten().map(our_vote).collect();
        let proposal = self.host.own_proposal().map(|proposal| Message::Proposal(*proposal));
        let again = proposal.into_iter().chain(said.into_iter().map(Message::Vote));
        self.host.out.extend(again.map(|message| Output::Say { message }));
    }

    fn recall(&mut self, record: &Record) {
        match record {
            Record::Proposal(proposal) => self.host.note(*proposal),
            Record::Value { round, block, valid, proposer, .. } => {
                self.blocks.learn(*block, *round, *valid);
                if *proposer == self.host.me {
                    self.made = Some((*round, *block));
                }
            }
            Record::Vote(_) | Record::Polka(_) | Record::Timeout { .. } | Record::Body { .. } => {}
        }
    }

    /// Gives Malachite one input, and answers all its effects.
    fn feed(&mut self, input: CoreInput<Malachite>, now: Mono) {
        if self.host.fault.is_some() {
            return;
        }
        let (core, host) = (&mut self.core, &mut self.host);
        let metrics = ();
        let done: Result<(), Error<Malachite>> =
            process!(input: input, state: core, metrics: &metrics, with: effect => host.answer(effect, now));
        if let Err(error) = done {
            let height = self.host.height;
            let fault = match error {
                Error::ReplayDivergence(what, _, round) => {
                    Fault::Diverged { height, round: round.as_u32().unwrap_or(0), what: what.to_string() }
                }
                other => Fault::Core { height, what: other.to_string() },
            };
            self.host.fault.get_or_insert(fault);
        }
    }
}

/// A certificate as Malachite takes one from a peer. The block's bytes come another way.
fn value_response(certificate: &Certificate, from: NodeId) -> Option<ValueResponse<Malachite>> {
    let signatures = certificate.signatures.iter().map(|(voter, signature)| CommitSignature::new(*voter, *signature));
    let core = CommitCertificate {
        height: certificate.height,
        round: Round::new(certificate.round),
        value_id: certificate.value,
        commit_signatures: signatures.collect(),
    };
    let none = VoteExtensions::new(Vec::new());
    let extended = ExtendedCommitCertificate::from_commit_certificate_and_extensions(core, none);
    let peer = PeerId::from_bytes(&from.peer_id_bytes()).ok()?;
    Some(ValueResponse::new(peer, Bytes::new(), extended))
}
