//! Direct messages between real nodes: over a relay, to who is away, to a service, with a reply.

use serde_json::{Value, json};

use crate::net_common::{Home, Node, both, run, succeed, until};

/// A node that listens nowhere: only those it dials know it.
fn behind(home: Home, gate: &Node) -> Home {
    home.knowing(gate).with("net.listen=[]".into()).with("net.kademlia_server=false".into())
}

fn note(text: &str) -> Value {
    json!({"channel": "console", "recipients": ["desk"], "subject": text, "text": text, "severity": "info"})
}

async fn send(node: &Node, to: &Value, text: &str) -> String {
    let body = json!({"kind": "External/Notification", "destination": to, "payload": note(text)});
    let answer = node.post("/v1/messages", &body).await.unwrap_or_else(|| panic!("{to} was refused"));
    answer["ids"][0].as_str().unwrap().into()
}

async fn get(node: &Node, id: &str) -> Option<Value> {
    node.ask(&format!("/v1/messages/{id}")).await.map(|mut found| found["message"].take())
}

async fn there(node: &Node, id: &str) -> Value {
    until("the message is there", async || get(node, id).await).await
}

/// Waits until `node` has a way to `to`.
async fn way(node: &Node, to: &str, hops: usize) {
    until("there is a way", async || {
        let ways = node.ask(&format!("/v1/routes?to={to}")).await?;
        (ways["ways"][0]["hops"].as_array()?.len() == hops).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_message_goes_over_a_relay_and_nobody_else_has_it() {
    let root = tempfile::tempdir().unwrap();
    let gate = Home::new(root.path(), "gate", "direct").await.start().await;
    let one = behind(Home::new(root.path(), "one", "direct").await, &gate).start().await;
    let two = behind(Home::new(root.path(), "two", "direct").await, &gate).start().await;
    way(&one, &two.id(), 2).await;
    let id = send(&one, &json!({"node": two.id()}), "by the gate").await;
    let message = there(&two, &id).await;
    let path: Vec<&Value> = message["routing_path"].as_array().unwrap().iter().map(|hop| &hop["node"]).collect();
    assert_eq!(path, [&json!(one.id()), &json!(gate.id())]);
    assert_eq!((&message["source"], &message["retry_count"]), (&json!(one.id()), &json!(0)));
    assert!(get(&one, &id).await.is_some(), "its author keeps it");
    assert!(get(&gate, &id).await.is_none(), "a relay keeps nothing");
    until("the receipt is back", async || {
        let outbox = one.ask("/v1/outbox").await?;
        (outbox["counts"]["delivered"] == 1).then_some(())
    })
    .await;
    let api = one.api();
    let words = ["route", "explain", &two.id(), "--api", &api].map(String::from);
    let told = succeed(root.path(), &words.each_ref().map(String::as_str)).await;
    assert!(both(&told).contains(&format!("{} → {}", gate.id(), two.id())), "{}", both(&told));
    let strange = run(root.path(), &[], &["route", "explain", "service:nobody", "--api", &api]).await;
    assert_eq!(strange.status.code(), Some(1), "{}", both(&strange));
}

#[tokio::test]
async fn who_is_away_gets_it_later_once_and_also_over_a_kill_of_its_author() {
    let root = tempfile::tempdir().unwrap();
    let one = Home::new(root.path(), "one", "direct").await.start().await;
    let two = Home::new(root.path(), "two", "direct").await.knowing(&one).start().await;
    way(&one, &two.id(), 1).await;
    let to = json!({"node": two.id()});
    let away = two.kill();
    let id = send(&one, &to, "while you were out").await;
    let pending = succeed(root.path(), &["route", "pending", "--api", &one.api()]).await;
    assert!(both(&pending).contains("node:"), "{}", both(&pending));
    let one = one.kill().start().await;
    let two = away.knowing(&one).start().await;
    let message = there(&two, &id).await;
    assert_eq!(message["payload"]["subject"], "while you were out");
    let (first, second) = (send(&one, &to, "first").await, send(&one, &to, "second").await);
    there(&two, &first).await;
    there(&two, &second).await;
    let page = two.ask(&format!("/v1/messages?author={}&kind=Notification", one.id())).await.unwrap();
    assert_eq!(page["messages"].as_array().unwrap().len(), 3, "each of them once");
}

#[tokio::test]
async fn what_expires_before_its_reader_is_back_is_a_dead_letter_of_its_author() {
    let root = tempfile::tempdir().unwrap();
    let one = Home::new(root.path(), "one", "direct").await.start().await;
    let two = Home::new(root.path(), "two", "direct").await.knowing(&one).start().await;
    way(&one, &two.id(), 1).await;
    let (id, _away) = (two.id(), two.kill());
    let note = note("soon over").to_string();
    let api = one.api();
    let words = ["pub", "Notification", &note, "--to", &id, "--expires-in", "3s", "--api", &api];
    let said = both(&succeed(root.path(), &words).await).trim().to_string();
    let dead = until("it dies", async || {
        let letters = one.ask("/v1/dead-letters").await?;
        letters["dead_letters"].as_array()?.first().cloned()
    })
    .await;
    assert_eq!((&dead["message"], &dead["disposition"]), (&json!(said), &json!("expired")), "{dead}");
    assert!(dead["reason"].as_str().unwrap().contains("its time was over"), "{dead}");
    let listed = succeed(root.path(), &["dlq", "ls", "--api", &api]).await;
    assert!(both(&listed).contains("expired"), "{}", both(&listed));
}

#[tokio::test]
async fn a_service_fails_over_and_a_request_is_answered() {
    let root = tempfile::tempdir().unwrap();
    let one = Home::new(root.path(), "one", "direct").await.start().await;
    let offering = "services=[\"prices\"]";
    let two = Home::new(root.path(), "two", "direct").await.knowing(&one).with(offering.into()).start().await;
    let three = Home::new(root.path(), "three", "direct").await.knowing(&one).with(offering.into()).start().await;
    until("both are readers", async || {
        let ways = one.ask("/v1/routes?to=service:prices").await?;
        (ways["ways"].as_array()?.len() >= 2).then_some(())
    })
    .await;
    let refused = run(
        root.path(),
        &[],
        &["pub", "Notification", &note("x").to_string(), "--to", "service:none", "--api", &one.api()],
    )
    .await;
    assert!(both(&refused).contains("nobody is known that answers to service:none"), "{}", both(&refused));
    let _gone = two.kill();
    let id = send(&one, &json!({"service": "prices"}), "to whoever is left").await;
    there(&three, &id).await;

    let api = three.api();
    let command = "jq -c '.payload | .subject = \"answer\"'";
    let words = ["reply", "Notification", "Notification", "--command", command, "--count", "1", "--api", &api];
    let ask = note("question").to_string();
    let (home, one_api) = (root.path(), one.api());
    let request = async {
        // The other side makes its subscription first: what came before it is none of its business.
        until("it listens", async || three.ask("/v1/subscriptions/reply-Notification").await).await;
        let words = ["request", "service:prices", "Notification", &ask, "--timeout", "20s", "--api", &one_api];
        succeed(home, &words).await
    };
    let (replied, answer) = tokio::join!(succeed(home, &words), request);
    assert!(both(&answer).contains("\"subject\":\"answer\""), "{}", both(&answer));
    assert!(both(&replied).contains("→"), "{}", both(&replied));
    let words = ["request", &three.id(), "Notification", &ask, "--timeout", "5s", "--api", &one_api];
    let late = run(home, &[], &words).await;
    assert_eq!(late.status.code(), Some(1));
    assert!(both(&late).contains("did not reply within 5s"), "{}", both(&late));
}
