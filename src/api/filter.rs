//! Which messages, from where: the part of a query string that reading and following share.

use std::str::FromStr;

use serde::Deserialize;

use super::params::{listed, message_id, parsed};
use super::problem::Problem;
use crate::feed::Start;
use crate::types::{WallMs, limits};
use crate::wire::Filter;

/// Messages of a page if nothing else is asked.
const PAGE: usize = 100;

/// Which messages to read, and how many.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReadParams {
    /// Where to begin: `start`, `end`, a position, `-N` for the last N, `@MS` for what arrived since then
    /// (milliseconds since 1970). By default `start`.
    from: Option<String>,
    /// At most so many messages, 1 to 10,000; by default 100.
    limit: Option<usize>,
    /// Of these kinds, with commas: `Data/ExchangeData`.
    kind: Option<String>,
    /// Or of these categories, with commas: `Economic,Security`.
    category: Option<String>,
    /// By these nodes, with commas.
    author: Option<String>,
    /// With one of these tags, with commas.
    tag: Option<String>,
    /// Of this conversation.
    correlation: Option<String>,
}

/// Which messages to follow.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FollowParams {
    /// Where to begin: `start`, `end`, a position, `-N` for the last N, `@MS` for what arrived since then
    /// (milliseconds since 1970). By default `end`.
    from: Option<String>,
    /// Of these kinds, with commas: `Data/ExchangeData`.
    kind: Option<String>,
    /// Or of these categories, with commas: `Economic,Security`.
    category: Option<String>,
    /// By these nodes, with commas.
    author: Option<String>,
    /// With one of these tags, with commas.
    tag: Option<String>,
    /// Of this conversation.
    correlation: Option<String>,
    /// Whether to tell of messages that are not kept, such as heartbeats; by default `true`.
    ephemeral: Option<bool>,
}

impl ReadParams {
    pub fn start(&self) -> Result<Start, Problem> {
        start(self.from.as_deref(), Start::Beginning)
    }

    pub fn limit(&self) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(PAGE);
        let most = limits::QUERY_MESSAGES;
        let fits = (1..=most).contains(&limit);
        fits.then_some(limit)
            .ok_or_else(|| Problem::request(format!("limit: use 1 to {most}, and read on from `next`")))
    }

    pub fn filter(&self) -> Result<Filter, Problem> {
        filter(&self.kind, &self.category, &self.author, &self.tag, &self.correlation)
    }
}

impl FollowParams {
    pub fn start(&self) -> Result<Start, Problem> {
        start(self.from.as_deref(), Start::End)
    }

    pub fn filter(&self) -> Result<Filter, Problem> {
        filter(&self.kind, &self.category, &self.author, &self.tag, &self.correlation)
    }

    pub fn ephemeral(&self) -> bool {
        self.ephemeral.unwrap_or(true)
    }
}

fn filter(
    kind: &Option<String>,
    category: &Option<String>,
    author: &Option<String>,
    tag: &Option<String>,
    correlation: &Option<String>,
) -> Result<Filter, Problem> {
    Ok(Filter {
        categories: listed("category", category.as_deref())?,
        kinds: listed("kind", kind.as_deref())?,
        authors: listed("author", author.as_deref())?,
        tags: listed("tag", tag.as_deref())?,
        correlation: message_id("correlation", correlation.as_deref())?,
    })
}

pub(super) fn start(text: Option<&str>, default: Start) -> Result<Start, Problem> {
    let from: Option<From> = parsed("from", text)?;
    Ok(from.map_or(default, |From(start)| start))
}

/// Where a reading begins, as it is written.
struct From(Start);

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<From, String> {
        let number = |digits: &str| digits.parse::<u64>().ok().filter(|_| !digits.starts_with('+'));
        let start = match text.split_at_checked(1) {
            _ if text == "start" => Some(Start::Beginning),
            _ if text == "end" => Some(Start::End),
            Some(("-", count)) => number(count).map(Start::Last),
            Some(("@", ms)) => number(ms).map(|ms| Start::Since(WallMs(ms))),
            _ => number(text).map(Start::Position),
        };
        let advice = "use start, end, a position, -N for the last N or @MS for what came since (milliseconds of 1970)";
        start.map(From).ok_or_else(|| format!("`{text}` is no place to begin: {advice}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_to_begin_has_one_form() {
        let read = |text: &str| text.parse::<From>().map(|from| from.0);
        assert_eq!(read("start"), Ok(Start::Beginning));
        assert_eq!(read("end"), Ok(Start::End));
        assert_eq!(read("17"), Ok(Start::Position(17)));
        assert_eq!(read("-5"), Ok(Start::Last(5)));
        assert_eq!(read("@1700000000000"), Ok(Start::Since(WallMs(1_700_000_000_000))));
        for wrong in ["", "-", "@", "+1", "yesterday", "-x", "1.5", "é"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
