//! `metanode consumer`: durable subscriptions, how they stand; make, pause, resume and remove them.

use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{ApiArgs, Client, duration, pairs, plain, print, print_json, table};
use super::subscribe::Which;
use crate::deliver::{Name, Sink, Spec};

const EXAMPLES: &str = "\
Examples:
  metanode consumer add billing Economic --from start
  metanode consumer add alerts SecurityAlert --webhook http://127.0.0.1:9000/alerts --max-attempts 10
  metanode consumer ls
  metanode consumer pause billing --reason 'the table is full'
  metanode consumer resume billing

A consumer's workers take messages with `metanode sub --durable NAME` or over
the API; a webhook gets them by POST and answers 2xx for those it has taken.
What fails comes again after a while, and in the end is a dead letter: see
`metanode dlq`. Adding one that is there changes it; its filter stays.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no node answers at the API.";

/// Show, make, pause and remove durable subscriptions.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ConsumerArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(subcommand)]
    command: ConsumerCommand,
}

#[derive(Subcommand, Debug)]
enum ConsumerCommand {
    /// All durable subscriptions
    Ls,
    /// One durable subscription
    Show {
        /// Its name
        name: Name,
    },
    /// Make a durable subscription, or change one
    Add(Box<AddArgs>),
    /// Hand out nothing until it is resumed
    Pause {
        /// Its name
        name: Name,
        /// Why, for whoever looks at it later
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Go on after a pause
    Resume {
        /// Its name
        name: Name,
    },
    /// Remove a durable subscription and where it stands
    Rm {
        /// Its name
        name: Name,
    },
}

#[derive(Args, Debug)]
struct AddArgs {
    /// Its name: letters, digits, `.`, `_` and `-`
    name: Name,
    #[command(flatten)]
    which: Which,
    /// Post the messages to this address
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// How long a worker has for a message [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    ack_wait: Option<Duration>,
    /// After so many failures a message is dead [default: 5]
    #[arg(long, value_name = "N")]
    max_attempts: Option<u32>,
    /// How long a message waits after its first failure; then twice as long [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    retry: Option<Duration>,
    /// The longest it waits [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    retry_max: Option<Duration>,
    /// Messages not settled at once, before no new ones are taken up [default: 1000]
    #[arg(long, value_name = "N")]
    max_open: Option<u32>,
}

impl AddArgs {
    fn body(&self) -> anyhow::Result<Value> {
        let usual = Spec::default();
        let ms = |time: Option<Duration>, usual: u64| time.map_or(usual, |time| time.as_millis() as u64);
        let retry_ms = ms(self.retry, usual.retry_ms);
        let spec = Spec {
            filter: self.which.filter(),
            sink: self.webhook.clone().map_or(Sink::Pull, |url| Sink::Webhook { url }),
            ack_wait_ms: ms(self.ack_wait, usual.ack_wait_ms),
            max_attempts: self.max_attempts.unwrap_or(usual.max_attempts),
            retry_ms,
            retry_max_ms: ms(self.retry_max, usual.retry_max_ms.max(retry_ms)),
            max_open: self.max_open.unwrap_or(usual.max_open),
        };
        let mut body = serde_json::to_value(spec).context("cannot be written as JSON")?;
        body["from"] = json!(self.which.from);
        Ok(body)
    }
}

impl ConsumerArgs {
    /// Asks the node and prints its answer.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.api)?;
        let answer = self.ask(&client).await?;
        if self.api.json {
            return print_json(&answer).map(drop);
        }
        let text = match &self.command {
            ConsumerCommand::Ls => listed(&answer),
            ConsumerCommand::Show { .. }
            | ConsumerCommand::Add(_)
            | ConsumerCommand::Pause { .. }
            | ConsumerCommand::Resume { .. } => shown(&answer),
            ConsumerCommand::Rm { name } => format!("{name} is gone"),
        };
        print(&text).map(drop)
    }

    async fn ask(&self, client: &Client) -> anyhow::Result<Value> {
        let path = |name: &Name, more: &[&str]| -> Vec<String> {
            ["subscriptions", name.as_str()].iter().chain(more).map(|part| part.to_string()).collect()
        };
        let request = |method: Method, path: Vec<String>| {
            let parts: Vec<&str> = path.iter().map(String::as_str).collect();
            client.request(method, &parts, &[])
        };
        match &self.command {
            ConsumerCommand::Ls => client.get(&["subscriptions"]).await,
            ConsumerCommand::Show { name } => client.get(&["subscriptions", name.as_str()]).await,
            ConsumerCommand::Add(args) => {
                client.json(request(Method::PUT, path(&args.name, &[])).json(&args.body()?)).await
            }
            ConsumerCommand::Pause { name, reason } => {
                client.json(request(Method::POST, path(name, &["pause"])).json(&json!({ "reason": reason }))).await
            }
            ConsumerCommand::Resume { name } => client.json(request(Method::POST, path(name, &["resume"]))).await,
            ConsumerCommand::Rm { name } => {
                client.send(request(Method::DELETE, path(name, &[]))).await?;
                Ok(json!({ "removed": name }))
            }
        }
    }
}

