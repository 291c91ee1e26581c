//! The run itself: machines, connections, the agenda, and the judges who watch.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ed25519_dalek::SigningKey;

use super::chain::{ChainWorld, Vice};
use super::event::{Agenda, Event};
use super::host::{EPOCH_MS, Host, Sent};
use super::judge::{Accounts, Failure, Judge, Posted, Prefixes, Unique, Verdict, Writings};
use super::library::Library;
use super::rng::Rng;
use super::scenario::{Plan, Weather};
use super::trace::Trace;
use super::urgent::Urgent;
use super::villain::Villain;
use super::workload;
use crate::node::{Ack, Call, CountFloor, Input};
use crate::types::{Domain, MessageId, NetworkName, NodeId, WallMs};
use crate::wire::{Destination, Draft, Priority};

/// Healed networks are compared this often, microseconds.
const COMPARE_EVERY_US: u64 = 500_000;
/// They must be alike within this time.
const ALIKE_WITHIN_US: u64 = 90_000_000;
/// Ids of messages that clients answer.
const REMEMBERED: usize = 32;
/// Of a thousand calls, as many are for one host alone.
const DIRECT: u64 = 150;
/// Calls of a thousand that write to the state.
const WRITES: u64 = 350;
/// And of a thousand writes to the state, where floors are set, so many set one.
const FLOORS: u64 = 250;

/// Everything there is.
pub struct World {
    pub(super) now_us: u64,
    pub(super) plan: Plan,
    pub(super) rng: Rng,
    pub(super) agenda: Agenda,
    pub(super) network: NetworkName,
    pub(super) hosts: Vec<Host>,
    pub(super) villains: Vec<Villain>,
    /// Connections by their two ends, lower number first.
    pub(super) links: BTreeMap<(usize, usize), u64>,
    pub(super) next_link: u64,
    /// While the network is cut: the peers on one side, a bit each.
    pub(super) cut: Option<u64>,
    pub(super) weather: Weather,
    pub(super) healed_us: Option<u64>,
    pub(super) library: Library,
    pub(super) prefixes: Prefixes,
    pub(super) unique: Unique,
    pub(super) posted: Posted,
    pub(super) accounts: Accounts,
    pub(super) writings: Writings,
    pub(super) urgent: Urgent,
    pub(super) remembered: Vec<MessageId>,
    /// The chain of the run, if it is about one.
    pub(super) chain: Option<ChainWorld>,
    pub(super) trace: Trace,
    pub(super) steps: u64,
    pub(super) failure: Option<Failure>,
    pub(super) alike_us: Option<u64>,
}

impl World {
    /// The world before anything happens.
    pub fn new(plan: Plan, seed: u64, trace: Trace) -> Result<World, String> {
        let mut rng = Rng::new(seed, "world");
        let network: NetworkName = "sim".parse().map_err(|_| "`sim` is a name")?;
        let key = |n: usize| {
            let digest = Domain::Trace.hash(&[b"key", &seed.to_be_bytes(), &(n as u64).to_be_bytes()]);
            SigningKey::from_bytes(digest.as_bytes())
        };
        let twins = plan.chain.iter().flat_map(|chain| chain.twins.clone()).collect::<Vec<_>>();
        let of = |n: usize| twins.iter().find(|(_, twin)| *twin == n).map_or(n, |(of, _)| *of);
        let hosts = plan.skew_ms.iter().enumerate().map(|(n, skew)| Host::new(key(of(n)), *skew));
        let mut hosts: Vec<Host> = hosts.collect();
        for (_, twin) in &twins {
            hosts[*twin].place = 2;
        }
        let ids: Vec<NodeId> = hosts.iter().map(|host| host.id).collect();
        let chain = plan.chain.clone().map(|chain| ChainWorld::new(chain, &ids, seed)).transpose()?;
        let roles = plan.villains.iter().enumerate();
        let villains = roles
            .map(|(n, role)| Villain::new(key(plan.hosts + n), *role, network.id(), WallMs(EPOCH_MS), &mut rng))
            .collect();
        let mut agenda = Agenda::default();
        plan.start_us.iter().enumerate().for_each(|(host, at)| agenda.add(*at, Event::Boot { host }));
        plan.faults.iter().for_each(|(at, fault)| agenda.add(*at, Event::Fault(*fault)));
        (0..plan.villains.len()).for_each(|villain| agenda.add(500_000, Event::Mischief { villain }));
        agenda.add(400_000, Event::Call);
        if plan.flood > 1 {
            agenda.add(500_000, Event::Probe);
        }
        agenda.add(plan.storm_us, Event::Heal);
        Ok(World {
            now_us: 0,
            weather: plan.weather,
            library: Library::new(network.id()),
            plan,
            rng,
            agenda,
            network,
            hosts,
            villains,
            links: BTreeMap::new(),
            next_link: 0,
            cut: None,
            healed_us: None,
            prefixes: Prefixes::default(),
            unique: Unique::default(),
            posted: Posted::default(),
            accounts: Accounts::default(),
            writings: Writings::default(),
            urgent: Urgent::default(),
            remembered: Vec::new(),
            chain,
            trace,
            steps: 0,
            failure: None,
            alike_us: None,
        })
    }

