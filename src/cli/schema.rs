//! `metanode schema`: what bodies of Custom messages keep, version by version.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{ApiArgs, Client, pairs, plain, print, print_json, size, table, time};
use super::publish::explained;
use crate::wire::kind::schemas::Compatibility;

const EXAMPLES: &str = "\
Examples:
  metanode schema add acme.orders.placed order.schema.json
  metanode schema check acme.orders.placed next.schema.json --compatibility full
  metanode schema add acme.orders.placed next.schema.json
  metanode schema ls
  metanode schema show acme.orders.placed 1
  metanode schema history acme.orders.placed --json

A subject is the `type_name` of External/Custom messages. Whoever registers its
first version owns it; a subject that begins with a node's id and a dot is that
node's own. A new version must go with those before it: backward (the usual),
forward, full, each also as …_transitive, or none. Messages that name a version
are held against it before they are sent and before they are handed out.

Exit codes: 0 done, 1 failed or not compatible, 2 wrong usage, 3 no node answers
at the API.";

/// Register, show and compare the schemas of Custom messages.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct SchemaArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(subcommand)]
    command: SchemaCommand,
}

#[derive(Subcommand, Debug)]
enum SchemaCommand {
    /// The subjects there are
    Ls {
        /// Those after this one
        #[arg(long, value_name = "SUBJECT")]
        after: Option<String>,
        /// At most so many, 1 to 1000
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// One version of a schema, the last one by default
    Show {
        /// The type of Custom messages
        subject: String,
        /// Its number
        number: Option<u32>,
    },
    /// Register the next version
    Add(Given),
    /// Compare with the versions there are; registers nothing
    Check(Given),
    /// All versions, and what was registered and does not count
    History {
        /// The type of Custom messages
        subject: String,
    },
}

#[derive(Args, Debug)]
struct Given {
    /// The type of Custom messages
    subject: String,
    /// The schema: a file with JSON Schema, or - for standard input
    file: PathBuf,
    /// add: what the version after it is held to; check: what this one is held to
    #[arg(long, value_name = "MODE")]
    compatibility: Option<Compatibility>,
}

impl SchemaArgs {
    /// Asks the node and prints its answer.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::new(&self.api)?;
        let answer = self.command.ask(&client).await.map_err(|error| explained(error, &[]))?;
        if self.api.json {
            print_json(&answer)?;
        } else {
            print(&self.command.told(&answer)?)?;
        }
        let verdict = answer["verdict"].as_str().filter(|verdict| *verdict != "compatible");
        match verdict {
            Some("incompatible") => anyhow::bail!("not compatible; mend what is named, or begin another subject"),
            Some(_) => anyhow::bail!("cannot tell whether it is compatible; docs/schemas.md says what is compared"),
            None => Ok(()),
        }
    }
}

impl SchemaCommand {
    async fn ask(&self, client: &Client) -> anyhow::Result<Value> {
        match self {
            SchemaCommand::Ls { after, limit } => {
                let mut query = vec![("limit", limit.to_string())];
                query.extend(after.iter().map(|after| ("after", after.clone())));
                client.json(client.request(Method::GET, &["schemas"], &query)).await
            }
            SchemaCommand::Show { subject, number } => {
                let number = number.map_or_else(|| "latest".into(), |number| number.to_string());
                client.get(&["schemas", subject, "versions", &number]).await
            }
            SchemaCommand::Add(given) => given.post(client, "versions").await,
            SchemaCommand::Check(given) => given.post(client, "check").await,
            SchemaCommand::History { subject } => client.get(&["schemas", subject]).await,
        }
    }

    fn told(&self, answer: &Value) -> anyhow::Result<String> {
        Ok(match self {
            SchemaCommand::Ls { .. } => listed(answer),
            SchemaCommand::Show { .. } => {
                format!("{}\n\n{}", version(answer), serde_json::to_string_pretty(&answer["schema"])?)
            }
            SchemaCommand::Add(_) => version(answer),
            SchemaCommand::Check(_) => checked(answer),
            SchemaCommand::History { .. } => history(answer),
        })
    }
}

impl Given {
    async fn post(&self, client: &Client, what: &str) -> anyhow::Result<Value> {
        let mut body = json!({ "schema": read(&self.file)? });
        if let Some(mode) = self.compatibility {
            body["compatibility"] = json!(mode);
        }
        client.json(client.request(Method::POST, &["schemas", &self.subject, what], &[]).json(&body)).await
    }
}

fn read(file: &Path) -> anyhow::Result<Value> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        text
    } else {
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
    };
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))
}

fn listed(answer: &Value) -> String {
    let rows = rows(&answer["schemas"], &["subject", "latest", "compatibility", "not_counted", "owner"]);
    let more = if answer["more"] == true { "\nthere are more: --after the last one" } else { "" };
    table(&["SUBJECT", "VERSIONS", "NEXT IS", "NOT COUNTED", "OWNER"], &rows) + more
}

fn rows(list: &Value, names: &[&str]) -> Vec<Vec<String>> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|one| names.iter().map(|name| plain(&one[*name])).collect()).collect()
}

fn version(answer: &Value) -> String {
    let mut rows = vec![("subject", plain(&answer["subject"]))];
    rows.extend(["version", "compatibility", "message", "author"].map(|name| (name, plain(&answer[name]))));
    rows.extend([("said", time(&answer["said_ms"])), ("arrived", time(&answer["arrived_ms"]))]);
    rows.push(("size", size(&answer["size_bytes"])));
    pairs(&rows)
}

fn checked(answer: &Value) -> String {
    let mut text = format!("{} ({})", plain(&answer["verdict"]), plain(&answer["compatibility"]));
    for conflict in answer["conflicts"].as_array().into_iter().flatten() {
        let way = plain(&conflict["direction"]);
        text += &format!("\n\nversion {}, {way}:", plain(&conflict["version"]));
        for finding in conflict["findings"].as_array().into_iter().flatten() {
            let sure = if finding["certain"] == true { "" } else { " (not certain)" };
            let path = finding["path"].as_str().filter(|path| !path.is_empty()).unwrap_or("/");
            text += &format!("\n  {path}: {}{sure}", plain(&finding["reason"]));
        }
    }
    text
}

fn history(answer: &Value) -> String {
    let line = |one: &Value| {
        ["version", "compatibility", "message", "author"]
            .map(|name| plain(&one[name]))
            .into_iter()
            .chain([time(&one["said_ms"]), time(&one["arrived_ms"])])
    };
    let of = |name: &str| answer[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let head = ["VERSION", "NEXT IS", "MESSAGE", "AUTHOR", "SAID", "ARRIVED"];
    let rows: Vec<Vec<String>> = of("versions").iter().map(|one| line(one).collect()).collect();
    let mut text =
        format!("{}, owned by {}\n\n{}", plain(&answer["subject"]), plain(&answer["owner"]), table(&head, &rows));
    if !of("passed").is_empty() {
        let why = |one: &Value| plain(&one["faults"][0]["detail"]);
        let rows: Vec<Vec<String>> = of("passed").iter().map(|one| line(one).chain([why(one)]).collect()).collect();
        let head = ["VERSION", "NEXT IS", "MESSAGE", "AUTHOR", "SAID", "ARRIVED", "WHY"];
        text += &format!("\n\nnot counted:\n{}", table(&head, &rows));
    }
    text
}
