//! `metanode gov`: put something to the vote, vote, and see how votes stand.

use std::str::FromStr;

use anyhow::bail;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::client::{ApiArgs, Client, plain, print, print_json, table};
use super::ledger::{Payer, holder};
use crate::types::{Hash, NodeId, Tokens};
use crate::wire::kind::economic::FeeType;
use crate::wire::kind::governance::VoteChoice;
use crate::wire::ledger::{Action, Body};

const EXAMPLES: &str = "\
Examples:
  metanode gov rules                                        fees, stakes, quorum, policies
  metanode gov propose --title 'cheaper bytes' --change-fee byte=2
  metanode gov propose --title 'pay the auditor' --spend 12D3KooW…=500000
  metanode gov vote 0 yes
  metanode gov ls --open
  metanode gov show 0

A proposal binds a deposit and is decided at the end of an epoch. A vote weighs what its
account has staked when it votes; the last one counts. What passes is carried out in the
block that decides it.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no node answers at the API.";

/// Put something to the vote of the stakers, vote, and see how votes stand.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct GovArgs {
    #[command(subcommand)]
    command: GovCommand,
}

#[derive(Subcommand, Debug)]
enum GovCommand {
    /// Put something to the vote
    Propose(Box<ProposeArgs>),
    /// Vote, with all one's stake; the last vote counts
    Vote {
        #[command(flatten)]
        payer: Payer,
        /// The proposal's number
        proposal: u64,
        /// yes, no, abstain or veto
        #[arg(value_parser = word::<VoteChoice>)]
        choice: VoteChoice,
    },
    /// What is and was put to the vote
    Ls {
        #[command(flatten)]
        api: ApiArgs,
        /// Only what is not decided
        #[arg(long)]
        open: bool,
        /// At most so many are looked at, 1 to 1000
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
        /// After this number
        #[arg(long, value_name = "N")]
        after: Option<u64>,
    },
    /// One proposal, and the votes on it
    Show {
        #[command(flatten)]
        api: ApiArgs,
        /// Its number
        proposal: u64,
    },
    /// The rules of the chain as they are now, and policies in effect
    Rules(ApiArgs),
}

#[derive(Args, Debug)]
struct ProposeArgs {
    #[command(flatten)]
    payer: Payer,
    /// In short, 1 to 128 bytes
    #[arg(long)]
    title: String,
    /// What is bound to it until it is decided; what the rules ask without it
    #[arg(long, value_name = "AMOUNT")]
    deposit: Option<Tokens>,
    #[command(flatten)]
    action: ActionArgs,
}

/// What is done when it passes.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct ActionArgs {
    /// A fee changes: transaction, byte, gas or storage
    #[arg(long, value_name = "FEE=AMOUNT", value_parser = fee)]
    change_fee: Option<(FeeType, Tokens)>,
    /// The treasury pays
    #[arg(long, value_name = "ID=AMOUNT", value_parser = holder)]
    spend: Option<(NodeId, Tokens)>,
    /// Tokens are minted
    #[arg(long, value_name = "ID=AMOUNT", value_parser = holder)]
    mint: Option<(NodeId, Tokens)>,
    /// A validator may take part
    #[arg(long, value_name = "ID")]
    admit: Option<NodeId>,
    /// A validator may not take part any more
    #[arg(long, value_name = "ID")]
    remove: Option<NodeId>,
    /// A policy takes effect: its id, version, and the hash of its text
    #[arg(long, value_name = "ID=VERSION=HASH", value_parser = policy)]
    adopt: Option<(String, u32, Hash)>,
    /// Nothing is done: it is an opinion
    #[arg(long, value_name = "TEXT")]
    declare: Option<String>,
}

impl ActionArgs {
    fn action(self) -> Option<Action> {
        let ActionArgs { change_fee, spend, mint, admit, remove, adopt, declare } = self;
        let change_fee = change_fee.map(|(fee_type, new_fee)| Action::ChangeFee { fee_type, new_fee });
        let spend = spend.map(|(to, amount)| Action::Spend { to, amount });
        let mint = mint.map(|(to, amount)| Action::Mint { to, amount });
        let admit = admit.map(|validator| Action::AdmitValidator { validator });
        let remove = remove.map(|validator| Action::RemoveValidator { validator });
        let adopt = adopt.map(|(policy_id, version, digest)| Action::AdoptPolicy { policy_id, version, digest });
        let declare = declare.map(|statement| Action::Declare { statement });
        change_fee.or(spend).or(mint).or(admit).or(remove).or(adopt).or(declare)
    }
}

impl GovArgs {
    /// Does what is asked, and prints what came of it.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            GovCommand::Propose(args) => args.run().await,
            GovCommand::Vote { payer, proposal, choice } => payer.does(Body::Vote { proposal, choice }).await,
            GovCommand::Ls { api, open, limit, after } => {
                let mut query = vec![("open", open.to_string()), ("limit", limit.to_string())];
                query.extend(after.map(|after| ("after", after.to_string())));
                let client = Client::new(&api)?;
                let answer = client.json(client.request(Method::GET, &["chain", "proposals"], &query)).await?;
                shown(&api, &answer, listed)
            }
            GovCommand::Show { api, proposal } => {
                let (client, number) = (Client::new(&api)?, proposal.to_string());
                let mut answer = client.get(&["chain", "proposals", &number]).await?;
                answer["votes"] = client.get(&["chain", "proposals", &number, "votes"]).await?["votes"].take();
                shown(&api, &answer, proposed)
            }
            GovCommand::Rules(api) => {
                let answer = Client::new(&api)?.get(&["chain", "rules"]).await?;
                shown(&api, &answer, |answer| serde_json::to_string_pretty(answer).unwrap_or_default())
            }
        }
    }
}

