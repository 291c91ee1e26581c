//! What nodes say when asked over their API.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::process;
use super::record::NodeRecord;

/// A node on this machine answers within this, or it is paused or in trouble.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Whether a node is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It answers.
    Up,
    /// Its process is there and does not answer.
    Silent,
    /// There is no process.
    Down,
}

/// Of a node's own account, what matters here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Status {
    pub id: String,
    pub peers: u64,
    pub messages: u64,
    pub heads_root: String,
    /// The same for each topic it follows.
    #[serde(default)]
    pub heads_roots: BTreeMap<String, String>,
    #[serde(default)]
    pub state_root: Option<String>,
    #[serde(default)]
    pub height: Option<u64>,
    #[serde(default)]
    pub chain_root: Option<String>,
    #[serde(default)]
    pub categories: BTreeMap<String, Category>,
}

/// What one category holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Category {
    pub messages: u64,
}

/// A node as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    pub name: String,
    pub id: String,
    pub state: State,
    /// Its own account, if it gave one.
    pub status: Option<Status>,
}

/// Asks nodes.
pub struct Probe {
    client: reqwest::Client,
}

impl Probe {
    /// A client for this machine: no proxy, short patience.
    pub fn new() -> anyhow::Result<Probe> {
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build();
        Ok(Probe { client: client.context("cannot make an HTTP client")? })
    }

    /// Looks at every node at once.
    pub async fn look_all(&self, nodes: &[NodeRecord]) -> Vec<Sight> {
        futures::future::join_all(nodes.iter().map(|node| self.look(node))).await
    }

    async fn look(&self, node: &NodeRecord) -> Sight {
        let status = self.status(node).await;
        let state = match &status {
            Some(_) => State::Up,
            None if process::running(node).is_some() => State::Silent,
            None => State::Down,
        };
        Sight { name: node.name.clone(), id: node.id.clone(), state, status }
    }

    /// The node's account. What another node says at its address does not count.
    async fn status(&self, node: &NodeRecord) -> Option<Status> {
        let status: Status = self.json(node, "status").await?;
        Some(status).filter(|status| status.id == node.id)
    }

    /// Whom the node is connected with, by id.
    pub async fn connected(&self, node: &NodeRecord) -> Option<BTreeSet<String>> {
        let answer: Value = self.json(node, "peers").await?;
        let peers = answer.as_array().or_else(|| answer.get("peers")?.as_array())?;
        let connected = peers.iter().filter(|peer| peer["connected"] == true);
        Some(connected.filter_map(|peer| Some(peer["id"].as_str()?.to_string())).collect())
    }

    async fn json<T: serde::de::DeserializeOwned>(&self, node: &NodeRecord, what: &str) -> Option<T> {
        let answer = self.client.get(format!("{}/v1/{what}", node.api)).send().await.ok()?;
        answer.error_for_status().ok()?.json().await.ok()
    }
}
