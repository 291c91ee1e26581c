//! `metanode doctor`: why a node is not reachable, not in sync, or slow.
//!
//! ```text
//! local:  configuration ─► key ─► store ─► ports            (skipped with --api alone)
//! node:   API ─► health ─► identity ─► peers ─► clock ─► feeds ─► heads ─► bans
//! ```
//!
//! Looks only: what it leaves behind is nothing, what it changes is nothing.

mod local;
mod node;

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::config::{Config, LoadOptions};

const EXAMPLES: &str = "\
Examples:
  metanode doctor                                    the node of ~/.metanode
  metanode doctor --config /etc/metanode/node.toml   another one
  metanode doctor --api http://127.0.0.1:7780        only what the API tells
  metanode doctor --json | jq '.checks[] | select(.result != \"ok\")'

The exit code is 1 when a check fails; what is only a warning does not count.";

/// Find out why a node is not reachable, not in sync, or slow.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {
    /// The node's API [default: what the configuration says].
    #[arg(long, value_name = "URL", env = "METANODE_API")]
    api: Option<String>,
    /// The configuration [default: config.toml in the node's directory].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The node's directory [default: ~/.metanode].
    #[arg(long, value_name = "DIR", env = "METANODE_DIR")]
    dir: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    /// As it should be.
    Ok,
    /// Worth a look.
    Warn,
    /// The node does not do its work because of this.
    Fail,
}

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    name: &'static str,
    result: Outcome,
    /// What was seen.
    saw: String,
    /// What to do; empty when all is well.
    advice: String,
}

impl Check {
    fn ok(name: &'static str, saw: impl Into<String>) -> Check {
        Check { name, result: Outcome::Ok, saw: saw.into(), advice: String::new() }
    }

    fn warn(name: &'static str, saw: impl Into<String>, advice: impl Into<String>) -> Check {
        Check { name, result: Outcome::Warn, saw: saw.into(), advice: advice.into() }
    }

    fn fail(name: &'static str, saw: impl Into<String>, advice: impl Into<String>) -> Check {
        Check { name, result: Outcome::Fail, saw: saw.into(), advice: advice.into() }
    }
}

impl DoctorArgs {
    /// Looks at everything and tells.
    pub async fn run(self) -> anyhow::Result<()> {
        let checks = self.checks().await?;
        let failed = checks.iter().filter(|check| check.result == Outcome::Fail).count();
        if self.json {
            writeln!(std::io::stdout().lock(), "{}", json!({"ok": failed == 0, "checks": checks}))?;
        } else {
            tell(&checks)?;
        }
        if failed > 0 {
            bail!("{failed} of {} checks failed", checks.len());
        }
        Ok(())
    }

    async fn checks(&self) -> anyhow::Result<Vec<Check>> {
        let mut checks = Vec::new();
        let config = match (self.config(), &self.api) {
            (Some(Ok(config)), _) => Some(config),
            (Some(Err(fault)), None) => {
                checks.push(fault);
                return Ok(checks);
            }
            (Some(Err(fault)), Some(_)) => {
                checks.push(fault);
                None
            }
            (None, _) => None,
        };
        let mut own_id = None;
        if let Some(config) = &config {
            checks.push(Check::ok(
                "configuration",
                format!("loads; the node keeps its data in {}", config.dir.display()),
            ));
            let (key, id) = local::key(config);
            own_id = id;
            checks.push(key);
            checks.push(local::store(config));
        }
        let Some(api) = self.api.clone().or_else(|| config.as_ref().map(local::api)) else { return Ok(checks) };
        let node = node::Node::ask(&api).await?;
        if let Some(config) = config.as_ref().filter(|_| !node.answers()) {
            checks.push(local::ports(config));
        }
        checks.extend(node.checks(config.as_ref(), own_id).await);
        Ok(checks)
    }

    /// The configuration, or what is wrong with it; none when only an API was named.
    fn config(&self) -> Option<Result<Config, Check>> {
        if self.api.is_some() && self.config.is_none() && self.dir.is_none() {
            return None;
        }
        let set = self.dir.iter().map(|dir| format!("dir={}", dir.display())).collect();
        let loaded = Config::load(LoadOptions::from_process(self.config.clone(), set));
        Some(loaded.map_err(|e| Check::fail("configuration", e.to_string(), "correct it as it says")))
    }
}

fn tell(checks: &[Check]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for Check { name, result, saw, advice } in checks {
        let mark = match result {
            Outcome::Ok => "ok  ",
            Outcome::Warn => "warn",
            Outcome::Fail => "FAIL",
        };
        writeln!(out, "{mark}  {name:<14} {}", saw.replace('\n', "\n                     "))?;
        if !advice.is_empty() {
            writeln!(out, "                     -> {advice}")?;
        }
    }
    Ok(())
}
