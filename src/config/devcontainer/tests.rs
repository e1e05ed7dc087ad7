//! What fields come to, one small file each.

use super::*;

fn around() -> Surroundings {
    Surroundings { name: "shop".into(), folder: ".devcontainer".into(), file: "devcontainer.json".into() }
}

fn parse(text: &str) -> Devcontainer {
    Devcontainer::parse(text, "devcontainer.json", &around()).unwrap()
}

fn fate(found: &Devcontainer, name: &str) -> FieldFate {
    found.fields.iter().find(|field| field.name == name).unwrap().fate
}

#[test]
fn comments_and_trailing_commas_are_read_and_nothing_looser() {
    let found = parse("// a comment\n{ \"image\": \"python:3.12\", /* \" */\n \"forwardPorts\": [3000, 3000,], }");
    assert_eq!((found.image.as_deref(), found.ports.as_slice()), (Some("python:3.12"), &[3000][..]));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for bad in ["", "[]", "{", "{image: 'x'}", "{\"a\" 1}", &deep] {
        assert!(Devcontainer::parse(bad, "x", &around()).is_err(), "{:?}", cut(bad));
    }
}

#[test]
fn each_field_has_a_fate() {
    let found = parse(
        r#"{
            "name": "x", "image": "ghcr.io/acme/dev:1",
            "workspaceFolder": "/workspaces/${localWorkspaceFolderBasename}",
            "containerEnv": { "A": "1", "TOKEN": "${localEnv:TOKEN}", "ENVCTL_X": "1" },
            "remoteEnv": { "B": "2" },
            "forwardPorts": [8080, "db:5432"],
            "secrets": { "NPM_TOKEN": { "description": "x" } },
            "features": { "x": {} }, "initializeCommand": "evil", "postCreateCommand": "npm ci",
            "privileged": true, "mounts": ["source=/,target=/host,type=bind"], "somethingNew": 1
        }"#,
    );
    assert_eq!(found.workdir.as_deref(), Some("/workspaces/shop"));
    assert_eq!(found.env.keys().collect::<Vec<_>>(), ["A", "B"]);
    assert_eq!((found.ports.as_slice(), found.secrets.as_slice()), (&[8080][..], &["NPM_TOKEN".to_owned()][..]));
    assert_eq!(found.fields.len(), 13);
    for (name, expected) in [
        ("image", FieldFate::Taken),
        ("containerEnv", FieldFate::ByHand),
        ("remoteEnv", FieldFate::Taken),
        ("forwardPorts", FieldFate::ByHand),
        ("features", FieldFate::Taken),
        ("initializeCommand", FieldFate::Refused),
        ("privileged", FieldFate::Refused),
        ("mounts", FieldFate::Refused),
        ("somethingNew", FieldFate::ByHand),
        ("name", FieldFate::Left),
    ] {
        assert_eq!(fate(&found, name), expected, "{name}");
    }
    assert!(found.fields.iter().any(|field| field.how.contains("TOKEN (TOKEN)") && field.how.contains("ENVCTL_X")));
    assert_eq!(fate(&found, "postCreateCommand"), FieldFate::ByHand);
    let project = found.project().unwrap();
    assert_eq!((project.runtime.ports.len(), project.runtime.secrets.len()), (1, 1));
    let build = project.toolchain.build.unwrap();
    assert_eq!((build.shown(), project.toolchain.image), (".devcontainer/devcontainer.json".into(), None));
}

