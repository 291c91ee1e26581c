//! Agreement and the ledger: all decide the same, with signatures that suffice, and what becomes true is what the plain
//! model says.

use std::collections::{BTreeMap, BTreeSet};

use super::{Judge, Verdict};
use crate::ledger::model::Model;
use crate::ledger::{Agreement, Genesis, Trusted, chain, query};
use crate::types::chain::{BlockId, ChainId, Height, TransactionId, Validator, ValidatorSet};
use crate::types::storage::View;
use crate::types::{Hash, NodeId};
use crate::wire::agreement::{Attested, Certificate, Evidence, Message, Once};
use crate::wire::ledger::{Block, BlockHeader, Outcome, Record, Sealed};

/// What was seen, and the judge whose matter it is.
pub type Seen = Result<(), (Judge, String)>;

/// A height as it was first seen decided.
struct Decided {
    id: BlockId,
    state_root: Hash,
    by: ValidatorSet,
}

/// Sees every store after every step, and every word before it leaves.
pub struct Ledgers {
    chain: ChainId,
    /// Whoever may break promises.
    guilty: BTreeSet<NodeId>,
    model: Model,
    /// By height, from 1.
    decided: Vec<Decided>,
    /// How far each host was looked at.
    looked: BTreeMap<usize, Height>,
    signed: BTreeMap<(NodeId, Once), Option<BlockId>>,
    finals: BTreeMap<TransactionId, Height>,
    /// Who lost everything it had: it may say again, and otherwise, what it does not know that it said.
    forgetful: BTreeSet<NodeId>,
    /// The block after which each host took in the state, as far as that was looked at.
    joined: BTreeMap<usize, Height>,
}

impl Ledgers {
    /// Before anything happens; the `guilty` have keys in two places.
    pub fn new(genesis: &Genesis, guilty: BTreeSet<NodeId>) -> Ledgers {
        Ledgers {
            chain: genesis.chain(),
            guilty,
            model: Model::new(genesis),
            decided: Vec::new(),
            looked: BTreeMap::new(),
            signed: BTreeMap::new(),
            finals: BTreeMap::new(),
            forgetful: BTreeSet::new(),
            joined: BTreeMap::new(),
        }
    }

    /// A node lost everything it had: the first word it has for a place need not be its only one.
    pub fn may_repeat(&mut self, node: NodeId) {
        self.forgetful.insert(node);
    }

    /// Whether a node did.
    pub fn somebody_may_repeat(&self) -> bool {
        !self.forgetful.is_empty()
    }

    /// A decided block in the middle, as an operator would name it; none before the first.
    pub fn some_block(&self) -> Option<Trusted> {
        let at = self.decided.len() / 2;
        self.decided.get(at).map(|decided| Trusted { height: Height(at as u64 + 1), id: decided.id })
    }

    /// Whether this block was decided at a height.
    pub fn has_decided(&self, height: Height, block: BlockId) -> bool {
        let at = (height.0 as usize).checked_sub(1);
        at.and_then(|at| self.decided.get(at)).is_some_and(|decided| decided.id == block)
    }

    /// The last height anyone decided.
    pub fn height(&self) -> Height {
        Height(self.decided.len() as u64)
    }

    /// How many transactions are final.
    pub fn transactions(&self) -> usize {
        self.finals.len()
    }

    /// The number of an account's next transaction, by what is final.
    pub fn nonce(&self, account: NodeId) -> u64 {
        self.model.people.get(&account).map_or(0, |person| person.nonce)
    }

    /// Whether a node may break promises.
    pub fn is_guilty(&self, node: NodeId) -> bool {
        self.guilty.contains(&node)
    }

    /// A machine lost power: what it had not flushed is looked at again.
    pub fn forget(&mut self, host: usize) {
        self.looked.remove(&host);
    }

    /// A word leaves a node: what it signed itself must not contradict what it signed before, in this life or another.
    pub fn hear(&mut self, me: NodeId, message: &Message) -> Verdict {
        let Some((once, value)) = message.said_by(me) else { return Ok(()) };
        let first = *self.signed.entry((me, once)).or_insert(value);
        if first == value || self.guilty.contains(&me) || self.forgetful.contains(&me) {
            return Ok(());
        }
        Err(format!("{me:?} signs {once:?} twice: {first:?} and {value:?}"))
    }

    /// Looks at what became true at a host since the last look.
    pub fn look(&mut self, host: usize, view: &dyn View) -> Seen {
        let fault = |fault: crate::ledger::Fault| (Judge::Ledger, fault.to_string());
        let Some(head) = chain::head(view).map_err(fault)? else { return Ok(()) };
        let joined = chain::joined(view);
        if let Some(joined) = joined.filter(|joined| self.joined.get(&host) != Some(joined)) {
            self.counted(host, &head, view)?;
            self.joined.insert(host, joined);
        }
        let mut next = self.looked.get(&host).map_or(Height(1), |looked| looked.next());
        while next <= head.height {
            let Some(header) = chain::header(next, view).map_err(fault)? else {
                if joined.is_none_or(|joined| next > joined) {
                    return Err((Judge::Agreement, format!("node {host} has no header at {next}")));
                }
                self.looked.insert(host, next);
                next = next.next();
                continue;
            };
            if next > self.height() {
                let block = chain::block(next, view).map_err(fault)?;
                let block = block.ok_or_else(|| (Judge::Agreement, format!("node {host} has no block at {next}")))?;
                self.first(&block, view, next == head.height)?;
            }
            self.same(host, next, &header, view)?;
            self.looked.insert(host, next);
            next = next.next();
        }
        let root = self.decided.get((head.height.0 as usize).wrapping_sub(1)).map(|decided| decided.state_root);
        let rooted = chain::root(head.height, view).map_err(fault)?.map(|slot| slot.hash());
        if root.is_some_and(|root| root != head.state_root || rooted != Some(root)) {
            return Err((Judge::Ledger, format!("node {host} has another state at {}", head.height)));
        }
        Ok(())
    }

