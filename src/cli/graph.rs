//! `metanode graph`: the shared graph, read, changed and followed.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{ApiArgs, Client, pairs, plain, print, print_json, table, time};
use super::state::past;
use super::subscribe::Events;
use crate::graph::{EdgeWant, NodeWant};
use crate::wire::kind::data::Vector;

const EXAMPLES: &str = "\
Examples:
  metanode graph node add city home --title Home --at 0,0,0
  metanode graph node add city work --type office --meta floor=3
  metanode graph edge add city commute home work --weight 2.5
  metanode graph node set city home --title 'Home, sweet home'
  metanode graph node ls city
  metanode graph neighbours city home
  metanode graph path city home work
  metanode graph path city home --watch
  metanode graph watch city --snapshot --json
  metanode graph at city 5m
  metanode graph node rm city work

A graph is a collection of replicated state: any node changes it, all come to
the same, and the last writer of a field wins. An edge is visible when both its
ends are there. Shortest paths take the weight of an edge as its length.

Exit codes: 0 done, 1 failed or not there, 2 wrong usage, 3 no node answers at
the API.";

/// Read, change and follow a shared graph.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct GraphArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(subcommand)]
    command: GraphCommand,
}

#[derive(Subcommand, Debug)]
enum GraphCommand {
    /// Nodes
    #[command(subcommand)]
    Node(NodeCommand),
    /// Edges
    #[command(subcommand)]
    Edge(EdgeCommand),
    /// Nodes next to one, and the edges between them
    Neighbours {
        /// The graph
        graph: String,
        /// The node
        id: String,
    },
    /// Shortest paths from a node to another, or to all that can be reached
    Path {
        /// The graph
        graph: String,
        /// Where they begin
        from: String,
        /// Where they lead
        to: Option<String>,
        /// Edges lead both ways
        #[arg(long)]
        both_ways: bool,
        /// Go on, and tell what becomes of them as the graph changes
        #[arg(long)]
        watch: bool,
        /// With --watch: end after so many events
        #[arg(long, value_name = "N", requires = "watch")]
        count: Option<u64>,
    },
    /// Follow what changes
    Watch {
        /// The graph
        graph: String,
        /// Begin with the whole graph
        #[arg(long)]
        snapshot: bool,
        /// End after so many events
        #[arg(long, value_name = "N")]
        count: Option<u64>,
    },
    /// The graph as it was
    At {
        /// The graph
        graph: String,
        /// Then: milliseconds since 1970 as `@MS`, or so long ago, as `5m`
        #[arg(value_parser = past)]
        time: u64,
    },
}

/// A page.
#[derive(Args, Debug)]
struct Page {
    /// The graph
    graph: String,
    /// After this id
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

/// A node or an edge.
#[derive(Args, Debug)]
struct Item {
    /// The graph
    graph: String,
    /// Its id
    id: String,
}

/// Fields of a node.
#[derive(Args, Debug)]
struct NodeFields {
    /// What it is
    #[arg(long = "type", value_name = "TYPE")]
    node_type: Option<String>,
    /// What is shown
    #[arg(long)]
    title: Option<String>,
    /// What is behind it
    #[arg(long)]
    content: Option<String>,
    /// Where it is
    #[arg(long, value_name = "X,Y,Z", value_parser = vector, allow_hyphen_values = true)]
    at: Option<Vector>,
    /// How it moves, in a second
    #[arg(long, value_name = "X,Y,Z", value_parser = vector, allow_hyphen_values = true)]
    moving: Option<Vector>,
    #[command(flatten)]
    meta: Meta,
}

/// What else is known.
#[derive(Args, Debug)]
struct Meta {
    /// What else is known; `NAME=` takes a name out
    #[arg(long, value_name = "NAME=TEXT", value_parser = named)]
    meta: Vec<(String, Option<String>)>,
    /// Which client writes, for the others to know
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
}

#[derive(Subcommand, Debug)]
enum NodeCommand {
    /// All nodes, in the order of ids
    Ls(Page),
    /// One node
    Get(Item),
    /// Add a node, or change the fields that are named
    Add {
        #[command(flatten)]
        item: Item,
        #[command(flatten)]
        fields: NodeFields,
    },
    /// Change the fields that are named, if the node is there
    Set {
        #[command(flatten)]
        item: Item,
        #[command(flatten)]
        fields: NodeFields,
    },
    /// Take a node out; its edges are hidden until it is there again
    Rm(Item),
}

#[derive(Subcommand, Debug)]
enum EdgeCommand {
    /// All visible edges, in the order of ids
    Ls(Page),
    /// One edge
    Get(Item),
    /// Add an edge, or let it join others
    Add {
        #[command(flatten)]
        item: Item,
        /// The node it comes from
        source: String,
        /// The node it goes to
        target: String,
        #[command(flatten)]
        fields: EdgeFields,
    },
    /// Change the fields that are named, if the edge is visible
    Set {
        #[command(flatten)]
        item: Item,
        #[command(flatten)]
        fields: EdgeFields,
    },
    /// Take an edge out
    Rm(Item),
}

/// Fields of an edge.
#[derive(Args, Debug)]
struct EdgeFields {
    /// What it is
    #[arg(long = "type", value_name = "TYPE")]
    edge_type: Option<String>,
    /// How long it is
    #[arg(long)]
    weight: Option<f64>,
    #[command(flatten)]
    meta: Meta,
}

impl GraphArgs {
    /// Asks the node and prints its answer.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.api)?;
        match &self.command {
            GraphCommand::Watch { graph, snapshot, count } => {
                let query = [("snapshot", snapshot.to_string())];
                return follow(&client, &["graphs", graph, "subscribe"], &query, *count, self.api.json).await;
            }
            GraphCommand::Path { graph, from, to, both_ways, watch: true, count } => {
                let query = path_query(from, to.as_deref(), *both_ways);
                return follow(&client, &["graphs", graph, "paths", "subscribe"], &query, *count, self.api.json).await;
            }
            GraphCommand::Node(_)
            | GraphCommand::Edge(_)
            | GraphCommand::Neighbours { .. }
            | GraphCommand::Path { .. }
            | GraphCommand::At { .. } => {}
        }
        let answer = self.ask(&client).await?;
        if self.api.json {
            print_json(&answer)?
        } else {
            print(&self.told(&answer))?
        };
        Ok(())
    }

