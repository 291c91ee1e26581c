//! Clients of a saturated network who cannot wait: something Critical behind a heap of Bulk, and schemas that all
//! nodes must come to know alike.

use std::collections::BTreeSet;

use super::event::Event;
use super::judge::{Judge, Soon, Urgency, Verdict, registry, schemas};
use super::workload;
use super::world::World;
use crate::node::Ack;
use crate::types::MessageId;
use crate::wire::{Draft, Priority};

/// From one probe to the next, microseconds.
const PACE_US: (u64, u64) = (40_000, 160_000);
/// Bulk messages that are said just before something Critical.
const HEAP: (u64, u64) = (50, 200);
/// Probes of a thousand that register a schema.
const SCHEMAS: u64 = 250;
/// A step of a busy machine, from the last: waking, and a share of waiting for its disk, microseconds.
const STEP_US: u64 = 4_000;
/// What else may be in the way: a flush that others wait for, and one more step, microseconds.
const SLACK_US: u64 = 250_000;
/// A frame that was lost is made up for within this, heads and requests that are lost again included, microseconds.
const REPAIRED_US: u64 = 20_000_000;

/// What is watched of them.
#[derive(Debug, Default)]
pub struct Urgent {
    pub urgency: Urgency,
    /// Calls that register a schema and want to hear that it is on the disk.
    registering: BTreeSet<(usize, u64, u64)>,
    registered: BTreeSet<MessageId>,
}

impl World {
    /// A client of some node finds its lanes full of Bulk, and has something Critical to say; or it registers a schema.
    pub(super) fn probe(&mut self) {
        if self.healed_us.is_some() {
            return;
        }
        self.agenda.add(self.now_us + self.rng.within(PACE_US.0, PACE_US.1), Event::Probe);
        let running: Vec<usize> = (0..self.hosts.len()).filter(|n| self.hosts[*n].process.is_some()).collect();
        let Some(host) = self.rng.pick(&running) else { return };
        if self.rng.chance(SCHEMAS) {
            let draft = workload::schema(&mut self.rng);
            let call = self.ask_to_say(host, vec![draft], Ack::Durable);
            self.urgent.registering.extend(call);
        }
        let heap = (0..self.rng.within(HEAP.0, HEAP.1)).map(|_| self.order(Priority::Bulk)).collect();
        let call = self.ask_to_say(host, heap, Ack::Accepted);
        call.into_iter().for_each(|call| self.urgent.urgency.asked(call, Priority::Bulk, self.now_us));
        let critical = vec![self.order(Priority::Critical)];
        let call = self.ask_to_say(host, critical, Ack::Accepted);
        call.into_iter().for_each(|call| self.urgent.urgency.asked(call, Priority::Critical, self.now_us));
    }

    fn order(&mut self, priority: Priority) -> Draft {
        let mut draft = workload::order(&mut self.rng);
        draft.priority = priority;
        draft
    }

    /// A probe is answered with these ids, or refused.
    pub(super) fn on_probe_reply(&mut self, call: (usize, u64, u64), ids: Option<&[MessageId]>) {
        let last = ids.and_then(|ids| ids.last().copied());
        self.urgent.urgency.named(call, last);
        if self.urgent.registering.remove(&call) {
            self.urgent.registered.extend(last);
        }
    }

    /// What is ahead of it in its own lane leaves first, with half of each step at the least.
    fn soon(&self) -> Soon {
        let lanes = &self.plan.lanes;
        let ahead_us = (2 * lanes.bytes as u64).div_ceil(lanes.step_bytes.max(1) as u64) * STEP_US;
        let leaves_us = SLACK_US + ahead_us;
        let median_us = leaves_us + 2 * self.plan.weather.latency_us.1;
        Soon { leaves_us, median_us, reaches_us: leaves_us + REPAIRED_US }
    }

    /// When all is well again: whether what was Critical arrived soon, and all nodes know the same schemas.
    pub(super) fn judge_urgent(&mut self) {
        let verdict = self.urgent.urgency.check(&self.soon());
        self.judge(Judge::Urgency, verdict);
        let verdict = self.same_schemas();
        self.judge(Judge::Schemas, verdict);
    }

    fn same_schemas(&self) -> Verdict {
        let running = self.hosts.iter().filter(|host| host.process.is_some());
        let all: Vec<_> = running.map(|host| registry(&host.store)).collect();
        schemas(&all, &self.urgent.registered)
    }
}
