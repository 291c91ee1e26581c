//! Every kind against its golden vector, and what must hold of all of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fill::{Fill, LEVELS};
use super::name::nearest;
use super::system::{Layer, NodeType};
use super::*;
use crate::types::limits;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/kinds.json");

/// A kind's payload in both forms, and a broken one with all that is wrong with it.
#[derive(Serialize, Deserialize)]
struct Vector {
    kind: String,
    tag: u16,
    payload: Value,
    bincode: String,
    broken: Value,
    faults: Vec<Expected>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Expected {
    code: String,
    path: String,
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/kinds.json"))).unwrap()
}

fn seen(faults: &Faults) -> Vec<Expected> {
    let code = |fault: &crate::wire::Fault| json!(fault.code).as_str().unwrap().to_string();
    let mut seen: Vec<_> =
        faults.as_slice().iter().map(|fault| Expected { code: code(fault), path: fault.path.clone() }).collect();
    seen.sort();
    seen
}

/// Writes the bytes of today's code into the vectors; a change of them is a change of the wire.
fn update(mut vectors: Vec<Vector>) {
    for vector in &mut vectors {
        let kind: Kind = vector.kind.parse().unwrap();
        vector.bincode = hex::encode(Payload::from_json(kind, &vector.payload).unwrap().encode());
    }
    let entries: Vec<String> = vectors.iter().map(written).collect();
    std::fs::write(VECTORS, format!("[\n{}\n]\n", entries.join(",\n"))).unwrap();
}

/// A vector as it stands in the file: one line for each of its parts.
fn written(vector: &Vector) -> String {
    let Vector { kind, tag, payload, bincode, broken, faults } = vector;
    format!(
        "{{\"kind\": {}, \"tag\": {tag},\n \"payload\": {payload},\n \"bincode\": {},\n \
         \"broken\": {broken},\n \"faults\": {}}}",
        json!(kind),
        json!(bincode),
        json!(faults)
    )
}

#[test]
fn every_kind_keeps_its_golden_vector() {
    let vectors = vectors();
    if std::env::var_os("UPDATE_VECTORS").is_some_and(|on| on == "1") {
        return update(vectors);
    }
    let named: Vec<Kind> = vectors.iter().map(|vector| vector.kind.parse().unwrap()).collect();
    assert_eq!(named, Kind::ALL, "each kind once, in the order of the table");
    for (vector, kind) in vectors.iter().zip(named) {
        assert_eq!((vector.kind.clone(), vector.tag), (kind.to_string(), kind.tag()));
        let payload = Payload::from_json(kind, &vector.payload).unwrap_or_else(|faults| panic!("{kind}: {faults}"));
        let text = vector.payload.to_string();
        assert_eq!(Payload::from_json_str(kind, &text).as_ref(), Ok(&payload), "{kind}");
        assert_eq!(payload.kind(), kind);
        assert_eq!(hex::encode(payload.encode()), vector.bincode, "{kind}");
        let decoded = Payload::decode(kind, &hex::decode(&vector.bincode).unwrap()).unwrap();
        assert_eq!(decoded.to_json(), vector.payload, "{kind}");
        let validator = kind.validator().unwrap_or_else(|| panic!("{kind} has no schema"));
        assert!(validator.is_valid(&vector.payload), "{kind}: {:?}", validator.validate(&vector.payload));
    }
}

#[test]
fn a_broken_payload_tells_all_its_faults_at_once() {
    for vector in vectors() {
        let kind: Kind = vector.kind.parse().unwrap();
        let mut expected = vector.faults.clone();
        expected.sort();
        let faults = Payload::from_json(kind, &vector.broken).unwrap_err();
        assert_eq!(seen(&faults), expected, "{kind}: {faults:#?}");
        let from_text = Payload::from_json_str(kind, &vector.broken.to_string()).unwrap_err();
        assert_eq!(from_text, faults, "{kind}");
        let classes: BTreeSet<_> = faults.as_slice().iter().map(|fault| json!(fault.class).to_string()).collect();
        assert_eq!(classes.len(), 2, "{kind} shows schema and business faults together: {classes:?}");
    }
}

#[test]
fn eighty_seven_kinds_with_unique_names_and_one_line_each() {
    assert_eq!(Kind::ALL.len(), 87);
    let names: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name().to_ascii_lowercase()).collect();
    assert_eq!(names.len(), Kind::ALL.len());
    let mut counts = BTreeMap::new();
    for kind in Kind::ALL {
        *counts.entry(kind.category()).or_insert(0) += 1;
        let line = kind.description();
        assert!((10..=100).contains(&line.len()) && line.ends_with('.'), "{kind}: {line:?}");
        assert_eq!(kind.schema()["title"], kind.name());
    }
    assert_eq!(counts.values().copied().collect::<Vec<_>>(), [12, 12, 14, 15, 10, 14, 7, 3]);
    let ephemeral: Vec<_> = Kind::ALL.iter().filter(|kind| kind.is_ephemeral()).collect();
    assert_eq!(ephemeral, [&Kind::Heartbeat, &Kind::LinkReport, &Kind::GraphUpdate, &Kind::Metrics]);
}

