//! The laws of the graph, against models that judge everything at once.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::crdt::{Member, Merge, Origin, Replica, State, Wish, Wished, events, events_end};
use crate::types::storage::{Batch, Txn};
use crate::types::{Domain, Incarnation, MemoryStore, MessageId, NodeId, Stamp, WallMs};
use crate::wire::kind::data::{GraphNode, Vector};
use crate::wire::kind::state::{Change as Write, CollectionWrite, Op};

const NODES: [&str; 4] = ["a", "b", "b-c", "d"];
const EDGES: [&str; 5] = ["e0", "e1", "e2", "e3", "e4"];
const PAGE: usize = 3;

/// A replica of one graph, with its store.
#[derive(Default)]
struct Host {
    store: MemoryStore,
    replica: Replica,
}

impl Host {
    fn step(&mut self, work: impl FnOnce(&mut Merge<'_, '_, '_>)) {
        let mut batch = Batch::default();
        let mut tx = Txn::new(&self.store, &mut batch);
        work(&mut Merge::new(&mut self.replica, &mut tx, WallMs(7)));
        self.replica.save(&mut tx);
        self.store.commit(batch);
    }

    fn take(&mut self, write: &Written) {
        self.step(|merge| {
            for member in Member::of(write.said.clone(), write.origin) {
                merge.apply(member);
            }
        });
    }

    fn settle(&mut self) {
        while !self.replica.is_settled() {
            self.step(|merge| {
                merge.sweep(2);
            });
        }
    }

    fn state(&self) -> State<'_> {
        State::of("g", &self.store)
    }

    fn graph(&self) -> Graph {
        let mut graph = Graph::default();
        while graph.load_on(&self.state(), PAGE).unwrap() {}
        graph
    }
}

/// What someone did to the graph.
#[derive(Clone, Debug)]
enum Deed {
    AddNode(usize, u8),
    Move(usize, u8),
    RemoveNode(usize),
    AddEdge(usize, usize, usize, u8),
    Weigh(usize, u8),
    RemoveEdge(usize),
    Note(usize, u8),
    Clear,
}

fn deed() -> impl Strategy<Value = Deed> {
    let (node, edge) = (0..NODES.len(), 0..EDGES.len());
    prop_oneof![
        4 => (node.clone(), 0..3u8).prop_map(|(n, x)| Deed::AddNode(n, x)),
        2 => (node.clone(), 0..3u8).prop_map(|(n, x)| Deed::Move(n, x)),
        2 => node.clone().prop_map(Deed::RemoveNode),
        5 => (edge.clone(), node.clone(), node.clone(), 0..3u8).prop_map(|(e, s, t, w)| Deed::AddEdge(e, s, t, w)),
        2 => (edge.clone(), 0..3u8).prop_map(|(e, w)| Deed::Weigh(e, w)),
        1 => edge.prop_map(Deed::RemoveEdge),
        1 => (node, 0..3u8).prop_map(|(n, x)| Deed::Note(n, x)),
        1 => Just(Deed::Clear),
    ]
}

fn at(x: u8) -> Vector {
    Vector { x: f64::from(x), y: 0.5, z: -1.0 }
}

impl Deed {
    /// The wishes, as a client's; what cannot be wished is none.
    fn wishes(&self) -> Vec<Wish> {
        match *self {
            Deed::AddNode(n, x) => NodeWant { position: Some(at(x)), ..NodeWant::default() }.wishes(NODES[n], true),
            Deed::Move(n, x) => NodeWant { position: Some(at(x)), ..NodeWant::default() }.wishes(NODES[n], false),
            Deed::Note(n, x) => {
                let metadata = [("note".to_string(), (x > 0).then(|| x.to_string()))].into();
                NodeWant { metadata, ..NodeWant::default() }.wishes(NODES[n], false)
            }
            Deed::RemoveNode(n) => Ok(vec![without_node(NODES[n])]),
            Deed::AddEdge(e, s, t, w) => {
                let (source, target) = (Some(NODES[s].to_string()), Some(NODES[t].to_string()));
                EdgeWant { source, target, weight: Some(f64::from(w)), ..EdgeWant::default() }.wishes(EDGES[e], true)
            }
            Deed::Weigh(e, w) => EdgeWant { weight: Some(f64::from(w)), ..EdgeWant::default() }.wishes(EDGES[e], false),
            Deed::RemoveEdge(e) => Ok(vec![without_edge(EDGES[e])]),
            Deed::Clear => {
                Ok(vec![Wish { path: "node".into(), wished: Wished::DeletePrefix, ..without_node("unused") }])
            }
        }
        .unwrap_or_default()
    }
}

/// A write as it is merged, and what it says path by path.
struct Written {
    said: CollectionWrite,
    origin: Origin,
}

