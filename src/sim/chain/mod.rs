//! A chain in the simulator: whole nodes with a genesis, agreement's log on disks that lose power, words that get lost,
//! clients with transactions, and the judges of agreement and the ledger after every step.
//!
//! ```text
//!   clients ─▶ Call::Submit ─▶ node ─ Say ─▶ weather ─▶ the door: roster, signatures ─▶ Input::Chain ─▶ node
//!                               └ records ─▶ disk ─▶ what was flushed, or a torn end, for the next life
//! ```

mod clients;
mod disk;
mod endorse;
mod plan;
mod words;

use std::collections::BTreeSet;

pub use disk::Disk;
#[cfg(test)]
pub use plan::twins;
pub use plan::{ChainPlan, Vice, draw};

use clients::{ACCOUNTS, Clients};

use super::event::Event;
use super::host::EPOCH_MS;
use super::judge::{Judge, Ledgers, Verdict};
use super::rng::Rng;
use super::world::World;
use crate::consensus::Timeouts;
use crate::consensus::journal::{Owner, begun};
use crate::ledger::{self, Emission, Fees, Genesis, GenesisAccount, GenesisValidator, Params, Staking, Token, Voting};
use crate::node::{Call, ChainSetup, Input, JoinSetup};
use crate::types::chain::{ChainId, Height};
use crate::types::{NodeId, Tokens, WallMs};

/// What a validator has staked, and what clients have: so much more than clients stake.
const STAKE: Tokens = Tokens(50_000_000);
const BALANCE: Tokens = Tokens(1_000_000_000);
/// What makes a follower a validator.
const LEAST: Tokens = Tokens(1_000_000);
/// When the network is whole again, everything sent must be final at every node within this time, microseconds.
const FINAL_WITHIN_US: u64 = 30_000_000;
/// Rows in one part of a state: so few that its tree is fetched in many.
const PART_ROWS: u32 = 4;
/// How often that is looked at, microseconds.
const LOOK_EVERY_US: u64 = 100_000;
/// Of a thousand times a client would call, it sends a follower's stake.
const STAKES: u64 = 15;

/// The chain of a run.
pub struct ChainWorld {
    pub plan: ChainPlan,
    pub genesis: Genesis,
    pub chain: ChainId,
    pub ledgers: Ledgers,
    clients: Clients,
    /// Endorsements that were enough since the network is whole.
    endorsed: u64,
    /// What the first send does not reach the second: a bit for each peer.
    pub mute: Option<(u64, u64)>,
    slices: Rng,
}

/// A number of waits, for networks whose frames take milliseconds.
fn timeouts() -> Timeouts {
    let ms = std::time::Duration::from_millis;
    Timeouts { propose: ms(300), vote: ms(100), more: ms(100), rebroadcast: ms(400), most: ms(2_000), fetch: ms(100) }
}

/// Epochs of a few blocks, so that rewards, elections, votes and bills happen in every run.
fn params(minter: Option<NodeId>) -> Params {
    Params {
        epoch_blocks: 7,
        supply_limit: Tokens(1_000_000_000_000),
        minter,
        fees: Fees {
            transaction: Tokens(10),
            byte: Tokens(1),
            gas: Tokens(2),
            storage: Tokens(3),
            burned_permille: 200,
            treasury_permille: 300,
            gas_target: 0,
        },
        staking: Staking {
            validators: 8,
            least: LEAST,
            per_power: 1_000,
            unbonding_epochs: 3,
            slash_permille: 100,
            by_vote: false,
        },
        emission: Emission {
            per_epoch: Tokens(1_003),
            halve_every: 4,
            validators_permille: 300,
            stakers_permille: 400,
            miners_permille: 200,
            mining_bits: 2,
        },
        voting: Voting {
            deposit: Tokens(500),
            epochs: 1,
            quorum_permille: 1,
            threshold_permille: 500,
            veto_permille: 334,
        },
    }
}

