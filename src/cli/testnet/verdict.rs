//! Whether a network is where it should be, and if not, what is missing. Pure: judges what was seen.

use std::collections::{BTreeMap, BTreeSet};

use super::probe::{Sight, State, Status};

/// What is waited for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Goal {
    /// Each node has at least so many peers.
    pub peers: Option<u64>,
    /// All nodes hold the same.
    pub converged: bool,
    /// Each node has at least so many messages.
    pub messages: u64,
}

/// Whether all nodes are up and hold the same: equal digests over feeds and state.
pub fn converged(sights: &[Sight]) -> bool {
    let mut roots: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (_, status) in accounts(sights) {
        // Nodes of different types hold the same on the topics that both follow.
        let topics = status.heads_roots.iter().map(|(topic, root)| (topic.as_str(), root.as_str()));
        let all = status.heads_roots.is_empty().then_some(("", status.heads_root.as_str()));
        let state = status.state_root.as_deref().map(|root| ("state", root));
        let ledger = status.chain_root.as_deref().map(|root| ("ledger", root));
        for (of, root) in topics.chain(all).chain(state).chain(ledger) {
            roots.entry(of).or_default().insert(root);
        }
    }
    roots.values().all(|of| of.len() == 1) && sights.iter().all(|sight| sight.state == State::Up)
}

/// How many nodes have reached the goal's number of peers.
pub fn connected_count(sights: &[Sight], wanted: u64) -> usize {
    accounts(sights).filter(|(_, status)| status.peers >= wanted).count()
}

/// What is missing, a line each; nothing when the goal is reached.
pub fn missing(sights: &[Sight], goal: Goal) -> Vec<String> {
    let mut lines: Vec<String> = sights.iter().filter_map(absent).collect();
    if let Some(wanted) = goal.peers {
        let few = accounts(sights).filter(|(_, status)| status.peers < wanted);
        lines.extend(few.map(|(name, status)| format!("{name} has {} of {wanted} peers", status.peers)));
    }
    let short = accounts(sights).filter(|(_, status)| status.messages < goal.messages);
    lines.extend(short.map(|(name, s)| format!("{name} has {} of {} messages", s.messages, goal.messages)));
    if goal.converged && !converged(sights) {
        lines.extend(differences(sights));
    }
    lines
}

/// Who of those that are up is not connected with whom. `connected`: by a node's name, the ids it is connected with.
pub fn strangers(sights: &[Sight], connected: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, theirs) in connected {
        let others = sights.iter().filter(|sight| sight.state == State::Up && sight.name != *name);
        let missing: Vec<_> = others.filter(|other| !theirs.contains(&other.id)).map(|o| o.name.as_str()).collect();
        if !missing.is_empty() {
            lines.push(format!("{name} is not connected with {}", missing.join(", ")));
        }
    }
    lines
}

fn accounts(sights: &[Sight]) -> impl Iterator<Item = (&str, &Status)> {
    sights.iter().filter_map(|sight| Some((sight.name.as_str(), sight.status.as_ref()?)))
}

fn absent(sight: &Sight) -> Option<String> {
    match sight.state {
        State::Up => None,
        State::Silent => Some(format!("{} runs and does not answer; is it paused?", sight.name)),
        State::Down => Some(format!("{} is down", sight.name)),
    }
}

/// Who lacks what, against the most that any node has; or only that roots differ.
fn differences(sights: &[Sight]) -> Vec<String> {
    let mut most: BTreeMap<&str, u64> = BTreeMap::new();
    for (category, count) in accounts(sights).flat_map(|(_, status)| counts(status)) {
        let known = most.entry(category).or_default();
        *known = count.max(*known);
    }
    let mut lines = Vec::new();
    for (name, status) in accounts(sights) {
        let own: BTreeMap<&str, u64> = counts(status).collect();
        let lacks = |(category, most): (&&str, &u64)| {
            let lack = most - own.get(category).copied().unwrap_or(0);
            (lack > 0).then(|| format!("{lack} of {most} {category}"))
        };
        let lacks: Vec<String> = most.iter().filter_map(lacks).collect();
        if !lacks.is_empty() {
            lines.push(format!("{name} lacks messages: {}", lacks.join(", ")));
        }
    }
    if lines.is_empty() { roots(sights) } else { lines }
}

