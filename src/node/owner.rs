//! The node itself, and the one way through it.

use std::collections::BTreeMap;

use super::boot::{Life, Setup};
use super::call::{Answer, Call, CallRefusal};
use super::chain::Chain;
use super::deferred::Deferred;
use super::deliveries::fetch_letter;
use super::endorse::Endorsing;
use super::floors::FloorDesk;
use super::heartbeat::Beats;
use super::holders::Holders;
use super::input::Input;
use super::output::{Event, Output, Stage, Step, Verdict};
use super::peers::Peers;
use super::post::Post;
use super::publish::{Frame, Queued, Waiting};
use super::registry::Registry;
use super::state::States;
use super::state_io::StateInput;
use super::status::Counters;
use super::sync::Listing;
use super::talks::Healing;
use crate::consensus::Record;
use crate::deliver::Deliveries;
use crate::feed::{Directs, Feeds, Log, NotPlaced, Placed, Repair, Stored};
use crate::flow::{Idempotency, Lanes, Pass, Spill, Window};
use crate::meter::{Laps, Passage, Station};
use crate::route::Routes;
use crate::types::chain::Height;
use crate::types::storage::{Txn, View};
use crate::types::{Clock, ClockRefusal, Hash, Mono, NetworkId, NodeId, Now, limits};
use crate::wire::{Category, Course, Packing, Refusal, Slot, Verified};

/// All protocol state of a node. See the module's page for the way through.
pub struct Node {
    pub(super) setup: Setup,
    pub(super) id: NodeId,
    pub(super) network: NetworkId,
    pub(super) life: Life,
    /// In every id of this life.
    pub(super) id_suffix: u64,
    pub(super) clock: Clock,
    pub(super) feeds: Feeds,
    pub(super) repair: Repair,
    pub(super) listings: BTreeMap<u64, Listing>,
    pub(super) log: Log,
    pub(super) lanes: Lanes,
    pub(super) window: Window,
    /// What of the lanes may pass until the window is looked at again.
    pub(super) pass: Pass,
    pub(super) spill: Spill,
    pub(super) queued: Queued,
    /// The last step sealed only what was urgent.
    pub(super) hurried: bool,
    /// When a client last said something Critical.
    pub(super) critical_said: Option<Mono>,
    pub(super) waiting: BTreeMap<u64, Waiting>,
    pub(super) frame: Frame,
    pub(super) idempotency: Idempotency,
    pub(super) peers: Peers,
    pub(super) beats: Beats,
    pub(super) registry: Registry,
    pub(super) deliveries: Deliveries,
    pub(super) directs: Directs,
    pub(super) routes: Routes,
    pub(super) post: Post,
    pub(super) schemas: crate::schema::Rows,
    pub(super) states: States,
    pub(super) healing: Healing,
    pub(super) floors: FloorDesk,
    pub(super) deferred: Deferred,
    pub(super) holders: Holders,
    pub(super) endorsing: Endorsing,
    pub(super) chain: Option<Chain>,
    pub(super) counters: Counters,
    pub(super) started: Mono,
    pub(super) retention_due: Mono,
    pub(super) stopping: bool,
    /// What connected peers ask for.
    packs: BTreeMap<NodeId, Packing>,
    pub(super) laps: Laps,
    /// What is at hand has just been said, and is not history that was asked for.
    pub(super) live: bool,
}

/// One turn of the node: the step's reads and writes, and where its wants go.
pub(super) struct Turn<'a> {
    pub tx: Txn<'a>,
    pub out: &'a mut Vec<(Stage, Output)>,
    pub barrier: &'a mut bool,
    pub log: &'a mut Vec<(Height, Record)>,
    pub passed: &'a mut Vec<Passage>,
    pub now: Now,
}

impl<'a> Turn<'a> {
    fn new(view: &'a dyn View, step: &'a mut Step, now: Now) -> Turn<'a> {
        let Step { batch, outputs, barrier, log, passed } = step;
        Turn { tx: Txn::new(view, batch), out: outputs, barrier, log, passed, now }
    }

    /// Wants something once the step is committed.
    pub fn want(&mut self, output: Output) {
        self.out.push((Stage::Committed, output));
    }
}

