//! Assignments in configuration files of any syntax, and what is plainly no
//! secret on their right side.

use regex::bytes::Regex;

use super::pattern;
use super::rule::entropy;
use crate::error::Fault;

/// Values that are defaults, or stand in a secret's place.
const COMMON: [&str; 37] = [
    "",
    "admin",
    "adminadmin",
    "changeit",
    "changeme",
    "default",
    "dev",
    "development",
    "dummy",
    "empty",
    "false",
    "foo",
    "foobar",
    "guest",
    "key",
    "letmein",
    "localhost",
    "minioadmin",
    "mysql",
    "no",
    "none",
    "null",
    "off",
    "on",
    "pass",
    "passwd",
    "password",
    "postgres",
    "public",
    "root",
    "secret",
    "test",
    "testing",
    "token",
    "true",
    "user",
    "yes",
];

/// Words of values that are to be replaced.
const PLACEHOLDERS: [&str; 17] = [
    "change_me",
    "change-me",
    "change this",
    "changeme",
    "changethis",
    "dummy",
    "example",
    "fake",
    "insert",
    "mock",
    "placeholder",
    "redacted",
    "replace",
    "sample",
    "todo",
    "your",
    "xxxx",
];

/// The pattern of an assignment to one of `names` (a pattern itself), whose
/// value is its first group: `name=value`, `"name": "value"`, `name value`.
pub(super) fn to(names: &str) -> String {
    format!(r#"(?im)(?:^|[^a-z0-9_.-])["']?(?:{names})["']?(?:[ \t]*[=:][ \t]*|[ \t]+)["']?([^\s"',;}}#][^\s"',;}}]*)"#)
}

/// Where the first match of `pattern` begins whose first group, where it has
/// one, is more than a stand-in.
pub(super) fn first(pattern: &Regex, text: &[u8]) -> Option<usize> {
    pattern.captures_iter(text).find_map(|groups| {
        let whole = groups.get(0)?;
        let stands_in = groups.get(1).is_some_and(|value| is_stand_in(value.as_bytes()));
        (!stands_in).then_some(whole.start())
    })
}

/// Names of variables that speak of a secret.
const SECRET: &str = "(?i)secret|token|passw(?:or)?d|passphrase|pwd|_pass$|api_?key|access_?key|private_?key|\
                      encryption_?key|credential|auth_?key|^pass";

/// Where the first variable of a `.env` file is set whose name speaks of a
/// secret, or whose value looks like one.
pub(super) fn first_variable(text: &[u8]) -> Result<Option<usize>, Fault> {
    let line = pattern::one(r#"(?m)^[ \t]*(?:export[ \t]+)?([A-Za-z0-9_.-]+)[ \t]*=[ \t]*["']?([^\s"'#]*)"#)?;
    let name = pattern::one(SECRET)?;
    Ok(line.captures_iter(text).find_map(|groups| {
        let (whole, variable, value) = (groups.get(0)?, groups.get(1)?, groups.get(2)?.as_bytes());
        let counts = name.is_match(variable.as_bytes()) || looks_random(value);
        (counts && !is_stand_in(value)).then_some(whole.start())
    }))
}

/// The last words of names whose values lead to a secret, or count or name one.
const ABOUT: [&str; 21] = [
    "askpass",
    "count",
    "dir",
    "directory",
    "endpoint",
    "expires",
    "file",
    "helper",
    "host",
    "id",
    "length",
    "name",
    "node",
    "path",
    "sock",
    "socket",
    "uri",
    "url",
    "user",
    "username",
    "version",
];

/// Variables that every shell has and whose names only look like those of secrets.
const FOLDERS: [&str; 2] = ["PWD", "OLDPWD"];

/// Whether a variable of an environment holds a secret: its name says so, and
/// its value is no path, switch or name.
pub fn is_secret_variable(name: &str, value: &str) -> bool {
    let last = name.rsplit('_').next().unwrap_or(name).to_ascii_lowercase();
    let is_about = FOLDERS.contains(&name) || ABOUT.contains(&last.as_str());
    !is_about
        && !is_path(value)
        && looks_random(value.as_bytes())
        && pattern::one(SECRET).is_ok_and(|pattern| pattern.is_match(name.as_bytes()))
}

/// Whether a value is the path of a file: three names or more, of which the first
/// is a word. What is encoded by base64 may begin with a slash, too, and looks
/// otherwise.
fn is_path(value: &str) -> bool {
    let Some(rest) = value.strip_prefix('/').or_else(|| value.strip_prefix("~/")) else { return false };
    let mut parts = rest.split('/');
    let first = parts.next().unwrap_or_default();
    let is_word = (2..=16).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_lowercase());
    let names = parts.filter(|part| !part.is_empty()).count();
    value.starts_with('~') || (is_word && names >= 1)
}

/// Whether a value stands for one that comes from elsewhere, or is a default
/// that everybody knows.
fn is_stand_in(value: &[u8]) -> bool {
    let text = String::from_utf8_lossy(value).to_lowercase();
    let text = text.trim_matches(|c: char| c.is_whitespace() || "\"'`".contains(c));
    // ${VAR}, $VAR, $(command), <value>, {{ value }}, %(value)s, [value], *****
    let refers = text.starts_with(['$', '<', '{', '%', '[', '*']);
    let first = text.chars().next();
    let repeats = text.chars().all(|c| Some(c) == first);
    refers || repeats || COMMON.contains(&text) || PLACEHOLDERS.iter().any(|word| text.contains(word))
}

/// Long, with letters and digits, and in no order.
fn looks_random(value: &[u8]) -> bool {
    let has = |kind: fn(&u8) -> bool| value.iter().any(kind);
    let plain = value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=_-".contains(byte));
    value.len() >= 16 && plain && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic) && entropy(value) > 3.4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_of_any_syntax_are_read() {
        let pattern = pattern::one(&to("password|_authToken")).unwrap();
        for text in [
            "password = hunter2",
            "a\n  \"password\": \"hunter2\",",
            "//registry/:_authToken=hunter2",
            "machine x login y password hunter2",
            "{\"password\":\"hunter2\"}",
        ] {
            assert!(first(&pattern, text.as_bytes()).is_some(), "{text}");
        }
        for text in [
            "password = ",
            "password=${PASSWORD}",
            "my_password = hunter2",
            "passwords: hunter2",
            "password: <your password>",
            "password: xxxxxxxx",
            "password: changeme",
            "//registry/:_authToken=$TOKEN",
        ] {
            assert_eq!(first(&pattern, text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn variables_of_an_environment() {
        let value = "k3J9xQ2mZr7Lp0Vw";
        assert!(is_secret_variable("GITHUB_TOKEN", value) && is_secret_variable("db_password", value));
        for (name, value) in [
            ("GOOGLE_APPLICATION_CREDENTIALS", "/home/agent/k3J9xQ2mZr7Lp0Vw.json"),
            ("BUILD_ID", value),
            ("API_KEY", "unused"),
            ("TOKENIZERS_PARALLELISM", "false"),
        ] {
            assert!(!is_secret_variable(name, value), "{name}");
        }
    }

    #[test]
    fn variables_count_by_name_or_by_value() {
        for text in
            ["A=b\nDB_PASSWORD=hunter2", "export API_KEY='q1'", &format!("OTHER={}{}", "k3J9xQ2mZr", "7Lp0VwTb4Y")]
        {
            assert!(first_variable(text.as_bytes()).unwrap().is_some(), "{text}");
        }
        for text in ["PORT=3000\nNODE_ENV=development", "DB_PASSWORD=", "# DB_PASSWORD=hunter2", "DB_PASSWORD=postgres"]
        {
            assert_eq!(first_variable(text.as_bytes()).unwrap(), None, "{text}");
        }
    }
}
