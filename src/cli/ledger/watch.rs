//! `metanode ledger watch`: blocks as they become final.

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::super::client::{ApiArgs, Client, print};
use super::super::subscribe::Events;
use super::look::{block_cells, list, record_line};

/// Follow blocks as they become final
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  metanode ledger watch                          from now on
  metanode ledger watch --from 1 --records       from the first block, with what each did
  metanode ledger watch --count 1 --json         the next block")]
pub struct WatchArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// From this height on, instead of the next
    #[arg(long, value_name = "HEIGHT")]
    from: Option<u64>,
    /// With what each did, the first 100 records
    #[arg(long)]
    records: bool,
    /// End after so many blocks
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

impl WatchArgs {
    /// Prints blocks until the node goes, or as many as were asked for.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.api)?;
        let mut query = vec![("records", self.records.to_string())];
        query.extend(self.from.map(|from| ("from", from.to_string())));
        let mut stream = client.send(client.stream(Method::GET, &["chain", "subscribe"], &query)).await?;
        let (mut events, mut left) = (Events::default(), self.count.unwrap_or(u64::MAX));
        while left > 0 {
            let chunk = stream.chunk().await.map_err(|e| client.unreachable(&e))?;
            let Some(chunk) = chunk else { anyhow::bail!("the node has ended the stream; is it stopping?") };
            events.feed(&chunk);
            while left > 0
                && let Some(event) = events.next()
            {
                if event.name == "lag" {
                    eprintln!("metanode: blocks before the next are not kept here: {}", event.data);
                    continue;
                }
                if !print(&if self.api.json { event.data } else { lines(&event.data) })? {
                    return Ok(());
                }
                left -= 1;
            }
        }
        Ok(())
    }
}

/// A block, and what it did, on a line each.
fn lines(data: &str) -> String {
    let block: Value = serde_json::from_str(data).unwrap_or_default();
    let mut text = block_cells(&block).join("  ");
    for record in list(&block["records"]["records"]) {
        text += &format!("\n{}", record_line(&record));
    }
    text
}
