//! The same work on many things, a bounded number of them at a time.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;

use crate::error::of_thread;

/// Requests that one command has under way at a time.
pub(crate) const REQUESTS: usize = 8;

/// Does `work` for each item, [`REQUESTS`] at a time; the results in order.
///
/// # Errors
/// When a thread dies.
pub(crate) fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let share = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return done };
            done.push((at, work(item)));
        }
    };
    let mut all: Vec<(usize, R)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..REQUESTS.min(items.len())).map(|_| scope.spawn(share)).collect();
        let shares = threads.into_iter().map(|thread| of_thread(thread.join(), "a thread of this command"));
        shares.collect::<Result<Vec<_>, _>>()
    })?
    .into_iter()
    .flatten()
    .collect();
    all.sort_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_and_bounded() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let items: Vec<usize> = (0..100).collect();
        let squares = each(&items, |n| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::yield_now();
            running.fetch_sub(1, Ordering::SeqCst);
            n * n
        });
        assert_eq!(squares.unwrap(), items.iter().map(|n| n * n).collect::<Vec<_>>());
        assert!(most.into_inner() <= REQUESTS);
        assert!(each(&[] as &[u8], |_| ()).unwrap().is_empty());
    }
}
