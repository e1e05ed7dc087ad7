//! What compose files come to.

use super::*;

fn one(text: &str) -> Compose {
    Compose::parse(&[("compose.yaml", text)], "").unwrap()
}

#[test]
fn services_with_an_image_are_carried_over() {
    let found = one(r#"
x-common: &common
  restart: always
  environment: &env { TZ: UTC }
services:
  app:
    build: { context: ., target: dev, args: { V: "${V:-3}" } }
    depends_on: [db, cache]
  db:
    <<: *common
    image: postgres:${PG:-16}
    environment: { <<: *env, POSTGRES_PASSWORD: postgres, PORT: 5432, FSYNC: false, COST: "$$5 ${X:-y}" }
    ports: ["127.0.0.1:15432:5432"]
    volumes: ["data:/var/lib/postgresql/data", "./init.sql:/docker-entrypoint-initdb.d/init.sql"]
    healthcheck: { test: ["CMD-SHELL", "pg_isready -U postgres"], interval: 5s }
    shm_size: 1g
  cache:
    image: redis:7
    command: redis-server --save ""
    ports: [6379]
  mail:
    image: mailhog/mailhog
    command: ["MailHog", "-smtp-bind-addr", ":1025"]
    environment: ["A=1", "SECRET"]
    ports: ["8025:8025", { target: 1025, published: 1025 }, "9:9/udp"]
  later: { image: x, profiles: [debug] }
  odd: { image: "registry.example/${NAME}:1" }
  more: { extends: { service: db } }
  nothing: {}
volumes: { data: {} }
"#);
    let names: Vec<&str> = found.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["db", "cache", "mail"]);
    let [db, cache, mail] = &found.services[..] else { panic!("{found:?}") };
    assert_eq!((db.image.as_str(), db.ready.as_deref()), ("postgres:16", Some("cmd:pg_isready -U postgres")));
    let env: Vec<String> = db.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["COST=$5 y", "FSYNC=false", "PORT=5432", "POSTGRES_PASSWORD=postgres", "TZ=UTC"]);
    assert_eq!((&db.ports[..], &db.published[..]), (&[5432][..], &[5432][..]));
    assert_eq!(db.left, ["volumes: a folder or file of the machine; put it into the image", "shm_size"]);
    assert_eq!((cache.ready.as_deref(), cache.command.len()), (Some("tcp:6379"), 0));
    assert_eq!(cache.left, ["command: write its words as a list"]);
    assert_eq!(mail.command, ["MailHog", "-smtp-bind-addr", ":1025"]);
    assert_eq!((&mail.ports[..], &mail.ready), (&[1025, 8025][..], &None));
    assert_eq!(mail.left.len(), 2, "{:?}", mail.left);
    let (name, build) = &found.built[0];
    let build = build.as_ref().unwrap();
    assert_eq!(
        (name.as_str(), build.dockerfile().as_str(), build.context.as_deref()),
        ("app", "Dockerfile", Some("."))
    );
    assert_eq!((build.target.as_deref(), build.args["V"].as_str()), (Some("dev"), "3"));
    let left: Vec<&str> = found.left.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(left, ["later", "odd", "more", "nothing"]);
}

#[test]
fn later_files_count_before_earlier_ones() {
    let first = "services:\n  db:\n    image: postgres:15\n    command: [a, b]\n    ports: ['1:1']\n    environment: { A: x }\n";
    let second =
        "services:\n  db:\n    image: postgres:16\n    command: [c]\n    ports: ['2:2']\n    environment: { B: y }\n";
    let found = Compose::parse(&[("a", first), ("b", second)], ".devcontainer").unwrap();
    let db = &found.services[0];
    assert_eq!(
        (db.image.as_str(), &db.command[..], &db.ports[..]),
        ("postgres:16", &["c".to_owned()][..], &[1, 2][..])
    );
    assert_eq!(db.env.len(), 2);
    let found = Compose::parse(&[("a", "services: { app: { build: .. } }")], ".devcontainer").unwrap();
    assert_eq!(found.built[0].1.as_ref().unwrap().context.as_deref(), Some("."));
    let found = Compose::parse(&[("a", "services: { app: { build: ../.. } }")], ".devcontainer").unwrap();
    assert_eq!(found.built[0].1, None);
}

