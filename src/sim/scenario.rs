//! What goes wrong in a run: a scenario's faults, drawn from the seed before anything happens.

use std::str::FromStr;
use std::time::Duration;

use super::chain::{self, ChainPlan};
use super::rng::Rng;
use super::villain::Role;
use crate::feed::{Retention, Rule};
use crate::flow::{Bounds, Policy};
use crate::wire::Category;

const MS: u64 = 1_000;
const SECOND: u64 = 1_000 * MS;
const HOUR_MS: i64 = 3_600_000;

/// What a run is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Scenario {
    /// Nothing goes wrong.
    Calm,
    /// Frames are lost, doubled and late.
    Lossy,
    /// The network falls apart and comes together again.
    Partition,
    /// Nodes die with what they had not flushed; one comes back from an old copy of its store.
    Crash,
    /// Nodes stop cleanly and come back.
    Restart,
    /// Wall clocks are wrong, and jump.
    Skew,
    /// Wall clocks jump by an hour, ahead and behind, and jump back, or stay so until nodes have stopped or died.
    ClockJumps,
    /// An author says two things in one place.
    Equivocation,
    /// A peer answers with garbage, claims what is not, and asks too much.
    Liar,
    /// A node comes when all is said.
    LateJoiner,
    /// Messages are let go while others still ask for them.
    Retention,
    /// What wrote the state is let go while nodes are apart or not there yet: the state itself is repaired.
    Oblivion,
    /// Floors of the state are set and adopted while nodes are apart, late or not there.
    Floor,
    /// Clients say more than can leave, over links that lose frames, and workers are unreliable.
    Saturated,
    /// Some of everything at once.
    Everything,
    /// A chain with load; nothing goes wrong.
    ChainCalm,
    /// A chain whose frames are lost, doubled and late.
    ChainLossy,
    /// Validators fall apart: two and two, three and one, one way only, in changing parts.
    ChainPartition,
    /// A validator, and so a proposer, that is slow.
    ChainSlow,
    /// Validators that keep back votes, proposals or blocks.
    ChainDroppers,
    /// Two nodes with the key of one validator.
    ChainTwins,
    /// Validators die at a record of agreement's log, or at any time.
    ChainCrash,
    /// A validator's disk is full.
    ChainFull,
    /// A node joins a chain late, or comes back after long.
    ChainLate,
    /// One joins a chain by its state, from peers of which one sends wrong parts, and loses power on the way.
    ChainSnapshot,
    /// A validator loses the log of its votes, or its whole disk.
    ChainAmnesia,
    /// Clients have validators endorse replicated state that is written to, while frames are lost or sides apart.
    ChainEndorse,
    /// Some of all that at once.
    ChainEverything,
}

impl Scenario {
    /// Every scenario.
    pub const ALL: [Scenario; 28] = [
        Scenario::Calm,
        Scenario::Lossy,
        Scenario::Partition,
        Scenario::Crash,
        Scenario::Restart,
        Scenario::Skew,
        Scenario::ClockJumps,
        Scenario::Equivocation,
        Scenario::Liar,
        Scenario::LateJoiner,
        Scenario::Retention,
        Scenario::Oblivion,
        Scenario::Floor,
        Scenario::Saturated,
        Scenario::Everything,
        Scenario::ChainCalm,
        Scenario::ChainLossy,
        Scenario::ChainPartition,
        Scenario::ChainSlow,
        Scenario::ChainDroppers,
        Scenario::ChainTwins,
        Scenario::ChainCrash,
        Scenario::ChainFull,
        Scenario::ChainLate,
        Scenario::ChainSnapshot,
        Scenario::ChainAmnesia,
        Scenario::ChainEndorse,
        Scenario::ChainEverything,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Scenario::Calm => "calm",
            Scenario::Lossy => "lossy",
            Scenario::Partition => "partition",
            Scenario::Crash => "crash",
            Scenario::Restart => "restart",
            Scenario::Skew => "skew",
            Scenario::ClockJumps => "clock-jumps",
            Scenario::Equivocation => "equivocation",
            Scenario::Liar => "liar",
            Scenario::LateJoiner => "late-joiner",
            Scenario::Retention => "retention",
            Scenario::Oblivion => "oblivion",
            Scenario::Floor => "floor",
            Scenario::Saturated => "saturated",
            Scenario::Everything => "everything",
            Scenario::ChainCalm => "chain-calm",
            Scenario::ChainLossy => "chain-lossy",
            Scenario::ChainPartition => "chain-partition",
            Scenario::ChainSlow => "chain-slow",
            Scenario::ChainDroppers => "chain-droppers",
            Scenario::ChainTwins => "chain-twins",
            Scenario::ChainCrash => "chain-crash",
            Scenario::ChainFull => "chain-full",
            Scenario::ChainLate => "chain-late",
            Scenario::ChainSnapshot => "chain-snapshot",
            Scenario::ChainAmnesia => "chain-amnesia",
            Scenario::ChainEndorse => "chain-endorse",
            Scenario::ChainEverything => "chain-everything",
        }
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Scenario, String> {
        Scenario::ALL.into_iter().find(|s| s.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Scenario::ALL.iter().map(|s| s.name()).collect();
            format!("`{text}` is not a scenario: use {}", names.join(", "))
        })
    }
}

