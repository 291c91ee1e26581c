//! `metanode pub`: says one message, or one for each line of standard input.
//!
//! Lines are sent in their order, one request at a time: a batch is whatever has come in while the one before was under
//! way, so a quiet input is said at once and a fast one in full batches. What `--ack durable` promises holds for all
//! lines when the command ends: while more lines are at hand a batch is acknowledged as written, and the last one, on
//! whose flush all before it are on the disk too, as durable.

use std::io::{BufRead, BufReader, IsTerminal};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};

use super::client::{ApiArgs, Client, ClientError, duration, print, write_file};
use crate::driver::SystemClock;
use crate::node::Ack;
use crate::types::{MessageId, limits};
use crate::wire::{Kind, Priority, Seal};

/// Lines read ahead of the request under way, in batches.
const BATCHES_AHEAD: usize = 4;
/// The problem of a lane that is full, and the time until it is tried again.
const BUSY: &str = "urn:metanode:problem:busy";
const WHEN_BUSY: Duration = Duration::from_millis(100);
/// Headers travel in a query string, which has to end somewhere, bytes.
const HEADERS_BYTES: usize = 16 * 1024;
/// The lines of one request have at most this many bytes.
const BATCH_BYTES: usize = limits::API_BODY_BYTES / 2;

const EXAMPLES: &str = "\
Examples:
  metanode pub Data/ExchangeData < trades.jsonl
  metanode pub ExchangeData --ack written --tag replay - < trades.jsonl
  tail -f trades.jsonl | metanode pub ExchangeData
  metanode pub External/Notification --priority High --to 12D3Koo… '{…}'
  metanode pub Notification --sealed --to 12D3Koo… '{…}'    only that node can read it
  metanode kinds ExchangeData          what a payload of this kind looks like

Each line of standard input is the payload of one message, as JSON. They are
published in their order. If one is not valid, all faults of its batch are
told with their line numbers, nothing of that batch is published, and the
command ends; lines before the batch were published.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no node answers at the API.";

/// Publish one message, or one for each line of standard input.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct PublishArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// What it is, such as Data/ExchangeData; `metanode kinds` lists all
    kind: Kind,
    /// What it says, as JSON; `-`, or nothing, for one on each line of standard input
    payload: Option<String>,
    /// Critical, High, Normal, Low or Bulk
    #[arg(long, value_name = "PRIORITY")]
    priority: Option<Priority>,
    /// For whom: everyone, a node's id, service:NAME, layer:NAME, node_type:NAME, topic:NAME
    #[arg(long, value_name = "DESTINATION")]
    to: Option<String>,
    /// The conversation it belongs to
    #[arg(long, value_name = "ID")]
    corr: Option<MessageId>,
    /// The message it follows from
    #[arg(long, value_name = "ID")]
    parent: Option<MessageId>,
    /// A word to filter by; may be given more than once
    #[arg(long, value_name = "TAG", value_parser = tag)]
    tag: Vec<String>,
    /// An entry of your own; may be given more than once
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// It means nothing after this long: 30s, 5m, 2h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    expires_in: Option<Duration>,
    /// A second message with this key within ten minutes is the first; for one message
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// When the node answers: when the messages are accepted, written or durable (on the disk)
    #[arg(long, value_name = "LEVEL", default_value = "durable")]
    ack: Ack,
    /// One signature over as many messages as wait together, or one for each: bundle or each
    #[arg(long, value_name = "SEAL", default_value = "bundle")]
    seal: Seal,
    /// Seal the payload for the node given with --to: nobody else can read it
    #[arg(long, requires = "to")]
    sealed: bool,
    /// Lines of one request at most
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = batch)]
    batch: usize,
    /// Write the messages' ids to this file, one on each line
    #[arg(long, value_name = "FILE")]
    id_out: Option<PathBuf>,
}

