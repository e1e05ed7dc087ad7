//! A question that is open: nothing else is written to the terminal until it is
//! answered. What other threads have to say meanwhile is kept, and said after it.
//!
//! Lock order: `TURN` before `OPEN`; nothing is printed while `OPEN` is held.

use std::sync::{Mutex, PoisonError};
use std::thread::{self, ThreadId};

/// One question at a time.
static TURN: Mutex<()> = Mutex::new(());

/// The question that is on the terminal.
static OPEN: Mutex<Option<OpenQuestion>> = Mutex::new(None);

struct OpenQuestion {
    /// Who asks may write.
    asker: ThreadId,
    /// What others had to say.
    kept: Vec<String>,
}

fn open() -> std::sync::MutexGuard<'static, Option<OpenQuestion>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a question is on the terminal.
pub(super) fn is_open() -> bool {
    open().is_some()
}

/// Keeps a line of a thread that does not ask; gives it back when it may be written now.
pub(super) fn keep(line: String) -> Option<String> {
    match &mut *open() {
        Some(question) if question.asker != thread::current().id() => {
            question.kept.push(line);
            None
        }
        _ => Some(line),
    }
}

/// Asks while nobody else writes; then `say` is given what was kept.
pub(super) fn alone<T>(ask: impl FnOnce() -> T, say: impl FnOnce(Vec<String>)) -> T {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    *open() = Some(OpenQuestion { asker: thread::current().id(), kept: Vec::new() });
    // Also when asking panics, the rest of the command has to be heard.
    struct Closed;
    impl Drop for Closed {
        fn drop(&mut self) {
            open().take();
        }
    }
    let closed = Closed;
    let answer = ask();
    let kept = open().take().map_or_else(Vec::new, |question| question.kept);
    drop(closed);
    say(kept);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_waits_for_the_answer() {
        let mut said = Vec::new();
        let answer = alone(
            || {
                let other = thread::spawn(|| keep("from another thread".into()));
                assert_eq!(other.join().unwrap(), None);
                assert!(is_open());
                assert_eq!(keep("from the asker".into()).as_deref(), Some("from the asker"));
                "yes"
            },
            |kept| said = kept,
        );
        assert_eq!((answer, said), ("yes", vec!["from another thread".to_owned()]));
        assert_eq!(keep("afterwards".into()).as_deref(), Some("afterwards"));
    }
}
