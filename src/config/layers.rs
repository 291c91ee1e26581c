//! Sources of configuration, laid over each other key by key.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::catalogue::{self, Kind};
use super::{Config, ConfigError, Fault, Origin};

/// Begins the name of every variable of ours.
pub(super) const PREFIX: &str = "METANODE_";

/// Variables that are no path of a key, and the key each sets, if any.
const VARIABLES: [(&str, Option<&str>); 5] = [
    ("METANODE_PASSPHRASE", None),
    ("METANODE_API", None),
    ("METANODE_CONFIG", None),
    ("METANODE_DIR", Some("dir")),
    ("METANODE_LOG", Some("log.level")),
];

/// Values by path, each with the source that set it last, and what was wrong so far.
#[derive(Default)]
pub(super) struct Layers {
    values: BTreeMap<String, (Value, Origin)>,
    pub faults: Vec<Fault>,
}

impl Layers {
    /// Lays a file's `text` on top.
    pub fn file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let syntax = |e: toml::de::Error| {
            let (line, column) = position(text, e.span().map_or(0, |span| span.start));
            ConfigError::Syntax { path: path.into(), line, column, reason: e.message().replace('\n', " ") }
        };
        let spanned = DeTable::parse(text).map_err(syntax)?;
        let table: Table = toml::from_str(text).map_err(syntax)?;
        self.table("", table, &|key| Origin::File {
            path: path.into(),
            line: position(text, offset(spanned.get_ref(), key).unwrap_or(0)).0,
        });
        Ok(())
    }

    /// Lays the variables that begin with [`PREFIX`] on top.
    pub fn environment(&mut self, variables: &[(String, String)]) {
        for (name, text) in variables.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
            let path = match VARIABLES.iter().find(|(known, _)| known == name) {
                Some((_, None)) => continue,
                Some((_, Some(path))) => path.to_string(),
                None => name[PREFIX.len()..].to_lowercase().replace("__", "."),
            };
            self.text(&path, text, Origin::Variable(name.clone()));
        }
    }

    /// Lays one `path=value` on top.
    pub fn flag(&mut self, flag: &str) {
        let origin = Origin::Flag(flag.into());
        match flag.split_once('=') {
            Some((path, text)) => self.text(path.trim(), text.trim(), origin),
            None => self.fault(flag, origin, "write path=value, like net.mdns=true".into()),
        }
    }

    /// Where the value at `path`, or at an entry `path[n]` of it, was written.
    pub fn origin(&self, path: &str) -> Origin {
        let path = path.split('[').next().unwrap_or(path);
        self.values.get(path).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// The defaults with everything laid over them.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let mut table = table_of(&Config::default())?;
        for (path, (value, _)) in &self.values {
            insert(&mut table, path, value.clone());
        }
        table.try_into().map_err(|e: toml::de::Error| ConfigError::Unwritable(e.message().into()))
    }

    fn fault(&mut self, key: &str, origin: Origin, reason: String) {
        self.faults.push(Fault { origin, key: key.into(), reason });
    }

    /// Text is a TOML value where that fits the key, else a string as it stands.
    fn text(&mut self, path: &str, text: &str, origin: Origin) {
        let string = Value::String(text.into());
        let value = match text.parse::<Value>() {
            Ok(value) if fits(path, &value).is_ok() || fits(path, &string).is_err() => value,
            _ => string,
        };
        self.value(path, value, &|_| origin.clone());
    }

    fn table(&mut self, prefix: &str, table: Table, origin: &dyn Fn(&str) -> Origin) {
        for (key, value) in table {
            self.value(&join(prefix, &key), value, origin);
        }
    }

    fn value(&mut self, path: &str, value: Value, origin: &dyn Fn(&str) -> Origin) {
        match (catalogue::kind(path), value) {
            (Kind::Section, Value::Table(table)) => self.table(path, table, origin),
            (Kind::Section, _) => self.fault(path, origin(path), format!("is a section; set a key in it, {path}.…")),
            (Kind::Value, value) => match fits(path, &value) {
                Ok(()) => drop(self.values.insert(path.into(), (value, origin(path)))),
                Err(reason) => self.fault(path, origin(path), reason),
            },
            (Kind::Unknown, _) => {
                let origin = origin(path);
                let reason = unknown(path, &origin);
                self.fault(path, origin, reason);
            }
        }
    }
}

/// `config` as a table, complete but for keys that have no value.
pub(super) fn table_of(config: &Config) -> Result<Table, ConfigError> {
    Table::try_from(config).map_err(|e| ConfigError::Unwritable(e.to_string()))
}

/// The value at `path`.
pub(super) fn value_at<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        Some((section, rest)) => value_at(table.get(section)?.as_table()?, rest),
        None => table.get(path),
    }
}

fn insert(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => drop(table.insert(path.into(), value)),
        Some((section, rest)) => {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// Whether `value` has the type that the key at `path` wants; if not, why.
fn fits(path: &str, value: &Value) -> Result<(), String> {
    let mut table = Table::new();
    insert(&mut table, path, value.clone());
    table.try_into::<Config>().map(drop).map_err(|e| format!("{}; `{value}` does not fit", e.message()))
}

fn unknown(path: &str, origin: &Origin) -> String {
    let spelt = |path: &str| match origin {
        Origin::Variable(_) => format!("{PREFIX}{}", path.to_uppercase().replace('.', "__")),
        Origin::Default | Origin::File { .. } | Origin::Flag(_) => path.into(),
    };
    match catalogue::suggestion(path) {
        Some(meant) => format!("unknown key; did you mean `{}`?", spelt(meant)),
        None => "unknown key; `metanode init` writes a file with all keys".into(),
    }
}

/// A key with a dot in it is quoted, so that it is not taken for a path.
fn join(prefix: &str, key: &str) -> String {
    let key = if key.contains('.') { format!("\"{key}\"") } else { key.to_string() };
    if prefix.is_empty() { key } else { format!("{prefix}.{key}") }
}

/// Where in its text the key at `path` begins.
fn offset(table: &DeTable<'_>, path: &str) -> Option<usize> {
    offset_below(table, "", path)
}

fn offset_below(table: &DeTable<'_>, prefix: &str, path: &str) -> Option<usize> {
    table.iter().find_map(|(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let here = join(prefix, key.get_ref());
        if here == path {
            return Some(key.span().start);
        }
        match value.get_ref() {
            DeValue::Table(inner) if path.starts_with(&here) => offset_below(inner, &here, path),
            _ => None,
        }
    })
}

/// Line and column of a byte of `text`, both counted from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    (line, column)
}
