//! `metanode sub`: follows messages, or replays them. Comes back by itself after a lost connection, and misses nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use reqwest::{Method, Response};
use serde_json::Value;

use super::client::{ApiArgs, Client, ClientError, plain, print, time};
use super::durable::Durable;
use crate::deliver::Name;
use crate::types::{MessageId, NodeId};
use crate::wire::{Category, Filter, Kind};

/// The first wait before coming back, and the longest.
const BACK_FIRST: Duration = Duration::from_millis(250);
const BACK_LONGEST: Duration = Duration::from_secs(10);
/// The node shows every 15 seconds that it lives; a stream that is silent for longer is lost.
const SILENCE: Duration = Duration::from_secs(45);

const EXAMPLES: &str = "\
Examples:
  metanode sub                                    everything, from now on
  metanode sub Economic,Security                  two categories
  metanode sub ExchangeData --from start --json   replay all trades
  metanode sub '*' --from -10 --count 10          the last ten messages
  metanode sub '*' --from @1735689600000          what arrived since then
  metanode sub Economic --durable billing         go on where `billing` was

Without --json: time, id, kind, source, payload. With it: the envelope of one
message on each line. What is not kept (heartbeats, metrics) is shown when its
kind is named, or with --ephemeral. What was missed is told on standard error.

With --durable the node remembers what was printed: several of these share the
messages, and what one did not print in time another gets. What was printed and
not yet acknowledged when a node or a worker ends comes again, with retry_count.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no node answers at the API.";

/// Follow messages as they come, or replay what is kept.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct SubscribeArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    which: Which,
    /// End after so many messages
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Show messages that are not kept, too
    #[arg(long)]
    ephemeral: bool,
    /// As a worker of this durable subscription, made if it is not there; what is printed is acknowledged
    #[arg(long, value_name = "NAME", conflicts_with = "ephemeral")]
    durable: Option<Name>,
}

/// Which messages, and where to begin.
#[derive(Args, Debug)]
pub(super) struct Which {
    /// `*`, or categories and kinds with commas
    #[arg(default_value = "*", value_parser = wanted)]
    filter: Wanted,
    /// Where to begin: start, end, a position, -N for the last N, @MS for what arrived since (milliseconds of 1970)
    #[arg(long, value_name = "WHERE", default_value = "end", allow_hyphen_values = true)]
    pub(super) from: String,
    /// Only by this node; may be given more than once
    #[arg(long, value_name = "ID")]
    author: Vec<NodeId>,
    /// Only with this tag; one of them, if more than one is given
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Only of this conversation
    #[arg(long, value_name = "ID")]
    corr: Option<MessageId>,
}

impl Which {
    /// The filter as the node takes it.
    pub(super) fn filter(&self) -> Filter {
        Filter {
            categories: self.filter.categories.clone(),
            kinds: self.filter.kinds.clone(),
            authors: self.author.iter().copied().collect(),
            tags: self.tag.iter().cloned().collect(),
            correlation: self.corr,
        }
    }
}

/// Categories and kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) categories: BTreeSet<Category>,
    pub(super) kinds: BTreeSet<Kind>,
}

/// Why following ends for now.
enum End {
    /// All that was asked for was told, or nobody reads any more.
    Done,
    /// The stream broke off.
    Lost,
}

