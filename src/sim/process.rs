//! Steps: a host's inputs go in, its outputs come out, and the judges look at both.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

use super::event::{Event, Topic};
use super::host::{Host, Process, Released, Sent};
use super::judge::{Holdings, Judge, Load, Promise, Verdict, ban, bounds, convergence, counts, proofs, stamps};
use super::library::Library;
use super::trace::Slots;
use super::workload;
use super::world::World;
use crate::crdt::{Condition, FLOOR, Floor, Floors, Wish, Wished, collections};
use crate::feed::{Log, Room, Stored, bundles_from, find, page};
use crate::node::{
    Ack, Answer, Call, CallRefusal, Event as Told, FloorCount, Input, Output, Setup, Step, Verdict as Word, Write,
    Wrote,
};
use crate::types::storage::{Key, Table, View};
use crate::types::{Hash, MessageId, NodeId, limits};
use crate::wire::{Bundle, Category, Course, Filter, Slot, Verified};

/// How long a node that was heard from is waited for before a floor is set.
const FLOOR_WAITS: Duration = Duration::from_secs(6);
/// How long the disk takes, microseconds.
const FLUSH_US: (u64, u64) = (200, 30_000);
/// The least time from one step to the next, microseconds.
const STEP_US: u64 = 20;
/// Messages a subscriber reads at once.
const PAGE: usize = 64;

impl World {
    /// A machine starts, if it does not run.
    pub(super) fn boot(&mut self, host: usize) {
        if self.hosts[host].process.is_some() {
            return;
        }
        let setup = match self.setup(host) {
            Ok(setup) => setup,
            Err(fault) => return self.judge(Judge::Halt, Err(fault)),
        };
        let at = self.now_us;
        self.reconnect_subscriber(host);
        self.note_survivors(host);
        self.trace.note(at, host, "boot", &setup.entropy.to_be_bytes(), format_args!("place {}", setup.place));
        match self.hosts[host].boot(at, setup) {
            Ok(step) => {
                self.recall_promises(host);
                self.release(host, step, 1);
                if let Some(process) = &mut self.hosts[host].process {
                    process.due = true;
                    let life = self.hosts[host].life;
                    self.agenda.add(at + STEP_US, Event::Step { host, life });
                    if self.plan.workers {
                        self.agenda.add(at + 2 * STEP_US, Event::Work { host, life });
                    }
                }
            }
            Err(fault) => self.judge(Judge::Halt, Err(fault)),
        }
    }

    fn setup(&mut self, host: usize) -> Result<Setup, String> {
        let chain = self.chain_setup(host)?;
        let wall = self.hosts[host].wall(self.now_us);
        let others = (0..self.hosts.len()).filter(|n| *n != host).take(2);
        let named = |n: usize| (super::links::address(n), n.is_multiple_of(2).then(|| self.hosts[n].id));
        Ok(Setup {
            network: self.network.clone(),
            key: self.hosts[host].key.clone(),
            bootstrap: others.map(named).collect(),
            entropy: self.rng.draw(),
            place: self.hosts[host].place,
            target_peers: self.plan.target_peers,
            scheduler: self.plan.scheduler,
            packing: Default::default(),
            lanes: self.plan.lanes,
            strategy: Default::default(),
            role: Default::default(),
            retention: self.plan.retention.clone(),
            floor_waits: FLOOR_WAITS,
            registration: Some(workload::registration(wall)),
            chain,
        })
    }

    /// The subscriber finds the log as the store has it. After a clean stop that is where it was.
    fn reconnect_subscriber(&mut self, host: usize) {
        let machine = &mut self.hosts[host];
        let end = if machine.clean { u64::MAX } else { Log::load(&machine.store).end() };
        machine.subscriber.reconnect(end);
        machine.compared = machine.compared.min(end);
    }

