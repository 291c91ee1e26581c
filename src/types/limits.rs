//! Every bound of the program that another node or a client can run into, with its unit.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Encoded message, bytes.
pub const MESSAGE_BYTES: usize = 256 * KIB;
/// Encoded bundle, bytes, and its body before and after compression.
pub const BUNDLE_BYTES: usize = MIB;
/// Bundles in one gossip frame.
pub const FRAME_BUNDLES: usize = 1024;
/// Bodies of all bundles of one gossip frame, unpacked, bytes.
pub const FRAME_BODY_BYTES: usize = BUNDLE_BYTES;
/// Messages in one bundle.
pub const BUNDLE_MESSAGES: usize = 4096;
/// Bundles of one feed: sequences are below it, so that a number past any of them is a number.
pub const SEQUENCES: u64 = 1 << 63;
/// A bundle is sealed at this size even under load: what one gossip frame carries well, bytes.
pub const BUNDLE_TARGET_BYTES: usize = 60 * KIB;
/// Header entries of one message.
pub const HEADERS: usize = 32;
/// Tags of one message.
pub const TAGS: usize = 32;
/// A tag, a header's name, a service, layer or type name, bytes.
pub const NAME_BYTES: usize = 128;
/// A header's value, bytes.
pub const HEADER_VALUE_BYTES: usize = 4 * KIB;

/// A stamp further ahead of the wall clock than this is refused until its time has come.
pub const MAX_FUTURE: Duration = Duration::from_secs(15);
/// One further ahead than this is refused for another reason, and nobody is told that it waits.
pub const DAY_AHEAD: Duration = Duration::from_secs(24 * 3600);
/// Bundles with writes from the future that are told of, until their time has come, and changes of each of them.
pub const DEFERRED: usize = 256;
pub const DEFERRED_CHANGES: usize = 64;
/// A remote stamp pushes a node's clock at most this far ahead of its wall clock.
pub const MAX_CLOCK_PUSH: Duration = Duration::from_secs(2);
/// How far ahead of use the clock's ceiling is persisted. After a crash a node's stamps begin there: so far in the
/// future that others would put them off is too far.
pub const CLOCK_RESERVE: Duration = Duration::from_secs(6);
/// The same for readings that only count up, 65,536 in a millisecond: twice what many full steps can use.
pub const COUNT_RESERVE: Duration = Duration::from_millis(400);
/// Ids of one bundle are stamped within this long before the bundle's own stamp.
pub const BUNDLE_SPAN: Duration = Duration::from_secs(60);

/// A frame of the sync protocol, bytes.
pub const FRAME_BYTES: usize = 4 * MIB;
/// A row of the store that is read into fields, bytes of its fields in memory.
pub const ROW_BYTES: usize = 4 * MIB;
/// Bundles in one answer to a range request, their bodies unpacked, bytes: the answer ends with the one that reaches it.
pub const RANGE_BYTES: usize = 2 * MIB;
/// Bundles in one answer to a range request.
pub const RANGE_BUNDLES: usize = 1024;
/// Bundles in one run of the log.
pub const RUN_BUNDLES: u32 = 1024;
/// Feed heads in one frame.
pub const HEADS: usize = 4096;
/// Range requests under way at once, to all peers.
pub const RANGES_IN_FLIGHT: usize = 32;
/// Range requests under way at once, to one peer.
pub const RANGES_PER_PEER: usize = 4;
/// Answers on their way to one peer, and to all: each is a few MiB at most.
pub const ANSWERS_PER_PEER: usize = 8;
pub const ANSWERS: usize = 48;
/// Feeds of which a peer is believed to hold something that is missing here.
pub const CLAIMS_PER_PEER: usize = 4_096;
/// After this long a request counts as failed and another peer is asked.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests a peer may make before it must wait.
pub const REQUEST_BURST: u32 = 512;
/// Requests a peer may make in a second, over time.
pub const REQUESTS_PER_SECOND: u32 = 256;

/// Out-of-order bundles held in memory for one feed, count.
pub const HELD_PER_FEED: usize = 64;
/// Out-of-order bundles held in memory, bytes, unpacked.
pub const HELD_BYTES: usize = 32 * MIB;
/// Out-of-order bundles whose gap does not close are let go after so many rounds of [`RETENTION_EVERY`]: a minute.
pub const HELD_TICKS: u32 = 12;
/// Runs of one feed with holes between them.
pub const CHAIN_RUNS: usize = 8;
/// Feeds a node follows. Beyond it, feeds of new authors are refused.
pub const FEEDS: usize = 65_536;
/// Feeds of one author a node follows: topics times incarnations, so at least a thousand crashes of a node that speaks
/// on all topics.
pub const FEEDS_PER_AUTHOR: usize = 8_192;