/// What was published.
#[derive(Debug, Default)]
struct Done {
    published: u64,
    dropped: u64,
    first: Option<Value>,
    last: Option<Value>,
    ids: String,
}

/// A line of input.
pub(super) struct Line {
    number: u64,
    text: String,
    /// Bytes of input read up to its end.
    read: u64,
}

impl PublishArgs {
    /// Publishes, and says how fast.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.api)?;
        match self.payload.as_deref() {
            Some(payload) if payload != "-" => self.one(&client, payload).await,
            None if std::io::stdin().is_terminal() => Err(ClientError::Usage(format!(
                "nothing to publish: give the payload as JSON, or pipe in one on each line; `metanode kinds {}` shows \
                 its schema",
                self.kind.name()
            ))
            .into()),
            _ => {
                if self.idempotency_key.is_some() {
                    let detail = "--idempotency-key is for one message; without it, lines cannot be told apart";
                    return Err(ClientError::Usage(detail.into()).into());
                }
                let bar = bar(input_bytes());
                self.many(&client, BufReader::with_capacity(1 << 18, std::io::stdin()), bar).await
            }
        }
    }

    async fn one(&self, client: &Client, payload: &str) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut request = client.request(Method::POST, &["messages"], &self.query(self.ack)?);
        if let Some(key) = &self.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let request = request.header("content-type", "application/json").body(payload.to_string());
        let answer = client.json(request).await.map_err(|e| explained(e, &[]))?;
        let mut done = Done::default();
        done.take(&answer);
        self.keep_ids(&done)?;
        if self.api.json {
            return print(&done.report(began.elapsed()).to_string()).map(drop);
        }
        print(done.last.as_ref().and_then(Value::as_str).unwrap_or_default()).map(drop)
    }

    async fn many(
        &self,
        client: &Client,
        input: impl BufRead + Send + 'static,
        bar: ProgressBar,
    ) -> anyhow::Result<()> {
        let (began, mut done) = (Instant::now(), Done::default());
        let (lines, mut coming) = mpsc::channel(BATCHES_AHEAD * self.batch);
        let (ended, reading) = oneshot::channel();
        // A thread of its own: it may wait for input that never comes, and nobody waits for it then.
        let work = move || drop(ended.send(read(input, &lines)));
        std::thread::Builder::new().name("input".into()).spawn(work).context("cannot start a thread")?;
        let outcome = self.send_all(client, &mut coming, &mut done, &bar, began).await;
        bar.finish_and_clear();
        self.keep_ids(&done)?;
        if outcome.is_ok() {
            reading.await.context("the reader of standard input died")??;
        }
        let took = began.elapsed();
        let report = if self.api.json { done.report(took).to_string() } else { done.told(took) };
        if self.api.json || outcome.is_ok() || done.published > 0 {
            print(&report)?;
        }
        outcome
    }

    async fn send_all(
        &self,
        client: &Client,
        coming: &mut mpsc::Receiver<Line>,
        done: &mut Done,
        bar: &ProgressBar,
        began: Instant,
    ) -> anyhow::Result<()> {
        let mut held: Vec<Line> = Vec::new();
        while !held.is_empty() || coming.recv_many(&mut held, self.batch).await > 0 {
            // One line more than is sent tells whether more will follow for sure.
            while held.len() <= self.batch
                && let Ok(line) = coming.try_recv()
            {
                held.push(line);
            }
            let rest = held.split_off(fitting(&held, self.batch));
            let ack = if rest.is_empty() { self.ack } else { self.ack.min(Ack::Written) };
            let answer = self.send(client, &held, ack).await?;
            done.take(&answer);
            if let Some(line) = held.last() {
                bar.set_position(line.read);
            }
            bar.set_message(done.pace(began.elapsed()));
            held = rest;
        }
        Ok(())
    }

    async fn send(&self, client: &Client, lines: &[Line], ack: Ack) -> anyhow::Result<Value> {
        let mut body = String::with_capacity(lines.iter().map(|line| line.text.len() + 1).sum());
        for line in lines {
            body.push_str(&line.text);
            body.push('\n');
        }
        loop {
            let request = client.request(Method::POST, &["messages"], &self.query(ack)?);
            let request = request.header("content-type", "application/x-ndjson").body(body.clone());
            match client.json(request).await {
                // The node pushes back; whoever pipes waits with it.
                Err(error) if is_busy(&error) => tokio::time::sleep(WHEN_BUSY).await,
                answer => return answer.map_err(|e| explained(e, lines)),
            }
        }
    }

    fn query(&self, ack: Ack) -> anyhow::Result<Vec<(&'static str, String)>> {
        let mut query = vec![("kind", self.kind.to_string()), ("ack", plain_ack(ack).to_string())];
        if self.seal != Seal::default() {
            query.push(("seal", self.seal.to_string()));
        }
        query.extend(self.priority.map(|p| ("priority", p.to_string())));
        query.extend(self.to.clone().map(|to| ("to", to)));
        query.extend(self.sealed.then(|| ("sealed", "true".to_string())));
        query.extend(self.corr.map(|id| ("corr", id.to_string())));
        query.extend(self.parent.map(|id| ("parent", id.to_string())));
        if let Some(after) = self.expires_in {
            query.push(("expires_at", SystemClock::start().now().wall.plus(after).0.to_string()));
        }
        if !self.tag.is_empty() {
            query.push(("tag", self.tag.join(",")));
        }
        if !self.header.is_empty() {
            let headers: Map<String, Value> = self.header.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
            let text = serde_json::to_string(&headers)?;
            if text.len() > HEADERS_BYTES {
                let advice = "send envelopes to the API, where a message has its own (POST /v1/messages)";
                return Err(
                    ClientError::Usage(format!("headers of {} bytes are too long here; {advice}", text.len())).into()
                );
            }
            query.push(("headers", text));
        }
        Ok(query)
    }

    fn keep_ids(&self, done: &Done) -> anyhow::Result<()> {
        self.id_out.as_ref().map_or(Ok(()), |path| write_file(path, &done.ids))
    }
}

