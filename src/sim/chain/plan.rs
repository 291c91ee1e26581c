//! What goes wrong in a run about agreement and the ledger, drawn from the seed before anything happens.

use crate::sim::rng::Rng;
use crate::sim::scenario::{Fault, Plan, Scenario, Weather};

const MS: u64 = 1_000;
const SECOND: u64 = 1_000 * MS;

/// Records a validator writes in a run, about: crashes are spread over them.
const RECORDS: u64 = 240;

/// What a validator does wrong, without signing anything it should not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Vice {
    /// Its own votes do not leave it.
    pub drops_votes: bool,
    /// Its own proposals do not leave it, and it gives no bodies.
    pub drops_proposals: bool,
    /// Parts of a state that it gives are altered.
    pub spoils_parts: bool,
}

/// A machine that loses power when so many records of agreement's log are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CrashAt {
    /// Which machine.
    pub host: usize,
    /// The record, from 1, counted over all its lives.
    pub record: u64,
    /// Whether the frame with the record in it is on the disk in part only.
    pub torn: bool,
}

/// Everything drawn for the chain of a run. Hosts by number.
#[derive(Clone, Debug)]
pub struct ChainPlan {
    /// So many hosts, the first, are validators.
    pub validators: usize,
    /// From a decision to the next height, milliseconds.
    pub cadence_ms: u64,
    /// What hosts do wrong until the storm is over.
    pub vices: Vec<(usize, Vice)>,
    /// The second of each pair has the key of the first.
    pub twins: Vec<(usize, usize)>,
    /// Until the storm is over frames reach their own side only, and sides are drawn anew this often, microseconds.
    pub slices_us: Option<u64>,
    /// What this host says takes so much longer, microseconds.
    pub slow: Option<(usize, u64)>,
    /// Crashes that wait for a record.
    pub crashes: Vec<CrashAt>,
    /// A host that fetches the state when it is so many blocks behind. One at the most: a validator that comes so
    /// abstains, and two of five that do are more than agreement can bear.
    pub joiner: Option<(usize, u64)>,
    /// Who comes late is told a block by its operator.
    pub trusts: bool,
    /// Clients write to replicated state, and have validators endorse it.
    pub endorses: bool,
    /// Nothing may be decided while the vices last.
    pub stalls: bool,
}

/// A run about the chain; none for a scenario of another sort.
pub fn draw(plan: &mut Plan, scenario: Scenario, rng: &mut Rng) {
    let validators = 4;
    let followers = match scenario {
        Scenario::ChainLate | Scenario::ChainSnapshot => 1,
        _ => rng.below(2),
    };
    plan.of_hosts(validators + followers, rng);
    plan.storm_us = rng.within(7 * SECOND, 11 * SECOND);
    plan.call_every_us = (15 * MS, rng.within(60, 300) * MS);
    plan.target_peers = plan.hosts;
    let mut chain = ChainPlan {
        validators,
        cadence_ms: rng.within(20, 400),
        vices: Vec::new(),
        twins: Vec::new(),
        slices_us: None,
        slow: None,
        crashes: Vec::new(),
        joiner: None,
        trusts: false,
        endorses: false,
        stalls: false,
    };
    match scenario {
        Scenario::ChainLossy => loses(plan, rng),
        Scenario::ChainPartition => falls_apart(plan, &mut chain, rng),
        Scenario::ChainSlow => chain.slow = Some((rng.below(validators), rng.within(100, 1_500) * MS)),
        Scenario::ChainDroppers => drops(&mut chain, rng),
        Scenario::ChainTwins => twins(plan, &mut chain, &[3], rng),
        Scenario::ChainCrash => crashes(plan, &mut chain, rng),
        Scenario::ChainFull => fills(plan, rng),
        Scenario::ChainLate => {
            joins_late(plan, rng);
        }
        Scenario::ChainSnapshot => joins_by_state(plan, &mut chain, rng),
        Scenario::ChainEndorse => {
            chain.endorses = true;
            if rng.chance(500) { loses(plan, rng) } else { falls_apart(plan, &mut chain, rng) }
        }
        Scenario::ChainAmnesia => forgets(plan, &mut chain, rng),
        Scenario::ChainEverything => everything(plan, &mut chain, rng),
        Scenario::ChainCalm
        | Scenario::Calm
        | Scenario::Lossy
        | Scenario::Partition
        | Scenario::Crash
        | Scenario::Restart
        | Scenario::Skew
        | Scenario::ClockJumps
        | Scenario::Equivocation
        | Scenario::Liar
        | Scenario::LateJoiner
        | Scenario::Retention
        | Scenario::Oblivion
        | Scenario::Floor
        | Scenario::Saturated
        | Scenario::Everything => {}
    }
    plan.chain = Some(chain);
}

