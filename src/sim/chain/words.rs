//! Words of agreement and transactions on their way, and records on their way to the disk.

use bytes::Bytes;

use super::plan::Vice;
use crate::consensus::Record;
use crate::consensus::journal::{Owner, begun, note_begun};
use crate::node::{ChainInput, ChainOutput, Channel, Input};
use crate::sim::event::{Event, Topic};
use crate::sim::host::Carried;
use crate::sim::judge::{Judge, halt};
use crate::sim::library::Library;
use crate::sim::world::World;
use crate::types::NodeId;
use crate::types::chain::Height;
use crate::types::storage::Batch;
use crate::wire::agreement::{ChainRequest, ChainResponse, Message, Saying};
use crate::wire::ledger::PAGE_SLOTS;
use crate::wire::{Request, Response};

/// How long a flush of agreement's log takes, microseconds.
const LOG_US: (u64, u64) = (200, 8_000);
/// How long a machine that lost power at a record is down, microseconds.
const DOWN_US: u64 = 60_000;

impl World {
    /// Does what a node wants about the chain.
    pub(in crate::sim) fn emit_chain(&mut self, host: usize, output: ChainOutput) {
        match output {
            ChainOutput::Say { channel, bytes } => self.say(host, channel, bytes),
            ChainOutput::Roster(roster) => {
                if let Some(process) = &mut self.hosts[host].process {
                    process.roster = Some(roster);
                }
            }
            ChainOutput::Applied { height } => self.tell(host, Input::Chain(ChainInput::Applied { height })),
        }
    }

    fn vice(&self, host: usize) -> Vice {
        let vices = self.chain.iter().filter(|_| self.healed_us.is_none()).flat_map(|chain| &chain.plan.vices);
        vices.filter(|(of, _)| *of == host).map(|(_, vice)| *vice).next().unwrap_or_default()
    }

    fn say(&mut self, host: usize, channel: Channel, bytes: Bytes) {
        if channel == Channel::Agreement {
            let me = self.hosts[host].id;
            let Ok(saying) = Saying::decode(&bytes) else {
                return self.judge(Judge::Signatures, Err(format!("node {host} says what nobody can read")));
            };
            let message = saying.message;
            let (at, name) = (self.now_us, Library::name(&bytes));
            self.trace.note(at, host, "say", name.as_bytes(), format_args!("{}", Word(&message)));
            let heard = self.chain.as_mut().map_or(Ok(()), |chain| chain.ledgers.hear(me, &message));
            self.judge(Judge::Signatures, heard);
            if self.keeps_back(host, &message) {
                return;
            }
        }
        self.spread(host, None, Topic::Chain(channel), bytes);
    }

    fn keeps_back(&self, host: usize, message: &Message) -> bool {
        let (vice, me) = (self.vice(host), self.hosts[host].id);
        match message {
            Message::Vote(vote) => vice.drops_votes && vote.said.voter == me,
            Message::Polka(_) | Message::Round(_) | Message::Certificate(_) => vice.drops_votes,
            Message::Proposal(said) => vice.drops_proposals && said.said.proposer == me,
        }
    }

    /// Whether a host answers what it is asked.
    pub(in crate::sim) fn serves(&self, host: usize, request: &Request) -> bool {
        !matches!(request, Request::Chain(ChainRequest::Body { .. })) || !self.vice(host).drops_proposals
    }

    /// What a host answers, altered if that is its vice.
    pub(in crate::sim) fn spoiled(&mut self, host: usize, response: Response) -> Response {
        if !self.vice(host).spoils_parts {
            return response;
        }
        match response {
            Response::Chain(ChainResponse::Rows(mut rows)) => {
                let gone = rows.pop().filter(|_| self.rng.chance(500));
                if let Some((key, value)) = gone {
                    let mut value = value.to_vec();
                    value.push(1);
                    rows.push((key, value.into()));
                }
                Response::Chain(ChainResponse::Rows(rows))
            }
            Response::Chain(ChainResponse::Page(mut page)) => {
                let (one, other) = (self.rng.below(PAGE_SLOTS), self.rng.below(PAGE_SLOTS));
                page.swap(one, other);
                Response::Chain(ChainResponse::Page(page))
            }
            other => other,
        }
    }

    /// A word about the chain reaches a node: what the door believes goes in.
    pub(in crate::sim) fn hear_word(&mut self, from: usize, to: usize, channel: Channel, bytes: Bytes) {
        let Some(sender) = self.id_of(from) else { return };
        let Some(process) = self.hosts.get_mut(to).and_then(|host| host.process.as_mut()) else { return };
        let Some(roster) = process.roster.clone() else { return };
        let ticket = process.number();
        let believed = match channel {
            Channel::Agreement => ChainInput::heard(sender, ticket, &bytes, &roster),
            Channel::Transactions => ChainInput::transactions(sender, ticket, bytes.clone(), &roster),
        };
        match believed {
            Ok(input) => {
                process.tickets.insert(ticket, Carried { from, topic: Topic::Chain(channel), bytes });
                self.tell(to, Input::Chain(input));
            }
            Err(refusal) => self.tell(to, Input::Refused { from: sender, refusal }),
        }
    }

