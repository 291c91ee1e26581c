//! Two hosts with a slow line between them: what is urgent overtakes what fills the line.

use std::process::Command;

use serde_json::json;

use crate::net_common::{Home, Node, until};

/// What the line carries, both ways.
const RATE: &str = "10mbit";

/// Two network namespaces with a slow line between them, and a fast one to each; gone when it goes out of scope.
struct Hosts {
    names: [String; 2],
}

fn ip(words: &str) -> bool {
    Command::new("ip").args(words.split(' ')).output().is_ok_and(|out| out.status.success())
}

impl Hosts {
    /// None where that is not permitted, or not all of it is there.
    fn build() -> Option<Hosts> {
        let names = [0, 1].map(|n| format!("mn{}-{n}", std::process::id() % 100_000));
        let hosts = Hosts { names };
        let [a, b] = &hosts.names;
        let line = ip(&format!("netns add {a}"))
            && ip(&format!("netns add {b}"))
            && ip(&format!("link add line netns {a} type veth peer name line netns {b}"));
        (line && (0..2).all(|n| hosts.equip(n))).then_some(hosts)
    }

    fn equip(&self, n: usize) -> bool {
        let (name, root) = (&self.names[n], &format!("v{}", self.names[n]));
        ip(&format!("-n {name} link set lo up"))
            && ip(&format!("-n {name} addr add {}/24 dev line", self.line(n)))
            && ip(&format!("-n {name} link set line up"))
            && ip(&format!("netns exec {name} tc qdisc add dev line root tbf rate {RATE} burst 16k latency 200ms"))
            && ip(&format!("link add {root} type veth peer name api netns {name}"))
            && ip(&format!("addr add 10.213.{n}.1/24 dev {root}"))
            && ip(&format!("link set {root} up"))
            && ip(&format!("-n {name} addr add 10.213.{n}.2/24 dev api"))
            && ip(&format!("-n {name} link set api up"))
    }

    fn line(&self, n: usize) -> String {
        format!("10.213.9.{}", n + 1)
    }

    /// A node on one of them.
    async fn home(&self, root: &std::path::Path, n: usize) -> Home {
        let home = Home::new(root, &format!("node-{n}"), "slow").await.within(&self.names[n]);
        let home = home.with(format!("net.listen=[\"/ip4/{}/tcp/7700\"]", self.line(n)));
        home.with("api.allow_remote=true".into()).with(format!("api.listen=10.213.{n}.2:7780"))
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&format!("netns del {name}"));
        }
    }
}

/// Text in which there is nothing to pack.
fn noise(seed: u64, size: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letter = |_| {
        // Marsaglia, "Xorshift RNGs".
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state >> 32) as u8 % 90)
    };
    (0..size).map(letter).collect()
}

async fn say(node: &Node, kind: &str, priority: &str, texts: impl Iterator<Item = String>) {
    let payload =
        |text| json!({"channel": "console", "recipients": ["all"], "severity": "info", "subject": "s", "text": text});
    let alert = |text| {
        json!({"rule": "r", "severity": "info", "subject": null, "description": text, "evidence": [],
            "detected_ms": 1_700_000_000_000_u64})
    };
    let payloads: Vec<_> = texts.map(|text| if kind == "Notification" { payload(text) } else { alert(text) }).collect();
    let path = format!("/v1/messages?kind={kind}&priority={priority}&ack=accepted");
    assert!(node.post(&path, &json!(payloads)).await.is_some(), "{priority} is taken");
}

#[tokio::test]
async fn what_is_urgent_overtakes_what_fills_a_slow_line() {
    let Some(hosts) = Hosts::build() else {
        println!("skipped: network namespaces with a shaped line are not permitted here");
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let one = hosts.home(root.path(), 0).await.start().await;
    let two = hosts.home(root.path(), 1).await.knowing(&one).start().await;
    until("they are connected", async || (!two.peers().await.is_empty()).then_some(())).await;
    // Half a minute of the line, and then what is not to wait for it: a stream of its own has only what is Critical.
    const BULK: u64 = 4000;
    let fill = async {
        for part in 0..10 {
            let texts = (0..BULK / 10).map(|n| noise(part * BULK + n + 1, 8_000));
            say(&one, "Notification", "Bulk", texts).await;
        }
        std::future::pending().await
    };
    let urgent = async |priority: &str| {
        say(&one, "SecurityAlert", priority, std::iter::once(priority.into())).await;
        until("what is urgent arrives", async || {
            let found = two.ask("/v1/messages?kind=Security/SecurityAlert").await?;
            found.to_string().contains(&format!("\"{priority}\"")).then_some(())
        })
        .await;
        let kept = two.status("log_end").await.as_u64().expect("a count");
        assert!(kept < BULK / 2, "{kept} messages came before what was {priority}");
    };
    let overtake = async {
        let flows = async || two.status("log_end").await.as_u64().filter(|kept| *kept > 30);
        until("the line is filled", flows).await;
        urgent("Critical").await;
        urgent("High").await;
    };
    tokio::select! {
        () = overtake => {}
        () = fill => {}
    }
}
