//! How names are written in a line for people.

use crate::snapshot::{LeftOut, LeftOutKind};

/// As a shell reads it back.
pub(crate) fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// The first few of many names, for one line.
pub(crate) fn shown_list(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let first = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{first} and {} more", names.len() - SHOWN) } else { first }
}

/// The same said of many files, in one line: each of a list has a name and a reason.
pub(crate) fn by_reason(all: impl IntoIterator<Item = (String, String)>) -> Vec<String> {
    let mut reasons: Vec<(String, Vec<String>)> = Vec::new();
    for (name, why) in all {
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, names)) => names.push(name),
            None => reasons.push((why, vec![name])),
        }
    }
    let line = |(why, names): (String, Vec<String>)| match &names[..] {
        [one] => format!("{one} {why}"),
        many if why.starts_with('(') => format!("{} files, {} {why}", many.len(), shown_list(many)),
        many => format!("each of {} files {why}: {}", many.len(), shown_list(many)),
    };
    reasons.into_iter().map(line).collect()
}

/// What was left out by kind, in the kinds' words.
pub(crate) fn by_kind(left: &[LeftOut]) -> Vec<(&'static str, Vec<String>)> {
    let mut kinds: Vec<_> = left.iter().map(|left| left.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let name = |left: &LeftOut| match (&left.detail, left.kind) {
        // The name does not say why.
        (Some(why), LeftOutKind::Operation) => format!("{}: {why}", left.name),
        _ => left.name.clone(),
    };
    let names = |kind| left.iter().filter(|left| left.kind == kind).map(name).collect();
    kinds.into_iter().map(|kind| (kind.words(), names(kind))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_to_paste_survives_a_shell() {
        assert_eq!(quote("oci:/srv/tasks:task-1"), "oci:/srv/tasks:task-1");
        assert_eq!(quote("oci:/a b/it's:t"), "'oci:/a b/it'\\''s:t'");
    }
}
