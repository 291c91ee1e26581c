//! What a benchmark needs of a client of NATS, and the server to speak with. Its protocol is lines of text over TCP:
//! <https://docs.nats.io/reference/reference-protocols/nats-protocol>; that of its streams is requests in JSON.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::types::limits;

/// A server that was started answers within this, and no stream is silent for longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Messages that a stream has not acknowledged, at most.
const UNANSWERED: u64 = 4_096;

/// How long all messages took from one client to another.
pub struct Times {
    /// By the server alone.
    pub core: Duration,
    /// By a stream that it keeps in a file: every message acknowledged to who said it.
    pub stream: Duration,
}

/// Measures the server at an address, or else the one that is on the PATH, with its files in a folder.
pub async fn measure(
    server: Option<SocketAddr>,
    folder: &Path,
    payload: &[u8],
    messages: u64,
) -> anyhow::Result<Times> {
    let (address, server) = match server {
        Some(address) => (address, None),
        None => serve(folder)?,
    };
    let core = carried(address, payload, messages).await?;
    let stream = kept(address, payload, messages).await?;
    if let Some(mut server) = server {
        let _ = server.kill().await;
    }
    Ok(Times { core, stream })
}

/// Starts the server that is on the PATH.
fn serve(folder: &Path) -> anyhow::Result<(SocketAddr, Option<Child>)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|dir: PathBuf| dir.join("nats-server"));
    let Some(program) = found.find(|program| program.is_file()) else {
        bail!("there is no nats-server on the PATH; give a running one with --nats ADDR")
    };
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = Command::new(&program);
    command.args(["-a", "127.0.0.1", "-p", &address.port().to_string(), "-js", "-sd"]).arg(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let server = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
    Ok((address, Some(server)))
}

struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    async fn connect(address: SocketAddr) -> anyhow::Result<Client> {
        let until = Instant::now() + PATIENCE;
        let stream = loop {
            match TcpStream::connect(address).await {
                Ok(stream) => break stream,
                Err(e) if Instant::now() > until => bail!("nobody answers at {address}: {e}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        stream.set_nodelay(true)?;
        let mut client = Client { stream: BufReader::with_capacity(1 << 16, stream) };
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

    /// The payload of the next message, in a buffer that is used again.
    async fn message(&mut self, payload: &mut Vec<u8>) -> anyhow::Result<()> {
        loop {
            let line = self.line().await?;
            match line.split(' ').next() {
                Some("MSG") => {
                    let size: usize = line.rsplit(' ').next().unwrap_or_default().parse()?;
                    anyhow::ensure!(size <= limits::BUNDLE_BYTES, "a message of {size} bytes was never sent");
                    payload.resize(size + 2, 0);
                    self.stream.read_exact(payload).await?;
                    payload.truncate(size);
                    return Ok(());
                }
                Some("PING") => self.send(b"PONG\r\n").await?,
                Some("-ERR") => bail!("the NATS server says {line}"),
                _ => {}
            }
        }
    }

    /// Takes so many messages.
    async fn take(&mut self, messages: u64) -> anyhow::Result<()> {
        let mut payload = Vec::new();
        for _ in 0..messages {
            self.message(&mut payload).await?;
        }
        Ok(())
    }

    /// Asks for something of the streams, with the subscription 1 for answers.
    async fn ask(&mut self, subject: &str, request: &Value) -> anyhow::Result<()> {
        let (request, mut answer) = (request.to_string(), Vec::new());
        let head = format!("PUB $JS.API.{subject} metanode.answers {}\r\n", request.len());
        self.send(&[head.as_bytes(), request.as_bytes(), b"\r\n"].concat()).await?;
        self.message(&mut answer).await?;
        acknowledged(&answer)
    }
}

/// Whether an answer of the streams is none of the errors.
fn acknowledged(answer: &[u8]) -> anyhow::Result<()> {
    let answer: Value = serde_json::from_slice(answer).context("the NATS server's answer is not JSON")?;
    anyhow::ensure!(answer.get("error").is_none(), "the NATS server refuses: {answer}");
    Ok(())
}

/// Publishes of one message, as many as fit a call.
fn calls(subject: &str, payload: &[u8]) -> (Vec<u8>, usize, u64) {
    let one = [format!("PUB {subject} {}\r\n", payload.len()).as_bytes(), payload, b"\r\n"].concat();
    let in_call = (limits::BUNDLE_TARGET_BYTES / one.len()).max(1);
    (one.repeat(in_call), one.len(), in_call as u64)
}

async fn carried(address: SocketAddr, payload: &[u8], messages: u64) -> anyhow::Result<Duration> {
    let (mut reader, mut writer) = (Client::connect(address).await?, Client::connect(address).await?);
    reader.send(b"SUB metanode.bench 1\r\n").await?;
    reader.settle().await?;
    let (whole, size, in_call) = calls("metanode.bench", payload);
    let start = Instant::now();
    let taken = tokio::spawn(async move { reader.take(messages).await });
    let mut left = messages;
    while left > 0 {
        let count = in_call.min(left);
        writer.send(whole.get(..size * count as usize).unwrap_or_default()).await?;
        left -= count;
    }
    taken.await??;
    Ok(start.elapsed())
}

/// By way of a stream in a file, to a consumer that the server pushes to.
async fn kept(address: SocketAddr, payload: &[u8], messages: u64) -> anyhow::Result<Duration> {
    let (mut reader, mut writer) = (Client::connect(address).await?, Client::connect(address).await?);
    reader.send(b"SUB metanode.out 1\r\n").await?;
    reader.settle().await?;
    writer.send(b"SUB metanode.answers 1\r\n").await?;
    let stream = json!({ "name": "metanode", "subjects": ["metanode.kept"], "storage": "file", "retention": "limits" });
    writer.ask("STREAM.CREATE.metanode", &stream).await?;
    let config = json!({ "deliver_subject": "metanode.out", "ack_policy": "none", "deliver_policy": "all" });
    let consumer = json!({ "stream_name": "metanode", "config": config });
    writer.ask("CONSUMER.CREATE.metanode", &consumer).await?;
    let (whole, size, in_call) = calls("metanode.kept metanode.answers", payload);
    let start = Instant::now();
    let taken = tokio::spawn(async move { reader.take(messages).await });
    let (mut sent, mut answered, mut answer) = (0, 0, Vec::new());
    while answered < messages {
        let room = (answered + UNANSWERED).min(messages) - sent;
        if room >= in_call || sent + room == messages && room > 0 {
            let count = in_call.min(room);
            writer.send(whole.get(..size * count as usize).unwrap_or_default()).await?;
            sent += count;
        } else {
            writer.message(&mut answer).await?;
            acknowledged(&answer)?;
            answered += 1;
        }
    }
    taken.await??;
    let time = start.elapsed();
    writer.ask("STREAM.DELETE.metanode", &json!({})).await?;
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server of two clients that passes on what the second says to the first.
    async fn server(listener: &tokio::net::TcpListener) -> anyhow::Result<()> {
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
        loop {
            line.clear();
            if said.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let words: Vec<&str> = line.trim_end().split(' ').collect();
            let (subject, size) = match *words {
                ["PUB", subject, .., size] => (subject, size.parse::<usize>()?),
                _ => continue,
            };
            let mut payload = vec![0; size + 2];
            said.read_exact(&mut payload).await?;
            if words.len() == 4 {
                said.get_mut().write_all(b"MSG metanode.answers 1 2\r\n{}\r\n").await?;
            }
            if !subject.starts_with("$JS.") {
                let head = format!("PING\r\nMSG metanode.out 1 {size}\r\n");
                subscription.get_mut().write_all(&[head.as_bytes(), &payload].concat()).await?;
            }
        }
    }

    #[tokio::test]
    async fn a_server_of_nats_is_spoken_to_in_its_own_words() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for kept_in_file in [false, true] {
            let (served, payload) = (server(&listener), [9; 100]);
            let spoken = async {
                if kept_in_file {
                    kept(address, &payload, 2_000).await
                } else {
                    carried(address, &payload, 2_000).await
                }
            };
            let (served, time) = tokio::join!(served, spoken);
            served.unwrap();
            assert!(time.unwrap() > Duration::ZERO);
        }
    }

    #[test]
    fn what_a_server_refuses_is_an_error() {
        assert!(acknowledged(b"{\"stream\":\"metanode\",\"seq\":7}").is_ok());
        let refused = acknowledged(b"{\"error\":{\"code\":503,\"description\":\"JetStream not enabled\"}}");
        assert!(refused.unwrap_err().to_string().contains("JetStream not enabled"));
    }
}