/// How the network treats frames. Chances are per thousand.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// From one node to another, microseconds.
    pub latency_us: (u64, u64),
    /// A frame takes twenty times as long.
    pub slow: u64,
    /// A frame is lost.
    pub loss: u64,
    /// A frame comes twice.
    pub duplicate: u64,
    /// The connection breaks instead: what a corrupted byte does to an encrypted stream.
    pub reset: u64,
    /// A neighbour is given a bundle by gossip at all.
    pub mesh: u64,
}

impl Weather {
    /// As good as it gets.
    pub const CLEAR: Weather =
        Weather { latency_us: (MS, 20 * MS), slow: 0, loss: 0, duplicate: 0, reset: 0, mesh: 950 };
}

/// One thing that goes wrong. Hosts by number.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The hosts whose bit is set no longer reach the others.
    Cut { side: u64 },
    /// What the peers whose bit is set in `from` send does not reach those in `to`.
    Mute { from: u64, to: u64 },
    /// All reach all.
    Mend,
    /// A host's disk is full: its next flush fails, and it is down for so long.
    Fill { host: usize, down_us: u64 },
    /// A host loses power and comes back; `torn` means in the middle of a step, after the commit.
    Crash { host: usize, down_us: u64, torn: bool },
    /// A host stops and comes back without the log of its votes; `whole` means without anything.
    Forget { host: usize, down_us: u64, whole: bool },
    /// A host stops cleanly and comes back.
    Stop { host: usize, down_us: u64 },
    /// A host's wall clock jumps.
    Jump { host: usize, by_ms: i64 },
    /// A host's store is copied.
    Backup { host: usize },
    /// A host loses its disk and comes back with the copy, somewhere else.
    Restore { host: usize, down_us: u64 },
    /// An old bundle is sent again.
    Replay,
}

/// Everything drawn for a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Honest nodes.
    pub hosts: usize,
    /// Peers that are not.
    pub villains: Vec<Role>,
    /// Until the storm is over.
    pub weather: Weather,
    /// Faults stop at this time, microseconds.
    pub storm_us: u64,
    /// A call comes this often, microseconds.
    pub call_every_us: (u64, u64),
    /// At most so many calls come at once.
    pub flood: u64,
    /// How much waits at most.
    pub lanes: Bounds,
    /// The rule by which lanes are served.
    pub scheduler: Policy,
    /// Whether there are workers of durable subscriptions. No host is to stop then.
    pub workers: bool,
    /// How many calls of a thousand bring many messages.
    pub bursts: u64,
    /// Whether clients set floors.
    pub floors: bool,
    /// How long messages are kept.
    pub retention: Retention,
    /// Each host's wall clock is wrong by so much, milliseconds.
    pub skew_ms: Vec<i64>,
    /// When each host starts, microseconds.
    pub start_us: Vec<u64>,
    /// Connected peers each node wants.
    pub target_peers: usize,
    /// What happens when, microseconds.
    pub faults: Vec<(u64, Fault)>,
    /// What goes wrong with the chain, in a run about one.
    pub chain: Option<ChainPlan>,
}