fn written(deeds: &[Deed]) -> Vec<Written> {
    let mut all = Vec::new();
    for (deed, n) in deeds.iter().zip(1u64..) {
        let changes: Vec<Write> = deed
            .wishes()
            .into_iter()
            .map(|wish| {
                let op = match wish.wished {
                    Wished::Put(value) => Op::Set { value },
                    Wished::Delete => Op::Delete,
                    Wished::DeletePrefix => Op::DeletePrefix,
                    other => panic!("{other:?} is not wished of a graph"),
                };
                Write { path: wish.path, over: Vec::new(), op }
            })
            .collect();
        if changes.is_empty() {
            continue;
        }
        let origin = Origin {
            author: NodeId([n as u8 % 3 + 1; 32]),
            incarnation: Incarnation(1),
            sequence: n,
            message: MessageId::new(Stamp(n << 16), 0),
            checksum: Domain::Trace.hash(&[&n.to_be_bytes()]),
        };
        all.push(Written { said: CollectionWrite { collection: "g".into(), client: None, changes }, origin });
    }
    all
}

/// Registers by path, from all writes stamped until `until`, taken in the order of their stamps.
fn model(all: &[Written], until: u64) -> BTreeMap<String, Value> {
    let mut cells = BTreeMap::new();
    for write in all.iter().filter(|write| write.origin.message.stamp() <= Stamp(until << 16)) {
        for change in &write.said.changes {
            match &change.op {
                Op::Set { value } => drop(cells.insert(change.path.clone(), value.value())),
                Op::Delete => drop(cells.remove(&change.path)),
                _ => cells.retain(|path: &String, _| !crate::crdt::covers(&change.path, path)),
            }
        }
    }
    cells
}

/// Visible nodes with their places, and visible edges with ends and weight.
type Shown = (BTreeMap<String, Value>, BTreeMap<String, (String, String, f64)>);

fn shown_by_model(cells: &BTreeMap<String, Value>) -> Shown {
    let there = |id: &str| cells.contains_key(&format!("node/{id}"));
    let place = |id: &str| cells.get(&format!("node/{id}/position")).cloned();
    let nodes = NODES.into_iter().filter(|id| there(id));
    let zero = json!({"x": 0.0, "y": 0.0, "z": 0.0});
    let nodes = nodes.map(|id| (id.to_string(), place(id).unwrap_or_else(|| zero.clone())));
    let edges = EDGES.into_iter().filter_map(|id| {
        let ends = cells.get(&format!("edge/{id}"))?;
        let (source, target) = (ends["source"].as_str()?, ends["target"].as_str()?);
        let weight = cells.get(&format!("edge/{id}/weight")).map_or(1.0, |weight| weight.as_f64().unwrap());
        let visible = there(source) && there(target);
        visible.then(|| (id.to_string(), (source.to_string(), target.to_string(), weight)))
    });
    (nodes.collect(), edges.collect())
}

fn shown(graph: &Graph) -> Shown {
    let nodes = graph.nodes_after(None).map(|id| (id.to_string(), json!(graph.place(id).unwrap().0)));
    let edges = graph.visible().map(|(id, s, t, w)| (id.to_string(), (s.to_string(), t.to_string(), w)));
    (nodes.collect(), edges.collect())
}

fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|n| Domain::Trace.hash(&[&seed.to_be_bytes(), &n.to_be_bytes()]));
    order
}

/// A graph that knows only what it was told.
#[derive(Default)]
struct Told {
    nodes: BTreeMap<String, GraphNode>,
    edges: BTreeMap<String, (String, String, f64)>,
}

impl Told {
    fn hear(&mut self, change: &Change) {
        let known = match change {
            Change::NodeAdded { node } => self.nodes.insert(node.id.clone(), (**node).clone()).is_none(),
            Change::NodeChanged { node } => self.nodes.insert(node.id.clone(), (**node).clone()).is_some(),
            Change::NodeRemoved { id } => {
                assert!(self.edges.values().all(|(s, t, _)| s != id && t != id), "{id} has edges");
                self.nodes.remove(id).is_some()
            }
            Change::NodeMoved { id, position, velocity } => self.nodes.get_mut(id).is_some_and(|node| {
                (node.position, node.velocity) = (*position, *velocity);
                true
            }),
            Change::EdgeCreated { edge } => {
                assert!(self.nodes.contains_key(&edge.source) && self.nodes.contains_key(&edge.target), "{edge:?}");
                let told = (edge.source.clone(), edge.target.clone(), edge.weight);
                self.edges.insert(edge.id.clone(), told).is_none()
            }
            Change::EdgeDeleted { id } => self.edges.remove(id).is_some(),
            Change::EdgeWeightChanged { id, weight } => self.edges.get_mut(id).is_some_and(|edge| {
                edge.2 = *weight;
                true
            }),
            Change::EdgeChanged { edge } => self.edges.contains_key(&edge.id),
        };
        assert!(known, "told once, and in order: {change:?}");
    }

