//! External: messages of applications, interventions of authorities, notices to people.
//!
//! Pure.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{BODY_BYTES, Checks, Rules, VALUE_BYTES};
use super::security::Severity;
use super::value::Blob;
use crate::types::WallMs;
use crate::wire::fault::Faults;

/// Recipients of one notice.
pub const RECIPIENTS: usize = 256;

/// A message of an application's own type, with a schema registered for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Custom {
    /// Name of the type, parts with dots: `acme.orders.placed`.
    pub type_name: String,
    /// Version of its schema, from 1.
    pub schema_version: u32,
    /// What the body is: `application/json`.
    pub content_type: String,
    /// The body, up to 240 KiB.
    pub body: Blob,
}

impl Rules for Custom {
    fn check(&self, faults: &mut Faults) {
        let halves = self.content_type.split_once('/').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty());
        faults
            .type_name("type_name", &self.type_name)
            .some("schema_version", self.schema_version)
            .name("content_type", &self.content_type)
            .must(halves, "content_type", "must be a media type, as application/json")
            .fits("body", self.body.0.len(), BODY_BYTES);
    }
}

/// What an authority orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InterventionAction {
    /// Give information.
    RequestInformation,
    /// Do less.
    Throttle,
    /// Stop trading.
    HaltTrading,
    /// Let no value out of an account.
    FreezeAccount,
    /// Draw less power.
    CurtailMining,
    /// Go on as before.
    Lift,
}

/// An authority orders someone to do something for a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Intervention {
    /// Id of the order.
    pub intervention_id: String,
    /// Which authority.
    pub authority: String,
    /// Who must obey: an exchange, an account, a mine.
    pub target: String,
    /// What is ordered.
    pub action: InterventionAction,
    /// How much may go on, 0 to 100; needed to throttle and curtail.
    #[serde(default)]
    pub limit_percent: Option<f64>,
    /// Why.
    pub reason: String,
    /// Under which law.
    pub legal_basis: String,
    /// From then.
    pub start_ms: WallMs,
    /// Until then; none until it is lifted.
    #[serde(default)]
    pub end_ms: Option<WallMs>,
    /// What else it says, by name.
    pub details: BTreeMap<String, String>,
}

impl Rules for Intervention {
    fn check(&self, faults: &mut Faults) {
        let partial = matches!(self.action, InterventionAction::Throttle | InterventionAction::CurtailMining);
        faults
            .name("intervention_id", &self.intervention_id)
            .name("authority", &self.authority)
            .name("target", &self.target)
            .must(!partial || self.limit_percent.is_some(), "limit_percent", "must say how much may go on")
            .text("reason", &self.reason)
            .words("legal_basis", &self.legal_basis, VALUE_BYTES)
            .time("start_ms", self.start_ms)
            .map("details", &self.details);
        if let Some(percent) = self.limit_percent {
            faults.percent("limit_percent", percent);
        }
        if let Some(at) = self.end_ms {
            faults.after("end_ms", at, self.start_ms);
        }
    }
}

/// By which way people are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// In the console.
    Console,
    /// By mail.
    Email,
    /// By text message.
    Sms,
    /// By an HTTP request.
    Webhook,
}

/// People are to be told something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notification {
    /// By which way.
    pub channel: Channel,
    /// Whom: addresses of that way, 1 to 256, each once.
    pub recipients: Vec<String>,
    /// How much it matters.
    pub severity: Severity,
    /// In short.
    pub subject: String,
    /// In full.
    pub text: String,
    /// Where to read more.
    #[serde(default)]
    pub link: Option<String>,
    /// Of several with the same key, only one is sent.
    #[serde(default)]
    pub dedupe_key: Option<String>,
}

impl Rules for Notification {
    fn check(&self, faults: &mut Faults) {
        faults
            .filled("recipients", &self.recipients)
            .fits("recipients", self.recipients.len(), RECIPIENTS)
            .distinct("recipients", &self.recipients)
            .name("subject", &self.subject)
            .text("text", &self.text)
            .name_if("dedupe_key", &self.dedupe_key);
        for recipient in self.recipients.iter().take(RECIPIENTS) {
            faults.address("recipients", recipient);
        }
        if let Some(link) = &self.link {
            faults.address("link", link);
        }
    }
}
