//! `metanode state`: replicated state, read, written and followed; copied into files and joined from them.

mod checkpoint;
mod copier;
mod endorse;
mod files;
mod floor;
mod told;

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use self::checkpoint::{CheckpointArgs, JoinArgs, VerifyCheckpointArgs};
use self::floor::FloorArgs;
use self::told::{cell, cells, checked, collections, conflicts, fate, held, history, line};
use super::client::{ApiArgs, Client, duration, plain, print, print_json};
use super::subscribe::Events;
use crate::types::{MessageId, Version};

const EXAMPLES: &str = "\
Examples:
  metanode state put settings ui/theme '\"dark\"'
  metanode state get settings ui/theme
  metanode state put settings ui/theme light --if-version 01a1fb…
  metanode state add settings watched XRP/ETH
  metanode state count settings visits 1
  metanode state get settings ui/theme --at 5m
  metanode state get settings ui/theme --known 1200
  metanode state ls settings ui
  metanode state del settings ui --prefix
  metanode state conflicts settings
  metanode state restore settings ui/theme 01a1fb…
  metanode state put settings ui/theme dark --peers 2 --client desk
  metanode state fate 01a1fbb5-4e66-7000-8264-e2daab035859
  metanode state watch settings --not-client desk
  metanode state floor settings --dry-run
  metanode state floor settings --older-than 14d
  metanode state checkpoint /backup/2026-11-21
  metanode state checkpoint /backup/2026-11-21 --endorsed
  metanode state verify-checkpoint /backup/2026-11-21 --genesis genesis.toml
  metanode state join /backup/2026-11-21

A value is JSON; what is no JSON is taken as a text. Any node writes, all come
to the same; who lost to a write that had not seen its own finds it in the
conflict log. A collection named NAME@NODE is that node's to write, and theirs
whom its rules at `_access` name.

Exit codes: 0 done, 1 failed or not as expected, 2 wrong usage, 3 no node
answers at the API.";

/// Read, write and follow replicated state.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct StateArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(subcommand)]
    command: StateCommand,
}

/// A place in a collection.
#[derive(Args, Debug)]
struct Place {
    /// The collection
    collection: String,
    /// The path: segments between slashes
    path: String,
}

/// Which past, if not the present.
#[derive(Args, Debug)]
struct PastArgs {
    /// By what was written until then: milliseconds since 1970 as `@MS`, or so long ago, as `5m`
    #[arg(long, value_name = "TIME", value_parser = past, conflicts_with = "known")]
    at: Option<u64>,
    /// As this node knew it when its next event was to have this number; `watch` shows the numbers
    #[arg(long, value_name = "N")]
    known: Option<u64>,
}

impl PastArgs {
    fn query(&self) -> Vec<(&'static str, String)> {
        let [at, known] = [self.at, self.known].map(|number| number.map(|number| number.to_string()));
        some(&[("at_ms", &at), ("known", &known)])
    }
}