    async fn ask(&self, client: &Client) -> anyhow::Result<Value> {
        let get = async |parts: &[&str], query: &[(&str, String)]| {
            client.json(client.request(Method::GET, parts, query)).await
        };
        match &self.command {
            GraphCommand::Node(command) => command.ask(client).await,
            GraphCommand::Edge(command) => command.ask(client).await,
            GraphCommand::Neighbours { graph, id } => {
                get(&["graphs", graph, "nodes", id, "neighbours"], &[("limit", "1000".into())]).await
            }
            GraphCommand::Path { graph, from, to, both_ways, .. } => {
                get(&["graphs", graph, "paths"], &path_query(from, to.as_deref(), *both_ways)).await
            }
            GraphCommand::At { graph, time } => get(&["graphs", graph, "at"], &[("at_ms", time.to_string())]).await,
            GraphCommand::Watch { .. } => Ok(Value::Null),
        }
    }

    fn told(&self, answer: &Value) -> String {
        match &self.command {
            GraphCommand::Node(NodeCommand::Ls(_)) => paged(nodes(&answer["nodes"]), answer),
            GraphCommand::Edge(EdgeCommand::Ls(_)) => paged(edges(&answer["edges"]), answer),
            GraphCommand::Node(NodeCommand::Get(_)) | GraphCommand::Edge(EdgeCommand::Get(_)) => one(answer),
            GraphCommand::Node(_) | GraphCommand::Edge(_) => match &answer["message"] {
                Value::Null => "there was nothing to do".into(),
                message => format!("written in {}", plain(message)),
            },
            GraphCommand::Neighbours { .. } => neighbours(answer),
            GraphCommand::Path { .. } => paths(&answer["paths"]),
            GraphCommand::Watch { .. } => String::new(),
            GraphCommand::At { .. } => {
                let forgotten = answer["forgotten"].as_u64().filter(|count| *count > 0);
                let left_out = forgotten.map(|count| format!("\n\n{count} fields of then are not remembered"));
                let (nodes, edges) = (nodes(&answer["nodes"]), edges(&answer["edges"]));
                format!("{nodes}\n\n{edges}{}", left_out.unwrap_or_default())
            }
        }
    }
}

fn path_query(from: &str, to: Option<&str>, both_ways: bool) -> Vec<(&'static str, String)> {
    let mut query = vec![("from", from.to_string()), ("directed", (!both_ways).to_string())];
    query.extend(to.map(|to| ("to", to.to_string())));
    query
}

impl Page {
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![("limit", self.limit.to_string())];
        query.extend(self.after.iter().map(|after| ("after", after.clone())));
        query
    }
}

impl NodeFields {
    fn want(&self) -> NodeWant {
        NodeWant {
            node_type: self.node_type.clone(),
            title: self.title.clone(),
            content: self.content.clone(),
            position: self.at,
            velocity: self.moving,
            metadata: self.meta.map(),
        }
    }
}

