//! What attributes ask of whoever writes files.

use std::fs::File;
use std::io::Read;

use anyhow::Result;

use super::files::TreeFile;
use crate::snapshot::format::document::{AutoCrlf, Eol, Settings};

/// Git ignores larger files of attributes.
pub(in crate::snapshot) const MAX_ATTRIBUTES: u64 = 100 << 20;

/// What attributes and settings ask for together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::snapshot) struct Conversions {
    /// Files are converted when they are written: then the git program does it.
    pub(in crate::snapshot) conversion: bool,
    /// Lines of texts end as on Windows, where attributes do not say how.
    pub(in crate::snapshot) crlf: bool,
    /// So they do in files that look like texts, of which attributes say nothing.
    pub(in crate::snapshot) guessed: bool,
    /// Files may lose something when they are read.
    pub(in crate::snapshot) normal: bool,
    /// Files are kept by Git LFS.
    pub(in crate::snapshot) lfs: bool,
    /// Another program may convert them, if the configuration has it.
    pub(in crate::snapshot) filter: bool,
}

impl Conversions {
    fn by(settings: &Settings) -> Self {
        let guessed = settings.autocrlf == Some(AutoCrlf::True);
        let crlf = guessed || settings.autocrlf.is_none() && settings.eol == Some(Eol::Crlf);
        let normal = crlf || settings.autocrlf.is_some();
        let mut asked = Conversions { conversion: crlf, crlf, guessed, normal, lfs: false, filter: false };
        asked.see(settings.attributes.as_ref().map_or(b"", |text| &text.0));
        asked
    }

    fn see(&mut self, attributes: &[u8]) {
        let text = String::from_utf8_lossy(attributes).to_ascii_lowercase();
        for word in text.lines().filter(|line| !line.starts_with('#')).flat_map(|line| line.split_whitespace().skip(1))
        {
            self.lfs |= word == "filter=lfs";
            self.filter |= word.starts_with("filter=") && word != "filter=lfs";
            self.conversion |= converts(word);
            self.normal |= self.conversion || word.starts_with("text") || word.starts_with("eol");
        }
    }

    /// What the attributes of a tree ask for.
    ///
    /// # Errors
    /// When one of its files is missing.
    pub(in crate::snapshot) fn of_tree(
        repo: &git2::Repository,
        settings: &Settings,
        files: &[TreeFile],
    ) -> Result<Self> {
        let mut asked = Self::by(settings);
        let odb = repo.odb()?;
        for file in files.iter().filter(|file| !file.is_submodule() && is_attributes(&file.path)) {
            asked.see_blob(&odb, file.object)?;
        }
        Ok(asked)
    }

    /// Adds what the attributes in a blob ask for.
    ///
    /// # Errors
    /// When it is missing.
    pub(in crate::snapshot) fn see_blob(&mut self, odb: &git2::Odb<'_>, blob: git2::Oid) -> Result<()> {
        if odb.read_header(blob)?.0 as u64 <= MAX_ATTRIBUTES {
            self.see(odb.read(blob)?.data());
        }
        Ok(())
    }

    /// What the attributes in these files ask for, read as git does: nothing
    /// beyond its own limit.
    pub(in crate::snapshot) fn of_files(settings: &Settings, files: impl Iterator<Item = File>) -> Self {
        let mut asked = Self::by(settings);
        for file in files {
            let mut text = Vec::new();
            if file.take(MAX_ATTRIBUTES + 1).read_to_end(&mut text).is_ok() && text.len() as u64 <= MAX_ATTRIBUTES {
                asked.see(&text);
            }
        }
        asked
    }
}

/// Whether a path names a file of attributes.
pub(in crate::snapshot) fn is_attributes(path: &[u8]) -> bool {
    path.rsplit(|byte| *byte == b'/').next() == Some(b".gitattributes")
}

fn converts(word: &str) -> bool {
    // What Git LFS would do is done here, after the pointers are written.
    let filter = word.starts_with("filter=") && word != "filter=lfs";
    filter || ["eol=crlf", "ident", "working-tree-encoding", "crlf"].iter().any(|known| word.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_attributes_ask_for() {
        let asked = |text: &str| {
            let mut asked = Conversions::default();
            asked.see(text.as_bytes());
            assert!(asked.normal || !asked.conversion);
            (asked.conversion, asked.lfs)
        };
        assert_eq!(asked("# text\n*.psd filter=lfs diff=lfs -text"), (false, true));
        assert_eq!(asked("[attr]big filter=lfs\n*.txt eol=crlf\n"), (true, true));
        assert_eq!(asked("#x filter=lfs\n*.psd -text\nfilter=lfs text\n"), (false, false));
        assert_eq!(asked("*.c ident\n"), (true, false));
        assert_eq!(asked("*.c filter=other -crlf\n"), (true, false));
        assert!(is_attributes(b".gitattributes") && is_attributes(b"a/.gitattributes"));
        assert!(!is_attributes(b"a.gitattributes") && !is_attributes(b".gitattributes/a"));
    }
}
