//! `metanode top`: a node at work, refreshed.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::client::{ApiArgs, Client, duration, plain, print, size, table};
use super::status::uptime;

const EXAMPLES: &str = "\
Examples:
  metanode top                           every second, until Ctrl-C
  metanode top --every 5s
  metanode top --count 2 | tail -n 40    where nobody watches, twice and no more
  metanode top --json --count 10         one object a line

Rates are of the time since the last refresh; the first shows those since the
start of the node. Where standard output is no terminal, each refresh follows
the one before.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no node answers at the API.";

/// Clears the screen and goes to its corner (ECMA-48: ED, CUP).
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";
/// Peers shown.
const PEERS: usize = 12;

/// Watch a node at work: rates, lanes, peers, durable subscriptions.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct TopArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// From one refresh to the next
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    every: Duration,
    /// End after so many refreshes
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// What a node said, and when.
struct Sight {
    at: Instant,
    status: Value,
    queues: Value,
    peers: Value,
    subscriptions: Value,
    flow: Value,
}

impl TopArgs {
    /// Asks and shows, again and again.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.api)?;
        let clear = std::io::stdout().is_terminal() && !self.api.json;
        let (mut before, mut shown) = (None, 0);
        loop {
            let sight = Sight::of(&client).await?;
            let text = if self.api.json { sight.object().to_string() } else { screen(&sight, before.as_ref()) };
            let text = if clear { format!("{CLEAR}{text}") } else { text };
            shown += 1;
            if !print(&text)? || self.count.is_some_and(|count| shown >= count) {
                return Ok(());
            }
            before = Some(sight);
            tokio::select! {
                () = tokio::time::sleep(self.every) => {}
                ended = tokio::signal::ctrl_c() => return ended.context("cannot listen for signals"),
            }
        }
    }
}

impl Sight {
    async fn of(client: &Client) -> anyhow::Result<Sight> {
        let (status, queues, peers, subscriptions, flow) = tokio::try_join!(
            client.get(&["status"]),
            client.get(&["queues"]),
            client.get(&["peers"]),
            client.get(&["subscriptions"]),
            client.get(&["flow"])
        )?;
        Ok(Sight { at: Instant::now(), status, queues, peers, subscriptions, flow })
    }

    fn object(&self) -> Value {
        json!({
            "status": self.status,
            "queues": self.queues,
            "peers": self.peers["peers"],
            "subscriptions": self.subscriptions["subscriptions"],
            "flow": self.flow,
        })
    }
}