/// Messages and bytes that wait in one lane before it is full.
pub const LANE_MESSAGES: usize = 65_536;
pub const LANE_BYTES: usize = 32 * MIB;
/// What this node has said and a peer does not hold yet, bytes at most, before the rest waits in the lanes; and how many
/// peers are asked how far they are.
pub const WINDOW_BYTES: usize = 4 * MIB;
pub const WINDOW_PEERS: usize = 16;
/// Drafts of the Normal lane that wait on the disk when it is full, bytes.
pub const SPILL_BYTES: u64 = 1 << 30;
/// For so long after something Critical steps are short: the next may come at any moment.
pub const URGENT_MEMORY: Duration = Duration::from_secs(1);
/// Drafts of clients taken into one step; one call is always taken whole.
pub const STEP_DRAFTS: usize = 2 * PUBLISH_BATCH;
/// What one step seals, bytes: what comes later and is more urgent waits for no more than this.
pub const STEP_SEAL_BYTES: usize = MIB;
/// Verified bundles taken into one step, bytes in memory.
pub const STEP_BUNDLE_BYTES: usize = 2 * MIB;
/// Messages in one publish call.
pub const PUBLISH_BATCH: usize = 4096;
/// Publish calls queued for the node before clients are pushed back.
pub const CALL_QUEUE: usize = 256;
/// Frames waiting for the node after verification, in each of two queues; a frame unpacks to at most
/// [`FRAME_BODY_BYTES`].
pub const INPUT_QUEUE: usize = 96;
/// Frames of what is not kept that a listener may fall behind.
pub const EPHEMERAL_QUEUE: usize = 128;
/// Places of what passed the stages that whoever taps may fall behind, and bundles or calls in one of them: a few MiB
/// of messages in the common case.
pub const TAP_QUEUE: usize = 128;
pub const TAP_PASSAGES: usize = 16;
/// A frame of Critical messages that goes on a stream of its own, bytes, and how many peers it is sent to at once; a
/// larger one, and what other peers get, goes by gossip alone.
pub const URGENT_BYTES: usize = 64 * KIB;
pub const URGENT_PEERS: usize = 8;
/// Such frames of one peer, and of all, that are being taken.
pub const URGENT_IN_FLIGHT: usize = 32;
pub const URGENT_IN_FLIGHT_ALL: usize = 128;
/// Frames waiting for a verifier. Beyond it gossip is let go and repaired later.
pub const VERIFY_QUEUE: usize = 512;
/// Inputs taken into one step.
pub const STEP_INPUTS: usize = 512;
/// Body of an API request, bytes.
pub const API_BODY_BYTES: usize = 8 * MIB;
/// What the messages of one request take with the tags and headers that its query gives to each, bytes.
pub const API_DRAFT_BYTES: usize = 32 * MIB;
/// Messages a query answers at most.
pub const QUERY_MESSAGES: usize = 10_000;
/// Messages of one page, bytes; one message is always in it.
pub const PAGE_BYTES: usize = 4 * MIB;
/// What a subscriber's page may keep in memory, bytes; one message is always in it.
pub const SUBSCRIBER_BYTES: usize = 256 * KIB;
/// A live subscriber further behind than this skips to the newest and is told so, messages.
pub const SUBSCRIBER_LAG: u64 = 100_000;
/// Subscribers at once.
pub const SUBSCRIBERS: usize = 1024;
/// Connections to the API at once: every subscriber, and as many requests beside them as one machine makes.
pub const API_CONNECTIONS: usize = SUBSCRIBERS + 256;

/// Alert rules of an operator.
pub const ALERTS: usize = 64;
/// Peers remembered with their addresses.
pub const KNOWN_PEERS: usize = 1024;
/// Addresses remembered for one peer.
pub const PEER_ADDRESSES: usize = 8;
/// Idempotency keys remembered.
pub const IDEMPOTENCY_KEYS: usize = 65_536;
/// An idempotency key is remembered for this long.
pub const IDEMPOTENCY_AGE: Duration = Duration::from_secs(600);

/// A node says that it lives, and what it holds, this often while that changes.
pub const HEARTBEAT: Duration = Duration::from_secs(2);
/// And this often while it does not, and its peers hold the same.
pub const HEARTBEAT_AT_REST: Duration = Duration::from_secs(6);
/// Retention is enforced this often.
pub const RETENTION_EVERY: Duration = Duration::from_secs(5);

