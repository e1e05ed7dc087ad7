use super::*;

#[test]
fn a_script_is_no_miss_for_a_preset_and_one_for_what_is_written_out() {
    let dir = tempfile::tempdir().unwrap();
    let write = |script: &str| {
        let text = format!("{{\"scripts\": {{\"test\": \"{script}\"}}, \"dependencies\": {{\"a\": \"1\"}}}}");
        std::fs::write(dir.path().join("package.json"), text).unwrap();
    };
    std::fs::write(dir.path().join("package-lock.json"), "{}").unwrap();
    let digest = |text: &str| {
        let project = Project::parse(&format!("[[cache]]\n{text}"), "envctl.toml").unwrap();
        Inputs::of(&project, dir.path()).find(&project.cache[0]).unwrap().files["package.json"]
    };
    for (text, same) in [
        ("preset = \"npm\"", true),
        // Another setup may run any script.
        ("preset = \"npm\"\nsetup = \"npm ci && npm run x\"", false),
        ("preset = \"npm\"\ninputs = [\"package.json\"]", false),
        ("name = \"a\"\nsetup = \"x\"\npath = \"node_modules\"\ninputs = [\"package.json\"]", false),
    ] {
        write("jest");
        let before = digest(text);
        write("vitest");
        assert_eq!(digest(text) == before, same, "{text}");
    }
}

#[test]
fn packages_of_a_workspace_have_places_and_patterns_fit_folders() {
    let dir = tempfile::tempdir().unwrap();
    git2::Repository::init(dir.path()).unwrap();
    let root = r#"{"workspaces": ["packages/*", "tool"], "dependencies": {"x": "file:packages/a"}}"#;
    for (path, text) in [
        ("web/package.json", root),
        ("web/package-lock.json", ""),
        ("web/packages/a/package.json", "{}"),
        ("web/packages/b/package.json", "{}"),
        ("web/packages/no/README", ""),
        ("web/tool/package.json", "{}"),
        ("web/node_modules/x/package.json", "{}"),
        (".gitignore", "made\n"),
        ("made/x", ""),
    ] {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let places = |text: &str| {
        let project = Project::parse(&format!("[[cache]]\n{text}"), "envctl.toml").unwrap();
        let mut inputs = Inputs::of(&project, dir.path());
        let found = inputs.find(&project.cache[0]).unwrap();
        let places = inputs.places_of(&project.cache[0], &found).unwrap();
        places.iter().map(Spot::to_string).collect::<Vec<_>>()
    };
    let npm = [
        "web/node_modules",
        "~/.npm/_cacache",
        "web/packages/a/node_modules",
        "web/packages/b/node_modules",
        "web/tool/node_modules",
    ];
    assert_eq!(places("preset = \"npm\"\ndir = \"web\""), npm);
    assert_eq!(places("preset = \"npm\"\ndir = \"web\"\npath = \"web/node_modules\""), npm[..1]);
    let own = |paths: &str| places(&format!("name = \"a\"\nsetup = \"x\"\npaths = {paths}"));
    assert_eq!(own("[\"web/*/d\", \"~/d\"]"), ["web/packages/d", "web/tool/d", "~/d"]);
    // One that lies in another is a part of that; what git ignores fits nothing.
    assert_eq!(own("[\"web/**/a\"]"), ["web/packages/a", "web/packages/b/a", "web/packages/no/a", "web/tool/a"]);
    assert_eq!(own("[\"*/d\"]"), ["web/d"]);
}
