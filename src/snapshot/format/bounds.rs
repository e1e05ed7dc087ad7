//! What a pack may unfold to, seen while it arrives and before anything is made
//! of it: a few kilobytes can name objects that no memory holds (format: git's
//! `gitformat-pack`).

use flate2::{Decompress, FlushDecompress, Status};

use crate::error::{Fault, integrity};

/// Commits, tags and trees are read whole, and none that anybody made by hand
/// is larger. In bytes.
pub(in crate::snapshot) const MAX_TREE: usize = 64 << 20;

/// Git makes no deltas of larger files (`core.bigFileThreshold`), and to read one
/// it holds both sides. In bytes.
const MAX_DELTA: u64 = 512 << 20;

/// All objects together, in bytes; or so many times the pack, where that is more.
const MAX_TOTAL: u64 = 16 << 30;
const MAX_RATIO: u64 = 1000;

/// Looks through a pack.
pub(in crate::snapshot) struct Bounds {
    state: State,
    /// Objects that are still to come.
    objects: u32,
    /// Bytes that they may have.
    left: u64,
    kind: u8,
    /// Of the object, as the pack says.
    size: u64,
    shift: u32,
    /// The first bytes of the pack, or of a delta.
    head: Vec<u8>,
    inflate: Decompress,
    output: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Kind,
    Size,
    /// How far back the base of a delta is.
    Offset,
    /// So many bytes of the name of a delta's base.
    Name(u8),
    Data,
    /// Only the checksum is left.
    End,
}

impl Bounds {
    /// Of a pack of `size` bytes.
    pub(in crate::snapshot) fn of(size: u64) -> Self {
        Bounds {
            state: State::Start,
            objects: 0,
            left: MAX_TOTAL.max(size.saturating_mul(MAX_RATIO)),
            kind: 0,
            size: 0,
            shift: 0,
            head: Vec::new(),
            inflate: Decompress::new(true),
            output: vec![0; 64 << 10],
        }
    }

    /// Looks at the next bytes.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`] for what unfolds to too much, or is no
    /// pack.
    pub(in crate::snapshot) fn see(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while let (false, Some((first, rest))) = (self.state == State::End, bytes.split_first()) {
            if self.state == State::Data {
                bytes = self.data(bytes)?;
                continue;
            }
            bytes = rest;
            match self.state {
                State::Start => {
                    self.head.push(*first);
                    if let Some(count) = self.head.get(8..12).and_then(|count| count.try_into().ok()) {
                        self.objects = u32::from_be_bytes(count);
                        self.next();
                    }
                }
                State::Kind => {
                    (self.kind, self.size, self.shift) = (first >> 4 & 7, u64::from(first & 15), 4);
                    self.sized(first & 0x80 != 0)?;
                }
                State::Size => {
                    if self.shift > 56 {
                        return Err(damaged("an object has no size"));
                    }
                    self.size |= u64::from(first & 0x7f) << self.shift;
                    self.shift += 7;
                    self.sized(first & 0x80 != 0)?;
                }
                State::Offset if first & 0x80 != 0 => {}
                State::Name(left) if left > 1 => self.state = State::Name(left - 1),
                State::Offset | State::Name(_) => self.state = State::Data,
                State::Data | State::End => {}
            }
        }
        Ok(())
    }

    /// All of it was seen.
    ///
    /// # Errors
    /// When something is missing.
    pub(in crate::snapshot) fn end(&self) -> Result<(), Fault> {
        if self.state == State::End { Ok(()) } else { Err(damaged("it ends too early")) }
    }

    /// To the next object.
    fn next(&mut self) {
        self.state = if self.objects == 0 { State::End } else { State::Kind };
        self.objects = self.objects.saturating_sub(1);
        self.head.clear();
        self.inflate.reset(true);
    }

    fn sized(&mut self, more: bool) -> Result<(), Fault> {
        self.state = match self.kind {
            _ if more => State::Size,
            1 | 2 | 4 if self.size > MAX_TREE as u64 => return Err(bomb("a tree or a commit")),
            1..=4 => State::Data,
            6 => State::Offset,
            7 => State::Name(20),
            _ => return Err(damaged("an object is of no kind")),
        };
        // What a delta makes is known when its first bytes are.
        if self.state == State::Data { self.take(self.size) } else { Ok(()) }
    }

    fn take(&mut self, size: u64) -> Result<(), Fault> {
        self.left = self.left.checked_sub(size).ok_or_else(|| bomb("all of it"))?;
        Ok(())
    }

