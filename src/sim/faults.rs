//! What goes wrong, when it does.

use super::event::Event;
use super::judge::Subscriber;
use super::scenario::Fault;
use super::world::World;
use crate::feed::Stored;
use crate::types::MemoryStore;
use crate::types::storage::{Key, Table, View};
use crate::wire::Verified;

/// Rows looked at for an old bundle.
const ROWS: usize = 200;

impl World {
    /// One thing goes wrong.
    pub(super) fn on_fault(&mut self, fault: Fault) {
        if self.healed_us.is_some() {
            return;
        }
        self.trace.note(self.now_us, 0, "fault", format!("{fault:?}").as_bytes(), format_args!("{fault:?}"));
        match fault {
            Fault::Cut { side } => self.cut(side),
            Fault::Mute { from, to } => self.chain.iter_mut().for_each(|chain| chain.mute = Some((from, to))),
            Fault::Mend => {
                self.cut = None;
                self.chain.iter_mut().for_each(|chain| chain.mute = None);
            }
            Fault::Fill { host, down_us } => self.hosts[host].full = Some(down_us),
            Fault::Crash { host, down_us, torn } => self.lose_power(host, down_us, torn),
            Fault::Forget { host, down_us, whole } => self.lose_memory(host, down_us, whole),
            Fault::Stop { host, down_us } => self.stop(host, down_us),
            Fault::Jump { host, by_ms } => self.hosts[host].jump(self.now_us, by_ms),
            Fault::Backup { host } => self.back_up(host),
            Fault::Restore { host, down_us } => self.restore(host, down_us),
            Fault::Replay => self.replay(),
        }
    }

    fn lose_power(&mut self, host: usize, down_us: u64, torn: bool) {
        if self.hosts[host].process.is_none() {
            return;
        }
        if torn {
            self.hosts[host].doomed = Some(down_us);
        } else {
            self.crash(host, down_us);
        }
    }

    /// The copy of a running machine's disk is some moment of it.
    fn back_up(&mut self, host: usize) {
        let kept = self.rng.below(self.hosts[host].at_risk() + 1);
        let machine = &mut self.hosts[host];
        let mut copy = machine.store.clone();
        copy.crash(machine.durable + kept);
        machine.backup = Some(copy);
    }

    fn restore(&mut self, host: usize, down_us: u64) {
        if let Some(copy) = self.hosts[host].backup.take() {
            self.replace_store(host, copy, down_us);
        }
    }

    /// What was kept is there, but for the log of its votes; or nothing is.
    fn lose_memory(&mut self, host: usize, down_us: u64, whole: bool) {
        if self.hosts[host].process.is_none() {
            return;
        }
        let machine = &mut self.hosts[host];
        machine.disk.lose();
        let (id, mut store) = (machine.id, MemoryStore::default());
        if !whole {
            machine.store.flush();
            machine.durable = 0;
            store = machine.store.clone();
        }
        self.chain.iter_mut().for_each(|chain| chain.ledgers.forget(host));
        if whole {
            self.chain.iter_mut().for_each(|chain| chain.ledgers.may_repeat(id));
        }
        self.replace_store(host, store, down_us);
    }

    /// A host loses its disk and comes back with another, somewhere else.
    fn replace_store(&mut self, host: usize, copy: MemoryStore, down_us: u64) {
        self.hosts[host].crash(0);
        let id = self.hosts[host].id;
        self.unique.forget_stamps(id);
        let machine = &mut self.hosts[host];
        machine.store = copy;
        machine.place += 1;
        machine.promised.forgive(&machine.store);
        machine.written.retain(|promise| promise.is_known(&machine.store));
        self.posted.forgive(host);
        let machine = &mut self.hosts[host];
        // The copy may be from before a crash: what it has in a place is not what was delivered from there since.
        machine.subscriber = Subscriber::default();
        self.drop_links(host);
        self.agenda.add(self.now_us + down_us, Event::Boot { host });
    }

    /// An old bundle reaches a node again, past whatever remembers having seen it.
    fn replay(&mut self) {
        let (from, to) = (self.rng.below(self.hosts.len()), self.rng.below(self.hosts.len()));
        let mut wires = Vec::new();
        let start = Key::new(Table::Bundle, &[]);
        self.hosts[from].store.scan(&start, &start.after_prefix(), &mut |_, row| {
            wires.extend(Stored::decode(row).map(|stored| stored.wire));
            if wires.len() < ROWS { std::ops::ControlFlow::Continue(()) } else { std::ops::ControlFlow::Break(()) }
        });
        let index = self.rng.below(wires.len());
        let known = wires.get(index).cloned().zip(self.link(from, to));
        let bundle = known.and_then(|(wire, _)| self.library.verify(&wire).ok());
        // Nobody can have heard what its author holds back until its disk has it.
        let heard = |b: &Verified| b.header().feed.author != self.hosts[from].id || self.was_let_out(b);
        if let Some(bundle) = bundle.filter(heard) {
            self.receive(from, to, bundle.header().feed.topic, bundle.wire().clone(), true);
        }
    }
}
