//! A tar writer that writes whatever it is told to: every field of a header
//! can lie. Ordinary entries come out as ordinary ustar or PAX.

const BLOCK: usize = 512;

/// One entry. Lies are told with struct update syntax:
/// `Entry { size: Some(9), ..Entry::dir("d") }`.
#[derive(Clone)]
pub struct Entry {
    pub name: Vec<u8>,
    /// The ustar name prefix, joined to the name with a slash by readers.
    pub prefix: Vec<u8>,
    /// The type flag.
    pub kind: u8,
    pub link: Vec<u8>,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub mtime: u64,
    pub body: Vec<u8>,
    /// The size that the header declares, if not the body's.
    pub size: Option<u64>,
    pub device: (u64, u64),
    /// Records of an extended header before the entry.
    pub pax: Vec<(String, Vec<u8>)>,
    /// Whether the body is filled up to a whole block.
    pub padded: bool,
    /// The checksum that the header carries, if not the right one.
    pub checksum: Option<u64>,
}

impl Entry {
    pub fn new(kind: u8, name: impl Into<Vec<u8>>) -> Self {
        Entry {
            name: name.into(),
            prefix: Vec::new(),
            kind,
            link: Vec::new(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 1_700_000_000,
            body: Vec::new(),
            size: None,
            device: (0, 0),
            pax: Vec::new(),
            padded: true,
            checksum: None,
        }
    }

    pub fn file(name: impl Into<Vec<u8>>, body: impl Into<Vec<u8>>) -> Self {
        Entry { body: body.into(), ..Self::new(b'0', name) }
    }

    pub fn program(name: impl Into<Vec<u8>>, body: impl Into<Vec<u8>>) -> Self {
        Self::file(name, body).mode(0o755)
    }

    pub fn dir(name: impl Into<Vec<u8>>) -> Self {
        Self::new(b'5', name).mode(0o755)
    }

    pub fn symlink(name: impl Into<Vec<u8>>, target: impl Into<Vec<u8>>) -> Self {
        Entry { link: target.into(), ..Self::new(b'2', name).mode(0o777) }
    }

    pub fn hardlink(name: impl Into<Vec<u8>>, target: impl Into<Vec<u8>>) -> Self {
        Entry { link: target.into(), ..Self::new(b'1', name) }
    }

    pub fn fifo(name: impl Into<Vec<u8>>) -> Self {
        Self::new(b'6', name)
    }

    pub fn char_device(name: impl Into<Vec<u8>>, major: u64, minor: u64) -> Self {
        Entry { device: (major, minor), ..Self::new(b'3', name) }
    }

    pub fn block_device(name: impl Into<Vec<u8>>, major: u64, minor: u64) -> Self {
        Entry { device: (major, minor), ..Self::new(b'4', name) }
    }

    /// An extended header (`x`), or a global one (`g`), of these very bytes.
    pub fn extended(kind: u8, records: impl Into<Vec<u8>>) -> Self {
        Entry { body: records.into(), ..Self::new(kind, "pax") }
    }

    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    pub fn owner(mut self, uid: u64, gid: u64) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    pub fn mtime(mut self, seconds: u64) -> Self {
        self.mtime = seconds;
        self
    }

    pub fn pax(mut self, key: &str, value: impl Into<Vec<u8>>) -> Self {
        self.pax.push((key.to_owned(), value.into()));
        self
    }

    /// Appends the entry to an archive.
    pub fn write(&self, archive: &mut Vec<u8>) {
        let mut records = Vec::new();
        for (key, long) in [("path", &self.name), ("linkpath", &self.link)] {
            if long.len() > 100 {
                records.extend(pax_record(key, long));
            }
        }
        records.extend(self.pax.iter().flat_map(|(key, value)| pax_record(key, value)));
        if !records.is_empty() {
            Entry::extended(b'x', records).write(archive);
        }
        archive.extend(self.header());
        archive.extend(&self.body);
        if self.padded {
            archive.resize(archive.len().next_multiple_of(BLOCK), 0);
        }
    }

    fn header(&self) -> [u8; BLOCK] {
        let mut header = [0; BLOCK];
        text(&mut header[0..100], &self.name);
        number(&mut header[100..108], u64::from(self.mode));
        number(&mut header[108..116], self.uid);
        number(&mut header[116..124], self.gid);
        number(&mut header[124..136], self.size.unwrap_or(self.body.len() as u64));
        number(&mut header[136..148], self.mtime);
        header[148..156].fill(b' ');
        header[156] = self.kind;
        text(&mut header[157..257], &self.link);
        header[257..265].copy_from_slice(b"ustar\x0000");
        number(&mut header[329..337], self.device.0);
        number(&mut header[337..345], self.device.1);
        text(&mut header[345..500], &self.prefix);
        let sum = header.iter().map(|byte| u64::from(*byte)).sum();
        number(&mut header[148..155], self.checksum.unwrap_or(sum));
        header
    }
}

/// `LENGTH KEY=VALUE\n`, the length counting its own digits.
pub fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

fn text(field: &mut [u8], value: &[u8]) {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
}

/// Octal where it fits, GNU's base 256 where it does not.
fn number(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let octal = format!("{value:0digits$o}");
    if octal.len() == digits {
        field[..digits].copy_from_slice(octal.as_bytes());
    } else {
        field.fill(0);
        let start = field.len() - 8;
        field[start..].copy_from_slice(&value.to_be_bytes());
        field[0] |= 0x80;
    }
}