impl Node {
    /// The node as the store has it. The first step, which the caller commits, begins the life.
    pub fn open(setup: Setup, view: &dyn View, now: Now) -> Result<(Node, Step), String> {
        let life = Life::begin(Life::load(view), &setup, now);
        let spill = Spill::load(view);
        let id = NodeId(setup.key.verifying_key().to_bytes());
        let mut node = Node {
            id,
            network: setup.network.id(),
            life,
            id_suffix: life.id_suffix(id),
            clock: Clock::resume(life.ceiling),
            feeds: Feeds::load(view)?.of(id),
            repair: Repair::default(),
            listings: BTreeMap::new(),
            log: Log::load(view),
            lanes: Lanes::within(setup.scheduler, setup.lanes),
            window: Window::new(setup.lanes.window_bytes),
            pass: Pass::All,
            queued: Queued::load(&spill, view),
            spill,
            hurried: false,
            critical_said: None,
            waiting: BTreeMap::new(),
            frame: Frame::default(),
            idempotency: Idempotency::load(view),
            peers: Peers::load(&setup, id, view, now),
            beats: Beats::new(setup.entropy, now.mono),
            registry: Registry::load(view),
            deliveries: Deliveries::load(fetch_letter, view)?,
            directs: Directs::load(view),
            routes: Routes::new(id),
            post: Post::default(),
            schemas: crate::schema::Rows::load(view),
            states: States::load(view)?,
            healing: Healing::new(setup.entropy),
            floors: FloorDesk::default(),
            deferred: Deferred::default(),
            holders: Holders::default(),
            endorsing: Endorsing::default(),
            chain: None,
            counters: Counters::default(),
            started: now.mono,
            retention_due: now.mono,
            stopping: false,
            packs: BTreeMap::new(),
            laps: Laps::default(),
            live: false,
            setup,
        };
        let mut step = Step::default();
        let mut turn = Turn::new(view, &mut step, now);
        node.reserve_stamps(&mut turn);
        node.life.save(&mut turn.tx);
        *turn.barrier = true;
        node.resume_post(view);
        if let Some(draft) = node.setup.registration.clone() {
            node.say(draft, &turn);
        }
        node.seal_waiting(&mut turn);
        if let Some(chain) = node.setup.chain.take() {
            node.chain = Some(Chain::open(chain, node.id, &node.setup.key, node.setup.entropy, &mut turn)?);
        }
        Ok((node, step))
    }

    /// Measures by this stopwatch from now on.
    pub fn measure(&mut self, laps: Laps) {
        self.laps = laps;
    }

    /// Who this node is.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The position the next message will have in its log.
    pub fn log_end(&self) -> u64 {
        self.log.end()
    }

    /// How far what it says is packed: as its operator and all its peers want.
    pub(super) fn packing(&self) -> Packing {
        self.packs.values().copied().fold(self.setup.packing, Packing::min)
    }

    /// Its feeds, for reading.
    pub fn feeds(&self) -> &Feeds {
        &self.feeds
    }

    /// Whether it takes, keeps and passes on what is said on a topic.
    pub(super) fn follows(&self, topic: Category) -> bool {
        self.setup.role.follows.contains(&topic)
    }

    /// The root over the heads of each topic it follows.
    pub(super) fn topic_roots(&self) -> impl Iterator<Item = (Category, Hash)> {
        self.setup.role.follows.iter().map(|topic| (*topic, self.feeds.topic_root(*topic)))
    }

    /// Takes one input into a step.
    pub fn handle(&mut self, input: Input, view: &dyn View, now: Now, step: &mut Step) {
        let turn = &mut Turn::new(view, step, now);
        match input {
            Input::Bundle { from, ticket, bundles } => self.on_gossip(from, ticket, bundles, turn),
            Input::Refused { from, refusal } => self.on_refused(from, &refusal, turn),
            Input::PeerUp { peer, dialled } => self.on_peer_up(peer, dialled, turn),
            Input::Packs { peer, packing } => drop(self.packs.insert(peer, packing)),
            Input::PeerDown { peer } => {
                self.packs.remove(&peer);
                self.on_peer_down(peer, turn);
            }
            Input::Addresses { peer, addresses } => self.peers.on_addresses(peer, addresses, turn),
            Input::DialFailed { peer, address } => self.peers.on_dial_failed(peer, address.as_deref(), turn.now.mono),
            Input::Request { from, id, request } => self.on_request(from, id, request, turn),
            Input::Heads { from, id, .. }
            | Input::Range { from, id, .. }
            | Input::Fork { from, id, .. }
            | Input::Receipt { from, id, .. }
            | Input::State(
                StateInput::Collections { from, id, .. }
                | StateInput::Compared { from, id, .. }
                | StateInput::Taken { from, id }
                | StateInput::Rolled { from, id, .. }
                | StateInput::Endorsed { from, id, .. },
            ) if Chain::is_about(id) => {
                self.on_misanswered(from, id, turn);
            }
            Input::Heads { from, id, heads, more } => self.on_heads(from, id, &heads, more, turn),
            Input::Range { from, id, floor, bundles } => self.on_range(from, id, floor, bundles, turn),
            Input::Fork { from, id, fork } => self.on_fork_proof(from, id, *fork, turn),
            Input::Deliver { from, id, hops, bundle } => self.on_deliver_request(from, id, hops, &bundle, turn),
            Input::Receipt { from, id, receipt } => self.on_receipt(from, id, receipt, turn),
            Input::RoundTrip { peer, time } => self.routes.on_round_trip(peer, time),
            Input::Failed { from, id } => self.on_failed(from, id, turn),
            Input::Chain(input) => self.on_chain(input, turn),
            Input::State(input) => self.on_state(input, turn),
            Input::Call { id, call } => self.on_call(id, call, turn),
            Input::Tick => {}
        }
    }

