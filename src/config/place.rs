//! Where in a file a mistake is: the line, and the key that it is about.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::Fault;

/// Adds the line to a fault that begins with the file's name and, where it says so,
/// the key.
pub(super) fn located(fault: Fault, text: &str, name: &str) -> Fault {
    let Some(rest) = fault.message.strip_prefix(&format!("{name}: ")).map(str::to_owned) else { return fault };
    match DeTable::parse(text).ok().and_then(|table| offset(table.get_ref(), &rest)) {
        Some(offset) => Fault { message: format!("{name}, line {}: {rest}", line(text, offset)), ..fault },
        None => fault,
    }
}

/// The line of a byte, from 1 on.
pub(super) fn line(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

/// The key whose value, or which itself, is at this byte.
pub(super) fn key_at(text: &str, offset: usize) -> Option<String> {
    deepest(DeTable::parse(text).ok()?.get_ref(), offset)
}

fn deepest(table: &DeTable<'_>, offset: usize) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let name = key.get_ref().to_string();
        match below(value, offset) {
            Some(inner) => Some(format!("{name}{inner}")),
            None => (key.span().contains(&offset) || value.span().contains(&offset)).then_some(name),
        }
    })
}

/// What follows a key, for a place within its value.
fn below(value: &Spanned<DeValue<'_>>, offset: usize) -> Option<String> {
    match value.get_ref() {
        DeValue::Table(table) => deepest(table, offset).map(|inner| format!(".{inner}")),
        DeValue::Array(items) => items.iter().find_map(|item| below(item, offset).map(|inner| format!("[]{inner}"))),
        _ => None,
    }
}

/// Where the thing is that a message is about: `unknown key "a.b"`, `cache "npm": ...` or
/// `a.b: ...`.
fn offset(table: &DeTable<'_>, message: &str) -> Option<usize> {
    if let Some(rest) = message.strip_prefix("unknown key \"") {
        return find(table, rest.split('"').next()?);
    }
    for kind in ["cache", "fixture", "service"] {
        let named = message.strip_prefix(kind).and_then(|rest| rest.strip_prefix(" \""));
        if let Some(name) = named.and_then(|rest| rest.split('"').next()) {
            return element(table, kind, name);
        }
    }
    find(table, message.split(": ").next()?)
}

/// The last element of this name: of two with one name the second is the mistake.
fn element(table: &DeTable<'_>, kind: &str, name: &str) -> Option<usize> {
    let DeValue::Array(items) = table.get(kind)?.get_ref() else { return None };
    let mut named = items.iter().filter(|item| match item.get_ref() {
        DeValue::Table(table) => {
            // Without a name it has that of its preset.
            let own = table.get("name").or_else(|| table.get("preset"));
            matches!(own.map(Spanned::get_ref), Some(DeValue::String(own)) if own == name)
        }
        _ => false,
    });
    named.next_back().map(|item| item.span().start)
}

/// A key by its path, of which each part may have `[]` after it; as far as it is there.
fn find(table: &DeTable<'_>, path: &str) -> Option<usize> {
    table.iter().find_map(|(key, value)| {
        let rest = path.strip_prefix(key.get_ref().as_ref())?;
        let start = key.span().start;
        match (rest.strip_prefix("[]").unwrap_or(rest), value.get_ref()) {
            ("", _) => Some(start),
            (rest, DeValue::Table(table)) => find(table, rest.strip_prefix('.')?).or(Some(start)),
            (rest, DeValue::Array(items)) => {
                let tables = items.iter().filter_map(|item| match item.get_ref() {
                    DeValue::Table(table) => Some(table),
                    _ => None,
                });
                let rest = rest.strip_prefix('.')?;
                tables.into_iter().find_map(|table| find(table, rest)).or(Some(start))
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Project, UserConfig};

    #[test]
    fn a_mistake_is_told_with_its_key_and_its_line() {
        for (text, says) in [
            ("store = 5", "envctl.toml, line 1: store: "),
            ("\n[runtime]\nports = [\n  0,\n]", "envctl.toml, line 3: runtime.ports: "),
            ("[runtime]\n# why\nlimits = { memory = \"much\" }", "envctl.toml, line 3: runtime.limits.memory: "),
            ("[runtime]\n\nlimits.cpus = 0.0", "envctl.toml, line 3: runtime.limits.cpus: "),
            ("[workspace]\nttl = \"soon\"", "envctl.toml, line 2: workspace.ttl: "),
            ("[toolchain]\n\nimgae = \"x\"", "envctl.toml, line 3: unknown key \"toolchain.imgae\""),
            ("[[cache]]\npreset = \"npm\"\n[[cache]]\npreset = \"npm\"", "envctl.toml, line 3: cache \"npm\": "),
            ("[[service]]\nname = \"a\"\ncommand = []", "envctl.toml, line 1: service \"a\": "),
            ("[[service]]\nname = \"a\"\ncommnd = []", "envctl.toml, line 3: unknown key \"service[].commnd\""),
            ("[runtime]\nnetwork = 1", "envctl.toml, line 2: runtime.network: "),
        ] {
            let error = Project::parse(text, "envctl.toml").unwrap_err().to_string();
            assert!(error.starts_with(says), "{text}: {error}");
        }
        for (text, says) in [
            ("[cache]\n\nmax_size = \"big\"", "config.toml, line 3: cache.max_size: "),
            ("[url]\nfrom = 1", "config.toml, line 1: "),
            ("[registries.\"a.example\"]\nplain_http = 1", "config.toml, line 2: registries.a.example.plain_http: "),
        ] {
            let error = UserConfig::parse(text, "config.toml").unwrap_err().to_string();
            assert!(error.starts_with(says), "{text}: {error}");
        }
    }
}
