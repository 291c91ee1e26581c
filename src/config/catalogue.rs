//! Every key of a configuration: its path, what it means, and an example where it has no default.
//!
//! The one list behind three things: which keys are known, what is suggested for one that is not, and the commented
//! file. A test holds it against the structs.

use super::nearest::nearest;

/// A key.
pub(super) struct Entry {
    /// Path with dots.
    pub path: &'static str,
    /// What an operator needs to know, lines of at most 100 characters.
    pub text: &'static str,
    /// A value as TOML, for a key without default.
    pub example: &'static str,
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A value.
    Value,
    /// A table of the file.
    Section,
    /// Nothing.
    Unknown,
}

const fn key(path: &'static str, text: &'static str) -> Entry {
    Entry { path, text, example: "" }
}

const fn optional(path: &'static str, text: &'static str, example: &'static str) -> Entry {
    Entry { path, text, example }
}

const AGE: &str = "Seconds after which messages of this category go; 0 keeps them for ever.";
const BYTES: &str = "Bytes of this category beyond which the oldest messages go; 0 sets no bound.";

/// All keys, in the order of the file.
pub(super) const ENTRIES: &[Entry] = &[
    key(
        "network",
        "The network this node belongs to: 1 to 32 of a-z, 0-9 and -.\n\
         Nodes of different networks never hear each other.",
    ),
    key("name", "A name for people to see beside the node's id."),
    key(
        "node_type",
        "What the node is: Gateway, Mempool, Consensus, Oracle, Storage, Audit, Proof, BankApiRegistry,\n\
         GovernmentApiRegistry, ShadowRegistry, Mining, Validator, Notary, BpciServer, EnterpriseGateway\n\
         or ComplianceNode.",
    ),
    key(
        "services",
        "Services this node offers beside those of its type. Who sends a message to service:NAME reaches\n\
         one of the nodes that offer it.",
    ),
    key(
        "alerts",
        "Conditions worth an alert, beside the built-in ones (`metanode alerts`) or, by name, in their\n\
         place: [{ name = \"slow\", metric = \"latency_p99_ms\", comparison = \"above\", threshold = 500,\n\
         for_s = 30, announce = true }]. With announce the network is told; enabled = false takes one away.\n\
         [[alerts]] at the end of the file is the same. docs/flow.md lists the metrics.",
    ),
    key("dir", "Everything the node keeps is in this directory. A leading ~/ is the home directory."),
    optional("key.file", "The node's key file. Without this line: key.json in `dir`.", "\"~/.metanode/key.json\""),
    optional(
        "key.passphrase_file",
        "A file, mode 0600, with the passphrase on its first line. Without this line the variable\n\
         METANODE_PASSPHRASE is used, or you are asked at the terminal.",
        "\"/etc/metanode/passphrase\"",
    ),
    key("key.allow_plain", "Accept a key file that is not encrypted. For test networks only."),
    key(
        "net.profile",
        "Gossip settings: \"small\" for 2 to 20 nodes that know each other, \"open\" for many nodes of many\nowners.",
    ),
    key(
        "net.packing",
        "How far messages are packed at most, and what peers are asked to send: \"zstd\", \"lz4\" (less of a\n\
         processor) or \"none\". A node packs no further than all its peers ask for.",
    ),
    key("net.listen", "Multiaddresses to listen on, TCP or QUIC. Empty: the node only dials."),
    key("net.external", "Multiaddresses under which others reach this node, behind a router for example."),
    key("net.bootstrap", "Multiaddresses of nodes to join by, as `metanode start` prints them."),
    key("net.mdns", "Look for nodes on the local network segment."),
    key("net.target_peers", "Connected peers the node tries to have."),
    key("net.kademlia_server", "Answer other nodes' searches. Turn it off where others cannot dial this node."),
    key("net.limits.per_peer", "Connections with one peer."),
    key("net.limits.per_address", "Connections from one IP address."),
    key("net.limits.incoming", "Connections opened by others."),
    key("net.limits.outgoing", "Connections opened by this node."),
    key("net.limits.total", "Connections together."),
    key("api.listen", "Socket address of the HTTP API, IP:PORT."),
    key(
        "api.allow_remote",
        "Let `listen` be an address that other machines reach. The API has no authentication yet: whoever\n\
         reaches it can publish as this node.",
    ),
    key("store.cache_bytes", "Memory for cached pages, bytes."),
    key("store.flush_every_ms", "What need not be on disk at once is there after this many milliseconds."),
    key(
        "flow.scheduler",
        "How priorities share the way out when more is said than can leave: \"strict\", \"weighted\" (shares\n\
         of 16, 8, 4, 2, 1), \"deficit\" (the same in turns) or \"adaptive\" (more for what is late).",
    ),
    key(
        "flow.route_strategy",
        "Which way messages for a single node or service go: \"fastest\", \"reliable\", \"balanced\" (0.3 time,\n\
         0.4 loss, 0.3 load) or \"first\" (the fewest hops).",
    ),
    key("retention.system.max_age_s", AGE),
    key("retention.system.max_bytes", BYTES),
    key("retention.consensus.max_age_s", AGE),
    key("retention.consensus.max_bytes", BYTES),
    key("retention.economic.max_age_s", AGE),
    key("retention.economic.max_bytes", BYTES),
    key("retention.security.max_age_s", AGE),
    key("retention.security.max_bytes", BYTES),
    key("retention.data.max_age_s", AGE),
    key("retention.data.max_bytes", BYTES),
    key("retention.governance.max_age_s", AGE),
    key("retention.governance.max_bytes", BYTES),
    key("retention.monitoring.max_age_s", AGE),
    key("retention.monitoring.max_bytes", BYTES),
    key("retention.external.max_age_s", AGE),
    key("retention.external.max_bytes", BYTES),
    optional(
        "chain.genesis",
        "What the chain begins with, the same file at every node; `metanode ledger genesis new` writes one.\nWithout this line the node takes part in no chain.",
        "\"~/.metanode/genesis.toml\"",
    ),
    key(
        "chain.validator",
        "Vote, when this node's key is a validator's. A key must vote at one place only: turn it off at every\ncopy.",
    ),
    key(
        "chain.vote_without_log",
        "Vote at a height of which the log of this node's votes is lost. Only when all validators have\nlost theirs: two votes for one place cost a part of the stake.",
    ),
    key(
        "chain.heartbeat_ms",
        "Without transactions a block is made this long after the last, milliseconds, so that epochs end.\n0 is never.",
    ),
    optional(
        "chain.trusted",
        "A block that is known to be final: its height and its id, as `metanode ledger block HEIGHT` shows\n\
         them to operators you trust. A node far behind it begins there; one that finds another block at\n\
         that height stops, and says what to do.",
        "{ height = 120000, hash = \"ID\" }",
    ),
    key(
        "chain.snapshot_behind",
        "A node that is so many blocks behind fetches the state as it is now, not every block before it.\n0 is never.",
    ),
    key("chain.cadence_ms", "From one block to the next, at least, milliseconds. Without transactions there are none."),
    key("chain.propose_ms", "For a proposed block to come and be checked, milliseconds. Votes get a third of it."),
    key("log.format", "\"text\" for people or \"json\" for programs."),
    key("log.level", "What is logged: error, warn, info, debug, trace, or by module: \"info,metanode::net=debug\"."),
];

/// What `path` names.
pub(super) fn kind(path: &str) -> Kind {
    if ENTRIES.iter().any(|entry| entry.path == path) {
        Kind::Value
    } else if ENTRIES.iter().any(|entry| entry.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))) {
        Kind::Section
    } else {
        Kind::Unknown
    }
}

/// The path that was probably meant by an unknown one: the nearest by spelling, else one with the same last part.
pub(super) fn suggestion(path: &str) -> Option<&'static str> {
    let paths = || ENTRIES.iter().map(|entry| entry.path);
    let sections = || paths().filter_map(|path| section(path));
    nearest(path, paths().chain(sections())).or_else(|| {
        let last = path.rsplit('.').next().unwrap_or(path);
        paths().find(|known| known.rsplit('.').next() == Some(last))
    })
}

/// The table that a key is in; none for one at the top.
pub(super) fn section(path: &'static str) -> Option<&'static str> {
    path.rsplit_once('.').map(|(section, _)| section)
}