impl Done {
    fn take(&mut self, answer: &Value) {
        self.dropped += answer["dropped"].as_u64().unwrap_or_default();
        let Some(ids) = answer["ids"].as_array() else { return };
        self.published += ids.len() as u64;
        self.first = self.first.take().or_else(|| ids.first().cloned());
        self.last = ids.last().cloned().or_else(|| self.last.take());
        for id in ids.iter().filter_map(Value::as_str) {
            self.ids.push_str(id);
            self.ids.push('\n');
        }
    }

    fn rate(&self, took: Duration) -> f64 {
        self.published as f64 / took.as_secs_f64().max(1e-6)
    }

    fn pace(&self, took: Duration) -> String {
        format!("{} messages, {:.0}/s", self.published, self.rate(took))
    }

    fn told(&self, took: Duration) -> String {
        let (count, rate) = (self.published, self.rate(took));
        let dropped = match self.dropped {
            0 => String::new(),
            dropped => format!("; {dropped} were dropped: their lane is full, see `metanode queue ls`"),
        };
        format!("published {count} messages in {:.2} s ({rate:.0}/s){dropped}", took.as_secs_f64())
    }

    fn report(&self, took: Duration) -> Value {
        json!({
            "published": self.published,
            "dropped": self.dropped,
            "seconds": took.as_secs_f64(),
            "messages_per_second": self.rate(took),
            "first_id": self.first,
            "last_id": self.last,
        })
    }
}

