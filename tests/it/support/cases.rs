//! How many random cases are tried.

use std::cell::Cell;
use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// For a property whose every case takes long. `ENVCTL_TEST_CASES` says how many
/// are tried; `usual` is what every run of the tests can bear.
#[allow(clippy::disallowed_methods, reason = "asked for by whoever runs the tests by hand")]
pub fn cases(usual: u32) -> Config {
    let cases = std::env::var("ENVCTL_TEST_CASES").map_or(usual, |text| text.parse().expect("a number of cases"));
    Config { cases, failure_persistence: None, max_shrink_iters: 60, ..Config::default() }
}

/// Tries random cases. A failure is shrunk, and told with the seed that leads to it:
/// `ENVCTL_TEST_SEED`, or `PROPTEST_RNG_SEED`, tries the same cases again.
#[track_caller]
pub fn explore<T: Debug>(usual: u32, strategy: impl Strategy<Value = T>, test: impl Fn(usize, T)) {
    let seed = seed();
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let count = Cell::new(0);
    let outcome = TestRunner::new_with_rng(cases(usual), rng).run(&strategy, |value| {
        count.set(count.get() + 1);
        test(count.get(), value);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}\nENVCTL_TEST_SEED={seed} leads to it again");
    }
}

#[allow(clippy::disallowed_methods, reason = "asked for by whoever runs the tests by hand")]
fn seed() -> u64 {
    let asked = ["ENVCTL_TEST_SEED", "PROPTEST_RNG_SEED"].iter().find_map(|name| std::env::var(name).ok());
    let now =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64);
    asked.map_or_else(now, |text| text.parse().expect("a number"))
}