#[test]
fn a_build_is_named_from_the_folder_of_the_file() {
    let build = |text: &str| {
        let found = parse(text);
        found.build.clone().map(|build| (build.dockerfile(), build.context(), build.args.len())).ok_or(Box::new(found))
    };
    assert_eq!(
        build(r#"{ "build": { "dockerfile": "Dockerfile", "context": "..", "args": { "A": "${localEnv:A:1}" } } }"#),
        Ok((".devcontainer/Dockerfile".into(), String::new(), 1))
    );
    assert_eq!(
        build(r#"{ "dockerFile": "../docker/x", "context": "../docker" }"#),
        Ok(("docker/x".into(), "docker".into(), 0))
    );
    assert_eq!(
        build(r#"{ "build": { "dockerfile": "D" } }"#),
        Ok((".devcontainer/D".into(), ".devcontainer".into(), 0))
    );
    let found = parse(r#"{ "build": { "dockerfile": "D", "args": { "A": "${localEnv:A}" }, "options": ["--x"] } }"#);
    assert!(found.build.is_some() && found.fields[0].how.ends_with("but for args.A, options"), "{found:?}");
    for bad in
        [r#"{ "build": { "dockerfile": "../../D" } }"#, r#"{ "build": { "target": "--x" } }"#, r#"{ "build": 1 }"#]
    {
        let found = build(bad).unwrap_err();
        assert_eq!(fate(&found, "build"), FieldFate::ByHand, "{bad}");
    }
}

#[test]
fn what_features_are_added_to_is_what_was_checked() {
    let said = |text: &str| {
        let found = parse(text).featured.unwrap();
        let config: Value = serde_json::from_str(&found.config).unwrap();
        let build = found.build.unwrap();
        let path = |name: &str| config["build"][name].as_str().unwrap().to_owned();
        assert!(config.get("context").is_none() && config.get("dockerFile").is_none(), "{config}");
        (path("dockerfile"), path("context"), build.dockerfile(), build.context())
    };
    let up = "../../../../../..";
    for text in [
        format!(
            r#"{{"build":{{"dockerfile":"Dockerfile"}},"dockerFile":"Dockerfile","context":"{up}","features":{{"x":{{}}}}}}"#
        ),
        format!(r#"{{"build":{{"dockerFile":"Dockerfile"}},"dockerfile":"{up}/.netrc","features":{{"x":{{}}}}}}"#),
        format!(r#"{{"build":{{"dockerfile":"Dockerfile","context":"."}},"context":"{up}","features":{{"x":{{}}}}}}"#),
    ] {
        let Some(featured) = parse(&text).featured else { continue };
        assert!(!featured.config.contains(up), "{}", featured.config);
        said(&text);
    }
    assert_eq!(
        said(r#"{"build":{"dockerfile":"D","context":".."},"features":{"x":{}}}"#),
        ("../.devcontainer/D".into(), "..".into(), ".devcontainer/D".into(), String::new())
    );
    assert_eq!(
        said(r#"{"dockerFile":"../docker/x","context":"../docker","features":{"x":{}}}"#),
        ("../docker/x".into(), "../docker".into(), "docker/x".into(), "docker".into())
    );
}

#[test]
fn variables_lead_to_the_workspace_and_its_ports_to_free_ones() {
    let found = parse(
        r#"{ "remoteEnv": { "PATH": "${containerWorkspaceFolder}/bin:${containerEnv:PATH}" },
             "forwardPorts": ["localhost:80", "db:5432"], "appPort": ["8000:3000", 9000], "dockerComposeFile": "x" }"#,
    );
    assert_eq!(found.env["PATH"].as_str(), Some("/workspaces/shop/bin:${PATH}"));
    assert_eq!(found.ports, [80, 3000, 9000]);
    assert_eq!((fate(&found, "forwardPorts"), fate(&found, "appPort")), (FieldFate::ByHand, FieldFate::Taken));
    assert!(fate(&found, "dockerComposeFile") == FieldFate::Refused && found.lacks.is_some());
}

/// Files in the forms that public ones have; what becomes of every field of each.
#[test]
fn what_becomes_of_every_field_is_pinned() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/devcontainers");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "json"));
    files.sort();
    assert!(files.len() >= 25, "{files:?}");
    let mut text = String::new();
    for path in files {
        let found = parse(&std::fs::read_to_string(&path).unwrap());
        text.push_str(&format!("{}\n", path.file_stem().unwrap().display()));
        for Field { name, fate, how } in &found.fields {
            text.push_str(&format!("  {:<7} {name}: {how}\n", format!("{fate:?}").to_lowercase()));
        }
        let project = found.project().unwrap();
        let (toolchain, runtime) = (&project.toolchain, &project.runtime);
        let mut row = |name: &str, value: String| {
            if !value.is_empty() {
                text.push_str(&format!("  = {name} {value}\n"));
            }
        };
        row("image", toolchain.image.clone().unwrap_or_default());
        let built = toolchain.build.as_ref();
        row("build", built.map(|build| format!("{} of {:?}", build.shown(), build.context())).unwrap_or_default());
        row("given to it", found.featured.as_ref().map(|given| given.config.clone()).unwrap_or_default());
        row("user", toolchain.user.clone().unwrap_or_default());
        row("workdir", project.workspace.workdir.clone().unwrap_or_default());
        let env = runtime.env.iter().map(|(name, value)| format!("{name}={value}"));
        row("env", env.collect::<Vec<_>>().join(" "));
        let ports = runtime.ports.iter().map(|port| format!("{}{}", port.inside, port.host.map_or("", |_| "=")));
        row("ports", ports.collect::<Vec<_>>().join(" "));
        row("secrets", runtime.secrets.iter().map(|secret| secret.name.clone()).collect::<Vec<_>>().join(" "));
        row("caches", project.cache.iter().map(|cache| cache.name.clone()).collect::<Vec<_>>().join(" "));
    }
    insta::with_settings!({ snapshot_path => folder, prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("fates", text);
    });
}

#[test]
fn an_image_says_of_itself_what_later_entries_overrule() {
    let label = |text: &str| Devcontainer::of_label(text, "/w");
    let found = label(
        r#"[{ "id": "common", "remoteUser": "first", "containerEnv": { "A": "1", "B": "${containerEnv:PATH}" } },
            { "remoteUser": "second", "containerEnv": { "A": "2", "C": "${containerWorkspaceFolder}" } },
            { "containerUser": "third", "forwardPorts": [80], "privileged": true, "image": "other", "features": { "./x": {} } }]"#,
    )
    .unwrap();
    assert_eq!(found.user.as_deref(), Some("second"));
    let env: Vec<_> = found.env.iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap())).collect();
    assert_eq!((env, found.ports), (vec!["A=2".into(), "B=${PATH}".into(), "C=/w".into()], vec![80]));
    assert_eq!(label(r#"{ "remoteUser": "one" }"#).unwrap().user.as_deref(), Some("one"));
    for bad in ["", "[1]", "{", &format!("[{}{{}}]", "{},".repeat(MAX_ENTRIES))] {
        assert!(label(bad).is_err(), "{}", cut(bad));
    }
}