impl Plan {
    /// What happens in `scenario` with this seed.
    pub fn draw(scenario: Scenario, seed: u64) -> Plan {
        let mut rng = Rng::new(seed, scenario.name());
        let hosts = rng.within(3, 6) as usize;
        let mut plan = Plan {
            hosts,
            villains: Vec::new(),
            weather: Weather::CLEAR,
            storm_us: rng.within(8 * SECOND, 18 * SECOND),
            call_every_us: (20 * MS, rng.within(60, 500) * MS),
            flood: 1,
            lanes: Bounds::default(),
            scheduler: Policy::default(),
            workers: false,
            bursts: rng.within(0, 40),
            floors: false,
            retention: Retention::new(),
            skew_ms: (0..hosts).map(|_| rng.within(0, 100) as i64 - 50).collect(),
            start_us: (0..hosts).map(|_| rng.within(0, 300 * MS)).collect(),
            target_peers: rng.within(2, hosts as u64) as usize,
            faults: Vec::new(),
            chain: None,
        };
        match scenario {
            Scenario::Calm => {}
            Scenario::Lossy => plan.loses(&mut rng),
            Scenario::Partition => plan.falls_apart(&mut rng),
            Scenario::Crash => plan.crashes(&mut rng),
            Scenario::Restart => plan.restarts(&mut rng),
            Scenario::Skew => plan.skews(&mut rng),
            Scenario::ClockJumps => plan.jumps(&mut rng),
            Scenario::Equivocation => plan.equivocates(&mut rng),
            Scenario::Liar => plan.lies(&mut rng),
            Scenario::LateJoiner => plan.joins_late(&mut rng),
            Scenario::Retention => plan.forgets(&mut rng),
            Scenario::Oblivion => plan.outlives(&mut rng),
            Scenario::Floor => plan.rises(&mut rng),
            Scenario::Saturated => plan.saturates(&mut rng),
            Scenario::Everything => plan.everything(&mut rng),
            Scenario::ChainCalm
            | Scenario::ChainLossy
            | Scenario::ChainPartition
            | Scenario::ChainSlow
            | Scenario::ChainDroppers
            | Scenario::ChainTwins
            | Scenario::ChainCrash
            | Scenario::ChainFull
            | Scenario::ChainLate
            | Scenario::ChainSnapshot
            | Scenario::ChainAmnesia
            | Scenario::ChainEndorse
            | Scenario::ChainEverything => chain::draw(&mut plan, scenario, &mut rng),
        }
        plan.faults.sort_by_key(|(at, _)| *at);
        plan
    }

    /// A network of so many, in place of the one that was drawn.
    pub(super) fn of_hosts(&mut self, hosts: usize, rng: &mut Rng) {
        (self.hosts, self.skew_ms, self.start_us) = (0, Vec::new(), Vec::new());
        (0..hosts).for_each(|_| self.add_host(rng));
    }

    /// One more host.
    pub(super) fn add_host(&mut self, rng: &mut Rng) {
        self.hosts += 1;
        self.skew_ms.push(rng.within(0, 100) as i64 - 50);
        self.start_us.push(rng.within(0, 300 * MS));
    }

    fn moment(&self, rng: &mut Rng) -> u64 {
        rng.within(SECOND, self.storm_us - SECOND)
    }

    fn loses(&mut self, rng: &mut Rng) {
        self.weather = Weather {
            latency_us: (2 * MS, rng.within(20, 200) * MS),
            slow: rng.within(0, 60),
            loss: rng.within(20, 350),
            duplicate: rng.within(0, 150),
            reset: rng.within(0, 3),
            mesh: rng.within(400, 950),
        };
        for _ in 0..rng.within(0, 6) {
            self.faults.push((self.moment(rng), Fault::Replay));
        }
    }

