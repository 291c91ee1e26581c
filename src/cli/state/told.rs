//! What the node says of replicated state, as a person reads it.

use serde_json::Value;

use crate::cli::client::{pairs, plain, table, time};

/// Who else holds a write, if that was asked.
pub(super) fn held(answer: &Value) -> String {
    let Some(nodes) = answer["held_by"].as_array() else { return String::new() };
    let pending = if answer["pending"] == true { "; pending" } else { "" };
    format!(", held by {} of {} other nodes{pending}", nodes.len(), plain(&answer["wanted"]))
}

pub(super) fn fate(answer: &Value) -> String {
    let row = |change: &Value| {
        let now = &change["now"]["register"]["value"];
        vec![plain(&change["path"]), plain(&change["fate"]), plain(&change["version"]), now.to_string()]
    };
    let rows: Vec<Vec<String>> = answer["changes"].as_array().into_iter().flatten().map(row).collect();
    let nodes = answer["held_by"].as_array().map_or(0, Vec::len);
    format!("{}\n\nheld by {nodes} other nodes", table(&["PATH", "FATE", "VERSION", "NOW"], &rows))
}

/// An event on one line.
pub(super) fn line(event: &str) -> String {
    let Ok(event) = serde_json::from_str::<Value>(event) else { return event.to_string() };
    let reason = event["reason"].as_str().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!(
        "{} {} {}{reason} {}/{} {} by {}",
        plain(&event["number"]),
        time(&event["at_ms"]),
        plain(&event["event"]),
        plain(&event["collection"]),
        plain(&event["path"]),
        op(&event["op"]),
        short(&event["author"]),
    )
}

/// What a write did, as a person reads it.
pub(super) fn op(op: &Value) -> String {
    match op {
        Value::Object(members) => match members.iter().next() {
            Some((name, body)) => {
                let inside = body.get("value").or(body.get("element"));
                inside.map_or_else(|| format!("{name} {body}"), |inside| format!("{name} {inside}"))
            }
            None => "-".into(),
        },
        other => plain(other),
    }
}

/// The end of an id.
pub(super) fn short(id: &Value) -> String {
    let id = plain(id);
    id.get(id.len().saturating_sub(8)..).unwrap_or(&id).to_string()
}

pub(super) fn rows<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Where to read on, if there is more.
pub(super) fn more(answer: &Value, flag: &str) -> String {
    answer["next"].as_str().map(|next| format!("\n\nmore with {flag} {next}")).unwrap_or_default()
}

pub(super) fn collections(answer: &Value) -> String {
    let all = rows(answer, "collections");
    if all.is_empty() {
        return "there are no collections; write to one with `metanode state put COLLECTION PATH VALUE`".into();
    }
    let row = |one: &Value| {
        let (name, retained, root) = (plain(&one["name"]), plain(&one["retained"]), plain(&one["root"]));
        vec![name, retained, root, time(&one["last_ms"]), floor(&one["floors"])]
    };
    let table = table(&["NAME", "WRITES", "ROOT", "LAST", "FLOOR"], &all.iter().map(row).collect::<Vec<_>>());
    format!("{table}\n\nstate root {}", plain(&answer["root"]))
}

/// The floor of a collection, and one that is said and not come to.
fn floor(floors: &Value) -> String {
    let adopted = if floors["adopted"].is_null() { "-".into() } else { since(&floors["adopted"]) };
    if floors["pending"].is_null() { adopted } else { format!("{adopted}, pending {}", since(&floors["pending"])) }
}

/// The time of a floor: its version begins with milliseconds since 1970, twelve digits of them.
pub(super) fn since(floor: &Value) -> String {
    let version = plain(&floor["version"]);
    let ms = version.get(..12).and_then(|digits| u64::from_str_radix(digits, 16).ok());
    ms.map_or(version, |ms| time(&Value::from(ms)))
}

