//! A corpus of planted credentials, all found; and what looks like one, none.

use std::collections::{BTreeMap, BTreeSet};

use super::{refused, shown};
use crate::support::{Planter, Trip};

/// File, content, and the rule that must find it.
type Planted = (String, Vec<u8>, &'static str);

/// Tokens with a form of their own.
fn tokens(p: &mut Planter) -> Vec<(&'static str, String)> {
    let any = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    vec![
        ("aws-access-token", p.aws()),
        ("github-pat", p.github()),
        ("github-fine-grained-pat", format!("{}_pat_{}", "github", p.word(82))),
        ("github-oauth", format!("{}_{}", ["gh", "o"].concat(), p.word(36))),
        ("github-app-token", format!("{}_{}", ["gh", "s"].concat(), p.word(36))),
        ("gitlab-pat", format!("{}-{}", ["gl", "pat"].concat(), p.word(20))),
        ("gitlab-runner-authentication-token", format!("{}-{}", ["gl", "rt"].concat(), p.word(20))),
        (
            "slack-bot-token",
            format!("{}-{}-{}-{}", ["xo", "xb"].concat(), p.of("123456789", 12), p.of("123456789", 12), p.word(24)),
        ),
        ("stripe-access-token", format!("{}_live_{}", "sk", p.word(30))),
        ("openai-api-key", format!("sk-{}{}{}", p.word(20), ["T3Blbk", "FJ"].concat(), p.word(20))),
        ("anthropic-api-key", format!("sk-{}-api03-{}AA", "ant", p.of(any, 93))),
        ("gcp-api-key", format!("{}{}", ["AI", "za"].concat(), p.word(35))),
        ("npm-access-token", format!("{}_{}", "npm", p.small(36))),
        ("pypi-upload-token", format!("{}-AgEIcHlwaS5vcmc{}", "pypi", p.word(60))),
        ("rubygems-api-token", format!("{}_{}", "rubygems", p.hex(48))),
        ("sendgrid-api-token", format!("SG{}{}", ".", p.word(66))),
        ("twilio-api-key", format!("{}{}", "SK", p.hex(32))),
        (
            "huggingface-access-token",
            format!("{}_{}", "hf", p.of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", 34)),
        ),
        ("databricks-api-token", format!("{}{}", ["da", "pi"].concat(), p.hex(32))),
        ("digitalocean-pat", format!("{}_v1_{}", "dop", p.hex(64))),
        ("doppler-api-token", format!("dp{}pt.{}", ".", p.small(43))),
        ("shopify-access-token", format!("{}_{}", ["shp", "at"].concat(), p.hex(32))),
        ("vault-service-token", format!("hvs{}{}", ".", p.word(95))),
        ("hashicorp-tf-api-token", format!("{}.atlasv1.{}", p.word(14), p.word(65))),
        ("linear-api-key", format!("{}_api_{}", "lin", p.small(40))),
        ("postman-api-token", format!("{}-{}-{}", "PMAK", p.hex(24), p.hex(34))),
        ("grafana-service-account-token", format!("{}_{}_{}", "glsa", p.word(32), p.hex(8))),
        ("sentry-user-token", format!("{}_{}", ["snt", "ryu"].concat(), p.hex(64))),
        ("square-access-token", format!("{}-{}", ["sq0", "atp"].concat(), p.word(22))),
        ("azure-ad-client-secret", format!("{}8Q~{}", p.word(3), p.word(34))),
        ("planetscale-password", format!("{}_pw_{}", "pscale", p.word(40))),
        ("pulumi-api-token", format!("{}-{}", "pul", p.hex(40))),
        ("perplexity-api-key", format!("{}-{}", "pplx", p.word(48))),
        ("jwt", p.jwt()),
        ("age-secret-key", format!("AGE-{}-KEY-1{}", "SECRET", p.of("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58))),
    ]
}

/// The ways in which code and configuration hold one.
fn in_a_file(n: usize, token: &str) -> (String, Vec<u8>) {
    match n % 7 {
        0 => (format!("src/client{n}.py"), format!("import os\n\nTOKEN = \"{token}\"\n").into()),
        1 => (format!("config/c{n}.yaml"), format!("service:\n  credential: {token}\n").into()),
        2 => (format!("web/c{n}.js"), format!("export default {{ a: '{token}', b: 1 }};\n").into()),
        3 => (format!("settings{n}.json"), format!("{{\"a\": {{\"b\": \"{token}\"}}}}\n").into()),
        4 => (format!("scripts/c{n}.sh"), format!("#!/bin/sh\nexport X={token}\n").into()),
        5 => (format!("notes{n}.md"), format!("Use `{token}` for now.\n").into()),
        // In a binary file, and as PowerShell writes text.
        _ if n.is_multiple_of(2) => {
            (format!("data/c{n}.dat"), [b"\0\x01\x02 ".as_slice(), token.as_bytes(), b" \xff\0"].concat())
        }
        _ => {
            let text = format!("$x = \"{token}\"\r\n");
            (format!("c{n}.ps1"), [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect())
        }
    }
}

/// What is known by the words around it.
fn in_context(p: &mut Planter) -> Vec<Planted> {
    let mut all: Vec<Planted> = Vec::new();
    let mut add = |path: &str, content: String, rule| all.push((path.to_owned(), content.into_bytes(), rule));
    add("a/settings.py", format!("API_KEY = \"{}\"\n", p.word(32)), "generic-api-key");
    add("a/db.yaml", format!("db:\n  password: '{}'\n", p.word(20)), "generic-api-key");
    add("a/app.ts", format!("const clientSecret = \"{}\";\n", p.hex(40)), "generic-api-key");
    add("a/call.sh", format!("curl -u deploy:{} https://ci.example/run \n", p.word(16)), "curl-auth-user");
    add(
        "a/call2.sh",
        format!("curl -H \"Authorization: Bearer {}\" https://a.example\n", p.word(40)),
        "curl-auth-header",
    );
    add(
        "a/heroku.txt",
        format!("HEROKU_API_KEY={}-{}-4{}-a{}-{}\n", p.hex(8), p.hex(4), p.hex(3), p.hex(3), p.hex(12)),
        "heroku-api-key",
    );
    add("a/datadog.env.ts", format!("datadog_token: '{}'\n", p.small(40)), "datadog-access-token");
    add("a/discord.js", format!("discord_token = '{}'\n", p.hex(64)), "discord-api-token");
    add("k8s/secret.yaml", format!("kind: Secret\ndata:\n  password: {}=\n", p.word(31)), "kubernetes-secret-yaml");
    add(
        "nuget.config",
        format!("<add key=\"ClearTextPassword\" value=\"{}\" />\n", p.word(12)),
        "nuget-config-password",
    );
    add("infra/main.tf", format!("administrator_login_password = \"{}\"\n", p.small(16)), "hashicorp-tf-password");
    for (kind, name) in [
        ("RSA ", "rsa.txt"),
        ("EC ", "server.pem"),
        ("OPENSSH ", "id_ed25519"),
        ("", "tls.key"),
        ("ENCRYPTED ", "e.pem"),
    ] {
        add(&format!("keys/{name}"), p.key(kind), "private-key");
    }
    add("keys/in-code.go", format!("var k = `{}`\n", p.key("")), "private-key");
    all
}

/// Files of credentials.
fn files(p: &mut Planter) -> Vec<Planted> {
    let mut all: Vec<Planted> = Vec::new();
    let mut add = |path: &str, content: String, rule| all.push((path.to_owned(), content.into_bytes(), rule));
    let short = p.small(9);
    add(".env", format!("PORT=3000\nDB_PASSWORD={short}\n"), "dotenv-file");
    add("deploy/.env.production", format!("SMTP_PASS={short}\n"), "dotenv-file");
    add(".npmrc", format!("//registry.example/:_authToken={short}\n"), "npmrc-file");
    add("pkg/.yarnrc.yml", format!("npmAuthToken: {short}\n"), "yarnrc-file");
    add(".pypirc", format!("[pypi]\nusername = u\npassword = {short}\n"), "pypirc-file");
    add("home/.netrc", format!("machine a.example login u password {short}\n"), "netrc-file");
    add("home/.git-credentials", format!("https://u:{short}@git.example\n"), "git-credentials");
    add("home/.pgpass", format!("db.example:5432:app:u:{short}\n"), "pgpass-file");
    add("home/.my.cnf", format!("[client]\npassword={short}\n"), "mysql-options");
    add("www/.htpasswd", format!("u:$apr1$aaaaaaaa${short}\n"), "htpasswd-file");
    add("home/.aws/credentials", format!("[default]\naws_secret_access_key = {short}\n"), "aws-credentials");
    add(
        "home/.docker/config.json",
        format!("{{\"auths\": {{\"r.example\": {{\"auth\": \"{short}\"}}}}}}\n"),
        "docker-config",
    );
    add("home/.kube/config", format!("users:\n- user:\n    token: {short}\n"), "kube-config");
    add("home/.cargo/credentials.toml", format!("[registry]\ntoken = \"{short}\"\n"), "cargo-credentials");
    add("home/.gem/credentials", format!(":rubygems_api_key: {short}\n"), "gem-credentials");
    add("home/.m2/settings.xml", format!("<server><password>{short}</password></server>\n"), "maven-settings");
    add("home/.config/gh/hosts.yml", format!("github.com:\n    oauth_token: {short}\n"), "login-state");
    add("home/.claude/.credentials.json", format!("{{\"accessToken\":\"{short}\"}}\n"), "login-state");
    add("home/.codex/auth.json", format!("{{\"access_token\":\"{short}\"}}\n"), "login-state");
    add("home/.vault-token", short.clone(), "vault-token");
    add("home/rclone.conf", format!("[s3]\nsecret_access_key = {short}\n"), "rclone-config");
    add(
        "e2e/.auth/user.json",
        format!("{{\"cookies\":[{{\"name\":\"s\",\"value\":\"{short}\"}}]}}\n"),
        "browser-state",
    );
    add(
        "infra/terraform.tfstate",
        "{\"resources\": [{\"instances\": [{\"attributes\": {\"id\": \"1\"}}]}]}\n".into(),
        "terraform-state",
    );
    add("infra/prod.tfvars", format!("db_password = \"{short}\"\n"), "terraform-variables");
    add(
        "infra/sa.json",
        format!("{{\"type\": \"service_account\", \"private_key\": \"{}BEGIN\"}}\n", "-".repeat(5)),
        "google-service-account",
    );
    add("android/release.keystore", "\u{1}\u{2}".into(), "key-store");
    add("certs/client.p12", "\u{1}\u{2}".into(), "pkcs12-file");
    all
}

#[test]
fn case_48_every_planted_credential_is_found() {
    let trip = Trip::new();
    let (repo, mut planter) = (&trip.lab.repo, Planter::new());
    let mut planted: Vec<Planted> = Vec::new();
    let tokens = tokens(&mut planter);
    for (n, (rule, token)) in tokens.iter().enumerate() {
        let (path, content) = in_a_file(n, token);
        planted.push((path, content, rule));
    }
    planted.extend(in_context(&mut planter));
    planted.extend(files(&mut planter));
    for (path, content, _) in &planted {
        repo.write(path, content);
    }
    let secrets: Vec<&str> = tokens.iter().map(|(_, token)| token.as_str()).collect();
    let (_, details) = refused(&trip, repo, &[], &secrets);
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for detail in &details {
        assert_eq!(detail["place"], "working-file");
        let (file, rule) = (detail["file"].as_str().unwrap(), detail["rule"].as_str().unwrap());
        found.entry(file.to_owned()).or_default().insert(rule.to_owned());
    }
    let missed: Vec<String> = planted
        .iter()
        .filter(|(path, _, rule)| !found.get(path).is_some_and(|rules| rules.contains(*rule)))
        .map(|(path, _, rule)| format!("{path} ({rule}): {:?}", found.get(path)))
        .collect();
    println!("{} of {} planted credentials found", planted.len() - missed.len(), planted.len());
    assert!(missed.is_empty(), "missed: {missed:#?}");
    assert_eq!(found.len(), planted.len(), "nothing else is there");
}

#[test]
fn what_only_looks_like_a_credential_travels() {
    let trip = Trip::new();
    let (repo, mut planter) = (&trip.lab.repo, Planter::new());
    let hash = planter.hex(40);
    for (path, content) in [
        (".env.example", "DB_PASSWORD=change-me-please\nAPI_KEY=\n".to_owned()),
        (".env", "PORT=3000\nNODE_ENV=development\nDB_PASSWORD=${SECRET}\n".into()),
        (".npmrc", "registry=https://registry.example/\n//registry.example/:_authToken=${NPM_TOKEN}\n".into()),
        (
            "src/a.py",
            "token = os.environ['SERVICE_TOKEN']\npassword = get_password(user)\napi_key = settings.API_KEY\n".into(),
        ),
        (
            "src/b.ts",
            "const apiKey = config.services.apiKey;\ninterface AccessKeyConfiguration2 extends Base {}\n".into(),
        ),
        ("src/c.rs", "let key_attributes = nl80211_key_attributes::DEFAULT;\n".into()),
        ("package-lock.json", format!("{{\"integrity\": \"sha512-{}\"}}\n", planter.word(86))),
        ("go.sum", format!("a.example/b v1.0.0 h1:{}=\n", planter.word(43))),
        (
            "docs/a.md",
            format!(
                "A file begins with {0}BEGIN PRIVATE KEY{0} and ends with {0}END PRIVATE KEY{0}, as RFC 7468 says.\n",
                "-".repeat(5)
            ),
        ),
        ("CHANGES", format!("Reverts commit {hash}\n")),
        ("k8s/a.yaml", "kind: Secret\ndata:\n  password: {{ .Values.password }}\n".into()),
        ("keys/id_rsa.pub", format!("ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB{} me@host\n", planter.word(300))),
        (
            "keys/cert.pem",
            format!("{0}BEGIN CERTIFICATE{0}\n{1}\n{0}END CERTIFICATE{0}\n", "-".repeat(5), planter.word(64)),
        ),
        ("aws.txt", format!("{}IOSFODNN7EXAMPLE\n", ["AK", "IA"].concat())),
        ("infra/empty.tfstate", "{\"version\": 4, \"resources\": []}\n".into()),
        ("t/uuid.json", "{\"clientRequestToken\": \"1d2129a1-3d38-460a-9756-e5b91fddb951\"}\n".into()),
    ] {
        repo.write(path, content);
    }
    trip.round(repo);
}

#[test]
fn every_finding_names_file_line_and_rule() {
    let trip = Trip::new();
    let (repo, mut planter) = (&trip.lab.repo, Planter::new());
    let (aws, github) = (planter.aws(), planter.github());
    repo.write("deep/er/config.py", format!("\n\nA = '{aws}'\n\nB = '{github}'\n"));
    let (run, details) = refused(&trip, repo, &[], &[&aws, &github]);
    assert_eq!(shown(&details), ["deep/er/config.py:3 aws-access-token", "deep/er/config.py:5 github-pat"]);
    for line in ["deep/er/config.py:3: aws-access-token, fingerprint ", "deep/er/config.py:5: github-pat, fingerprint "]
    {
        assert!(run.stderr.contains(line), "{}", run.stderr);
    }
    assert!(run.stderr.contains("2 credentials would travel"), "{}", run.stderr);
}
