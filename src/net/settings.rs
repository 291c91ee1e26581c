//! The two profiles of settings. Why each number: `docs/network.md`.

use std::time::Duration;

use libp2p::gossipsub;

use super::error::NetError;
use crate::config::Profile;
use crate::types::limits;
use crate::wire::PREFIX_BYTES;

/// Bytes of a gossip message id.
const MESSAGE_ID_BYTES: usize = 20;

/// The gossip settings of a profile.
pub fn gossip(profile: Profile) -> Result<gossipsub::Config, NetError> {
    let mut config = gossipsub::ConfigBuilder::default();
    config
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(message_id)
        .max_transmit_size(limits::BUNDLE_BYTES + PREFIX_BYTES + 1024)
        .history_length(12)
        .history_gossip(4)
        .max_control_messages_sent(500)
        .max_control_message_size(128 << 10)
        .max_ihave_messages_heartbeat(32);
    match profile {
        Profile::Small => config
            .mesh_n(4)
            .mesh_n_low(2)
            .mesh_n_high(8)
            .mesh_outbound_min(1)
            .heartbeat_interval(Duration::from_millis(600))
            .heartbeat_initial_delay(Duration::from_millis(100))
            .flood_publish(true)
            .prune_backoff(Duration::from_secs(2))
            .unsubscribe_backoff(Duration::from_secs(1))
            .duplicate_cache_time(Duration::from_secs(180))
            .connection_handler_queue_len(512),
        Profile::Open => config
            .mesh_n(8)
            .mesh_n_low(5)
            .mesh_n_high(12)
            .mesh_outbound_min(3)
            .heartbeat_interval(Duration::from_secs(1))
            .heartbeat_initial_delay(Duration::from_secs(1))
            .flood_publish(false)
            .prune_backoff(Duration::from_secs(60))
            .duplicate_cache_time(Duration::from_secs(600))
            .connection_handler_queue_len(128),
    };
    config.build().map_err(|e| NetError::Settings(e.to_string()))
}

/// A digest of topic and content: the same bytes on another topic are another message, and no author can choose an id.
fn message_id(message: &gossipsub::Message) -> gossipsub::MessageId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(message.topic.as_str().as_bytes()).update(&[0]).update(&message.data);
    let mut id = [0; MESSAGE_ID_BYTES];
    hasher.finalize_xof().fill(&mut id);
    gossipsub::MessageId::new(&id)
}

/// Peer scoring for gossip alone: who sends what is refused loses its place in the mesh. Bans are the node's, and
/// addresses shared by honest nodes (one machine, one office) are not held against them.
pub fn gossip_score() -> (gossipsub::PeerScoreParams, gossipsub::PeerScoreThresholds) {
    let score = gossipsub::PeerScoreParams {
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: -1.0,
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: 0.9,
        ..Default::default()
    };
    let thresholds = gossipsub::PeerScoreThresholds {
        gossip_threshold: -50.0,
        publish_threshold: -100.0,
        graylist_threshold: -200.0,
        ..Default::default()
    };
    (score, thresholds)
}

/// The score of one topic: only invalid messages count. A quiet topic is no fault.
pub fn topic_score() -> gossipsub::TopicScoreParams {
    gossipsub::TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -10.0,
        invalid_message_deliveries_decay: 0.9,
        ..Default::default()
    }
}