pub(super) fn cells(answer: &Value) -> String {
    let row = |cell: &Value| {
        let value = cell["register"].get("value").filter(|value| !value.is_null() || cell["counter"].is_null());
        let elements: Vec<String> = rows(cell, "elements").iter().map(|one| one["element"].to_string()).collect();
        let shown = |part: Option<&Value>| part.map_or_else(|| "-".into(), Value::to_string);
        let set = if elements.is_empty() { "-".into() } else { elements.join(" ") };
        vec![
            plain(&cell["path"]),
            shown(value.filter(|_| cell["register"].is_object())),
            plain(&cell["counter"]["value"]),
            set,
        ]
    };
    let all: Vec<Vec<String>> = rows(answer, "cells").iter().map(row).collect();
    let forgotten = rows(answer, "forgotten").iter().map(unremembered).collect::<String>();
    if all.is_empty() {
        return format!("there is nothing{forgotten}{}", more(answer, "--after"));
    }
    format!("{}{forgotten}{}", table(&["PATH", "VALUE", "COUNT", "ELEMENTS"], &all), more(answer, "--after"))
}

/// A path of which it is not remembered what was there, and from when on it would be.
pub(super) fn unremembered(one: &Value) -> String {
    let path = plain(&one["path"]);
    match one["known_from"].as_u64() {
        Some(from) => format!("\n{path} is not remembered so far back; it is with --known {from}"),
        None => format!("\n{path} is not remembered so far back; it is with --at @{}", plain(&one["oldest_ms"])),
    }
}

pub(super) fn cell(cell: &Value) -> String {
    let mut shown = Vec::new();
    let register = &cell["register"];
    if register.is_object() && !(register["value"].is_null() && cell["counter"].is_object()) {
        shown.push(("value", register["value"].to_string()));
        for name in ["version", "author", "message", "client"] {
            shown.push((name, plain(&register[name])));
        }
        shown.push(("written", time(&register["written_ms"])));
    }
    if cell["counter"].is_object() {
        shown.push(("count", plain(&cell["counter"]["value"])));
    }
    shown.extend(rows(cell, "elements").iter().map(|one| ("element", one["element"].to_string())));
    shown.retain(|(_, value)| value != "-");
    pairs(&shown)
}

pub(super) fn history(answer: &Value) -> String {
    let row = |write: &Value| {
        let words = [&write["version"], &write["status"]].map(plain);
        [words.to_vec(), vec![op(&write["op"]), short(&write["author"]), time(&write["written_ms"])]].concat()
    };
    let all: Vec<Vec<String>> = rows(answer, "writes").iter().map(row).collect();
    if all.is_empty() {
        return "nothing is remembered of it".into();
    }
    format!("{}{}", table(&["VERSION", "STATUS", "DID", "AUTHOR", "WRITTEN"], &all), more(answer, "--before"))
}

pub(super) fn conflicts(answer: &Value) -> String {
    let row = |lost: &Value| {
        let words = [&lost["path"], &lost["version"], &lost["reason"]].map(plain);
        [words.to_vec(), vec![op(&lost["op"]), short(&lost["author"]), time(&lost["written_ms"])]].concat()
    };
    let all: Vec<Vec<String>> = rows(answer, "conflicts").iter().map(row).collect();
    if all.is_empty() {
        return "there are no conflicts".into();
    }
    format!("{}{}", table(&["PATH", "VERSION", "REASON", "DID", "AUTHOR", "WRITTEN"], &all), more(answer, "--after"))
}

pub(super) fn checked(answer: &Value) -> String {
    let row = |one: &Value| {
        let word = if one["sound"] == true { "sound" } else { "NOT SOUND" };
        vec![plain(&one["collection"]), word.into(), plain(&one["found"]), plain(&one["found_root"])]
    };
    let all: Vec<Vec<String>> = rows(answer, "checked").iter().map(row).collect();
    if all.is_empty() { "there are no collections".into() } else { table(&["NAME", "COUNTS", "WRITES", "ROOT"], &all) }
}