    /// Bundles that no one was told of before a crash, and that the disk kept: others will be served them.
    fn note_survivors(&mut self, host: usize) {
        let machine = &self.hosts[host];
        if !self.is_honest(machine.id) {
            return;
        }
        let mut wires = Vec::new();
        let start = Key::new(Table::Bundle, &[machine.id.as_bytes()]);
        machine.store.scan(&start, &start.after_prefix(), &mut |key, row| {
            let slot = key.get(1..).and_then(Slot::from_bytes);
            let of_feed = |slot: &Slot| slot.sequence < limits::SEQUENCES;
            if slot.filter(of_feed).is_some_and(|slot| !self.prefixes.knows(slot)) {
                wires.extend(Stored::decode(row).map(|stored| stored.wire));
            }
            ControlFlow::Continue(())
        });
        // In order of their stamps, as they would have left.
        let mut bundles: Vec<Verified> = wires.iter().filter_map(|wire| self.library.verify(wire).ok()).collect();
        bundles.sort_by_key(Verified::first);
        for bundle in bundles {
            self.note_written(&bundle);
        }
    }

    /// What was promised must be there when a node comes back.
    fn recall_promises(&mut self, host: usize) {
        let machine = &self.hosts[host];
        let Some(process) = &machine.process else { return };
        let verdict = machine
            .promised
            .ids()
            .try_for_each(|id| machine.promised.check(id, process.node.feeds(), &self.plan.retention, &machine.store));
        self.judge(Judge::Durable, verdict);
        self.read(host);
    }

    /// A step is due.
    pub(super) fn step(&mut self, host: usize, life: u64) {
        if self.hosts[host].life != life {
            return;
        }
        let Some((step, weight)) = self.hosts[host].step(self.now_us) else { return };
        self.steps += 1;
        self.release(host, step, weight);
    }

    fn release(&mut self, host: usize, step: Step, weight: usize) {
        let outputs = step.outputs.len();
        self.trace.note(
            self.now_us,
            host,
            "step",
            &[(weight as u64).to_be_bytes(), (outputs as u64).to_be_bytes()].concat(),
            format_args!("{weight} in, {outputs} out"),
        );
        let mut released = self.hosts[host].release(step);
        if let Some(down_us) = self.hosts[host].doomed.take() {
            return self.crash(host, down_us);
        }
        if let Some((number, records)) = released.log.take()
            && self.write_records(host, number, records)
        {
            return;
        }
        self.examine(host, weight, outputs);
        self.watch_chain(host);
        self.let_go(host, released);
        self.set_alarm(host, weight + outputs > 0);
    }

    /// Whoever waits for the disk is served.
    pub(super) fn flushed(&mut self, host: usize, life: u64) {
        if self.hosts[host].life != life || self.hosts[host].process.is_none() {
            return;
        }
        if self.hosts[host].full.is_some() {
            return self.fail_disk(host);
        }
        self.trace.note(self.now_us, host, "flushed", &[], format_args!(""));
        let released = self.hosts[host].flushed();
        self.let_go(host, released);
        // The driver's loop takes a step after whatever woke it.
        self.step_soon(host);
    }

    fn let_go(&mut self, host: usize, released: Released) {
        let life = self.hosts[host].life;
        if released.flush {
            let at = self.now_us + self.rng.within(FLUSH_US.0, FLUSH_US.1);
            self.agenda.add(at, Event::Flushed { host, life });
        }
        let mut stopped = false;
        for output in released.outputs {
            stopped |= matches!(output, Output::Halt { .. });
            self.emit(host, output);
        }
        if stopped {
            self.stopped(host);
        }
    }

    pub(super) fn step_soon(&mut self, host: usize) {
        let machine = &mut self.hosts[host];
        let life = machine.life;
        if let Some(process) = &mut machine.process
            && !std::mem::replace(&mut process.due, true)
        {
            self.agenda.add(self.now_us + STEP_US, Event::Step { host, life });
        }
    }

    /// Sees to it that the node is called when it wants to be.
    fn set_alarm(&mut self, host: usize, busy: bool) {
        let (at, life) = (self.now_us, self.hosts[host].life);
        let Some(process) = &mut self.hosts[host].process else { return };
        process.wake += 1;
        let (wake, wants) = (process.wake, process.wake_us());
        let verdict = process.idle.step(busy, wants <= at);
        self.agenda.add(wants.max(at + STEP_US), Event::Wake { host, life, wake });
        self.judge(Judge::Idle, verdict);
    }

    pub(super) fn wake(&mut self, host: usize, life: u64, wake: u64) {
        let machine = &self.hosts[host];
        if machine.life == life && machine.process.as_ref().is_some_and(|p| p.wake == wake && !p.due) {
            self.step(host, life);
        }
    }

