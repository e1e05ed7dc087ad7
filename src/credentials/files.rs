//! Files that hold credentials by convention, found by their names.
//!
//! For most of them the content must agree: a name alone raises false alarms
//! with templates, documentation and tests, and a file without a credential in
//! it does no harm. The name alone is enough where the content is binary or
//! encrypted, and where such a file has no other use than to hold a secret.
//! Private keys need no entry: the rules find them under any name.

use super::pattern;
use super::{assigned, text::Text};
use crate::error::Fault;

/// What must be in the file, besides its name.
enum Content {
    /// Anything at all.
    Any,
    /// An assignment of more than a stand-in to one of these names.
    Assigned(&'static str),
    /// A match of this pattern; its first group is more than a stand-in.
    Like(&'static str),
    /// A variable with a secret.
    Variables,
}

struct CredentialFile {
    rule: &'static str,
    /// The last parts of paths in small letters; a `*` is any part of a name.
    names: &'static [&'static str],
    content: Content,
}

const fn file(rule: &'static str, names: &'static [&'static str], content: Content) -> CredentialFile {
    CredentialFile { rule, names, content }
}

/// A user and a password in front of a host.
const USERINFO: &str = r#"://[^\s/:@"'<>]+:([^\s/@"'<>]+)@"#;

const FILES: &[CredentialFile] = &[
    // Everybody's place for secrets, and for plain settings as well: a port or
    // a log level is no reason to stop.
    file("dotenv-file", &[".env", ".env.*", "*.env", ".envrc", ".flaskenv", ".dev.vars"], Content::Variables),
    // Package managers: mostly registries and options, sometimes a token.
    file("npmrc-file", &[".npmrc"], Content::Assigned("_authToken|_auth|_password")),
    file("yarnrc-file", &[".yarnrc.yml"], Content::Assigned("npmAuthToken|npmAuthIdent")),
    file("pypirc-file", &[".pypirc"], Content::Assigned("password")),
    file("gem-credentials", &[".gem/credentials"], Content::Assigned(":?[a-z_]*api_key")),
    file("cargo-credentials", &[".cargo/credentials", ".cargo/credentials.toml"], Content::Assigned("token")),
    file("composer-auth", &["auth.json"], Content::Assigned("password|github\\.com|gitlab-token|bearer")),
    file("maven-settings", &[".m2/settings.xml"], Content::Like(r"(?i)<(?:password|passphrase)>\s*([^<\s]+)\s*<")),
    file("gradle-properties", &["gradle.properties"], Content::Assigned("[a-z0-9_.]*(?:password|secret|token|apikey)")),
    // Logins for hosts and databases. An empty or commented file is harmless.
    file("netrc-file", &[".netrc", "_netrc"], Content::Assigned("password")),
    file("git-credentials", &[".git-credentials", "git/credentials"], Content::Like(USERINFO)),
    file("pgpass-file", &[".pgpass", "pgpass.conf"], Content::Like(r"(?m)^[^#:\s]+:[^:\n]+:[^:\n]+:[^:\n]+:(\S+)")),
    file("mysql-options", &[".my.cnf"], Content::Assigned("password")),
    file("htpasswd-file", &[".htpasswd"], Content::Like(r"(?m)^[^:\s]+:(?:\$[a-z0-9]+\$|\{SHA\})\S+")),
    file("shadow-file", &["etc/shadow", "shadow"], Content::Like(r"(?m)^[a-z_][a-z0-9_-]*:\$[a-z0-9]+\$[^:]+:")),
    // Clouds and containers.
    file("aws-credentials", &[".aws/credentials"], Content::Assigned("aws_secret_access_key|aws_session_token")),
    file(
        "docker-config",
        &[".docker/config.json", ".dockercfg", ".dockerconfigjson", "containers/auth.json"],
        Content::Assigned("auth|identitytoken|registrytoken"),
    ),
    file(
        "kube-config",
        &[".kube/config", "kubeconfig", "*.kubeconfig", "kubeconfig.y*ml"],
        Content::Assigned("token|password|client-key-data"),
    ),
    file(
        "google-application-credentials",
        &["application_default_credentials.json"],
        Content::Assigned("refresh_token|private_key"),
    ),
    file(
        "google-service-account",
        &["*.json"],
        Content::Like(r#"(?s)"type"\s*:\s*"service_account".*"private_key"\s*:\s*"-----BEGIN"#),
    ),
    // Databases of tokens: binary, and nothing else is in them.
    file("gcloud-credentials", &["gcloud/credentials.db", "gcloud/access_tokens.db"], Content::Any),
    file("azure-tokens", &[".azure/accesstokens.json", ".azure/msal_token_cache.*"], Content::Any),
    // State holds every attribute of every resource in the clear, generated
    // passwords included; one without resources holds nothing.
    file(
        "terraform-state",
        &["*.tfstate", "*.tfstate.backup"],
        Content::Like(r#""(?:attributes|attributes_flat)"\s*:\s*\{"#),
    ),
    file(
        "terraform-variables",
        &["*.tfvars", "*.tfvars.json"],
        Content::Assigned("[a-z0-9_]*(?:password|secret|token|api_key|private_key|access_key)"),
    ),
    file("terraform-credentials", &[".terraformrc", "credentials.tfrc.json"], Content::Assigned("token")),
    file("rclone-config", &["rclone.conf"], Content::Assigned("pass|token|secret_access_key|client_secret")),
    file("s3-config", &[".s3cfg", ".boto"], Content::Assigned("secret_key|aws_secret_access_key|gs_secret_access_key")),
    file("vault-token", &[".vault-token"], Content::Any),
    // What command-line tools and agents keep of a login.
    file(
        "login-state",
        &[
            "gh/hosts.yml",
            "hub",
            "glab-cli/config.yml",
            "github-copilot/hosts.json",
            "github-copilot/apps.json",
            ".claude/.credentials.json",
            ".codex/auth.json",
            ".gemini/oauth_creds.json",
            ".netlify/config.json",
        ],
        Content::Assigned("oauth_token|token|accessToken|access_token|refreshToken|refresh_token|OPENAI_API_KEY"),
    ),
    // A browser's session is as good as a password.
    file(
        "browser-state",
        &[".auth/*.json", "storagestate.json", "storage-state.json"],
        Content::Like(r#"(?s)"cookies"\s*:\s*\[\s*\{.*?"value"\s*:\s*"([^"]+)""#),
    ),
    file(
        "browser-cookies",
        &["cookies.sqlite", "network/cookies", "login data", "key4.db", "logins.json"],
        Content::Any,
    ),
    // Stores of keys, encrypted with what may be a weak password. The keystore
    // that Android's tools make for debugging is the same for everybody.
    file(
        "key-store",
        &["*.kdbx", "*.jks", "*.keystore", "*.ppk", "secring.gpg", "private-keys-v1.d/*.key"],
        Content::Any,
    ),
];

/// Parts of names of files that show how a real one looks.
const SHOWN: [&str; 14] = [
    "example", "examples", "sample", "template", "tmpl", "tpl", "dist", "default", "defaults", "schema", "dummy",
    "fake", "mock", "debug",
];

/// The rule by which a file holds credentials, and where in its text they are.
///
/// # Errors
/// When a pattern cannot be read, which a test rules out.
pub(super) fn look(path: &str, text: &Text<'_>) -> Result<Option<(&'static str, usize)>, Fault> {
    let path = path.to_ascii_lowercase();
    let name = path.rsplit('/').next().unwrap_or(&path);
    let mut candidates = FILES.iter().filter(|file| file.names.iter().any(|names| ends_with(&path, names))).peekable();
    if candidates.peek().is_none() || name.split(['.', '-', '_']).any(|part| SHOWN.contains(&part)) {
        return Ok(None);
    }
    let bytes = &text.bytes;
    for file in candidates {
        let at = match file.content {
            Content::Any => (!bytes.is_empty()).then_some(0),
            Content::Assigned(names) => assigned::first(&pattern::one(&assigned::to(names))?, bytes),
            Content::Like(like) => assigned::first(&pattern::one(like)?, bytes),
            Content::Variables => assigned::first_variable(bytes)?,
        };
        if let Some(at) = at {
            return Ok(Some((file.rule, at)));
        }
    }
    Ok(None)
}

/// Whether the last parts of a path are like those of a pattern.
fn ends_with(path: &str, pattern: &str) -> bool {
    let mut parts = path.rsplit('/');
    pattern.rsplit('/').all(|wanted| parts.next().is_some_and(|part| is_like(part, wanted)))
}

/// Whether a name is like a pattern with at most one `*`.
fn is_like(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((begin, end)) => name.len() >= begin.len() + end.len() && name.starts_with(begin) && name.ends_with(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(path: &str, content: &str) -> Option<&'static str> {
        look(path, &Text::of(content.as_bytes())).unwrap().map(|(rule, _)| rule)
    }

    #[test]
    fn every_pattern_can_be_read() {
        for file in FILES {
            match file.content {
                Content::Assigned(names) => {
                    pattern::one(&assigned::to(names)).unwrap();
                }
                Content::Like(like) => {
                    pattern::one(like).unwrap();
                }
                Content::Any | Content::Variables => {}
            }
            assert!(file.names.iter().all(|name| *name == name.to_lowercase()), "{}", file.rule);
        }
    }

    #[test]
    fn case_48_files_of_credentials() {
        for (path, content, expected) in [
            (".env", "DB_PASSWORD=hunter2", "dotenv-file"),
            ("deploy/.env.production", "export SECRET=s3", "dotenv-file"),
            ("a/.npmrc", "//registry.example/:_authToken=t1", "npmrc-file"),
            (".netrc", "machine a login b password c9", "netrc-file"),
            ("home/.AWS/Credentials", "[default]\naws_secret_access_key = k9", "aws-credentials"),
            (".docker/config.json", "{\"auths\":{\"r\":{\"auth\":\"dTpw\"}}}", "docker-config"),
            (".kube/config", "users:\n- user:\n    client-key-data: LS0t", "kube-config"),
            (".git-credentials", "https://me:pw9@host.example", "git-credentials"),
            (".pypirc", "[pypi]\nusername = __token__\npassword = pw9", "pypirc-file"),
            ("infra/terraform.tfstate", "{\"resources\": [{\"attributes\": {\"id\": 1}}]}", "terraform-state"),
            (
                "keys/sa.json",
                "{\"type\": \"service_account\",\n\"private_key\": \"-----BEGIN",
                "google-service-account",
            ),
            ("e2e/.auth/user.json", "{\"cookies\": [{\"name\": \"s\", \"value\": \"v9\"}]}", "browser-state"),
            ("x/release.keystore", "\u{1}", "key-store"),
            (".claude/.credentials.json", "{\"claudeAiOauth\":{\"accessToken\":\"t9\"}}", "login-state"),
        ] {
            assert_eq!(rule(path, content), Some(expected), "{path}");
        }
    }

    #[test]
    fn files_that_only_look_like_it() {
        for (path, content) in [
            (".env.example", "DB_PASSWORD=hunter2"),
            ("env.sample.env", "DB_PASSWORD=hunter2"),
            (".env", "PORT=3000\nDB_PASSWORD=\nDB_USER=${USER}"),
            (".npmrc", "registry=https://registry.example/\n//registry.example/:_authToken=${NPM_TOKEN}"),
            (".netrc", "# nothing here"),
            (".docker/config.json", "{\"credsStore\": \"desktop\"}"),
            ("empty.tfstate", "{\"resources\": []}"),
            ("package.json", "{\"type\": \"module\"}"),
            ("app/debug.keystore", "\u{1}"),
            ("src/environment.ts", "password = hunter2"),
            (".envoy", "DB_PASSWORD=hunter2"),
            ("my.aws/credentials", "aws_secret_access_key = k9"),
        ] {
            assert_eq!(rule(path, content), None, "{path}");
        }
    }
}
