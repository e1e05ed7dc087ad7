//! Values of compose files as texts.

use serde_json::Value;

use crate::error::cut;

/// A scalar as text.
pub(super) fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

pub(super) fn is_plain(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c))
}

/// The words of a command; of a text only where a shell would find no others.
pub(super) fn words(value: &Value) -> Option<Vec<String>> {
    let all: Vec<String> = match value {
        Value::Array(all) => all.iter().map(text).collect::<Option<_>>()?,
        Value::String(line) => {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            words.iter().all(|word| is_plain(word)).then_some(words)?
        }
        Value::Null => Vec::new(),
        _ => return None,
    };
    all.iter().map(|word| filled(word).ok().filter(|word| !word.contains('\0'))).collect()
}

/// A text with the defaults of its variables, none of which is read from the
/// environment; the name of one that has none.
pub(super) fn filled(text: &str) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let Some(braced) = after.strip_prefix('{') else {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            return Err(cut(&after[..end]));
        };
        let Some((inner, after)) = braced.split_once('}') else { return Err(cut(braced)) };
        match inner.split_once(":-").or_else(|| inner.split_once('-')) {
            Some((_, default)) if !default.contains('$') => out.push_str(default),
            _ => return Err(cut(inner)),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}
