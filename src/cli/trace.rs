//! `metanode trace`: a conversation as a tree, whoever said its parts.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::client::{ApiArgs, Client, ClientError, plain, print, print_json};
use crate::types::MessageId;

const EXAMPLES: &str = "\
Examples:
  metanode trace 0198c4be-7a1e-7000-8000-3f5d2c9b1a00   by any message of it, or its correlation id
  metanode trace 0198… --json | jq '.messages | length'

Each message stands below the one it follows from (parent_id), in order of
creation: its time since the first, its kind, its author, its id, and how long
it was on its way to this node, by the clocks of both.

Exit codes: 0 done, 1 nothing found, 2 wrong usage, 3 no node answers at the
API.";

/// Show what followed from what in a conversation, across nodes.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct TraceArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// The correlation id, or the id of a message
    id: MessageId,
    /// At most so many messages, up to 10,000
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
}

impl TraceArgs {
    /// Fetches and prints.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.api)?;
        let id = self.conversation(&client).await?;
        let limit = [("limit", self.limit.to_string())];
        let found = client.json(client.request(Method::GET, &["conversations", &id], &limit)).await?;
        if self.api.json {
            return print_json(&found).map(drop);
        }
        print(&tree(&found)).map(drop)
    }

    /// The correlation id of the message that was named, if it has one; otherwise what was named.
    async fn conversation(&self, client: &Client) -> anyhow::Result<String> {
        let named = self.id.to_string();
        match client.get(&["messages", &named]).await {
            Ok(found) => Ok(found["message"]["correlation_id"].as_str().map_or(named, String::from)),
            // A correlation id need not be a message's.
            Err(error) => match error.downcast_ref::<ClientError>() {
                Some(ClientError::Refused { status: 404, .. }) => Ok(named),
                Some(ClientError::Refused { .. } | ClientError::Unreachable { .. } | ClientError::Usage(_)) | None => {
                    Err(error)
                }
            },
        }
    }
}

/// The messages of a conversation, each below the one it follows from.
fn tree(found: &Value) -> String {
    let messages: Vec<&Value> = found["messages"].as_array().into_iter().flatten().collect();
    let by_id: BTreeMap<&str, &Value> = messages.iter().filter_map(|m| Some((m["id"].as_str()?, *m))).collect();
    let begun = messages.iter().filter_map(|m| m["created_at"].as_u64()).min().unwrap_or_default();
    let authors: BTreeSet<&str> = messages.iter().filter_map(|m| m["source"].as_str()).collect();
    let ended = messages.iter().filter_map(|m| m["created_at"].as_u64()).max().unwrap_or_default();
    let mut text = format!(
        "conversation {}: {} messages by {} nodes in {}",
        plain(&found["id"]),
        messages.len(),
        authors.len(),
        since(begun, ended)
    );
    // Depth first; what is to come, with the lines drawn before it. Whoever made parents go in a circle is not followed.
    let mut waiting: Vec<(&str, String, String)> = Vec::new();
    push(&mut waiting, &found["roots"], "", true);
    let mut shown = BTreeSet::new();
    while let Some((id, before, below)) = waiting.pop() {
        let Some(message) = by_id.get(id).filter(|_| shown.insert(id)) else { continue };
        text.push_str(&format!("\n{before}{}", line(message, begun)));
        push(&mut waiting, &found["children"][id], &below, false);
    }
    if shown.len() < by_id.len() {
        text.push_str(&format!("\n{} messages follow from each other in a circle", by_id.len() - shown.len()));
    }
    if found["truncated"] == Value::Bool(true) {
        text.push_str("\nthere are more; ask for them with --limit");
    }
    text
}

/// Puts the messages of a list on the stack, the first on top.
fn push<'a>(waiting: &mut Vec<(&'a str, String, String)>, ids: &'a Value, below: &str, roots: bool) {
    let ids: Vec<&str> = ids.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (index, id) in ids.iter().enumerate().rev() {
        let (before, after) = match (roots, index + 1 == ids.len()) {
            (true, _) => ("", ""),
            (false, true) => ("└─ ", "   "),
            (false, false) => ("├─ ", "│  "),
        };
        waiting.push((id, format!("{below}{before}"), format!("{below}{after}")));
    }
}

fn line(message: &Value, begun: u64) -> String {
    let created = message["created_at"].as_u64().unwrap_or_default();
    let way = match message["arrived_at"].as_u64() {
        Some(arrived) if arrived >= created => format!("here after {} ms", arrived - created),
        Some(arrived) => format!("here {} ms before it was created, by the clocks", created - arrived),
        None => "never here".into(),
    };
    format!(
        "+{} {}/{} by {}  {}  {way}",
        since(begun, created),
        plain(&message["category"]),
        plain(&message["message_type"]),
        short(&plain(&message["source"])),
        plain(&message["id"])
    )
}

fn since(begun: u64, at: u64) -> String {
    format!("{:.3} s", at.saturating_sub(begun) as f64 / 1e3)
}

/// The end of a node's id: the beginning is the same for all.
fn short(id: &str) -> String {
    let last: String = id.chars().rev().take(8).collect();
    format!("…{}", last.chars().rev().collect::<String>())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::api::tests::rig::Rig;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: TraceArgs,
    }

    fn message(id: &str, created: u64) -> Value {
        json!({"id": id, "category": "Data", "message_type": "Transaction", "source": "12D3KooWabcdefgh",
            "created_at": created, "arrived_at": created + 2})
    }

    #[test]
    fn each_message_stands_below_the_one_it_follows_from() {
        let found = json!({
            "id": "a",
            "messages": [message("a", 1000), message("b", 1010), message("c", 1020), message("d", 2500)],
            "roots": ["a"],
            "children": {"a": ["b", "d"], "b": ["c"]},
            "truncated": false,
        });
        assert_eq!(
            tree(&found),
            "conversation a: 4 messages by 1 nodes in 1.500 s\n\
             +0.000 s Data/Transaction by …abcdefgh  a  here after 2 ms\n\
             ├─ +0.010 s Data/Transaction by …abcdefgh  b  here after 2 ms\n\
             │  └─ +0.020 s Data/Transaction by …abcdefgh  c  here after 2 ms\n\
             └─ +1.500 s Data/Transaction by …abcdefgh  d  here after 2 ms"
        );
    }

    #[test]
    fn a_circle_of_parents_ends() {
        let found = json!({
            "id": "a",
            "messages": [message("a", 1), message("b", 2), message("c", 3)],
            "roots": ["c"],
            "children": {"a": ["b"], "b": ["a"]},
            "truncated": true,
        });
        let text = tree(&found);
        assert!(text.contains("2 messages follow from each other in a circle") && text.ends_with("--limit"), "{text}");
    }

    #[tokio::test]
    async fn a_conversation_is_found_by_any_of_its_messages() {
        let rig = Rig::start().await;
        let api = format!("http://{}", rig.address);
        let ids = rig.trades(0..2).await;
        let run = |id: String| {
            let line = ["metanode", &id, "--api", &api, "--json"].map(String::from);
            async move { Line::parse_from(line).args.run().await }
        };
        run(ids[0].clone()).await.unwrap();
        assert!(run("0198c4be-7a1e-7000-8000-3f5d2c9b1a00".into()).await.is_err());
        rig.stop().await;
    }
}