#[test]
fn tags_and_names_lead_back_to_their_kind() {
    assert!(Kind::ALL.is_sorted());
    for tag in 0..=u16::MAX {
        assert!(Kind::from_tag(tag).is_none_or(|kind| kind.tag() == tag));
    }
    for kind in Kind::ALL {
        assert_eq!(Kind::from_tag(kind.tag()), Some(*kind));
        assert_eq!(kind.tag() >> 8, u16::from(kind.category().tag()));
        for name in [kind.to_string(), kind.name().to_string(), kind.to_string().to_lowercase()] {
            assert_eq!(name.parse::<Kind>().as_ref(), Ok(kind));
        }
    }
    for category in Category::ALL {
        assert_eq!(Category::from_tag(category.tag()), Some(category));
        assert_eq!(category.slug().parse::<Category>(), Ok(category));
        assert_eq!(json!(category), category.name());
    }
    assert_eq!(Category::from_tag(0), None);
    assert_eq!(Category::from_tag(9), None);
}

#[test]
fn an_unknown_name_suggests_the_nearest_and_where_the_list_is() {
    let error = "ExchangData".parse::<Kind>().unwrap_err().to_string();
    assert_eq!(
        error,
        "`ExchangData` is not a kind of message: did you mean `ExchangeData`? `metanode kinds` lists them"
    );
    let error = "data/exchangedate".parse::<Kind>().unwrap_err().to_string();
    assert!(error.contains("did you mean `Data/ExchangeData`?"), "{error}");
    let error = "Nonsense".parse::<Kind>().unwrap_err().to_string();
    assert_eq!(error, "`Nonsense` is not a kind of message: `metanode kinds` lists them");
    assert!("Sytem".parse::<Category>().unwrap_err().to_string().contains("`System`"));
    assert!("x".repeat(1 << 20).parse::<Kind>().unwrap_err().to_string().len() < 300);
    assert_eq!(nearest("", ["a", "bc"].into_iter()), Some("a"));
}

#[test]
fn node_types_and_layers_are_named_as_in_the_documents() {
    assert_eq!((NodeType::ALL.len(), Layer::ALL.len()), (16, 6));
    for node_type in NodeType::ALL {
        assert_eq!(node_type.name().to_uppercase().parse(), Ok(node_type));
        assert_eq!(json!(node_type), node_type.to_string());
    }
    for layer in Layer::ALL {
        assert_eq!(layer.name().parse(), Ok(layer));
        assert_eq!(serde_json::from_value::<Layer>(json!(layer.name())).unwrap(), layer);
    }
}

#[test]
fn trades_as_exchanges_give_them_are_payloads_and_come_back_digit_for_digit() {
    let lines = [
        r#"{"exchange": "binance", "symbol": "XRP/ETH", "time_ms": 1570752011620, "trade_id": "13519807",
            "side": "sell", "price": 0.00141342, "amount": 23.0, "cost": 0.03250866}"#,
        r#"{"exchange": "binance", "symbol": "XRP/ETH", "time_ms": 1570752018035, "trade_id": "13519810",
            "side": "buy", "price": 0.00141389, "amount": 1.0, "cost": 0.00141389}"#,
    ];
    for line in lines {
        let trade = Payload::from_json_str(Kind::ExchangeData, line).unwrap();
        let decoded = Payload::decode(Kind::ExchangeData, &trade.encode()).unwrap();
        assert_eq!(decoded.to_json(), serde_json::from_str::<Value>(line).unwrap());
    }
}

#[test]
fn payloads_stay_small_enough_to_move() {
    assert!(size_of::<Payload>() <= 256, "{} bytes", size_of::<Payload>());
}

#[test]
fn every_kind_can_be_made_up_at_every_level() {
    for kind in Kind::ALL {
        for level in LEVELS {
            let payload = Payload::read(*kind, Fill(level)).unwrap_or_else(|e| panic!("{kind} at {level}: {e}"));
            let json = payload.to_json();
            assert_eq!(Payload::read(*kind, &json).unwrap_or_else(|e| panic!("{kind}: {e}")), payload);
            assert_eq!(Payload::decode(*kind, &payload.encode()).unwrap(), payload, "{kind}");
        }
    }
}