    fn falls_apart(&mut self, rng: &mut Rng) {
        for _ in 0..rng.within(1, 3) {
            let at = self.moment(rng);
            let side = rng.within(1, (1 << (self.hosts + self.villains.len())) - 2);
            self.faults.push((at, Fault::Cut { side }));
            self.faults.push((at + rng.within(SECOND, 8 * SECOND), Fault::Mend));
        }
    }

    fn crashes(&mut self, rng: &mut Rng) {
        for _ in 0..rng.within(1, 6) {
            let (host, torn) = (rng.below(self.hosts), rng.chance(500));
            let down_us = rng.within(10 * MS, 4 * SECOND);
            self.faults.push((self.moment(rng), Fault::Crash { host, down_us, torn }));
        }
        if rng.chance(500) {
            let host = rng.below(self.hosts);
            let (one, two) = (self.moment(rng), self.moment(rng));
            self.faults.push((one.min(two), Fault::Backup { host }));
            self.faults.push((one.max(two), Fault::Restore { host, down_us: rng.within(10 * MS, 2 * SECOND) }));
        }
    }

    fn restarts(&mut self, rng: &mut Rng) {
        for _ in 0..rng.within(1, 6) {
            let (host, down_us) = (rng.below(self.hosts), rng.within(10 * MS, 4 * SECOND));
            self.faults.push((self.moment(rng), Fault::Stop { host, down_us }));
        }
    }

    fn skews(&mut self, rng: &mut Rng) {
        for skew in &mut self.skew_ms {
            *skew = rng.within(0, 8_000) as i64 - 4_000;
        }
        for _ in 0..rng.within(1, 4) {
            let most = if rng.chance(500) { 5_000 } else { 40_000 };
            let by_ms = rng.within(0, 2 * most) as i64 - most as i64;
            self.faults.push((self.moment(rng), Fault::Jump { host: rng.below(self.hosts), by_ms }));
        }
    }

    fn jumps(&mut self, rng: &mut Rng) {
        for _ in 0..rng.within(1, 3) {
            let (host, at) = (rng.below(self.hosts), self.moment(rng));
            let by_ms = if rng.chance(500) { HOUR_MS } else { -HOUR_MS };
            let lasts = rng.within(SECOND / 2, 4 * SECOND);
            self.faults.push((at, Fault::Jump { host, by_ms }));
            self.faults.push((at + lasts, Fault::Jump { host, by_ms: -by_ms }));
            // A life that begins or ends while the clock is wrong.
            let (then, down_us) = (at + rng.within(0, 2 * lasts), rng.within(10 * MS, SECOND));
            match rng.below(4) {
                0 => self.faults.push((then, Fault::Stop { host, down_us })),
                1 => self.faults.push((then, Fault::Crash { host, down_us, torn: rng.chance(500) })),
                _ => {}
            }
        }
        if rng.chance(300) {
            self.falls_apart(rng);
        }
        self.weather.loss = rng.within(0, 60);
    }

    fn equivocates(&mut self, rng: &mut Rng) {
        self.villains.push(Role::Equivocator { extends: rng.chance(500) });
        if rng.chance(500) {
            self.falls_apart(rng);
        }
        self.weather.loss = rng.within(0, 60);
    }

    fn lies(&mut self, rng: &mut Rng) {
        self.villains.push(Role::Liar);
        // A liar is dangerous to those who have something to ask.
        let parts: [fn(&mut Plan, &mut Rng); 4] = [Plan::loses, Plan::falls_apart, Plan::crashes, Plan::joins_late];
        for part in parts {
            if rng.chance(300) {
                part(self, rng);
            }
        }
    }

    fn joins_late(&mut self, rng: &mut Rng) {
        let late = rng.below(self.hosts);
        let at = rng.within(self.storm_us / 2, self.storm_us + 2 * SECOND);
        if let Some(start) = self.start_us.get_mut(late) {
            *start = at;
        }
        self.weather.loss = rng.within(0, 60);
        self.bursts = rng.within(20, 120);
    }

