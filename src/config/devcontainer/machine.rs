//! What a project wants of the machine on which it is worked on.

use serde_json::Value;

use super::{Devcontainer, FieldFate};
use crate::error::cut;
use crate::quantity::human_bytes;

/// The least that a machine should have; what is not said is enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// Processors.
    pub processors: Option<u64>,
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Room on the disk in bytes.
    pub storage: Option<u64>,
}

impl Requirements {
    /// What of it a machine lacks that is `here`, for people.
    pub fn lacking(&self, here: &Requirements) -> Vec<String> {
        let count = |count: u64| count.to_string();
        type Row = (&'static str, Option<u64>, Option<u64>, fn(u64) -> String);
        let rows: [Row; 3] = [
            ("processors", self.processors, here.processors, count),
            // A kernel keeps some of what is in the machine.
            ("memory", self.memory.map(|bytes| bytes / 10 * 9), here.memory, human_bytes),
            ("free disk", self.storage, here.storage, human_bytes),
        ];
        let lacking = rows.into_iter().filter_map(|(name, wanted, has, shown)| {
            let (wanted, has) = (wanted?, has?);
            (has < wanted).then(|| format!("{} {name}, not {}", shown(has), shown(wanted)))
        });
        lacking.collect()
    }
}

impl Devcontainer {
    pub(super) fn requirements(&mut self, value: &Value) -> (FieldFate, String) {
        let mut left = Vec::new();
        for (name, value) in value.as_object().into_iter().flatten() {
            let size = value.as_str().and_then(bytes);
            match (name.as_str(), value, size) {
                ("cpus", Value::Number(number), _) if number.is_u64() => self.requires.processors = number.as_u64(),
                ("memory", _, Some(size)) => self.requires.memory = Some(size),
                ("storage", _, Some(size)) => self.requires.storage = Some(size),
                ("gpu", Value::Bool(false), _) => {}
                ("gpu", Value::String(text), _) if text == "optional" => {}
                _ => left.push(cut(name)),
            }
        }
        if left.is_empty() {
            return (FieldFate::Left, "doctor compares them with this machine".into());
        }
        (FieldFate::ByHand, format!("doctor compares them with this machine, but for {}", left.join(", ")))
    }
}

/// A size as the file writes it, `8gb`, in bytes.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "" | "b" => 0,
        "kb" => 10,
        "mb" => 20,
        "gb" => 30,
        "tb" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_lacks_is_named() {
        let wanted = Requirements { processors: Some(4), memory: Some(8 << 30), storage: None };
        let has = |processors, memory| Requirements { processors, memory, storage: Some(1) };
        assert!(wanted.lacking(&has(Some(4), Some((8 << 30) - (300 << 20)))).is_empty());
        assert!(wanted.lacking(&has(None, None)).is_empty());
        let lacking = wanted.lacking(&has(Some(2), Some(4 << 30)));
        assert!(lacking.len() == 2 && lacking[0] == "2 processors, not 4", "{lacking:?}");
    }

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (text, expected) in [
            ("8gb", Some(8 << 30)),
            ("512 MB", Some(512 << 20)),
            ("1tb", Some(1 << 40)),
            ("17", Some(17)),
            ("8 apples", None),
            ("gb", None),
            ("99999999999999999999gb", None),
            ("99999999999tb", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
