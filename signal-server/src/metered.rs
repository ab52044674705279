//! A connection that is read no faster than its messages may come.
//!
//! Messages are counted when they are whole; parts of one, empty parts and bytes of TLS would cost their sender nothing otherwise.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::limits::{Bucket, Rate};

pub struct Metered<S> {
    stream: S,
    rate: Rate,
    bucket: Bucket,
    /// Until what was read is paid for.
    pause: Option<Pin<Box<Sleep>>>,
}

/// Timers are no finer than a millisecond: what takes less than a few is waited for together.
const PAUSE_MIN: Duration = Duration::from_millis(10);

impl<S> Metered<S> {
    /// Read at this rate, in bytes.
    pub fn new(stream: S, rate: Rate) -> Self {
        Self {
            stream,
            rate,
            bucket: Bucket::full(rate.burst, Instant::now()),
            pause: None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let count = (buffer.filled().len() - before) as u32;
        let rate = self.rate;
        let debt = self
            .bucket
            .owe(count, rate, Duration::MAX, Instant::now())
            .unwrap_or_default();
        if debt > PAUSE_MIN {
            self.pause = Some(Box::pin(sleep(debt)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_read_at_once_and_the_rest_at_its_rate() {
        let rate = Rate {
            per_second: 100,
            burst: 1000,
        };
        let mut stream = Metered::new(tokio::io::repeat(1), rate);
        let began = tokio::time::Instant::now();
        let mut bytes = [0; 500];
        stream.read_exact(&mut bytes).await.expect("bytes");
        stream.read_exact(&mut bytes).await.expect("bytes");
        assert_eq!(began.elapsed(), Duration::ZERO);
        // The bucket's clock stands still here: each debt is paid by a pause as long as itself.
        for _ in 0..3 {
            stream.read_exact(&mut bytes).await.expect("bytes");
        }
        assert!(began.elapsed() >= Duration::from_secs(5));
    }
}