#[test]
fn what_is_no_object_or_no_json_is_malformed_as_a_whole() {
    for text in ["", "{", "[]", "null", "7", "{} {}", "\"x\""] {
        let faults = Payload::from_json_str(Kind::Custom, text).unwrap_err();
        assert_eq!(seen(&faults), [Expected { code: "malformed".into(), path: "/payload".into() }], "{text}");
    }
    let twice = r#"{"type_name":"a","type_name":"b","schema_version":1,"content_type":"a/b","body":""}"#;
    let faults = Payload::from_json_str(Kind::Custom, twice).unwrap_err();
    assert!(faults.to_string().contains("duplicate field"), "{faults}");
}

#[test]
fn faults_point_inside_lists_options_and_tagged_events() {
    let broken = json!({"graph": "g", "events": [
        {"node_removed": {"id": "a"}},
        {"node_moved": {"id": 7, "position": {"x": 0.0, "y": 0.0}, "velocity": {"x": 0.0, "y": 0.0, "z": 0.0}}},
        {"node_vanished": {"id": "a"}},
        {"edge_deleted": {"id": "e", "force/now": true}},
    ]});
    let faults = Payload::from_json(Kind::GraphUpdate, &broken).unwrap_err();
    let expected = [
        ("malformed", "/payload/events/1/node_moved/id"),
        ("malformed", "/payload/events/2"),
        ("missing_field", "/payload/events/1/node_moved/position/z"),
        ("unknown_field", "/payload/events/3/edge_deleted/force~1now"),
    ];
    assert_eq!(seen(&faults), expected.map(|(code, path)| Expected { code: code.into(), path: path.into() }));
}

#[test]
fn rules_are_told_only_if_they_are_broken_whatever_is_missing() {
    let whole = vectors().into_iter().find(|vector| vector.kind == "Economic/ServiceBilling").unwrap().payload;
    for field in whole.as_object().unwrap().keys() {
        let mut broken = whole.clone();
        broken.as_object_mut().unwrap().remove(field);
        let faults = Payload::from_json(Kind::ServiceBilling, &broken).unwrap_err();
        let missing = Expected { code: "missing_field".into(), path: format!("/payload/{field}") };
        assert_eq!(seen(&faults), [missing]);
    }
}

#[test]
fn no_missing_field_of_any_kind_invents_a_fault_elsewhere() {
    for vector in vectors() {
        let kind: Kind = vector.kind.parse().unwrap();
        for field in vector.payload.as_object().unwrap().keys() {
            let mut broken = vector.payload.clone();
            broken[field] = json!({"no": ["such", "thing"]});
            let Err(faults) = Payload::from_json(kind, &broken) else { continue };
            let at = format!("/payload/{field}");
            assert!(faults.as_slice().iter().all(|fault| fault.path.starts_with(&at)), "{kind} {field}: {faults:#?}");
        }
    }
}

#[test]
fn the_binary_form_is_read_to_its_end_and_within_its_bound() {
    for vector in vectors() {
        let kind: Kind = vector.kind.parse().unwrap();
        let mut bytes = hex::decode(&vector.bincode).unwrap();
        assert!(Payload::decode(kind, &bytes[..bytes.len() - 1]).is_err(), "{kind}");
        bytes.push(0);
        assert!(Payload::decode(kind, &bytes).is_err(), "{kind}");
    }
    let body = |size| {
        Payload::Custom(external::Custom {
            type_name: "a".into(),
            schema_version: 1,
            content_type: "a/b".into(),
            body: Blob(vec![0; size]),
        })
    };
    assert!(Payload::decode(Kind::Custom, &body(BODY_BYTES).encode()).is_ok());
    let mut faults = Faults::default();
    body(BODY_BYTES + 1).check(&mut faults);
    assert_eq!(seen(&faults), [Expected { code: "too_large".into(), path: "/payload/body".into() }]);
}

#[test]
fn a_heartbeat_is_bounded_and_names_each_feed_once() {
    let head = |n: u64| system::FeedHead {
        topic: Category::Data,
        incarnation: crate::types::Incarnation(n),
        sequence: n,
        hash: crate::types::Hash([1; 32]),
    };
    let heartbeat = |heads: Vec<system::FeedHead>| {
        let hash = crate::types::Hash([2; 32]);
        let clock_ms = crate::types::WallMs(1_700_000_000_000);
        let roots = vec![system::TopicRoot { topic: Category::Data, root: hash }];
        let payload =
            system::Heartbeat { uptime_s: 1, peers: 3, messages: 9, roots, state_root: None, clock_ms, heads };
        let mut faults = Faults::default();
        payload.check(&mut faults);
        faults
    };
    assert!(heartbeat((0..64).map(head).collect()).is_empty());
    assert_eq!(seen(&heartbeat((0..65).map(head).collect()))[0].code, "too_large");
    assert_eq!(seen(&heartbeat(vec![head(1), head(1)]))[0].path, "/payload/heads");
}