/// A run with these validators twinned: more than one is beyond what agreement can bear.
pub fn twins(plan: &mut Plan, chain: &mut ChainPlan, of: &[usize], rng: &mut Rng) {
    for of in of {
        chain.twins.push((*of, plan.hosts));
        plan.add_host(rng);
    }
    plan.target_peers = plan.hosts;
    chain.slices_us = Some(rng.within(80, 900) * MS);
}

fn loses(plan: &mut Plan, rng: &mut Rng) {
    plan.weather = Weather {
        latency_us: (2 * MS, rng.within(15, 60) * MS),
        slow: rng.within(0, 40),
        loss: rng.within(0, 300),
        duplicate: rng.within(0, 200),
        reset: 0,
        mesh: rng.within(700, 1_000),
    };
}

/// Two and two, three and one, one way only, or in other parts again and again.
fn falls_apart(plan: &mut Plan, chain: &mut ChainPlan, rng: &mut Rng) {
    let all = (1 << plan.hosts) - 1;
    let one = 1 << rng.below(4);
    let pair = rng.pick(&[0b0011, 0b0101, 0b1001]).unwrap_or(0b0011);
    match rng.below(5) {
        0 => cut(plan, Fault::Cut { side: pair }, rng),
        1 => cut(plan, Fault::Cut { side: one }, rng),
        2 => cut(plan, Fault::Mute { from: one, to: all & !one }, rng),
        3 => cut(plan, Fault::Mute { from: all & !one, to: one }, rng),
        _ => chain.slices_us = Some(rng.within(100, 2_000) * MS),
    }
}

fn cut(plan: &mut Plan, fault: Fault, rng: &mut Rng) {
    let at = rng.within(SECOND, plan.storm_us / 2);
    plan.faults.push((at, fault));
    plan.faults.push((at + rng.within(SECOND, 5 * SECOND), Fault::Mend));
}

/// One of four is borne; two of four who keep their votes stop the others, and that is right.
fn drops(chain: &mut ChainPlan, rng: &mut Rng) {
    let one = rng.below(4);
    let other = (one + 1 + rng.below(3)) % 4;
    let votes = Vice { drops_votes: true, drops_proposals: false, spoils_parts: false };
    let proposals = Vice { drops_votes: false, drops_proposals: true, spoils_parts: false };
    match rng.below(4) {
        0 => chain.vices = vec![(one, votes)],
        1 => chain.vices = vec![(one, proposals)],
        2 => chain.vices = vec![(one, Vice { drops_votes: true, drops_proposals: true, spoils_parts: false })],
        _ => {
            chain.vices = vec![(one, votes), (other, votes)];
            chain.stalls = true;
        }
    }
}

fn crashes(plan: &mut Plan, chain: &mut ChainPlan, rng: &mut Rng) {
    for _ in 0..rng.within(1, 4) {
        let (host, record, torn) = (rng.below(4), rng.within(1, RECORDS), rng.chance(600));
        chain.crashes.push(CrashAt { host, record, torn });
    }
    for _ in 0..rng.within(0, 3) {
        let at = rng.within(SECOND, plan.storm_us);
        let down_us = rng.within(10 * MS, 2 * SECOND);
        // Now and then all lose power at once.
        let hosts =
            if rng.chance(250) { 0..plan.hosts } else { Some(rng.below(plan.hosts)).map_or(0..0, |n| n..n + 1) };
        hosts.for_each(|host| plan.faults.push((at, Fault::Crash { host, down_us, torn: rng.chance(500) })));
    }
}

