use super::*;
use crate::config::{Project, SetupNetwork};
use crate::digest::Digest;

#[test]
fn a_project_with_everything() {
    let digest = Digest::of(b"x");
    let text = format!(
        r#"
        [[cache]]
        name = "npm"
        inputs = ["package-lock.json"]
        path = "node_modules"
        setup = "npm ci"
        network = "private"
        [[cache]]
        name = "seeded-db"
        path = "/var/lib/pg"
        setup = "initdb"
        network = "none"
        [[fixture]]
        name = "golden"
        source = "oci:/srv/store@{digest}"
        path = "fixtures/golden"
        [[service]]
        name = "db"
        command = ["postgres"]
        ready = "tcp:5432"
        data = {{ fixture = "golden", path = "/var/lib/other" }}
    "#
    );
    let project = Project::parse(&text, "envctl.toml").unwrap();
    assert_eq!(project.cache[0].network, SetupNetwork::Private);
    assert_eq!(project.cache[1].path, Spot::Absolute("var/lib/pg".into()));
    assert_eq!(project.fixture[0].source.digest, digest);
    assert_eq!(project.service[0].ready, Some(ReadyWhen::Tcp(5432)));
}

#[test]
fn a_preset_knows_the_rest_and_whatever_is_written_counts_more() {
    let parse = |text: &str| Project::parse(text, "envctl.toml").map(|project| project.cache[0].clone());
    let plain = parse("[[cache]]\npreset = \"npm\"").unwrap();
    assert_eq!((&*plain.name, &plain.setup[..6], plain.network), ("npm", "npm ci", SetupNetwork::Private));
    assert_eq!(plain.path, Spot::Workspace("node_modules".into()));
    assert_eq!((plain.either.len(), plain.also, plain.build), (2, vec!["package.json".to_owned()], Some(false)));
    let below = parse("[[cache]]\npreset = \"pip\"\ndir = \"services/api/\"").unwrap();
    assert_eq!((&*below.name, &below.path), ("pip-services-api", &Spot::Workspace("services/api/.venv".into())));
    assert!(below.setup.starts_with("cd 'services/api' && python3 -m venv"), "{}", below.setup);
    assert_eq!(below.everywhere["PATH"], "${WORKDIR}/services/api/.venv/bin:${PATH}");
    assert_eq!(below.either, ["services/api/requirements.txt"]);
    // One setup fills both places, unless another cache has the one: then it finds that there.
    let registry = || vec![Spot::Home(".cargo/registry".into())];
    let alone = parse("[[cache]]\npreset = \"cargo-target\"").unwrap();
    assert_eq!((alone.more, alone.lent, alone.build), (registry(), Vec::new(), Some(true)));
    let beside = parse("[[cache]]\npreset = \"cargo-target\"\n[[cache]]\npreset = \"cargo\"").unwrap();
    assert_eq!((beside.more, beside.lent), (Vec::new(), registry()));
    let own = parse(
        "[[cache]]\npreset = \"cargo-target\"\nname = \"t\"\nsetup = \"make\"\ninputs = [\"x\"]\nnetwork = \"none\"\n\
         path = \"out\"",
    )
    .unwrap();
    assert_eq!((&*own.name, &*own.setup, own.network), ("t", "make", SetupNetwork::None));
    assert_eq!((own.inputs.len(), own.either.len(), own.is_built()), (1, 0, true));
    let home = parse("[[cache]]\npreset = \"cargo\"\ndir = \"a\"").unwrap();
    assert_eq!(
        (home.path, home.setup),
        (Spot::Home(".cargo/registry".into()), "cd 'a' && cargo fetch --locked".into())
    );
    for (bad, why) in [
        ("preset = \"nmp\"", "did you mean \"npm\"?"),
        ("preset = \"zzzzzzz\"", "there are pnpm, "),
        ("preset = \"ccache\"", "the preset ccache has no setup"),
        ("preset = \"npm\"\ndir = \"../x\"", "is not a place"),
        ("preset = \"npm\"\ndir = \"a'b\"", "is no folder of the project"),
        ("name = \"a\"\npath = \"a\"\nsetup = \"x\"\ndir = \"b\"", "dir goes with a preset"),
        ("path = \"a\"\nsetup = \"x\"", "name is missing"),
    ] {
        let error = parse(&format!("[[cache]]\n{bad}")).unwrap_err().to_string();
        assert!(error.contains(why), "{bad}: {error}");
    }
}

#[test]
fn a_cache_may_have_several_places() {
    let parse = |text: &str| Project::parse(&format!("[[cache]]\n{text}"), "envctl.toml");
    let own = "name = \"a\"\nsetup = \"x\"\n";
    let cache = parse(&format!("{own}paths = [\"deps\", \"packages/*/deps\", \"~/d\"]")).unwrap().cache[0].clone();
    assert_eq!(cache.shown_places(), "deps, packages/*/deps, ~/d");
    assert!(cache.is_spread() && cache.members_of.is_none());
    assert!(!parse(&format!("{own}paths = [\"deps\"]")).unwrap().cache[0].is_spread());
    let npm = |more: &str| parse(&format!("preset = \"npm\"\ndir = \"web\"\n{more}")).unwrap().cache[0].clone();
    assert_eq!(npm("").members_of.as_deref(), Some("web"));
    // Whoever says where it is has said where all of it is.
    assert_eq!(npm("path = \"web/node_modules\"").members_of, None);
    for (bad, why) in [
        ("path = \"a\"\npaths = [\"b\"]", "either path or paths"),
        ("paths = []", "path is missing"),
        ("paths = [\"a\", \"a/b\"]", "two things cannot be in one place"),
        ("paths = [\"packages/*\"]", "ends with a pattern"),
        ("paths = [\"a/**b/c\"]", "is not a pattern"),
    ] {
        let error = parse(&format!("{own}{bad}")).unwrap_err().to_string();
        assert!(error.contains(why), "{bad}: {error}");
    }
}