    /// Does what a node wants.
    pub(super) fn emit(&mut self, host: usize, output: Output) {
        match output {
            Output::Verdict { ticket, verdict } => self.on_verdict(host, ticket, verdict == Word::Accept),
            Output::Publish { topic, bytes } => {
                self.wrote(host, &bytes);
                self.spread(host, None, Topic::Feeds(topic), bytes);
            }
            Output::Request { to, id, request } => self.ask(host, to, id, request),
            Output::Respond { id, response } => self.respond(host, id, response),
            Output::Dial { address, peer } => self.dial(host, address, peer),
            Output::Ban { peer, until, reason } => {
                self.trace.note(self.now_us, host, "ban", peer.as_bytes(), format_args!("{peer:?}: {reason}"));
                let honest = self.is_honest(peer);
                self.judge(Judge::Ban, ban(peer, honest, until, &reason));
                self.on_ban(host, peer, until);
            }
            Output::Reply { id, answer } => self.on_reply(host, id, answer),
            Output::Chain(output) => self.emit_chain(host, output),
            Output::Event(Told::Log { .. }) => self.read(host),
            Output::Event(Told::Ephemeral(_) | Told::Deliverable(_) | Told::State { .. } | Told::Block { .. }) => {}
            Output::Event(Told::Fork(fork)) => {
                let (feed, at) = (fork.feed(), fork.sequence());
                self.trace.note(self.now_us, host, "fork", &at.to_be_bytes(), format_args!("{feed} at {at}"));
            }
            Output::Halt { fault } => {
                self.trace.note(self.now_us, host, "halt", &[], format_args!("{fault:?}"));
                self.halted(host, fault.as_deref());
            }
        }
    }

    /// An honest author lets a frame out.
    fn wrote(&mut self, host: usize, frame: &bytes::Bytes) {
        let bundles = match self.library.frame(frame) {
            Ok(bundles) => bundles,
            Err(refusal) => return self.judge(Judge::Prefix, Err(format!("node {host} publishes junk: {refusal}"))),
        };
        let name = Library::name(frame);
        self.trace.note(self.now_us, host, "publish", name.as_bytes(), format_args!("{}", Slots(&bundles)));
        if !self.is_honest(self.hosts[host].id) {
            return;
        }
        for bundle in bundles {
            // What survived a crash may have been noted already.
            if bundle.header().course != Course::Feed || !self.was_let_out(&bundle) {
                let machine = &self.hosts[host];
                let showed = machine.shown.max(machine.wall(self.now_us));
                self.judge(Judge::Clock, stamps(bundle.first().stamp(), showed));
                self.note_written(&bundle);
            }
        }
    }

    /// Whether an honest author was seen to let a bundle out.
    pub(super) fn was_let_out(&self, bundle: &Verified) -> bool {
        self.prefixes.holds(bundle.slot(), bundle.id()).is_ok()
    }

    fn note_written(&mut self, bundle: &Verified) {
        self.writings.wrote(bundle);
        let verdict = self.unique.wrote(bundle);
        self.judge(Judge::Unique, verdict);
        if bundle.header().course == Course::Feed {
            let verdict = self.prefixes.wrote(bundle.slot(), bundle.id());
            self.judge(Judge::Prefix, verdict);
            self.remember(bundle.first());
        }
    }

    fn on_reply(&mut self, host: usize, id: u64, answer: Result<Answer, CallRefusal>) {
        if self.on_worker_reply(host, id, &answer) {
            return;
        }
        let verdict = self.accounts.answered(host, self.hosts[host].life, id, &answer);
        self.judge(Judge::Flow, verdict);
        let ids = match &answer {
            Ok(Answer::Published { ids }) => Some(ids.as_slice()),
            Ok(_) | Err(_) => None,
        };
        self.on_probe_reply((host, self.hosts[host].life, id), ids);
        let answer = match answer {
            Ok(Answer::Wrote(wrote)) => return self.on_wrote(host, id, &wrote),
            Ok(Answer::Endorsed(gathered)) => return self.on_gathered(host, id, &gathered),
            Ok(Answer::Floor(counted)) => return self.on_counted(host, id, &counted),
            other => other,
        };
        let machine = &mut self.hosts[host];
        let courses = machine.process.as_mut().and_then(|p| p.durable_calls.remove(&id)).unwrap_or_default();
        let Ok(Answer::Published { ids }) = answer else { return };
        for (id, course) in ids.into_iter().zip(courses) {
            match course {
                Sent::Fleeting => continue,
                Sent::ToOne(reader) => {
                    self.posted.sent(id, host, reader);
                    continue;
                }
                Sent::ToAll => {}
            }
            machine.promised.acknowledge(id, machine.id, &machine.store);
            let Some(process) = &machine.process else { return };
            let verdict = machine.promised.check(id, process.node.feeds(), &self.plan.retention, &machine.store);
            if verdict.is_err() {
                return self.judge(Judge::Durable, verdict);
            }
        }
    }

