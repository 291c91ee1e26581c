//! Rows of the state as people and programs outside read them: names and JSON in place of keys and bytes.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::fault::Fault;
use super::params::Params;
use super::rows::{
    Account, Ballot, Billing, Closed, Delegation, Due, Duty, Leaving, Policy, Pool, Proposal, Record, Row, Seats, Sort,
    Totals, Unbonding, Worker, decode,
};
use crate::types::NodeId;

/// A row of the state, in words.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[schemars(rename = "ChainRow")]
pub struct Shown {
    /// What it is: `account`, `pool`, `proposal`.
    pub sort: &'static str,
    /// What names it among its sort.
    pub name: Value,
    /// What it says; null when there is no such row.
    pub row: Value,
}

/// A row in words; none when the key is of no sort.
pub fn shown(key: &[u8], value: Option<&[u8]>) -> Result<Option<Shown>, Fault> {
    let Some((sort, name)) = sort_of(key).zip(name_of(key)) else { return Ok(None) };
    let row = value.map_or(Ok(Value::Null), |value| row_of(sort, value))?;
    Ok(Some(Shown { sort: word(sort), name, row }))
}

/// The words for sorts of rows.
pub fn sorts() -> impl Iterator<Item = &'static str> {
    Sort::all().iter().copied().map(word)
}

/// The sort with this word.
pub fn sort_named(name: &str) -> Option<Sort> {
    Sort::all().iter().copied().find(|sort| word(*sort) == name)
}

/// The key of a row by its sort and the parts of its name, as [`Shown`] has them, with `/` between. What is missing at
/// the end makes it the beginning of the keys of many rows: `delegation` and an account are all of its delegations.
pub fn key_named(sort: Sort, name: &str) -> Option<Vec<u8>> {
    let mut parts: Vec<&str> = if name.is_empty() { Vec::new() } else { name.split('/').collect() };
    let shape: &[Part] = match sort {
        Sort::Params | Sort::Totals | Sort::Seats => &[],
        Sort::Account | Sort::Pool | Sort::Closed => &[Part::Node],
        Sort::Delegation => &[Part::Node, Part::Node],
        Sort::Unbonding => &[Part::Node, Part::Number],
        Sort::Leaving => &[Part::Node, Part::Number, Part::Node],
        Sort::Record => {
            // A record's name may have a `/` itself.
            parts = if name.is_empty() { Vec::new() } else { name.splitn(2, '/').collect() };
            &[Part::Node, Part::Text]
        }
        Sort::Billing | Sort::Proposal => &[Part::Number],
        Sort::Ballot => &[Part::Number, Part::Node],
        Sort::Policy => {
            parts = vec![name];
            &[Part::Text]
        }
        Sort::Worker => &[Part::Number, Part::Node],
        Sort::Duty => &[Part::Number],
    };
    if parts.len() > shape.len() {
        return None;
    }
    let mut key = vec![sort as u8];
    for (part, text) in shape.iter().zip(parts) {
        match part {
            Part::Node => key.extend(text.parse::<NodeId>().ok()?.0),
            Part::Number => key.extend(text.parse::<u64>().ok()?.to_be_bytes()),
            Part::Text => key.extend(text.as_bytes()),
        }
    }
    Some(key)
}

/// What a part of a row's name is.
enum Part {
    Node,
    Number,
    Text,
}

fn sort_of(key: &[u8]) -> Option<Sort> {
    key.first().and_then(|first| Sort::from_tag(*first))
}

const fn word(sort: Sort) -> &'static str {
    match sort {
        Sort::Params => "params",
        Sort::Totals => "totals",
        Sort::Seats => "seats",
        Sort::Account => "account",
        Sort::Pool => "pool",
        Sort::Delegation => "delegation",
        Sort::Unbonding => "unbonding",
        Sort::Leaving => "leaving",
        Sort::Record => "record",
        Sort::Billing => "billing",
        Sort::Proposal => "proposal",
        Sort::Ballot => "ballot",
        Sort::Policy => "policy",
        Sort::Worker => "worker",
        Sort::Duty => "duty",
        Sort::Closed => "closed",
    }
}