fn counts(status: &Status) -> impl Iterator<Item = (&str, u64)> {
    status.categories.iter().map(|(category, totals)| (category.as_str(), totals.messages))
}

fn roots(sights: &[Sight]) -> Vec<String> {
    let mut groups: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for (name, status) in accounts(sights) {
        let key = (&status.heads_root, &status.state_root, &status.chain_root);
        groups.entry(key).or_default().push(name);
    }
    if groups.len() < 2 {
        return Vec::new();
    }
    let root = |name: &str, root: &Option<String>| {
        root.as_deref().map(|root| format!(", {name} {}", short(root))).unwrap_or_default()
    };
    let lines = groups.iter().map(|((heads, state, ledger), names)| {
        let (state, ledger) = (root("state", state), root("ledger", ledger));
        format!("{} hold what has heads {}{state}{ledger}", names.join(", "), short(heads))
    });
    lines.collect()
}

/// The first eight characters of a digest.
pub fn short(root: &str) -> &str {
    root.get(..8).unwrap_or(root)
}

#[cfg(test)]
mod tests {
    use super::super::probe::Category;
    use super::*;

    fn up(n: u64, peers: u64, messages: u64, root: &str) -> Sight {
        let status = Status {
            id: format!("id-{n}"),
            peers,
            messages,
            heads_root: root.into(),
            heads_roots: BTreeMap::new(),
            state_root: None,
            height: None,
            chain_root: None,
            categories: BTreeMap::from([("Data".into(), Category { messages })]),
        };
        Sight { name: format!("node-{n}"), id: format!("id-{n}"), state: State::Up, status: Some(status) }
    }

    fn gone(n: u64, state: State) -> Sight {
        Sight { state, status: None, ..up(n, 0, 0, "") }
    }

    const SAME: Goal = Goal { peers: None, converged: true, messages: 0 };

    #[test]
    fn a_network_that_holds_the_same_lacks_nothing() {
        let sights = [up(0, 1, 5, "aa"), up(1, 1, 5, "aa")];
        assert!(converged(&sights) && converged(&[]));
        assert!(missing(&sights, Goal { peers: Some(1), converged: true, messages: 5 }).is_empty());
        assert_eq!(connected_count(&sights, 1), 2);
    }

    #[test]
    fn who_is_down_or_silent_is_named() {
        let sights = [up(0, 1, 5, "aa"), gone(1, State::Down), gone(2, State::Silent)];
        assert!(!converged(&sights));
        let lines = missing(&sights, SAME);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("node-1 is down") && lines[1].starts_with("node-2 runs and does not answer"));
    }

    #[test]
    fn who_lacks_messages_is_named_with_their_category() {
        let lines = missing(&[up(0, 1, 5, "aa"), up(1, 1, 3, "bb")], SAME);
        assert_eq!(lines, ["node-1 lacks messages: 2 of 5 Data"]);
        let lines = missing(&[up(0, 1, 5, "aa"), up(1, 1, 5, "bb")], SAME);
        assert_eq!(lines, ["node-0 hold what has heads aa", "node-1 hold what has heads bb"]);
    }

    #[test]
    fn too_few_peers_and_messages_are_counted() {
        let goal = Goal { peers: Some(2), converged: false, messages: 6 };
        let lines = missing(&[up(0, 1, 6, "aa"), up(1, 2, 4, "bb")], goal);
        assert_eq!(lines, ["node-0 has 1 of 2 peers", "node-1 has 4 of 6 messages"]);
    }

    #[test]
    fn strangers_are_named() {
        let sights = [up(0, 1, 0, ""), up(1, 1, 0, ""), gone(2, State::Down)];
        let ids = |ids: &[&str]| ids.iter().map(|id| id.to_string()).collect::<BTreeSet<_>>();
        let connected = BTreeMap::from([("node-0".to_string(), ids(&["id-1"])), ("node-1".to_string(), ids(&["x"]))]);
        assert_eq!(strangers(&sights, &connected), ["node-1 is not connected with node-0"]);
    }
}