    fn forgets(&mut self, rng: &mut Rng) {
        let by_age = Rule { max_age: Some(Duration::from_secs(rng.within(2, 12))), max_bytes: None };
        let by_bytes = Rule { max_age: None, max_bytes: Some(rng.within(2_000, 60_000)) };
        let both = Rule { max_bytes: by_bytes.max_bytes, ..by_age };
        let all = rng.chance(300);
        for category in Category::ALL {
            if all {
                self.retention.insert(category, by_age);
            } else if let Some(rule) = rng.pick(&[by_age, by_bytes, both, Rule::default()]) {
                self.retention.insert(category, rule);
            }
        }
        if rng.chance(500) {
            self.joins_late(rng);
        }
        if rng.chance(300) {
            self.restarts(rng);
        }
    }

    fn outlives(&mut self, rng: &mut Rng) {
        let by_age = Rule { max_age: Some(Duration::from_secs(rng.within(1, 3))), max_bytes: None };
        let by_bytes = Rule { max_age: None, max_bytes: Some(rng.within(500, 5_000)) };
        self.retention.extend(rng.pick(&[by_age, by_bytes]).map(|rule| (Category::Data, rule)));
        let parts: [fn(&mut Plan, &mut Rng); 4] =
            [Plan::joins_late, Plan::falls_apart, Plan::crashes, Plan::equivocates];
        for (part, chance) in parts.into_iter().zip([800, 800, 300, 200]) {
            if rng.chance(chance) {
                part(self, rng);
            }
        }
        if rng.chance(300) {
            self.villains.push(Role::Liar);
        }
    }

    fn rises(&mut self, rng: &mut Rng) {
        self.floors = true;
        self.storm_us = rng.within(14 * SECOND, 22 * SECOND);
        // One is away for longer than it is waited for.
        let (at, side) = (rng.within(SECOND, 4 * SECOND), 1 << rng.below(self.hosts));
        self.faults.push((at, Fault::Cut { side }));
        self.faults.push((at + rng.within(7 * SECOND, 12 * SECOND), Fault::Mend));
        let parts: [fn(&mut Plan, &mut Rng); 4] = [Plan::falls_apart, Plan::joins_late, Plan::restarts, Plan::loses];
        for (part, chance) in parts.into_iter().zip([300, 500, 300, 300]) {
            if rng.chance(chance) {
                part(self, rng);
            }
        }
        if rng.chance(500) {
            self.villains.push(Role::Forger { forks: rng.chance(500) });
        }
    }

    /// Whether somebody makes up floors that nobody can come to.
    pub(super) fn has_forger(&self) -> bool {
        self.villains.iter().any(|role| matches!(role, Role::Forger { .. }))
    }

    fn saturates(&mut self, rng: &mut Rng) {
        self.loses(rng);
        self.weather.loss = rng.within(0, 120);
        self.hosts = self.hosts.min(4);
        self.skew_ms.truncate(self.hosts);
        self.start_us.truncate(self.hosts);
        self.storm_us = rng.within(3 * SECOND, 5 * SECOND);
        self.faults.retain(|(at, _)| *at < self.storm_us);
        self.flood = rng.within(4, 16);
        self.bursts = rng.within(100, 500);
        self.lanes = Bounds {
            messages: rng.within(100, 400) as usize,
            bytes: rng.within(64, 1024) as usize * 1024,
            step_bytes: rng.within(4, 64) as usize * 1024,
            window_bytes: 4096 << rng.within(0, 8),
        };
        self.scheduler = rng.pick(&Policy::ALL).unwrap_or_default();
        self.workers = true;
    }

    fn everything(&mut self, rng: &mut Rng) {
        if rng.chance(400) {
            self.villains.push(Role::Liar);
        }
        if rng.chance(400) {
            self.villains.push(Role::Equivocator { extends: rng.chance(500) });
        }
        let parts: [fn(&mut Plan, &mut Rng); 7] = [
            Plan::loses,
            Plan::falls_apart,
            Plan::crashes,
            Plan::restarts,
            Plan::skews,
            Plan::joins_late,
            Plan::forgets,
        ];
        for part in parts {
            if rng.chance(450) {
                part(self, rng);
            }
        }
    }
}
