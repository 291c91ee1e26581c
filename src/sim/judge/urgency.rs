//! What is Critical arrives soon, at its author's log and at every reader, whatever else its author has to say.
//!
//! It stands in its author's feed behind Bulk that was sealed before, so where that was lost its readers wait for the
//! repair of both: half of them may have it late, but not later than half of them have the Bulk that was said with it.
//! Bulk alone may be refused, and that in the worst of times, so only where both were taken is one held against the
//! other.

use std::collections::BTreeMap;

use super::Verdict;
use crate::types::MessageId;
use crate::wire::Priority;

/// So many arrivals make a median worth something.
const SAMPLES: usize = 10;

/// How soon is soon, microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Soon {
    /// From the client's call until it is in its author's own log.
    pub leaves_us: u64,
    /// Until half of all readers have it, or as long as with Bulk that was said with it.
    pub median_us: u64,
    /// Until any reader has it.
    pub reaches_us: u64,
}

/// Messages whose way is watched, and where they are.
#[derive(Debug, Default)]
pub struct Urgency {
    asked: BTreeMap<(usize, u64, u64), Said>,
    named: BTreeMap<MessageId, Said>,
    arrived: BTreeMap<(MessageId, usize), u64>,
}

#[derive(Clone, Copy, Debug)]
struct Said {
    host: usize,
    priority: Priority,
    at_us: u64,
}

impl Urgency {
    /// A client of a host asks, in one life's call of this number, for something to be said.
    pub fn asked(&mut self, (host, life, call): (usize, u64, u64), priority: Priority, at_us: u64) {
        self.asked.insert((host, life, call), Said { host, priority, at_us });
    }

    /// The call is answered with the id of its last message.
    pub fn named(&mut self, call: (usize, u64, u64), id: Option<MessageId>) {
        let said = self.asked.remove(&call);
        self.named.extend(id.zip(said));
    }

    /// A host's reader has a message.
    pub fn arrived(&mut self, id: MessageId, host: usize, at_us: u64) {
        self.arrived.entry((id, host)).or_insert(at_us);
    }

    /// How long messages of a priority took, to their authors' own logs or to all others, least first.
    pub fn waits(&self, priority: Priority, own: bool) -> Vec<u64> {
        let wait = |((id, host), at_us): (&(MessageId, usize), &u64)| {
            let said = self.named.get(id).filter(|said| said.priority == priority)?;
            ((*host == said.host) == own).then(|| at_us.saturating_sub(said.at_us))
        };
        let mut waits: Vec<u64> = self.arrived.iter().filter_map(wait).collect();
        waits.sort_unstable();
        waits
    }

    /// Of all that one client said at once in both priorities, how long each took to all others, least first.
    fn said_together(&self) -> (Vec<u64>, Vec<u64>) {
        let named = |priority: Priority| {
            let of = self.named.iter().filter(move |(_, said)| said.priority == priority);
            of.map(|(id, said)| ((said.host, said.at_us), *id))
        };
        let behind: BTreeMap<(usize, u64), MessageId> = named(Priority::Bulk).collect();
        let (mut bulk, mut critical) = (Vec::new(), Vec::new());
        for ((host, at_us), ahead) in named(Priority::Critical) {
            let Some(behind) = behind.get(&(host, at_us)) else { continue };
            let others = self.arrived.range((ahead, 0)..=(ahead, usize::MAX)).filter(|((_, to), _)| *to != host);
            for ((_, to), critical_us) in others {
                if let Some(bulk_us) = self.arrived.get(&(*behind, *to)) {
                    bulk.push(bulk_us.saturating_sub(at_us));
                    critical.push(critical_us.saturating_sub(at_us));
                }
            }
        }
        bulk.sort_unstable();
        critical.sort_unstable();
        (bulk, critical)
    }

    /// When all have arrived: whether what is Critical arrived soon.
    pub fn check(&self, soon: &Soon) -> Verdict {
        let (own, others) = (self.waits(Priority::Critical, true), self.waits(Priority::Critical, false));
        let within = |what: &str, took_us: Option<&u64>, most_us: u64| match took_us {
            Some(took_us) if *took_us > most_us => {
                Err(format!("something Critical {what} after {took_us} us; at most {most_us} it may be"))
            }
            Some(_) | None => Ok(()),
        };
        within("was in its author's log", own.last(), soon.leaves_us)?;
        within("was at some reader", others.last(), soon.reaches_us)?;
        let half = |waits: &[u64]| waits.get(waits.len() / 2).copied().filter(|_| waits.len() >= SAMPLES);
        let all = within("was at half of all readers", half(&others).as_ref(), soon.median_us);
        let (bulk, critical) = self.said_together();
        match half(&bulk) {
            Some(bulk_us) if all.is_err() => {
                within("was at half of all readers", half(&critical).as_ref(), soon.median_us.max(bulk_us))
            }
            Some(_) | None => all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Stamp;

    const SOON: Soon = Soon { leaves_us: 10, median_us: 20, reaches_us: 100 };

    fn at_us(n: u64) -> u64 {
        1_000 * (n + 1)
    }

    fn bulk(urgency: &mut Urgency, n: u64, took_us: u64) {
        let id = MessageId::new(Stamp::new(n, 1), 0);
        urgency.asked((0, 2, n), Priority::Bulk, at_us(n));
        urgency.named((0, 2, n), Some(id));
        urgency.arrived(id, 1, at_us(n) + took_us);
    }

    fn urgency(own_us: u64, others_us: impl Fn(u64) -> u64) -> Urgency {
        let mut urgency = Urgency::default();
        for n in 0..20 {
            let (call, id) = ((0, 1, n), MessageId::new(Stamp::new(n, 0), 0));
            urgency.asked(call, Priority::Critical, at_us(n));
            urgency.named(call, Some(id));
            urgency.arrived(id, 0, at_us(n) + own_us);
            urgency.arrived(id, 1, at_us(n) + others_us(n));
        }
        urgency
    }

    #[test]
    fn urgency_objects_to_each_way_of_being_late() {
        assert_eq!(urgency(10, |_| 20).check(&SOON), Ok(()));
        assert!(urgency(11, |_| 20).check(&SOON).is_err(), "it waits behind what is less urgent");
        assert!(urgency(10, |_| 21).check(&SOON).is_err(), "most readers wait");
        let mut late = urgency(10, |_| 21);
        (0..20).for_each(|n| bulk(&mut late, n, if n < 12 { 20 } else { 21 }));
        assert!(late.check(&SOON).is_err(), "half of all readers have Bulk before it");
        for n in 10..20 {
            late.arrived(MessageId::new(Stamp::new(n, 1), 0), 2, at_us(n) + 22);
            late.arrived(MessageId::new(Stamp::new(n, 0), 0), 2, at_us(n) + 21);
        }
        assert_eq!(late.check(&SOON), Ok(()), "all is late, and Bulk not earlier");
        let mut refused = urgency(10, |n| if n < 9 { 20 } else { 30 });
        (0..9).for_each(|n| bulk(&mut refused, n, 20));
        assert!(refused.check(&SOON).is_err(), "so little Bulk tells nothing");
        (9..14).for_each(|n| bulk(&mut refused, n, 30));
        assert_eq!(refused.check(&SOON), Ok(()), "Bulk was refused when all was late");
        assert_eq!(urgency(10, |n| if n < 9 { 100 } else { 20 }).check(&SOON), Ok(()), "some frames were lost");
        assert!(urgency(10, |n| if n == 0 { 101 } else { 20 }).check(&SOON).is_err(), "one waits for ever");
    }
}
