//! Values that must never be shown.
//!
//! Invariant: a value that is made a [`Secret`] is known to [`hide`] from then
//! on, and everything that this process prints or reports passes through it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::{LazyLock, Mutex, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Shorter values are too common to be told from other text.
const SHORTEST: usize = 4;

/// Encoded, a short value is too common as well.
const SHORTEST_ENCODED: usize = 8;

/// What stands in the place of a value.
const HIDDEN: &str = "[secret]";

/// All values of this process, in each spelling in which they could appear, by what
/// they begin with; of those that begin alike the longest first.
static KNOWN: LazyLock<RwLock<HashMap<Start, Vec<String>>>> = LazyLock::new(RwLock::default);

/// Those that programs inside were given in this process, whoever asks for its words.
static LENT: Mutex<Vec<Secret>> = Mutex::new(Vec::new());

/// The last few that servers have issued in this process, each in the spellings in which
/// a server could repeat it.
static ISSUED: Mutex<VecDeque<Vec<String>>> = Mutex::new(VecDeque::new());

/// So many of those are kept.
const MOST_ISSUED: usize = 8;

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
    // With all of its end, where base64 begins with it.
    let own = [value.to_owned(), value.trim_end().to_owned(), in_json(value), STANDARD.encode(value)];
    let encoded = [value, value.trim()].into_iter().flat_map(spellings);
    let encoded = encoded.filter(|spelling| spelling.len() >= SHORTEST_ENCODED);
    let Ok(mut known) = KNOWN.write() else { return };
    for spelling in own.into_iter().chain(encoded) {
        let Some(start) = spelling.as_bytes().first_chunk() else { continue };
        let alike = known.entry(*start).or_default();
        let place = alike.partition_point(|other| other.len() > spelling.len());
        if !alike.iter().skip(place).any(|other| *other == spelling) {
            alike.insert(place, spelling);
        }
    }
}

/// Lets [`hide_issued`] know a token that a server has chosen: any word, so it is hidden
/// in the words of servers alone, and nowhere else.
pub fn remember_issued(token: &str) {
    let mut issued = ISSUED.lock().unwrap_or_else(PoisonError::into_inner);
    let spellings = vec![token.to_owned(), in_json(token), STANDARD.encode(token)];
    if !issued.contains(&spellings) {
        issued.push_front(spellings);
        issued.truncate(MOST_ISSUED);
    }
}

/// A server's words without the tokens that servers have issued.
pub fn hide_issued(text: &str) -> String {
    let issued = ISSUED.lock().unwrap_or_else(PoisonError::into_inner);
    issued.iter().flatten().fold(text.to_owned(), |text, token| text.replace(token, HIDDEN))
}

/// Keeps a value that a program inside was given: it must not leave with a task.
pub fn lend(value: &Secret) {
    let mut lent = LENT.lock().unwrap_or_else(PoisonError::into_inner);
    if !lent.contains(value) {
        lent.push(value.clone());
    }
}

/// The values that programs inside were given in this process.
pub fn lent() -> Vec<Secret> {
    LENT.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

/// The same for what a text has before an `@` and after a colon, as addresses with a
/// password have it: the text may be quoted when it is refused.
pub fn remember_passwords(text: &str) {
    for (at, _) in text.match_indices('@') {
        let before = text.get(..at).unwrap_or_default();
        let word = before.rsplit(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '=' | ',')).next();
        if let Some((user, password)) = word.and_then(|word| word.split_once(':')).filter(|(user, _)| *user != "mailto")
        {
            remember_login(user, password);
        }
    }
}

/// Everything that stands for a value in a text: as it is, inside JSON,
/// percent-encoded, and in base64, wherever in the encoded text it begins.
pub fn spellings(value: &str) -> BTreeSet<String> {
    let in_json = in_json(value);
    let mut all = BTreeSet::from([value.to_owned(), in_json.replace('/', "\\/"), in_json]);
    // encodeURIComponent, encodeURI, paths, forms, and everything encoded.
    for kept in ["-._~", "-_.!~*'()", "-._~;/?:@&=+$,#!*'()", "-._~/", "*-._", ""] {
        for capital in [true, false] {
            let encoded = percent(value.as_bytes(), kept, capital);
            all.insert(encoded.replace("%20", "+"));
            all.insert(encoded);
        }
    }
    for offset in 0..3 {
        let input = [&[0; 2][..offset], value.as_bytes()].concat();
        // What shares a character with its neighbours is left off.
        let (first, end) = ((offset * 8).div_ceil(6), input.len() * 8 / 6);
        for text in [STANDARD_NO_PAD.encode(&input), URL_SAFE_NO_PAD.encode(&input)] {
            all.insert(text[first..end].to_owned());
        }
    }
    all
}

/// What stands between the quotes.
fn in_json(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Percent-encoded (RFC 3986), all but letters, digits and what is `kept`; without
/// that, everything.
pub(crate) fn percent(value: &[u8], kept: &str, capital: bool) -> String {
    let mut out = String::new();
    for byte in value {
        match byte {
            c if !kept.is_empty() && (c.is_ascii_alphanumeric() || kept.as_bytes().contains(c)) => {
                out.push(char::from(*c));
            }
            c if capital => out.push_str(&format!("%{c:02X}")),
            c => out.push_str(&format!("%{c:02x}")),
        }
    }
    out
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
    fn what_a_server_issued_is_hidden_in_the_words_of_servers_alone() {
        remember_issued("the-task-of-tests");
        assert_eq!(hide_issued("401 for the-task-of-tests"), "401 for [secret]");
        assert_eq!(hide("enter the-task-of-tests"), "enter the-task-of-tests");
        // Others in this process may issue some as well.
        (0..1000).for_each(|n| remember_issued(&format!("issued-{n}-of-tests")));
        assert!(ISSUED.lock().unwrap().len() <= MOST_ISSUED);
    }

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

    #[test]
    fn a_password_in_an_address_is_hidden_wherever_the_address_is_quoted() {
        remember_passwords("store = \"ada:quite-Secret7@registry.example/x\"");
        remember_passwords("mirror = \"https://bob:other-Secret8@m.example\" # mailto:ada-writes@home.example");
        let said = hide("invalid: ada:quite-Secret7@registry.example, https://bob:other-Secret8@m.example, ada-writes");
        assert!(!said.contains("Secret") && said.contains("ada-writes"), "{said}");
    }
}
