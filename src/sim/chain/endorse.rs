//! Clients that write to replicated state and have validators endorse it, and what is looked at when they are answered.

use std::collections::BTreeSet;
use std::time::Duration;

use super::ChainWorld;
use crate::ledger::{Agreement, query, verify_endorsement};
use crate::node::{Call, Endorse, Gathered, Input, Word};
use crate::sim::judge::{Judge, Verdict};
use crate::sim::world::World;
use crate::types::chain::Height;
use crate::types::storage::View;
use crate::types::{Hash, Version};
use crate::wire::CollectionHead;
use crate::wire::ledger::{Endorsement, end};

/// Of a thousand times, a client writes and does not ask; and one that asks says what is not so.
const WRITES: u64 = 500;
const LIES: u64 = 100;
/// How long ago what is asked about ends, milliseconds.
const AGO_MS: (u64, u64) = (0, 3_000);

impl World {
    /// A client writes to the state, until the storm is over, or asks for an endorsement.
    pub(super) fn write_or_endorse(&mut self) {
        let running: Vec<usize> = (0..self.hosts.len()).filter(|n| self.hosts[*n].process.is_some()).collect();
        let Some(host) = self.rng.pick(&running) else { return };
        if self.healed_us.is_none() && self.rng.chance(WRITES) {
            return self.write(host);
        }
        let ago = Duration::from_millis(self.rng.within(AGO_MS.0, AGO_MS.1));
        let until = self.hosts[host].wall(self.now_us).minus(ago);
        let lies = self.rng.chance(LIES);
        let Some(process) = &mut self.hosts[host].process else { return };
        let id = process.number();
        if lies {
            process.lied.insert(id);
        }
        let replica = process.node.replica();
        let head = |name: &str| {
            let sum = replica.index(name).map(|index| index.sum(&(Version::default()..end(until)))).unwrap_or_default();
            CollectionHead { name: name.into(), retained: sum.count + u64::from(lies), root: sum.root.hash() }
        };
        let collections: Vec<CollectionHead> = replica.heads().map(|(name, ..)| head(name)).collect();
        self.trace.note(self.now_us, host, "endorse", &[u8::from(lies)], format_args!("{}", collections.len()));
        let wanted = Box::new(Endorse { until, collections });
        self.tell(host, Input::Call { id, call: Call::Endorse(wanted) });
    }

    /// What validators said is as it should be.
    pub(in crate::sim) fn on_gathered(&mut self, host: usize, id: u64, gathered: &Gathered) {
        let machine = &mut self.hosts[host];
        let lied = machine.process.as_mut().is_some_and(|process| process.lied.remove(&id));
        let Some(chain) = &mut self.chain else { return };
        let verdict = if lied {
            Err("validators were asked what was not so at the node that asked them".to_string())
        } else {
            chain.gathered(gathered, &machine.store)
        };
        if gathered.is_enough && self.healed_us.is_some() {
            chain.endorsed += 1;
        }
        let names = gathered.words.values().map(|(_, word)| format!("{word:?}")).collect::<BTreeSet<_>>().len();
        let told = format_args!("{} of {}, {names} words", gathered.power, gathered.total);
        self.trace.note(self.now_us, host, "endorsed", &gathered.power.to_be_bytes(), told);
        self.judge(Judge::State, verdict);
    }
}

impl ChainWorld {
    fn gathered(&self, gathered: &Gathered, view: &dyn View) -> Verdict {
        let Gathered { asked, power, total, is_enough, words } = gathered;
        if !self.ledgers.has_decided(asked.height, asked.block) {
            return Err(format!("an endorsement as of block {}, which was not decided", asked.block));
        }
        let signed = words.iter().filter_map(|(validator, (power, word))| match word {
            Word::Signed(signature) => Some((*validator, *power, *signature)),
            Word::Refused(_) | Word::BadSignature | Word::NotConnected | Word::NoAnswer => None,
        });
        let signed: Vec<_> = signed.collect();
        let sum: u64 = signed.iter().map(|(_, power, _)| power).sum();
        if sum != *power || *is_enough != (3 * sum > 2 * total) {
            return Err(format!("{sum} of {total} signed, and it is said that {power} did: {is_enough}"));
        }
        if !is_enough {
            return Ok(());
        }
        let finalities = query::finalities(Height(1), asked.height, view);
        // Who came by a state does not know all headers.
        let Ok(finalities) = finalities else { return Ok(()) };
        let signatures = signed.into_iter().map(|(validator, _, signature)| (validator, signature)).collect();
        let file = Endorsement { extent: asked.extent.clone(), finalities, signatures };
        let read = file.encode().and_then(|bytes| Endorsement::decode(&bytes).ok());
        let read = read.ok_or("an endorsement that cannot be read")?;
        let trusted: Hash = self.genesis.seats().map_err(|e| e.to_string())?.hash();
        let verified = verify_endorsement(&read, self.chain, trusted, &Agreement);
        verified.map(drop).map_err(|why| format!("an endorsement does not hold: {why}"))
    }
}