    /// Ends a step: what is due is done, what waits to be said is sealed, what is missing is asked for.
    pub fn finish(&mut self, view: &dyn View, now: Now, step: &mut Step) {
        let turn = &mut Turn::new(view, step, now);
        let end = self.log.end();
        self.reserve_stamps(turn);
        self.beat(turn);
        self.report_links(turn);
        self.write_waiting(turn);
        self.seal_waiting(turn);
        self.ask_ends(turn);
        self.settle_state(turn);
        self.heal(turn);
        self.settle_endorsements(turn);
        self.retain(turn);
        self.ask(turn);
        self.tick_post(turn);
        self.deliver(turn);
        self.tick_chain(turn);
        self.peers.dial(turn);
        let grown = turn.out.iter().any(|(_, output)| matches!(output, Output::Event(Event::Log { .. })));
        debug_assert!(self.log.end() == end || grown, "whoever grows the log says so");
    }

    /// When the node wants to be called even if nothing happens.
    pub fn next_wake(&self) -> Mono {
        let spilled = !self.spill.is_empty() && self.lanes.wants_spilled();
        if self.lanes.waits(self.pass) || spilled || self.states.is_due() {
            return Mono::default();
        }
        let window = (self.pass < Pass::All && self.lanes.waiting() > 0).then(|| self.window.next_wake()).flatten();
        let beat = (!self.stopping).then(|| self.beats.due());
        let deliver = self.deliveries.next_wake();
        let post = (!self.stopping).then(|| self.post_wake());
        let chain = self.chain.as_ref().map(Chain::next_wake);
        let (repair, peers) = (self.repair.next_wake(), self.peers.next_wake());
        let heal = self.healing.next_wake();
        let endorse = self.endorsing.next_wake();
        let timers = [beat, post, Some(self.retention_due), repair, peers, deliver, chain, heal, endorse, window];
        timers.into_iter().flatten().min().unwrap_or_default()
    }

    fn on_call(&mut self, id: u64, call: Call, turn: &mut Turn<'_>) {
        let answer = match call {
            Call::Publish { drafts, ack } => return self.on_publish(id, drafts, ack, turn),
            Call::Queues => Ok(Answer::Queues(self.queues(turn))),
            Call::Schedule(policy) => {
                self.lanes.schedule(policy);
                Ok(Answer::Queues(self.queues(turn)))
            }
            Call::Submit(sealed) => return self.on_submit(id, *sealed, turn),
            Call::Agreement => Ok(Answer::Agreement(self.chain.as_ref().map(|chain| Box::new(chain.status())))),
            Call::Status => Ok(Answer::Status(Box::new(self.status(turn)))),
            Call::Peers => Ok(Answer::Peers(self.peers.list(turn.now))),
            Call::Explain { to, strategy } => Ok(Answer::Explained(Box::new(self.explain(&to, strategy, turn)))),
            Call::Links => Ok(Answer::Links(self.linked())),
            Call::Outbox => Ok(Answer::Outbox(self.outbox(turn))),
            Call::Holders { incarnation, sequence } => Ok(Answer::Holders(self.holders(incarnation, sequence))),
            Call::Dial { address, peer } => {
                turn.want(Output::Dial { address, peer });
                Ok(Answer::Done)
            }
            Call::Ban { peer, seconds, reason } => {
                self.peers.ban(peer, std::time::Duration::from_secs(seconds), &reason, turn);
                Ok(Answer::Done)
            }
            Call::Unban { peer } => {
                let known = self.peers.unban(peer, turn);
                if known { Ok(Answer::Done) } else { Err(CallRefusal::UnknownPeer(peer)) }
            }
            call @ (Call::PutSubscription { .. }
            | Call::DropSubscription { .. }
            | Call::Subscriptions { .. }
            | Call::Lease { .. }
            | Call::Settle { .. }
            | Call::PauseSubscription { .. }
            | Call::Sweep { .. }) => return self.on_deliver(id, call, turn),
            Call::Write(write) => return self.on_write(id, *write, turn),
            Call::Restore(restore) => return self.on_restore(id, *restore, turn),
            Call::CountFloor(count) => return self.on_count_floor(id, count, turn),
            Call::Join(writes) => return self.on_join(id, &writes, turn),
            Call::Extent { collection, from, to } => Ok(Answer::Extent(self.extent_of(&collection, from, to))),
            Call::Endorse(wanted) => return self.on_endorse(id, *wanted, turn),
            Call::Stop => return self.on_stop(id, turn),
        };
        turn.out.push((Stage::Now, Output::Reply { id, answer }));
    }