fn listed(answer: &Value) -> String {
    let all = answer["subscriptions"].as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        return "there are no durable subscriptions; make one with `metanode consumer add NAME FILTER`".into();
    }
    let row = |one: &Value| {
        let numbers = ["behind", "ready", "leased", "waiting", "dead"].map(|name| plain(&one[name]));
        let mut row = vec![plain(&one["name"]), state(one), plain(&one["counts"]["acknowledged"])];
        row.extend(numbers);
        row.push(sink(one));
        row
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    table(&["NAME", "STATE", "ACKED", "BEHIND", "READY", "LEASED", "WAITING", "DEAD", "SINK"], &rows)
}

fn state(one: &Value) -> String {
    match (&one["paused"], one["breaker"].as_str()) {
        (Value::String(_), _) => "paused".into(),
        (_, Some("open")) => "sink down".into(),
        (_, Some("half_open")) => "probing".into(),
        _ => "running".into(),
    }
}

fn sink(one: &Value) -> String {
    let url = &one["spec"]["sink"]["webhook"]["url"];
    if url.is_string() { plain(url) } else { "workers".into() }
}

fn shown(one: &Value) -> String {
    let (spec, counts) = (&one["spec"], &one["counts"]);
    let ms = |name: &str| format!("{} ms", spec[name]);
    let mut rows = vec![("name", plain(&one["name"])), ("state", state(one)), ("paused for", plain(&one["paused"]))];
    rows.extend([("sink", sink(one)), ("filter", plain(&spec["filter"]))]);
    rows.extend([("time for a message", ms("ack_wait_ms")), ("attempts", plain(&spec["max_attempts"]))]);
    rows.extend([("retry after", ms("retry_ms")), ("at most", ms("retry_max_ms"))]);
    let numbers = ["scanned", "behind", "ready", "leased", "waiting", "dead"];
    rows.extend(numbers.map(|name| (name, plain(&one[name]))));
    let since = ["leased_again", "acknowledged", "failed", "timed_out", "died", "unknown", "missed"];
    rows.extend(since.map(|name| (name, plain(&counts[name]))));
    rows.retain(|(_, value)| value != "-");
    pairs(&rows)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::api::tests::rig::Rig;
    use crate::cli::dlq::DlqArgs;

    #[derive(Parser)]
    enum Line {
        Consumer(ConsumerArgs),
        Dlq(DlqArgs),
    }

    async fn run(api: &str, line: &str) -> anyhow::Result<()> {
        match Line::parse_from(["metanode"].into_iter().chain(line.split(' ')).chain([api])) {
            Line::Consumer(args) => args.run().await,
            Line::Dlq(args) => args.run().await,
        }
    }

    #[tokio::test]
    async fn a_consumer_is_made_shown_paused_and_removed_and_its_dead_letters_redriven() {
        let rig = Rig::start().await;
        rig.trades(0..2).await;
        let api = format!("--api=http://{}", rig.address);
        run(&api, "consumer ls").await.unwrap();
        run(&api, "consumer add a Data --from start --max-attempts 1 --retry 5m --tag x").await.unwrap();
        assert!(run(&api, "consumer add a Security").await.is_err(), "the filter stays");
        run(&api, "consumer rm a").await.unwrap();
        run(&api, "consumer add a ExchangeData --from start --max-attempts 1 --ack-wait 10s").await.unwrap();
        let (_, one) = rig.get("/v1/subscriptions/a").await;
        assert_eq!(one["spec"]["filter"]["kinds"], json!(["Data/ExchangeData"]));
        assert!(shown(&one).contains("10000 ms") && state(&one) == "running" && sink(&one) == "workers");
        run(&api, "consumer pause a --reason night").await.unwrap();
        assert_eq!(state(&rig.get("/v1/subscriptions/a").await.1), "paused");
        run(&api, "consumer resume a --json").await.unwrap();
        for line in ["consumer show a", "consumer ls", "consumer ls --json", "dlq ls"] {
            run(&api, line).await.unwrap();
        }
        rig.post("/v1/subscriptions/a/fetch", &json!({"max": 2})).await;
        let park = json!({"park": [{"position": 0, "reason": "bad"}, {"position": 1}]});
        rig.post("/v1/subscriptions/a/settle", &park).await;
        for line in [
            "dlq ls --subscription a --disposition rejected",
            "dlq ls --json",
            "dlq show a 0",
            "dlq show a 0 --json",
            "dlq redrive --subscription a --position 0 --dry-run",
        ] {
            run(&api, line).await.unwrap();
        }
        assert_eq!(rig.get("/v1/subscriptions/a").await.1["dead"], 2);
        assert!(run(&api, "consumer rm a").await.is_err(), "it has dead letters");
        run(&api, "dlq redrive --subscription a --position 0").await.unwrap();
        assert!(run(&api, "dlq redrive --subscription a --position 0").await.is_err());
        assert!(run(&api, "dlq drop").await.is_err(), "say which");
        run(&api, "dlq drop --all --json").await.unwrap();
        run(&api, "consumer rm a").await.unwrap();
        assert!(run(&api, "consumer show a").await.is_err());
        rig.stop().await;
    }
}