    /// The answer to a request about the chain arrives.
    pub(in crate::sim) fn hear_answer(&mut self, from: NodeId, to: usize, id: u64, response: ChainResponse) {
        let roster = self.hosts[to].process.as_ref().and_then(|process| process.roster.clone());
        match roster.map_or(Ok(None), |roster| ChainInput::answer(from, id, response, &roster)) {
            Ok(Some(input)) => self.tell(to, Input::Chain(input)),
            Ok(None) => self.tell(to, Input::Failed { from, id }),
            Err(refusal) => {
                self.tell(to, Input::Refused { from, refusal });
                self.tell(to, Input::Failed { from, id });
            }
        }
    }

    pub(in crate::sim) fn owner(&self, host: usize) -> Option<Owner> {
        let chain = self.chain.as_ref()?.chain;
        Some(Owner { chain, node: self.hosts.get(host)?.id, height: Height::GENESIS })
    }

    /// Hands a step's records to the disk. True when the machine loses power with them.
    pub(in crate::sim) fn write_records(&mut self, host: usize, number: u64, records: Vec<(Height, Record)>) -> bool {
        let before = self.hosts[host].disk.records;
        let begins = self.hosts[host].disk.write((number, records));
        let written = self.hosts[host].disk.records;
        let due = |at: &super::plan::CrashAt| at.host == host && (before + 1..=written).contains(&at.record);
        let stormy = self.healed_us.is_none();
        let crash = self.chain.as_mut().and_then(|chain| {
            let index = chain.plan.crashes.iter().position(due)?;
            Some(chain.plan.crashes.swap_remove(index))
        });
        if let Some(crash) = crash.filter(|_| stormy) {
            self.crash_with(host, DOWN_US, Some(crash.torn));
            return true;
        }
        if begins {
            self.begin_log(host);
        }
        false
    }

    fn begin_log(&mut self, host: usize) {
        let (at, life) = (self.now_us + self.rng.within(LOG_US.0, LOG_US.1), self.hosts[host].life);
        self.agenda.add(at, Event::Logged { host, life });
    }

    /// Records are on the disk: the words that waited for them leave. A disk that is full ends the process.
    pub(in crate::sim) fn logged(&mut self, host: usize, life: u64) {
        let Some(owner) = self.owner(host).filter(|_| self.hosts[host].life == life) else { return };
        if self.hosts[host].process.is_none() {
            return;
        }
        if self.hosts[host].full.is_some() {
            return self.fail_disk(host);
        }
        let Some((number, more)) = self.hosts[host].disk.flushed(owner) else { return };
        if more {
            self.begin_log(host);
        }
        self.note_log(host);
        let freed = self.hosts[host].process.as_mut().map(|process| process.gate.logged(number)).unwrap_or_default();
        freed.into_iter().for_each(|output| self.emit(host, output));
        self.step_soon(host);
    }

    /// As the driver does: the store knows of which height there is a log.
    fn note_log(&mut self, host: usize) {
        let machine = &mut self.hosts[host];
        let Some(height) = machine.disk.height().filter(|height| begun(&machine.store) < Some(*height)) else { return };
        let mut batch = Batch::default();
        note_begun(height, &mut batch);
        machine.store.commit(batch);
    }

    /// A flush failed: the process ends at once, as the driver does, and comes back when there is room again.
    pub(in crate::sim) fn fail_disk(&mut self, host: usize) {
        let Some(down_us) = self.hosts[host].full.take() else { return };
        self.trace.note(self.now_us, host, "full", &[], format_args!("a flush failed"));
        if let Some(owner) = self.owner(host) {
            self.hosts[host].disk.fail(owner, &mut self.rng);
        }
        self.crash_with(host, down_us, None);
    }

    /// A node that gives up. Who has a twin may find that it said something else.
    pub(in crate::sim) fn halted(&mut self, host: usize, fault: Option<&str>) {
        let id = self.hosts[host].id;
        if !self.chain.as_ref().is_some_and(|chain| chain.ledgers.is_guilty(id)) {
            self.judge(Judge::Halt, halt(fault));
        }
    }
}

/// A message of agreement, for people.
struct Word<'a>(&'a Message);

impl std::fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Message::Proposal(said) => {
                write!(f, "proposal {} round {}: {:?}", said.said.height, said.said.round, said.said.value)
            }
            Message::Vote(vote) => {
                let said = &vote.said;
                write!(f, "{:?} {} round {}: {:?}", said.step, said.height, said.round, said.value)
            }
            Message::Polka(polka) => write!(f, "polka {}", polka.height),
            Message::Round(round) => write!(f, "round {}", round.height),
            Message::Certificate(certificate) => write!(f, "certificate {}", certificate.height),
        }
    }
}