impl ProposeArgs {
    async fn run(self) -> anyhow::Result<()> {
        let deposit = match self.deposit {
            Some(deposit) => deposit,
            None => {
                let rules = Client::new(&self.payer.api)?.get(&["chain", "rules"]).await?;
                plain(&rules["parameters"]["voting"]["deposit"]).parse().map_err(anyhow::Error::msg)?
            }
        };
        let Some(action) = self.action.action() else { bail!("say what is done when it passes, as with --declare") };
        self.payer.does(Body::Propose { title: self.title, action, deposit }).await
    }
}

fn shown(api: &ApiArgs, answer: &Value, told: fn(&Value) -> String) -> anyhow::Result<()> {
    if api.json { print_json(answer).map(drop) } else { print(&told(answer)).map(drop) }
}

fn listed(answer: &Value) -> String {
    let row = |one: &Value| {
        vec![
            plain(&one["number"]),
            standing(one),
            plain(&one["tally"]["yes"]),
            plain(&one["tally"]["no"]),
            plain(&one["tally"]["veto"]),
            plain(&one["decided_at"]),
            plain(&one["title"]),
        ]
    };
    let rows: Vec<_> = answer["proposals"].as_array().into_iter().flatten().map(row).collect();
    table(&["NUMBER", "OUTCOME", "YES", "NO", "VETO", "DECIDED AT", "TITLE"], &rows)
}

fn standing(one: &Value) -> String {
    match (&one["outcome"], &one["failed"]) {
        (Value::Null, _) => "open".into(),
        (outcome, Value::Null) => plain(outcome),
        (outcome, why) => format!("{}, not carried out: {}", plain(outcome), plain(why)),
    }
}

fn proposed(answer: &Value) -> String {
    let names = ["number", "title", "author", "action", "deposit", "until", "epoch", "decided_at", "staked"];
    let mut rows: Vec<(&str, String)> = names.iter().map(|name| (*name, plain(&answer[*name]))).collect();
    let tally = ["yes", "no", "abstain", "veto"].map(|vote| format!("{vote} {}", plain(&answer["tally"][vote])));
    rows.extend([("votes", tally.join(", ")), ("outcome", standing(answer))]);
    let vote = |one: &Value| vec![plain(&one["voter"]), plain(&one["choice"]), plain(&one["weight"])];
    let votes: Vec<_> = answer["votes"].as_array().into_iter().flatten().map(vote).collect();
    let votes =
        if votes.is_empty() { String::new() } else { format!("\n\n{}", table(&["VOTER", "CHOICE", "WEIGHT"], &votes)) };
    super::client::pairs(&rows) + &votes
}

/// A word of a closed list, as it is in JSON.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(json!(text)).map_err(|e| e.to_string())
}

/// `FEE=AMOUNT`.
fn fee(text: &str) -> Result<(FeeType, Tokens), String> {
    let (fee, amount) = text.split_once('=').ok_or("write FEE=AMOUNT, as in byte=2")?;
    Ok((word(fee)?, amount.parse()?))
}

/// `ID=VERSION=HASH`.
fn policy(text: &str) -> Result<(String, u32, Hash), String> {
    let mut parts = text.splitn(3, '=');
    let (Some(id), Some(version), Some(digest)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("write ID=VERSION=HASH".into());
    };
    let version = version.parse().map_err(|e| format!("{version}: {e}"))?;
    Ok((id.into(), version, Hash::from_str(digest).map_err(|e| e.to_string())?))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ProposeArgs,
    }

    #[test]
    fn a_proposal_has_one_action() {
        let read = |words: &[&str]| Line::try_parse_from([&["gov", "--title", "t"], words].concat());
        let action = |words: &[&str]| read(words).unwrap_or_else(|e| panic!("{e}")).args.action.action().unwrap();
        assert_eq!(
            action(&["--change-fee", "byte=2"]),
            Action::ChangeFee { fee_type: FeeType::Byte, new_fee: Tokens(2) }
        );
        let digest = Hash([3; 32]);
        assert_eq!(
            action(&["--adopt", &format!("privacy=4={digest}")]),
            Action::AdoptPolicy { policy_id: "privacy".into(), version: 4, digest }
        );
        let id = NodeId([2; 32]);
        assert_eq!(action(&["--spend", &format!("{id}=9")]), Action::Spend { to: id, amount: Tokens(9) });
        assert_eq!(action(&["--remove", &id.to_string()]), Action::RemoveValidator { validator: id });
        assert_eq!(action(&["--declare", "we agree"]), Action::Declare { statement: "we agree".into() });
        assert!(read(&[]).is_err() && read(&["--declare", "a", "--admit", &id.to_string()]).is_err());
        assert!(read(&["--change-fee", "rent=2"]).is_err() && read(&["--adopt", "a=b"]).is_err());
    }
}
