//! This program beside others, in the same minutes on the same machine: bare gossipsub, and a NATS server where there is
//! one. They do less: neither signs, checks or keeps anything.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::report::machine;
use super::{BenchArgs, pair};
use crate::cli::client::table;
use crate::net::gossip_alone;
use crate::types::limits;

/// A server that was started answers within this, and no stream is silent for longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of the messages of a run, as many at most go in a frame of gossipsub each: it takes long.
const ALONE: u64 = 100_000;

/// One contender.
#[derive(Serialize)]
struct Entry {
    name: &'static str,
    /// What it does for a message.
    does: &'static str,
    messages: u64,
    messages_per_second: f64,
}

/// All of them. The JSON form is an interface: `docs/cli.md`.
#[derive(Serialize)]
struct Comparison {
    workload: &'static str,
    size_bytes: u32,
    entries: Vec<Entry>,
    /// Why there is no NATS among them.
    nats_missing: Option<String>,
    machine: String,
}

/// Measures, prints, writes.
pub async fn run(args: &BenchArgs, folder: &Path) -> anyhow::Result<()> {
    let measured = measure(args, folder).await;
    let _ = std::fs::remove_dir_all(folder);
    let comparison = measured?;
    let json = serde_json::to_string_pretty(&comparison)?;
    if let Some(path) = &args.out {
        std::fs::write(path, &json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{}", if args.json { json } else { comparison.told() });
    Ok(())
}

async fn measure(args: &BenchArgs, folder: &Path) -> anyhow::Result<Comparison> {
    let rate = |messages: u64, time: Duration| messages as f64 / time.as_secs_f64();
    let own = pair::measure(args, folder).await?;
    let mut entries = vec![Entry {
        name: "metanode",
        does: "signed, checked, kept and flushed at both nodes",
        messages: own.messages,
        messages_per_second: own.messages_per_second,
    }];
    let payload = vec![7; (args.size as usize).max(8)];
    let alone = args.messages.min(ALONE);
    let time = gossip_alone(&payload, alone).await?;
    entries.push(Entry {
        name: "gossipsub, a message a frame",
        does: "carried",
        messages: alone,
        messages_per_second: rate(alone, time),
    });
    let in_frame = (limits::BUNDLE_TARGET_BYTES / payload.len()).max(1) as u64;
    let frames = args.messages.div_ceil(in_frame);
    let time = gossip_alone(&payload.repeat(in_frame as usize), frames).await?;
    entries.push(Entry {
        name: "gossipsub, 60 KiB frames",
        does: "carried",
        messages: frames * in_frame,
        messages_per_second: rate(frames * in_frame, time),
    });
    let nats_missing = match nats(args, &payload).await {
        Ok(time) => {
            let messages_per_second = rate(args.messages, time);
            entries.push(Entry {
                name: "NATS core",
                does: "carried by a server",
                messages: args.messages,
                messages_per_second,
            });
            None
        }
        Err(error) => Some(format!("{error:#}")),
    };
    Ok(Comparison { workload: "beside", size_bytes: args.size, entries, nats_missing, machine: machine() })
}

impl Comparison {
    fn told(&self) -> String {
        let row = |entry: &Entry| {
            let rate = format!("{:.0}", entry.messages_per_second);
            vec![entry.name.to_string(), rate, entry.messages.to_string(), entry.does.to_string()]
        };
        let rows: Vec<Vec<String>> = self.entries.iter().map(row).collect();
        let missing = self.nats_missing.as_ref().map_or(String::new(), |why| format!("\nno NATS: {why}"));
        let table = table(&["WHO", "MESSAGES/S", "MESSAGES", "DOES"], &rows);
        format!("{} byte messages from one to another\n\n{table}{missing}\n{}", self.size_bytes, self.machine)
    }
}

/// How long a NATS server took for all messages, from one client to another.
async fn nats(args: &BenchArgs, payload: &[u8]) -> anyhow::Result<Duration> {
    let (address, server) = match args.nats {
        Some(address) => (address, None),
        None => serve()?,
    };
    let time = carried(address, payload, args.messages).await;
    if let Some(mut server) = server {
        let _ = server.kill().await;
    }
    time
}

/// Starts the server that is on the PATH.
fn serve() -> anyhow::Result<(SocketAddr, Option<Child>)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|dir: PathBuf| dir.join("nats-server"));
    let Some(program) = found.find(|program| program.is_file()) else {
        bail!("there is no nats-server on the PATH; give a running one with --nats ADDR")
    };
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = Command::new(&program);
    command.args(["-a", "127.0.0.1", "-p", &address.port().to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let server = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
    Ok((address, Some(server)))
}

/// A client of NATS, as far as a benchmark needs one: its protocol is lines of text over TCP.
struct NatsClient {
    stream: BufReader<TcpStream>,
}

impl NatsClient {
    async fn connect(address: SocketAddr) -> anyhow::Result<NatsClient> {
        let until = Instant::now() + PATIENCE;
        let stream = loop {
            match TcpStream::connect(address).await {
                Ok(stream) => break stream,
                Err(e) if Instant::now() > until => bail!("nobody answers at {address}: {e}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        stream.set_nodelay(true)?;
        let mut client = NatsClient { stream: BufReader::with_capacity(1 << 16, stream) };
        let hello = client.line().await?;
        anyhow::ensure!(hello.starts_with("INFO"), "{address} does not speak NATS");
        client.send(b"CONNECT {\"verbose\":false,\"pedantic\":false,\"name\":\"metanode-bench\"}\r\n").await?;
        Ok(client)
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, self.stream.read_line(&mut line)).await;
        anyhow::ensure!(read.context("the NATS server is silent")?? > 0, "the NATS server closed the connection");
        Ok(line.trim_end().to_string())
    }

    async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.get_mut().write_all(bytes).await?)
    }

    /// Waits until the server has done what was sent.
    async fn settle(&mut self) -> anyhow::Result<()> {
        self.send(b"PING\r\n").await?;
        loop {
            match self.line().await?.as_str() {
                "PONG" => return Ok(()),
                error if error.starts_with("-ERR") => bail!("the NATS server says {error}"),
                _ => {}
            }
        }
    }

    /// Takes so many messages.
    async fn take(&mut self, messages: u64) -> anyhow::Result<()> {
        let (mut left, mut payload) = (messages, Vec::new());
        while left > 0 {
            let line = self.line().await?;
            match line.split(' ').next() {
                Some("MSG") => {
                    let size: usize = line.rsplit(' ').next().unwrap_or_default().parse()?;
                    anyhow::ensure!(size <= limits::BUNDLE_BYTES, "a message of {size} bytes was never sent");
                    payload.resize(size + 2, 0);
                    self.stream.read_exact(&mut payload).await?;
                    left -= 1;
                }
                Some("PING") => self.send(b"PONG\r\n").await?,
                Some("-ERR") => bail!("the NATS server says {line}"),
                _ => {}
            }
        }
        Ok(())
    }
}

async fn carried(address: SocketAddr, payload: &[u8], messages: u64) -> anyhow::Result<Duration> {
    let (mut reader, mut writer) = (NatsClient::connect(address).await?, NatsClient::connect(address).await?);
    reader.send(b"SUB metanode.bench 1\r\n").await?;
    reader.settle().await?;
    let one = [format!("PUB metanode.bench {}\r\n", payload.len()).as_bytes(), payload, b"\r\n"].concat();
    let in_call = (limits::BUNDLE_TARGET_BYTES / one.len()).max(1) as u64;
    let whole = one.repeat(in_call as usize);
    let start = Instant::now();
    let taken = tokio::spawn(async move { reader.take(messages).await });
    let mut left = messages;
    while left > 0 {
        let count = in_call.min(left);
        writer.send(whole.get(..one.len() * count as usize).unwrap_or_default()).await?;
        left -= count;
    }
    taken.await??;
    Ok(start.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server of two clients that passes on what the second says to the first.
    async fn server(listener: tokio::net::TcpListener) -> anyhow::Result<()> {
        let (mut reader, _) = listener.accept().await?;
        reader.write_all(b"INFO {}\r\n").await?;
        let (mut writer, _) = listener.accept().await?;
        writer.write_all(b"INFO {}\r\n").await?;
        let mut subscription = BufReader::new(reader);
        let mut line = String::new();
        while line.trim_end() != "PING" {
            line.clear();
            subscription.read_line(&mut line).await?;
        }
        subscription.get_mut().write_all(b"PONG\r\n").await?;
        let mut said = BufReader::new(writer);
        said.read_line(&mut String::new()).await?;
        loop {
            line.clear();
            if said.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let size: usize = line.trim_end().rsplit(' ').next().unwrap_or_default().parse()?;
            let mut payload = vec![0; size + 2];
            said.read_exact(&mut payload).await?;
            let head = format!("PING\r\nMSG metanode.bench 1 {size}\r\n");
            subscription.get_mut().write_all(&[head.as_bytes(), &payload].concat()).await?;
        }
    }

    #[tokio::test]
    async fn a_server_of_nats_is_spoken_to_in_its_own_words() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(server(listener));
        assert!(carried(address, &[9; 100], 2_000).await.unwrap() > Duration::ZERO);
        server.await.unwrap().unwrap();
    }
}
