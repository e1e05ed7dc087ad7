//! Values that must never be shown.
//!
//! Invariant: a value that is made a [`Secret`] is known to [`hide`] from then
//! on, and everything that this process prints or reports passes through it.

use std::fmt;
use std::sync::RwLock;

/// Shorter values are too common to be told from other text.
const SHORTEST: usize = 4;

/// What stands in the place of a value.
const HIDDEN: &str = "[secret]";

/// All values of this process, in each spelling in which they could appear,
/// longest first.
static KNOWN: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// A value that never prints: not by `Debug`, and nothing else is offered.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a value, and lets [`hide`] know it.
    pub fn new(value: String) -> Self {
        remember(&value);
        Secret(value)
    }

    /// The value, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// Lets [`hide`] know a value that somebody else keeps.
pub fn remember(value: &str) {
    if value.len() < SHORTEST {
        return;
    }
    let json = serde_json::Value::from(value).to_string();
    let spellings = [value.to_owned(), json[1..json.len() - 1].to_owned(), value.trim_end().to_owned()];
    if let Ok(mut known) = KNOWN.write() {
        known.extend(spellings);
        known.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        known.dedup();
    }
}

/// The text without any value that is known to be secret.
pub fn hide(text: &str) -> String {
    let Ok(known) = KNOWN.read() else { return HIDDEN.to_owned() };
    known.iter().fold(
        text.to_owned(),
        |text, value| if text.contains(value.as_str()) { text.replace(value, HIDDEN) } else { text },
    )
}

/// The bytes of a stream without any value that is known to be secret, and
/// those of its end in which one may just have begun: they come first the next
/// time.
pub fn hide_in(bytes: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let Ok(known) = KNOWN.read() else { return (HIDDEN.into(), Vec::new()) };
    let mut rest = &bytes[..];
    let mut clean = Vec::with_capacity(bytes.len());
    let value_at = |rest: &[u8]| known.iter().find(|value| rest.starts_with(value.as_bytes())).map(String::len);
    let begins = |rest: &[u8]| known.iter().any(|value| value.len() > rest.len() && value.as_bytes().starts_with(rest));
    if known.is_empty() {
        return (bytes, Vec::new());
    }
    while !rest.is_empty() {
        // Longest first: a longer one that may just have begun comes before.
        if begins(rest) {
            break;
        }
        match value_at(rest) {
            Some(length) => {
                clean.extend_from_slice(HIDDEN.as_bytes());
                rest = &rest[length..];
            }
            None => {
                clean.push(rest[0]);
                rest = &rest[1..];
            }
        }
    }
    let held = rest.to_vec();
    (clean, held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_46_values_do_not_print() {
        let secret = Secret::new("hunter2 \"quoted\"\nsecond line\n".into());
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "[secret] Some([secret])");
        let text = format!("the value is {}!", secret.expose());
        assert_eq!(hide(&text), "the value is [secret]!");
        let json = serde_json::json!({ "value": secret.expose() }).to_string();
        assert_eq!(hide(&json), "{\"value\":\"[secret]\"}");
        assert_eq!(hide("nothing of it"), "nothing of it");
    }

    #[test]
    fn what_is_too_short_to_be_told_apart_is_left_alone() {
        let _ = Secret::new("no".into());
        assert_eq!(hide("no news"), "no news");
    }
}
