//! Who entered a task lately: a small document beside the task. It is a
//! courtesy between colleagues; nothing is decided by it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::checks::check_schema;
use super::names::TaskId;
use crate::digest::Digest;
use crate::error::{Fault, integrity};

const SCHEMA: u32 = 1;

/// Upper bound for the document in bytes.
pub const MAX_CLAIMS: u64 = 64 << 10;

/// How long a claim counts.
pub const CLAIM_LIFE: Duration = Duration::from_secs(7 * 86_400);

/// Claims that a document holds; the oldest make room.
const MOST: usize = 16;

/// Characters of a name.
const MAX_NAME: usize = 80;

/// One person who entered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Their name, as their git has it.
    pub who: String,
    /// The name of their machine.
    pub host: String,
    /// When they entered.
    pub at: Timestamp,
    /// The identity that they entered.
    pub identity: Digest,
}

impl Claim {
    /// A claim with names of bounded length.
    pub fn new(who: &str, host: &str, at: Timestamp, identity: Digest) -> Self {
        let cut = |name: &str| name.chars().take(MAX_NAME).collect();
        Claim { who: cut(who), host: cut(host), at, identity }
    }

    fn is_alive(&self, now: Timestamp) -> bool {
        let age = now.as_second().saturating_sub(self.at.as_second());
        // What lies a little ahead comes from a clock that is wrong.
        (-86_400..=CLAIM_LIFE.as_secs() as i64).contains(&age)
    }
}

/// The claims of one task, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    schema: u32,
    claims: Vec<Claim>,
}

impl Claims {
    /// The tag of a task's claims: `claim-` and the digits of a hash of its ID.
    pub fn tag(task: &TaskId) -> String {
        format!("claim-{}", Digest::of(task.as_str().as_bytes()).hex())
    }

    /// Reads a document from its exact bytes.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`] for anything malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() as u64 > MAX_CLAIMS {
            return Err(integrity(format!("the claims are larger than {MAX_CLAIMS} bytes")));
        }
        check_schema(bytes, SCHEMA, "list of claims")?;
        let claims: Claims =
            serde_json::from_slice(bytes).map_err(|error| integrity(format!("the claims are malformed: {error}")))?;
        let capped = claims.claims.into_iter().take(MOST);
        Ok(Claims {
            schema: SCHEMA,
            claims: capped.map(|claim| Claim::new(&claim.who, &claim.host, claim.at, claim.identity)).collect(),
        })
    }

    /// The bytes that travel.
    ///
    /// # Errors
    /// Never for a value of this type; the signature is serde's.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Fault> {
        serde_json::to_vec(self).map_err(|error| integrity(format!("the claims cannot be written: {error}")))
    }

    /// Adds a claim in place of an older one of the same person on the same
    /// machine. What has expired goes.
    #[must_use]
    pub fn with(self, claim: Claim, now: Timestamp) -> Self {
        let another = |old: &Claim| (&old.who, &old.host) != (&claim.who, &claim.host) && old.is_alive(now);
        let mut claims: Vec<Claim> = self.claims.into_iter().filter(another).collect();
        claims.push(claim);
        claims.sort_by_key(|claim| std::cmp::Reverse(claim.at));
        claims.truncate(MOST);
        Claims { schema: SCHEMA, claims }
    }

    /// Those of others that still count, newest first.
    pub fn of_others<'a>(&'a self, who: &'a str, host: &'a str, now: Timestamp) -> impl Iterator<Item = &'a Claim> {
        self.claims.iter().filter(move |claim| (&*claim.who, &*claim.host) != (who, host) && claim.is_alive(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn claim(who: &str, second: i64) -> Claim {
        Claim::new(who, "host", at(second), Digest::of(b"i"))
    }

    proptest! {
        #[test]
        fn claims_round_trip(people in proptest::collection::vec((".{0,100}", 0i64..1000), 0..30)) {
            let claims = people.iter().fold(Claims::default(), |claims, (who, second)| {
                claims.with(claim(who, *second), at(1000))
            });
            let back = Claims::parse(&claims.with(claim("last", 1000), at(1000)).to_bytes().unwrap()).unwrap();
            prop_assert!(back.claims.len() <= MOST);
            prop_assert!(back.claims.is_sorted_by(|a, b| a.at >= b.at));
            prop_assert_eq!(Claims::parse(&back.to_bytes().unwrap()).unwrap(), back);
        }

        #[test]
        fn parsing_never_panics(bytes in any::<Vec<u8>>()) {
            let _ = Claims::parse(&bytes);
        }
    }

    #[test]
    fn a_claim_is_renewed_and_expires() {
        let claims = Claims::default().with(claim("ann", 0), at(0)).with(claim("bob", 10), at(10));
        let claims = claims.with(claim("ann", 20), at(20));
        let names = |claims: &Claims, now| -> Vec<String> {
            claims.of_others("bob", "host", now).map(|claim| claim.who.clone()).collect()
        };
        assert_eq!(names(&claims, at(30)), ["ann"]);
        assert_eq!(claims.claims.len(), 2);
        let later = CLAIM_LIFE.as_secs() as i64 + 21;
        assert_eq!(names(&claims, at(later)), [""; 0]);
        assert_eq!(claims.with(claim("cy", later), at(later)).claims.len(), 1);
        // Far in the future is nobody.
        assert_eq!(names(&Claims::default().with(claim("ann", 1_000_000), at(0)), at(0)), [""; 0]);
    }
}
