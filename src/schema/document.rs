//! A schema document: JSON Schema, draft 2020-12, without what could run away.
//!
//! What is bounded, and how:
//!
//! - size: 32 KiB of compact text, 32 levels; with its references put in at most 4,096 subschemas, 64 levels;
//! - references: only to `#/$defs/NAME`, never in a circle, so that checking ends; nothing is ever fetched;
//! - patterns: in the `regex` crate's language, which is matched in time linear in the text; 256 bytes each, 64 KiB
//!   compiled. There is no looking around and no back reference;
//! - the product of subschemas and values of a body: [`WORK`], beyond which a body is refused unlooked at;
//! - keywords: a closed list. One that is not on it is refused: nobody is to believe that it is checked.

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value};

use crate::wire::kind::schemas::SCHEMA_BYTES;
use crate::wire::{FaultCode, Faults};

/// Levels of a document as it is written.
const DEPTH: usize = 32;
/// Levels of a document with its references put in.
const EXPANDED_DEPTH: usize = 64;
/// Subschemas of a document with its references put in.
const SUBSCHEMAS: usize = 4_096;
/// A pattern, bytes.
const PATTERN_BYTES: usize = 256;
/// A compiled pattern, bytes.
const COMPILED_BYTES: usize = 64 * 1024;
/// Subschemas and listed values, times values of a body.
const WORK: u64 = 20_000_000;
/// Faults told of one document or body.
const FAULTS: usize = 64;
/// Numbers in a document are smaller than this: all integers below it are exact.
const EXACT: f64 = 9_007_199_254_740_992.0;
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Where a keyword has subschemas.
enum Children {
    /// Nowhere.
    None,
    /// Its value is one.
    One,
    /// In a list.
    Many,
    /// In a map, by name.
    Named,
}

/// Every keyword that a document may use.
fn children(keyword: &str) -> Option<Children> {
    Some(match keyword {
        "additionalProperties" | "items" | "contains" | "not" | "if" | "then" | "else" | "propertyNames" => {
            Children::One
        }
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => Children::Many,
        "properties" | "patternProperties" | "dependentSchemas" | "$defs" => Children::Named,
        "$ref" | "type" | "enum" | "const" | "required" | "dependentRequired" | "pattern" | "minLength"
        | "maxLength" | "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" | "minItems"
        | "maxItems" | "uniqueItems" | "minContains" | "maxContains" | "minProperties" | "maxProperties" => {
            Children::None
        }
        note if is_note(note) => Children::None,
        _ => return None,
    })
}

/// Whether a keyword only tells people something. `format` is one: it is not checked (draft 2020-12, section 7.2.1).
pub(super) fn is_note(keyword: &str) -> bool {
    matches!(
        keyword,
        "$schema"
            | "$comment"
            | "$defs"
            | "title"
            | "description"
            | "default"
            | "examples"
            | "deprecated"
            | "readOnly"
            | "writeOnly"
            | "format"
    )
}

/// A schema that was looked through and compiled.
#[derive(Debug)]
pub struct Document {
    source: Value,
    expanded: Value,
    weight: u64,
    validator: Validator,
}

impl Document {
    /// Looks a schema through. Fails with everything that is wrong with it, at paths below `at`.
    pub fn read(source: &Value, at: &str) -> Result<Document, Faults> {
        let mut walk = Walk { at, faults: Faults::default() };
        walk.document(source);
        walk.faults.or(())?;
        let mut expansion = Expansion { root: source, subschemas: 0, weight: 0, open: Vec::new() };
        let expanded = expansion.schema(source, 0).map_err(|(code, detail)| one(code, at, &detail))?;
        let validator = compile(&expanded).map_err(|detail| one(FaultCode::Malformed, at, &detail))?;
        Ok(Document { source: source.clone(), expanded, weight: expansion.weight.max(1), validator })
    }

    /// As it was given.
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// With its references put in.
    pub(super) fn expanded(&self) -> &Value {
        &self.expanded
    }

