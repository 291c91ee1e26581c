//! A shared graph of real nodes: changed on all sides, alike afterwards, followed from each.

use serde_json::{Value, json};

use crate::net_common::{DEADLINE, Home, Node, both, converge, meet, run, succeed, until};

async fn words(root: &std::path::Path, node: &Node, words: &[&str]) -> Value {
    let api = node.api();
    let output = succeed(root, &[&["graph"], words, &["--json", "--api", &api]].concat()).await;
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_graph_changed_on_all_sides_is_the_same_on_all() {
    let root = tempfile::tempdir().unwrap();
    let first = Home::new(root.path(), "a", "graph").await.start().await;
    let second = Home::new(root.path(), "b", "graph").await.knowing(&first).start().await;
    meet(&[&first, &second]).await;
    let dir = root.path();
    words(dir, &first, &["node", "add", "city", "home", "--title", "Home", "--at", "0,-1,0"]).await;
    words(dir, &second, &["node", "add", "city", "work", "--meta", "floor=3"]).await;
    words(dir, &second, &["node", "add", "city", "park"]).await;
    words(dir, &first, &["edge", "add", "city", "commute", "home", "work", "--weight", "2.5"]).await;
    words(dir, &first, &["edge", "add", "city", "walk", "work", "park"]).await;
    converge(&[&first, &second]).await;
    for node in [&first, &second] {
        let path = words(dir, node, &["path", "city", "home", "park"]).await;
        assert_eq!((&path["paths"][0]["distance"], &path["paths"][0]["nodes"][1]), (&json!(3.5), &json!("work")));
        let next = words(dir, node, &["neighbours", "city", "work"]).await;
        assert_eq!(next["neighbours"].as_array().unwrap().len(), 2);
    }
    // One takes the node out while the other, who has not seen that, changes it: it stays out, and the loss is told.
    let at = first.ask("/v1/state/city/cell?path=edge/walk").await.unwrap()["register"]["written_ms"].to_string();
    words(dir, &second, &["node", "rm", "city", "work"]).await;
    converge(&[&first, &second]).await;
    for node in [&first, &second] {
        assert_eq!(words(dir, node, &["edge", "ls", "city"]).await["edges"], json!([]));
        let was = words(dir, node, &["at", "city", &format!("@{at}")]).await;
        assert_eq!((was["nodes"].as_array().unwrap().len(), was["edges"].as_array().unwrap().len()), (3, 2), "{was}");
    }
    words(dir, &first, &["node", "add", "city", "work"]).await;
    until("the edges are seen again", async || {
        let edges = second.ask("/v1/graphs/city/edges").await?;
        (edges["edges"].as_array()?.len() == 2).then_some(())
    })
    .await;
    let told = ["graph", "watch", "city", "--snapshot", "--count", "6", "--api", &second.api()];
    let told = both(&succeed(dir, &told).await);
    assert!(told.contains("NodeAdded home \"Home\"") && told.ends_with("Ready\n"), "{told}");
    let none = run(dir, &[], &["graph", "node", "get", "city", "nobody", "--api", &first.api()]).await;
    assert_eq!(none.status.code(), Some(1), "{}", both(&none));
}

/// An optimistic write stands at once, is pending while nobody else holds it, and its writer learns that it lost.
#[tokio::test]
async fn a_write_is_pending_until_a_peer_holds_it_and_a_lost_one_shows_what_took_its_place() {
    let root = tempfile::tempdir().unwrap();
    let first = Home::new(root.path(), "a", "pending").await.start().await;
    let second = Home::new(root.path(), "b", "pending").await.knowing(&first).start().await;
    meet(&[&first, &second]).await;
    let put = async |node: &Node, value: &str| {
        let body = json!({"value": value, "ack": "peers:1", "client": "desk"});
        node.put("/v1/state/shared/cell?path=theme", &body).await.unwrap()
    };
    let wrote = put(&first, "grey").await;
    assert_eq!((&wrote["pending"], &wrote["held_by"]), (&json!(false), &json!([second.id()])), "{wrote}");
    // Each alone: both write, and the later one has not seen the other.
    let second = second.kill();
    let alone = json!({"value": "dark"});
    let lost = first.put("/v1/state/shared/cell?path=theme", &alone).await.unwrap()["message"].clone();
    let path = format!("/v1/state/writes/{}", lost.as_str().unwrap());
    let fate = first.ask(&format!("{path}?peers=1&wait_ms=1")).await.unwrap();
    assert_eq!((&fate["pending"], &fate["changes"][0]["fate"]), (&json!(true), &json!("stands")), "{fate}");
    let first = first.kill();
    let second = second.start().await;
    second.put("/v1/state/shared/cell?path=theme", &json!({"value": "light"})).await.unwrap();
    let first = first.start().await;
    converge(&[&first, &second]).await;
    let fate = first.ask(&path).await.unwrap();
    let change = &fate["changes"][0];
    assert_eq!((&change["fate"], &change["now"]["register"]["value"]), (&json!("lost"), &json!("light")), "{fate}");
}

/// What one node's client moves, another node's client sees, before it is in the state.
#[tokio::test]
async fn nodes_that_move_at_one_node_are_seen_to_move_at_another() {
    use futures::{SinkExt, StreamExt};
    use metanode::types::WallMs;
    use metanode::wire::{Place, PositionFrame};
    use tokio_tungstenite::tungstenite::Message;

    let root = tempfile::tempdir().unwrap();
    let first = Home::new(root.path(), "a", "motion").await.start().await;
    let second = Home::new(root.path(), "b", "motion").await.knowing(&first).start().await;
    meet(&[&first, &second]).await;
    words(root.path(), &first, &["node", "add", "city", "tram"]).await;
    until("the other node has the graph", async || second.ask("/v1/graphs/city/nodes/tram").await).await;
    let open = async |node: &Node| {
        let api = node.api();
        let place = api.strip_prefix("http://").unwrap();
        let stream = tokio::net::TcpStream::connect(place).await.unwrap();
        let url = format!("ws://{place}/v1/graphs/city/positions");
        tokio_tungstenite::client_async(url, stream).await.unwrap().0
    };
    let (mut sender, mut reader) = (open(&first).await, open(&second).await);
    let names = PositionFrame::Names(vec![(5, "tram".into())]);
    sender.send(Message::Binary(names.encode().into())).await.unwrap();
    let mut x = 0.0;
    let seeing = async {
        loop {
            x += 1.0;
            let places = vec![Place { number: 5, position: [x, 0.0, 0.0], velocity: [1.0, 0.0, 0.0] }];
            let frame = PositionFrame::Places { frame: 0, at: WallMs(0), places };
            sender.send(Message::Binary(frame.encode().into())).await.unwrap();
            let Ok(heard) = tokio::time::timeout(std::time::Duration::from_millis(20), reader.next()).await else {
                continue;
            };
            if let PositionFrame::Places { places, .. } =
                PositionFrame::decode(&heard.unwrap().unwrap().into_data()).unwrap()
            {
                return places[0].position[0];
            }
        }
    };
    let seen = tokio::time::timeout(DEADLINE, seeing).await.expect("the other node's client sees it move");
    assert!(seen >= 1.0 && seen <= x, "{seen}");
    // At rest it is in the state of both.
    until("it is written down", async || {
        let node = second.ask("/v1/graphs/city/nodes/tram").await?;
        (node["position"]["x"].as_f64()? == f64::from(x)).then_some(())
    })
    .await;
}
