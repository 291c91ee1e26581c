//! `metanode key rotate` and `metanode key ls`: the keys that messages are sealed with for one reader.

use reqwest::Method;
use serde_json::Value;

use super::client::{ApiArgs, Client, pairs, plain, print, print_json, table, time};

/// Makes a new key the one in use.
pub async fn rotate(api: ApiArgs) -> anyhow::Result<()> {
    let client = Client::new(&api)?;
    let answer = client.json(client.request(Method::POST, &["keys", "rotate"], &[])).await?;
    if api.json {
        return print_json(&answer).map(drop);
    }
    let rows = [
        ("key_id", plain(&answer["key_id"])),
        ("expires", time(&answer["expires_ms"])),
        ("announced in", plain(&answer["message"])),
    ];
    print(&pairs(&rows)).map(drop)
}

/// Prints the keys of all nodes, and this node's own.
pub async fn list(api: ApiArgs) -> anyhow::Result<()> {
    let answer = Client::new(&api)?.get(&["keys"]).await?;
    if api.json {
        return print_json(&answer).map(drop);
    }
    let rows = |list: &Value, row: &dyn Fn(&Value) -> Vec<String>| -> Vec<Vec<String>> {
        list.as_array().into_iter().flatten().map(row).collect()
    };
    let known =
        rows(&answer["keys"], &|key| vec![plain(&key["node"]), plain(&key["key_id"]), time(&key["expires_ms"])]);
    let own = rows(&answer["own"], &|key| {
        let times = ["created_ms", "expires_ms", "replaced_ms", "erased_ms"].map(|name| time(&key[name]));
        [plain(&key["key_id"])].into_iter().chain(times).collect()
    });
    let known = table(&["NODE", "KEY", "EXPIRES"], &known);
    let own = table(&["OWN KEY", "MADE", "EXPIRES", "REPLACED", "ERASED"], &own);
    print(&format!("{known}\n\n{own}")).map(drop)
}