impl SubscribeArgs {
    /// Follows until the count is reached or the command is interrupted.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.api)?;
        self.follow(&client, &mut print).await
    }

    async fn follow(
        &self,
        client: &Client,
        out: &mut (dyn FnMut(&str) -> anyhow::Result<bool> + Send),
    ) -> anyhow::Result<()> {
        if let Some(name) = &self.durable {
            let filter = self.which.filter();
            let count = self.count.unwrap_or(u64::MAX);
            let durable = Durable { client, name, filter, from: &self.which.from, count };
            let mut tell = |envelope: &Value| {
                let text = envelope.to_string();
                if self.api.json { out(&text) } else { out(&line(&text)) }
            };
            return durable.follow(&mut tell).await;
        }
        let mut told = Told { left: self.count.unwrap_or(u64::MAX), last: self.now(client).await? };
        let mut wait = BACK_FIRST;
        loop {
            if told.left == 0 {
                return Ok(());
            }
            match self.stream(client, told.last.as_deref()).await {
                Ok(response) => {
                    wait = BACK_FIRST;
                    if matches!(self.listen(response, &mut told, out).await?, End::Done) {
                        return Ok(());
                    }
                    eprintln!("metanode: lost the connection; trying to come back");
                }
                // Once it was there, a node that is away for a while (a restart) is waited for.
                Err(ClientError::Unreachable { .. } | ClientError::Refused { status: 503, .. }) => {}
                Err(refused) => return Err(refused.into()),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(BACK_LONGEST);
        }
    }

    /// The place to begin at if only what is new is wanted, so that a connection lost before the first message loses
    /// nothing. It is the first question too: a node that is not there is an error now.
    async fn now(&self, client: &Client) -> anyhow::Result<Option<String>> {
        let query = [("from", self.which.from.clone()), ("limit", "1".to_string())];
        let page = client.json(client.request(Method::GET, &["messages"], &query)).await?;
        Ok((self.which.from == "end").then(|| page["next"].to_string()))
    }

    async fn stream(&self, client: &Client, last: Option<&str>) -> Result<Response, ClientError> {
        let mut request = client.stream(Method::GET, &["subscribe"], &self.query());
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        client.send(request).await
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![("from", self.which.from.clone())];
        let mut list = |name: &'static str, values: Vec<String>| {
            if !values.is_empty() {
                query.push((name, values.join(",")));
            }
        };
        list("kind", self.which.filter.kinds.iter().map(Kind::to_string).collect());
        list("category", self.which.filter.categories.iter().map(Category::to_string).collect());
        list("author", self.which.author.iter().map(NodeId::to_string).collect());
        list("tag", self.which.tag.clone());
        list("correlation", self.which.corr.iter().map(MessageId::to_string).collect());
        let named = self.which.filter.kinds.iter().any(|kind| kind.is_ephemeral());
        query.push(("ephemeral", (self.ephemeral || named).to_string()));
        query
    }

    async fn listen(
        &self,
        mut response: Response,
        told: &mut Told,
        out: &mut (dyn FnMut(&str) -> anyhow::Result<bool> + Send),
    ) -> anyhow::Result<End> {
        let mut events = Events::default();
        loop {
            let chunk = tokio::time::timeout(SILENCE, response.chunk()).await;
            let Ok(Ok(Some(chunk))) = chunk else { return Ok(End::Lost) };
            events.feed(&chunk);
            while let Some(event) = events.next() {
                if !self.tell(&event, out)? {
                    return Ok(End::Done);
                }
                if let Some(id) = event.id {
                    told.last = Some(id);
                }
                told.left -= u64::from(event.name != "lag");
                if told.left == 0 {
                    return Ok(End::Done);
                }
            }
        }
    }

    /// Tells an event; false when nobody reads any more.
    fn tell(&self, event: &Event, out: &mut (dyn FnMut(&str) -> anyhow::Result<bool> + Send)) -> anyhow::Result<bool> {
        if event.name == "lag" {
            let missed: Value = serde_json::from_str(&event.data).unwrap_or_default();
            eprintln!("metanode: missed {} messages", missed["missed"]);
            return Ok(true);
        }
        if self.api.json { out(&event.data) } else { out(&line(&event.data)) }
    }
}

/// How far a subscriber is.
struct Told {
    /// Messages still to be told.
    left: u64,
    /// The id of the last event.
    last: Option<String>,
}

/// A message on one line.
fn line(envelope: &str) -> String {
    let Ok(envelope) = serde_json::from_str::<Value>(envelope) else { return envelope.to_string() };
    let source = envelope["source"].as_str().unwrap_or_default();
    let short = source.get(source.len().saturating_sub(8)..).unwrap_or(source);
    format!(
        "{} {} {}/{} {short} {}",
        time(&envelope["created_at"]),
        plain(&envelope["id"]),
        plain(&envelope["category"]),
        plain(&envelope["message_type"]),
        envelope["payload"]
    )
}

pub(super) fn wanted(text: &str) -> Result<Wanted, String> {
    let mut wanted = Wanted::default();
    for name in text.split(',').map(str::trim).filter(|name| !matches!(*name, "" | "*")) {
        match (name.parse::<Category>(), name.parse::<Kind>()) {
            (Ok(category), _) => drop(wanted.categories.insert(category)),
            (Err(_), Ok(kind)) => drop(wanted.kinds.insert(kind)),
            (Err(_), Err(unknown)) => return Err(format!("{unknown}; or name a category, or `*` for all")),
        }
    }
    // `*` beside names still means all.
    let all = text.split(',').any(|name| name.trim() == "*");
    Ok(if all { Wanted::default() } else { wanted })
}

/// A server-sent event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) id: Option<String>,
    pub(super) data: String,
}

/// Bytes of a stream, taken apart into events (HTML standard, section 9.2).
#[derive(Debug, Default)]
pub(super) struct Events {
    bytes: Vec<u8>,
    /// Bytes before this are of lines that were taken.
    taken: usize,
    /// There is no end of a line between `taken` and this.
    searched: usize,
    event: Event,
}