    fn on_stop(&mut self, id: u64, turn: &mut Turn<'_>) {
        self.stopping = true;
        self.write_waiting(turn);
        self.seal_waiting(turn);
        self.give_up_spilled(turn);
        // No stamp is used any more: the next life may go on from here, not from what was put by for this one.
        self.life.ceiling = self.clock.tick(turn.now.wall);
        self.life.clean = true;
        self.life.save(&mut turn.tx);
        *turn.barrier = true;
        turn.out.push((Stage::Flushed, Output::Reply { id, answer: Ok(Answer::Done) }));
        turn.out.push((Stage::Flushed, Output::Halt { fault: None }));
    }

    /// Persists the clock's ceiling before stamps below it are used.
    pub(super) fn reserve_stamps(&mut self, turn: &mut Turn<'_>) {
        if !self.stopping
            && let Some(ceiling) = self.clock.ceiling(turn.now.wall)
        {
            self.life.ceiling = ceiling;
            self.life.save(&mut turn.tx);
            *turn.barrier = true;
        }
    }

    /// A frame is worth forwarding when anything in it is news.
    fn on_gossip(&mut self, from: NodeId, ticket: u64, bundles: Vec<Verified>, turn: &mut Turn<'_>) {
        self.counters.gossip_bundles += bundles.len() as u64;
        let mut verdict = Verdict::Ignore;
        self.live = true;
        for bundle in bundles {
            if self.admit(Some(from), bundle, false, turn).is_ok() {
                verdict = Verdict::Accept;
            }
        }
        self.live = false;
        turn.want(Output::Verdict { ticket, verdict });
    }

    /// The way of every bundle, its own author's included: time, place in the feed, the log, the router.
    pub(super) fn admit(
        &mut self,
        from: Option<NodeId>,
        bundle: Verified,
        may_start: bool,
        turn: &mut Turn<'_>,
    ) -> Result<(), Option<NotPlaced>> {
        if from.is_some() {
            self.laps.begin();
        }
        if from.is_some()
            && let Err(why) = self.clock.see(bundle.header().clock, turn.now.wall)
        {
            // The author's clock is wrong, or this node's; whoever carries the bundle is not to blame for either.
            let code = match why {
                ClockRefusal::FarFuture { ahead } => Refusal::FarFuture { ahead }.code(),
                ClockRefusal::DayAhead { ahead } => Refusal::DayAhead { ahead }.code(),
            };
            *self.counters.refused.entry(code).or_default() += 1;
            self.defer(&bundle, why, turn);
            self.note_unplaced(&bundle, code, turn);
            return Err(None);
        }
        match bundle.header().course {
            Course::Feed if from.is_some() && !self.follows(bundle.header().feed.topic) => {
                self.counters.not_placed(NotPlaced::NotFollowed);
                self.note_unplaced(&bundle, NotPlaced::NotFollowed.code(), turn);
                Err(Some(NotPlaced::NotFollowed))
            }
            Course::Feed => self.admit_to_feed(from, bundle, may_start, turn),
            Course::Ephemeral => self.on_ephemeral(from, bundle, turn),
            Course::Direct => {
                self.counters.not_placed(NotPlaced::Misdirected);
                self.note_unplaced(&bundle, NotPlaced::Misdirected.code(), turn);
                Err(Some(NotPlaced::Misdirected))
            }
        }
    }