fn screen(sight: &Sight, before: Option<&Sight>) -> String {
    let parts = [
        head(sight),
        alerts(sight),
        rates(sight),
        counters(sight, before),
        stages(sight, before),
        lanes(sight, before),
        peers(sight),
        subscriptions(sight, before),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

fn head(sight: &Sight) -> String {
    let status = &sight.status;
    format!(
        "{}  in {}  up {}\n{} peers  {} subscribers  {} messages held  disk {}  memory {}  clock {} ms",
        plain(&status["id"]),
        plain(&status["network"]),
        uptime(status["uptime_s"].as_u64().unwrap_or_default()),
        plain(&status["peers"]),
        plain(&status["subscribers"]),
        plain(&status["messages"]),
        size(&status["disk_bytes"]),
        size(&status["resident_bytes"]),
        plain(&status["clock_offset_ms"]),
    )
}

/// The alerts that fire; nothing when none does.
fn alerts(sight: &Sight) -> String {
    let firing: Vec<String> = sight.flow["firing"].as_array().into_iter().flatten().map(plain).collect();
    if firing.is_empty() { String::new() } else { format!("ALERTS  {}", firing.join("  ")) }
}

fn rates(sight: &Sight) -> String {
    let rates = &sight.flow["rates"];
    let whole = |name: &str| size(&Value::from(rates[name].as_f64().unwrap_or_default() as u64));
    let latency = &rates["latency_ms"];
    format!(
        "{} messages/s (peak {})  {}/s  in {}/s  out {}/s\nlatency mean {} p95 {} p99 {} ms  errors {} %  retries {} %  \
         dead letters {}  security {}/min",
        rounded(&rates["messages_per_second"]),
        rounded(&rates["peak_messages_per_second"]),
        whole("bytes_per_second"),
        whole("bytes_in_per_second"),
        whole("bytes_out_per_second"),
        rounded(&latency["mean"]),
        rounded(&latency["p95"]),
        rounded(&latency["p99"]),
        rounded(&rates["error_percent"]),
        rounded(&rates["retry_percent"]),
        plain(&rates["dead_letters"]),
        rounded(&rates["security_events_per_minute"]),
    )
}

fn stages(sight: &Sight, before: Option<&Sight>) -> String {
    let stages = sight.flow["stages"].as_array().into_iter().flatten().enumerate();
    let rows: Vec<Vec<String>> = stages
        .map(|(place, stage)| {
            let passed = rate(sight, before, |sight| sight.flow["stages"][place]["messages"].as_f64());
            let refused = stage["refused"].as_object().into_iter().flatten();
            let refused: u64 = refused.filter_map(|(_, count)| count.as_u64()).sum();
            let mut row = vec![plain(&stage["stage"]), passed];
            row.extend(["mean_ms", "p95_ms", "p99_ms"].map(|name| rounded(&stage[name])));
            row.push(refused.to_string());
            row
        })
        .collect();
    table(&["STAGE", "PASSED/S", "MEAN MS", "P95 MS", "P99 MS", "REFUSED"], &rows)
}

/// How much more a counter has become, a second.
fn rate(sight: &Sight, before: Option<&Sight>, count: impl Fn(&Sight) -> Option<f64>) -> String {
    let (now, then) = (count(sight).unwrap_or_default(), before.and_then(&count).unwrap_or_default());
    let seconds = match before {
        Some(before) => (sight.at - before.at).as_secs_f64(),
        None => sight.status["uptime_s"].as_f64().unwrap_or_default(),
    };
    // A node that was started again counts from 0.
    format!("{:.0}", (now - then).max(0.0) / seconds.max(0.001))
}

fn counters(sight: &Sight, before: Option<&Sight>) -> String {
    let rows = [
        ("published messages", "published_messages"),
        ("kept messages", "kept_messages"),
        ("kept bytes", "kept_bytes"),
        ("bundles by gossip", "gossip_bundles"),
        ("bundles by repair", "repaired_bundles"),
        ("duplicate bundles", "duplicate_bundles"),
        ("repairs in vain", "repairs_failed"),
        ("forks", "forks"),
    ];
    let rows = rows.map(|(title, name)| {
        let per_second = rate(sight, before, |sight| sight.status["counters"][name].as_f64());
        vec![title.to_string(), per_second, plain(&sight.status["counters"][name])]
    });
    table(&["COUNTED", "PER SECOND", "IN ALL"], &rows)
}

fn lanes(sight: &Sight, before: Option<&Sight>) -> String {
    let lanes = sight.queues["lanes"].as_array().into_iter().flatten().enumerate();
    let rows: Vec<Vec<String>> = lanes
        .map(|(place, lane)| {
            let sent = rate(sight, before, |sight| sight.queues["lanes"][place]["sent_messages"].as_f64());
            let mut row = vec![plain(&lane["priority"]), sent];
            let names = ["waiting_messages", "oldest_ms", "mean_wait_ms", "late_messages", "overflowed_messages"];
            row.extend(names.map(|name| rounded(&lane[name])));
            row
        })
        .collect();
    table(&["LANE", "SENT/S", "WAITING", "OLDEST MS", "MEAN WAIT MS", "LATE", "REFUSED"], &rows)
}

fn peers(sight: &Sight) -> String {
    let all: Vec<&Value> = sight.peers["peers"].as_array().into_iter().flatten().collect();
    let connected: Vec<&&Value> = all.iter().filter(|peer| peer["connected"] == json!(true)).collect();
    let rows: Vec<Vec<String>> = connected
        .iter()
        .take(PEERS)
        .map(|peer| {
            let same = if peer["alike"] == true { "yes" } else { "no" };
            let mut row = vec![plain(&peer["id"])];
            row.extend(["heartbeat_age_ms", "clock_offset_ms", "penalty"].map(|name| plain(&peer[name])));
            row.push(same.into());
            row
        })
        .collect();
    if rows.is_empty() {
        return format!("no peer is connected; {} are known", all.len());
    }
    let more = connected.len().saturating_sub(PEERS);
    let rest = if more > 0 { format!("\nand {more} more") } else { String::new() };
    table(&["PEER", "HEARD MS AGO", "CLOCK MS", "PENALTY", "HOLDS THE SAME"], &rows) + &rest
}

fn subscriptions(sight: &Sight, before: Option<&Sight>) -> String {
    let all = sight.subscriptions["subscriptions"].as_array().into_iter().flatten().enumerate();
    let rows: Vec<Vec<String>> = all
        .map(|(place, one)| {
            // Places move when one is made or removed; then the rate is that of one refresh only.
            let done = |sight: &Sight| sight.subscriptions["subscriptions"][place]["counts"]["acknowledged"].as_f64();
            let mut row = vec![plain(&one["name"]), plain(&one["breaker"]), rate(sight, before, done)];
            row.extend(["behind", "ready", "leased", "waiting", "dead"].map(|name| plain(&one[name])));
            row
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    table(&["SUBSCRIPTION", "BREAKER", "DONE/S", "BEHIND", "READY", "LEASED", "WAITING", "DEAD"], &rows)
}

/// A number without what nobody reads.
fn rounded(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".into(), |number| format!("{number:.0}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::api::tests::rig::Rig;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: TopArgs,
    }

    #[tokio::test]
    async fn rates_are_of_the_time_between_two_refreshes() {
        let rig = Rig::start().await;
        let client = Client::new(&Line::parse_from(["top", "--api", &format!("http://{}", rig.address)]).args.api);
        let client = client.unwrap();
        let mut first = Sight::of(&client).await.unwrap();
        rig.trades(0..50).await;
        let mut second = Sight::of(&client).await.unwrap();
        second.at = first.at + Duration::from_secs(2);
        let published = |sight: &Sight| sight.status["counters"]["published_messages"].as_f64();
        assert_eq!(rate(&second, Some(&first), published), "25");
        assert_eq!(rate(&first, Some(&second), published), "0", "a node that began anew");
        first.status["uptime_s"] = json!(10);
        let text = screen(&second, Some(&first));
        for word in ["published messages  25", "LANE", "Critical", "no peer is connected"] {
            assert!(text.contains(word), "{word}:\n{text}");
        }
        assert!(second.object()["queues"]["lanes"].is_array());
        rig.stop().await;
    }

    #[tokio::test]
    async fn it_ends_after_as_many_refreshes_as_were_asked_for() {
        let rig = Rig::start().await;
        let api = format!("http://{}", rig.address);
        for json in [None, Some("--json")] {
            let line = ["top", "--api", &api, "--count", "2", "--every", "1ms"].into_iter().chain(json);
            Line::parse_from(line).args.run().await.unwrap();
        }
        rig.stop().await;
    }
}