    /// Runs until all are alike, a judge objects, or it takes too long.
    pub fn run(&mut self) {
        while self.failure.is_none()
            && self.alike_us.is_none()
            && let Some((at_us, event)) = self.agenda.pop()
        {
            self.now_us = at_us;
            self.on_event(event);
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Boot { host } => self.boot(host),
            Event::Step { host, life } => self.step(host, life),
            Event::Wake { host, life, wake } => self.wake(host, life, wake),
            Event::Flushed { host, life } => self.flushed(host, life),
            Event::Logged { host, life } => self.logged(host, life),
            Event::Gossip { from, to, link, topic, bytes } => self.on_gossip(from, to, link, topic, bytes),
            Event::Request { from, to, link, life, id, bytes } => self.on_request(from, to, link, life, id, bytes),
            Event::Response { from, to, link, life, id, bytes } => self.on_response(from, to, link, life, id, bytes),
            Event::Silence { host, life, id } => self.on_silence(host, life, id),
            Event::Dialled { host, life, address, peer } => self.on_dialled(host, life, address, peer),
            Event::Gone { host, life, peer } => self.on_gone(host, life, peer),
            Event::Hear { host, of } => self.hear(host, of),
            Event::Call if self.chain.is_some() => self.submit(),
            Event::Call => self.call(),
            Event::Probe => self.probe(),
            Event::Work { host, life } => self.work(host, life),
            Event::Mischief { villain } => self.mischief(villain),
            Event::Fault(fault) => self.on_fault(fault),
            Event::Heal => self.heal(),
            Event::Compare if self.chain.is_some() => self.compare_chain(),
            Event::Compare => self.compare(),
        }
    }

    /// Notes a judge's word; the first objection ends the run.
    pub(super) fn judge(&mut self, judge: Judge, verdict: Verdict) {
        if let Err(detail) = verdict
            && self.failure.is_none()
        {
            self.failure = Some(Failure { judge, at_us: self.now_us, detail });
        }
    }

    /// How many peers there are, villains included.
    pub(super) fn peers(&self) -> usize {
        self.hosts.len() + self.villains.len()
    }

    /// Who a peer is.
    pub(super) fn id_of(&self, peer: usize) -> Option<NodeId> {
        let villain = || self.villains.get(peer.checked_sub(self.hosts.len())?).map(|v| v.id);
        self.hosts.get(peer).map(|h| h.id).or_else(villain)
    }

    /// The number of a node.
    pub(super) fn peer_of(&self, id: NodeId) -> Option<usize> {
        (0..self.peers()).find(|peer| self.id_of(*peer) == Some(id))
    }

    /// Whether an author is one of the honest ones.
    pub(super) fn is_honest(&self, id: NodeId) -> bool {
        let guilty = self.chain.as_ref().is_some_and(|chain| {
            let spoils = |(host, vice): &(usize, Vice)| vice.spoils_parts && self.id_of(*host) == Some(id);
            chain.ledgers.is_guilty(id) || chain.plan.vices.iter().any(spoils)
        });
        !guilty && self.hosts.iter().any(|host| host.id == id)
    }

