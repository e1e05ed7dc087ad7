//! YAML in which each scalar is the text that stands there: `0123` is a password, and
//! `1.10` a version.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::{Error, NonFiniteFloatPolicy, Spanned};

/// A document, in which there are maps, lists, texts and nothing.
///
/// # Errors
/// Why it is none, in one line.
pub(super) fn read(text: &str) -> Result<Value, String> {
    // Places are counted from what follows it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let options = serde_saphyr::options! {
        with_snippet: false,
        null_as_string: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Node>>(text, options) {
        Ok(node) => Ok(value(node, text)),
        Err(Error::MultipleDocuments { .. }) => Err("there is more than one document in it".into()),
        Err(error) => Err(error.to_string().lines().next().unwrap_or_default().to_owned()),
    }
}

/// A part of a document.
enum Node {
    Nothing,
    Text(String),
    /// A number or a word, which has another form by now.
    Typed,
    List(Vec<Spanned<Node>>),
    Map(Vec<(String, Spanned<Node>)>),
}

/// The part with what stands in `text` for it.
fn value(node: Spanned<Node>, text: &str) -> Value {
    match node.value {
        Node::Nothing => Value::Null,
        Node::Text(text) => Value::String(text),
        Node::Typed => {
            let span = node.defined.span();
            let at = |place: Option<u64>| usize::try_from(place?).ok();
            let range = at(span.byte_offset()).zip(at(span.byte_len()));
            let written = range.and_then(|(from, length)| text.get(from..from.checked_add(length)?));
            // What has a tag is not said by its text alone.
            let plain = |c: char| c.is_ascii_alphanumeric() || "+-._:~".contains(c);
            let written = written.map(str::trim).filter(|text| !text.is_empty() && text.chars().all(plain));
            written.map_or(Value::Null, |text| Value::String(text.to_owned()))
        }
        Node::List(all) => Value::Array(all.into_iter().map(|part| value(part, text)).collect()),
        Node::Map(all) => {
            Value::Object(all.into_iter().map(|(key, part)| (key, value(part, text))).collect::<Map<_, _>>())
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Nodes)
    }
}

struct Nodes;

impl<'de> Visitor<'de> for Nodes {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Typed)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Typed)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Typed)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Node, E> {
        Ok(Node::Typed)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
        Ok(Node::Typed)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Typed)
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Node, E> {
        Ok(Node::Text(text))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(part) = all.next_element()? {
            list.push(part);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(pair) = all.next_entry()? {
            map.push(pair);
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_what_stands_there() {
        let words = [
            "0123",
            "017",
            "0x10",
            "0o17",
            "1_000",
            "1e3",
            "1.10",
            "1.0",
            "+5",
            "yes",
            "off",
            "True",
            "TRUE",
            "n",
            ".inf",
            "-.INF",
            ".nan",
            "1e999",
            "123456789012345678901234567890123456789012345",
            "12:30:45",
            "2026-01-01",
            "=",
            "a b",
            "-1",
            "0",
            "10",
        ];
        let list: String = words.iter().map(|word| format!("  - {word}\n")).collect();
        let flow = words.join(", ");
        let map: String = words.iter().enumerate().map(|(n, word)| format!("k{n}: &a{n}   {word}   # x\n")).collect();
        let again: String = (0..words.len()).map(|n| format!("r{n}: *a{n}\n")).collect();
        for front in ["", "\u{feff}", "# é\u{1f600}\n---\n"] {
            let found = read(&format!("{front}list:\n{list}flow: [{flow}]\n{map}{again}")).unwrap();
            for (n, word) in words.iter().enumerate() {
                let all = [&found["list"][n], &found["flow"][n], &found[format!("k{n}")], &found[format!("r{n}")]];
                assert_eq!(all, [word; 4], "{front:?} {word}");
            }
        }
    }

    #[test]
    fn texts_are_texts_and_nothing_is_nothing() {
        let found = read("a: '0123'\nb: \"1e3\"\nc: |\n  017\nd: ~\ne:\nf: !!str 017\n1: x\ng: !!int '5'\n").unwrap();
        let all = ["a", "b", "c", "f", "1"].map(|key| found[key].as_str().unwrap());
        assert_eq!(all, ["0123", "1e3", "017\n", "017", "x"]);
        assert!(["d", "e", "g"].iter().all(|key| found[key].is_null()), "{found}");
    }

    #[test]
    fn what_is_wrong_is_said_in_words_for_people() {
        for (bad, words) in [("a: 1\n---\nb: 2\n", "more than one document"), ("a: [", "line"), ("a: 1\na: 2\n", "a")] {
            let why = read(bad).unwrap_err();
            assert!(why.contains(words) && !why.contains("from_str") && !why.contains('\n'), "{why}");
        }
    }
}
