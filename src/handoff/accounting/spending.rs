//! What owners have spent lately, machine by machine: a small document in a store, by
//! which machines that share it keep one budget. Whoever may write to the store may write
//! it, so it is believed no more than the store is.

use serde::{Deserialize, Serialize};

use crate::error::{Fault, integrity};

const SCHEMA: u32 = 1;

/// Upper bound for the document in bytes.
pub(super) const MAX_SPENDING: u64 = 1 << 20;

/// How many days it looks back.
const DAYS: i64 = 31;

/// Rows that it holds; those of the oldest days make room.
const MOST: usize = 5_000;

/// Characters of a name.
const MAX_NAME: usize = 200;

/// What one owner has spent on one machine in one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spent {
    /// The machine, by a number that means nothing.
    pub(super) machine: String,
    /// The owner; `None` for runs that name none.
    pub(super) agent: Option<String>,
    /// The day in UTC, counted from 1970-01-01.
    pub(super) day: i64,
    /// How long their runtimes lasted, in milliseconds.
    pub(super) wall_ms: u64,
    /// How many there were.
    pub(super) runs: u64,
}

/// The rows of all machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spending {
    schema: u32,
    rows: Vec<Spent>,
}

impl Spending {
    /// The tag of the document.
    pub(super) const TAG: &'static str = "spending-v1";

    /// Reads a document from its exact bytes.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`] for anything malformed.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() as u64 > MAX_SPENDING {
            return Err(integrity(format!("the list of what was spent is larger than {MAX_SPENDING} bytes")));
        }
        let malformed = |error| integrity(format!("the list of what was spent is malformed: {error}"));
        let mut spending: Spending = serde_json::from_slice(bytes).map_err(malformed)?;
        if spending.schema != SCHEMA {
            return Err(integrity(format!("a list of what was spent has schema {}, not {SCHEMA}", spending.schema)));
        }
        spending.rows.truncate(MOST);
        for row in &mut spending.rows {
            row.machine = cut(&row.machine);
            row.agent = row.agent.as_deref().map(cut);
        }
        Ok(spending)
    }

    /// The bytes that travel.
    ///
    /// # Errors
    /// Never for a value of this type; the signature is serde's.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, Fault> {
        serde_json::to_vec(self)
            .map_err(|error| integrity(format!("the list of what was spent cannot be written: {error}")))
    }

    /// The rows of one machine in place of what it had. What is long past goes.
    #[must_use]
    pub(super) fn with(self, machine: &str, own: Vec<Spent>, today: i64) -> Self {
        let mut rows: Vec<Spent> = self.rows.into_iter().filter(|row| row.machine != machine).chain(own).collect();
        rows.retain(|row| (today - DAYS..=today + 1).contains(&row.day));
        rows.sort_by(|a, b| (b.day, &a.machine, &a.agent).cmp(&(a.day, &b.machine, &b.agent)));
        rows.truncate(MOST);
        Spending { schema: SCHEMA, rows }
    }

    /// What other machines have spent.
    pub(super) fn of_others<'a>(&'a self, machine: &'a str) -> impl Iterator<Item = &'a Spent> {
        self.rows.iter().filter(move |row| row.machine != machine)
    }
}

fn cut(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(machine: &str, day: i64) -> Spent {
        Spent { machine: machine.into(), agent: Some("a".into()), day, wall_ms: 1000, runs: 1 }
    }

    #[test]
    fn a_machine_replaces_its_own_rows_alone() {
        let one = Spending::default().with("m", vec![row("m", 100), row("m", 99)], 100);
        let two = one.with("n", vec![row("n", 100)], 100).with("m", vec![row("m", 101)], 101);
        assert_eq!(two.of_others("m").collect::<Vec<_>>(), [&row("n", 100)]);
        assert_eq!(two.of_others("n").collect::<Vec<_>>(), [&row("m", 101)]);
        assert_eq!(Spending::parse(&two.to_bytes().unwrap()).unwrap(), two);
        // A month later nothing of it counts.
        assert_eq!(two.with("o", Vec::new(), 140).of_others("").count(), 0);
    }

    #[test]
    fn it_has_an_end() {
        let many = (0..10_000).map(|n| row(&format!("m{n}"), 100 - n % 20));
        let spending = many
            .fold(Spending::default(), |all, row| Spending { schema: SCHEMA, rows: [all.rows, vec![row]].concat() });
        let spending = spending.with("x", vec![row("x", 100)], 100);
        assert_eq!(spending.of_others("").count(), MOST);
        assert!((spending.to_bytes().unwrap().len() as u64) < MAX_SPENDING);
        for bad in [&b"{}"[..], b"[]", b"{\"schema\":1}", b"{\"schema\":1,\"rows\":[{\"day\":1}]}"] {
            assert!(Spending::parse(bad).is_err());
        }
    }
}
