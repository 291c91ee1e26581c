//! What a client wants of a node or an edge, and the wishes to the state that it comes to.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::held::ZERO;
use super::path::{edge_path, id_fault, node_path};
use crate::crdt::{Condition, Wish, Wished};
use crate::types::{WallMs, limits};
use crate::wire::Faults;
use crate::wire::kind::data::{GraphEdge, GraphNode, Vector};
use crate::wire::kind::{Json, Rules};

/// Fields of a node; those that are not named stay as they are.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeWant {
    /// What it is.
    #[serde(rename = "type", default)]
    pub node_type: Option<String>,
    /// What is shown.
    #[serde(default)]
    pub title: Option<String>,
    /// What is behind it, at most 8 KiB.
    #[serde(default)]
    pub content: Option<String>,
    /// Where it is.
    #[serde(default)]
    pub position: Option<Vector>,
    /// How it moves.
    #[serde(default)]
    pub velocity: Option<Vector>,
    /// What else is known of it, by name; `null` takes a name out.
    #[serde(default)]
    pub metadata: BTreeMap<String, Option<String>>,
}

/// Fields of an edge; those that are not named stay as they are.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EdgeWant {
    /// The node it comes from, with `target`.
    #[serde(default)]
    pub source: Option<String>,
    /// The node it goes to; another one.
    #[serde(default)]
    pub target: Option<String>,
    /// What it is.
    #[serde(rename = "type", default)]
    pub edge_type: Option<String>,
    /// How long it is, 0 or more.
    #[serde(default)]
    pub weight: Option<f64>,
    /// What else is known of it, by name; `null` takes a name out.
    #[serde(default)]
    pub metadata: BTreeMap<String, Option<String>>,
}

impl NodeWant {
    /// The wishes; with `adds` the node is there afterwards. Fails with every fault of what is wanted.
    pub fn wishes(&self, id: &str, adds: bool) -> Result<Vec<Wish>, String> {
        self.check(id)?;
        let path = node_path(id);
        let mut wishes = Wishes::new(&path, &self.metadata);
        wishes.put_if("", adds.then_some(Value::Bool(true)));
        wishes.put_if("/type", self.node_type.as_ref().map(|text| json!(text)));
        wishes.put_if("/title", self.title.as_ref().map(|text| json!(text)));
        wishes.put_if("/content", self.content.as_ref().map(|text| json!(text)));
        wishes.put_if("/position", self.position.map(|place| json!(place)));
        wishes.put_if("/velocity", self.velocity.map(|speed| json!(speed)));
        wishes.done()
    }

    /// The rules of a node in a message hold here as well: what is in a graph can be said in one.
    fn check(&self, id: &str) -> Result<(), String> {
        let node = GraphNode {
            id: id.into(),
            node_type: self.node_type.clone().unwrap_or_else(|| "node".into()),
            title: self.title.clone().unwrap_or_else(|| id.into()),
            content: self.content.clone().unwrap_or_default(),
            position: self.position.unwrap_or(ZERO),
            velocity: self.velocity.unwrap_or(ZERO),
            metadata: said(&self.metadata),
            connections: Vec::new(),
            last_modified_ms: WallMs(1),
        };
        names(id, &self.metadata)?;
        keeps(&node)
    }
}

impl EdgeWant {
    /// The wishes; with `adds` the edge is there afterwards, and both ends must be named. Ends are named together.
    pub fn wishes(&self, id: &str, adds: bool) -> Result<Vec<Wish>, String> {
        let ends = match (&self.source, &self.target) {
            (Some(source), Some(target)) => Some((source.clone(), target.clone())),
            (None, None) if !adds => None,
            _ => return Err("source and target: name both ends of the edge".into()),
        };
        self.check(id, ends.as_ref())?;
        let path = edge_path(id);
        let mut wishes = Wishes::new(&path, &self.metadata);
        wishes.put_if("", ends.map(|(source, target)| json!({"source": source, "target": target})));
        wishes.put_if("/type", self.edge_type.as_ref().map(|text| json!(text)));
        wishes.put_if("/weight", self.weight.map(|weight| json!(weight)));
        wishes.done()
    }

    fn check(&self, id: &str, ends: Option<&(String, String)>) -> Result<(), String> {
        let (source, target) = ends.cloned().unwrap_or_else(|| ("a".into(), "b".into()));
        for end in [&source, &target] {
            id_fault(end).map_or(Ok(()), |fault| Err(format!("source and target: {fault}")))?;
        }
        let edge = GraphEdge {
            id: id.into(),
            source,
            target,
            edge_type: self.edge_type.clone().unwrap_or_else(|| "edge".into()),
            weight: self.weight.unwrap_or_default(),
            metadata: said(&self.metadata),
        };
        names(id, &self.metadata)?;
        keeps(&edge)
    }
}

/// The wish that takes a node out. Its edges stay, and are hidden.
pub fn without_node(id: &str) -> Wish {
    Wish { path: node_path(id), wished: Wished::DeletePrefix, condition: Condition::None }
}

/// The wish that takes an edge out.
pub fn without_edge(id: &str) -> Wish {
    Wish { path: edge_path(id), wished: Wished::DeletePrefix, condition: Condition::None }
}

/// The wishes for where a node is and how it moves.
pub fn moved(id: &str, position: Vector, velocity: Vector) -> [Wish; 2] {
    let wish = |name: &str, vector: Vector| Wish {
        path: format!("{}/{name}", node_path(id)),
        wished: Wished::Put(Json::from(&json!(vector))),
        condition: Condition::None,
    };
    [wish("position", position), wish("velocity", velocity)]
}

struct Wishes<'a> {
    path: &'a str,
    wishes: Vec<Wish>,
}

impl<'a> Wishes<'a> {
    fn new(path: &'a str, metadata: &BTreeMap<String, Option<String>>) -> Wishes<'a> {
        let mut wishes = Wishes { path, wishes: Vec::new() };
        for (name, text) in metadata {
            let wished = text.as_ref().map_or(Wished::Delete, |text| Wished::Put(Json::from(&json!(text))));
            wishes.push(&format!("/metadata/{name}"), wished);
        }
        wishes
    }

    fn push(&mut self, field: &str, wished: Wished) {
        self.wishes.push(Wish { path: format!("{}{field}", self.path), wished, condition: Condition::None });
    }

    fn put_if(&mut self, field: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.push(field, Wished::Put(Json::from(&value)));
        }
    }

    fn done(self) -> Result<Vec<Wish>, String> {
        let (count, most) = (self.wishes.len(), limits::WRITE_CHANGES);
        if count > most {
            return Err(format!("{count} fields, but at most {most} are written at once; write the rest afterwards"));
        }
        Ok(self.wishes)
    }
}

fn said(metadata: &BTreeMap<String, Option<String>>) -> BTreeMap<String, String> {
    metadata.iter().filter_map(|(name, text)| Some((name.clone(), text.clone()?))).collect()
}

fn names(id: &str, metadata: &BTreeMap<String, Option<String>>) -> Result<(), String> {
    id_fault(id).map_or(Ok(()), |fault| Err(format!("id: {fault}")))?;
    let fault = metadata.keys().find_map(|name| id_fault(name).map(|fault| (name, fault)));
    fault.map_or(Ok(()), |(name, fault)| Err(format!("metadata: `{name}`: {fault}")))
}

fn keeps(part: &impl Rules) -> Result<(), String> {
    let mut faults = Faults::default();
    part.check(&mut faults);
    faults.or(()).map_err(|faults| faults.to_string())
}