#[test]
fn whether_something_is_built_is_seen_from_its_place() {
    let parse = |path: &str| {
        let text = format!("[[cache]]\nname = \"a\"\nsetup = \"x\"\npath = {path:?}");
        Project::parse(&text, "envctl.toml").unwrap().cache[0].is_built()
    };
    for built in ["build", "target", "a/out", "~/build", "/build"] {
        assert!(parse(built), "{built}");
    }
    for kept in
        ["node_modules", "web/node_modules", ".venv", "vendor/bundle", "~/.cache/ccache", "~/go/pkg/mod", "/var/lib/pg"]
    {
        assert!(!parse(kept), "{kept}");
    }
}

#[test]
fn places_that_are_no_places() {
    for bad in
        ["", "/", "~/", "../x", "a/../b", "a//b", "./a", ".git", "a/.GIT/hooks", "/proc/x", "/run/secrets", "~/.."]
    {
        assert!(bad.parse::<Spot>().is_err(), "{bad}");
    }
    assert_eq!("node_modules/".parse::<Spot>().unwrap(), Spot::Workspace("node_modules".into()));
}

#[test]
fn what_cannot_be_is_refused() {
    let cache = |rest: &str| format!("[[cache]]\nname = \"a\"\nsetup = \"x\"\n{rest}");
    for bad in [
        cache(""),
        cache("path = \"a\"\ninputs = [\"/etc/passwd\"]"),
        cache("path = \"a\"\ninputs = [\"../x\"]"),
        cache("path = \"~/a\"\nmaterialize = true"),
        cache("path = \"a\"\nnetwork = \"all\""),
        cache("path = \"a\"\nenv = { ENVCTL_TASK = \"x\" }"),
        format!("{}\n{}", cache("path = \"a\""), cache("path = \"b\"")),
        format!("{}\n[[cache]]\nname = \"b\"\nsetup = \"x\"\npath = \"a/b\"", cache("path = \"a\"")),
        "[[cache]]\nname = \"a b\"\nsetup = \"x\"\npath = \"a\"".into(),
        "[[fixture]]\nname = \"a\"\nsource = \"oci:/x:tag\"".into(),
        "[[service]]\nname = \"a\"\ncommand = []".into(),
        "[[service]]\nname = \"a\"\ncommand = [\"x\"]\nready = \"soon\"".into(),
        "[[service]]\nname = \"a\"\ncommand = [\"x\"]\ndata = { cache = \"b\", path = \"/x\" }".into(),
    ] {
        assert!(Project::parse(&bad, "envctl.toml").is_err(), "{bad}");
    }
}

#[test]
fn what_a_tool_downloads_has_one_place_and_a_setup_goes_on_where_its_tool_can() {
    let parse = |text: &str| Project::parse(text, "envctl.toml").map(|project| project.cache).unwrap();
    let shown = |cache: &CacheEntry| cache.shown_places();
    let two = parse("[[cache]]\npreset = \"npm\"\n[[cache]]\npreset = \"npm\"\ndir = \"web\"");
    assert_eq!(shown(&two[0]), "node_modules, ~/.npm/_cacache");
    // The second one has none, instead of the same.
    assert_eq!(shown(&two[1]), "web/node_modules");
    assert!(two[1].again.as_ref().unwrap().starts_with("cd 'web' && { { cp package-lock.json"));
    let taken =
        parse("[[cache]]\npreset = \"pnpm\"\n[[cache]]\nname = \"a\"\npath = \"~/.pnpm-store/v3\"\nsetup = \"x\"");
    assert_eq!(shown(&taken[0]), "node_modules");
    let own = parse("[[cache]]\npreset = \"npm\"\npath = \"modules\"\nsetup = \"x\"");
    assert_eq!((shown(&own[0]), own[0].seed, &own[0].again), ("modules".into(), Seed::Never, &None));
    for (text, seed, again) in [
        ("preset = \"npm\"", Seed::Known, true),
        ("preset = \"npm\"\nseed = false", Seed::Never, false),
        ("preset = \"npm\"\nseed = true", Seed::Always, true),
        ("preset = \"uv\"", Seed::Known, false),
        ("preset = \"pip\"", Seed::Known, true),
        ("preset = \"ccache\"\nsetup = \"make\"", Seed::Known, false),
        ("preset = \"uv\"\nsetup = \"x\"\nseed = true", Seed::Always, false),
        ("name = \"a\"\npath = \"a\"\nsetup = \"x\"", Seed::Never, false),
    ] {
        let cache = &parse(&format!("[[cache]]\n{text}"))[0];
        assert_eq!((cache.seed, cache.again.is_some()), (seed, again), "{text}");
    }
}
