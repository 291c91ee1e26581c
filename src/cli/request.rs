//! `metanode request` and `metanode reply`: a message to one reader, and the message that answers it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::client::{ApiArgs, Client, ClientError, duration, print, print_json};
use super::durable::Durable;
use crate::deliver::Name;
use crate::types::MessageId;
use crate::wire::{Destination, Filter, Kind, Priority};

const REQUEST_EXAMPLES: &str = "\
Examples:
  metanode request service:notary External/Notification '{…}'
  metanode request 12D3Koo… HealthCheck '{…}' --timeout 500ms --json

Prints the reply's payload; with --json its envelope. `metanode reply` is the
other side.

Exit codes: 0 a reply came, 1 failed (no reply in time, nobody there), 2 wrong usage, 3 no node answers at the API.";

/// Send a message to one reader and wait for its reply.
#[derive(Args, Debug)]
#[command(after_help = REQUEST_EXAMPLES)]
pub struct RequestArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// A node's id, service:NAME or layer:NAME
    to: Destination,
    /// What it is, such as External/Notification; `metanode kinds` lists all
    kind: Kind,
    /// What it says, as JSON
    payload: String,
    /// How long to wait for the reply
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    timeout: Duration,
    /// Critical, High, Normal, Low or Bulk
    #[arg(long, value_name = "PRIORITY")]
    priority: Option<Priority>,
    /// The conversation it belongs to; by default the request begins one
    #[arg(long, value_name = "ID")]
    corr: Option<MessageId>,
}

impl RequestArgs {
    /// Asks, waits and prints the reply.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.api)?;
        let body = json!({
            "kind": self.kind,
            "destination": self.to,
            "payload": payload(&self.payload)?,
            "priority": self.priority,
            "correlation_id": self.corr,
        });
        let body = without_nulls(body);
        let query = [("timeout_ms", self.timeout.as_millis().to_string())];
        let request =
            client.stream(Method::POST, &["requests"], &query).timeout(self.timeout + Duration::from_secs(10));
        let reply = client.json(request.json(&body)).await?;
        if self.api.json {
            return print_json(&reply).map(drop);
        }
        print(&reply["payload"].to_string()).map(drop)
    }
}

const REPLY_EXAMPLES: &str = "\
Examples:
  metanode reply Notification Notification --command './answer.sh'
  metanode reply HealthCheck HealthCheck --command 'jq -c .payload' --count 1

Each message of the first kind that is for this node, or for a service or layer
of it, is given to the command on standard input, as its JSON envelope; what
the command prints is the payload of the reply, of the second kind. A command
that fails leaves the message to be tried again, and in the end a dead letter.
It goes on where it was when it is started again, and never replies twice.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no node answers at the API.";

/// Answer requests with what a command prints.
#[derive(Args, Debug)]
#[command(after_help = REPLY_EXAMPLES)]
pub struct ReplyArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// The kind of the requests
    request: Kind,
    /// The kind of the replies
    reply: Kind,
    /// A command for `sh -c`
    #[arg(long, value_name = "COMMAND")]
    command: String,
    /// The durable subscription that remembers how far this is; two with one name share the work
    #[arg(long, value_name = "NAME")]
    durable: Option<Name>,
    /// End after so many replies
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

impl ReplyArgs {
    /// Answers until it is stopped, or has answered often enough.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.api)?;
        let own = client.get(&["status"]).await?["id"].as_str().unwrap_or_default().to_string();
        let usual = format!("reply-{}", self.request.name());
        let name = self.durable.clone().map_or_else(|| usual.parse(), Ok).map_err(ClientError::Usage)?;
        let filter = Filter { kinds: [self.request].into(), ..Filter::default() };
        let durable = Durable { client: &client, name: &name, filter, from: "end", count: u64::MAX };
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 {
            for delivery in durable.take(left).await? {
                let outcome = self.answer(&client, &own, &delivery["message"]).await;
                let position = &delivery["position"];
                let settled = match &outcome {
                    Ok(replied) => {
                        left -= u64::from(*replied);
                        json!({"ack": [position]})
                    }
                    Err(error) => {
                        eprintln!("metanode: {error:#}");
                        json!({"nack": [{"position": position, "reason": format!("{error:#}")}]})
                    }
                };
                durable.settle(&settled).await?;
            }
        }
        Ok(())
    }

    /// Answers a message if it is for this node. False when it is not.
    async fn answer(&self, client: &Client, own: &str, message: &Value) -> anyhow::Result<bool> {
        let to = &message["destination"];
        let direct = to["node"] == own || to.get("service").is_some() || to.get("layer").is_some();
        // What this node asked others is in its own log as well; nor is a reply a request.
        let asks = direct && message["source"] != own && message["parent_id"].is_null();
        if !asks {
            return Ok(false);
        }
        let said = self.run_command(message).await?;
        let body = json!({
            "kind": self.reply,
            "destination": {"node": message["source"]},
            "payload": payload(said.trim())?,
            "correlation_id": message.get("correlation_id").filter(|id| !id.is_null()).unwrap_or(&message["id"]),
            "parent_id": message["id"],
            "priority": message["priority"],
            "idempotency_key": format!("reply-{}", message["id"]),
        });
        let published = client.json(client.request(Method::POST, &["messages"], &[]).json(&body)).await?;
        let line = json!({"request": message["id"], "reply": published["ids"][0], "source": message["source"]});
        let text = format!("{} → {}", line["request"].as_str().unwrap_or_default(), line["reply"]);
        print(&if self.api.json { line.to_string() } else { text.replace('"', "") })?;
        Ok(true)
    }

    async fn run_command(&self, message: &Value) -> anyhow::Result<String> {
        let mut child = tokio::process::Command::new("sh")
            .args(["-c", &self.command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run a shell")?;
        if let Some(mut input) = child.stdin.take() {
            // A command that does not read its input is as good as one that does.
            let _ = input.write_all(format!("{message}\n").as_bytes()).await;
        }
        let output = child.wait_with_output().await.context("the command cannot be waited for")?;
        anyhow::ensure!(output.status.success(), "`{}` ended with {}", self.command, output.status);
        String::from_utf8(output.stdout).context("what the command printed is not text")
    }
}

fn payload(text: &str) -> anyhow::Result<Value> {
    serde_json::from_str(text).map_err(|e| ClientError::Usage(format!("the payload is not JSON: {e}")).into())
}

fn without_nulls(mut body: Value) -> Value {
    if let Some(members) = body.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    body
}