#[derive(Subcommand, Debug)]
enum StateCommand {
    /// All collections; or what is in one, at and below a path
    Ls {
        /// The collection
        collection: Option<String>,
        /// The path
        prefix: Option<String>,
        /// After this path
        #[arg(long, value_name = "PATH")]
        after: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        past: PastArgs,
    },
    /// What is at a path, or was
    Get {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        past: PastArgs,
    },
    /// Put a value into a register
    Put {
        #[command(flatten)]
        place: Place,
        /// The value: JSON, or a text
        #[arg(allow_hyphen_values = true)]
        value: String,
        /// Only if this version stands
        #[arg(long, value_name = "VERSION", conflicts_with = "if_absent")]
        if_version: Option<Version>,
        /// Only if it has no value
        #[arg(long)]
        if_absent: bool,
        /// Wait until so many other nodes hold it; it stands here at once
        #[arg(long, value_name = "N")]
        peers: Option<u16>,
        /// Which client writes, for the others to know
        #[arg(long, value_name = "NAME")]
        client: Option<String>,
    },
    /// What became of a write of this node: who holds it, what stands, what lost
    Fate {
        /// The message that says it
        message: MessageId,
        /// Wait until so many other nodes hold it
        #[arg(long, value_name = "N", default_value_t = 0)]
        peers: u16,
    },
    /// Delete a register, or everything at and below a path
    Del {
        #[command(flatten)]
        place: Place,
        /// Everything at the path and below it
        #[arg(long)]
        prefix: bool,
        /// Only if this version stands
        #[arg(long, value_name = "VERSION", conflicts_with = "prefix")]
        if_version: Option<Version>,
    },
    /// Add an element to a set
    Add {
        #[command(flatten)]
        place: Place,
        /// The element: JSON, or a text
        element: String,
    },
    /// Remove an element from a set
    Remove {
        #[command(flatten)]
        place: Place,
        /// The element: JSON, or a text
        element: String,
    },
    /// Make an element the only one of a set; what others do so at the same time stays beside it
    Assign {
        #[command(flatten)]
        place: Place,
        /// The element: JSON, or a text
        element: String,
    },
    /// Count up, or down
    Count {
        #[command(flatten)]
        place: Place,
        /// How much
        #[arg(allow_hyphen_values = true, default_value_t = 1)]
        by: i64,
    },
    /// The writes to a path that are remembered, newest first
    History {
        #[command(flatten)]
        place: Place,
        /// Older than this version
        #[arg(long, value_name = "VERSION")]
        before: Option<Version>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        /// As this node knew them when its next event was to have this number
        #[arg(long, value_name = "N")]
        known: Option<u64>,
    },
    /// Writes that lost to one that had not seen them
    Conflicts {
        /// The collection
        collection: String,
        /// At and below this path
        prefix: Option<String>,
        /// Where the page before ended
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Write again what lost
    Restore {
        #[command(flatten)]
        place: Place,
        /// Which, as `conflicts` names it
        #[arg(id = "write", value_name = "VERSION")]
        version: Version,
    },
    /// Count a collection anew from its rows and compare; all collections by default
    Check {
        /// The collection
        collection: Option<String>,
    },
    /// Let go of deletes and removals that are old: nothing older than the floor comes back
    Floor(FloorArgs),
    /// Copy collections into a directory: chunks of writes with their proofs, and a signed manifest
    Checkpoint(CheckpointArgs),
    /// Check a checkpoint offline: signatures, proofs, numbers, roots
    VerifyCheckpoint(VerifyCheckpointArgs),
    /// Join the writes of a checkpoint into the state of the running node
    Join(JoinArgs),
    /// Follow what happens
    Watch {
        /// In this collection
        collection: Option<String>,
        /// At and below this path
        prefix: Option<String>,
        /// From this event on, instead of what comes from now on
        #[arg(long, value_name = "N")]
        from: Option<u64>,
        /// End after so many
        #[arg(long, value_name = "N")]
        count: Option<u64>,
        /// Not what this client of this node writes
        #[arg(long, value_name = "NAME")]
        not_client: Option<String>,
    },
}

impl StateArgs {
    /// Asks the node and prints its answer.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.api)?;
        if let StateCommand::Checkpoint(args) = &self.command {
            return args.run(&client, self.api.json).await;
        }
        if let StateCommand::VerifyCheckpoint(args) = &self.command {
            return args.run(self.api.json);
        }
        if let StateCommand::Join(args) = &self.command {
            return args.run(&client, self.api.json).await;
        }
        if let StateCommand::Watch { collection, prefix, from, count, not_client } = &self.command {
            let place = [("collection", collection), ("prefix", prefix)];
            let query =
                [some(&place), some(&[("from", &from.map(|n| n.to_string())), ("not_client", not_client)])].concat();
            return watch(&client, &query, count.unwrap_or(u64::MAX), self.api.json).await;
        }
        if let StateCommand::Floor(args) = &self.command {
            return args.run(&client, self.api.json).await;
        }
        let answer = self.ask(&client).await?;
        if self.api.json {
            print_json(&answer)?
        } else {
            print(&self.told(&answer))?
        };
        let unsound = answer["checked"].as_array().into_iter().flatten().find(|one| one["sound"] != true);
        if let Some(one) = unsound {
            bail!(
                "what is counted of {} is not what is there: stop the node, and start it with an empty --dir to catch up",
                plain(&one["collection"])
            );
        }
        Ok(())
    }