    /// A client is told that its write is on the disk.
    fn on_wrote(&mut self, host: usize, id: u64, wrote: &Wrote) {
        let machine = &mut self.hosts[host];
        let write = machine.process.as_mut().and_then(|p| p.durable_writes.remove(&id));
        let (Some(write), Some(message)) = (write, wrote.message) else { return };
        let Some(found) = find(message, &machine.store) else {
            return self.judge(Judge::Durable, Err(format!("write {message} was acknowledged and is not there")));
        };
        let author = (machine.id, found.entry.incarnation);
        let made = write.wishes.iter().zip(&wrote.versions);
        let promises = made.filter_map(|(wish, version)| Promise::of(&write.collection, wish, (*version)?, author));
        machine.written.extend(promises);
    }

    /// A client is told what a floor would come to, and sets it.
    fn on_counted(&mut self, host: usize, id: u64, counted: &FloorCount) {
        let Some(process) = self.hosts[host].process.as_mut() else { return };
        let Some(collection) = process.floor_counts.remove(&id) else { return };
        let id = process.number();
        let FloorCount { floor, tombstones } = counted;
        let said = format_args!("{:?} of {collection}, {} stay, {tombstones} go", floor.version, floor.count);
        self.trace.note(self.now_us, host, "floor", &floor.version.to_bytes(), said);
        let wishes = vec![Wish { path: FLOOR.into(), wished: Wished::Put(floor.json()), condition: Condition::None }];
        let write = Write { collection, client: None, wishes, restores: None, ack: Ack::Durable };
        self.tell(host, Input::Call { id, call: Call::Write(Box::new(write)) });
    }

    /// Whether retention takes what the state was written by.
    fn lets_go_of_state(&self) -> bool {
        self.plan.retention.contains_key(&Category::Data)
    }

    /// Whether the state itself is still being repaired: what the feeds cannot bring any more takes a little longer.
    pub(super) fn awaits_state(&self) -> bool {
        let running = || self.hosts.iter().filter_map(|host| host.process.as_ref());
        let roots: BTreeSet<Hash> = running().map(|process| process.node.replica().root()).collect();
        let settled = running().all(|process| process.node.is_settled() && process.node.replica().is_at_rest());
        // To what a forger makes up nobody comes.
        let pending = |process: &Process| process.node.replica().pending_floors().next().is_some();
        let settled = settled && (self.plan.has_forger() || !running().any(pending));
        let floors = |process: &Process| process.node.replica().floors();
        let floors: BTreeSet<BTreeMap<String, Floor>> = running().map(floors).collect();
        let is_apart = roots.len() > 1 || floors.len() > 1 || !settled;
        (self.lets_go_of_state() || self.plan.floors) && !self.is_last_look() && is_apart
    }

