//! Configurations: what each source may say, what wins, what is refused and how the refusal reads.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::catalogue::{self, ENTRIES, Kind};
use super::layers::{table_of, value_at};
use super::*;

const HOME: &str = "/home/someone";

fn options(env: &[(&str, &str)], set: &[&str]) -> LoadOptions {
    let env = env.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    LoadOptions {
        file: None,
        env: [("HOME".to_string(), HOME.to_string())].into_iter().chain(env).collect(),
        set: set.iter().map(|flag| flag.to_string()).collect(),
    }
}

fn load(text: &str, env: &[(&str, &str)], set: &[&str]) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node.toml");
    fs::write(&path, text).unwrap();
    Config::load(LoadOptions { file: Some(path), ..options(env, set) })
}

fn from_text(text: &str) -> Result<Config, ConfigError> {
    Config::from_toml(Path::new("node.toml"), text, Some(HOME))
}

fn refusal(outcome: Result<Config, ConfigError>) -> String {
    outcome.expect_err("should have been refused").to_string()
}

#[test]
fn nothing_said_gives_the_documented_defaults() {
    let config = Config::load(options(&[], &[])).unwrap();
    assert_eq!(config, Config { dir: "/home/someone/.metanode".into(), ..Config::default() });
    assert_eq!(config.key_file(), Path::new("/home/someone/.metanode/key.json"));
    assert_eq!(config.network.as_str(), "local");
    assert_eq!(config.api.listen, "127.0.0.1:7780");
    assert_eq!(config.retention.monitoring, Keep { max_age_s: Some(604_800), max_bytes: Some(1 << 30) });
    assert_eq!(config.retention.of("consensus"), Some(&Keep::FOR_EVER));
    assert_eq!(config.retention.of("nothing"), None);
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "name = 'file'\n[net]\nmdns = true\ntarget_peers = 3\nbootstrap = ['/ip4/1.2.3.4/tcp/1']\n";
    let env = [("METANODE_NAME", "variable"), ("METANODE_NET__TARGET_PEERS", "4")];
    let config = load(file, &env, &["net.target_peers=5", "net.target_peers=6"]).unwrap();
    assert_eq!((config.name.as_str(), config.net.target_peers, config.net.mdns), ("variable", 6, true));
    assert_eq!(config.net.bootstrap, ["/ip4/1.2.3.4/tcp/1"]);
    assert_eq!(config.net.listen, Config::default().net.listen, "a key nobody set keeps its default");
}

