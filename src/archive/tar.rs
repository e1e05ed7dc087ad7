//! Reading layer tars: ustar, GNU long names and POSIX.1-2001 (pax), strictly.
//! Whatever two readers could understand differently is an error, because the
//! one that checks and the one that runs might be different readers.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::shown::short;
use crate::error::{Fault, integrity};

const BLOCK: usize = 512;
/// Upper bound for pax records and long names of one entry, in bytes.
const MAX_EXTENSION: u64 = 1 << 20;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    HardLink,
    Symlink,
    Directory,
    Fifo,
    /// With major and minor number.
    CharDevice(u64, u64),
    BlockDevice,
}

/// One entry; a file's content follows in the reader.
#[derive(Clone, Debug)]
pub(super) struct TarEntry {
    pub(super) path: Vec<u8>,
    pub(super) kind: EntryKind,
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    /// Seconds and nanoseconds since 1970.
    pub(super) mtime: (i64, u32),
    pub(super) size: u64,
    /// It has no content, and its header declares some.
    sized: bool,
    pub(super) xattrs: Vec<(String, Vec<u8>)>,
}

/// A tar stream. After [`Tar::next`] the content must be read or skipped with
/// [`Tar::body`] before the next entry.
pub(super) struct Tar<R> {
    inner: R,
    /// Bytes of the current content and of its padding still to come.
    body: u64,
    padding: u64,
    done: bool,
    /// The entry before declares data although it can have none. Whoever looks for
    /// the data takes what follows for it, and must come to the same end.
    sized: Option<String>,
}

type Pax = BTreeMap<String, Vec<u8>>;

impl<R: Read> Tar<R> {
    pub(super) fn new(inner: R) -> Self {
        Tar { inner, body: 0, padding: 0, done: false, sized: None }
    }

    /// The next entry; `None` at the end of the archive. Missing end blocks
    /// are accepted at an entry's boundary: real writers leave them out, and
    /// the digests say whether anything is missing.
    pub(super) fn next(&mut self) -> io::Result<Option<TarEntry>> {
        let mut pax: Option<Pax> = None;
        let mut long_name: Option<Vec<u8>> = None;
        let mut long_link: Option<Vec<u8>> = None;
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else {
                if pax.is_some() || long_name.is_some() || long_link.is_some() {
                    return Err(bad("an extension header without an entry after it"));
                }
                return Ok(None);
            };
            let size = number(&header[124..136], "size")?;
            match header[156] {
                b'x' => {
                    if pax.is_some() {
                        return Err(bad("two pax headers for one entry"));
                    }
                    pax = Some(parse_pax(&self.extension(size)?)?);
                }
                b'g' => check_global(&parse_pax(&self.extension(size)?)?)?,
                b'L' => set_once(&mut long_name, self.extension(size)?)?,
                b'K' => set_once(&mut long_link, self.extension(size)?)?,
                _ => {
                    let entry = entry(&header, size, pax.unwrap_or_default(), long_name, long_link)?;
                    self.expect(entry.size);
                    self.sized = entry.sized.then(|| short(&entry.path));
                    return Ok(Some(entry));
                }
            }
        }
    }

    /// The content of the current entry.
    pub(super) fn body(&mut self) -> Body<'_, R> {
        Body(self)
    }

    fn expect(&mut self, size: u64) {
        self.body = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > MAX_EXTENSION {
            return Err(bad(format!("an extension header of {size} bytes, at most {MAX_EXTENSION} are accepted")));
        }
        self.expect(size);
        let mut bytes = Vec::with_capacity(size as usize);
        self.body().read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        let mut sink = [0; 4096];
        while self.body > 0 {
            let _skipped = self.body().read(&mut sink)?;
        }
        // The very last padding may be missing together with the end blocks.
        while self.padding > 0 {
            let want = sink.len().min(self.padding as usize);
            match self.inner.read(&mut sink[..want])? {
                0 => {
                    self.padding = 0;
                    self.done = true;
                }
                count => self.padding -= count as u64,
            }
        }
        Ok(())
    }

    fn header(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        if self.done {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut block[filled..])? {
                0 if filled == 0 => {
                    self.done = true;
                    return Ok(None);
                }
                0 => return Err(bad("it ends inside a header")),
                count => filled += count,
            }
        }
        let sized = self.sized.take();
        if block.iter().all(|byte| *byte == 0) {
            self.done = true;
            return match sized {
                Some(name) => self.nothing_more(&name).map(|()| None),
                None => Ok(None),
            };
        }
        let sum = |signed: bool| {
            let value = |byte: u8| if signed { i64::from(byte as i8) } else { i64::from(byte) };
            let spaces = 8 * i64::from(b' ');
            block[..148].iter().chain(&block[156..]).map(|byte| value(*byte)).sum::<i64>() + spaces
        };
        let declared = number(&block[148..156], "checksum").map(|sum| sum as i64);
        match (declared, sized) {
            (Ok(declared), _) if declared == sum(false) || declared == sum(true) => {}
            (_, Some(name)) => return Err(bad(format!("{name:?} can have no data, and data follows it"))),
            (Err(error), None) => return Err(error),
            (Ok(_), None) => return Err(bad("a header's checksum does not match")),
        }
        Ok(Some(block))
    }
}

