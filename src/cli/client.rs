//! What the commands that ask a running node have in common: the address, the asking, errors that say what to do,
//! and how answers are printed.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use reqwest::{Method, RequestBuilder, Response, Url};
use serde_json::Value;

/// An answer comes within this long.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// A connection stands within this long.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Which node to ask, and how to print what it answers.
#[derive(Args, Clone, Debug)]
pub struct ApiArgs {
    /// The node's API
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "METANODE_API",
        default_value = "http://127.0.0.1:7780",
        value_parser = address
    )]
    pub api: Url,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// Why a node's answer cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there.
    #[error(
        "no node answers at {api} ({cause}); is it running? Start it with `metanode start`, or give its address with \
         --api URL"
    )]
    Unreachable { api: Url, cause: String },
    /// The node answered with a problem.
    #[error("{}", told(.problem))]
    Refused { status: u16, problem: Value },
    /// The command line asks for what cannot be.
    #[error("{0}")]
    Usage(String),
}

/// How a command ends that failed with `error`: 1 failed, 2 wrong usage, 3 no node answers at the API.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Unreachable { .. }) => 3,
        Some(ClientError::Usage(_)) => 2,
        Some(ClientError::Refused { .. }) | None => 1,
    }
}

/// What a problem document says.
fn told(problem: &Value) -> &str {
    problem["detail"].as_str().or(problem["title"].as_str()).unwrap_or("the node refused, and did not say why")
}

/// A node's API.
#[derive(Clone, Debug)]
pub struct Client {
    api: Url,
    http: reqwest::Client,
}

impl Client {
    /// The API that the arguments name. Asks nothing yet.
    pub fn new(args: &ApiArgs) -> anyhow::Result<Client> {
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_WITHIN).build();
        Ok(Client { api: args.api.clone(), http: http.context("cannot make a client")? })
    }

    /// A request that is answered in a while; `path` is its parts.
    pub fn request(&self, method: Method, path: &[&str], query: &[(&str, String)]) -> RequestBuilder {
        self.stream(method, path, query).timeout(ANSWER_WITHIN)
    }

    /// A request whose answer may go on for ever.
    pub fn stream(&self, method: Method, path: &[&str], query: &[(&str, String)]) -> RequestBuilder {
        let mut url = self.api.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http.request(method, url)
    }

    /// Sends; fails if nobody answers or the node refuses.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let problem = response.json().await.unwrap_or_else(|_| {
            serde_json::json!({"detail": format!("{} answers {status}, not as a metanode does; give a node's API with --api URL", self.api)})
        });
        Err(ClientError::Refused { status: status.as_u16(), problem })
    }

    /// The JSON that a request is answered with.
    pub async fn json(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let response = self.send(request).await?;
        let strange = || format!("{} does not answer as a metanode does; give a node's API with --api URL", self.api);
        response.json().await.with_context(strange)
    }

    /// The JSON at a path.
    pub async fn get(&self, path: &[&str]) -> anyhow::Result<Value> {
        self.json(self.request(Method::GET, path, &[])).await
    }

    /// The error of a request that was not answered.
    pub fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        ClientError::Unreachable { api: self.api.clone(), cause: cause.to_string() }
    }
}

/// An API's address; `127.0.0.1:7780` is enough.
fn address(text: &str) -> Result<Url, String> {
    let full = if text.contains("://") { text.to_string() } else { format!("http://{text}") };
    let url = Url::parse(&full).map_err(|e| format!("{e}; write http://127.0.0.1:7780"))?;
    match (url.scheme(), url.host()) {
        ("http", Some(_)) => Ok(url),
        _ => Err("a node's API is http; write http://127.0.0.1:7780".into()),
    }
}

/// A length of time: `500ms`, `30s`, `5m`, `2h`, `7d`; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit_ms = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("`{unit}` is no unit of time; write 500ms, 30s, 5m, 2h or 7d")),
    };
    let ms = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms));
    ms.map(Duration::from_millis).ok_or_else(|| format!("`{text}` is no time; write 500ms, 30s, 5m, 2h or 7d"))
}

/// Prints on standard output. False when nobody reads it any more, as in `metanode sub '*' | head`.
pub fn print(text: &str) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(e).context("cannot write on standard output"),
    }
}

/// Prints JSON for people and programs alike.
pub fn print_json(value: &Value) -> anyhow::Result<bool> {
    print(&serde_json::to_string_pretty(value)?)
}