    /// Queues an input for a host and sees to it that a step comes.
    pub(super) fn tell(&mut self, host: usize, input: Input) {
        let delay = self.rng.within(20, 1_500);
        let Some(machine) = self.hosts.get_mut(host) else { return };
        let life = machine.life;
        let Some(process) = &mut machine.process else { return };
        match input {
            Input::Bundle { .. } | Input::Range { .. } | Input::State(_) => process.bundles.push(input),
            Input::Call { .. } => process.calls.push(input),
            _ => process.control.push(input),
        }
        if !std::mem::replace(&mut process.due, true) {
            self.agenda.add(self.now_us + delay, Event::Step { host, life });
        }
    }

    /// A client of some running node says something.
    fn call(&mut self) {
        let running: Vec<usize> = (0..self.hosts.len()).filter(|n| self.hosts[*n].process.is_some()).collect();
        if let Some(host) = self.rng.pick(&running) {
            for _ in 0..self.rng.within(1, self.plan.flood) {
                if self.rng.chance(WRITES) { self.write(host) } else { self.publish(host) }
            }
        }
        if self.healed_us.is_none() {
            let (low, high) = self.plan.call_every_us;
            self.agenda.add(self.now_us + self.rng.within(low, high), Event::Call);
        }
    }

    fn publish(&mut self, host: usize) {
        let wall = self.hosts[host].wall(self.now_us);
        let (mut drafts, ack) = workload::call(&mut self.rng, self.plan.bursts, &self.remembered, wall);
        if self.plan.flood > 1
            && self.rng.chance(600)
            && let Some(priority) = self.rng.pick(&Priority::ALL)
        {
            drafts.iter_mut().for_each(|draft| draft.priority = priority);
        }
        let sent = self.address(host, &mut drafts);
        if let Some((_, _, id)) = self.ask_to_say(host, drafts, ack)
            && ack == Ack::Durable
            && let Some(process) = &mut self.hosts[host].process
        {
            process.durable_calls.insert(id, sent);
        }
    }

    /// A client asks for drafts to be said: the call, by host, life and number.
    pub(super) fn ask_to_say(&mut self, host: usize, drafts: Vec<Draft>, ack: Ack) -> Option<(usize, u64, u64)> {
        let life = self.hosts[host].life;
        let id = self.hosts[host].process.as_mut()?.number();
        self.accounts.asked(host, life, id, &drafts);
        self.trace.note(self.now_us, host, "call", &[drafts.len() as u8], format_args!("{}", drafts.len()));
        self.tell(host, Input::Call { id, call: Call::Publish { drafts, ack } });
        Some((host, life, id))
    }

    /// Some calls are for one other host that the caller knows of.
    fn address(&mut self, host: usize, drafts: &mut [Draft]) -> Vec<Sent> {
        let reader = self.rng.below(self.hosts.len());
        let direct = reader != host && self.rng.chance(DIRECT);
        let id = self.hosts[reader].id;
        let known = self.hosts[host].process.as_ref().is_some_and(|process| process.node.knows(id));
        let sent = |draft: &mut Draft| {
            if draft.kind().is_ephemeral() {
                return Sent::Fleeting;
            }
            if !direct || !known || draft.idempotency.is_some() {
                return Sent::ToAll;
            }
            draft.destination = Destination::Node(id);
            Sent::ToOne(reader)
        };
        drafts.iter_mut().map(sent).collect()
    }

    /// A client wants the floor of a collection at what was written a moment ago.
    fn set_floor(&mut self, host: usize) {
        let (collection, older_ms) = (workload::collection(&mut self.rng), self.rng.within(300, 3_000));
        let Some(process) = &mut self.hosts[host].process else { return };
        let id = process.number();
        process.floor_counts.insert(id, collection.clone());
        let count = CountFloor { collection, older_than: Duration::from_millis(older_ms), dry: false };
        self.tell(host, Input::Call { id, call: Call::CountFloor(count) });
    }