    async fn ask(&self, client: &Client) -> anyhow::Result<Value> {
        let get = async |parts: &[&str], query: &[(&str, String)]| {
            client.json(client.request(Method::GET, parts, query)).await
        };
        match &self.command {
            StateCommand::Ls { collection: None, .. } => get(&["state"], &[]).await,
            StateCommand::Ls { collection: Some(collection), prefix, after, limit, past } => {
                let query = some(&[("prefix", prefix), ("after", after), ("limit", &Some(limit.to_string()))]);
                get(&["state", collection, "cells"], &[query, past.query()].concat()).await
            }
            StateCommand::Get { place, past } => {
                get(&place.parts("cell"), &[place.query(), past.query()].concat()).await
            }
            StateCommand::History { place, before, limit, known } => {
                let more = [
                    ("before", &before.map(|v| v.to_string())),
                    ("limit", &Some(limit.to_string())),
                    ("known", &known.map(|n| n.to_string())),
                ];
                get(&place.parts("history"), &[place.query(), some(&more)].concat()).await
            }
            StateCommand::Conflicts { collection, prefix, after, limit } => {
                let query = some(&[("prefix", prefix), ("after", after), ("limit", &Some(limit.to_string()))]);
                get(&["state", collection, "conflicts"], &query).await
            }
            StateCommand::Check { collection } => check(client, collection.as_deref()).await,
            StateCommand::Watch { .. }
            | StateCommand::Floor(_)
            | StateCommand::Checkpoint(_)
            | StateCommand::VerifyCheckpoint(_)
            | StateCommand::Join(_) => Ok(Value::Null),
            StateCommand::Fate { message, peers } => {
                let wait_ms = if *peers == 0 { 0 } else { 30_000 };
                let query = [("peers", peers.to_string()), ("wait_ms", wait_ms.to_string())];
                get(&["state", "writes", &message.to_string()], &query).await
            }
            StateCommand::Put { place, value, if_version, if_absent, peers, client: name } => {
                let ack = peers.map_or("durable".into(), |peers| format!("peers:{peers}"));
                let body = json!({"value": value_of(value), "if_version": if_version, "if_absent": if_absent,
                    "ack": ack, "client": name});
                client.json(client.request(Method::PUT, &place.parts("cell"), &place.query()).json(&body)).await
            }
            StateCommand::Del { place, prefix, if_version } => {
                let more = [("prefix", &Some(prefix.to_string())), ("if_version", &if_version.map(|v| v.to_string()))];
                let query = [place.query(), some(&more)].concat();
                client.json(client.request(Method::DELETE, &place.parts("cell"), &query)).await
            }
            StateCommand::Add { place, element } => place.change(client, json!({"add": value_of(element)})).await,
            StateCommand::Remove { place, element } => place.change(client, json!({"remove": value_of(element)})).await,
            StateCommand::Assign { place, element } => place.change(client, json!({"assign": value_of(element)})).await,
            StateCommand::Count { place, by } => place.change(client, json!({ "count": by })).await,
            StateCommand::Restore { place, version } => {
                let body = json!({"path": place.path, "version": version});
                client.json(client.request(Method::POST, &place.parts("restore"), &[]).json(&body)).await
            }
        }
    }

    fn told(&self, answer: &Value) -> String {
        match &self.command {
            StateCommand::Ls { collection: None, .. } => collections(answer),
            StateCommand::Ls { .. } => cells(answer),
            StateCommand::Get { .. } => cell(answer),
            StateCommand::History { .. } => history(answer),
            StateCommand::Conflicts { .. } => conflicts(answer),
            StateCommand::Check { .. } => checked(answer),
            StateCommand::Watch { .. }
            | StateCommand::Floor(_)
            | StateCommand::Checkpoint(_)
            | StateCommand::VerifyCheckpoint(_)
            | StateCommand::Join(_) => String::new(),
            StateCommand::Fate { .. } => fate(answer),
            StateCommand::Put { .. }
            | StateCommand::Del { .. }
            | StateCommand::Add { .. }
            | StateCommand::Remove { .. }
            | StateCommand::Assign { .. }
            | StateCommand::Count { .. }
            | StateCommand::Restore { .. } => match &answer["versions"][0] {
                Value::Null => "there was nothing to do".into(),
                version => format!("version {}{}", plain(version), held(answer)),
            },
        }
    }
}

impl Place {
    fn parts<'a>(&'a self, what: &'a str) -> [&'a str; 3] {
        ["state", &self.collection, what]
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        vec![("path", self.path.clone())]
    }

    async fn change(&self, client: &Client, does: Value) -> anyhow::Result<Value> {
        let body = json!({"changes": [{"path": self.path, "do": does}]});
        client.json(client.request(Method::POST, &self.parts("batch"), &[]).json(&body)).await
    }
}

/// A time in the past, milliseconds since 1970.
pub(super) fn past(text: &str) -> Result<u64, String> {
    if let Some(ms) = text.strip_prefix('@') {
        return ms.parse().map_err(|e| format!("{e}; write @ and milliseconds since 1970, or 5m"));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?;
    let then = now.checked_sub(duration(text)?);
    let then =
        then.ok_or_else(|| format!("that long ago is before 1970; a time in milliseconds since then is @{text}"))?;
    Ok(then.as_millis() as u64)
}

/// JSON, or a text.
fn value_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.into()))
}