impl EdgeFields {
    fn want(&self, ends: Option<(&str, &str)>) -> EdgeWant {
        EdgeWant {
            source: ends.map(|(source, _)| source.into()),
            target: ends.map(|(_, target)| target.into()),
            edge_type: self.edge_type.clone(),
            weight: self.weight,
            metadata: self.meta.map(),
        }
    }
}

impl Meta {
    fn map(&self) -> BTreeMap<String, Option<String>> {
        self.meta.iter().cloned().collect()
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        self.client.iter().map(|client| ("client", client.clone())).collect()
    }
}

impl NodeCommand {
    async fn ask(&self, client: &Client) -> anyhow::Result<Value> {
        let (method, item, query, want) = match self {
            NodeCommand::Ls(page) => {
                return client
                    .json(client.request(Method::GET, &["graphs", &page.graph, "nodes"], &page.query()))
                    .await;
            }
            NodeCommand::Get(item) => (Method::GET, item, Vec::new(), None),
            NodeCommand::Add { item, fields } => (Method::PUT, item, fields.meta.query(), Some(fields.want())),
            NodeCommand::Set { item, fields } => (Method::PATCH, item, fields.meta.query(), Some(fields.want())),
            NodeCommand::Rm(item) => (Method::DELETE, item, Vec::new(), None),
        };
        let request = client.request(method, &["graphs", &item.graph, "nodes", &item.id], &query);
        client.json(want.iter().fold(request, |request, want| request.json(want))).await
    }
}

impl EdgeCommand {
    async fn ask(&self, client: &Client) -> anyhow::Result<Value> {
        let (method, item, query, want) = match self {
            EdgeCommand::Ls(page) => {
                return client
                    .json(client.request(Method::GET, &["graphs", &page.graph, "edges"], &page.query()))
                    .await;
            }
            EdgeCommand::Get(item) => (Method::GET, item, Vec::new(), None),
            EdgeCommand::Add { item, source, target, fields } => {
                (Method::PUT, item, fields.meta.query(), Some(fields.want(Some((source, target)))))
            }
            EdgeCommand::Set { item, fields } => (Method::PATCH, item, fields.meta.query(), Some(fields.want(None))),
            EdgeCommand::Rm(item) => (Method::DELETE, item, Vec::new(), None),
        };
        let request = client.request(method, &["graphs", &item.graph, "edges", &item.id], &query);
        client.json(want.iter().fold(request, |request, want| request.json(want))).await
    }
}

/// `1,-2,0.5`.
fn vector(text: &str) -> Result<Vector, String> {
    let numbers: Result<Vec<f64>, _> = text.split(',').map(|number| number.trim().parse()).collect();
    match numbers.as_deref() {
        Ok([x, y, z]) => Ok(Vector { x: *x, y: *y, z: *z }),
        _ => Err(format!("`{text}` is no place; write three numbers: 1,-2,0.5")),
    }
}

