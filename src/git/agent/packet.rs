//! Messages of the protocol of ssh agents: a length, a kind, and parts that each say
//! how long they are.

use std::io::{self, Read, Write};

/// No message is longer, in bytes: as OpenSSH has it.
const MOST: usize = 256 << 10;

/// Reads the parts of a message, in order.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a>(pub(super) &'a [u8]);

impl<'a> Parts<'a> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn number(&mut self) -> Option<u32> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*first))
    }

    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (string, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(string)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.string()?).ok()
    }

    /// A number of any length, without the zeros in front.
    pub(super) fn large(&mut self) -> Option<&'a [u8]> {
        let bytes = self.string()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Some(&bytes[zeros..])
    }

    /// Nothing may follow.
    pub(super) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// Adds a part.
pub(super) fn add(message: &mut Vec<u8>, part: &[u8]) {
    message.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
    message.extend(part);
}

/// The next message, without its length: its kind, and its parts.
pub(super) fn receive(mut stream: impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length == 0 || length > MOST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message)?;
    Ok(message)
}

pub(super) fn send(mut stream: impl Write, message: &[u8]) -> io::Result<()> {
    let mut whole = Vec::with_capacity(message.len() + 4);
    add(&mut whole, message);
    stream.write_all(&whole)
}