    /// A client writes to the state.
    pub(super) fn write(&mut self, host: usize) {
        if self.plan.floors && self.rng.chance(FLOORS) {
            return self.set_floor(host);
        }
        let write = workload::write(&mut self.rng);
        let Some(process) = &mut self.hosts[host].process else { return };
        let id = process.number();
        if write.ack == Ack::Durable {
            process.durable_writes.insert(id, write.clone());
        }
        let count = write.wishes.len();
        self.trace.note(self.now_us, host, "write", &[count as u8], format_args!("{} to {}", count, write.collection));
        self.tell(host, Input::Call { id, call: Call::Write(Box::new(write)) });
    }

    /// Clients remember some messages, to answer them.
    pub(super) fn remember(&mut self, id: MessageId) {
        if self.remembered.len() < REMEMBERED {
            self.remembered.push(id);
        } else {
            let place = self.rng.below(REMEMBERED);
            self.remembered[place] = id;
        }
    }

    /// Faults stop, all links are up, everyone runs.
    fn heal(&mut self) {
        self.trace.note(self.now_us, 0, "heal", &[], format_args!(""));
        self.healed_us = Some(self.now_us);
        self.weather = Weather::CLEAR;
        self.cut = None;
        self.chain.iter_mut().for_each(|chain| chain.mute = None);
        for host in 0..self.hosts.len() {
            let jumped = self.hosts[host].skew_ms.abs() > 5_000;
            if jumped {
                let back_ms = self.plan.skew_ms[host] - self.hosts[host].skew_ms;
                self.hosts[host].jump(self.now_us, back_ms);
            }
            (self.hosts[host].doomed, self.hosts[host].full) = (None, None);
            self.agenda.add(self.now_us + self.rng.within(0, 500_000), Event::Boot { host });
        }
        self.pass_time();
        let first_look = if self.chain.is_some() { 200_000 } else { 2_000_000 };
        self.agenda.add(self.now_us + first_look, Event::Compare);
    }

    /// What was stamped so far ahead that the run would be over before: its time comes at once, for all clocks alike.
    fn pass_time(&mut self) {
        let true_ms = EPOCH_MS + self.now_us / 1_000;
        let ahead_ms = self.hosts.iter().map(|host| host.shown.0.saturating_sub(true_ms)).max().unwrap_or_default();
        if ahead_ms > ALIKE_WITHIN_US / 1_000 {
            let by_ms = i64::try_from(ahead_ms).unwrap_or(i64::MAX);
            self.trace.note(self.now_us, 0, "time passes", &ahead_ms.to_be_bytes(), format_args!("{ahead_ms} ms"));
            self.hosts.iter_mut().for_each(|host| host.jump(self.now_us, by_ms));
        }
    }

    fn compare(&mut self) {
        let all_run = self.hosts.iter().all(|host| host.process.as_ref().is_some_and(|p| !p.is_busy()));
        let verdict = if all_run { self.alike() } else { Err("not everyone runs and rests".into()) };
        let verdict = verdict.and_then(|()| self.flowed());
        let healed = self.healed_us.unwrap_or(self.now_us);
        match verdict {
            Ok(()) if self.awaits_state() => self.agenda.add(self.now_us + COMPARE_EVERY_US, Event::Compare),
            Ok(()) => {
                self.alike_us = Some(self.now_us - healed);
                self.alike_states();
                self.judge_urgent();
            }
            Err(_) if !self.is_last_look() => {
                self.agenda.add(self.now_us + COMPARE_EVERY_US, Event::Compare);
            }
            // Somebody happens to be in the middle of a step: what is wrong is said after it.
            Err(_) if !all_run && self.now_us < healed + ALIKE_WITHIN_US + COMPARE_EVERY_US => {
                self.agenda.add(self.now_us + COMPARE_EVERY_US / 50, Event::Compare);
            }
            Err(_) => self.judge(Judge::Convergence, verdict),
        }
    }

    /// Whether the time to become alike is over, so that what differs is to be named.
    pub(super) fn is_last_look(&self) -> bool {
        self.healed_us.is_some_and(|healed| self.now_us >= healed + ALIKE_WITHIN_US)
    }

    /// The authors nobody can rely on.
    pub(super) fn villain_ids(&self) -> BTreeSet<NodeId> {
        self.villains.iter().map(|v| v.id).collect()
    }
}