/// `name=text`, or `name=` for none.
fn named(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}`: write NAME=TEXT"))?;
    Ok((name.into(), (!value.is_empty()).then(|| value.to_string())))
}

fn place(vector: &Value) -> String {
    format!("{},{},{}", plain(&vector["x"]), plain(&vector["y"]), plain(&vector["z"]))
}

fn nodes(all: &Value) -> String {
    let row = |node: &Value| {
        let joined = node["connections"].as_array().map_or(0, Vec::len);
        vec![
            plain(&node["id"]),
            plain(&node["type"]),
            plain(&node["title"]),
            place(&node["position"]),
            joined.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = all.as_array().into_iter().flatten().map(row).collect();
    table(&["NODE", "TYPE", "TITLE", "POSITION", "CONNECTIONS"], &rows)
}

fn edges(all: &Value) -> String {
    let row = |edge: &Value| ["id", "source", "target", "type", "weight"].map(|name| plain(&edge[name])).to_vec();
    let rows: Vec<Vec<String>> = all.as_array().into_iter().flatten().map(row).collect();
    table(&["EDGE", "SOURCE", "TARGET", "TYPE", "WEIGHT"], &rows)
}

fn paged(rows: String, answer: &Value) -> String {
    match answer["next"].as_str() {
        Some(next) => format!("{rows}\n\nmore: --after {next}"),
        None => rows,
    }
}

fn one(item: &Value) -> String {
    let rows: Vec<(&str, String)> = item
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| {
            let text = match name.as_str() {
                "position" | "velocity" => place(value),
                "last_modified_ms" => time(value),
                _ => plain(value),
            };
            (name.as_str(), text)
        })
        .collect();
    pairs(&rows)
}

fn neighbours(answer: &Value) -> String {
    let mut rows = Vec::new();
    for neighbour in answer["neighbours"].as_array().into_iter().flatten() {
        for edge in neighbour["edges"].as_array().into_iter().flatten() {
            let node = &neighbour["node"];
            let row = [&node["id"], &node["title"], &edge["id"], &edge["source"], &edge["target"], &edge["weight"]];
            rows.push(row.map(plain).to_vec());
        }
    }
    table(&["NODE", "TITLE", "EDGE", "SOURCE", "TARGET", "WEIGHT"], &rows)
}

fn paths(all: &Value) -> String {
    let row = |path: &Value| {
        let nodes = path["nodes"].as_array().map(|nodes| nodes.iter().map(plain).collect::<Vec<_>>().join(" > "));
        let way = nodes.unwrap_or_else(|| plain(&path["before"]));
        vec![plain(&path["to"]), plain(&path["distance"]), plain(&path["edges"]), way]
    };
    let rows: Vec<Vec<String>> = all.as_array().into_iter().flatten().map(row).collect();
    table(&["TO", "DISTANCE", "EDGES", "OVER"], &rows)
}

/// Prints events as they come.
async fn follow(
    client: &Client,
    parts: &[&str],
    query: &[(&str, String)],
    count: Option<u64>,
    json: bool,
) -> anyhow::Result<()> {
    let mut response = client.send(client.stream(Method::GET, parts, query)).await?;
    let (mut events, mut left) = (Events::default(), count.unwrap_or(u64::MAX));
    while left > 0 {
        let chunk = response.chunk().await.context("the connection to the node was lost")?;
        let Some(chunk) = chunk else { bail!("the node has stopped, or the graph has grown too large to be followed") };
        events.feed(&chunk);
        while left > 0
            && let Some(event) = events.next()
        {
            if !print(&if json { event.data } else { line(&event.name, &event.data) })? {
                return Ok(());
            }
            left -= 1;
        }
    }
    Ok(())
}

/// An event on one line; changed paths on one line each.
fn line(name: &str, data: &str) -> String {
    let Ok(event) = serde_json::from_str::<Value>(data) else { return data.to_string() };
    let (node, edge) = (&event["node"], &event["edge"]);
    match name {
        "NodeAdded" | "NodeChanged" => format!("{name} {} {}", plain(&node["id"]), json!(node["title"])),
        "NodeMoved" => format!("{name} {} to {}", plain(&event["id"]), place(&event["position"])),
        "EdgeCreated" | "EdgeChanged" => format!(
            "{name} {} from {} to {}, {}",
            plain(&edge["id"]),
            plain(&edge["source"]),
            plain(&edge["target"]),
            plain(&edge["weight"])
        ),
        "EdgeWeightChanged" => format!("{name} {} to {}", plain(&event["id"]), plain(&event["weight"])),
        "paths" => {
            let gone = event["gone"].as_array().into_iter().flatten().map(|to| format!("{} unreachable", plain(to)));
            let changed = event["changed"].as_array().into_iter().flatten();
            let changed = changed.map(|path| {
                format!("{} at {} over {}", plain(&path["to"]), plain(&path["distance"]), plain(&path["before"]))
            });
            changed.chain(gone).collect::<Vec<_>>().join("\n")
        }
        _ => [name, event["id"].as_str().unwrap_or_default()].join(" ").trim_end().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_names_are_read() {
        assert_eq!(vector("1,-2,0.5"), Ok(Vector { x: 1.0, y: -2.0, z: 0.5 }));
        assert!(vector("1,2").is_err() && vector("a,b,c").is_err() && vector("").is_err());
        assert_eq!(named("a=b=c"), Ok(("a".into(), Some("b=c".into()))));
        assert_eq!(named("a="), Ok(("a".into(), None)));
        assert!(named("a").is_err());
    }

    #[test]
    fn an_event_is_one_line() {
        let moved = json!({"event": "NodeMoved", "id": "a", "position": {"x": 1.0, "y": 2.0, "z": 0.0}});
        assert_eq!(line("NodeMoved", &moved.to_string()), "NodeMoved a to 1.0,2.0,0.0");
        assert_eq!(line("NodeRemoved", &json!({"event": "NodeRemoved", "id": "a"}).to_string()), "NodeRemoved a");
        assert_eq!(line("Ready", "{\"event\":\"Ready\"}"), "Ready");
        let changed = json!({"changed": [{"to": "b", "distance": 2.0, "before": "a"}], "gone": ["c"]});
        assert_eq!(line("paths", &changed.to_string()), "b at 2.0 over a\nc unreachable");
    }
}
