//! Bare gossipsub between two peers of this process: what rust-libp2p does alone, without signatures, stores and proof.
//! For comparison in `metanode bench beside`; no node speaks to it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, ValidationMode};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm, SwarmBuilder, noise, tcp, yamux};

use super::error::NetError;
use crate::types::limits;

/// The peers meet within this, and nothing is silent for longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Frames the publisher may be ahead of the other peer: more would overrun gossipsub's queue, which then drops.
const AHEAD: u64 = 256;

/// How long it took to gossip `frames` frames of eight bytes or more, each another's bytes apart from its first eight, from one peer until the
/// last was at the other.
pub async fn gossip_alone(frame: &[u8], frames: u64) -> Result<Duration, NetError> {
    let topic = IdentTopic::new("bare");
    let (mut one, mut two) = (swarm(&topic)?, swarm(&topic)?);
    let wrong = |e: String| NetError::Transport(e);
    let listen: Multiaddr = "/ip4/127.0.0.1/tcp/0".parse().map_err(|_| wrong("no loopback address".into()))?;
    one.listen_on(listen).map_err(|e| wrong(e.to_string()))?;
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = one.select_next_some().await {
            break address;
        }
    };
    two.dial(address).map_err(|e| wrong(e.to_string()))?;
    let meet = async {
        let hash = topic.hash();
        while one.behaviour().mesh_peers(&hash).next().is_none() || two.behaviour().mesh_peers(&hash).next().is_none() {
            tokio::select! {
                _ = one.select_next_some() => {}
                _ = two.select_next_some() => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, meet).await.map_err(|_| wrong("the peers did not meet".into()))?;
    carry(one, two, topic, frame, frames).await
}

async fn carry(
    mut one: Swarm<gossipsub::Behaviour>,
    mut two: Swarm<gossipsub::Behaviour>,
    topic: IdentTopic,
    frame: &[u8],
    frames: u64,
) -> Result<Duration, NetError> {
    let start = Instant::now();
    let (told, mut heard) = tokio::sync::watch::channel(0_u64);
    let reader = tokio::spawn(async move {
        let mut count = 0;
        while count < frames {
            let event = tokio::time::timeout(PATIENCE, two.select_next_some()).await;
            match event {
                Ok(SwarmEvent::Behaviour(gossipsub::Event::Message { .. })) => count += 1,
                Ok(_) => {}
                Err(_) => return Err(NetError::Transport(format!("{count} of {frames} frames came"))),
            }
            told.send_replace(count);
        }
        Ok(start.elapsed())
    });
    let (mut said, mut bytes) = (0_u64, frame.to_vec());
    while said < frames {
        while said < frames && said < *heard.borrow_and_update() + AHEAD {
            if let Some(place) = bytes.first_chunk_mut::<8>() {
                *place = said.to_le_bytes();
            }
            match one.behaviour_mut().publish(topic.clone(), Bytes::copy_from_slice(&bytes)) {
                Ok(_) => said += 1,
                Err(gossipsub::PublishError::AllQueuesFull(_)) => break,
                Err(e) => return Err(NetError::Transport(e.to_string())),
            }
        }
        tokio::select! {
            _ = one.select_next_some() => {}
            changed = heard.changed() => if changed.is_err() { break },
        }
    }
    // What was said is written while the swarm is driven.
    let mut reader = reader;
    loop {
        tokio::select! {
            _ = one.select_next_some() => {}
            done = &mut reader => return done.map_err(|e| NetError::Transport(e.to_string()))?,
        }
    }
}

fn swarm(topic: &IdentTopic) -> Result<Swarm<gossipsub::Behaviour>, NetError> {
    let wrong = |e: String| NetError::Transport(e);
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(numbered)
        .max_transmit_size(limits::BUNDLE_BYTES)
        .heartbeat_initial_delay(Duration::from_millis(100))
        .heartbeat_interval(Duration::from_millis(200))
        .mesh_n_low(1)
        .mesh_n(1)
        .mesh_outbound_min(0)
        .connection_handler_queue_len(512)
        .build()
        .map_err(|e| wrong(e.to_string()))?;
    let mut gossip: gossipsub::Behaviour =
        gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).map_err(|e| wrong(e.into()))?;
    gossip.subscribe(topic).map_err(|e| wrong(e.to_string()))?;
    let builder = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(|e| wrong(e.to_string()))?
        .with_behaviour(|_| gossip)
        .map_err(|e| wrong(e.to_string()))?;
    Ok(builder.build())
}

/// The number in front of a frame: anonymous frames have no other name.
fn numbered(message: &gossipsub::Message) -> gossipsub::MessageId {
    gossipsub::MessageId::new(message.data.get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_frame_arrives() {
        assert!(gossip_alone(&[7; 300], 1_000).await.unwrap() > Duration::ZERO);
    }
}