    fn admit_to_feed(
        &mut self,
        from: Option<NodeId>,
        bundle: Verified,
        may_start: bool,
        turn: &mut Turn<'_>,
    ) -> Result<(), Option<NotPlaced>> {
        let (feed, sequence) = (bundle.header().feed, bundle.header().sequence);
        let passage = from.map(|_| Passage::bundle(Station::Transform, &bundle, false, 0));
        let placed = self.feeds.offer(bundle, may_start, &mut turn.tx);
        if let Some(passage) = passage {
            let passage = Passage { took_us: self.laps.lap(), ..passage };
            turn.passed.push(match &placed {
                Placed::Not(reason) => passage.refused(reason.code()),
                Placed::Appended(_) | Placed::Prepended(_) | Placed::Held | Placed::Forked { .. } => passage,
            });
        }
        match placed {
            Placed::Appended(bundle) => {
                self.keep(bundle, turn);
                while let Some(held) = self.feeds.release(feed) {
                    match self.feeds.offer(held, false, &mut turn.tx) {
                        Placed::Appended(bundle) => self.keep(bundle, turn),
                        Placed::Forked { fork, first } => self.on_fork(*fork, first, turn),
                        Placed::Prepended(_) | Placed::Held | Placed::Not(_) => break,
                    }
                }
                Ok(())
            }
            Placed::Prepended(bundle) => {
                self.keep(bundle, turn);
                Ok(())
            }
            Placed::Held => {
                if let Some(from) = from {
                    self.repair.claim(from, feed, 0, sequence, &self.feeds, turn.now.mono);
                }
                Ok(())
            }
            Placed::Forked { fork, first } => {
                self.on_fork(*fork, first, turn);
                Ok(())
            }
            Placed::Not(reason) => {
                self.counters.not_placed(reason);
                if let (Some(from), NotPlaced::NoRoom) = (from, reason) {
                    self.repair.claim(from, feed, 0, sequence, &self.feeds, turn.now.mono);
                }
                Err(Some(reason))
            }
        }
    }

    /// Keeps a bundle that has its place: log, feed, router.
    fn keep(&mut self, bundle: Verified, turn: &mut Turn<'_>) {
        let (_, bytes) = self.log.append(&bundle, None, turn.now.wall, &mut turn.tx);
        self.feeds.stored(bundle.header().feed, bytes, &mut turn.tx);
        self.counters.kept(&bundle);
        self.route(&bundle, turn);
        self.tell_growth(turn);
        self.note_routed(&bundle, turn);
    }

    /// A bundle of another author did not find a place.
    pub(super) fn note_unplaced(&mut self, bundle: &Verified, reason: &'static str, turn: &mut Turn<'_>) {
        turn.passed.push(Passage::bundle(Station::Transform, bundle, false, self.laps.lap()).refused(reason));
    }

    /// A bundle has its position, and whoever it concerns in here knows of it.
    pub(super) fn note_routed(&mut self, bundle: &Verified, turn: &mut Turn<'_>) {
        let own = bundle.header().feed.author == self.id;
        let mut passage = Passage::bundle(Station::Route, bundle, own, self.laps.lap());
        if !own && self.live {
            let age_ms = turn.now.wall.0.saturating_sub(bundle.header().clock.ms());
            passage.age_us = Some(1000 * age_ms);
        }
        turn.passed.push(passage);
    }

    /// The log has grown.
    pub(super) fn tell_growth(&self, turn: &mut Turn<'_>) {
        // One event a step is enough: the end it names grows in place.
        let end = self.log.end();
        let event = turn.out.iter_mut().find_map(|(_, output)| match output {
            Output::Event(Event::Log { end }) => Some(end),
            _ => None,
        });
        match event {
            Some(earlier) => *earlier = end,
            None => turn.want(Output::Event(Event::Log { end })),
        }
    }

    fn retain(&mut self, turn: &mut Turn<'_>) {
        if turn.now.mono < self.retention_due {
            return;
        }
        const BUDGET: usize = 256;
        let (rules, wall) = (&self.setup.retention, turn.now.wall);
        let last = &mut super::excerpts::on_last;
        let (gone, mut more) = crate::feed::trim_after(&mut self.feeds, rules, wall, BUDGET, &mut turn.tx, last);
        self.counters.retired_bundles += gone as u64;
        more |= self.tidy_excerpts(turn);
        let stays = |slot: Slot, stored: &Stored| slot.feed.author == self.id && self.post.waits(stored);
        let (rules, left) = (&self.setup.retention, BUDGET.saturating_sub(gone));
        let went = self.directs.trim(rules, turn.now.wall, left, &stays, &mut turn.tx);
        self.counters.retired_bundles += went as u64;
        self.deliveries.forget_idle(&mut turn.tx);
        self.feeds.age_held();
        self.feeds.forget_empty(&mut turn.tx);
        if gone + went > 0 {
            self.log.save(&mut turn.tx);
        }
        self.idempotency.forget(turn.now.wall, &mut turn.tx);
        more |= gone + went >= BUDGET;
        self.retention_due = turn.now.mono + if more { std::time::Duration::ZERO } else { limits::RETENTION_EVERY };
    }
}
