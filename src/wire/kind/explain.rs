//! All that is wrong with a JSON payload, when something is: the slow way that is taken after the fast one failed.
//!
//! serde stops at the first fault, so each field is put alone into a payload that is otherwise made up ([`Fill`]), and
//! read again. What serde then refuses is broken; the JSON Schema tells where inside. The rules are checked on the
//! fields that are whole, and count only if they are broken whatever stands in the others.
//!
//! Pure. Never empty; bounded by [`FAULTS`].

use std::collections::BTreeSet;

use jsonschema::Validator;
use jsonschema::error::{ValidationError, ValidationErrorKind};
use serde_json::{Map, Value, json};

use super::fill::{Fill, LEVELS};
use super::name::nearest;
use super::{Kind, Payload};
use crate::types::{MessageId, NodeId};
use crate::wire::fault::{Fault, FaultCode, Faults};

/// Faults told about one payload at most.
const FAULTS: usize = 64;
/// A fault's detail is cut after this many characters.
const DETAIL_CHARS: usize = 240;

type Object = Map<String, Value>;

/// Every fault of `value`, which serde refused as a payload of `kind` with `error`.
pub(super) fn faults_of(kind: Kind, value: &Value, error: &serde_json::Error) -> Faults {
    let mut faults = Faults::default();
    let Some(given) = value.as_object() else {
        faults.add(FaultCode::Malformed, "/payload", format!("the payload of {kind} is a JSON object"));
        return faults;
    };
    let fillings: Vec<Object> = LEVELS.iter().filter_map(|level| filling(kind, *level)).collect();
    let Some(filling) = fillings.first() else {
        return super::malformed(cut(&error.to_string()));
    };
    unknown_fields(kind, given, filling, &mut faults);
    let broken = broken_fields(kind, value, given, filling, &mut faults);
    for fault in broken_rules(kind, given, &fillings, &broken) {
        faults.add(fault.code, fault.path, fault.detail);
    }
    if faults.is_empty() {
        faults.add(FaultCode::Malformed, "/payload", cut(&error.to_string()));
    }
    bounded(faults)
}

/// The schema, ready to judge; none if it is no schema.
pub(super) fn compile(schema: &Value) -> Option<Validator> {
    let mut schema = schema.clone();
    if let Some(node) = schema.pointer_mut("/$defs/NodeId") {
        *node = json!({"type": "string", "format": "node-id"});
    }
    jsonschema::options()
        .should_validate_formats(true)
        .with_format("node-id", |text: &str| text.parse::<NodeId>().is_ok())
        .with_format("uuid", |text: &str| text.parse::<MessageId>().is_ok())
        .build(&schema)
        .ok()
}

/// The first line of a schema's description.
pub(super) fn first_line(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_string()
}

/// A made-up payload of `kind`, as JSON.
fn filling(kind: Kind, level: u64) -> Option<Object> {
    match Payload::read(kind, Fill(level)).ok()?.to_json() {
        Value::Object(fields) => Some(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    }
}

fn read(kind: Kind, fields: Object) -> Result<Payload, serde_json::Error> {
    Payload::read(kind, &Value::Object(fields))
}

fn unknown_fields(kind: Kind, given: &Object, filling: &Object, faults: &mut Faults) {
    for field in given.keys().filter(|field| !filling.contains_key(*field)).take(FAULTS) {
        faults.add(FaultCode::UnknownField, pointer(field), unknown_detail(kind, field, filling.keys()));
    }
}

fn unknown_detail<'a>(kind: Kind, field: &str, known: impl Iterator<Item = &'a String>) -> String {
    match nearest(&cut(field), known.map(String::as_str)) {
        Some(near) => format!("{kind} has no such field; did you mean `{near}`?"),
        None => format!("{kind} has no such field"),
    }
}

/// Notes missing and malformed fields, and names them.
fn broken_fields<'a>(
    kind: Kind,
    value: &Value,
    given: &Object,
    filling: &'a Object,
    faults: &mut Faults,
) -> BTreeSet<&'a str> {
    let mut broken = BTreeSet::new();
    let mut inside: Option<Faults> = None;
    for field in filling.keys() {
        let Err(error) = read_with(kind, filling, field, given.get(field)) else { continue };
        broken.insert(field.as_str());
        if !given.contains_key(field) {
            faults.add(FaultCode::MissingField, pointer(field), format!("{kind} needs this field"));
            continue;
        }
        let inside = inside.get_or_insert_with(|| {
            kind.validator().map(|schema| schema_faults(schema, value, "/payload", FAULTS)).unwrap_or_default()
        });
        let mut told = inside.as_slice().iter().filter(|fault| is_within(&fault.path, field)).peekable();
        if told.peek().is_none() {
            faults.add(FaultCode::Malformed, pointer(field), cut(&error.to_string()));
        }
        for fault in told {
            faults.add(fault.code, fault.path.clone(), fault.detail.clone());
        }
    }
    broken
}

