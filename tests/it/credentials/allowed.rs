//! False alarms are allowed one by one, and nothing else with them.

use super::{fingerprint, published, refused, shown};
use crate::support::{Planter, Repo, Trip};

fn allow(repo: &Repo, fingerprints: &[String]) {
    repo.write("envctl.toml", format!("[snapshot]\nallow = {fingerprints:?}\n"));
}

#[test]
fn a_fingerprint_allows_one_secret_in_one_file() {
    let trip = Trip::new();
    let (repo, mut p) = (&trip.lab.repo, Planter::new());
    let (one, other) = (p.github(), p.github());
    repo.write("a.py", format!("x = '{one}'\n"));
    let (_, details) = refused(&trip, repo, &[], &[&one]);
    let allowed = fingerprint(&details[0]);
    allow(repo, std::slice::from_ref(&allowed));
    published(trip.publishing(repo, "t"));
    // Wherever in the file it stands.
    repo.write("a.py", format!("# a\n# b\ny = ['{one}']\n"));
    published(trip.publishing(repo, "t"));
    repo.commit("in a commit too");
    published(trip.publishing(repo, "t"));
    let again = |trip: &Trip| trip.publishing(repo, "u").arg("--json").code(6).json()["error"]["details"].clone();
    repo.write("b.py", format!("x = '{one}'\n"));
    repo.write("a.py", format!("x = '{one}'\ny = '{other}'\n"));
    let details = again(&trip);
    assert_eq!(shown(details.as_array().unwrap()), ["a.py:2 github-pat", "b.py:1 github-pat"]);
    assert!(details.as_array().unwrap().iter().all(|detail| fingerprint(detail) != allowed));
}

#[test]
fn a_file_of_credentials_stays_allowed_when_it_changes() {
    let trip = Trip::new();
    let (repo, mut p) = (&trip.lab.repo, Planter::new());
    repo.write(".env", "DB_PASSWORD=local-only-1\n");
    let (_, details) = refused(&trip, repo, &[], &["local-only-1"]);
    assert_eq!(shown(&details), [".env:1 dotenv-file"]);
    allow(repo, &[fingerprint(&details[0])]);
    published(trip.publishing(repo, "t"));
    repo.write(".env", "A=b\nDB_PASSWORD=local-only-2\n");
    published(trip.publishing(repo, "t"));
    // Its name was allowed, and not everything that is ever in it.
    repo.write(".env", format!("DB_PASSWORD=local-only-2\nGITHUB={}\n", p.github()));
    let json = trip.publishing(repo, "t").arg("--json").code(6).json();
    assert_eq!(shown(json["error"]["details"].as_array().unwrap()), [".env:2 github-pat"]);
}

#[test]
fn a_comment_allows_its_line() {
    let trip = Trip::new();
    let (repo, mut p) = (&trip.lab.repo, Planter::new());
    let (one, two, three) = (p.github(), p.github(), p.github());
    let lines = format!("a = '{one}' # envctl:allow\nb = '{two}' // gitleaks:allow\nc = '{three}'\n");
    repo.write("a.py", lines);
    let (_, details) = refused(&trip, repo, &[], &[&one, &two, &three]);
    assert_eq!(shown(&details), ["a.py:3 github-pat"]);
}

#[test]
fn a_fingerprint_is_checked_when_it_is_read() {
    let trip = Trip::new();
    allow(&trip.lab.repo, &["not-a-fingerprint".to_owned()]);
    trip.publishing(&trip.lab.repo, "t").code(2).says(&["snapshot.allow", "no fingerprint", "16 hexadecimal"]);
}