/// Reads lines until the input ends or nobody takes them.
fn read(mut input: impl BufRead, lines: &mpsc::Sender<Line>) -> anyhow::Result<()> {
    let (mut number, mut read) = (0, 0);
    loop {
        let mut text = Vec::new();
        let size = input.read_until(b'\n', &mut text).context("cannot read standard input")?;
        if size == 0 {
            return Ok(());
        }
        (number, read) = (number + 1, read + size as u64);
        let line = text.trim_ascii();
        if line.is_empty() {
            continue;
        }
        // What is not UTF-8 is not JSON either; the node says so, with the line's number.
        let text = String::from_utf8_lossy(line).into_owned();
        if lines.blocking_send(Line { number, text, read }).is_err() {
            return Ok(());
        }
    }
}

/// How many of the lines one request takes: at least one.
fn fitting(lines: &[Line], most: usize) -> usize {
    let mut bytes = 0;
    let fit = lines.iter().take(most).take_while(|line| {
        bytes += line.text.len() + 1;
        bytes <= BATCH_BYTES
    });
    fit.count().max(1).min(lines.len())
}

/// Whether the node took nothing because too much waits already.
fn is_busy(error: &anyhow::Error) -> bool {
    let refused = |e: &ClientError| matches!(e, ClientError::Refused { problem, .. } if problem["type"] == BUSY);
    error.downcast_ref().is_some_and(refused)
}

/// An error with all the faults it has, at the lines of the input.
pub(super) fn explained(error: anyhow::Error, lines: &[Line]) -> anyhow::Error {
    let Some(ClientError::Refused { problem, .. }) = error.downcast_ref() else { return error };
    let Some(faults) = problem["faults"].as_array() else { return error };
    let mut text = String::new();
    for fault in faults {
        let at = fault["line"].as_u64().and_then(|line| lines.get(usize::try_from(line).ok()?.checked_sub(1)?));
        if let Some(line) = at {
            text.push_str(&format!("line {}: ", line.number));
        }
        let path = fault["path"].as_str().filter(|path| !path.is_empty()).unwrap_or("the whole");
        text.push_str(&format!("{path}: {}\n", fault["detail"].as_str().unwrap_or_default()));
    }
    anyhow::anyhow!("{text}{error}")
}

fn plain_ack(ack: Ack) -> &'static str {
    match ack {
        Ack::Accepted => "accepted",
        Ack::Written => "written",
        Ack::Durable => "durable",
    }
}

/// The size of standard input, if it is a file.
fn input_bytes() -> Option<u64> {
    let file = std::fs::File::from(std::io::stdin().as_fd().try_clone_to_owned().ok()?);
    file.metadata().ok().filter(std::fs::Metadata::is_file).map(|about| about.len())
}

