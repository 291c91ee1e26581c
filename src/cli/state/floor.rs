//! `metanode state floor`: what is older than the floor of a collection does not come back, so its deletes can go.

use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::told::since;
use crate::cli::client::{Client, duration, plain, print, print_json};

const EXAMPLES: &str = "\
Examples:
  metanode state floor prices --dry-run
  metanode state floor prices
  metanode state floor prices --older-than 30d --json

It is refused while a node heard from in the last three days holds another
state. What is written below the floor by nodes that are away is in their
conflict log afterwards; `metanode state restore` writes it anew. A collection
named NAME@NODE has the floor that its owner sets.";

/// Lets go of deletes, removals and prefix deletes that are old.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct FloorArgs {
    /// The collection
    collection: String,
    /// What is younger stays above the floor
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "7d")]
    older_than: Duration,
    /// Only say what would go and what would stay
    #[arg(long)]
    dry_run: bool,
}

impl FloorArgs {
    pub async fn run(&self, client: &Client, as_json: bool) -> anyhow::Result<()> {
        let body = json!({"older_than_ms": self.older_than.as_millis() as u64, "dry_run": self.dry_run});
        let request = client.request(Method::PUT, &["state", &self.collection, "floor"], &[]);
        let answer = client.json(request.json(&body)).await?;
        if as_json {
            print_json(&answer)?
        } else {
            print(&told(&answer))?
        };
        Ok(())
    }
}

fn told(answer: &Value) -> String {
    let (floor, gone) = (&answer["floor"], plain(&answer["tombstones"]));
    let (stay, below) = (plain(&floor["count"]), since(floor));
    if answer["version"].is_null() {
        return format!("below {below} {gone} deletes and removals would go, {stay} writes would stay");
    }
    format!(
        "the floor is at {below}: {gone} deletes and removals go, {stay} writes stay\nversion {}",
        plain(&answer["version"])
    )
}
