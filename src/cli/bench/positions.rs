//! From a client that moves the nodes of a graph 60 times a second to clients of two node processes, over WebSocket.
//!
//! A frame's lag is from the moment its sender begins to send it until a client has read it, one clock for all. The x of
//! every node is the number of the frame it is of, so nothing else has to be said. A frame that a client skipped, because
//! a newer one came first, is not counted as lag but as missing in the rate.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use reqwest::{Client, Url};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::e2e::{Network, Node};
use super::report::{Latency, Report, Spent};
use super::{BenchArgs, limit, pair, rig};
use crate::types::{WallMs, limits};
use crate::wire::{Place, PositionFrame};

/// Frames are so far apart.
const FRAME_EVERY: Duration = Duration::from_micros(16_667);
/// Nothing comes for so long: the run has failed.
const SILENCE: Duration = Duration::from_secs(30);
/// Frames that are sent before anything is measured.
const WARM_UP: u32 = 30;
/// The graph.
const GRAPH: &str = "bench";

type Socket = WebSocketStream<TcpStream>;

/// When each frame was sent.
type Sent = Arc<Mutex<Vec<Instant>>>;

/// Measures, in a folder that is not there yet.
pub async fn measure(args: &BenchArgs, folder: &Path) -> anyhow::Result<Report> {
    let network = Network::up(folder, 2).await?;
    let measured = run(args, &network).await;
    network.down().await?;
    measured
}

async fn run(args: &BenchArgs, network: &Network) -> anyhow::Result<Report> {
    let [one, two] = network.nodes.as_slice() else { bail!("two nodes were asked for") };
    let bytes_a_frame = 16 + 28 * args.moving;
    let limits = limit::measure(bytes_a_frame as usize);
    let http = Client::builder().no_proxy().build()?;
    fill(args, &http, one).await?;
    see(args, &http, two).await?;
    let (sink, _replies) = open(one, "?listen=false").await?.split();
    let sent: Sent = Arc::default();
    let mut readers = JoinSet::new();
    for number in 0..args.clients {
        let (_, stream) = open(if number % 2 == 0 { one } else { two }, "").await?.split();
        readers.spawn(read(stream, sent.clone(), args.frames + WARM_UP));
    }
    let (cpu, start) = (network.cpu_seconds() + rig::cpu_seconds(), Instant::now());
    send(args, sink, &sent).await?;
    let mut lags = Vec::new();
    while let Some(read) = readers.join_next().await {
        lags.extend(read??);
    }
    let seconds = start.elapsed().as_secs_f64();
    let cpu_seconds = network.cpu_seconds() + rig::cpu_seconds() - cpu;
    let frames = lags.len() as u64;
    let per_second = frames as f64 / seconds;
    Ok(Report {
        size_bytes: bytes_a_frame,
        messages: frames,
        messages_per_second: per_second,
        megabytes_per_second: per_second * f64::from(bytes_a_frame) / 1e6,
        latency_ms: Latency::of(lags),
        resident_bytes: network.resident_bytes(),
        ..Report::new("positions", 2, args, limits, Spent { seconds, cpu_seconds })
    })
}

fn id(number: u32) -> String {
    format!("node-{number}")
}

/// Adds the nodes of the graph.
async fn fill(args: &BenchArgs, http: &Client, node: &Node) -> anyhow::Result<()> {
    let bar = pair::progress(u64::from(args.moving));
    for number in 0..args.moving {
        let url = format!("{}/v1/graphs/{GRAPH}/nodes/{}?ack=accepted", node.api, id(number));
        http.put(url).json(&json!({})).send().await?.error_for_status()?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Waits until a node has the whole graph.
async fn see(args: &BenchArgs, http: &Client, node: &Node) -> anyhow::Result<()> {
    let last = format!("{}/v1/graphs/{GRAPH}/nodes/{}", node.api, id(args.moving - 1));
    let seen = async {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        loop {
            pace.tick().await;
            if http.get(&last).send().await?.status().is_success() {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(SILENCE, seen).await.context("the other node did not get the graph")?
}

async fn open(node: &Node, query: &str) -> anyhow::Result<Socket> {
    let api: Url = node.api.parse()?;
    let place = (api.host_str().context("an API has a host")?, api.port().context("an API has a port")?);
    let stream = TcpStream::connect(place).await?;
    stream.set_nodelay(true)?;
    let url = format!("ws://{}:{}/v1/graphs/{GRAPH}/positions{query}", place.0, place.1);
    Ok(client_async(url, stream).await?.0)
}

/// Moves every node with each frame.
async fn send(args: &BenchArgs, mut sink: SplitSink<Socket, Message>, sent: &Sent) -> anyhow::Result<()> {
    let names: Vec<(u32, String)> = (0..args.moving).map(|number| (number, id(number))).collect();
    for some in names.chunks(limits::FRAME_POSITIONS) {
        sink.send(Message::Binary(PositionFrame::Names(some.to_vec()).encode().into())).await?;
    }
    let mut pace = tokio::time::interval(FRAME_EVERY);
    let bar = pair::progress(u64::from(args.frames + WARM_UP));
    for frame in 0..args.frames + WARM_UP {
        let place = |number| Place { number, position: [frame as f32, 0.0, 0.0], velocity: [60.0, 0.0, 0.0] };
        let places = (0..args.moving).map(place).collect();
        let bytes = PositionFrame::Places { frame, at: WallMs(0), places }.encode();
        pace.tick().await;
        sent.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        sink.send(Message::Binary(bytes.into())).await?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Reads frames until the last has come; how far behind each was, milliseconds.
async fn read(mut stream: SplitStream<Socket>, sent: Sent, frames: u32) -> anyhow::Result<Vec<f64>> {
    let (mut lags, mut newest) = (Vec::with_capacity(frames as usize), 0);
    while newest + 1 < frames {
        let message = tokio::time::timeout(SILENCE, stream.next()).await;
        let message = message.with_context(|| format!("nothing came for {SILENCE:?}"))?;
        let Message::Binary(bytes) = message.context("the stream ended early")?? else { continue };
        let PositionFrame::Places { places, .. } = PositionFrame::decode(&bytes)? else { continue };
        let came = Instant::now();
        // What moved last in this frame; all nodes of one frame of the sender come together.
        let number = places.iter().map(|place| place.position[0] as u32).max().unwrap_or_default();
        let at = sent.lock().unwrap_or_else(PoisonError::into_inner).get(number as usize).copied();
        if let Some(at) = at.filter(|_| number >= WARM_UP && number > newest) {
            lags.push(came.duration_since(at).as_secs_f64() * 1e3);
        }
        newest = newest.max(number);
    }
    Ok(lags)
}
