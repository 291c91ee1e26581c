//! The API's own description: OpenAPI 3.1, made from the code that answers.
//!
//! Paths and parameters come from the handlers, schemas from the types they write and from the kinds' payloads.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};

use super::accounts::{AccountInfo, AccountTransactions};
use super::blocks::{BlockInfo, BlockRecords, Blocks};
use super::cells::{Again, Batch, Put, WrittenCells};
use super::chain::{Submission, Submitted};
use super::chain_rows::ChainRows;
use super::changes::StateEvents;
use super::collections::{Checked, Collections, Conflicts, History};
use super::consume::{DeliveryForm, Fetch, FetchedForm, Settle, SettledMessages};
use super::consumers::{Pause, SubscriptionForm, Subscriptions};
use super::dead_letters::{DeadLetters, FoundDeadLetter, Selection, Swept};
use super::economy::{Supply, Validators};
use super::endorsements::{EndorsementInfo, ExtentForm, ExtentInfo};
use super::envelope::Envelope;
use super::floors::{FloorSet, NewFloor};
use super::flow::{AlertList, Flow};
use super::governance::{ChainRules, ProposalInfo, Proposals, Votes};
use super::graphs::{GraphAt, GraphEdges, GraphEvent, GraphNodes, Neighbours, PathsChanged, ShortestPaths};
use super::health::{Alive, Readiness};
use super::keys::{Rotated, SealingKeys};
use super::kinds::{KindSchema, Kinds};
use super::messages::{Conversation, FoundMessage, Messages};
use super::nodes::{Nodes, Topology};
use super::packs::PackTaken;
use super::peers::{Ban, Dial, Peers};
use super::pending::WriteState;
use super::perturbation::{Perturb, Perturbations};
use super::problem::{Cause, Problem, ProblemForm};
use super::publish::Published;
use super::queues::Schedule;
use super::routes::described;
use super::schemas::{NewSchema, SchemaCheck, SchemaHistory, SchemaToCheck, SchemaVersion, Schemas};
use super::status::NodeState;
use super::transactions::TransactionInfo;
use crate::crdt::{Cell, Floors, Listed};
use crate::graph::{EdgeWant, NodeWant};
use crate::node::{AgreementStatus, Explained, Joined, Outbox, PeerInfo, Queues, SubscriptionInfo};
use crate::types::MessageId;
use crate::wire::{Destination, Kind, Priority};

/// Where schemas are in the document.
const SCHEMAS: &str = "#/components/schemas/";

/// A message to be published; `payload` has the schema of its kind.
#[derive(schemars::JsonSchema)]
#[schemars(rename = "Message", deny_unknown_fields)]
#[allow(dead_code, reason = "describes what the intake reads")]
struct MessageForm {
    /// What it is: `Data/ExchangeData`. Or give `category` and `message_type`.
    kind: Option<String>,
    /// Its category, with `message_type`.
    category: Option<String>,
    /// Its type.
    message_type: Option<String>,
    /// What it says; see `/v1/kinds/{kind}`.
    payload: Value,
    /// How urgent; by default Normal.
    priority: Option<Priority>,
    /// For whom; by default everyone.
    destination: Option<Destination>,
    /// The conversation it belongs to.
    correlation_id: Option<MessageId>,
    /// The message it follows from.
    parent_id: Option<MessageId>,
    /// After this it means nothing, milliseconds since 1970.
    expires_at: Option<u64>,
    /// Words to filter by, at most 32.
    tags: Option<Vec<String>>,
    /// The application's own entries, at most 32.
    headers: Option<std::collections::BTreeMap<String, String>>,
    /// Only the node it is for may read the payload: it is sealed before it leaves the API.
    sealed: Option<bool>,
    /// A second message with this key within ten minutes is the first.
    idempotency_key: Option<String>,
}

/// The document without its paths.
pub(super) fn head() -> OpenApi {
    let about = "Messages, peers and state of one metanode. For programs on the same machine: it has no tokens, and \
                 refuses pages of other sites. Errors are problem details (RFC 9457).";
    let info = InfoBuilder::new().title("metanode").version(env!("CARGO_PKG_VERSION")).description(Some(about));
    OpenApiBuilder::new().info(info.build()).build()
}