/// Durable subscriptions.
pub const SUBSCRIPTIONS: usize = 1_024;
/// Messages of one durable subscription that are ready, leased or waiting, at most.
pub const SUBSCRIPTION_OPEN: usize = 10_000;
/// Tags and authors in one durable filter.
pub const FILTER_WORDS: usize = 256;
/// A webhook's address, bytes.
pub const URL_BYTES: usize = 2_048;
/// Positions a subscription looks past, with nothing found, before it writes down how far it is.
pub const SCAN_SAVE: u64 = 1_024;
/// Messages leased in one call.
pub const LEASE_MESSAGES: usize = 1_000;
/// Messages settled in one call.
pub const SETTLE_MESSAGES: usize = 10_000;
/// Messages handed out in one answer, bytes; one is always handed out.
pub const LEASE_BYTES: usize = 4 * MIB;
/// A sink that failed so often, one time after the other, is down.
pub const BREAKER_FAILURES: u32 = 3;
/// A sink that is down is tried again after this long, then twice as long, up to the most.
pub const BREAKER_FIRST: Duration = Duration::from_secs(1);
pub const BREAKER_MOST: Duration = Duration::from_secs(60);
/// The reason of a failure, a pause or a dead letter, characters.
pub const REASON_CHARS: usize = 512;
/// Failures of one message that are remembered, the newest.
pub const FAILURE_HISTORY: usize = 8;
/// Dead letters kept, of all subscriptions. Beyond it nothing is dropped: messages wait, and die later.
pub const DEAD_LETTERS: usize = 65_536;
/// The same in bytes of the messages.
pub const DEAD_LETTER_BYTES: usize = 256 * MIB;
/// Services a node offers beside those of its type.
pub const SERVICES: usize = 32;
/// Nodes a direct bundle passes at most, its reader included.
pub const HOPS: usize = 8;
/// A direct bundle, bytes: one message of the largest size, or many small ones.
pub const DIRECT_BYTES: usize = MESSAGE_BYTES + 64 * KIB;
/// Direct bundles older than this are not taken, so that one that was let go is not taken for new.
pub const DIRECT_AGE: Duration = Duration::from_secs(48 * 3600);
/// Lives of authors of one topic of whose direct bundles something is kept, or is not to be taken again. Beyond it the
/// oldest bundles go, and authors that are new here come again.
pub const DIRECT_LIVES: usize = 16_384;
/// A direct message that does not expire by itself is kept for its reader this long.
pub const DIRECT_KEEP: Duration = Duration::from_secs(24 * 3600);
/// Destinations that direct messages wait for at once.
pub const DESTINATIONS: usize = 1_024;
/// Direct bundles under way to one destination, and to all.
pub const DIRECT_IN_FLIGHT: usize = 32;
pub const DIRECT_IN_FLIGHT_ALL: usize = 256;
/// Direct bundles of others that are being carried on, of one peer's and of all: each may have to wait for a silent
/// node, and takes one of the places above meanwhile. The rest is for what is for this node.
pub const RELAYED_PER_PEER: usize = 8;
pub const RELAYED: usize = DIRECT_IN_FLIGHT_ALL / 2;
/// Links a node reports, and nodes whose reports are remembered.
pub const LINKS: usize = 64;
pub const LINK_REPORTS: usize = 4_096;
/// A node reports its links this often; a report that is older than three times this counts no more.
pub const LINK_REPORT_EVERY: Duration = Duration::from_secs(10);

/// Dead letters looked through in one step of the node.
pub const DEAD_SWEEP: usize = 4_096;

/// Changes in one write to replicated state; they are applied together or not at all.
pub const WRITE_CHANGES: usize = 64;
/// A collection's name, bytes.
pub const COLLECTION_BYTES: usize = 128;
/// A path in a collection, bytes and segments.
pub const PATH_BYTES: usize = 512;
pub const PATH_SEGMENTS: usize = 32;
/// Versions one change takes the place of.
pub const OVER_VERSIONS: usize = 256;
/// A value of a register, bytes of JSON.
pub const REGISTER_BYTES: usize = 64 * KIB;
/// An element of a set, bytes of JSON.
pub const ELEMENT_BYTES: usize = 4 * KIB;
/// Collections a node holds. Writes to others are not taken.
pub const COLLECTIONS: usize = 4_096;
/// Writes of one cell that are kept after they were superseded, the newest. Twice as many may be there for a while.
/// Those that lost a conflict stay beside them.
pub const CELL_HISTORY: usize = 32;
/// What happened to the state is remembered for so many changes. A reader further behind is told what it missed.
pub const STATE_EVENTS: u64 = 262_144;
/// Changes of the state applied in one step; what is more waits for the next.
pub const STEP_CHANGES: usize = 4_096;
/// Rows judged anew in one step.
pub const STEP_SWEEP: usize = 2_048;
/// Parts of the state that wait to be judged anew. Beyond it the oldest are judged within the step.
pub const SWEEPS: usize = 1_024;
/// Entries of one page of state.
pub const STATE_PAGE: usize = 1_000;