    /// Whether all that run have the same state, and what was written is in it or in the conflict logs.
    pub(super) fn alike_states(&mut self) {
        let lets_go = self.lets_go_of_state();
        let running = || self.hosts.iter().enumerate().filter_map(|(n, h)| Some((n, h, h.process.as_ref()?)));
        let mut verdict = running().try_for_each(|(_, machine, process)| {
            counts(process.node.replica(), &machine.store)?;
            proofs(process.node.replica(), &machine.store)
        });
        let roots: BTreeSet<Hash> = running().map(|(_, _, process)| process.node.replica().root()).collect();
        if verdict.is_ok() && roots.len() > 1 {
            let of = |(n, machine, _): (usize, &Host, &Process)| format!("node {n} {:?}", collections(&machine.store));
            verdict = Err(running().map(of).collect::<Vec<_>>().join("; "));
        }
        let floors = |machine: &Host| -> BTreeMap<String, Floors> {
            collections(&machine.store).into_iter().map(|info| (info.name, info.floors)).collect()
        };
        let mut all: Vec<BTreeMap<String, Floors>> = running().map(|(_, machine, _)| floors(machine)).collect();
        let pending = all.iter().flat_map(BTreeMap::values).any(|floors| floors.pending.is_some());
        all.dedup();
        if verdict.is_ok() && (all.len() > 1 || pending && !self.plan.has_forger()) {
            verdict = Err(format!("nodes have come to different floors: {all:?}"));
        }
        let mut promises = running().flat_map(|(_, author, _)| &author.written);
        let survival = promises.try_for_each(|promise| {
            let at = |(n, machine, _): (usize, &Host, &Process)| {
                self.writings.check(promise, &machine.store).map_err(|e| format!("{e}, at node {n}"))
            };
            // What lost is in the conflict logs of those that saw it. Once its bundle is gone, no others can.
            let somewhere = lets_go && running().any(|one| at(one).is_ok());
            if somewhere { Ok(()) } else { running().try_for_each(at) }
        });
        self.judge(Judge::State, verdict);
        self.judge(Judge::Survival, survival);
    }

    /// The subscriber reads on.
    fn read(&mut self, host: usize) {
        let wall = self.hosts[host].wall(self.now_us);
        let honest: Vec<NodeId> = self.hosts.iter().map(|h| h.id).filter(|id| self.is_honest(*id)).collect();
        let machine = &mut self.hosts[host];
        let mut verdict = Ok(());
        while verdict.is_ok() {
            let read = page(machine.subscriber.cursor(), Room::of(PAGE), &Filter::default(), wall, &machine.store);
            verdict = read.entries.iter().try_for_each(|entry| {
                let id: Option<MessageId> = entry.message().map(|m| m.id);
                if let Some(id) = id.filter(|_| self.plan.flood > 1) {
                    self.urgent.urgency.arrived(id, host, self.now_us);
                }
                if let Some(id) = id {
                    self.posted.read(id, host);
                }
                machine.subscriber.deliver(entry.position, id.filter(|_| honest.contains(&entry.author)))
            });
            machine.subscriber.read_to(read.next);
            if read.entries.is_empty() {
                break;
            }
        }
        self.judge(Judge::Once, verdict);
    }

    /// What the judges look at after every step.
    fn examine(&mut self, host: usize, weight: usize, outputs: usize) {
        let Some(process) = &self.hosts[host].process else { return };
        let feeds = process.node.feeds();
        // A request may have waited for the disk: its node gives it up so much earlier.
        let until_us = self.now_us + FLUSH_US.1;
        let flights = process.asked.values().filter(|asked| asked.range && asked.late_us > until_us).count();
        let peers = process.up.len();
        let held = feeds.held_count();
        let load = Load { inputs: weight, outputs, held, feeds: feeds.chains().count(), flights, peers };
        let placed = self.compare_log(host);
        let chains = self.compare_chains(host);
        let promised = self.sample_promises(host);
        self.judge(Judge::Bounds, bounds(&load));
        self.judge(Judge::Prefix, placed);
        self.judge(Judge::Prefix, chains);
        self.judge(Judge::Durable, promised);
    }

