//! A node's directory: a key that is not encrypted and a configuration for loopback.

use std::path::Path;

use anyhow::{Context, bail};

use super::args::Transport;
use super::ports::Ports;
use super::record::{NodeRecord, Plan};
use crate::config::{Config, Profile};
use crate::keys::{Identity, KeyFile, write_new};
use crate::ledger::{Genesis, GenesisAccount, GenesisValidator, Params, Token};
use crate::types::{NodeId, Tokens, WallMs};

/// All nodes share one address, so its limit must not be the one for strangers.
const PER_ADDRESS: u32 = 256;
/// Memory for cached pages of each node, bytes.
const CACHE_BYTES: u64 = 16 << 20;

/// The file in the network's directory that its chain begins with.
pub const GENESIS: &str = "genesis.toml";
/// What each node of a new chain has staked, and has to spend, base units.
const STAKE: Tokens = Tokens(10_000_000);
const BALANCE: Tokens = Tokens(1_000_000_000);

/// So many nodes of a new chain are validators; the others follow. Each hears every vote of each.
const VALIDATORS: usize = 16;

/// Begins a chain of these nodes: the first of them validators, each with an account that has something to spend.
pub fn begin_chain(dir: &Path, plan: &Plan, nodes: &[NodeRecord]) -> anyhow::Result<()> {
    let ids = nodes.iter().map(|node| node.id.parse()).collect::<Result<Vec<NodeId>, _>>()?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let genesis = Genesis {
        name: plan.network.clone(),
        time_ms: WallMs(u64::try_from(now.as_millis())?),
        treasury: Tokens::ZERO,
        token: Token { symbol: "MNT".into(), decimals: 6 },
        params: quick(),
        validators: ids
            .iter()
            .take(VALIDATORS)
            .map(|id| GenesisValidator { id: *id, stake: STAKE, commission_permille: 100 })
            .collect(),
        accounts: ids.iter().map(|id| GenesisAccount { id: *id, balance: BALANCE }).collect(),
    };
    let file = dir.join(GENESIS);
    write_new(&file, genesis.checked()?.to_toml()?.as_bytes(), 0o644).map_err(|e| e.at(&file))?;
    Ok(())
}

/// Rules for trying things: epochs are short, so that votes are decided and stake comes free within some blocks.
fn quick() -> Params {
    let mut params = Params { epoch_blocks: 5, ..Params::default() };
    params.voting.epochs = 1;
    params.staking.unbonding_epochs = 2;
    params
}

/// Makes `dir`/`name`. The node knows `bootstrap` and nobody else.
pub fn create(dir: &Path, name: &str, plan: &Plan, ports: Ports, bootstrap: &[String]) -> anyhow::Result<NodeRecord> {
    let home = dir.join(name);
    if home.symlink_metadata().is_ok() {
        bail!("{} is in the way; move it away, or choose another --dir", home.display());
    }
    let config = config(&home, name, plan, ports, bootstrap)?;
    let identity = Identity::generate()?;
    KeyFile::plain(&identity).create(&config.key_file())?;
    let file = home.join("config.toml");
    write_new(&file, config.to_toml_commented()?.as_bytes(), 0o644).map_err(|e| e.at(&file))?;
    let id = identity.node_id().to_string();
    let p2p = config.net.listen.iter().map(|address| format!("{address}/p2p/{id}")).collect();
    Ok(NodeRecord { name: name.into(), pid: None, id, p2p, api: format!("http://{}", config.api.listen), dir: home })
}

fn config(home: &Path, name: &str, plan: &Plan, ports: Ports, bootstrap: &[String]) -> anyhow::Result<Config> {
    let mut config =
        Config { network: plan.network.parse()?, name: name.into(), dir: home.into(), ..Config::default() };
    config.key.allow_plain = true;
    config.net.profile = plan.profile;
    config.net.listen = listen(plan.transport, ports.p2p);
    config.net.bootstrap = bootstrap.to_vec();
    config.net.limits.per_address = PER_ADDRESS;
    config.api.listen = format!("127.0.0.1:{}", ports.api);
    config.store.cache_bytes = CACHE_BYTES;
    if plan.chain {
        config.chain.genesis = home.parent().map(|dir| dir.join(GENESIS));
    }
    config.check().context("give another --network or --dir")?;
    Ok(config)
}

fn listen(transport: Transport, port: u16) -> Vec<String> {
    let tcp = format!("/ip4/127.0.0.1/tcp/{port}");
    let quic = format!("/ip4/127.0.0.1/udp/{port}/quic-v1");
    match transport {
        Transport::Tcp => vec![tcp],
        Transport::Quic => vec![quic],
        Transport::Both => vec![tcp, quic],
    }
}

/// How many peers each of `nodes` has in a network that is well connected: all others, or, where those are more than a
/// node looks for, a gossip mesh's worth.
pub fn peers_wanted(nodes: usize, profile: Profile) -> u64 {
    let others = nodes.saturating_sub(1) as u64;
    let mesh = match profile {
        Profile::Small => 4,
        Profile::Open => 8,
    };
    if others <= u64::from(Config::default().net.target_peers) { others } else { mesh }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_directory_holds_a_configuration_that_loads_and_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let plan = Plan { network: "t".into(), profile: Profile::Open, transport: Transport::Both, chain: true };
        let ports = Ports { p2p: 20_001, api: 20_002 };
        let node = create(dir.path(), "node-3", &plan, ports, &["/ip4/127.0.0.1/tcp/1".into()]).unwrap();
        let text = fs::read_to_string(node.dir.join("config.toml")).unwrap();
        let config = Config::from_toml(Path::new("c"), &text, None).unwrap();
        assert_eq!((config.name.as_str(), config.dir.as_path()), ("node-3", node.dir.as_path()));
        assert_eq!(config.net.listen, ["/ip4/127.0.0.1/tcp/20001", "/ip4/127.0.0.1/udp/20001/quic-v1"]);
        assert_eq!(KeyFile::read(&config.key_file()).unwrap().node_id().to_string(), node.id);
        assert_eq!(node.p2p[0], format!("/ip4/127.0.0.1/tcp/20001/p2p/{}", node.id));
        assert_eq!(node.api, "http://127.0.0.1:20002");
        assert_eq!(config.chain.genesis, Some(dir.path().join(GENESIS)));
        begin_chain(dir.path(), &plan, &[node]).unwrap();
        let genesis = Genesis::from_text(&fs::read_to_string(dir.path().join(GENESIS)).unwrap()).unwrap();
        assert_eq!((genesis.validators.len(), genesis.accounts.len()), (1, 1));
        assert!(create(dir.path(), "node-3", &plan, ports, &[]).unwrap_err().to_string().contains("in the way"));
    }

    #[test]
    fn many_nodes_need_not_all_be_connected_with_each_other() {
        assert_eq!([1, 2, 13].map(|n| peers_wanted(n, Profile::Small)), [0, 1, 12]);
        assert_eq!((peers_wanted(30, Profile::Small), peers_wanted(30, Profile::Open)), (4, 8));
    }
}