/// Ranges in one frame about what is retained, and tags in all of them.
pub const RANGE_PARTS: usize = 8_192;
pub const RANGE_TAGS: usize = 65_536;
/// Retained writes looked at one by one to answer one frame: what is below them is asked for again.
pub const RANGE_LOOKS: usize = 65_536;
/// Retained writes handed over in one answer, and their messages, bytes; one bundle's are always handed over.
pub const RANGE_WRITES: usize = 4_096;
pub const WRITES_BYTES: usize = MIB;
/// A request that brings writes, bytes: an excerpt more than [`WRITES_BYTES`], and what surrounds them.
pub const STATE_REQUEST_BYTES: usize = 3 * MIB;
/// Bundles that the writes of one frame come from.
pub const EXCERPTS: usize = 4_096;
/// A chunk of a checkpoint, bytes, and what it unpacks to: as many writes as one answer hands over, their bundles'
/// messages up to [`WRITES_BYTES`] and one bundle more, and the hashes around them.
pub const CHUNK_BYTES: usize = 6 * MIB;
/// Writes a node compares with a peer one by one, now and then, though their sums are equal.
pub const AUDIT_WRITES: u64 = 4_096;
/// How often, for each peer.
pub const AUDIT_EVERY: Duration = Duration::from_secs(60);
/// Peers compared with at once.
pub const SESSIONS: usize = 4;
/// Frames of one session, both ways, what they bring, bytes, and how long it may take.
pub const SESSION_FRAMES: u32 = 16_384;
pub const SESSION_BYTES: u64 = 4 << 30;
pub const SESSION_TIME: Duration = Duration::from_secs(900);
/// Requests of one session under way.
pub const SESSION_REQUESTS: usize = 8;
/// Ranges and tags a session remembers to ask for. What is more is found by the next one.
pub const SESSION_PARTS: usize = 262_144;
pub const SESSION_TAGS: usize = 2 << 20;
/// Writes younger than this are not compared: gossip and the feeds bring them.
pub const RANGE_AGE: Duration = Duration::from_secs(5);
/// After a session that found nothing of use a peer is left alone for so long, then twice as long, up to the most.
pub const SESSION_FIRST: Duration = Duration::from_secs(2);
pub const SESSION_MOST: Duration = Duration::from_secs(120);
/// Validators endorse no time longer ago than this, and nobody believes an endorsement of one that was before its block:
/// of what was before most writes there is nothing to be missed.
pub const ENDORSED_AGE: Duration = Duration::from_secs(3_600);
/// Collections in one frame.
pub const COLLECTION_HEADS: usize = 1_024;
/// Writes of a roll in one frame.
pub const ROLL_ENTRIES: usize = 4_096;
/// Writes that count below a floor, at most: more are retained by no node whose memory is of this time, and a roll of so
/// many is a gigabyte and a half on the disk of whoever takes it from a peer.
pub const FLOOR_WRITES: u64 = 16 << 20;
/// Floors of one author that are retained beside the one that was said last: the highest.
pub const FLOORS_OF_AUTHOR: usize = 8;
/// While a floor is said that a node has not come to, it asks a peer of the same root so often which floors it has.
pub const FLOORS_EVERY: Duration = Duration::from_secs(10);
/// A floor waits for every node heard from in this time, and counts a root that was equal when heard for so long.
pub const FLOOR_MEMBERS: Duration = Duration::from_secs(3 * 24 * 3600);
pub const FLOOR_ALIKE: Duration = Duration::from_secs(10);
/// What is younger than this is above a floor, unless an operator says otherwise.
pub const FLOOR_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Excerpts looked through for what is not needed any more, at each round of [`RETENTION_EVERY`].
pub const TIDY_EXCERPTS: usize = 256;

/// Shared graphs that an API holds in memory at once.
pub const GRAPHS: usize = 32;
/// Nodes and edges of one of them, each.
pub const GRAPH_ITEMS: usize = 250_000;
/// Nodes and edges of a graph at a time, and of a snapshot in one piece.
pub const GRAPH_PAST_ITEMS: usize = 10_000;
/// The id of a node or an edge of a graph, bytes.
pub const GRAPH_ID_BYTES: usize = NAME_BYTES;
/// Positions in one binary frame.
pub const FRAME_POSITIONS: usize = 8_192;