    fn shown(&self) -> Shown {
        let nodes = self.nodes.iter().map(|(id, node)| (id.clone(), json!(node.position)));
        (nodes.collect(), self.edges.clone())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn in_whatever_order_writes_come_the_graph_is_that_of_the_model(
        deeds in prop::collection::vec(deed(), 1..30), seed in any::<u64>(),
    ) {
        let all = written(&deeds);
        let mut host = Host::default();
        shuffled(all.len(), seed).iter().for_each(|n| host.take(&all[*n]));
        host.settle();
        prop_assert_eq!(shown(&host.graph()), shown_by_model(&model(&all, u64::MAX >> 16)));
    }

    #[test]
    fn changes_told_one_by_one_make_the_graph_that_is_read(
        deeds in prop::collection::vec(deed(), 1..30), seed in any::<u64>(), together in 1..4usize,
    ) {
        let all = written(&deeds);
        let (mut host, mut graph, mut told) = (Host::default(), Graph::default(), Told::default());
        let mut next = 0;
        for some in shuffled(all.len(), seed).chunks(together) {
            some.iter().for_each(|n| host.take(&all[*n]));
            host.settle();
            let happened = events(next, usize::MAX, &host.store);
            next = events_end(&host.store);
            let touched: BTreeSet<Subject> = happened.iter().filter_map(|event| subject(event.place().1)).collect();
            if touched.contains(&Subject::All) {
                graph = host.graph();
                told = Told::default();
                graph.nodes_after(None).for_each(|id| {
                    told.nodes.insert(id.into(), graph.node(id, &host.state()).unwrap());
                });
                told.edges = shown(&graph).1;
            } else {
                graph.observe(&touched, &host.state()).unwrap().iter().for_each(|change| told.hear(change));
            }
            prop_assert_eq!(told.shown(), shown(&graph));
        }
        prop_assert_eq!(shown(&graph), shown(&host.graph()));
        for (id, node) in &told.nodes {
            let read = graph.node(id, &host.state()).unwrap();
            prop_assert_eq!(&node.metadata, &read.metadata);
            let joined = told.edges.values().filter(|(s, t, _)| s == id || t == id);
            let joined: BTreeSet<&String> = joined.map(|(s, t, _)| if s == id { t } else { s }).collect();
            prop_assert_eq!(joined.into_iter().cloned().collect::<Vec<_>>(), read.connections);
        }
    }

    #[test]
    fn the_graph_at_a_time_is_that_of_what_was_stamped_until_then(
        deeds in prop::collection::vec(deed(), 1..30), until in 0..31u64, seed in any::<u64>(),
    ) {
        let all = written(&deeds);
        let mut host = Host::default();
        shuffled(all.len(), seed).iter().for_each(|n| host.take(&all[*n]));
        host.settle();
        let mut whole = Whole::at(Stamp(until << 16));
        while whole.go_on(&host.state(), PAGE).unwrap() {}
        let was = whole.finish();
        let nodes = was.nodes.iter().map(|node| (node.id.clone(), json!(node.position))).collect();
        let edges = was.edges.iter().map(|e| (e.id.clone(), (e.source.clone(), e.target.clone(), e.weight))).collect();
        prop_assert_eq!((nodes, edges), shown_by_model(&model(&all, until)));
        prop_assert_eq!(was.forgotten, 0);
    }

    #[test]
    fn shortest_paths_are_those_of_an_exhaustive_search(
        deeds in prop::collection::vec(deed(), 1..40), from in 0..NODES.len(), both in any::<bool>(),
    ) {
        let all = written(&deeds);
        let mut host = Host::default();
        all.iter().for_each(|write| host.take(write));
        host.settle();
        let graph = host.graph();
        let direction = if both { Direction::Both } else { Direction::Forward };
        let Some(found) = routes(&graph, NODES[from], direction) else {
            prop_assert!(!graph.has(NODES[from]));
            return Ok(());
        };
        let mut best = BTreeMap::new();
        let mut start = Walk { at: NODES[from].into(), length: 0, edges: Vec::new(), nodes: vec![NODES[from].into()] };
        walk(&mut start, &shown(&graph).1, both, &mut best);
        let search: BTreeMap<String, (i64, usize, Option<String>)> = best;
        let found_too = found.iter().map(|(id, route)| {
            (id.clone(), (route.distance as i64, route.edges as usize, route.edge.clone()))
        });
        prop_assert_eq!(found_too.collect::<BTreeMap<_, _>>(), search);
        for (id, route) in &found {
            let nodes = nodes_to(&found, id);
            prop_assert_eq!(nodes.len(), route.edges as usize + 1);
            prop_assert_eq!((nodes.first().map(String::as_str), nodes.last()), (Some(NODES[from]), Some(id)));
        }
    }

    #[test]
    fn ids_and_paths_are_judged_without_panic(text in ".{0,40}") {
        let path = format!("node/{text}");
        if id_fault(&text).is_none() {
            prop_assert_eq!(subject(&path), Some(Subject::Node(text.clone())));
            prop_assert!(crate::wire::kind::state::path_fault(&path).is_none());
        }
        let _ = (subject(&text), path::field("node", &text));
    }
}

struct Walk {
    at: String,
    length: i64,
    edges: Vec<String>,
    nodes: Vec<String>,
}

type Best = BTreeMap<String, (i64, usize, Option<String>)>;

/// Goes every way that passes no node twice.
fn walk(here: &mut Walk, edges: &BTreeMap<String, (String, String, f64)>, both: bool, best: &mut Best) {
    let found = (here.length, here.edges.len(), here.edges.last().cloned());
    let known = best.entry(here.at.clone()).or_insert_with(|| found.clone());
    *known = found.min(known.clone());
    for (id, (source, target, weight)) in edges {
        let next = match (*source == here.at, both && *target == here.at) {
            (true, _) => target,
            (_, true) => source,
            _ => continue,
        };
        if here.nodes.contains(next) {
            continue;
        }
        let mut on = Walk {
            at: next.clone(),
            length: here.length + *weight as i64,
            edges: here.edges.clone(),
            nodes: here.nodes.clone(),
        };
        on.edges.push(id.clone());
        on.nodes.push(next.clone());
        walk(&mut on, edges, both, best);
    }
}

#[test]
fn removing_a_node_hides_its_edges_and_adding_it_back_shows_them() {
    let deeds = [Deed::AddNode(0, 0), Deed::AddNode(1, 0), Deed::AddEdge(0, 0, 1, 2), Deed::RemoveNode(1)];
    let mut host = Host::default();
    written(&deeds).iter().for_each(|write| host.take(write));
    host.settle();
    assert_eq!((host.graph().sees("e0"), host.graph().connections("a")), (false, Vec::new()));
    let back = written(&[deeds.to_vec(), vec![Deed::AddNode(1, 1)]].concat());
    host.take(&back[4]);
    assert_eq!((host.graph().sees("e0"), host.graph().connections("a")), (true, vec!["b".to_string()]));
}

#[test]
fn what_has_the_wrong_shape_counts_as_not_there() {
    let set = |path: &str, value: Value| Write {
        path: path.into(),
        over: Vec::new(),
        op: Op::Set { value: crate::wire::kind::Json::from(&value) },
    };
    let mut write = written(&[Deed::AddNode(0, 1), Deed::AddNode(1, 1)]);
    write[1].said.changes.extend([
        set("node/a/title", json!(7)),
        set("node/a/position", json!({"x": 1})),
        set("edge/e0", json!({"source": "a", "target": "a"})),
        set("edge/e1", json!(true)),
        set("edge/e2", json!({"source": "a", "target": "b"})),
        set("edge/e2/weight", json!(-1)),
        set("node/a/else", json!("?")),
    ]);
    let mut host = Host::default();
    write.iter().for_each(|write| host.take(write));
    let graph = host.graph();
    let node = graph.node("a", &host.state()).unwrap();
    assert_eq!((node.title.as_str(), node.node_type.as_str(), node.position), ("a", "node", held::ZERO));
    assert_eq!(graph.visible().collect::<Vec<_>>(), [("e2", "a", "b", 1.0)]);
}

#[test]
fn what_is_wanted_is_checked_before_it_is_written() {
    let node = NodeWant::default();
    assert!(node.wishes("a/b", true).is_err() && node.wishes("", true).is_err() && node.wishes("..", true).is_err());
    let far = NodeWant { position: Some(Vector { x: f64::INFINITY, y: 0.0, z: 0.0 }), ..NodeWant::default() };
    assert!(far.wishes("a", true).unwrap_err().contains("position"));
    let edge = EdgeWant { source: Some("a".into()), target: Some("a".into()), ..EdgeWant::default() };
    assert!(edge.wishes("e", true).unwrap_err().contains("target"));
    assert!(EdgeWant { source: Some("a".into()), ..EdgeWant::default() }.wishes("e", false).is_err());
    assert!(EdgeWant { weight: Some(-1.0), ..EdgeWant::default() }.wishes("e", false).is_err());
    let metadata = (0..64).map(|n| (n.to_string(), Some("x".to_string()))).collect();
    let much = NodeWant { metadata, title: Some("t".into()), ..NodeWant::default() };
    assert!(much.wishes("a", true).unwrap_err().contains("at most 64"));
}
