//! The six stages of real nodes, tapped from outside; alerts; what is Critical over three nodes in a row; what packing
//! and bundling save.

use serde_json::{Value, json};

use crate::net_common::{Home, Node, both, run, succeed, until};

async fn meet(node: &Node, peers: usize) {
    until("peers are connected", async || (node.peers().await.len() == peers).then_some(())).await;
}

async fn alert(node: &Node) -> String {
    let payload = json!({"rule": "test", "severity": "info", "subject": null, "description": "a test", "evidence": [],
        "detected_ms": 1_700_000_000_000_u64});
    let body = json!({"kind": "Security/SecurityAlert", "priority": "Critical", "payload": payload});
    let answer = node.post("/v1/messages", &body).await.expect("an alert is published");
    answer["ids"][0].as_str().unwrap().into()
}

async fn is_there(node: &Node, id: &str) -> bool {
    node.ask(&format!("/v1/messages/{id}")).await.is_some()
}

#[tokio::test]
async fn a_tap_shows_a_message_of_another_node_at_every_stage_and_its_bytes_are_counted() {
    let root = tempfile::tempdir().unwrap();
    let one = Home::new(root.path(), "one", "flow").await.start().await;
    let two = Home::new(root.path(), "two", "flow").await.knowing(&one).start().await;
    meet(&one, 1).await;
    meet(&two, 1).await;
    let api = two.api();
    let words =
        ["tap", "ExchangeData", "--json", "--count", "6", "--author", &one.id(), "--api", &api].map(String::from);
    let dir = root.path().to_path_buf();
    let tap = tokio::spawn(async move { succeed(&dir, &words.each_ref().map(String::as_str)).await });
    // One message a time until the tap has seen one of them at every stage.
    let mut count = 0;
    while !tap.is_finished() {
        one.publish(count, 1, "durable").await;
        count += 1;
    }
    let told = tap.await.unwrap();
    let lines: Vec<Value> =
        String::from_utf8_lossy(&told.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 6, "{}", both(&told));
    let known = ["preprocess", "validate", "transform", "route", "deliver", "postprocess"];
    for line in &lines {
        assert!(known.contains(&line["stage"].as_str().unwrap()), "{line}");
        assert_eq!((&line["own"], &line["author"]), (&json!(false), &json!(one.id())), "{line}");
    }
    until("bytes are counted", async || {
        let rates = two.ask("/v1/flow").await?["rates"].take();
        (rates["bytes_in_per_second"].as_f64()? > 0.0 && rates["latency_ms"]["p99"].as_f64().is_some()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_alert_of_the_configuration_fires_and_the_command_says_so_by_its_exit_code() {
    let root = tempfile::tempdir().unwrap();
    let rule = r#"alerts=[{name="any_disk",metric="disk_bytes",comparison="above",threshold=1,for_s=0,announce=true}]"#;
    let node = Home::new(root.path(), "one", "flow").await.with(rule.into()).start().await;
    until("the alert fires", async || (node.status("firing_alerts").await == json!(["any_disk"])).then_some(())).await;
    let ended = run(root.path(), &[], &["alerts", "--firing", "--api", &node.api()]).await;
    assert!(ended.status.code() == Some(1) && both(&ended).contains("disk_bytes above 1"), "{}", both(&ended));
    assert!(node.log().contains("an alert fires"), "{}", node.log());
    let ended = run(root.path(), &[], &["top", "--count", "1", "--api", &node.api()]).await;
    assert!(both(&ended).contains("ALERTS  any_disk"), "{}", both(&ended));
    assert!(both(&ended).contains("STAGE"), "{}", both(&ended));
}

#[tokio::test]
async fn what_is_critical_goes_on_from_node_to_node() {
    let root = tempfile::tempdir().unwrap();
    let middle = Home::new(root.path(), "middle", "flow").await.start().await;
    let quiet =
        |home: Home| home.knowing(&middle).with("net.listen=[]".into()).with("net.kademlia_server=false".into());
    let left = quiet(Home::new(root.path(), "left", "flow").await).start().await;
    let right = quiet(Home::new(root.path(), "right", "flow").await).start().await;
    meet(&middle, 2).await;
    let id = alert(&left).await;
    until("it is two nodes away", async || is_there(&right, &id).await.then_some(())).await;
    assert!(is_there(&middle, &id).await);
}

#[tokio::test]
async fn bundling_and_packing_save_a_third_of_the_wire_and_half_of_the_writes() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("trades.jsonl");
    let line = |n: u64| {
        format!(
            "{{\"exchange\":\"binance\",\"symbol\":\"XRP/ETH\",\"time_ms\":{},\"trade_id\":\"{}\",\"side\":\"sell\",\
             \"price\":0.0014{},\"amount\":{}.0,\"cost\":0.03{}}}\n",
            1_570_752_011_620_u64 + 977 * n,
            13_519_807 + n,
            n % 89,
            n % 40 + 1,
            n % 97,
        )
    };
    std::fs::write(&file, (0..1500).map(line).collect::<String>()).unwrap();
    let told = succeed(root.path(), &["bench", "trades", "--file", file.to_str().unwrap(), "--json"]).await;
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["messages"], 1500);
    for name in ["wire_saved_percent", "disk_bytes_saved_percent"] {
        assert!(told[name].as_f64().unwrap() >= 50.0, "{name}: {told}");
    }
    assert!(told["disk_rows_saved_percent"].as_f64().unwrap() >= 50.0, "{told}");
    assert!(told["packing_saved_percent"].as_f64().unwrap() >= 30.0, "{told}");
}
