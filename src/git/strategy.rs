//! Ways to merge that are part of git, `git-merge(1)`.

/// For any other name git starts a program, `git merge-NAME`.
const STRATEGIES: [&[u8]; 6] = [b"ort", b"recursive", b"resolve", b"octopus", b"ours", b"subtree"];

/// Whether git itself merges in the way of this name.
pub fn is_strategy(name: &[u8]) -> bool {
    STRATEGIES.contains(&name)
}
