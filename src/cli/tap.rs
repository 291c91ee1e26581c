//! `metanode tap`: messages at their stages, as they pass.

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::client::{ApiArgs, Client, plain, print};
use super::subscribe::{Events, Wanted, wanted};
use crate::meter::Station;
use crate::types::{MessageId, NodeId};
use crate::wire::{Category, Kind};

const EXAMPLES: &str = "\
Examples:
  metanode tap                                  everything, at every stage
  metanode tap Security                         one category
  metanode tap --stage validate,route --count 20
  metanode tap --refused                        what does not get through, and why
  metanode tap --corr ID --json                 one conversation, a line each

Stages: preprocess, validate, transform, route, deliver, postprocess; see
docs/flow.md. What has no id yet is shown together, with its number. It costs
the node nothing while nobody taps; whoever reads too slowly is told on standard
error how much was missed.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no node answers at the API.";

/// Watch messages pass the six stages.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct TapArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// `*`, or categories and kinds with commas
    #[arg(default_value = "*", value_parser = wanted)]
    filter: Wanted,
    /// Only these stages
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    stage: Vec<Station>,
    /// Only what was refused
    #[arg(long)]
    refused: bool,
    /// Only by this node; may be given more than once
    #[arg(long, value_name = "ID")]
    author: Vec<NodeId>,
    /// Only with this tag; one of them, if more than one is given
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Only of this conversation
    #[arg(long, value_name = "ID")]
    corr: Option<MessageId>,
    /// End after so many lines
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

impl TapArgs {
    /// Follows until the count is reached, the node ends or the command is interrupted.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.api)?;
        let mut response = client.send(client.stream(Method::GET, &["tap"], &self.query())).await?;
        let (mut events, mut left) = (Events::default(), self.count.unwrap_or(u64::MAX));
        while let Some(chunk) = response.chunk().await? {
            events.feed(&chunk);
            while let Some(event) = events.next() {
                if event.name == "lag" {
                    let missed: Value = serde_json::from_str(&event.data).unwrap_or_default();
                    eprintln!("metanode: missed {} messages at stages; narrow the filter", plain(&missed["missed"]));
                    continue;
                }
                let line = if self.api.json { event.data } else { line(&event.data) };
                left -= 1;
                if !print(&line)? || left == 0 {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        let mut list = |name: &'static str, values: Vec<String>| {
            if !values.is_empty() {
                query.push((name, values.join(",")));
            }
        };
        list("stage", self.stage.iter().map(Station::to_string).collect());
        list("kind", self.filter.kinds.iter().map(Kind::to_string).collect());
        list("category", self.filter.categories.iter().map(Category::to_string).collect());
        list("author", self.author.iter().map(NodeId::to_string).collect());
        list("tag", self.tag.clone());
        list("correlation", self.corr.iter().map(MessageId::to_string).collect());
        list("refused", if self.refused { vec!["true".into()] } else { Vec::new() });
        query
    }
}

/// What passed, for people: stage, outcome, time, priority, kind or category, and the id or how many.
fn line(text: &str) -> String {
    let seen: Value = serde_json::from_str(text).unwrap_or_default();
    let outcome = match seen["reason"].as_str() {
        Some(reason) => format!("refused: {reason}"),
        None => plain(&seen["outcome"]),
    };
    let took = format!("{} µs", plain(&seen["took_us"]));
    let about = if seen["kind"].is_null() { plain(&seen["category"]) } else { plain(&seen["kind"]) };
    let which =
        if seen["id"].is_null() { format!("{} messages", plain(&seen["messages"])) } else { plain(&seen["id"]) };
    let whose = if seen["own"] == true { "own" } else { "other" };
    format!(
        "{:<11}  {outcome:<18}  {took:>11}  {whose:<5}  {:<8}  {about:<26}  {which}",
        plain(&seen["stage"]),
        plain(&seen["priority"])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_why_and_which() {
        let one = r#"{"stage":"transform","outcome":"refused","reason":"duplicate","took_us":7,"own":false,
            "priority":"High","category":"Data","kind":null,"id":null,"author":null,"messages":12}"#;
        let told = line(one);
        for word in ["transform", "refused: duplicate", "7 µs", "other", "High", "Data", "12 messages"] {
            assert!(told.contains(word), "{word} in {told}");
        }
    }
}