#[test]
fn text_becomes_the_type_of_its_key() {
    type Check = fn(&Config) -> bool;
    let cases: [(&str, &str, Check); 12] = [
        ("METANODE_NET__LISTEN", r#"["/ip4/127.0.0.1/tcp/1"]"#, |c| c.net.listen == ["/ip4/127.0.0.1/tcp/1"]),
        ("METANODE_NET__MDNS", "true", |c| c.net.mdns),
        ("METANODE_NET__LIMITS__TOTAL", "300", |c| c.net.limits.total == 300),
        ("METANODE_NET__PROFILE", "open", |c| c.net.profile == Profile::Open),
        ("METANODE_NET__PROFILE", "\"open\"", |c| c.net.profile == Profile::Open),
        ("METANODE_NAME", "17", |c| c.name == "17"),
        ("METANODE_NAME", "true", |c| c.name == "true"),
        ("METANODE_NAME", "two words", |c| c.name == "two words"),
        ("METANODE_NODE_TYPE", "Validator", |c| c.node_type == "Validator"),
        ("METANODE_RETENTION__DATA__MAX_AGE_S", "60", |c| {
            c.retention.data == Keep { max_age_s: Some(60), max_bytes: Some(16 << 30) }
        }),
        ("METANODE_DIR", "/data", |c| c.dir == Path::new("/data")),
        ("METANODE_LOG", "debug", |c| c.log.level == "debug"),
    ];
    for (name, value, check) in cases {
        let config = Config::load(options(&[(name, value)], &[])).unwrap_or_else(|e| panic!("{name}={value}: {e}"));
        assert!(check(&config), "{name}={value}");
    }
    let set = ["net={mdns=true, limits={total=300}}", "log.format = json", "name=a=b"];
    let config = Config::load(options(&[], &set)).unwrap();
    assert!(config.net.mdns && config.net.limits.total == 300 && config.log.format == LogFormat::Json);
    assert_eq!(config.name, "a=b");
}

#[test]
fn variables_for_others_are_passed_over_and_unknown_ones_of_ours_refused() {
    let others = [("METANODE_PASSPHRASE", "secret"), ("METANODE_API", "http://127.0.0.1:1"), ("PATH", "/bin")];
    assert!(Config::load(options(&others, &[])).is_ok());
    let text = refusal(Config::load(options(&[("METANODE_NET__LISEN", "[]"), ("METANODE_FOO", "1")], &[])));
    assert!(text.contains("variable METANODE_NET__LISEN: net.lisen"), "{text}");
    assert!(text.contains("did you mean `METANODE_NET__LISTEN`?"), "{text}");
    assert!(text.contains("variable METANODE_FOO: foo: unknown key"), "{text}");
}

#[test]
fn a_zero_bound_is_no_bound() {
    let config = from_text("[retention.monitoring]\nmax_age_s = 0\n").unwrap();
    assert_eq!(config.retention.monitoring, Keep { max_age_s: None, max_bytes: Some(1 << 30) });
}

#[test]
fn each_fault_of_a_file_names_its_line_its_key_and_the_remedy() {
    let cases = [
        ("\n[net]\nlisen = []\n", "node.toml:3: net.lisen: unknown key; did you mean `net.listen`?"),
        ("mdns = true\n", "node.toml:1: mdns: unknown key; did you mean `net.mdns`?"),
        ("[nett]\n", "node.toml:1: nett: unknown key; did you mean `net`?"),
        ("'net.mdns' = true\n", "node.toml:1: \"net.mdns\": unknown key"),
        ("[retention.monitorin]\nmax_age_s = 1\n", "node.toml:1: retention.monitorin: unknown key"),
        ("net.limits.totl = 1\n", "node.toml:1: net.limits.totl: unknown key; did you mean `net.limits.total`?"),
        ("zzzzzzzzzz = 1\n", "node.toml:1: zzzzzzzzzz: unknown key; `metanode init` writes a file with all keys"),
        ("net = 1\n", "node.toml:1: net: is a section"),
        ("[net]\n\nmdns = 'yes'\n", "node.toml:3: net.mdns: invalid type: string \"yes\", expected a boolean"),
        ("[net]\ntarget_peers = -1\n", "node.toml:2: net.target_peers: invalid value"),
        ("[net]\ntarget_peers = 0\n", "node.toml:2: net.target_peers: 0 is out of range; write 1 to 256"),
        ("[net]\nprofile = 'large'\n", "node.toml:2: net.profile: unknown variant `large`, expected `small` or `open`"),
        ("network = 'No!'\n", "node.toml:1: network: `No!` is not a network name"),
        ("node_type = 'validator'\n", "node.toml:1: node_type: `validator` is no node type; did you mean `Validator`?"),
        ("node_type = 'Observer'\n", "node.toml:1: node_type: `Observer` is no node type; write one of Gateway"),
        ("[net]\nlisten = [\n'/ip4/0.0.0.0/tcp/1',\n'0.0.0.0:7700']\n", "node.toml:2: net.listen[1]: `0.0.0.0:7700`"),
        ("net.listen = ['/dns4/a.example/tcp/1']\n", "net.listen[0]: cannot listen on"),
        ("net.listen = ['/ip4/0.0.0.0/udp/1']\n", "net.listen[0]: cannot listen on"),
        ("net.bootstrap = ['node.example.org']\n", "one looks like /ip4/203.0.113.7/tcp/7700/p2p/12D3Koo…"),
        (
            "api.listen = '0.0.0.0:7780'\n",
            "node.toml:1: api.listen: other machines can reach 0.0.0.0:7780 and there is no",
        ),
        ("api.listen = 'localhost:7780'\n", "api.listen: `localhost:7780` is no socket address; write IP:PORT"),
        ("store.cache_bytes = 1000\n", "store.cache_bytes: 1000 is out of range; write 1048576 to 1099511627776"),
        ("store.flush_every_ms = 0\n", "store.flush_every_ms: 0 is out of range"),
        ("log.level = 'metanode=loud'\n", "node.toml:1: log.level: "),
        ("name = \"a\\u0007\"\n", "node.toml:1: name: write at most 128 bytes without control characters"),
        ("dir = ''\n", "node.toml:1: dir: is empty"),
    ];
    for (text, expected) in cases {
        let said = refusal(from_text(text));
        assert!(said.contains(expected), "{text}\nsaid {said}\nnot  {expected}");
        assert!(said.starts_with("the configuration has a fault:"), "{text}\nsaid {said}");
    }
}

#[test]
fn all_faults_are_reported_at_once() {
    let text = "nme = 'a'\nnode_type = 'X'\n[net]\nmdns = 1\nlisten = ['a', 'b']\n[api]\nlisten = '1.2.3.4:5'\n";
    let outcome = load(text, &[("METANODE_LOG__FORMAT", "xml")], &["store.flush_every_ms=0", "nonsense"]);
    let Err(ConfigError::Faults(faults)) = outcome else { panic!("{outcome:?}") };
    let keys: BTreeSet<_> = faults.iter().map(|fault| fault.key.as_str()).collect();
    let expected = [
        "nme",
        "node_type",
        "net.mdns",
        "net.listen[0]",
        "net.listen[1]",
        "api.listen",
        "log.format",
        "store.flush_every_ms",
        "nonsense",
    ];
    assert_eq!(keys, expected.into());
    assert_eq!(faults.len(), expected.len());
    let origin = |key: &str| faults.iter().find(|fault| fault.key == key).unwrap().origin.to_string();
    assert_eq!(origin("log.format"), "variable METANODE_LOG__FORMAT");
    assert_eq!(origin("store.flush_every_ms"), "--set store.flush_every_ms=0");
    assert!(origin("net.listen[1]").ends_with("node.toml:5"));
}

#[test]
fn an_api_for_other_machines_must_be_asked_for() {
    for loopback in ["127.0.0.1:1", "127.1.2.3:1", "[::1]:1"] {
        assert!(from_text(&format!("api.listen = '{loopback}'")).is_ok(), "{loopback}");
    }
    for remote in ["0.0.0.0:1", "192.168.0.1:1", "[::]:1", "[::ffff:10.0.0.1]:1"] {
        assert!(from_text(&format!("api.listen = '{remote}'")).is_err(), "{remote}");
        assert!(from_text(&format!("api.listen = '{remote}'\napi.allow_remote = true")).is_ok(), "{remote}");
    }
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_line_and_column() {
    let outcome = from_text("name = 'a'\nnetwork = \n");
    assert!(matches!(outcome, Err(ConfigError::Syntax { line: 2, .. })), "{outcome:?}");
    let outcome = from_text("name = 'a'\nname = 'b'\n");
    assert!(matches!(outcome, Err(ConfigError::Syntax { line: 2, .. })), "{outcome:?}");
}

#[test]
fn the_file_is_found_by_flag_variable_or_place() {
    let home = tempfile::tempdir().unwrap();
    let write = |place: &str, name: &str| {
        let path = home.path().join(place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("name = '{name}'")).unwrap();
        path
    };
    let (flag, variable) = (write("flag.toml", "flag"), write("variable.toml", "variable"));
    write(".metanode/config.toml", "home");
    write("other/config.toml", "other");
    let other = home.path().join("other");
    let name = |file: Option<&PathBuf>, env: &[(&str, &Path)]| {
        let env = env.iter().map(|(name, path)| (name.to_string(), path.to_str().unwrap().to_string()));
        Config::load(LoadOptions { file: file.cloned(), env: env.collect(), set: vec![] }).map(|config| config.name)
    };
    let env = [("HOME", home.path()), ("METANODE_CONFIG", &variable), ("METANODE_DIR", &other)];
    assert_eq!(name(Some(&flag), &env).unwrap(), "flag");
    assert_eq!(name(None, &env).unwrap(), "variable");
    assert_eq!(name(None, &[env[0], env[2]]).unwrap(), "other");
    assert_eq!(name(None, &env[..1]).unwrap(), "home");
    assert!(matches!(name(Some(&other.join("none")), &env), Err(ConfigError::Unreadable { .. })));
}

#[test]
fn a_home_is_needed_only_for_paths_that_name_it() {
    let none = LoadOptions::default();
    assert!(refusal(Config::load(none.clone())).contains("dir: ~ needs the variable HOME"));
    let set = vec!["dir=/data".into(), "key.file=/keys/a.json".into()];
    let config = Config::load(LoadOptions { set, ..none }).unwrap();
    assert_eq!(config.key_file(), Path::new("/keys/a.json"));
    let set = ["key.file=~/k.json", "key.passphrase_file=~/p"];
    let config = Config::load(options(&[], &set)).unwrap();
    assert_eq!(config.key.file.unwrap(), Path::new("/home/someone/k.json"));
    assert_eq!(config.key.passphrase_file.unwrap(), Path::new("/home/someone/p"));
}

#[test]
fn a_trusted_block_is_a_height_and_an_id_in_a_file_and_on_the_command_line() {
    let id = "5f".repeat(32);
    let trusted = TrustedBlock { height: 120_000, hash: id.parse().unwrap() };
    let inline = format!("chain.trusted = {{ height = 120000, hash = \"{id}\" }}\n");
    assert_eq!(from_text(&inline).unwrap().chain.trusted, Some(trusted));
    let section = format!("[chain.trusted]\nheight = 120000\nhash = \"{id}\"\n");
    assert_eq!(from_text(&section).unwrap().chain.trusted, Some(trusted));
    assert_eq!(format!("120000:{id}").parse(), Ok(trusted));
    for wrong in ["120000", ":", &format!("0:{id}"), &format!("120000:{}", &id[1..])] {
        let why = wrong.parse::<TrustedBlock>().unwrap_err();
        assert!(why.contains("HEIGHT:HASH"), "{why}");
    }
    assert!(from_text(&inline.replace("120000", "0")).is_err(), "there is no block 0");
    assert!(from_text("chain.trusted = { height = 5 }").is_err(), "a height alone is nothing to trust");
}

#[test]
fn the_catalogue_and_the_structs_agree() {
    fn collect(prefix: &str, table: &toml::Table, found: &mut BTreeSet<String>) {
        for (key, value) in table {
            match value {
                toml::Value::Table(inner) if catalogue::kind(&format!("{prefix}{key}")) != Kind::Value => {
                    collect(&format!("{prefix}{key}."), inner, found)
                }
                _ => drop(found.insert(format!("{prefix}{key}"))),
            }
        }
    }
    let mut config = Config::default();
    config.key.file = Some("a".into());
    config.key.passphrase_file = Some("b".into());
    config.chain.genesis = Some("c".into());
    config.chain.trusted = Some(TrustedBlock { height: 1, hash: Default::default() });
    let table = table_of(&config).unwrap();
    let mut found = BTreeSet::new();
    collect("", &table, &mut found);
    let listed: BTreeSet<String> = ENTRIES.iter().map(|entry| entry.path.to_string()).collect();
    assert_eq!(listed, found);
    assert_eq!(listed.len(), ENTRIES.len(), "a key is listed twice");
    for entry in ENTRIES {
        assert_eq!(catalogue::kind(entry.path), Kind::Value);
        assert!(entry.text.lines().all(|line| line.len() <= 100), "{}", entry.path);
        let has_default = value_at(&table_of(&Config::default()).unwrap(), entry.path).is_some();
        assert_eq!(has_default, entry.example.is_empty(), "{}: a default or an example", entry.path);
    }
}

#[test]
fn a_commented_file_says_the_same_as_the_configuration_it_came_from() {
    let mut changed = from_text("name = 'a \"b\" c'\nnet.profile = 'open'\nretention.system.max_age_s = 0\n").unwrap();
    changed.key.passphrase_file = Some("/etc/p".into());
    changed.chain.trusted = Some(TrustedBlock { height: 7, hash: Default::default() });
    let plain = from_text("").unwrap();
    for config in [changed, plain] {
        let text = config.to_toml_commented().unwrap();
        assert_eq!(from_text(&text).unwrap(), config, "{text}");
        let without_marks = text.replace("# file =", "file =").replace("# passphrase_file =", "passphrase_file =");
        assert!(from_text(&without_marks).is_ok(), "{without_marks}");
        for entry in ENTRIES {
            let key = entry.path.rsplit('.').next().unwrap();
            let shown = text.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} = ")));
            assert!(shown, "{} is missing", entry.path);
        }
        assert!(text.lines().all(|line| line.len() <= 120), "{text}");
    }
}

#[test]
fn every_node_config_loads_and_every_type_has_one() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("node-configs");
    let mut names = BTreeSet::new();
    let mut configs = Vec::new();
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let loaded = Config::load(LoadOptions { file: Some(path.clone()), ..options(&[], &[]) });
        configs.push(loaded.unwrap_or_else(|e| panic!("{}: {e}", path.display())));
        names.insert(path.file_name().unwrap().to_str().unwrap().to_string());
    }
    assert!(names.is_superset(&["observer.toml", "development.toml"].map(String::from).into()));
    let types: BTreeSet<&str> = configs.iter().map(|config| config.node_type.as_str()).collect();
    assert_eq!(types, NODE_TYPES.into());
    for (place, one) in configs.iter().enumerate() {
        for other in &configs[place + 1..] {
            let (one, other) = ((&one.net, &one.retention, &one.name), (&other.net, &other.retention, &other.name));
            assert!((one.0, one.1) != (other.0, other.1), "{} and {}", one.2, other.2);
        }
        assert_eq!(one.key.allow_plain, one.name == "development", "{}", one.name);
    }
}

#[test]
fn there_are_sixteen_types_of_node() {
    assert_eq!(NODE_TYPES.iter().collect::<BTreeSet<_>>().len(), 16);
    for name in NODE_TYPES {
        assert!(from_text(&format!("node_type = '{name}'")).is_ok(), "{name}");
    }
}

#[test]
fn a_configuration_made_in_memory_can_be_checked() {
    assert!(Config::default().check().is_ok());
    let mut config = Config::default();
    config.net.limits.per_peer = 0;
    let text = config.check().unwrap_err().to_string();
    assert!(text.contains("\n  net.limits.per_peer: 0 is out of range"), "{text}");
}
