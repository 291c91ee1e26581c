//! What a durable subscription is to be.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::types::limits;
use crate::wire::{Destination, Filter};

/// A subscription's name: 1 to 64 of letters, digits, `.`, `_` and `-`. Or that of a destination of direct messages, as
/// in `service:prices`, with other characters as in URLs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name under which messages for a single reader wait.
    pub fn of(destination: &Destination) -> Option<Name> {
        let (sort, name) = match destination {
            Destination::Node(id) => ("node", id.to_string()),
            Destination::Service(name) => ("service", escaped(name)),
            Destination::Layer(name) => ("layer", escaped(name)),
            Destination::Everyone | Destination::NodeType(_) | Destination::Topic(_) => return None,
        };
        Some(Name(format!("{sort}:{name}")))
    }

    /// The destination, if it is the name of one.
    pub fn destination(&self) -> Option<Destination> {
        match self.0.split_once(':')? {
            ("node", id) => id.parse().ok().map(Destination::Node),
            ("service", name) => plain(name).map(Destination::Service),
            ("layer", name) => plain(name).map(Destination::Layer),
            _ => None,
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Name, String> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
            return Ok(Name(text.into()));
        }
        let name = Name(text.into());
        if text.len() <= 4 * limits::NAME_BYTES
            && name.destination().and_then(|destination| Name::of(&destination)).as_ref() == Some(&name)
        {
            return Ok(name);
        }
        Err(format!("`{text}` is no name of a subscription: use 1 to 64 of letters, digits, `.`, `_` and `-`"))
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Name, String> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

/// Whatever is not a letter, a digit, `.`, `_` or `-` as `%` and two digits (RFC 3986, section 2.1).
fn escaped(name: &str) -> String {
    let as_is = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let part = |byte: u8| if as_is(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(part).collect()
}

/// What was [`escaped`].
fn plain(name: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), name.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_first_chunk::<2>()?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok().filter(|name| !name.is_empty())
}

/// Where messages go.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Sink {
    /// Workers come and take them.
    #[default]
    Pull,
    /// The node posts them, one by one.
    Webhook {
        /// Where: `http://HOST/PATH`.
        url: String,
    },
    /// The node sends them to one other node, as messages for that destination. Its own; nobody can ask for it.
    Direct,
}

/// What a durable subscription is to be. Times are milliseconds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Spec {
    /// Which messages. Cannot be changed later.
    pub filter: Filter,
    /// Where they go.
    pub sink: Sink,
    /// How long a worker has for a message before another gets it; 100 ms to 12 hours, by default 30 s.
    pub ack_wait_ms: u64,
    /// After so many failures a message is dead; 1 to 100, by default 5.
    pub max_attempts: u32,
    /// How long a message waits after its first failure; each further one doubles it. By default 1 s.
    pub retry_ms: u64,
    /// It waits no longer than this; up to 24 hours, by default 60 s.
    pub retry_max_ms: u64,
    /// Messages leased or waiting at once, before no new ones are taken up; 1 to 10,000, by default 1,000. A webhook
    /// has as many requests under way, at most 32.
    pub max_open: u32,
}

impl Default for Spec {
    fn default() -> Spec {
        Spec {
            filter: Filter::default(),
            sink: Sink::Pull,
            ack_wait_ms: 30_000,
            max_attempts: 5,
            retry_ms: 1_000,
            retry_max_ms: 60_000,
            max_open: 1_000,
        }
    }
}

impl Spec {
    /// Everything that is wrong with it, in words; empty when it can be kept.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut bound = |name: &str, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                faults.push(format!("{name} is {value}; use {least} to {most}"));
            }
        };
        bound("ack_wait_ms", self.ack_wait_ms, 100, 12 * 3_600_000);
        bound("max_attempts", u64::from(self.max_attempts), 1, 100);
        bound("retry_ms", self.retry_ms, 1, 24 * 3_600_000);
        bound("retry_max_ms", self.retry_max_ms, self.retry_ms, 24 * 3_600_000);
        bound("max_open", u64::from(self.max_open), 1, limits::SUBSCRIPTION_OPEN as u64);
        let words = self.filter.tags.len() + self.filter.authors.len();
        bound("the number of tags and authors in the filter", words as u64, 0, limits::FILTER_WORDS as u64);
        if self.sink == Sink::Direct {
            faults.push("the sink `direct` is the node's own".into());
        }
        if let Sink::Webhook { url } = &self.sink {
            let rest = url.strip_prefix("http://");
            if url.len() > limits::URL_BYTES {
                faults.push(format!(
                    "the webhook's address has {} bytes; {} are allowed",
                    url.len(),
                    limits::URL_BYTES
                ));
            } else if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
                faults.push(format!(
                    "`{url}` is no address of a webhook: use http://HOST/PATH; for https put a proxy beside the node"
                ));
            }
        }
        faults
    }

    /// How long a lease lasts.
    pub fn ack_wait(&self) -> Duration {
        Duration::from_millis(self.ack_wait_ms)
    }
}