/// The document.
pub fn document() -> Value {
    let (_, paths) = described().split_for_parts();
    let mut document = serde_json::to_value(paths).unwrap_or_default();
    let schemas = Value::Object(schemas());
    match document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        Some(known) => known.extend(schemas.as_object().cloned().unwrap_or_default()),
        None => {
            if let Some(members) = document.as_object_mut() {
                members.insert("components".into(), json!({ "schemas": schemas }));
            }
        }
    }
    document
}

/// The API's description.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "node",
    responses((status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/json")),
)]
pub async fn show() -> Result<Response, Problem> {
    static TEXT: LazyLock<Result<Vec<u8>, String>> =
        LazyLock::new(|| serde_json::to_vec(&document()).map_err(|e| e.to_string()));
    let made = tokio::task::spawn_blocking(|| TEXT.as_ref()).await;
    match made {
        Ok(Ok(text)) => Ok(([(axum::http::header::CONTENT_TYPE, "application/json")], text.as_slice()).into_response()),
        Ok(Err(e)) => Err(Problem::new(Cause::Internal, e.clone())),
        Err(e) => Err(Problem::new(Cause::Internal, e.to_string())),
    }
}

fn schemas() -> Map<String, Value> {
    let settings = SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into());
    let mut generator: SchemaGenerator = settings.into_generator();
    macro_rules! describe {
        ($($type:ty),* $(,)?) => {
            $(generator.subschema_for::<$type>();)*
        };
    }
    describe!(
        Again,
        AlertList,
        Alive,
        Ban,
        Batch,
        Cell,
        Checked,
        Collections,
        Conflicts,
        Conversation<'_>,
        DeadLetters,
        DeliveryForm,
        Flow,
        Dial,
        Envelope<'_>,
        Explained,
        Fetch,
        FetchedForm,
        FoundDeadLetter<'_>,
        FoundMessage<'_>,
        EdgeWant,
        GraphAt,
        GraphEdges,
        GraphEvent,
        GraphNodes,
        Neighbours,
        NodeWant,
        PathsChanged,
        ShortestPaths,
        History,
        KindSchema,
        Kinds,
        Listed,
        MessageForm,
        Messages<'_>,
        NewSchema,
        NodeState,
        Outbox,
        Nodes,
        Pause,
        PeerInfo,
        Peers,
        Perturb,
        Perturbations,
        Queues,
        Schedule,
        SchemaCheck,
        SchemaHistory,
        SchemaToCheck,
        SchemaVersion,
        Schemas,
        SealingKeys,
        ProblemForm,
        Published,
        Put,
        Readiness,
        Rotated,
        AgreementStatus,
        AccountInfo,
        AccountTransactions,
        BlockInfo,
        BlockRecords,
        Blocks,
        ChainRows,
        ChainRules,
        ProposalInfo,
        Proposals,
        PackTaken,
        Joined,
        ExtentInfo,
        ExtentForm,
        EndorsementInfo,
        Floors,
        FloorSet,
        NewFloor,
        Submission,
        Submitted,
        Supply,
        TransactionInfo,
        Validators,
        Votes,
        Selection,
        Settle,
        SettledMessages,
        StateEvents,
        SubscriptionForm,
        SubscriptionInfo,
        Subscriptions,
        Swept,
        Topology,
        WriteState,
        WrittenCells,
    );
    let mut schemas = generator.take_definitions(true);
    for kind in Kind::ALL {
        add_payload(*kind, &mut schemas);
    }
    schemas
}

/// Adds the schema of a kind's payload as `Category.Type`, and its parts as `Category.Type.Part`.
fn add_payload(kind: Kind, schemas: &mut Map<String, Value>) {
    let name = format!("{}.{}", kind.category(), kind.name());
    let mut schema = kind.schema();
    renamed(&mut schema, &name);
    let parts = schema.as_object_mut().and_then(|members| {
        members.remove("$schema");
        members.remove("$defs")
    });
    if let Some(Value::Object(parts)) = parts {
        schemas.extend(parts.into_iter().map(|(part, schema)| (format!("{name}.{part}"), schema)));
    }
    schemas.insert(name, schema);
}

/// Points references at where the parts are in the document.
fn renamed(schema: &mut Value, name: &str) {
    match schema {
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(to) if key == "$ref" => {
                        if let Some(part) = to.strip_prefix("#/$defs/") {
                            *to = format!("{SCHEMAS}{name}.{part}");
                        }
                    }
                    _ => renamed(value, name),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| renamed(item, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