impl<R: Read> Tar<R> {
    /// Nobody finds an entry behind the end that somebody else reads as data.
    fn nothing_more(&mut self, name: &str) -> io::Result<()> {
        let mut rest = [0; 4096];
        loop {
            match self.inner.read(&mut rest)? {
                0 => return Ok(()),
                count if rest[..count].iter().all(|byte| *byte == 0) => {}
                _ => return Err(bad(format!("{name:?} can have no data, and data follows it"))),
            }
        }
    }
}

/// Reads the content of one entry; a stream that ends inside it is an error.
pub(super) struct Body<'a, R>(&'a mut Tar<R>);

impl<R: Read> Read for Body<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.0.body).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let count = self.0.inner.read(&mut buffer[..want])?;
        if count == 0 {
            return Err(bad(format!("it ends {} bytes before the end of an entry", self.0.body)));
        }
        self.0.body -= count as u64;
        Ok(count)
    }
}

fn entry(
    header: &[u8; BLOCK],
    size: u64,
    mut pax: Pax,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
) -> io::Result<TarEntry> {
    let gnu = &header[257..265] == b"ustar  \0";
    let posix = &header[257..263] == b"ustar\0";
    let mut name = text(&header[..100]);
    let prefix = text(&header[345..500]);
    if posix && !prefix.is_empty() {
        name = [prefix, b"/".into(), name].concat();
    }
    let name = one_name("path", long_name, pax.remove("path"))?.unwrap_or(name);
    let link = one_name("linkpath", long_link, pax.remove("linkpath"))?.unwrap_or_else(|| text(&header[157..257]));
    if name.contains(&0) || link.contains(&0) {
        return Err(bad("a path with a NUL byte"));
    }
    let decimal = |pax: &mut Pax, key: &str, fallback: u64| match pax.remove(key) {
        None => Ok(fallback),
        Some(value) => {
            ascii(&value).and_then(|text| text.parse().ok()).ok_or_else(|| bad(format!("pax {key} is no number")))
        }
    };
    let uid = decimal(&mut pax, "uid", number(&header[108..116], "uid")?)?;
    let gid = decimal(&mut pax, "gid", number(&header[116..124], "gid")?)?;
    let size = decimal(&mut pax, "size", size)?;
    let mtime = match pax.remove("mtime") {
        Some(value) => pax_time(&value)?,
        None => (number(&header[136..148], "mtime")? as i64, 0),
    };
    let device = |range: std::ops::Range<usize>| if gnu || posix { number(&header[range], "device") } else { Ok(0) };
    let kind = match header[156] {
        0 | b'0' if name.ends_with(b"/") => EntryKind::Directory,
        0 | b'0' | b'7' => EntryKind::File,
        b'1' => EntryKind::HardLink,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::CharDevice(device(329..337)?, device(337..345)?),
        b'4' => EntryKind::BlockDevice,
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        b'S' => return Err(bad("sparse files are not supported in layers")),
        other => return Err(bad(format!("unknown entry type {:?}", char::from(other)))),
    };
    if pax.keys().any(|key| key.starts_with("GNU.sparse.")) {
        return Err(bad("sparse files are not supported in layers"));
    }
    let xattrs = pax
        .into_iter()
        .filter_map(|(key, value)| Some((key.strip_prefix("SCHILY.xattr.")?.to_owned(), value)))
        .collect();
    let mode = (number(&header[100..108], "mode")? & 0o7777) as u32;
    // Some writers give links the size of what they lead to. No data follows.
    let (size, sized) = if kind == EntryKind::File { (size, false) } else { (0, size != 0) };
    Ok(TarEntry { path: name, kind, link, mode, uid, gid, mtime, size, sized, xattrs })
}

/// GNU and pax may both name an entry, if they agree.
fn one_name(what: &str, gnu: Option<Vec<u8>>, pax: Option<Vec<u8>>) -> io::Result<Option<Vec<u8>>> {
    let gnu = gnu.map(|mut name| {
        while name.last() == Some(&0) {
            name.pop();
        }
        name
    });
    match (gnu, pax) {
        (Some(gnu), Some(pax)) if gnu != pax => Err(bad(format!("two different values of {what} for one entry"))),
        (gnu, pax) => Ok(pax.or(gnu)),
    }
}

fn set_once(slot: &mut Option<Vec<u8>>, value: Vec<u8>) -> io::Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(bad("two long names for one entry")),
    }
}