    /// Unfolds, keeps nothing, and returns what is left of the bytes.
    fn data<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Fault> {
        let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress(bytes, &mut self.output, FlushDecompress::None);
        let status = status.map_err(|_| damaged("an object cannot be unfolded"))?;
        let read = (self.inflate.total_in() - read) as usize;
        let written = (self.inflate.total_out() - written) as usize;
        let is_delta = self.kind > 4;
        if is_delta && self.head.len() < 20 {
            self.head.extend(self.output.iter().take(written.min(20)));
        }
        let ended = status == Status::StreamEnd;
        let total = self.inflate.total_out();
        if total > self.size || (ended && total < self.size) || (!ended && read == 0 && written == 0) {
            return Err(damaged("an object has another size than it says"));
        }
        if ended {
            if is_delta {
                let sides = delta_sizes(&self.head).ok_or_else(|| damaged("a delta has no size"))?;
                if sides.0.max(sides.1).max(self.size) > MAX_DELTA {
                    return Err(bomb("a delta"));
                }
                self.take(sides.1)?;
            }
            self.next();
        }
        Ok(bytes.get(read..).unwrap_or_default())
    }
}

/// The sizes of a delta's base and of what it makes.
fn delta_sizes(head: &[u8]) -> Option<(u64, u64)> {
    let mut bytes = head.iter();
    let mut number = || {
        let mut value = 0u64;
        for shift in (0..63).step_by(7) {
            let byte = bytes.next()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    };
    Some((number()?, number()?))
}

fn bomb(what: &str) -> Fault {
    integrity(format!("the snapshot's pack is refused: {what} would unfold to more than any snapshot needs"))
}

pub(in crate::snapshot) fn damaged(why: &str) -> Fault {
    integrity(format!("the snapshot's pack is damaged: {why}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::ZlibEncoder};

    use super::*;

    /// One object: kind, size as it says, what stands before its data, its data.
    type Part<'a> = (u8, u64, &'a [u8], &'a [u8]);

    fn pack(parts: &[Part<'_>]) -> Vec<u8> {
        let mut pack = b"PACK\0\0\0\x02".to_vec();
        pack.extend(u32::try_from(parts.len()).unwrap().to_be_bytes());
        for (kind, size, base, data) in parts {
            let (mut byte, mut rest) = (kind << 4 | (size & 15) as u8, size >> 4);
            while rest > 0 {
                pack.push(byte | 0x80);
                (byte, rest) = ((rest & 0x7f) as u8, rest >> 7);
            }
            pack.push(byte);
            pack.extend(*base);
            let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(data).unwrap();
            pack.extend(packed.finish().unwrap());
        }
        pack.extend([0; 20]);
        pack
    }

    fn seen(pack: &[u8], step: usize) -> Result<(), String> {
        let mut bounds = Bounds::of(pack.len() as u64);
        let all = pack.chunks(step).try_for_each(|part| bounds.see(part)).and_then(|()| bounds.end());
        all.map_err(|fault| fault.message)
    }

    fn number(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value > 0x7f {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    #[test]
    fn what_a_pack_unfolds_to_has_bounds() {
        let delta = |base: u64, made: u64| [number(base), number(made), vec![0; 50]].concat();
        let with = |kind, base: &[u8], data: &[u8]| pack(&[(3, 3, b"", b"abc"), (kind, data.len() as u64, base, data)]);
        let fine = [
            pack(&[]),
            with(1, b"", &[b'x'; 70_000]),
            with(3, b"", b""),
            with(6, &[0x80, 7], &delta(1 << 20, 512 << 20)),
            with(7, &[0x80; 20], &delta(1, 2)),
        ];
        let large = delta(9, 500 << 20);
        let bombs = [
            with(6, &[9], &delta(9, 513 << 20)),
            with(7, &[9; 20], &delta(513 << 20, 9)),
            pack(&[(2, 65 << 20, b"", b"")]),
            pack(&[(3, 17 << 30, b"", b"")]),
            pack(&[(7, 600 << 20, &[9; 20], b"")]),
            // Each by itself is fine.
            pack(&vec![(7, large.len() as u64, &[9; 20][..], &large[..]); 40]),
        ];
        let torn = [
            pack(&[(3, 4, b"", b"abc")]),
            pack(&[(3, 2, b"", b"abc")]),
            pack(&[(5, 3, b"", b"abc")]),
            with(6, &[9], b""),
            fine[1][..fine[1].len() - 30].to_vec(),
            [&fine[0][..8], &[0, 0, 0, 1], &fine[0][12..]].concat(),
            b"PACK".to_vec(),
        ];
        for step in [1, 7, 100_000] {
            fine.iter().for_each(|pack| assert_eq!(seen(pack, step), Ok(())));
            for (n, pack) in bombs.iter().enumerate() {
                let why = seen(pack, step).unwrap_err();
                assert!(why.contains("unfold to more") || n == 4 && why.contains("another size"), "{n}: {why}");
            }
            torn.iter().for_each(|pack| assert!(seen(pack, step).unwrap_err().contains("damaged"), "{pack:?}"));
        }
    }
}
