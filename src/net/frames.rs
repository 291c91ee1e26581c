//! The sync protocol's streams: one bounded frame each way, ended by closing the side.

use std::io;

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};

use crate::types::limits;

/// A request is small: a feed's name and two numbers.
const REQUEST_BYTES: u64 = 256;

/// Moves frames; what is in them is decoded by the verifier, not on the swarm's task.
#[derive(Clone, Copy, Default)]
pub struct Frames;

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
        read(io, REQUEST_BYTES).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Bytes> {
        read(io, limits::FRAME_BYTES as u64).await
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
