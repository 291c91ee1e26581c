//! The network: letters with delays, lost, doubled and cut off, from one seed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::judge::Judge;
use super::member::{CHAIN, Member, id, key, validators};
use crate::consensus::{Consensus, Input, Output, Record, Start, Timeouts};
use crate::types::chain::{BlockId, Height, ValidatorSet};
use crate::types::{Domain, Mono, NodeId};
use crate::wire::agreement::{Certificate, Genuine, Message, Vote};

/// Splitmix64.
#[derive(Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, most: u64) -> u64 {
        self.next() % most.max(1)
    }
}

#[derive(Clone)]
enum Letter {
    Said(Genuine<Message>),
    AskBody(BlockId),
    Body(BlockId, Option<Genuine<Message>>),
    AskDecision(Height),
    Decision(Genuine<Message>),
}

#[derive(Clone)]
enum Event {
    Letter { from: usize, letter: Letter },
    Own { life: u64, input: Input },
    Restart,
}

/// Who cannot reach whom, and until when.
#[derive(Clone, Debug)]
pub enum Cut {
    /// These and the others do not hear each other.
    Apart(Vec<usize>),
    /// Nobody hears this one.
    Mute(usize),
    /// This one hears nobody.
    Deaf(usize),
    /// Two sides, drawn anew in each slice of time.
    Slices(Duration),
}

pub struct Net {
    pub now: Mono,
    pub rng: Rng,
    seed: u64,
    pub members: Vec<Member>,
    pub validators: Arc<ValidatorSet>,
    events: BTreeMap<(Mono, u64), (usize, Event)>,
    count: u64,
    pub timeouts: Timeouts,
    pub delay: (u64, u64),
    pub lost_permille: u64,
    pub doubled_permille: u64,
    pub cuts: Vec<(Mono, Mono, Cut)>,
    pub cadence: Duration,
    pub idle: bool,
    pub judge: Judge,
    /// Messages said.
    pub said: u64,
    /// Letters sent.
    pub letters: u64,
}

pub fn at(ms: u64) -> Mono {
    Mono(ms * 1_000)
}

pub fn quick() -> Timeouts {
    let ms = Duration::from_millis;
    Timeouts { propose: ms(150), vote: ms(60), more: ms(40), rebroadcast: ms(200), most: ms(2_000), fetch: ms(60) }
}

impl Net {
    /// `count` validators that are up.
    pub fn new(count: usize, seed: u64) -> Net {
        let members = (0..count).map(|n| Member::new(n, true)).collect();
        Net {
            now: at(1),
            rng: Rng(seed),
            seed,
            members,
            validators: validators(count),
            events: BTreeMap::new(),
            count: 0,
            timeouts: quick(),
            delay: (1_000, 15_000),
            lost_permille: 0,
            doubled_permille: 0,
            cuts: Vec::new(),
            cadence: Duration::from_millis(10),
            idle: false,
            judge: Judge::default(),
            said: 0,
            letters: 0,
        }
    }

    pub fn start(mut self) -> Net {
        (0..self.members.len()).for_each(|n| self.wake(n));
        self
    }

    /// Begins a life, from what is on the disk.
    pub fn wake(&mut self, n: usize) {
        let log = self.members[n].recover();
        let start = self.members[n].start(self.validators.clone(), self.now, self.idle);
        let (life, out) = Consensus::open(
            self.members[n].setup(self.timeouts),
            start,
            &log,
            self.members[n].disk.chain.last().cloned(),
            self.now,
        );
        self.members[n].life = Some(life);
        self.do_all(n, out);
    }

    pub fn crash(&mut self, n: usize, back_after: Duration) {
        self.members[n].crash();
        self.put(self.now + back_after, n, Event::Restart);
    }

    fn put(&mut self, when: Mono, to: usize, event: Event) {
        self.count += 1;
        self.events.insert((when, self.count), (to, event));
    }

    fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts.iter().filter(|(since, until, _)| (*since..*until).contains(&self.now)).any(|(_, _, cut)| match cut {
            Cut::Apart(side) => side.contains(&from) != side.contains(&to),
            Cut::Mute(one) => *one == from,
            Cut::Deaf(one) => *one == to,
            Cut::Slices(period) => {
                let slice = self.now.0 / period.as_micros() as u64;
                let sides = Rng(self.seed ^ slice.wrapping_mul(0xA24B_AED4_963E_E407)).next();
                (sides >> from) & 1 != (sides >> to) & 1
            }
        })
    }

    fn send(&mut self, from: usize, to: usize, letter: Letter) {
        self.letters += 1;
        let copies = 1 + u64::from(self.rng.below(1_000) < self.doubled_permille);
        for _ in 0..copies {
            if self.is_cut(from, to) || self.rng.below(1_000) < self.lost_permille {
                continue;
            }
            let delay = self.delay.0 + self.rng.below(self.delay.1 - self.delay.0);
            let event = Event::Letter { from, letter: letter.clone() };
            self.put(Mono(self.now.0 + delay), to, event);
        }
    }

    fn tell_all(&mut self, from: usize, message: &Message) {
        let genuine = self.judge.believe(message.clone());
        for to in (0..self.members.len()).filter(|to| *to != from) {
            self.send(from, to, Letter::Said(genuine.clone()));
        }
    }

    fn say(&mut self, from: usize, message: Message) {
        self.said += 1;
        let member = &self.members[from];
        let (vice, who) = (member.vice, member.who);
        match &message {
            Message::Vote(_) if vice.drops_votes => return,
            Message::Proposal(_) if vice.drops_proposals => return,
            Message::Vote(vote) if vice.equivocates && vote.said.voter == id(who) => {
                let other = vote.said.value.map_or(Some(self.block(u64::MAX)), |_| None);
                let other = Vote { value: other, ..vote.said }.sign(CHAIN, key(who));
                let other = self.judge.believe(Message::Vote(other));
                for to in (0..self.members.len()).filter(|to| *to != from && to % 2 == 0) {
                    self.send(from, to, Letter::Said(other.clone()));
                }
            }
            Message::Vote(_)
            | Message::Proposal(_)
            | Message::Polka(_)
            | Message::Round(_)
            | Message::Certificate(_) => {}
        }
        self.tell_all(from, &message);
    }

    fn block(&self, salt: u64) -> BlockId {
        BlockId(Domain::Trace.hash(&[b"block", &salt.to_le_bytes()]))
    }

    fn build(&mut self, n: usize, height: Height, round: u32) -> BlockId {
        let salt = self.rng.next();
        let block = BlockId(Domain::Trace.hash(&[&height.0.to_le_bytes(), &round.to_le_bytes(), &salt.to_le_bytes()]));
        let member = &mut self.members[n];
        member.bodies.insert(block);
        if member.vice.builds_rubbish {
            self.judge.rubbish.insert(block);
        }
        if !member.vice.hasty.is_zero() {
            self.judge.unripe.insert(block, self.now + member.vice.hasty);
        }
        block
    }

    /// How long until a block is of now for a member.
    fn unripe(&self, n: usize, block: BlockId) -> u64 {
        let ripe = self.judge.unripe.get(&block).map(|ripe| *ripe + self.members[n].behind);
        ripe.map_or(0, |ripe| (ripe - self.now).as_micros() as u64)
    }

    /// What a shell would do with what agreement wants.
    fn do_all(&mut self, n: usize, out: Vec<Output>) {
        for output in out {
            if self.members[n].life.is_none() {
                return;
            }
            self.do_one(n, output);
        }
    }

    fn do_one(&mut self, n: usize, output: Output) {
        let own = |net: &mut Net, after: u64, input: Input| {
            let event = Event::Own { life: net.members[n].number, input };
            net.put(Mono(net.now.0 + after), n, event);
        };
        match output {
            Output::Log { height, record } => self.log(n, height, record),
            Output::Keep { height, block } => {
                assert!(self.members[n].bodies.contains(&block), "a body is to be kept that is not here");
                self.log(n, height, Record::Body { block, bytes: Bytes::new() });
            }
            Output::Say { message } => {
                let height = self.members[n].next_height();
                self.members[n].flush(height);
                self.judge.hear(&self.members[n], &message);
                self.say(n, message);
            }
            Output::WantBlock { height, round, made } => {
                let kept = made.filter(|block| self.members[n].bodies.contains(block));
                let block = kept.unwrap_or_else(|| self.build(n, height, round));
                let slow = self.members[n].vice.slow.as_micros() as u64;
                own(self, 500 + slow, Input::Built { height, round, block });
            }
            Output::WantBody { block, from } => self.ask(n, from, Letter::AskBody(block)),
            Output::WantDecision { height, from } => self.ask(n, from, Letter::AskDecision(height)),
            Output::Check { block, quorum, .. } => {
                let valid = !self.judge.rubbish.contains(&block);
                let wait = if quorum { 0 } else { self.unripe(n, block) };
                own(self, 500 + wait, Input::Checked { block, valid });
            }
            Output::Decided { certificate } => {
                self.judge.decided(n, &certificate, &self.validators);
                let has_body = self.members[n].bodies.contains(&certificate.value);
                let height = certificate.height.next();
                self.members[n].decided = Some(certificate);
                // Without its body a block cannot be applied, and this node does not ask for it: it voted for it.
                if has_body {
                    let (validators, not_before) = (self.validators.clone(), self.now + self.cadence);
                    own(self, 200, Input::Start(Start { height, validators, not_before, idle: self.idle }));
                }
            }
            Output::Evidence(evidence) => {
                self.judge.evidence(&evidence);
                self.members[n].evidence.push(evidence);
            }
            Output::Refused { .. } => self.members[n].refused += 1,
            Output::Halt { fault } => self.members[n].halted = Some(fault.to_string()),
        }
    }

    fn log(&mut self, n: usize, height: Height, record: Record) {
        let member = &mut self.members[n];
        member.pending.push(record);
        member.written += 1;
        if let Some((_, torn)) = member.crash_at.filter(|(when, _)| *when == member.written) {
            let before = member.disk.log.len();
            member.flush(height);
            let after = member.disk.log.len();
            if torn {
                let cut = before + self.rng.below((after - before) as u64) as usize;
                self.members[n].disk.log.truncate(cut);
            }
            self.members[n].crash_at = None;
            self.crash(n, Duration::from_millis(30));
        }
    }

    fn ask(&mut self, n: usize, whom: NodeId, letter: Letter) {
        let all = self.members.iter().enumerate();
        let to: Vec<usize> = all.filter(|(to, m)| *to != n && id(m.who) == whom).map(|(to, _)| to).collect();
        to.into_iter().for_each(|to| self.send(n, to, letter.clone()));
    }

    fn on_letter(&mut self, n: usize, from: usize, letter: Letter) {
        let sender = id(self.members[from].who);
        match letter {
            Letter::Said(message) => self.give(n, Input::Heard { from: sender, message }),
            Letter::AskBody(block) => {
                if self.members[n].bodies.contains(&block) && !self.members[n].vice.drops_proposals {
                    let proposal = self.members[n].life.as_ref().and_then(|life| life.proposal_of(block)).copied();
                    let proposal = proposal.map(|proposal| self.judge.believe(Message::Proposal(proposal)));
                    self.send(n, from, Letter::Body(block, proposal));
                }
            }
            Letter::Body(block, proposal) => {
                self.members[n].bodies.insert(block);
                if let Some(message) = proposal {
                    self.give(n, Input::Heard { from: sender, message });
                }
                self.give(n, Input::Body { block });
            }
            Letter::AskDecision(height) => {
                let certificate: Option<&Certificate> = self.members[n].disk.chain.get(height.0 as usize - 1);
                if let Some(certificate) = certificate.cloned() {
                    let block = certificate.value;
                    let has_body = self.members[n].bodies.contains(&block);
                    let message = self.judge.believe(Message::Certificate(certificate));
                    self.send(n, from, Letter::Decision(message));
                    if has_body {
                        self.send(n, from, Letter::Body(block, None));
                    }
                }
            }
            Letter::Decision(message) => self.give(n, Input::Heard { from: sender, message }),
        }
    }

    pub fn give(&mut self, n: usize, input: Input) {
        if let Some(life) = &mut self.members[n].life {
            let out = life.handle(input, self.now);
            self.do_all(n, out);
        }
    }

    /// Goes on until a time, or until every member that is up and honest has come to a height.
    pub fn run(&mut self, until: Mono, height: u64) {
        while self.least() < height && self.step(until) {}
    }

    /// The last height decided by all that do nothing wrong.
    pub fn least(&self) -> u64 {
        let honest = self.members.iter().filter(|m| m.vice == super::member::Vice::default() && m.halted.is_none());
        honest.map(|m| m.disk.chain.len() as u64).min().unwrap_or(0)
    }

    fn step(&mut self, until: Mono) -> bool {
        let event = self.events.keys().next().map(|(when, _)| *when);
        let wake = |(n, m): (usize, &Member)| Some((m.life.as_ref()?.next_wake()?, n));
        let wake = self.members.iter().enumerate().filter_map(wake).min();
        let next = [event, wake.map(|(when, _)| when)].into_iter().flatten().min();
        let Some(next) = next.filter(|next| *next <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.now = self.now.max(next);
        if event == Some(next) {
            // It was just looked at.
            let (_, (n, event)) = self.events.pop_first().unwrap();
            match event {
                Event::Letter { from, letter } if self.members[n].life.is_some() => self.on_letter(n, from, letter),
                Event::Own { life, input } if self.members[n].number == life => {
                    if matches!(input, Input::Start(_)) {
                        self.members[n].apply();
                    }
                    self.give(n, input);
                }
                Event::Restart if self.members[n].life.is_none() => self.wake(n),
                Event::Letter { .. } | Event::Own { .. } | Event::Restart => {}
            }
        } else if let Some((_, n)) = wake {
            self.give(n, Input::Tick);
        }
        true
    }

    /// A member of another's key, with a disk of its own.
    pub fn twin(mut self, of: usize) -> Net {
        let who = self.members[of].who;
        self.judge.guilty.insert(id(who));
        let mut twin = Member::new(who, true);
        twin.vice.forgets = true;
        self.members[of].vice.forgets = true;
        self.members.push(twin);
        self
    }

    pub fn guilty(mut self, n: usize, vice: super::member::Vice) -> Net {
        self.members[n].vice = vice;
        self.judge.guilty.insert(id(self.members[n].who));
        self
    }

    pub fn cut(mut self, from_ms: u64, to_ms: u64, cut: Cut) -> Net {
        self.cuts.push((at(from_ms), at(to_ms), cut));
        self
    }

    pub fn heights(&self) -> Vec<u64> {
        self.members.iter().map(|m| m.disk.chain.len() as u64).collect()
    }
}