/// Reads the filling with one field as it was given, or without it.
fn read_with(kind: Kind, filling: &Object, field: &str, given: Option<&Value>) -> Result<Payload, serde_json::Error> {
    let mut fields = filling.clone();
    match given {
        Some(value) => fields.insert(field.to_string(), value.clone()),
        None => fields.remove(field),
    };
    read(kind, fields)
}

/// The rules broken by the whole fields, whatever the broken ones would say.
fn broken_rules(kind: Kind, given: &Object, fillings: &[Object], broken: &BTreeSet<&str>) -> Vec<Fault> {
    let mut common: Option<Vec<Fault>> = None;
    for filling in fillings {
        let whole = |field: &&String| filling.contains_key(*field) && !broken.contains(field.as_str());
        let mut fields: Object = given.iter().filter(|(f, _)| whole(f)).map(|(f, v)| (f.clone(), v.clone())).collect();
        fields.extend(broken.iter().filter_map(|field| Some((field.to_string(), filling.get(*field)?.clone()))));
        let Ok(payload) = read(kind, fields) else { return Vec::new() };
        let mut faults = Faults::default();
        payload.check(&mut faults);
        common = Some(match common {
            None => faults.as_slice().to_vec(),
            Some(before) => before.into_iter().filter(|fault| faults.as_slice().contains(fault)).collect(),
        });
    }
    let mut common = common.unwrap_or_default();
    common.retain(|fault| !broken.iter().any(|field| is_within(&fault.path, field)));
    common
}

/// What a compiled schema says against `value`, at paths below `root`: at most `most` errors are told.
pub fn schema_faults(validator: &Validator, value: &Value, root: &str, most: usize) -> Faults {
    let mut faults = Faults::default();
    for error in validator.iter_errors(value).take(most) {
        describe(&error, root, &mut faults);
    }
    faults
}

fn describe(error: &ValidationError<'_>, root: &str, faults: &mut Faults) {
    let at = format!("{root}{}", error.instance_path().as_str());
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            for field in unexpected.iter().take(FAULTS) {
                faults.add(FaultCode::UnknownField, format!("{at}/{}", escape(field)), "no such field here");
            }
        }
        ValidationErrorKind::Required { property } => {
            let field = property.as_str().unwrap_or_default();
            faults.add(FaultCode::MissingField, format!("{at}/{}", escape(field)), "this field is needed");
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            let tagged = matches!(error.kind(), ValidationErrorKind::OneOfNotValid { .. });
            match context.iter().find(|branch| branch.iter().all(|inner| !refuses(tagged, error, inner))) {
                Some(branch) => branch.iter().for_each(|inner| describe(inner, root, faults)),
                None => faults.add(FaultCode::Malformed, at, choices(context)),
            }
        }
        _ => faults.add(FaultCode::Malformed, at, cut(&error.to_string())),
    }
}

/// Whether a branch's error says that the value was never meant for that branch.
fn refuses(tagged: bool, outer: &ValidationError<'_>, inner: &ValidationError<'_>) -> bool {
    let here = inner.instance_path().as_str() == outer.instance_path().as_str();
    let shape = matches!(
        inner.kind(),
        ValidationErrorKind::Type { .. } | ValidationErrorKind::Constant { .. } | ValidationErrorKind::Enum { .. }
    );
    here && (shape || tagged && matches!(inner.kind(), ValidationErrorKind::Required { .. }))
}

/// What would have been right where one of several was asked for.
fn choices(context: &[Vec<ValidationError<'_>>]) -> String {
    let allowed: BTreeSet<String> = context.iter().flatten().filter_map(|error| choice(error.kind())).collect();
    if allowed.is_empty() {
        return "none of the shapes allowed here".to_string();
    }
    cut(&format!("use one of {}", allowed.into_iter().collect::<Vec<_>>().join(", ")))
}

fn choice(error: &ValidationErrorKind) -> Option<String> {
    match error {
        ValidationErrorKind::Constant { expected_value } => Some(expected_value.to_string()),
        ValidationErrorKind::Enum { options } => Some(options.to_string()),
        ValidationErrorKind::Required { property } => Some(format!("{{{property}: …}}")),
        _ => None,
    }
}

fn is_within(path: &str, field: &str) -> bool {
    path.strip_prefix(&pointer(field)).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The JSON pointer of a field of the payload.
fn pointer(field: &str) -> String {
    format!("/payload/{}", escape(field))
}

/// A name as a part of a JSON pointer (RFC 6901, section 3).
fn escape(name: &str) -> String {
    cut(name).replace('~', "~0").replace('/', "~1")
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(DETAIL_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

fn bounded(faults: Faults) -> Faults {
    let mut told = Faults::default();
    for fault in faults.as_slice().iter().take(FAULTS) {
        told.add(fault.code, fault.path.clone(), fault.detail.clone());
    }
    told
}