    /// Everything about `body` that this schema does not allow, at paths below `at`.
    pub fn check(&self, body: &Value, at: &str) -> Faults {
        if self.weight.saturating_mul(values(body)) > WORK {
            let detail = "has too many values for a schema of this size to be checked";
            return one(FaultCode::TooLarge, at, detail);
        }
        crate::wire::kind::schema_faults(&self.validator, body, at, FAULTS)
    }

    /// Whether the schema allows `body`; for values of documents, which are small.
    pub fn allows(&self, body: &Value) -> bool {
        self.validator.is_valid(body)
    }
}

/// Compiles what has no references. Nothing is fetched, formats are not checked, patterns are linear.
pub(super) fn compile(expanded: &Value) -> Result<Validator, String> {
    let patterns = PatternOptions::regex().size_limit(COMPILED_BYTES).dfa_size_limit(COMPILED_BYTES);
    let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(false);
    options.with_pattern_options(patterns).build(expanded).map_err(|error| {
        let place = error.instance_path().as_str().to_string();
        format!("cannot be used{}: {error}", if place.is_empty() { place } else { format!(" at {place}") })
    })
}

/// How many values a JSON value has, itself included.
fn values(value: &Value) -> u64 {
    match value {
        Value::Array(items) => 1 + items.iter().map(values).sum::<u64>(),
        Value::Object(fields) => 1 + fields.values().map(values).sum::<u64>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

fn one(code: FaultCode, at: &str, detail: &str) -> Faults {
    let mut faults = Faults::default();
    faults.add(code, at, detail);
    faults
}

/// A name as a part of a JSON pointer (RFC 6901, section 3).
pub(super) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Looks through a document as it is written.
struct Walk<'a> {
    at: &'a str,
    faults: Faults,
}

impl Walk<'_> {
    fn document(&mut self, source: &Value) {
        let size = source.to_string().len();
        if size > SCHEMA_BYTES {
            self.fault(FaultCode::TooLarge, "", format!("has {size} bytes; {SCHEMA_BYTES} are allowed"));
            return;
        }
        if !source.is_object() {
            self.fault(FaultCode::Malformed, "", "a schema is a JSON object, such as {\"type\": \"object\"}".into());
            return;
        }
        if let Some(dialect) = source.get("$schema")
            && dialect.as_str().map(|text| text.trim_end_matches('#')) != Some(DIALECT)
        {
            self.fault(FaultCode::Malformed, "/$schema", format!("must be {DIALECT}, or absent"));
        }
        self.schema(source, "", 0);
        if self.faults.is_empty() {
            let meta = jsonschema::draft202012::meta::validator();
            for error in meta.iter_errors(source).take(FAULTS) {
                let path = error.instance_path().as_str().to_string();
                self.fault(FaultCode::Malformed, &path, error.to_string().chars().take(240).collect());
            }
        }
    }

    fn fault(&mut self, code: FaultCode, path: &str, detail: String) {
        if self.faults.as_slice().len() < FAULTS {
            self.faults.add(code, format!("{}{path}", self.at), detail);
        }
    }

    fn schema(&mut self, schema: &Value, path: &str, depth: usize) {
        let Some(members) = schema.as_object() else { return };
        if depth > DEPTH {
            self.fault(FaultCode::TooLarge, path, format!("is nested deeper than {DEPTH} levels"));
            return;
        }
        for (keyword, value) in members {
            let path = format!("{path}/{}", escape(keyword));
            let Some(children) = children(keyword) else {
                self.fault(FaultCode::UnknownField, &path, "is not a keyword that this registry takes".into());
                continue;
            };
            self.keyword(keyword, value, &path);
            match (children, value) {
                (Children::One, value) => self.schema(value, &path, depth + 1),
                (Children::Many, Value::Array(items)) => {
                    for (index, item) in items.iter().enumerate() {
                        self.schema(item, &format!("{path}/{index}"), depth + 1);
                    }
                }
                (Children::Named, Value::Object(named)) => {
                    for (name, item) in named {
                        self.schema(item, &format!("{path}/{}", escape(name)), depth + 1);
                    }
                }
                // What has the wrong shape is told by the meta-schema.
                (Children::None | Children::Many | Children::Named, _) => {}
            }
        }
    }

    fn keyword(&mut self, keyword: &str, value: &Value, path: &str) {
        let patterns: Vec<&str> = match keyword {
            "pattern" => value.as_str().into_iter().collect(),
            "patternProperties" => value.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect(),
            _ => Vec::new(),
        };
        if patterns.iter().any(|pattern| pattern.len() > PATTERN_BYTES) {
            self.fault(FaultCode::TooLarge, path, format!("a pattern has at most {PATTERN_BYTES} bytes"));
        }
        let checked = !is_note(keyword) && !matches!(keyword, "const" | "enum");
        if checked && value.as_f64().is_some_and(|number| number.abs() >= EXACT) {
            self.fault(FaultCode::TooLarge, path, "is 2^53 or more, where numbers are not exact any more".into());
        }
        if keyword == "$ref" && value.as_str().is_some_and(|target| definition(target).is_none()) {
            let detail = "refer to `#/$defs/NAME` only: nothing is fetched, and everything stands in one document";
            self.fault(FaultCode::Malformed, path, detail.into());
        }
    }
}

