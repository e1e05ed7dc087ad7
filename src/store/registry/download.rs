//! A blob as a stream that survives a cut connection. It is not verified in
//! here: the reader hashes the whole of it, whatever it was pieced together
//! from.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Response;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::http::Http;
use super::tries::Tries;
use crate::digest::Digest;
use crate::error::unreachable;
use crate::web::{slowest, too_slow};

/// Pieces that wait for the reader.
const AHEAD: usize = 32;

/// Cuts that one blob may suffer, however far it gets in between.
const MOST_CUTS: u32 = 50;

/// How long all pauses of one blob may take, in which it is asked for again.
const MOST_PAUSED: Duration = Duration::from_secs(600);

/// Bytes in a second below which a blob drips, once it was waited for.
const DRIP: u64 = 4 << 10;

/// Reads what a task on the runtime fetches.
pub(super) struct Download {
    pieces: Receiver<io::Result<Bytes>>,
    current: Bytes,
    /// The task runs on it.
    _runtime: Arc<Runtime>,
}

impl Download {
    /// Goes on with a response that has just begun.
    pub(super) fn start(runtime: Arc<Runtime>, http: Http, digest: Digest, size: u64, response: Response) -> Self {
        let (sender, pieces) = channel(AHEAD);
        runtime.spawn(async move {
            if let Err(error) = pump(&http, &digest, size, response, &sender).await {
                let _ = sender.send(Err(error)).await;
            }
        });
        Download { pieces, current: Bytes::new(), _runtime: runtime }
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

async fn pump(
    http: &Http,
    digest: &Digest,
    size: u64,
    mut response: Response,
    sender: &Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let (mut done, mut cuts, mut tries) = (0u64, 0, Tries::default());
    // The registry's time; what the reader takes is not counted.
    let mut waited = Duration::ZERO;
    let mut paused = Duration::ZERO;
    // Bytes to pass over: a server may ignore the range that it was asked for.
    let mut skip = 0u64;
    loop {
        let began = Instant::now();
        let next = tokio::time::timeout(http.patience(), response.chunk()).await;
        waited += began.elapsed();
        if waited > http.patience() * 2 + slowest(done, DRIP) {
            return Err(io::Error::other(too_slow(&format!("{digest} of {}", http.host()))));
        }
        let fault = match next {
            Err(_) => http.late(),
            Ok(Ok(Some(mut piece))) => {
                if skip > 0 {
                    let over = skip.min(piece.len() as u64);
                    skip -= over;
                    piece = piece.slice(over as usize..);
                }
                if piece.is_empty() {
                    continue;
                }
                done += piece.len() as u64;
                tries = Tries::default();
                // One piece too many is enough for the reader to refuse it.
                if sender.send(Ok(piece)).await.is_err() || done > size {
                    return Ok(());
                }
                continue;
            }
            Ok(Ok(None)) if done >= size => return Ok(()),
            Ok(Ok(None)) => unreachable(format!("{} closed the connection after {done} of {size} bytes", http.host())),
            Ok(Err(error)) => http.broken(&error),
        };
        cuts += 1;
        let wait = if cuts > MOST_CUTS { None } else { tries.next(None) };
        let Some(wait) = wait else { return Err(io::Error::other(fault)) };
        let began = Instant::now();
        http.pause(wait).await;
        let begun;
        (response, begun) = http.blob(digest, done).await.map_err(into_io)?;
        paused += began.elapsed();
        if paused > MOST_PAUSED {
            return Err(io::Error::other(fault));
        }
        skip = done - begun;
    }
}

/// A fault travels inside the I/O error, so that its kind survives.
fn into_io(error: anyhow::Error) -> io::Error {
    match error.downcast::<crate::error::Fault>() {
        Ok(fault) => io::Error::other(fault),
        Err(error) => io::Error::other(format!("{error:#}")),
    }
}
