//! Values that must never be shown.
//!
//! Invariant: a value that is made a [`Secret`] is known to [`hide`] from then
//! on, and everything that this process prints or reports passes through it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{LazyLock, RwLock};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as STANDARD;

/// Shorter values are too common to be told from other text.
const SHORTEST: usize = 4;

/// What stands in the place of a value.
const HIDDEN: &str = "[secret]";

/// All values of this process, in each spelling in which they could appear, by what
/// they begin with; of those that begin alike the longest first.
static KNOWN: LazyLock<RwLock<HashMap<Start, Vec<String>>>> = LazyLock::new(RwLock::default);

/// The first bytes of a value.
type Start = [u8; SHORTEST];

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

/// Lets [`hide`] know a value that somebody else keeps, in each spelling in which
/// it travels.
pub fn remember(value: &str) {
    if value.len() < SHORTEST {
        return;
    }
    let json = serde_json::Value::from(value).to_string();
    let plain = [value.to_owned(), json[1..json.len() - 1].to_owned(), value.trim_end().to_owned()];
    let percent = percent(value);
    // As a form has it.
    let form = percent.replace("%20", "+").replace("%2A", "*").replace('~', "%7E");
    let lower = [&form, &percent].map(|text| lower_escapes(text));
    let spellings = plain.into_iter().chain([form, percent, STANDARD.encode(value)]).chain(lower);
    let Ok(mut known) = KNOWN.write() else { return };
    for spelling in spellings {
        let Some(start) = spelling.as_bytes().first_chunk() else { continue };
        let alike = known.entry(*start).or_default();
        let place = alike.partition_point(|other| other.len() > spelling.len());
        if !alike.iter().skip(place).any(|other| *other == spelling) {
            alike.insert(place, spelling);
        }
    }
}

/// The longest value that this begins with.
fn value_at<'a>(known: &'a HashMap<Start, Vec<String>>, rest: &[u8]) -> Option<&'a String> {
    let alike = known.get(rest.first_chunk::<SHORTEST>()?)?;
    alike.iter().find(|value| rest.starts_with(value.as_bytes()))
}

/// The same for a password, which also travels together with its name (RFC 7617).
pub fn remember_login(user: &str, password: &str) {
    remember(password);
    remember(&format!("{user}:{password}"));
}

/// Percent-encoded, all but what RFC 3986 calls unreserved.
fn percent(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Encoded text with small letters after each `%`.
fn lower_escapes(text: &str) -> String {
    let mut parts = text.split('%');
    let mut lower = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        lower.push('%');
        lower.push_str(&digits.to_ascii_lowercase());
        lower.push_str(rest);
    }
    lower
}

/// The beginning of a text, so many characters of it, without any value that is
/// known to be secret: one that is cut would not be known any more.
pub fn beginning(text: &str, most: usize) -> String {
    let clean = hide(text);
    match clean.char_indices().nth(most) {
        Some((end, _)) => clean[..end].to_owned(),
        None => clean,
    }
}

/// The text without any value that is known to be secret.
pub fn hide(text: &str) -> String {
    let Ok(known) = KNOWN.read() else { return HIDDEN.to_owned() };
    if known.is_empty() {
        return text.to_owned();
    }
    let (mut clean, mut shown, mut at) = (String::with_capacity(text.len()), 0, 0);
    while let Some(rest) = text.as_bytes().get(at..).filter(|rest| rest.len() >= SHORTEST) {
        match value_at(&known, rest) {
            Some(value) => {
                clean.push_str(&text[shown..at]);
                clean.push_str(HIDDEN);
                at += value.len();
                shown = at;
            }
            None => at += 1,
        }
    }
    clean.push_str(&text[shown..]);
    clean
}

/// The bytes of a stream without any value that is known to be secret, and
/// those of its end in which one may just have begun: they come first the next
/// time.
pub fn hide_in(bytes: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let Ok(known) = KNOWN.read() else { return (HIDDEN.into(), Vec::new()) };
    let mut rest = &bytes[..];
    let mut clean = Vec::with_capacity(bytes.len());
    let may_begin = |value: &String, rest: &[u8]| value.len() > rest.len() && value.as_bytes().starts_with(rest);
    let begins = |rest: &[u8]| match rest.first_chunk() {
        Some(start) => known.get::<Start>(start).is_some_and(|alike| alike.iter().any(|value| may_begin(value, rest))),
        None => known.keys().any(|start| start.starts_with(rest)),
    };
    if known.is_empty() {
        return (bytes, Vec::new());
    }
    while !rest.is_empty() {
        // Longest first: a longer one that may just have begun comes before.
        if begins(rest) {
            break;
        }
        match value_at(&known, rest) {
            Some(value) => {
                clean.extend_from_slice(HIDDEN.as_bytes());
                rest = &rest[value.len()..];
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
    fn values_are_known_in_each_spelling_in_which_they_travel() {
        remember_login("dev", "of/the+dev=é/9x");
        for sent in [
            "of/the+dev=é/9x",
            "of%2Fthe%2Bdev%3D%C3%A9%2F9x",
            "of%2fthe%2bdev%3d%c3%a9%2f9x",
            "b2YvdGhlK2Rldj3DqS85eA==",
            "ZGV2Om9mL3RoZStkZXY9w6kvOXg=",
        ] {
            assert_eq!(hide(&format!("you sent {sent}!")), "you sent [secret]!", "{sent}");
        }
        remember("with space and more");
        assert_eq!(hide("with+space+and+more with%20space%20and%20more"), "[secret] [secret]");
    }

    #[test]
    fn no_beginning_of_a_value_is_left_where_a_text_is_cut() {
        remember("Pa55word-of-somebody");
        let text = format!("{}Pa55word-of-somebody and more", "x".repeat(195));
        assert_eq!(beginning(&text, 200), format!("{}[secr", "x".repeat(195)));
        assert_eq!(beginning("short", 200), "short");
    }

    #[test]
    fn what_is_too_short_to_be_told_apart_is_left_alone() {
        let _ = Secret::new("no".into());
        assert_eq!(hide("no news"), "no news");
    }
}