    /// What came into the log since the last look.
    fn compare_log(&mut self, host: usize) -> Verdict {
        let machine = &self.hosts[host];
        let mut verdict = Ok(());
        let mut end = machine.compared;
        bundles_from(end, &machine.store, &mut |slot, stored| {
            let Ok(bundle) = Bundle::decode(stored.wire) else {
                verdict = Err(format!("what is kept of {slot:?} is no bundle"));
                return ControlFlow::Break(());
            };
            end = stored.position + u64::from(bundle.header().count);
            let of_feed = bundle.header().course == Course::Feed;
            if of_feed && slot.feed.author != machine.id && self.is_honest(slot.feed.author) {
                verdict = self.prefixes.holds(slot, bundle.header().id());
            }
            if verdict.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        self.hosts[host].compared = end;
        verdict
    }

    fn compare_chains(&self, host: usize) -> Verdict {
        let machine = &self.hosts[host];
        let Some(process) = &machine.process else { return Ok(()) };
        let mut honest = process.node.feeds().chains().filter(|(feed, _)| self.is_honest(feed.author));
        honest.try_for_each(|(feed, chain)| self.prefixes.chain(*feed, chain, feed.author == machine.id))
    }

    /// One promise at a time is looked after; all of them when a node comes back and at the end.
    fn sample_promises(&mut self, host: usize) -> Verdict {
        let count = self.hosts[host].promised.count();
        let index = self.rng.below(count);
        let machine = &self.hosts[host];
        match (machine.promised.nth(index), &machine.process) {
            (Some(id), Some(process)) => {
                machine.promised.check(id, process.node.feeds(), &self.plan.retention, &machine.store)
            }
            _ => Ok(()),
        }
    }

    /// Whether all honest nodes hold the same, and everything that was promised.
    pub(super) fn alike(&self) -> Verdict {
        let (mut all, rules) = (Vec::new(), &self.plan.retention);
        let running = || self.hosts.iter().enumerate().filter_map(|(n, h)| Some((n, h, h.process.as_ref()?)));
        if running().any(|(_, _, process)| !process.node.is_settled()) {
            return Err("not all writes to the state are merged".into());
        }
        for (n, machine, process) in running() {
            if machine.subscriber.cursor() != process.node.log_end() {
                return Err(format!("the subscriber of node {n} was not told of the log's end"));
            }
            all.push((n, process.node.feeds().heads_root()));
        }
        let roots: BTreeSet<Hash> = all.iter().map(|(_, root)| *root).collect();
        if roots.len() > 1 && !self.is_last_look() {
            return Err("the roots differ".into());
        }
        let holdings: Vec<Holdings> =
            running().map(|(n, machine, process)| Holdings::of(n, process.node.feeds(), &machine.store)).collect();
        convergence(&holdings, rules, &self.villain_ids())?;
        let store = |host: usize| self.hosts.get(host).map(|host| &host.store as &dyn View);
        self.posted.arrived(store, !rules.is_empty())?;
        for (_, author, _) in running() {
            for (n, machine, process) in running() {
                // What its own author has let go by rule is not asked of others.
                let mut promised = author.promised.ids().filter(|id| find(*id, &author.store).is_some());
                let check = |id| author.promised.check(id, process.node.feeds(), rules, &machine.store);
                promised.try_for_each(check).map_err(|e| format!("{e}, at node {n}"))?;
            }
        }
        Ok(())
    }

    /// A subscriber, a client and a peer of this host hear nothing more.
    fn stopped(&mut self, host: usize) {
        let loses_power = self.rng.chance(250);
        let down_us = self.hosts[host].down_us;
        if loses_power {
            return self.crash(host, down_us);
        }
        let owner = self.owner(host);
        let machine = &mut self.hosts[host];
        owner.into_iter().for_each(|owner| machine.disk.stop(owner));
        machine.store.flush();
        machine.durable = 0;
        machine.process = None;
        machine.clean = true;
        self.drop_links(host);
        self.agenda.add(self.now_us + down_us, Event::Boot { host });
    }

    /// A machine loses power and comes back.
    pub(super) fn crash(&mut self, host: usize, down_us: u64) {
        self.crash_with(host, down_us, None);
    }

    /// The same; `torn` says what becomes of the records that were being written, if it is not left to chance.
    pub(super) fn crash_with(&mut self, host: usize, down_us: u64, torn: Option<bool>) {
        if let (Some(owner), Some(chain)) = (self.owner(host), &mut self.chain) {
            chain.ledgers.forget(host);
            self.hosts[host].disk.crash(owner, torn, &mut self.rng);
        }
        let kept = self.rng.below(self.hosts[host].at_risk() + 1);
        self.trace.note(
            self.now_us,
            host,
            "crash",
            &(kept as u64).to_be_bytes(),
            format_args!("keeps {kept} of {} batches that were not flushed", self.hosts[host].at_risk()),
        );
        self.hosts[host].crash(kept);
        self.drop_links(host);
        self.agenda.add(self.now_us + down_us, Event::Boot { host });
    }

    /// Tells a host to stop cleanly.
    pub(super) fn stop(&mut self, host: usize, down_us: u64) {
        self.hosts[host].down_us = down_us;
        let Some(process) = &mut self.hosts[host].process else { return };
        let id = process.number();
        self.tell(host, Input::Call { id, call: crate::node::Call::Stop });
    }
}
