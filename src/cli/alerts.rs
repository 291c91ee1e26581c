//! `metanode alerts`: the conditions a node is held against, and which of them hold.

use clap::Args;
use serde_json::Value;

use super::client::{ApiArgs, Client, plain, print, print_json, table, time};

const EXAMPLES: &str = "\
Examples:
  metanode alerts
  metanode alerts --firing || page-someone     exit code 1 when any fires
  metanode alerts --json | jq '.alerts[] | select(.state == \"firing\") | .name'

Rules are built in; `alerts` in the configuration adds others, and replaces or
takes away one by its name. An alert fires when its condition has held for so
long, and ends when it has not for as long.

Exit codes: 0 done, 1 failed, or with --firing an alert fires, 2 wrong usage,
3 no node answers at the API.";

/// Show which alerts fire.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct AlertsArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// Only those that fire; fails when there are any
    #[arg(long)]
    firing: bool,
}

impl AlertsArgs {
    /// Asks and prints.
    pub async fn run(self) -> anyhow::Result<()> {
        let mut answer = Client::new(&self.api)?.get(&["alerts"]).await?;
        if self.firing
            && let Some(alerts) = answer["alerts"].as_array_mut()
        {
            alerts.retain(|alert| alert["state"] == "firing");
        }
        let alerts = answer["alerts"].as_array().map(Vec::as_slice).unwrap_or_default();
        let count = alerts.len();
        if self.api.json {
            print_json(&answer)?;
        } else if count > 0 || !self.firing {
            print(&told(alerts))?;
        } else {
            print("no alert fires")?;
        }
        anyhow::ensure!(!self.firing || count == 0, "{count} of the node's alerts fire");
        Ok(())
    }
}

/// Alerts, a row each.
pub fn told(alerts: &[Value]) -> String {
    let row = |alert: &Value| {
        let condition =
            format!("{} {} {}", plain(&alert["metric"]), plain(&alert["comparison"]), plain(&alert["threshold"]));
        let value = alert["value"].as_f64().map_or_else(|| "-".into(), |value| format!("{value:.1}"));
        vec![
            plain(&alert["name"]),
            plain(&alert["state"]),
            condition,
            format!("{} s", plain(&alert["for_s"])),
            value,
            time(&alert["since_ms"]),
            plain(&alert["fired"]),
        ]
    };
    let rows: Vec<Vec<String>> = alerts.iter().map(row).collect();
    table(&["ALERT", "STATE", "CONDITION", "FOR", "NOW", "SINCE", "FIRED"], &rows)
}