/// How far it is; drawn only if standard error is a terminal.
fn bar(bytes: Option<u64>) -> ProgressBar {
    let (bar, form) = match bytes {
        Some(bytes) => (ProgressBar::new(bytes), "{bar:32} {percent:>3} %  {msg}  {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}  {elapsed}"),
    };
    let style = ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = bar.with_style(style);
    if std::io::stderr().is_terminal() {
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    bar
}

fn tag(text: &str) -> Result<String, String> {
    let plain = !text.is_empty() && !text.contains(',');
    plain.then(|| text.to_string()).ok_or_else(|| "a tag has at least one character and no comma".into())
}

fn header(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
    parts.map(|(name, value)| (name.into(), value.into())).ok_or_else(|| "write NAME=VALUE".into())
}

fn batch(text: &str) -> Result<usize, String> {
    let most = limits::PUBLISH_BATCH;
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("use 1 to {most}: so many messages are published together or not at all"))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use clap::Parser;

    use super::*;
    use crate::api::tests::rig::{Rig, trade};
    use crate::cli::client::exit_code;

    #[derive(Parser)]
    pub(super) struct Line {
        #[command(flatten)]
        args: PublishArgs,
    }

    fn args(rig: &Rig, more: &[&str]) -> PublishArgs {
        let api = format!("--api=http://{}", rig.address);
        Line::parse_from([&["pub", "ExchangeData", &api], more].concat()).args
    }

    async fn publish(args: &PublishArgs, input: String) -> anyhow::Result<()> {
        let client = Client::new(&args.api)?;
        args.many(&client, Cursor::new(input), ProgressBar::hidden()).await
    }

    #[tokio::test]
    async fn lines_are_published_in_their_order_over_many_batches() {
        let rig = Rig::start().await;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ids");
        let more = ["--batch=7", "--tag=t", "--header=a=b=c", "--priority=low", "--expires-in=1h", "--id-out"];
        let args = args(&rig, &[&more[..], &[file.to_str().unwrap()]].concat());
        let lines: Vec<String> = (0..100).map(|n| format!("{}\n\n", trade(n))).collect();
        publish(&args, lines.concat()).await.unwrap();
        let (_, page) = rig.get("/v1/messages?limit=1000").await;
        let messages = page["messages"].as_array().unwrap();
        let ids: Vec<&str> = messages.iter().map(|m| m["id"].as_str().unwrap()).collect();
        assert_eq!(std::fs::read_to_string(&file).unwrap().lines().collect::<Vec<_>>(), ids);
        let trades: Vec<&str> = messages.iter().map(|m| m["payload"]["trade_id"].as_str().unwrap()).collect();
        assert_eq!(trades, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
        assert_eq!((&messages[9]["metadata"]["tags"], &messages[9]["priority"]), (&json!(["t"]), &json!("Low")));
        assert_eq!(messages[9]["metadata"]["custom_headers"], json!({"a": "b=c"}));
        rig.stop().await;
    }

    #[tokio::test]
    async fn every_fault_is_told_at_its_line_of_the_input() {
        let rig = Rig::start().await;
        let args = args(&rig, &[]);
        let input = format!("{}\n\n{{\"price\": -1}}\n{}\nnot json\n", trade(1), trade(2));
        let error = publish(&args, input).await.unwrap_err();
        assert_eq!(exit_code(&error), 1);
        let told = error.to_string();
        for part in ["line 3: /payload/price: ", "line 3: /payload/exchange: ", "line 5: /payload: not JSON"] {
            assert!(told.contains(part), "{part} in {told}");
        }
        assert!(!told.contains("line 1:") && !told.contains("line 4:"), "{told}");
        let (_, page) = rig.get("/v1/messages").await;
        assert_eq!(page["messages"], json!([]));
        rig.stop().await;
    }

    #[tokio::test]
    async fn one_message_is_published_once_under_its_key() {
        let rig = Rig::start().await;
        for _ in 0..2 {
            args(&rig, &[&trade(1).to_string(), "--idempotency-key=k"]).run().await.unwrap();
        }
        let (_, page) = rig.get("/v1/messages").await;
        assert_eq!(page["messages"].as_array().unwrap().len(), 1);
        let error = args(&rig, &[&trade(1).to_string(), "--to=planet:mars"]).run().await.unwrap_err();
        assert!(format!("{error:#}").contains("no sort of destination"), "{error:#}");
        rig.stop().await;
    }

    #[tokio::test]
    async fn a_node_that_is_not_there_is_another_exit_code() {
        let line = ["pub", "ExchangeData", "{}", "--api=http://127.0.0.1:1"];
        let error = Line::parse_from(line).args.run().await.unwrap_err();
        assert_eq!(exit_code(&error), 3);
        assert!(error.to_string().contains("metanode start"), "{error}");
    }

    #[test]
    fn a_request_takes_some_lines_and_never_none() {
        let line = |size: usize| super::Line { number: 1, text: "x".repeat(size), read: 0 };
        assert_eq!(fitting(&[line(1), line(1), line(1)], 2), 2);
        assert_eq!(fitting(&[line(BATCH_BYTES + 1), line(1)], 2), 1);
        assert_eq!(fitting(&[line(BATCH_BYTES / 2), line(BATCH_BYTES / 2)], 2), 1);
    }
}
