//! Adding settings to a file of git's configuration, all at once: git's library
//! writes the whole file anew for each of them, and waits for the disk.
//!
//! Invariant: git and its library read from the text what was asked for
//! (`git-config(1)`, *Syntax*), whatever the file said before.

use std::io::{Error, ErrorKind, Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Adds settings, `section.name` or `section.subsection.name` with a value, at the end
/// of a file: they hold, because the last one does.
///
/// # Errors
/// As [`with_settings`]; when the file cannot be read or written.
pub fn add_settings<K: AsRef<str>, V: AsRef<str>>(file: &Path, settings: &[(K, V)]) -> Result<()> {
    let before = std::fs::read(file)?;
    let after = with_settings(&before, settings)?;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.append(true).custom_flags(libc::O_NOFOLLOW).open(file)?;
    file.write_all(after.get(before.len()..).unwrap_or_default())
}

/// The same for a text of configuration.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] when git has no way to write a key or value, or may go
/// on reading the last line of the text.
pub fn with_settings<K: AsRef<str>, V: AsRef<str>>(before: &[u8], settings: &[(K, V)]) -> Result<Vec<u8>> {
    let refused = |why: String| Error::new(ErrorKind::InvalidInput, why);
    let mut text = before.to_vec();
    if settings.is_empty() {
        return Ok(text);
    }
    if !before.is_empty() && !before.ends_with(b"\n") {
        text.push(b'\n');
    }
    if text.trim_ascii_end().ends_with(b"\\") {
        return Err(refused("the last line of the configuration goes on".into()));
    }
    for (key, value) in settings {
        write_setting(&mut text, key.as_ref(), value.as_ref())
            .ok_or_else(|| refused(format!("git cannot write {}", key.as_ref())))?;
    }
    Ok(text)
}

fn write_setting(text: &mut Vec<u8>, key: &str, value: &str) -> Option<()> {
    let (section, rest) = key.split_once('.')?;
    let (sub, name) = rest.rsplit_once('.').map_or((None, rest), |(sub, name)| (Some(sub), name));
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_name = is_word(name) && name.starts_with(|first: char| first.is_ascii_alphabetic());
    if !is_word(section) || !is_name || value.contains('\0') || sub.is_some_and(|sub| sub.contains(['\n', '\0'])) {
        return None;
    }
    text.extend(format!("[{section}").bytes());
    if let Some(sub) = sub {
        let escaped = sub.replace('\\', "\\\\").replace('"', "\\\"");
        text.extend(format!(" \"{escaped}\"").bytes());
    }
    text.extend(format!("]\n\t{name} = ").bytes());
    let is_plain = value == value.trim() && !value.contains(['#', ';', '"', '\\', '\r', '\n', '\t', '\x08']);
    if is_plain {
        text.extend(value.bytes());
    } else {
        text.push(b'"');
        for byte in value.bytes() {
            match byte {
                b'\n' => text.extend(b"\\n"),
                b'\t' => text.extend(b"\\t"),
                0x08 => text.extend(b"\\b"),
                b'"' | b'\\' => text.extend([b'\\', byte]),
                other => text.push(other),
            }
        }
        text.push(b'"');
    }
    text.push(b'\n');
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            "[ -~]{0,12}",
            "[\"\\\\#; \\t\\r\\n\\x08a]{0,8}",
            "\\PC{0,6}",
            Just("true".to_owned()),
            Just(String::new())
        ]
    }

    fn key() -> impl Strategy<Value = String> {
        let sub = text().prop_map(|text| text.replace(['\n', '\r'], "x"));
        ("[a-z][a-zA-Z0-9-]{0,5}", proptest::option::of(sub), "[a-z][a-zA-Z0-9-]{0,5}").prop_map(
            |(section, sub, name)| {
                sub.map_or_else(|| format!("{section}.{name}"), |sub| format!("{section}.{sub}.{name}"))
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn git_and_its_library_read_what_was_added(
            before in prop_oneof![
                Just(""), Just("[core]\n\tbare = false\n"), Just("[a]\nb = c"), Just("[a]\r\nb = c\r\n"),
            ],
            settings in proptest::collection::vec((key(), text()), 1..5),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("config");
            std::fs::write(&file, before).unwrap();
            add_settings(&file, &settings).unwrap();
            let library = git2::Config::open(&file).unwrap();
            let last: std::collections::BTreeMap<_, _> = settings
                .iter()
                .map(|(key, value)| {
                    let (section, rest) = key.split_once('.').unwrap();
                    let (sub, name) = rest.rsplit_once('.').map_or((None, rest), |(sub, name)| (Some(sub), name));
                    let key = (section.to_ascii_lowercase(), sub, name.to_ascii_lowercase());
                    (key, (key_of(section, sub, name), value))
                })
                .collect();
            for (key, value) in last.values() {
                prop_assert_eq!(&library.get_string(key).unwrap(), *value, "{}", key);
                let git = std::process::Command::new("git").arg("config").arg("-z").arg("-f").arg(&file).args(["--get", key]).output().unwrap();
                prop_assert_eq!(git.stdout.strip_suffix(b"\0").unwrap_or_default(), value.as_bytes(), "{}", key);
            }
        }
    }

    fn key_of(section: &str, sub: Option<&str>, name: &str) -> String {
        sub.map_or_else(|| format!("{section}.{name}"), |sub| format!("{section}.{sub}.{name}"))
    }

    #[test]
    fn what_git_cannot_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        std::fs::write(&file, "").unwrap();
        for (key, value) in
            [("core", "x"), ("a b.c", "x"), ("a.1", "x"), ("a.x\ny.b", "z"), ("a.b", "x\0y"), ("a.", "")]
        {
            assert!(add_settings(&file, &[(key, value)]).is_err(), "{key:?}");
        }
        assert_eq!(std::fs::read(&file).unwrap(), b"");
    }
}
