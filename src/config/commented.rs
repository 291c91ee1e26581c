//! A configuration as a file that explains itself.

use toml::{Table, Value};

use super::catalogue::{self, ENTRIES, Entry};
use super::layers::{table_of, value_at};
use super::{Config, ConfigError};

const HEAD: &str = "\
# Configuration of a metanode node.
#
# Every key is here. One with its default is commented out; remove the # to change it.
# The environment overrides this file (METANODE_NET__MDNS=true), flags override both (--set net.mdns=true).
";

impl Config {
    /// The configuration as TOML with every key explained. Keys that have their default are commented out.
    pub fn to_toml_commented(&self) -> Result<String, ConfigError> {
        let (mine, defaults) = (table_of(self)?, table_of(&Config::default())?);
        let mut text = HEAD.to_string();
        let mut section = None;
        for entry in ENTRIES {
            if catalogue::section(entry.path) != section {
                section = catalogue::section(entry.path);
                text.push_str(&section.map(|name| format!("\n[{name}]\n")).unwrap_or_default());
            }
            write_entry(&mut text, entry, &mine, &defaults);
        }
        Ok(text)
    }
}

fn write_entry(text: &mut String, entry: &Entry, mine: &Table, defaults: &Table) {
    let key = entry.path.rsplit('.').next().unwrap_or(entry.path);
    if catalogue::section(entry.path).is_none() {
        text.push('\n');
    }
    for line in entry.text.lines() {
        text.push_str(&format!("# {line}\n"));
    }
    let (value, default) = (value_at(mine, entry.path), value_at(defaults, entry.path));
    let shown = value.map_or_else(|| entry.example.to_string(), Value::to_string);
    let mark = if value == default { "# " } else { "" };
    text.push_str(&format!("{mark}{key} = {shown}\n"));
}
