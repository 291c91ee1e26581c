//! `metanode dlq`: dead letters, why they died; bring them back or drop them.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::client::{ApiArgs, Client, ClientError, message, pairs, plain, print, print_json, table, time};
use crate::deliver::{Disposition, Name};

/// Dead letters that are listed at once.
const PAGE: usize = 1_000;

const EXAMPLES: &str = "\
Examples:
  metanode dlq ls
  metanode dlq show billing 4711
  metanode dlq redrive --subscription billing --disposition max_attempts --dry-run
  metanode dlq redrive --subscription billing --position 4711
  metanode dlq drop --before 1735689600000

A dead letter is a message that a durable subscription could not take. It stays
until it is redriven (handed out again, marked as redelivered) or dropped.

Dispositions: max_attempts (it failed as often as it may), rejected (its consumer
will never take it), expired (its time was over, or it was let go), schema,
no_route, circuit_open, overflow (as its consumer said).

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no node answers at the API.";

/// Show, redrive and drop dead letters.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DlqArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(subcommand)]
    command: DlqCommand,
}

#[derive(Subcommand, Debug)]
enum DlqCommand {
    /// Dead letters
    Ls {
        #[command(flatten)]
        which: Which,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// One dead letter with its message and how it failed
    Show {
        /// Whose
        subscription: Name,
        /// The message's position
        position: u64,
    },
    /// Hand dead letters out again
    Redrive(Sweep),
    /// Remove dead letters for ever
    Drop(Sweep),
}

/// Which dead letters; every part that is given has to be met.
#[derive(Args, Debug, Default)]
struct Which {
    /// Of this durable subscription
    #[arg(long, value_name = "NAME")]
    subscription: Option<Name>,
    /// That died of this
    #[arg(long, value_name = "WORD")]
    disposition: Option<Disposition>,
    /// That died before this, milliseconds of 1970
    #[arg(long, value_name = "MS")]
    before: Option<u64>,
}

#[derive(Args, Debug)]
struct Sweep {
    #[command(flatten)]
    which: Which,
    /// At this position; goes with --subscription
    #[arg(long, value_name = "N", requires = "subscription")]
    position: Option<u64>,
    /// All there are
    #[arg(long, conflicts_with_all = ["subscription", "disposition", "before", "position"])]
    all: bool,
    /// Only say how many
    #[arg(long)]
    dry_run: bool,
}

impl Sweep {
    fn body(&self) -> Result<Value, ClientError> {
        let Which { subscription, disposition, before } = &self.which;
        let mut body = Map::new();
        body.extend(subscription.iter().map(|name| ("subscription".into(), json!(name))));
        body.extend(disposition.iter().map(|word| ("disposition".into(), json!(word))));
        body.extend(before.iter().map(|ms| ("before_ms".into(), json!(ms))));
        body.extend(self.position.iter().map(|position| ("position".into(), json!(position))));
        if body.is_empty() && !self.all {
            let advice = "say which: --subscription, --position, --disposition, --before; or --all";
            return Err(ClientError::Usage(advice.into()));
        }
        body.extend([("all".into(), json!(self.all)), ("dry_run".into(), json!(self.dry_run))]);
        Ok(Value::Object(body))
    }
}

impl DlqArgs {
    /// Asks the node and prints its answer.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.api)?;
        let answer = self.ask(&client).await?;
        if self.api.json {
            return print_json(&answer).map(drop);
        }
        let text = match &self.command {
            DlqCommand::Ls { .. } => listed(&answer),
            DlqCommand::Show { .. } => shown(&answer)?,
            DlqCommand::Redrive(_) => swept(&answer, "redriven"),
            DlqCommand::Drop(_) => swept(&answer, "dropped"),
        };
        print(&text).map(drop)
    }

    async fn ask(&self, client: &Client) -> anyhow::Result<Value> {
        let post = |what: &str, sweep: &Sweep| {
            let body = sweep.body()?;
            Ok::<_, ClientError>(client.request(Method::POST, &["dead-letters", what], &[]).json(&body))
        };
        match &self.command {
            DlqCommand::Ls { which, limit } => list(client, which, *limit).await,
            DlqCommand::Show { subscription, position } => {
                client.get(&["dead-letters", subscription.as_str(), &position.to_string()]).await
            }
            DlqCommand::Redrive(sweep) => client.json(post("redrive", sweep)?).await,
            DlqCommand::Drop(sweep) => client.json(post("drop", sweep)?).await,
        }
    }
}

/// Reads pages until there are enough.
async fn list(client: &Client, which: &Which, limit: usize) -> anyhow::Result<Value> {
    let (mut letters, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut query = vec![("limit", PAGE.min(limit.saturating_sub(letters.len())).max(1).to_string())];
        query.extend(which.subscription.iter().map(|name| ("subscription", name.to_string())));
        query.extend(which.disposition.iter().map(|word| ("disposition", word.to_string())));
        query.extend(which.before.iter().map(|ms| ("before_ms", ms.to_string())));
        query.extend(after.iter().map(|after| ("after", after.clone())));
        let page = client.json(client.request(Method::GET, &["dead-letters"], &query)).await?;
        letters.extend(page["dead_letters"].as_array().cloned().unwrap_or_default());
        after = page["next"].as_str().map(String::from);
        if after.is_none() || letters.len() >= limit {
            return Ok(json!({"dead_letters": letters, "more": after.is_some()}));
        }
    }
}

fn listed(answer: &Value) -> String {
    let letters = answer["dead_letters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if letters.is_empty() {
        return "there are no dead letters".into();
    }
    let row = |dead: &Value| {
        vec![
            plain(&dead["subscription"]),
            plain(&dead["position"]),
            plain(&dead["disposition"]),
            plain(&dead["attempts"]),
            time(&dead["died_ms"]),
            plain(&dead["message"]),
            plain(&dead["reason"]).chars().take(60).collect(),
        ]
    };
    let rows: Vec<Vec<String>> = letters.iter().map(row).collect();
    let more = if answer["more"] == true { "\n\nthere are more; give --limit, or choose some" } else { "" };
    format!("{}{more}", table(&["SUBSCRIPTION", "POSITION", "DIED OF", "ATTEMPTS", "WHEN", "MESSAGE", "REASON"], &rows))
}

fn shown(answer: &Value) -> anyhow::Result<String> {
    let dead = &answer["dead_letter"];
    let mut rows = vec![("died of", plain(&dead["disposition"])), ("reason", plain(&dead["reason"]))];
    rows.extend([("when", time(&dead["died_ms"])), ("attempts", plain(&dead["attempts"]))]);
    for failure in dead["history"].as_array().into_iter().flatten() {
        rows.push(("failed", format!("{}  {}", time(&failure["at_ms"]), plain(&failure["reason"]))));
    }
    let what = match &answer["message"] {
        Value::Null => "the message was let go before it died".into(),
        envelope => message(envelope)?,
    };
    Ok(format!("{}\n\n{what}", pairs(&rows)))
}

fn swept(answer: &Value, what: &str) -> String {
    let would = if answer["dry_run"] == true { "would be " } else { "" };
    let mut lines = vec![format!("{} {would}{what}, {} stay", answer["done"], answer["stay"])];
    for stay in answer["stays"].as_array().into_iter().flatten() {
        lines.push(format!("{} {}: {}", plain(&stay["subscription"]), stay["position"], plain(&stay["reason"])));
    }
    lines.join("\n")
}
