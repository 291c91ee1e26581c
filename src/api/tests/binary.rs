//! The binary forms: payloads in, signed bundles out.

use bytes::{Buf, Bytes};
use reqwest::Method;
use serde_json::json;

use super::rig::{Rig, answer, ids, payload};
use crate::types::NetworkName;
use crate::wire::{Bundle, Verified};

const PAYLOADS: &str = "application/x-metanode-payloads";

fn framed(payloads: &[Vec<u8>]) -> Vec<u8> {
    payloads.iter().flat_map(|p| [&(p.len() as u32).to_le_bytes()[..], p].concat()).collect()
}

async fn post(rig: &Rig, query: &str, body: Vec<u8>) -> (u16, serde_json::Value) {
    let request = rig.request(Method::POST, &format!("/v1/messages{query}")).header("content-type", PAYLOADS);
    answer(request.body(body)).await
}

/// The records of a stream that ends: position, refused indices, bundle.
async fn records(rig: &Rig, query: &str) -> Vec<(u64, Vec<u32>, Bundle)> {
    let response = rig.request(Method::GET, &format!("/v1/bundles?follow=false{query}")).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/x-metanode-bundles");
    let (mut body, mut found): (Bytes, _) = (response.bytes().await.unwrap(), Vec::new());
    while body.has_remaining() {
        let mut record = body.split_to(4 + u32::from_le_bytes(body[..4].try_into().unwrap()) as usize);
        record.advance(4);
        let (position, _arrived) = (record.get_u64_le(), record.get_u64_le());
        let refused = (0..record.get_u16_le()).map(|_| record.get_u32_le()).collect();
        found.push((position, refused, Bundle::decode(record).unwrap()));
    }
    found
}

#[tokio::test]
async fn what_went_in_as_binary_comes_out_as_bundles_that_anyone_can_check() {
    let rig = Rig::start().await;
    let said: Vec<Vec<u8>> = (0..300).map(|n| payload(n).encode()).collect();
    let (status, published) = post(&rig, "?kind=Data/ExchangeData", framed(&said)).await;
    assert_eq!((status, ids(&published).len()), (201, 300));
    let (_, quiet) = post(&rig, "?kind=Data/ExchangeData&ids=false", framed(&said[..1])).await;
    assert_eq!((&quiet["count"], &quiet["ids"]), (&json!(1), &json!([])));

    let network: NetworkName = "api-test".parse().unwrap();
    let mut heard = Vec::new();
    for (position, refused, bundle) in records(&rig, "&from=start&category=Data").await {
        let verified = Verified::check(bundle, network.id()).unwrap();
        assert_eq!((position, refused.len()), (heard.len() as u64, 0));
        heard.extend(verified.messages().map(|message| message.payload.to_vec()).collect::<Vec<_>>());
    }
    assert_eq!(heard, [&said[..], &said[..1]].concat());
    let from_inside = records(&rig, "&from=150").await;
    assert!(from_inside[0].0 <= 150 && 150 < from_inside[0].0 + u64::from(from_inside[0].2.header().count));
    assert!(records(&rig, "&from=start&category=Security").await.is_empty());
    assert!(records(&rig, "&from=end").await.is_empty());
    rig.stop().await;
}

#[tokio::test]
async fn a_stream_of_bundles_goes_on_with_what_comes() {
    let rig = Rig::start().await;
    rig.trades(0..3).await;
    let mut response = rig.request(Method::GET, "/v1/bundles?from=end").send().await.unwrap();
    rig.trades(3..5).await;
    let mut record = response.chunk().await.unwrap().unwrap();
    record.advance(4);
    assert_eq!(record.get_u64_le(), 3);
    rig.stop().await;
}

#[tokio::test]
async fn binary_that_is_not_what_it_should_be_is_told_and_nothing_is_published() {
    let rig = Rig::start().await;
    let good = payload(1).encode();
    let kind = "?kind=Data/ExchangeData";
    let (status, problem) = post(&rig, "", framed(std::slice::from_ref(&good))).await;
    assert!(status == 400 && problem["detail"].as_str().unwrap().contains("give their `kind`"), "{problem}");
    let cut = framed(std::slice::from_ref(&good));
    let (status, problem) = post(&rig, kind, cut[..cut.len() - 1].to_vec()).await;
    assert!(status == 400 && problem["detail"].as_str().unwrap().contains("payload 1 has"), "{problem}");
    let (status, problem) = post(&rig, kind, [framed(std::slice::from_ref(&good)), vec![1, 2]].concat()).await;
    assert!(status == 400 && problem["detail"].as_str().unwrap().contains("2 bytes after"), "{problem}");
    let (status, problem) = post(&rig, kind, framed(&[good, vec![9; 9]])).await;
    assert_eq!((status, &problem["faults"][0]["line"]), (422, &json!(2)));
    let (_, page) = rig.get("/v1/messages").await;
    assert_eq!(page["messages"], json!([]));
    rig.stop().await;
}
