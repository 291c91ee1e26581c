//! Networks of real processes put wrong on purpose: cut apart, slow, with wrong clocks; and whole again afterwards.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cluster::Network;
use crate::net_common::{Home, both, run, until};

async fn ask(api: &str, path: &str) -> Option<Value> {
    reqwest::get(format!("{api}{path}")).await.ok()?.error_for_status().ok()?.json().await.ok()
}

async fn put(api: &str, path: &str, value: &str) {
    let body = json!({ "value": value, "ack": "durable" });
    let request = reqwest::Client::new().put(format!("{api}/v1/state/shared/cell?path={path}")).json(&body);
    assert!(request.send().await.unwrap().status().is_success(), "{path} cannot be written");
}

async fn peers(api: &str) -> usize {
    let listed = ask(api, "/v1/peers").await.unwrap_or_default();
    listed["peers"].as_array().map_or(0, |peers| peers.iter().filter(|peer| peer["connected"] == true).count())
}

async fn value(api: &str, path: &str) -> Value {
    let cell = ask(api, &format!("/v1/state/shared/cell?path={path}")).await.unwrap_or_default();
    cell["register"]["value"].clone()
}

fn apis(up: &Value) -> Vec<String> {
    up["nodes"].as_array().unwrap().iter().map(|node| node["api"].as_str().unwrap().to_string()).collect()
}