/// Writes a file.
pub fn write_file(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Rows under a head, in columns.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|name| name.to_string()).collect();
    let all = || std::iter::once(&head).chain(rows);
    let width = |column: usize| all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..head.len()).filter_map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    all().map(line).collect::<Vec<_>>().join("\n")
}

/// Names and values, one on each line.
pub fn pairs(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    rows.iter().map(|(name, value)| format!("{name:width$}  {value}")).collect::<Vec<_>>().join("\n")
}

/// A JSON value as a person reads it.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Milliseconds since 1970 as a person reads them: `2025-01-31T23:59:59.999Z`.
pub fn time(value: &Value) -> String {
    value.as_u64().filter(|ms| *ms > 0).map_or_else(|| "-".into(), utc)
}

/// A time of day in a calendar that goes on as it is (ISO 8601).
fn utc(ms: u64) -> String {
    let (mut days, of_day) = (ms / 86_400_000, ms % 86_400_000);
    let mut year = 1970_u64;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    // 400 years have 146,097 days, whichever they are.
    year += days / 146_097 * 400;
    days %= 146_097;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second, ms) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60, of_day % 1000);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z", days + 1)
}

/// A size as a person reads it.
pub fn size(value: &Value) -> String {
    let Some(bytes) = value.as_u64() else { return "-".into() };
    let (mut number, mut unit) = (bytes as f64, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if number < 1024.0 {
            break;
        }
        (number, unit) = (number / 1024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{number:.1} {unit}") }
}

/// A message for people: what surrounds it, then what it says.
pub fn message(envelope: &Value) -> anyhow::Result<String> {
    let kind = format!("{}/{}", plain(&envelope["category"]), plain(&envelope["message_type"]));
    let mut rows = vec![("id", plain(&envelope["id"])), ("kind", kind), ("priority", plain(&envelope["priority"]))];
    rows.push(("source", plain(&envelope["source"])));
    rows.push(("destination", plain(&envelope["destination"])));
    for name in ["correlation_id", "parent_id"] {
        rows.push((name, plain(&envelope[name])));
    }
    for name in ["created_at", "expires_at", "arrived_at"] {
        rows.push((name, time(&envelope[name])));
    }
    let metadata = &envelope["metadata"];
    rows.extend([("tags", plain(&metadata["tags"])), ("headers", plain(&metadata["custom_headers"]))]);
    for name in ["incarnation", "sequence", "position", "checksum", "signature"] {
        rows.push((name, plain(&envelope[name])));
    }
    rows.retain(|(_, value)| !matches!(value.as_str(), "-" | "[]" | "{}"));
    let mut text = pairs(&rows);
    write!(text, "\n\n{}", serde_json::to_string_pretty(&envelope["payload"])?)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_570_752_011_620, "2019-10-11T00:00:11.620Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(utc(ms), text);
        }
    }

    #[test]
    fn lengths_of_time_are_read_with_their_unit() {
        let cases = [("500ms", 500), ("30", 30_000), ("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000)];
        for (text, ms) in cases {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)));
        }
        for wrong in ["", "s", "1y", "-1s", "1.5s", "99999999999999999999s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_needs_no_scheme_and_is_never_https() {
        assert_eq!(address("127.0.0.1:7780").unwrap().as_str(), "http://127.0.0.1:7780/");
        assert_eq!(address("http://localhost:1").unwrap().as_str(), "http://localhost:1/");
        assert!(address("https://localhost").is_err());
        assert!(address("").is_err());
    }

    #[test]
    fn a_node_that_is_not_there_is_told_from_one_that_refuses() {
        let api = address("localhost:1").unwrap();
        let gone = ClientError::Unreachable { api, cause: "refused".into() };
        assert_eq!(exit_code(&gone.into()), 3);
        assert_eq!(exit_code(&ClientError::Usage("no".into()).into()), 2);
        assert_eq!(exit_code(&ClientError::Refused { status: 404, problem: Value::Null }.into()), 1);
        assert_eq!(exit_code(&anyhow::anyhow!("else")), 1);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".into(), "1".into()], vec!["long".into(), "2".into()]];
        assert_eq!(table(&["NAME", "N"], &rows), "NAME  N\na     1\nlong  2");
        assert_eq!(size(&Value::from(1536)), "1.5 KiB");
    }
}