impl ChainWorld {
    /// The chain of these nodes; `ids` by host.
    pub fn new(plan: ChainPlan, ids: &[NodeId], seed: u64) -> Result<ChainWorld, String> {
        let keys: Vec<_> = (0..ACCOUNTS).map(|n| clients::key(seed, n)).collect();
        let accounts: Vec<NodeId> = keys.iter().map(|key| NodeId(key.verifying_key().to_bytes())).collect();
        let validators: Vec<NodeId> = ids.iter().take(plan.validators).copied().collect();
        let mut rich: BTreeSet<NodeId> = accounts.iter().copied().collect();
        rich.extend(ids);
        let genesis = Genesis {
            name: "sim".into(),
            time_ms: WallMs(EPOCH_MS - 60_000),
            treasury: Tokens(50_000),
            token: Token { symbol: "SIM".into(), decimals: 0 },
            params: params(accounts.first().copied()),
            validators: validators
                .iter()
                .map(|id| GenesisValidator { id: *id, stake: STAKE, commission_permille: 100 })
                .collect(),
            accounts: rich.into_iter().map(|id| GenesisAccount { id, balance: BALANCE }).collect(),
        };
        let genesis = genesis.checked().map_err(|e| e.to_string())?;
        let guilty = plan.twins.iter().filter_map(|(of, _)| ids.get(*of).copied()).collect();
        let chain = genesis.chain();
        Ok(ChainWorld {
            ledgers: Ledgers::new(&genesis, guilty),
            clients: Clients::new(chain, keys.into_iter(), validators),
            plan,
            genesis,
            chain,
            endorsed: 0,
            mute: None,
            slices: Rng::new(seed, "slices"),
        })
    }

    /// Whether a host is one of two with one key.
    pub fn is_twin(&self, host: usize) -> bool {
        self.plan.twins.iter().any(|(of, twin)| *of == host || *twin == host)
    }

    /// The other of two with one key.
    pub fn twin_of(&self, host: usize) -> Option<usize> {
        self.plan.twins.iter().find_map(|(of, twin)| match host {
            _ if *of == host => Some(*twin),
            _ if *twin == host => Some(*of),
            _ => None,
        })
    }

    /// Whether frames of one peer reach another now.
    pub fn passes(&self, from: usize, to: usize, now_us: u64, stormy: bool) -> bool {
        let muted = self.mute.is_some_and(|(ours, theirs)| (ours >> from) & 1 == 1 && (theirs >> to) & 1 == 1);
        let sliced = stormy
            && self
                .plan
                .slices_us
                .is_some_and(|every| self.side(from, now_us / every) != self.side(to, now_us / every));
        !muted && !sliced
    }

    /// The side of a peer in a slice of time; twins are on two.
    fn side(&self, peer: usize, slice: u64) -> bool {
        let first = self.plan.twins.iter().find(|(_, twin)| *twin == peer).map(|(of, _)| *of);
        let bits = self.slices.at(slice);
        ((bits >> first.unwrap_or(peer)) & 1 == 1) != first.is_some()
    }
}

impl World {
    /// What a node is told of the chain, with what its disk has of agreement's log.
    pub(super) fn chain_setup(&mut self, host: usize) -> Result<Option<ChainSetup>, String> {
        let Some(chain) = &self.chain else { return Ok(None) };
        let machine = &mut self.hosts[host];
        // As a start does: what a crash interrupted is ended first.
        while let Some(batch) = ledger::snapshot::next_batch(&machine.store).map_err(|e| e.to_string())? {
            machine.store.commit(batch);
        }
        let head = ledger::chain::head(&machine.store).map_err(|e| e.to_string())?;
        let height = head.map_or(Height::GENESIS, |head| head.height).next();
        let log = machine.disk.open(Owner { chain: chain.chain, node: machine.id, height })?;
        let abstains = log.is_empty() && begun(&machine.store) == Some(height);
        let late = chain.plan.trusts && host + 1 == self.plan.hosts;
        let trusted = late.then(|| chain.ledgers.some_block()).flatten();
        let behind = chain.plan.joiner.filter(|(joiner, _)| *joiner == host).map_or(0, |(_, behind)| behind);
        Ok(Some(ChainSetup {
            genesis: chain.genesis.clone(),
            validates: true,
            timeouts: timeouts(),
            cadence: std::time::Duration::from_millis(chain.plan.cadence_ms),
            heartbeat: None,
            log,
            abstains,
            join: JoinSetup { behind, trusted, part_rows: PART_ROWS },
        }))
    }