#[test]
fn numbers_that_are_none_are_refused_in_the_binary_form_too() {
    let line =
        r#"{"exchange":"a","symbol":"b","time_ms":1,"trade_id":"c","side":"buy","price":1.0,"amount":1.0,"cost":1.0}"#;
    let Ok(Payload::ExchangeData(trade)) = Payload::from_json_str(Kind::ExchangeData, line) else { panic!("a trade") };
    for price in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
        let bytes = Payload::ExchangeData(data::ExchangeData { price, ..trade.clone() }).encode();
        let mut faults = Faults::default();
        Payload::decode(Kind::ExchangeData, &bytes).unwrap().check(&mut faults);
        assert_eq!(seen(&faults), [Expected { code: "rule".into(), path: "/payload/price".into() }]);
    }
}

#[test]
fn free_json_and_large_amounts_keep_their_value_in_both_forms() {
    let value = json!({"a": [1, 2.5, null, "x"], "b": {"c": true}});
    let bytes = bincode::serde::encode_to_vec(Json::from(&value), BINARY).unwrap();
    let (back, _): (Json, usize) = bincode::serde::decode_from_slice(&bytes, BINARY).unwrap();
    assert_eq!(json!(back), value);
    let broken = bincode::serde::encode_to_vec("{", BINARY).unwrap();
    assert!(bincode::serde::decode_from_slice::<Json, _>(&broken, BINARY).is_err());
    // A text within a text, each as deep as what is read, but together deeper: it could not be shown to anyone.
    let inner = "[".repeat(100) + &"]".repeat(100);
    let within = "[".repeat(100) + &json!({ "$serde_json::private::RawValue": inner }).to_string() + &"]".repeat(100);
    let hidden = bincode::serde::encode_to_vec(&within, BINARY).unwrap();
    let refused = bincode::serde::decode_from_slice::<Json, _>(&hidden, BINARY).unwrap_err().to_string();
    assert!(refused.contains("too deep"), "{refused}");
    assert!(serde_json::from_str::<Json>(&within).is_err());
    assert_eq!(json!(Amount(u128::MAX)), "340282366920938463463374607431768211455");
    assert!(serde_json::from_value::<Amount>(json!("-1")).is_err());
    assert!(serde_json::from_value::<Blob>(json!("abc")).is_err());
}

fn any_kind() -> impl Strategy<Value = Kind> {
    proptest::sample::select(Kind::ALL)
}

proptest! {
    #[test]
    fn any_bytes_are_a_payload_or_a_fault(kind in any_kind(), bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        match Payload::decode(kind, &bytes) {
            Ok(payload) => {
                payload.check(&mut Faults::default());
                payload.to_json();
                prop_assert!(payload.encode().len() <= limits::MESSAGE_BYTES);
            }
            Err(faults) => prop_assert_eq!(faults.as_slice().len(), 1),
        }
    }

    #[test]
    fn a_damaged_vector_is_a_payload_or_a_fault(kind in any_kind(), at in any::<prop::sample::Index>(), byte: u8) {
        let vector = vectors().into_iter().find(|vector| vector.tag == kind.tag()).unwrap();
        let mut bytes = hex::decode(vector.bincode).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(payload) = Payload::decode(kind, &bytes) {
            payload.check(&mut Faults::default());
            payload.to_json();
        }
    }

    #[test]
    fn any_text_is_a_payload_or_faults(kind in any_kind(), text in ".{0,64}") {
        if let Err(faults) = Payload::from_json_str(kind, &text) {
            prop_assert!(!faults.is_empty());
        }
    }

    #[test]
    fn any_field_may_be_anything(
        kind in any_kind(),
        level in prop::sample::select(&LEVELS[..]),
        nth in any::<prop::sample::Index>(),
        junk in ".{0,16}",
    ) {
        let mut json = Payload::read(kind, Fill(level)).unwrap().to_json();
        let fields: Vec<String> = json.as_object().unwrap().keys().cloned().collect();
        json[nth.get(&fields)] = Value::String(junk);
        if let Err(faults) = Payload::from_json(kind, &json) {
            prop_assert!(!faults.is_empty());
        }
    }

    #[test]
    fn a_tag_and_its_kind_are_one(kind in any_kind(), tag: u16) {
        prop_assert_eq!(Kind::from_tag(kind.tag()), Some(kind));
        prop_assert!(Kind::from_tag(tag).is_none_or(|known| known.tag() == tag));
    }

    #[test]
    fn any_name_is_a_kind_or_an_error(name in ".{0,40}") {
        if let Err(error) = name.parse::<Kind>() {
            prop_assert!(error.to_string().contains("metanode kinds"));
        }
    }
}
