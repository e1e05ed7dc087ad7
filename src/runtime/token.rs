//! What those who join a runtime have to know.

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// What a stranger cannot know of a runtime: it travels over its socket and
/// lies in the record of its lease, which is the developer's alone.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Token([u8; 16]);

impl Token {
    /// A new one.
    ///
    /// # Errors
    /// When the kernel gives no random bytes.
    pub(super) fn random() -> Result<Self> {
        Ok(Token(random()?))
    }

    /// Whether this is what was asked for. It takes as long wherever both
    /// differ, and no token is never the right one.
    pub(super) fn opens(self, lock: Token) -> bool {
        let differ = self.0.iter().zip(lock.0).fold(0, |differ, (a, b)| differ | (a ^ b));
        differ == 0 && lock != Token::default()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0u8; N];
    let count = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    anyhow::ensure!(count == bytes.len(), "the kernel gave no random bytes");
    Ok(bytes)
}
