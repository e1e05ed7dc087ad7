//! How many random cases are tried.

use proptest::test_runner::Config;

/// For a property whose every case takes long. `ENVCTL_TEST_CASES` says how many
/// are tried; `usual` is what every run of the tests can bear.
#[allow(clippy::disallowed_methods, reason = "asked for by whoever runs the tests by hand")]
pub fn cases(usual: u32) -> Config {
    let cases = std::env::var("ENVCTL_TEST_CASES").map_or(usual, |text| text.parse().expect("a number of cases"));
    Config { cases, failure_persistence: None, max_shrink_iters: 60, ..Config::default() }
}
