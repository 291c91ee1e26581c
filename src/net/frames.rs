//! The streams of requests and answers: one bounded frame each way, ended by closing the side.

use std::io;

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};

use crate::types::limits;

/// A request to catch up is small: a feed's name and two numbers.
const SYNC_REQUEST_BYTES: u64 = 256;
/// The answer to a direct bundle is a receipt.
const RECEIPT_BYTES: u64 = 256;
/// What surrounds a direct bundle: the way it takes.
const HOPS_BYTES: u64 = 1024;

/// Moves frames; what is in them is decoded by the verifier, not on the swarm's task.
#[derive(Clone, Copy)]
pub struct Frames {
    request_bytes: u64,
    response_bytes: u64,
}

impl Frames {
    /// For catching up: small requests, large answers.
    pub const SYNC: Frames = Frames { request_bytes: SYNC_REQUEST_BYTES, response_bytes: limits::FRAME_BYTES as u64 };
    /// For direct bundles: the other way round.
    pub const DIRECT: Frames =
        Frames { request_bytes: limits::DIRECT_BYTES as u64 + HOPS_BYTES, response_bytes: RECEIPT_BYTES };
    /// For replicated state: ranges and writes, both ways.
    pub const STATE: Frames =
        Frames { request_bytes: limits::STATE_REQUEST_BYTES as u64, response_bytes: limits::FRAME_BYTES as u64 };
    /// For what is Critical: a gossip frame, and nothing back.
    pub const URGENT: Frames = Frames { request_bytes: limits::URGENT_BYTES as u64, response_bytes: 0 };
}

async fn read(io: &mut (impl AsyncRead + Unpin + Send), most: u64) -> io::Result<Bytes> {
    let mut frame = Vec::new();
    // `take` bounds what is read and, since the vector grows with it, what is allocated.
    io.take(most + 1).read_to_end(&mut frame).await?;
    if frame.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of more than {most} bytes")));
    }
    Ok(frame.into())
}

async fn write(io: &mut (impl AsyncWrite + Unpin + Send), frame: &[u8]) -> io::Result<()> {
    io.write_all(frame).await?;
    io.close().await
}

impl request_response::Codec for Frames {
    type Protocol = StreamProtocol;
    type Request = Bytes;
    type Response = Bytes;

    async fn read_request<T: AsyncRead + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Bytes> {
        read(io, self.request_bytes).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Bytes> {
        read(io, self.response_bytes).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Bytes,
    ) -> io::Result<()> {
        write(io, &request).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Bytes,
    ) -> io::Result<()> {
        write(io, &response).await
    }
}