    /// The rows of a host are those of its state root, each of them.
    fn counted(&self, host: usize, head: &chain::Head, view: &dyn View) -> Seen {
        match query::recount(view) {
            Ok(root) if root == head.state_root => Ok(()),
            Ok(_) => Err((Judge::Ledger, format!("node {host} has other rows at {} than its root says", head.height))),
            Err(fault) => Err((Judge::Ledger, fault.to_string())),
        }
    }

    /// A height is seen decided for the first time: the model follows, and is compared while the store is there.
    fn first(&mut self, block: &Block, view: &dyn View, is_last: bool) -> Seen {
        let (header, broken) = (block.header(), |why: String| (Judge::Ledger, why));
        let at = header.height;
        let seats = self.model.seats.iter().map(|(id, power)| Validator { id: *id, power: *power });
        let by = ValidatorSet::new(seats).map_err(|e| broken(e.to_string()))?;
        if header.validators != by.hash() {
            return Err(broken(format!("the validators of {at} are not those the model has seated")));
        }
        for piece in block.evidence() {
            let evidence = Evidence::decode(piece).map_err(|e| (Judge::Evidence, e.to_string()))?;
            self.accused(&evidence)?;
        }
        let done = self.model.block(block, &Agreement).map_err(|why| broken(format!("the model at {at}: {why}")))?;
        let records = chain::records(at, view).map_err(|e| broken(e.to_string()))?;
        let outcomes = records.iter().filter_map(|record| match record {
            Record::Receipt(receipt) => Some(matches!(receipt.outcome, Outcome::Succeeded(_))),
            Record::Event(_) => None,
        });
        let outcomes: Vec<bool> = outcomes.collect();
        if outcomes != done {
            return Err(broken(format!("at {at} the ledger did {outcomes:?}, the model {done:?}")));
        }
        if is_last {
            self.model.compare(view).map_err(|why| broken(format!("at {at}: {why}")))?;
        }
        for bytes in block.transactions() {
            let sealed = Sealed::kept(bytes.clone(), self.chain).map_err(|e| broken(e.to_string()))?;
            self.finals.extend(sealed.ids().iter().map(|id| (*id, at)));
        }
        self.decided.push(Decided { id: block.id(), state_root: header.state_root, by });
        Ok(())
    }

    /// Evidence is of the guilty.
    pub fn accused(&self, evidence: &Evidence) -> Seen {
        let culprit = evidence.culprit();
        if (self.guilty.contains(&culprit) || self.forgetful.contains(&culprit)) && evidence.holds(self.chain) {
            return Ok(());
        }
        Err((Judge::Evidence, format!("{culprit:?} is accused at {}, and did nothing", evidence.height())))
    }

    /// What a host holds decided is what all hold decided, and its certificate shows it.
    fn same(&self, host: usize, height: Height, header: &BlockHeader, view: &dyn View) -> Seen {
        let broken = |why: String| (Judge::Agreement, format!("node {host} at {height}: {why}"));
        let decided = self.decided.get((height.0 as usize).wrapping_sub(1));
        let decided = decided.ok_or_else(|| broken("nobody decided this".into()))?;
        if header.id() != decided.id {
            return Err(broken(format!("{:?}, and another has {:?}", header.id(), decided.id)));
        }
        let bytes = chain::certificate(height, view).ok_or_else(|| broken("no certificate".into()))?;
        let certificate = Certificate::decode(&bytes).map_err(|e| broken(e.to_string()))?;
        let about = (certificate.height, certificate.value) == (height, decided.id);
        if !about || certificate.decides(&decided.by).is_err() || !certificate.holds(self.chain) {
            return Err(broken("the certificate does not show it".into()));
        }
        Ok(())
    }

    /// Whether a host has everything that is final, each where all have it.
    pub fn complete(&self, host: usize, view: &dyn View) -> Verdict {
        let head = chain::head(view).map_err(|e| e.to_string())?.map_or(Height::GENESIS, |head| head.height);
        if head != self.height() {
            return Err(format!("node {host} is at {head}, the chain at {}", self.height()));
        }
        let joined = chain::joined(view);
        if let (Some(_), Some(head)) = (joined, chain::head(view).map_err(|e| e.to_string())?) {
            self.counted(host, &head, view).map_err(|(_, why)| why)?;
        }
        // Of blocks before the state it took in it knows nothing.
        let known = self.finals.iter().filter(|(_, height)| joined.is_none_or(|joined| **height > joined));
        known.into_iter().try_for_each(|(id, height)| {
            let found = chain::find(id, view).map_err(|e| e.to_string())?.map(|found| found.height);
            if found == Some(*height) {
                Ok(())
            } else {
                Err(format!("node {host} has {id:?} at {found:?}, not {height}"))
            }
        })
    }
}