fn some(members: &[(&'static str, &Option<String>)]) -> Vec<(&'static str, String)> {
    members.iter().filter_map(|(name, value)| Some((*name, value.as_ref()?.clone()))).collect()
}

async fn check(client: &Client, collection: Option<&str>) -> anyhow::Result<Value> {
    let all = match collection {
        Some(name) => vec![name.to_string()],
        None => {
            let answer = client.get(&["state"]).await?;
            let names = answer["collections"].as_array().into_iter().flatten();
            names.filter_map(|one| one["name"].as_str().map(String::from)).collect()
        }
    };
    let mut checked = Vec::new();
    for name in all {
        checked.push(client.get(&["state", &name, "check"]).await?);
    }
    Ok(json!({ "checked": checked }))
}

async fn watch(client: &Client, query: &[(&'static str, String)], count: u64, json: bool) -> anyhow::Result<()> {
    let mut response = client.send(client.stream(Method::GET, &["state", "subscribe"], query)).await?;
    let (mut events, mut left) = (Events::default(), count);
    while left > 0 {
        let chunk = response.chunk().await.context("the connection to the node was lost")?;
        let Some(chunk) = chunk else { bail!("the node has stopped; `--from` with the next number goes on there") };
        events.feed(&chunk);
        while left > 0
            && let Some(event) = events.next()
        {
            if event.name == "lag" {
                let missed: Value = serde_json::from_str(&event.data).unwrap_or_default();
                eprintln!("metanode: missed {} events", missed["missed"]);
                continue;
            }
            if !print(&if json { event.data } else { line(&event.data) })? {
                return Ok(());
            }
            left -= 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::told::op;
    use super::*;
    use crate::api::tests::rig::Rig;

    #[test]
    fn a_time_is_written_with_its_mark() {
        assert_eq!(past("@1795350724500"), Ok(1_795_350_724_500));
        let forgotten = past("1795350724500").unwrap_err();
        assert!(forgotten.ends_with("@1795350724500"), "{forgotten}");
        let (long, short) = (past("7d").unwrap(), past("500ms").unwrap());
        assert!((604_000_000..605_000_000).contains(&(short - long)), "{long} {short}");
    }

    #[derive(Parser)]
    #[command(version, propagate_version = true)]
    struct Line {
        #[command(flatten)]
        state: StateArgs,
    }

    async fn run(rig: &Rig, line: &str) -> anyhow::Result<()> {
        let api = format!("--api=http://{}", rig.address);
        Line::parse_from(["state"].into_iter().chain(line.split(' ')).chain([api.as_str()])).state.run().await
    }

    #[tokio::test]
    async fn state_is_written_read_and_followed() {
        let rig = Rig::start().await;
        for line in [
            "ls",
            "put c a/b 1",
            "put c a/b text --if-absent",
            "put c a/c -5",
            "get c a/b",
            "get c a/b --json",
            "get c a/b --at 0s",
            "get c a/b --at @4000000000000",
            "get c a/b --known 1",
            "ls c --known 1",
            "ls c --at 0s",
            "history c a/b --known 1",
            "add c s x",
            "add c s y",
            "remove c s x",
            "assign c v {\"x\":1}",
            "count c n -3",
            "count c n",
            "ls c",
            "ls c a --limit 1",
            "ls --json",
            "history c a/b",
            "conflicts c",
            "check",
            "watch c --from 0 --count 3",
            "watch --from 0 --count 1 --json",
            "del c a/b",
            "del c a --prefix",
        ] {
            let done = run(&rig, line).await;
            assert_eq!(done.is_err(), line.ends_with("--if-absent"), "{line}: {done:?}");
        }
        let version = Version::default();
        assert!(run(&rig, "get c a/b").await.is_err() && run(&rig, "get c a/c").await.is_err());
        assert!(run(&rig, &format!("put c s 1 --if-version {version}")).await.is_err());
        assert!(run(&rig, &format!("restore c s {version}")).await.is_err());
        let (_, cell) = rig.get("/v1/state/c/cell?path=v").await;
        assert_eq!(cell["elements"][0]["element"], json!({"x": 1}));
        let (_, cell) = rig.get("/v1/state/c/cell?path=n").await;
        assert_eq!(cell["counter"]["value"], -2);
        rig.stop().await;
    }

    #[test]
    fn an_event_and_a_write_are_one_line_each() {
        let event = json!({"number": 3, "at_ms": 1, "event": "lost", "reason": "concurrent", "collection": "c",
            "path": "a", "op": {"set": {"value": [1]}}, "author": "12D3KooWabcdefgh"});
        assert_eq!(line(&event.to_string()), "3 1970-01-01T00:00:00.001Z lost (concurrent) c/a set [1] by abcdefgh");
        assert_eq!((op(&json!("delete")), op(&json!({"add": {"element": 1}}))), ("delete".into(), "add 1".into()));
        assert_eq!(value_of("not json"), json!("not json"));
    }
}
