//! How names are written in a line for people.

use std::path::Path;

pub(crate) use crate::shell::quote;
use crate::snapshot::{LeftOut, LeftOutKind};

/// A path in so many columns: from the home folder on, without its middle.
pub(crate) fn short_path(path: &Path, home: Option<&Path>, columns: usize) -> String {
    let below = home.and_then(|home| path.strip_prefix(home).ok()).map(|rest| Path::new("~").join(rest));
    let whole = below.as_deref().unwrap_or(path).display().to_string();
    let parts: Vec<&str> = whole.split('/').collect();
    let length = whole.chars().count();
    // As few as it takes, from the third on.
    let without = |left_out: usize| [&parts[..2], &["…"], &parts[2 + left_out..]].concat().join("/");
    let mut shorter = (1..parts.len().saturating_sub(2)).map(without);
    if length <= columns {
        return whole;
    }
    shorter.clone().find(|it| it.chars().count() <= columns).or(shorter.next_back()).unwrap_or(whole)
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
    fn a_long_path_loses_its_middle() {
        let short = |path: &str, columns| short_path(Path::new(path), Some(Path::new("/home/dev")), columns);
        assert_eq!(short("/home/dev/src/shop", 40), "~/src/shop");
        assert_eq!(short("/home/dev/.local/share/envctl/workspaces/shop/task/t", 24), "~/.local/…/shop/task/t");
        assert_eq!(short("/srv/a/b/c/d/e", 10), "/srv/…/d/e");
        assert_eq!(short("/srv/averylongnamethatstays", 10), "/srv/averylongnamethatstays");
    }

    #[test]
    fn the_line_to_paste_survives_a_shell() {
        assert_eq!(quote("oci:/srv/tasks:task-1"), "oci:/srv/tasks:task-1");
        assert_eq!(quote("oci:/a b/it's:t"), "'oci:/a b/it'\\''s:t'");
    }
}