/// The name in a reference to a definition of the same document.
fn definition(target: &str) -> Option<&str> {
    target.strip_prefix("#/$defs/").filter(|name| !name.is_empty() && !name.contains(['/', '~', '%']))
}

/// Puts references in.
struct Expansion<'a> {
    root: &'a Value,
    subschemas: usize,
    weight: u64,
    /// Definitions being put in.
    open: Vec<String>,
}

type Expanded = Result<Value, (FaultCode, String)>;

impl Expansion<'_> {
    fn schema(&mut self, schema: &Value, depth: usize) -> Expanded {
        self.subschemas += 1;
        if self.subschemas > SUBSCHEMAS || depth > EXPANDED_DEPTH {
            let detail = format!(
                "with its references put in, it has more than {SUBSCHEMAS} subschemas or {EXPANDED_DEPTH} levels"
            );
            return Err((FaultCode::TooLarge, detail));
        }
        self.weight += 1;
        let Some(members) = schema.as_object() else { return Ok(schema.clone()) };
        let mut expanded = Map::new();
        for (keyword, value) in members.iter().filter(|(keyword, _)| !is_note(keyword) && *keyword != "$ref") {
            self.weight += value.as_array().filter(|_| keyword == "enum").map_or(0, |listed| listed.len() as u64);
            expanded.insert(keyword.clone(), self.keyword(keyword, value, depth)?);
        }
        let Some(target) = members.get("$ref").and_then(Value::as_str) else { return Ok(Value::Object(expanded)) };
        let target = self.target(target, depth)?;
        if expanded.is_empty() {
            return Ok(target);
        }
        // Beside other keywords a reference is one more thing that must hold.
        let own = Value::Object(expanded);
        Ok(Value::Object(Map::from_iter([("allOf".to_string(), Value::Array(vec![target, own]))])))
    }

    fn keyword(&mut self, keyword: &str, value: &Value, depth: usize) -> Expanded {
        match (children(keyword), value) {
            (Some(Children::One), value) => self.schema(value, depth + 1),
            (Some(Children::Many), Value::Array(items)) => {
                items.iter().map(|item| self.schema(item, depth + 1)).collect::<Result<Vec<_>, _>>().map(Value::Array)
            }
            (Some(Children::Named), Value::Object(named)) => {
                let named = named.iter().map(|(name, item)| Ok((name.clone(), self.schema(item, depth + 1)?)));
                named.collect::<Result<Map<_, _>, _>>().map(Value::Object)
            }
            _ => Ok(value.clone()),
        }
    }

    fn target(&mut self, target: &str, depth: usize) -> Expanded {
        let name = definition(target).unwrap_or_default();
        let Some(found) = self.root.get("$defs").and_then(|defs| defs.get(name)) else {
            return Err((FaultCode::MissingField, format!("`{target}` is not in $defs")));
        };
        if self.open.iter().any(|open| open == name) {
            return Err((FaultCode::Malformed, format!("`{target}` leads back to itself; give it an end")));
        }
        self.open.push(name.to_string());
        let expanded = self.schema(found, depth + 1);
        self.open.pop();
        expanded
    }
}
