//! One node of the network: its disk, its life, and what it does wrong.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ed25519_dalek::SigningKey;

use crate::consensus::{Consensus, Record, Setup, Start, Timeouts, journal};
use crate::types::chain::{BlockId, ChainId, Height, Validator, ValidatorSet};
use crate::types::{Hash, Mono, NodeId};
use crate::wire::agreement::{Certificate, Evidence};

pub const CHAIN: ChainId = ChainId(Hash([9; 32]));

/// To find a key's public half is dear.
static KEYS: LazyLock<Vec<SigningKey>> = LazyLock::new(|| (1..=32).map(|n| SigningKey::from_bytes(&[n; 32])).collect());

pub fn key(n: usize) -> &'static SigningKey {
    &KEYS[n]
}

pub fn id(n: usize) -> NodeId {
    NodeId(key(n).verifying_key().to_bytes())
}

pub fn validators(count: usize) -> Arc<ValidatorSet> {
    let validators = (0..count).map(|n| Validator { id: id(n), power: 1 });
    Arc::new(ValidatorSet::new(validators).unwrap())
}

/// What a node does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Vice {
    /// Says the opposite vote too, to every other peer.
    pub equivocates: bool,
    /// Says no votes.
    pub drops_votes: bool,
    /// Says no proposals, or gives no bodies.
    pub drops_proposals: bool,
    /// Builds what others find invalid.
    pub builds_rubbish: bool,
    /// Loses its log in a crash.
    pub forgets: bool,
    /// Builds for so long.
    pub slow: Duration,
    /// Dates its blocks so far ahead.
    pub hasty: Duration,
}

/// What survives a crash.
#[derive(Default)]
pub struct Disk {
    pub log: Vec<u8>,
    pub frames: u32,
    pub chain: Vec<Certificate>,
}

pub struct Member {
    /// Its clock is behind.
    pub behind: Duration,
    /// Whose key it has. A twin has another's.
    pub who: usize,
    pub votes: bool,
    pub vice: Vice,
    pub disk: Disk,
    /// Bodies in memory: of decided blocks, which the store has, and of those that are agreed on. A crash leaves of the
    /// latter what the log holds.
    pub bodies: BTreeSet<BlockId>,
    /// Decided; the store has not flushed it, or its body is missing.
    pub decided: Option<Certificate>,
    /// None while it is down.
    pub life: Option<Consensus>,
    /// Counts lives, so that what was meant for a former one is let go.
    pub number: u64,
    /// Written, and not flushed.
    pub pending: Vec<Record>,
    /// Records written in all lives.
    pub written: u64,
    /// It is to crash when that many records are written, the last of them torn or not.
    pub crash_at: Option<(u64, bool)>,
    pub evidence: Vec<Evidence>,
    pub halted: Option<String>,
    pub refused: usize,
}

impl Member {
    pub fn new(who: usize, votes: bool) -> Member {
        Member {
            behind: Duration::ZERO,
            who,
            votes,
            vice: Vice::default(),
            disk: Disk::default(),
            bodies: BTreeSet::new(),
            decided: None,
            life: None,
            number: 0,
            pending: Vec::new(),
            written: 0,
            crash_at: None,
            evidence: Vec::new(),
            halted: None,
            refused: 0,
        }
    }

    pub fn next_height(&self) -> Height {
        Height(self.disk.chain.len() as u64 + 1)
    }

    pub fn setup(&self, timeouts: Timeouts) -> Setup {
        Setup { chain: CHAIN, me: id(self.who), key: self.votes.then(|| key(self.who).clone()), timeouts }
    }

    fn owner(&self, height: Height) -> journal::Owner {
        journal::Owner { chain: CHAIN, node: id(self.who), height }
    }

    pub fn start(&self, validators: Arc<ValidatorSet>, not_before: Mono, idle: bool) -> Start {
        Start { height: self.next_height(), validators, not_before, idle }
    }

    /// What is in the log, as it is read after a crash.
    pub fn recover(&mut self) -> Vec<Record> {
        let recovered = journal::read(&self.disk.log, &self.owner(self.next_height())).unwrap();
        self.disk.log.truncate(recovered.good_bytes);
        self.disk.log.extend(recovered.mend);
        self.disk.frames = recovered.frames;
        self.bodies = self.disk.chain.iter().map(|certificate| certificate.value).collect();
        self.bodies.extend(recovered.records.iter().filter_map(|record| match record {
            Record::Body { block, .. } => Some(*block),
            _ => None,
        }));
        recovered.records
    }

    /// Makes what was written durable.
    pub fn flush(&mut self, height: Height) {
        if self.pending.is_empty() {
            return;
        }
        let owner = self.owner(height);
        if self.disk.log.is_empty() {
            self.disk.log = journal::header(&owner).to_vec();
        }
        let frame = journal::frame(&owner, self.disk.frames, &std::mem::take(&mut self.pending));
        self.disk.log.extend(frame);
        self.disk.frames += 1;
    }

    /// The height is applied and on the disk: its log is done with.
    pub fn apply(&mut self) {
        self.disk.chain.extend(self.decided.take());
        self.disk.log.clear();
        self.disk.frames = 0;
        self.pending.clear();
    }

    pub fn crash(&mut self) {
        self.life = None;
        self.number += 1;
        self.pending.clear();
        self.bodies.clear();
        self.decided = None;
        if self.vice.forgets {
            self.disk.log.clear();
        }
    }
}