impl Events {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.searched -= self.taken;
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next event that has come whole.
    pub(super) fn next(&mut self) -> Option<Event> {
        loop {
            let unsearched = self.bytes.get(self.searched..).unwrap_or_default();
            let Some(end) = unsearched.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.bytes.len();
                return None;
            };
            let end = self.searched + end;
            let line = String::from_utf8_lossy(self.bytes.get(self.taken..end).unwrap_or_default()).into_owned();
            (self.taken, self.searched) = (end + 1, end + 1);
            if let Some(event) = self.take(line.trim_end_matches('\r')) {
                return Some(event);
            }
        }
    }

    /// Takes a line; an empty one ends an event, if there is anything in it.
    fn take(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return (!event.data.is_empty()).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event.name = value.into(),
            "id" => self.event.id = Some(value.into()),
            "data" if self.event.data.is_empty() => self.event.data = value.into(),
            "data" => {
                self.event.data.push('\n');
                self.event.data.push_str(value);
            }
            // Comments show that the stream lives; other fields are not ours.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;
    use crate::api::tests::rig::Rig;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: SubscribeArgs,
    }

    async fn lines(api: std::net::SocketAddr, more: &[&str]) -> Vec<String> {
        let api = format!("--api=http://{api}");
        let args = Line::parse_from([&["sub", &api], more].concat()).args;
        let client = Client::new(&args.api).unwrap();
        let mut lines = Vec::new();
        let mut out = |line: &str| {
            lines.push(line.to_string());
            Ok(true)
        };
        args.follow(&client, &mut out).await.unwrap();
        lines
    }

    #[tokio::test]
    async fn what_is_kept_is_replayed_until_the_count() {
        let rig = Rig::start().await;
        let ids = rig.trades(0..10).await;
        let shown = lines(rig.address, &["Data", "--from=start", "--count=10"]).await;
        assert_eq!(shown.len(), 10);
        assert!(shown[3].contains(&ids[3]) && shown[3].contains("Data/ExchangeData"), "{}", shown[3]);
        let last = lines(rig.address, &["ExchangeData,Security", "--from", "-2", "--count=2", "--json"]).await;
        let last: Vec<Value> = last.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&last[0]["id"], &last[1]["id"]), (&ids[8].as_str().into(), &ids[9].as_str().into()));
        rig.stop().await;
    }

    #[tokio::test]
    async fn a_durable_one_goes_on_where_it_was() {
        let rig = Rig::start().await;
        let ids = rig.trades(0..4).await;
        let first = lines(rig.address, &["Data", "--durable=d", "--from=start", "--count=3"]).await;
        let rest = lines(rig.address, &["Data", "--durable=d", "--from=start", "--count=1", "--json"]).await;
        assert!(first[2].contains(&ids[2]) && rest[0].contains(&ids[3]), "{first:?} {rest:?}");
        assert_eq!(rig.get("/v1/subscriptions/d").await.1["counts"]["acknowledged"], 4);
        let other = Line::parse_from(["sub", &format!("--api=http://{}", rig.address), "Security", "--durable=d"]).args;
        let client = Client::new(&other.api).unwrap();
        assert!(other.follow(&client, &mut |_: &str| Ok(true)).await.is_err(), "it has another filter");
        rig.stop().await;
    }

    #[tokio::test]
    async fn a_lost_connection_is_taken_up_where_it_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in [
                "content-type: application/json\r\ncontent-length: 10\r\n\r\n{\"next\":7}",
                "content-type: text/event-stream\r\n\r\nevent: message\nid: 8\ndata: {\"n\": 1}\n\n: \nevent: mess",
                "content-type: text/event-stream\r\n\r\nevent: lag\nid: 9\ndata: {\"missed\": 1}\n\nevent: message\nid: 10\ndata: {\"n\": 2}\n\n",
            ] {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                let mut lines = BufReader::new(&mut socket).lines();
                while let Some(line) = lines.next_line().await.unwrap().filter(|line| !line.is_empty()) {
                    head.push(line);
                }
                asked.push(head.into_iter().find(|line| line.starts_with("last-event-id")));
                let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{answer}");
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        });
        let shown = lines(api, &["--count=2", "--json"]).await;
        assert_eq!(shown, ["{\"n\": 1}", "{\"n\": 2}"]);
        let asked = server.await.unwrap();
        assert_eq!(asked, [None, Some("last-event-id: 7".to_string()), Some("last-event-id: 8".to_string())]);
    }

    #[test]
    fn events_are_whole_however_they_are_cut() {
        let text = "event: message\r\nid: 1\ndata: {\"a\":\ndata: \"\u{e9}\"}\n\n: alive\n\nevent: lag\ndata:{}\n\n"
            .as_bytes();
        for size in 1..text.len() {
            let (mut events, mut found) = (Events::default(), Vec::new());
            for chunk in text.chunks(size) {
                events.feed(chunk);
                found.extend(std::iter::from_fn(|| events.next()));
            }
            let message = Event { name: "message".into(), id: Some("1".into()), data: "{\"a\":\n\"\u{e9}\"}".into() };
            let lag = Event { name: "lag".into(), id: None, data: "{}".into() };
            assert_eq!(found, [message, lag], "{size}");
        }
    }

    #[test]
    fn a_filter_names_categories_and_kinds() {
        assert_eq!(wanted("*"), Ok(Wanted::default()));
        assert_eq!(wanted("Data,*"), Ok(Wanted::default()));
        let both = wanted("economic, Data/ExchangeData").unwrap();
        assert_eq!((both.categories.len(), both.kinds.len()), (1, 1));
        assert!(wanted("Datas").is_err());
    }
}