/// `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record.
fn parse_pax(mut bytes: &[u8]) -> io::Result<Pax> {
    let mut pax = Pax::new();
    while !bytes.is_empty() {
        let malformed = || bad("a malformed pax record");
        let space = bytes.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
        let digits = &bytes[..space];
        if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
            return Err(malformed());
        }
        let length: usize = ascii(digits).and_then(|text| text.parse().ok()).ok_or_else(malformed)?;
        if length <= space + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
            return Err(malformed());
        }
        let record = &bytes[space + 1..length - 1];
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
        let key = std::str::from_utf8(&record[..equals]).map_err(|_| malformed())?;
        let value = record[equals + 1..].to_vec();
        if matches!(key, "path" | "linkpath") && (value.contains(&0) || value.is_empty()) {
            return Err(bad(format!("a pax {key} that is empty or has a NUL byte")));
        }
        if let Some(earlier) = pax.insert(key.to_owned(), value.clone())
            && earlier != value
        {
            return Err(bad(format!("two different values of pax {key} for one entry")));
        }
        bytes = &bytes[length..];
    }
    Ok(pax)
}

/// A global header may carry comments; anything that would change entries far
/// below is refused.
fn check_global(pax: &Pax) -> io::Result<()> {
    let changes = |key: &&String| {
        matches!(key.as_str(), "path" | "linkpath" | "size" | "uid" | "gid" | "mtime" | "uname" | "gname")
            || key.starts_with("SCHILY.")
            || key.starts_with("GNU.sparse.")
    };
    match pax.keys().find(changes) {
        Some(key) => Err(bad(format!("a global pax header sets {key}"))),
        None => Ok(()),
    }
}

fn pax_time(value: &[u8]) -> io::Result<(i64, u32)> {
    let malformed = || bad("pax mtime is no time");
    let text = ascii(value).ok_or_else(malformed)?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = seconds.parse().map_err(|_| malformed())?;
    if !fraction.bytes().all(|c| c.is_ascii_digit()) {
        return Err(malformed());
    }
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanos: u32 = digits.parse().map_err(|_| malformed())?;
    if seconds.starts_with('-') && nanos > 0 { Ok((whole - 1, 1_000_000_000 - nanos)) } else { Ok((whole, nanos)) }
}

/// Octal digits, or GNU's base-256 for what does not fit.
fn number(field: &[u8], what: &str) -> io::Result<u64> {
    let malformed = || bad(format!("a malformed {what} field"));
    if field[0] & 0x80 != 0 {
        // Negative values (0xff...) and values above 63 bits make no sense here.
        if field[0] != 0x80 {
            return if what == "mtime" { Ok(0) } else { Err(malformed()) };
        }
        let mut value: u64 = 0;
        for byte in &field[1..] {
            value = value.checked_mul(256).ok_or_else(malformed)? | u64::from(*byte);
        }
        return if value > i64::MAX as u64 { Err(malformed()) } else { Ok(value) };
    }
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let digits = ascii(&field[..end]).ok_or_else(malformed)?.trim_matches(' ');
    if digits.is_empty() {
        return Ok(0);
    }
    u64::from_str_radix(digits, 8).map_err(|_| malformed())
}

fn ascii(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii() && !text.starts_with('+'))
}

fn text(field: &[u8]) -> Vec<u8> {
    field.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

pub(super) fn bad(message: impl Into<String>) -> io::Error {
    let fault: Fault = integrity(format!("the layer's tar is malformed: {}", message.into()));
    io::Error::new(io::ErrorKind::InvalidData, fault)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(text: &str) -> Vec<u8> {
        let mut length = text.len() + 3;
        while format!("{length} {text}\n").len() != length {
            length += 1;
        }
        format!("{length} {text}\n").into_bytes()
    }

    #[test]
    fn case_09_pax_records_are_read_strictly() {
        let parsed = parse_pax(&[record("path=a b"), record("vendor.x=1"), record("path=a b")].concat()).unwrap();
        assert_eq!(parsed["path"], b"a b");
        for hostile in [
            [record("size=1"), record("size=2")].concat(),
            record("path=a\0b"),
            record("path="),
            b"5 a=b".to_vec(),
            b"999 a=b\n".to_vec(),
            b"0 a=b\n".to_vec(),
            b"+6 a=b\n".to_vec(),
            b"6 a=b".to_vec(),
            b"no record".to_vec(),
        ] {
            assert!(parse_pax(&hostile).is_err(), "{:?}", String::from_utf8_lossy(&hostile));
        }
        assert!(check_global(&parse_pax(&record("path=x")).unwrap()).is_err());
        assert!(check_global(&parse_pax(&record("comment=x")).unwrap()).is_ok());
    }

    #[test]
    fn numbers_and_times() {
        assert_eq!(number(b"0000644\0", "mode").unwrap(), 0o644);
        assert_eq!(number(b"        ", "mode").unwrap(), 0);
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 1, 0], "size").unwrap(), 256);
        assert!(number(&[0xff; 12], "size").is_err());
        assert!(number(b"12x4567\0", "size").is_err());
        assert_eq!(pax_time(b"12.5").unwrap(), (12, 500_000_000));
        assert_eq!(pax_time(b"-1.25").unwrap(), (-2, 750_000_000));
        assert!(pax_time(b"1.2.3").is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
            let mut tar = Tar::new(&bytes[..]);
            while let Ok(Some(_)) = tar.next() {}
        }

        #[test]
        fn pax_parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse_pax(&bytes);
        }
    }
}