fn fills(plan: &mut Plan, rng: &mut Rng) {
    for _ in 0..rng.within(1, 2) {
        let (host, down_us) = (rng.below(4), rng.within(500 * MS, 4 * SECOND));
        plan.faults.push((rng.within(SECOND, plan.storm_us - SECOND), Fault::Fill { host, down_us }));
    }
}

/// One who follows comes when much is decided, or a validator was away for long: which host.
fn joins_late(plan: &mut Plan, rng: &mut Rng) -> usize {
    let late = if rng.chance(700) { plan.hosts - 1 } else { rng.below(4) };
    let at = rng.within(plan.storm_us / 2, plan.storm_us + SECOND);
    if let Some(start) = plan.start_us.get_mut(late) {
        *start = at;
    }
    plan.weather.loss = rng.within(0, 60);
    late
}

/// One comes when there is a state to fetch, from peers of which one alters it, and loses power on the way.
fn joins_by_state(plan: &mut Plan, chain: &mut ChainPlan, rng: &mut Rng) {
    loses(plan, rng);
    plan.weather.loss = rng.within(0, 100);
    chain.cadence_ms = rng.within(20, 60);
    let behind = rng.within(2, 6);
    chain.trusts = rng.chance(500);
    let spoils = Vice { drops_votes: false, drops_proposals: false, spoils_parts: true };
    chain.vices = vec![(rng.below(4), spoils)];
    let (late, at) = (plan.hosts - 1, rng.within(plan.storm_us / 2, plan.storm_us - SECOND));
    chain.joiner = Some((late, behind));
    if let Some(start) = plan.start_us.get_mut(late) {
        *start = at;
    }
    for _ in 0..rng.within(0, 4) {
        let down_us = rng.within(10 * MS, 300 * MS);
        let when = at + rng.within(20 * MS, 1_500 * MS);
        plan.faults.push((when, Fault::Crash { host: late, down_us, torn: rng.chance(500) }));
    }
}

/// One validator at a time loses the log of its votes; now and then one loses everything, for good.
fn forgets(plan: &mut Plan, chain: &mut ChainPlan, rng: &mut Rng) {
    plan.weather.loss = rng.within(0, 60);
    let behind = rng.chance(500).then(|| rng.within(5, 25));
    let whole = rng.chance(400);
    let (mut at, mut host) = (rng.within(SECOND, 2 * SECOND), rng.below(4));
    chain.joiner = behind.map(|behind| (host, behind));
    while at + 3 * SECOND < plan.storm_us {
        let down_us = rng.within(10 * MS, SECOND);
        plan.faults.push((at, Fault::Forget { host, down_us, whole }));
        at += down_us + rng.within(SECOND, 3 * SECOND);
        host = if whole { host } else { rng.below(4) };
    }
}

fn everything(plan: &mut Plan, chain: &mut ChainPlan, rng: &mut Rng) {
    if rng.chance(500) {
        loses(plan, rng);
        plan.weather.loss /= 2;
    }
    if rng.chance(500) {
        falls_apart(plan, chain, rng);
    }
    if rng.chance(600) {
        crashes(plan, chain, rng);
    }
    if rng.chance(300) {
        fills(plan, rng);
    }
    if rng.chance(300) {
        chain.slow = Some((rng.below(4), rng.within(50, 500) * MS));
    }
    if rng.chance(300) {
        chain.joiner = Some((joins_late(plan, rng), rng.within(5, 60)));
    }
    if rng.chance(300) {
        twins(plan, chain, &[3], rng);
    }
}