fn name_of(key: &[u8]) -> Option<Value> {
    let sort = sort_of(key)?;
    let rest = key.get(1..)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    Some(match sort {
        Sort::Params | Sort::Totals | Sort::Seats => rest.is_empty().then_some(Value::Null)?,
        Sort::Account | Sort::Pool | Sort::Closed => json!(node(rest)?),
        Sort::Delegation => {
            let (account, validator) = rest.split_first_chunk::<32>()?;
            json!({"account": NodeId(*account), "validator": node(validator)?})
        }
        Sort::Unbonding => {
            let (validator, epoch) = rest.split_first_chunk::<32>()?;
            json!({"validator": NodeId(*validator), "epoch": number(epoch)?})
        }
        Sort::Leaving => {
            let (validator, rest) = rest.split_first_chunk::<32>()?;
            let (epoch, account) = rest.split_first_chunk::<8>()?;
            let epoch = u64::from_be_bytes(*epoch);
            json!({"validator": NodeId(*validator), "epoch": epoch, "account": node(account)?})
        }
        Sort::Record => {
            let (owner, name) = rest.split_first_chunk::<32>()?;
            json!({"owner": NodeId(*owner), "name": text(name)?})
        }
        Sort::Billing | Sort::Proposal => json!(number(rest)?),
        Sort::Ballot => {
            let (proposal, voter) = rest.split_first_chunk::<8>()?;
            json!({"proposal": u64::from_be_bytes(*proposal), "voter": node(voter)?})
        }
        Sort::Policy => json!(text(rest)?),
        Sort::Worker => {
            let (epoch, miner) = rest.split_first_chunk::<8>()?;
            json!({"epoch": u64::from_be_bytes(*epoch), "miner": node(miner)?})
        }
        Sort::Duty => {
            let (epoch, due) = Due::from_key(key)?;
            json!({"epoch": epoch, "due": due})
        }
    })
}

fn row_of(sort: Sort, value: &[u8]) -> Result<Value, Fault> {
    match sort {
        Sort::Params => told::<Params>(value),
        Sort::Totals => told::<Totals>(value),
        Sort::Seats => told::<Seats>(value),
        Sort::Account => told::<Account>(value),
        Sort::Pool => told::<Pool>(value),
        Sort::Delegation => told::<Delegation>(value),
        Sort::Unbonding => told::<Unbonding>(value),
        Sort::Leaving => told::<Leaving>(value),
        Sort::Record => told::<Record>(value),
        Sort::Billing => told::<Billing>(value),
        Sort::Proposal => told::<Proposal>(value),
        Sort::Ballot => told::<Ballot>(value),
        Sort::Policy => told::<Policy>(value),
        Sort::Worker => told::<Worker>(value),
        Sort::Duty => told::<Duty>(value),
        Sort::Closed => told::<Closed>(value),
    }
}

fn told<R: Row>(value: &[u8]) -> Result<Value, Fault> {
    serde_json::to_value(decode::<R>(value)?).map_err(|_| Fault::Corrupt("a row of the state is not to be told"))
}

fn node(bytes: &[u8]) -> Option<NodeId> {
    bytes.try_into().ok().map(NodeId)
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    #[test]
    fn a_row_is_named_in_words_and_found_by_them() {
        let (a, b) = (id(1), id(2));
        let due = Due::Tally(3);
        for (sort, name, key) in [
            (Sort::Params, String::new(), Params::key(&())),
            (Sort::Totals, String::new(), Totals::key(&())),
            (Sort::Seats, String::new(), Seats::key(&())),
            (Sort::Account, a.to_string(), Account::key(&a)),
            (Sort::Pool, a.to_string(), Pool::key(&a)),
            (Sort::Closed, a.to_string(), Closed::key(&a)),
            (Sort::Delegation, format!("{a}/{b}"), Delegation::key(&(a, b))),
            (Sort::Unbonding, format!("{a}/7"), Unbonding::key(&(a, 7))),
            (Sort::Leaving, format!("{a}/7/{b}"), Leaving::key(&(a, 7, b))),
            (Sort::Record, format!("{a}/x/y"), Record::key(&(a, "x/y".into()))),
            (Sort::Billing, "9".into(), Billing::key(&9)),
            (Sort::Proposal, "9".into(), Proposal::key(&9)),
            (Sort::Ballot, format!("9/{a}"), Ballot::key(&(9, a))),
            (Sort::Policy, "p/q".into(), Policy::key(&"p/q".into())),
            (Sort::Worker, format!("9/{a}"), Worker::key(&(9, a))),
        ] {
            assert_eq!(sort_named(word(sort)), Some(sort));
            assert_eq!(key_named(sort, &name), Some(key.clone()), "{sort:?} {name}");
            assert!(shown(&key, None).unwrap().is_some(), "{sort:?}");
        }
        let duty = Duty::key(&(4, due));
        assert!(duty.starts_with(&key_named(Sort::Duty, "4").unwrap()), "an epoch names its duties");
        assert!(key_named(Sort::Account, "").is_some_and(|key| key == [Sort::Account as u8]));
        let wrong = [(Sort::Account, "x"), (Sort::Totals, "x"), (Sort::Proposal, "-1"), (Sort::Ballot, "1/2")];
        assert!(wrong.into_iter().all(|(sort, name)| key_named(sort, name).is_none()));
        assert_eq!(sort_named("pocket"), None);
    }
}
