//! `metanode sub --durable`: a worker of a durable subscription. What is printed is acknowledged, after it is out.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, ClientError};
use crate::deliver::Name;
use crate::wire::Filter;

/// Messages taken at once.
const BATCH: u64 = 100;
/// The node is asked to wait so long for messages, milliseconds.
const WAIT_MS: u64 = 20_000;
/// The first wait before coming back, and the longest.
const BACK_FIRST: Duration = Duration::from_millis(250);
const BACK_LONGEST: Duration = Duration::from_secs(10);

/// A worker of a durable subscription.
pub struct Durable<'a> {
    pub client: &'a Client,
    pub name: &'a Name,
    pub filter: Filter,
    pub from: &'a str,
    /// Messages to take before it ends.
    pub count: u64,
}

impl Durable<'_> {
    /// Takes messages, tells each, and acknowledges what was told, until the count is reached or nobody listens.
    pub async fn follow(&self, tell: &mut (dyn FnMut(&Value) -> anyhow::Result<bool> + Send)) -> anyhow::Result<()> {
        self.make().await?;
        let (mut left, mut wait) = (self.count, BACK_FIRST);
        while left > 0 {
            let body = json!({"max": left.min(BATCH), "wait_ms": WAIT_MS});
            match self.post("fetch", &body).await {
                Ok(answer) => {
                    wait = BACK_FIRST;
                    let messages = answer["messages"].as_array().cloned().unwrap_or_default();
                    if let Some(reason) = answer["paused"].as_str() {
                        eprintln!(
                            "metanode: {} is paused: {reason}; resume it with `metanode consumer resume`",
                            self.name
                        );
                    }
                    let (mut told, mut heard) = (Vec::new(), true);
                    for delivery in &messages {
                        heard = tell(&delivery["message"])?;
                        if !heard {
                            break;
                        }
                        told.push(&delivery["position"]);
                    }
                    left -= told.len() as u64;
                    if !told.is_empty() {
                        self.acknowledge(&json!({ "ack": told })).await?;
                    }
                    if !heard {
                        return Ok(());
                    }
                }
                Err(error) => {
                    self.away(error)?;
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(BACK_LONGEST);
                }
            }
        }
        Ok(())
    }

    /// Takes up to `most` messages, waiting for one; makes the subscription if it is not there.
    pub async fn take(&self, most: u64) -> anyhow::Result<Vec<Value>> {
        self.make().await?;
        let mut wait = BACK_FIRST;
        loop {
            // One at a time: what comes after a message that takes long is left to others with the same name.
            match self.post("fetch", &json!({"max": most.min(1), "wait_ms": WAIT_MS})).await {
                Ok(answer) => {
                    wait = BACK_FIRST;
                    let messages = answer["messages"].as_array().cloned().unwrap_or_default();
                    if !messages.is_empty() {
                        return Ok(messages);
                    }
                }
                Err(error) => {
                    self.away(error)?;
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(BACK_LONGEST);
                }
            }
        }
    }

    /// Says how messages ended: tried until the node answers, or refuses.
    pub async fn settle(&self, body: &Value) -> anyhow::Result<()> {
        self.acknowledge(body).await
    }

    /// Makes the subscription if it is not there; the one that is there has to be the one that is meant.
    async fn make(&self) -> anyhow::Result<()> {
        let path = ["subscriptions", self.name.as_str()];
        let asked = self.client.send(self.client.request(Method::GET, &path, &[])).await;
        let found: Value = match asked {
            Ok(response) => response.json().await?,
            Err(ClientError::Refused { status: 404, .. }) => {
                let body = json!({"filter": self.filter, "from": self.from});
                self.client.json(self.client.request(Method::PUT, &path, &[]).json(&body)).await?
            }
            Err(error) => return Err(error.into()),
        };
        let spec = &found["spec"];
        if spec["filter"] != json!(self.filter) {
            let detail = format!(
                "the durable subscription {} has another filter, {}; use that, or another name",
                self.name, spec["filter"]
            );
            return Err(ClientError::Usage(detail).into());
        }
        if spec["sink"] != "pull" {
            let detail = format!("{} is a webhook's; use another name", self.name);
            return Err(ClientError::Usage(detail).into());
        }
        Ok(())
    }

    /// What was told is not to come again: tried until the node answers, or refuses.
    async fn acknowledge(&self, body: &Value) -> anyhow::Result<()> {
        let mut wait = BACK_FIRST;
        while let Err(error) = self.post("settle", body).await {
            self.away(error)?;
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(BACK_LONGEST);
        }
        Ok(())
    }

    async fn post(&self, what: &str, body: &Value) -> Result<Value, ClientError> {
        let path = ["subscriptions", self.name.as_str(), what];
        let response = self.client.send(self.client.request(Method::POST, &path, &[]).json(body)).await?;
        response.json().await.map_err(|e| self.client.unreachable(&e))
    }

    /// A node that is away for a while is waited for; what it refuses is an error.
    fn away(&self, error: ClientError) -> Result<(), ClientError> {
        match error {
            ClientError::Unreachable { .. } | ClientError::Refused { status: 503 | 504, .. } => {
                eprintln!("metanode: lost the connection; trying to come back");
                Ok(())
            }
            refused @ (ClientError::Refused { .. } | ClientError::Usage(_)) => Err(refused),
        }
    }
}