#[test]
fn values_are_the_texts_of_the_file() {
    let found = one(r#"
services:
  db:
    image: postgres:16
    command: [sleep, yes, 010]
    environment: { POSTGRES_PASSWORD: 0123, V: 1.10, ON: off, BIG: 12345678901234567890123, MANY: 1e3, ODD: .inf }
    healthcheck: { disable: true }
    ports: [0080]
"#);
    let db = &found.services[0];
    assert_eq!(db.command, ["sleep", "yes", "010"]);
    let env: Vec<String> = db.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let expected =
        ["BIG=12345678901234567890123", "MANY=1e3", "ODD=.inf", "ON=off", "POSTGRES_PASSWORD=0123", "V=1.10"];
    assert_eq!(env, expected);
    assert_eq!((&db.ports[..], &db.left[..]), (&[80][..], &[][..]));
}

#[test]
fn what_is_without_end_has_one() {
    let all: String = (0..59_999).map(|n| format!("{}, ", n + 1)).collect();
    let volumes = "./x:/x, ".repeat(10_000);
    let found = one(&format!("services: {{ a: {{ image: x, ports: [{all}], volumes: [{volumes}] }} }}"));
    let a = &found.services[0];
    assert_eq!((a.ports.len(), a.published.len()), (MOST_PORTS, MOST_PORTS));
    assert_eq!(a.left, ["volumes: a folder or file of the machine; put it into the image", "ports: more than 50"]);
}

#[test]
fn an_image_of_the_machine_is_not_proposed() {
    for image in
        ["oci:/srv/images", "docker-daemon:db", "docker-archive:/x.tar", "containers-storage:x", "oci-archive:x"]
    {
        let found = one(&format!("services: {{ a: {{ image: '{image}' }} }}"));
        assert!(found.services.is_empty(), "{image}");
        assert!(found.left[0].1.contains("image"), "{image}: {found:?}");
    }
    assert_eq!(one("services: { a: { image: 'ghcr.io/x/y:1' } }").services.len(), 1);
}

#[test]
fn what_is_no_compose_file_is_an_error_and_nothing_hangs() {
    for bad in ["services: [", "a: &a [*a, *a]\nservices: *a", "\t", "services: {a: 1, a: 2}"] {
        let error = Compose::parse(&[("compose.yaml", bad)], "").map(|found| found.services);
        assert!(error.as_ref().is_err() || error.as_ref().is_ok_and(Vec::is_empty), "{bad}: {error:?}");
    }
    let bomb: String = (0..30).fold("a0: &a0 [x]\n".to_owned(), |text, n| {
        format!("{text}a{}: &a{} [*a{n}, *a{n}, *a{n}, *a{n}]\n", n + 1, n + 1)
    });
    assert!(Compose::parse(&[("compose.yaml", &bomb)], "").is_err());
    let circle = "services: { a: { image: x, depends_on: [b] }, b: { image: y, depends_on: [a] } }";
    assert_eq!(one(circle).services.len(), 2);
    let deep = format!("services: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(Compose::parse(&[("compose.yaml", &deep)], "").is_err());
}

#[test]
fn what_is_said_again_and_again_is_counted_each_time() {
    let text = |times: usize| {
        let again: String = (0..times).map(|n| format!("  s{n}:\n    image: a\n    command: *c\n")).collect();
        format!("services:\n  a:\n    image: a\n    command: &c \"{}\"\n{again}", "x ".repeat(20_000))
    };
    assert!(Compose::parse(&[("c", &text(3))], "").is_ok());
    let error = Compose::parse(&[("c", &text(90))], "").unwrap_err();
    assert!(error.to_string().contains("is larger than"), "{error}");
}