#[tokio::test]
async fn two_halves_write_the_same_cells_and_agree_when_they_are_one_again() {
    let network = Network::new();
    let up = network.json(&["up", "-n", "4", "--no-chain", "--timeout", "50s"]).await;
    let apis = apis(&up);
    put(&apis[0], "before", "all").await;
    network.json(&["wait", "--converged", "--timeout", "50s"]).await;

    let cut = network.json(&["perturb", "partition", "node-0", "1", "--for", "60m"]).await;
    let told = cut["nodes"].as_array().unwrap();
    let (id, far) = (&up["nodes"][0]["id"], told[2]["perturbation"]["cut"]["peers"].as_array().unwrap());
    assert!(told.len() == 4 && far.len() == 2 && far.contains(id), "{cut}");
    for api in &apis {
        until("each has one peer left", async || (peers(api).await == 1).then_some(())).await;
    }
    const CELLS: usize = 20;
    for n in 0..CELLS {
        put(&apis[0], &format!("both/{n}"), "left").await;
        put(&apis[3], &format!("both/{n}"), "right").await;
    }
    put(&apis[1], "only", "left").await;
    for (n, side) in ["left", "left", "right", "right"].into_iter().enumerate() {
        let last = format!("both/{}", CELLS - 1);
        until("each side sees its own", async || (value(&apis[n], &last).await == side).then_some(())).await;
    }
    let shown = network.json(&["perturb", "show"]).await;
    assert!(shown["nodes"][3]["perturbation"]["cut"]["left_ms"].as_u64() > Some(0), "{shown}");
    let text = network.refused(&["wait", "--converged", "--timeout", "0"]).await;
    assert!(text.contains("hold what has heads") || text.contains("lacks messages"), "{text}");

    let healed = network.json(&["perturb", "heal"]).await;
    assert!(healed["nodes"].as_array().unwrap().iter().all(|node| node["perturbation"]["cut"].is_null()), "{healed}");
    network.json(&["wait", "--converged", "--timeout", "55s"]).await;
    let one_root = |status: &Value| {
        let roots = status["nodes"].as_array().unwrap().iter().map(|node| node["state_root"].as_str());
        roots.collect::<Option<BTreeSet<&str>>>().is_some_and(|roots| roots.len() == 1)
    };
    until("their roots are one", async || Some(network.json(&["status"]).await).filter(one_root)).await;
    for api in &apis {
        let lost = ask(api, "/v1/state/shared/conflicts?limit=1000").await.unwrap();
        let lost: BTreeSet<(&str, &str)> = lost["conflicts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (row["path"].as_str().unwrap(), row["op"]["set"]["value"].as_str().unwrap()))
            .collect();
        assert_eq!(lost.len(), CELLS, "every lost write is in the log once: {lost:?}");
        for (path, value_lost) in lost {
            let stands = value(api, path).await;
            assert!(stands != value_lost && (stands == "left" || stands == "right"), "{path}: {stands}");
        }
        assert_eq!(value(api, "only").await, "left", "what nobody contradicted is everywhere");
        let checked = ask(api, "/v1/state/shared/check").await.unwrap();
        assert_eq!(checked["sound"], true, "{checked}");
    }
}

#[tokio::test]
async fn what_is_wrong_ends_by_itself() {
    let network = Network::new();
    let up = network.json(&["up", "-n", "2", "--no-chain", "--timeout", "50s"]).await;
    let apis = apis(&up);
    let cut = network.json(&["perturb", "partition", "0", "--for", "1s"]).await;
    assert!(cut["nodes"][0]["perturbation"]["cut"]["left_ms"].as_u64() <= Some(1_000), "{cut}");
    until("they were apart", async || (peers(&apis[0]).await == 0).then_some(())).await;
    until("they are together again", async || (peers(&apis[0]).await == 1).then_some(())).await;
    let shown = network.json(&["perturb", "show"]).await;
    assert!(shown["nodes"].as_array().unwrap().iter().all(|node| node["perturbation"]["cut"].is_null()), "{shown}");
}

#[tokio::test]
async fn a_delay_is_seen_in_round_trips_and_a_wrong_clock_in_stamps() {
    let network = Network::new();
    let up = network.json(&["up", "-n", "2", "--no-chain", "--timeout", "50s"]).await;
    let apis = apis(&up);
    let both_wrong = async |words: &[&str]| network.json(&[&["perturb"], words].concat()).await;
    both_wrong(&["delay", "0", "--by", "300ms", "--for", "60m"]).await;
    let shown = both_wrong(&["clock", "1", "--by", "-60m", "--for", "60m"]).await;
    assert_eq!(shown["nodes"][0]["perturbation"]["clock"]["by_ms"], -3_600_000, "{shown}");
    let far = format!("/v1/routes?to={}", up["nodes"][1]["id"].as_str().unwrap());
    until("a round trip takes as long", async || {
        let told = ask(&apis[0], &far).await?;
        (told["ways"][0]["time_us"].as_u64()? >= 30_000).then_some(())
    })
    .await;
    // Its clock was right when it started, and its stamps only grow: a write goes on from there, and counts.
    put(&apis[1], "slow", "written").await;
    until("it arrives all the same", async || (value(&apis[0], "slow").await == "written").then_some(())).await;
    network.json(&["perturb", "heal"]).await;
    network.json(&["wait", "--converged", "--connected", "--timeout", "55s"]).await;
}

#[tokio::test]
async fn a_node_that_was_not_started_for_it_cannot_be_put_wrong() {
    let root = tempfile::tempdir().unwrap();
    let node = Home::new(root.path(), "a", "sound").await.start().await;
    let url = format!("{}/v1/perturbation", node.api());
    let client = reqwest::Client::new();
    let body = json!({"what": "clock", "by_ms": 1, "for_ms": 1});
    for request in [client.get(&url), client.delete(&url), client.post(&url).json(&body)] {
        assert_eq!(request.send().await.unwrap().status().as_u16(), 403);
    }
    // No configuration makes it one, and one that others can reach cannot be one.
    let set = run(root.path(), &[], &["start", "--dir", "x", "--set", "perturbable=true"]).await;
    assert!(!set.status.success() && both(&set).contains("perturbable"), "{}", both(&set));
    let listen = "net.listen=[\"/ip4/0.0.0.0/tcp/0\"]";
    let dir = node.home.dir.to_str().unwrap();
    let open = run(root.path(), &[], &["start", "--dir", dir, "--perturbable", "--set", listen]).await;
    assert!(!open.status.success() && both(&open).contains("this machine alone"), "{}", both(&open));
}
