//! A connection's bytes as they come, late and in fits where that is asked for: delay and loss on purpose.
//!
//! What comes waits in a line until it is due, in its order, as a network far away or a bad one would have it. Of lost
//! packets a program sees nothing but that bytes come later, when they are sent again, and with them all that is behind
//! them; so that is what happens here. A node that was not started for it passes bytes on as they come.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};

use crate::driver::Perturbed;

/// What of one connection waits at most, bytes. More waits in the socket, and its sender waits for that.
const LINE_BYTES: usize = 1 << 20;
/// What is taken from the socket at once, bytes.
const PIECE_BYTES: usize = 16 << 10;
/// Payload of one packet on most networks, bytes.
const PACKET_BYTES: usize = 1_448;
/// A packet that is not acknowledged is sent again after this (what Linux waits at the least), then after twice as long.
const RESEND: Duration = Duration::from_millis(200);
/// So often in a row is one packet lost at most.
const LOST_IN_A_ROW: u32 = 5;

/// A stream of bytes that can be slow.
pub struct Slow<S> {
    stream: S,
    line: Option<Line>,
}

/// What has come and is not due.
struct Line {
    perturbed: Perturbed,
    pieces: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    /// Nothing comes before what came earlier.
    last_due: Instant,
    /// How the stream ended, once all before that is taken.
    end: Option<io::Result<()>>,
    timer: Pin<Box<Sleep>>,
    chance: u64,
}

impl<S> Slow<S> {
    /// The stream; slow when it is told to be, if it can be told.
    pub fn new(stream: S, perturbed: Option<Perturbed>) -> Slow<S> {
        let line = perturbed.map(|perturbed| Line {
            perturbed,
            pieces: VecDeque::new(),
            bytes: 0,
            last_due: Instant::now(),
            end: None,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            // Without randomness connections lose the same packets.
            chance: getrandom::u64().unwrap_or(1) | 1,
        });
        Slow { stream, line }
    }
}

impl Line {
    /// When a piece of so many bytes that has just come is due.
    fn due(&mut self, size: usize) -> Instant {
        let mut wait = Duration::ZERO;
        if let Some(delay) = self.perturbed.delay() {
            wait += delay.by + delay.jitter.mul_f64(self.draw() as f64 / f64::from(u32::MAX));
        }
        let loss = u64::from(self.perturbed.loss());
        if loss > 0 {
            let packets = size.div_ceil(PACKET_BYTES);
            let most = (0..packets).map(|_| self.resent(loss)).max().unwrap_or_default();
            wait += RESEND * ((1 << most) - 1);
        }
        self.last_due = self.last_due.max(Instant::now() + wait);
        self.last_due
    }

    /// How often one packet is lost until it comes.
    fn resent(&mut self, loss: u64) -> u32 {
        let mut times = 0;
        while times < LOST_IN_A_ROW && self.draw() % 100 < loss {
            times += 1;
        }
        times
    }

    /// 32 bits of chance (Marsaglia, "Xorshift RNGs").
    fn draw(&mut self) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance >> 32
    }

    /// Takes from the stream what there is.
    fn fill<S: AsyncRead + Unpin>(&mut self, stream: &mut S, context: &mut Context<'_>) {
        let mut piece = [0; PIECE_BYTES];
        while self.end.is_none() && self.bytes < LINE_BYTES {
            let end = match Pin::new(&mut *stream).poll_read(context, &mut piece) {
                Poll::Pending => return,
                Poll::Ready(Ok(0)) => Ok(()),
                Poll::Ready(Err(e)) => Err(e),
                Poll::Ready(Ok(size)) => {
                    let due = self.due(size);
                    self.pieces.push_back((due, Bytes::copy_from_slice(piece.get(..size).unwrap_or_default())));
                    self.bytes += size;
                    continue;
                }
            };
            self.end = Some(end);
        }
    }

    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let quiet = self.perturbed.delay().is_none() && self.perturbed.loss() == 0;
        if quiet && self.pieces.is_empty() && self.end.is_none() {
            return Pin::new(stream).poll_read(context, buffer);
        }
        self.fill(stream, context);
        let Some((due, piece)) = self.pieces.front_mut() else {
            return match &mut self.end {
                Some(end) => Poll::Ready(std::mem::replace(end, Ok(())).map(|()| 0)),
                None => Poll::Pending,
            };
        };
        if *due > Instant::now() {
            self.timer.as_mut().reset(*due);
            ready!(self.timer.as_mut().poll(context));
        }
        let size = piece.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..size), piece.get(..size)) {
            to.copy_from_slice(from);
        }
        piece.advance(size);
        if piece.is_empty() {
            self.pieces.pop_front();
        }
        self.bytes -= size;
        Poll::Ready(Ok(size))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Slow<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let Slow { stream, line } = self.get_mut();
        match line {
            None => Pin::new(stream).poll_read(context, buffer),
            Some(line) => line.poll_read(stream, context, buffer),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Slow<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_close(context)
    }
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;
    use futures::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::driver::{Delay, Spell, perturbation};

    fn for_an_hour<T>(what: T) -> Option<Spell<T>> {
        Some(Spell { what, until: std::time::Instant::now() + Duration::from_secs(3_600) })
    }

    fn text() -> Vec<u8> {
        (0..200_000_u32).map(|n| (n % 251) as u8).collect()
    }

    #[tokio::test]
    async fn bytes_come_whole_and_in_order_and_late() {
        let delays = [None, Some(Delay { by: Duration::from_millis(30), jitter: Duration::from_millis(10) })];
        for delay in delays {
            let (perturber, perturbed) = perturbation(true);
            perturber.change(|told| told.delay = delay.and_then(for_an_hour));
            let (began, mut all) = (Instant::now(), Vec::new());
            Slow::new(Cursor::new(text()), Some(perturbed)).read_to_end(&mut all).await.unwrap();
            assert_eq!(all, text(), "nothing is lost or out of its order");
            assert!(began.elapsed() >= delay.map(|delay| delay.by).unwrap_or_default());
        }
    }

    #[tokio::test]
    async fn what_is_lost_comes_when_it_is_sent_again_and_all_behind_it_after_it() {
        let (perturber, perturbed) = perturbation(true);
        perturber.change(|told| told.loss = for_an_hour(60));
        let mut line = Slow::new(Cursor::new(text()), Some(perturbed)).line.unwrap();
        let (now, most) = (Instant::now(), RESEND * ((1 << LOST_IN_A_ROW) - 1));
        let first = line.due(100 * PACKET_BYTES);
        assert!((RESEND..=most + RESEND).contains(&(first - now)), "of a hundred packets one was lost");
        perturber.change(|told| told.loss = None);
        assert_eq!(line.due(1), first);
    }

    #[tokio::test]
    async fn a_node_that_is_not_put_wrong_passes_bytes_on() {
        let mut slow = Slow::new(Cursor::new(text()), None);
        let mut all = Vec::new();
        slow.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, text());
        let mut out = Slow::new(Vec::new(), None);
        out.write_all(&text()).await.unwrap();
        out.close().await.unwrap();
        assert_eq!(out.stream, text());
    }
}
