//! Reading what a server sends, with an end in bytes and in time.

use std::time::{Duration, Instant};

use anyhow::Result;
use reqwest::Response;

use crate::error::{Fault, integrity, unreachable};

/// Bytes in a second below which a document drips, once it was waited for.
const DRIP: u64 = 16 << 10;

/// Reads a body that must be small. Between two pieces it may be silent for
/// `patience`, and all in all it may not drip.
pub(crate) async fn read_capped(mut response: Response, limit: u64, what: &str, patience: Duration) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let began = Instant::now();
    loop {
        let piece = match tokio::time::timeout(patience, response.chunk()).await {
            Ok(Ok(Some(piece))) => piece,
            Ok(Ok(None)) => return Ok(bytes),
            Ok(Err(error)) => {
                return Err(unreachable(format!("{what} was cut short: {}", error.without_url())).into());
            }
            Err(_) => return Err(too_slow(what).into()),
        };
        if bytes.len() as u64 + piece.len() as u64 > limit {
            return Err(integrity(format!("{what} is larger than {limit} bytes")).into());
        }
        bytes.extend_from_slice(&piece);
        if began.elapsed() > patience + slowest(bytes.len() as u64, DRIP) {
            return Err(too_slow(what).into());
        }
    }
}

/// How long so many bytes take at this rate.
pub(crate) fn slowest(bytes: u64, rate: u64) -> Duration {
    Duration::from_millis(bytes.saturating_mul(1000) / rate)
}

/// Somebody drips.
pub(crate) fn too_slow(what: &str) -> Fault {
    unreachable(format!("{what} comes too slowly"))
        .hint("check the network, or give it more time: --net-timeout SECONDS")
}
