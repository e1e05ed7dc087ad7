//! Which images a Dockerfile builds on, or copies from, as podman reads them: by a
//! transport such as `oci:` one of them may lie anywhere on this machine. docker knows
//! registries alone.
//!
//! Invariant: what podman could read is looked at, in every reading, and maybe more.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::cut;

/// `containers-transports(5)`, but for those of registries.
const TRANSPORTS: [&str; 10] = [
    "atomic",
    "containers-storage",
    "dir",
    "docker-archive",
    "docker-daemon",
    "oci",
    "oci-archive",
    "ostree",
    "sif",
    "tarball",
];

/// More readings of one name are not looked at.
const MOST: usize = 64;

/// Variables in variables.
const DEEPEST: usize = 8;

type KnownBases = BTreeMap<String, BTreeSet<String>>;

/// The first image that is of this machine, or of which that cannot be told.
pub fn local_base(dockerfile: &[u8], args: &BTreeMap<String, String>) -> Option<String> {
    let text = String::from_utf8_lossy(dockerfile);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for escape in ['\\', '`'] {
        lines.extend(joined(&text, escape));
    }
    let mut known: KnownBases = args.iter().map(|(name, value)| (name.clone(), [value.clone()].into())).collect();
    lines.iter().for_each(|line| settle(line, &mut known));
    let names = lines.iter().flat_map(|line| images(line));
    names
        .into_iter()
        .find(|name| readings(name, &known, 0).is_none_or(|all| all.iter().any(|one| is_local(one))))
        .map(|name| cut(&name))
}

fn is_local(name: &str) -> bool {
    // As a word of a shell.
    let plain: String = name.chars().filter(|c| !matches!(c, '\\' | '"' | '\'')).collect();
    plain.split_once(':').is_some_and(|(transport, _)| TRANSPORTS.contains(&transport))
}

/// Lines, each with those that go on with it.
fn joined(text: &str, escape: char) -> Vec<String> {
    let (mut all, mut open) = (Vec::new(), String::new());
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        match line.trim_end().strip_suffix(escape) {
            Some(more) => open.push_str(more),
            None => all.push(std::mem::take(&mut open) + line),
        }
    }
    all.push(open);
    all
}

/// What an `ARG` or an `ENV` may set, wherever it stands.
fn settle(line: &str, known: &mut KnownBases) {
    let mut words = line.split_whitespace();
    if !words.next().is_some_and(|word| ["arg", "env"].contains(&word.to_ascii_lowercase().as_str())) {
        return;
    }
    let words: Vec<&str> = words.collect();
    let pairs = words.iter().filter_map(|word| word.split_once('='));
    let older = words.first().filter(|word| !word.contains('=')).map(|name| (*name, words[1..].join(" ")));
    for (name, value) in pairs.map(|(name, value)| (name, value.to_owned())).chain(older) {
        known.entry(name.to_owned()).or_default().insert(value);
    }
}

/// The images that a line names.
fn images(line: &str) -> Vec<String> {
    let mut words = line.split_whitespace();
    let Some(first) = words.next() else { return Vec::new() };
    let words: Vec<&str> = words.collect();
    if first.eq_ignore_ascii_case("from") {
        return words.into_iter().find(|word| !word.starts_with("--")).map(str::to_owned).into_iter().collect();
    }
    let flags = words.into_iter().filter(|word| word.starts_with("--"));
    let parts = flags.flat_map(|flag| flag.split_once('='));
    let of = |(name, rest): (&str, &str)| match name {
        "--from" => vec![rest.to_owned()],
        "--mount" => rest
            .split(',')
            .filter_map(|part| part.trim_matches(['"', '\'']).strip_prefix("from="))
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    };
    parts.flat_map(of).collect()
}

/// What a name with variables may become; `None` where that cannot be told.
fn readings(name: &str, known: &KnownBases, depth: usize) -> Option<BTreeSet<String>> {
    let Some((before, from)) = name.split_once('$') else { return Some([name.to_owned()].into()) };
    if depth > DEEPEST {
        return None;
    }
    let (inner, after) = match from.strip_prefix('{') {
        Some(braced) => braced.split_at_checked(end(braced)?).map(|(inner, after)| (inner, &after[1..]))?,
        None => from.split_at(from.find(|c: char| !is_word(c)).unwrap_or(from.len())),
    };
    let (name, rest) = inner.split_at(inner.find(|c: char| !is_word(c)).unwrap_or(inner.len()));
    let word = match rest {
        "" => None,
        rest => Some(rest.strip_prefix(':').unwrap_or(rest).strip_prefix(['-', '+', '?'])?),
    };
    let mut values = BTreeSet::from([String::new()]);
    for value in known.get(name).into_iter().flatten().map(String::as_str).chain(word) {
        values.extend(readings(value, known, depth + 1)?);
    }
    let mut all = BTreeSet::new();
    for after in readings(after, known, depth)? {
        all.extend(values.iter().map(|value| format!("{before}{value}{after}")));
        if all.len() > MOST {
            return None;
        }
    }
    Some(all)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Where a brace that is open ends.
fn end(text: &str) -> Option<usize> {
    let mut open = 1;
    for (at, c) in text.char_indices() {
        open += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        if open == 0 {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_podman_would_take_from_this_machine_is_seen_however_it_is_written() {
        let args = BTreeMap::from([("BASE".to_owned(), "oci:/home/dev/private".to_owned())]);
        for bad in [
            "FROM oci:/home/dev/private:x",
            "# escape=`\nfrom --platform=linux/amd64 `\n  oci:/p AS x",
            "FROM \\\n  # a comment\n  oci-archive:/p",
            "FROM a\nCOPY --from=docker-archive:/p.tar / /",
            "FROM a\nRUN --mount=type=bind,from=dir:/home,target=/h cat /h/x",
            "FROM a\nADD --chown=1 --from=containers-storage:private / /",
            "ARG A=oc\nFROM ${A}i:/p",
            "ARG A=oci\nFROM $A:/p\nARG A=python",
            "ARG A=python\nFROM $A:3\nARG A=oci",
            "FROM ${NONE:-oci}:/p",
            "FROM ${NONE:-${BASE}}",
            "FROM $BASE",
            "FROM ${NONE}oci:/p",
            "FROM \"oci\":/p",
            "FROM o\\ci:/p",
            "FROM ${A%x}",
            "ARG A=$B\nARG B=$A\nFROM $A",
            "RUN x `\nFROM oci:/p",
        ] {
            assert!(local_base(bad.as_bytes(), &args).is_some(), "{bad}");
        }
        for good in [
            "FROM python:3.12\nCOPY --from=build /x /y\nRUN --mount=type=cache,target=/root echo oci:/x",
            "ARG VERSION=3.12\nFROM --platform=$BUILDPLATFORM python:${VERSION}-slim AS base\nFROM base",
            "FROM ghcr.io/acme/oci:1\nFROM localhost:5000/dir:2\nFROM scratch",
            "FROM a\nRUN cat <<EOF\noci:/x\nEOF",
            "",
        ] {
            assert_eq!(local_base(good.as_bytes(), &args), None, "{good}");
        }
    }
}
