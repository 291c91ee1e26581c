//! `metanode kinds`: what can be said, and how. Needs no node.

use clap::Args;
use serde_json::{Value, json};

use super::client::{print, print_json, table};
use crate::wire::Kind;

const EXAMPLES: &str = "\
Examples:
  metanode kinds                            all kinds, by category
  metanode kinds ExchangeData               the schema of one payload
  metanode kinds Data/ExchangeData --json   the same, with what surrounds it

Exit codes: 0 done, 2 wrong usage.";

/// List the kinds of messages, or show the schema of one.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct KindsArgs {
    /// A kind, such as Data/ExchangeData or ExchangeData
    kind: Option<Kind>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl KindsArgs {
    /// Prints.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.kind {
            None if self.json => {
                let kinds: Vec<Value> = Kind::ALL.iter().map(|kind| about(*kind)).collect();
                print_json(&json!({ "kinds": kinds })).map(drop)
            }
            None => print(&listed()).map(drop),
            Some(kind) if self.json => {
                let mut document = about(kind);
                document["schema"] = kind.schema();
                print_json(&document).map(drop)
            }
            Some(kind) => {
                print(&format!("{kind}: {}\n", kind.description()))?;
                print_json(&kind.schema()).map(drop)
            }
        }
    }
}

/// The same document as `/v1/kinds` has.
fn about(kind: Kind) -> Value {
    json!({
        "kind": kind.to_string(),
        "category": kind.category().name(),
        "message_type": kind.name(),
        "tag": kind.tag(),
        "schema_version": kind.schema_version(),
        "ephemeral": kind.is_ephemeral(),
        "description": kind.description(),
    })
}

fn listed() -> String {
    let row = |kind: &Kind| {
        let kept = if kind.is_ephemeral() { "no" } else { "yes" };
        vec![kind.to_string(), kept.into(), kind.description().into()]
    };
    table(&["KIND", "KEPT", "SAYS"], &Kind::ALL.iter().map(row).collect::<Vec<_>>())
}