    /// A client sends transactions to some running nodes.
    pub(super) fn submit(&mut self) {
        let running: Vec<usize> = (0..self.hosts.len()).filter(|n| self.hosts[*n].process.is_some()).collect();
        let Some(chain) = &mut self.chain else { return };
        let fresh = self.healed_us.is_none();
        let ledgers = &chain.ledgers;
        let mut sent = chain.clients.send(fresh, |account| ledgers.nonce(account), &mut self.rng);
        let follower = chain.plan.validators;
        if follower < self.hosts.len() && !chain.is_twin(follower) && fresh && self.rng.chance(STAKES) {
            sent.extend(chain.clients.stake(&self.hosts[follower].key, STAKE));
        }
        for sealed in sent {
            let Some(host) = self.rng.pick(&running) else { break };
            let Some(process) = &mut self.hosts[host].process else { break };
            let id = process.number();
            let name = sealed.leaf();
            let (account, nonce, count) = (sealed.account(), sealed.nonce(), sealed.count());
            self.trace.note(self.now_us, host, "submit", name.as_bytes(), format_args!("{account:?} {nonce}+{count}"));
            self.tell(host, Input::Call { id, call: Call::Submit(Box::new(sealed)) });
        }
        if self.chain.as_ref().is_some_and(|chain| chain.plan.endorses) {
            self.write_or_endorse();
        }
        if self.alike_us.is_none() {
            let (low, high) = if fresh { self.plan.call_every_us } else { (20_000, 60_000) };
            self.agenda.add(self.now_us + self.rng.within(low, high), Event::Call);
        }
    }

    /// What the judges of the chain look at after every step.
    pub(super) fn watch_chain(&mut self, host: usize) {
        let Some(chain) = &mut self.chain else { return };
        let machine = &self.hosts[host];
        if chain.ledgers.is_guilty(machine.id) {
            return;
        }
        let before = chain.ledgers.height();
        let seen = chain.ledgers.look(host, &machine.store);
        let height = chain.ledgers.height();
        let stalls = chain.plan.stalls && self.healed_us.is_none();
        let accused = machine.process.as_ref().and_then(|process| process.node.agreement()).map_or(0, |a| a.evidence);
        let innocent = accused > 0 && chain.plan.twins.is_empty() && !chain.ledgers.somebody_may_repeat();
        if height > before {
            let count = chain.ledgers.transactions();
            self.trace.note(
                self.now_us,
                host,
                "final",
                &height.0.to_be_bytes(),
                format_args!("{height}, {count} so far"),
            );
        }
        if let Err((judge, why)) = seen {
            self.judge(judge, Err(why));
        }
        if stalls && height > Height::GENESIS {
            self.judge(Judge::Progress, Err("half of all keep their votes, and a block is decided".into()));
        }
        if innocent {
            self.judge(Judge::Evidence, Err(format!("node {host} accuses someone, and nobody is guilty")));
        }
    }

    /// Whether everything sent is final, everywhere.
    fn all_final(&self) -> Verdict {
        let Some(chain) = &self.chain else { return Ok(()) };
        for (n, machine) in self.hosts.iter().enumerate().filter(|(_, machine)| !chain.ledgers.is_guilty(machine.id)) {
            if machine.process.is_none() {
                return Err(format!("node {n} does not run"));
            }
            chain.ledgers.complete(n, &machine.store)?;
        }
        if !chain.clients.is_served(|account| chain.ledgers.nonce(account)) {
            return Err(format!("not all transactions are final at {}", chain.ledgers.height()));
        }
        if chain.plan.endorses && chain.endorsed == 0 {
            return Err("nobody writes, and too few validators endorse what there is".into());
        }
        Ok(())
    }

    /// Looks whether the chain has recovered, until it has.
    pub(super) fn compare_chain(&mut self) {
        let (verdict, healed) = (self.all_final(), self.healed_us.unwrap_or(self.now_us));
        match verdict {
            Ok(()) => self.alike_us = Some(self.now_us - healed),
            Err(_) if self.now_us < healed + FINAL_WITHIN_US => {
                self.agenda.add(self.now_us + LOOK_EVERY_US, Event::Compare);
            }
            Err(_) => self.judge(Judge::Progress, verdict),
        }
    }
}
