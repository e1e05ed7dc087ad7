//! A real PostgreSQL beside the command, on data that was made once.

use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};

use super::{Project, changed, entry, found};
use crate::support::{Alive, Lab, Marker};

const PROJECT: &str = r#"
[runtime]
ports = [5432]

[[cache]]
name = "database"
inputs = ["seed.sql"]
path = "/opt/database"
setup = '''
set -e
PATH=/usr/lib/postgresql/15/bin:$PATH
initdb --pgdata /opt/database/data --auth trust --username shop --no-sync
pg_ctl --pgdata /opt/database/data --wait --options "-c listen_addresses= -k /tmp" start
psql --host /tmp --username shop --set ON_ERROR_STOP=1 --quiet --file seed.sql postgres
pg_ctl --pgdata /opt/database/data --wait stop
'''

[[service]]
name = "postgres"
command = ["/usr/lib/postgresql/15/bin/postgres", "-D", "/srv/database/data", "-k", "/tmp", "-c", "cluster_name=MARKER"]
ready = "cmd:/usr/lib/postgresql/15/bin/pg_isready --quiet --host /tmp"
stop = "20s"
data = { cache = "database", path = "/srv/database" }
"#;

const SEED: &str = "
create table carts (id serial primary key, total int not null);
insert into carts (total) select n * 3 from generate_series(1, 20000) n;
";

const ASK: &str =
    "/usr/lib/postgresql/15/bin/psql --host 127.0.0.1 --username shop --no-align --tuples-only postgres --command";

/// The data was left in order: nothing is to be repaired at a start.
const LOG: &str = "cat /run/envctl/services/postgres.log";

/// Both accounts get the same port of the host where it is free, and look whether it is
/// free again.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

both!(a_seeded_database_is_fresh_in_every_run);
fn a_seeded_database_is_fresh_in_every_run(lab: Lab) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Marker::new();
    let settings = PROJECT.replace("MARKER", &server.0);
    let project = Project::of(lab, None, &[("seed.sql", SEED), ("envctl.toml", &settings)]);
    let task = project.publish();
    let lab = &project.lab;
    let sum = format!("{ASK} 'select count(*), sum(total) from carts'");
    let change = format!("{ASK} 'delete from carts; create table mine (x int)' > /dev/null; {sum}");
    lab.dev.envctl(["prefetch", &task]).ok();
    assert_eq!(lab.sh(&task, &change), "0|\n");
    assert_eq!(found(lab), "sealed task");
    assert!(changed(lab) > 0);
    for _ in 0..2 {
        let shown = lab.sh(&task, &format!("{sum}; {LOG}"));
        assert!(shown.starts_with("20000|600030000\n"), "{shown}");
        assert!(!shown.contains("not properly shut down"), "{shown}");
        assert_eq!(found(lab), "hit task");
    }
    lab.dev.envctl(["cache", "verify"]).ok();
    assert_eq!(entry(lab)["name"], "database");
    nothing_of_it_outlives_a_reset(lab, &task, &server);
    nothing_of_it_outlives_its_owner(lab, &task, &server);
}

/// The database of this developer's runtime, seen from the host.
fn port(lab: &Lab) -> u16 {
    let lease = Alive::lease(lab);
    let port = lease["ports"][0]["host"].as_u64().unwrap_or_else(|| panic!("no port in {lease}"));
    u16::try_from(port).unwrap()
}

fn nothing_of_it_outlives_a_reset(lab: &Lab, task: &str, server: &Marker) {
    lab.dev.envctl(["enter", "--detach", task]).ok();
    let port = port(lab);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    assert!(!server.processes().is_empty());
    lab.dev.envctl(["reset", task]).ok();
    assert_eq!(server.processes(), [""; 0]);
    gone(lab, port);
}

fn nothing_of_it_outlives_its_owner(lab: &Lab, task: &str, server: &Marker) {
    let alive = Alive::start(lab, task, "true");
    let port = port(lab);
    assert!(!server.processes().is_empty());
    alive.kill_owner().assert_gone();
    server.assert_gone();
    lab.dev.envctl(["status"]).ok();
    gone(lab, port);
}

#[track_caller]
fn gone(lab: &Lab, port: u16) {
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "something listens on {port}");
    assert!(!std::path::Path::new("/tmp/.s.PGSQL.5432").exists());
    lab.assert_baseline();
}
