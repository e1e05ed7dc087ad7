//! Every key of both files: the parser refuses what is not here, and the
//! reference page is checked against it.

use toml::{Table, Value};

use crate::error::{Fault, usage};

/// One key of a configuration file.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Dotted path; `*` stands for a name of the user's choice, `[]` for the
    /// elements of an array of tables.
    pub path: &'static str,
    /// The type, in TOML's words.
    pub kind: &'static str,
    /// What holds when it is absent.
    pub default: &'static str,
}

const fn key(path: &'static str, kind: &'static str, default: &'static str) -> Key {
    Key { path, kind, default }
}

/// Keys of a project's `envctl.toml`.
pub const PROJECT: &[Key] = &[
    key("store", "string", "none"),
    key("toolchain.image", "string", "none"),
    key("toolchain.build.dockerfile", "string", "that of the context"),
    key("toolchain.build.context", "string", "the root"),
    key("toolchain.build.args.*", "string", "none"),
    key("toolchain.build.target", "string", "the last stage"),
    key("toolchain.build.secrets", "array of strings", "[]"),
    key("toolchain.build.devcontainer", "string", "none"),
    key("toolchain.user", "string", "the image's"),
    key("toolchain.metadata", "boolean", "false, or true of a devcontainer.json"),
    key("workspace.workdir", "string", "\"/workspace\""),
    key("workspace.lifetime", "string", "\"per-task\""),
    key("workspace.ttl", "string", "\"14d\""),
    key("runtime.network", "string", "\"isolated\""),
    key("runtime.ports", "array of integers or strings", "[]"),
    key("runtime.env.*", "string", "none"),
    key("runtime.secrets", "array of strings", "[]"),
    key("runtime.git_credentials", "array of strings", "[]"),
    key("runtime.timeout", "string", "\"8h\""),
    key("runtime.once", "array of strings", "[]"),
    key("runtime.start", "array of strings", "[]"),
    key("runtime.limits.memory", "string", "a share of the machine"),
    key("runtime.limits.processes", "integer", "a share of the machine"),
    key("runtime.limits.cpus", "number", "none"),
    key("runtime.limits.required", "boolean", "false"),
    key("cache[].preset", "string", "none"),
    key("cache[].dir", "string", "the root"),
    key("cache[].name", "string", "required, or the preset's"),
    key("cache[].inputs", "array of strings", "[]"),
    key("cache[].path", "string", "required, or the preset's"),
    key("cache[].paths", "array of strings", "none"),
    key("cache[].setup", "string", "required, or the preset's"),
    key("cache[].network", "string", "\"none\", or the preset's"),
    key("cache[].env.*", "string", "none"),
    key("cache[].timeout", "string", "\"1h\""),
    key("cache[].materialize", "boolean", "false"),
    key("cache[].read_only", "boolean", "false"),
    key("cache[].build", "boolean", "by its path"),
    key("cache[].seed", "boolean", "by its preset"),
    key("fixture[].name", "string", "required"),
    key("fixture[].source", "string", "required"),
    key("fixture[].path", "string", "none"),
    key("service[].name", "string", "required"),
    key("service[].command", "array of strings", "required, or the image's"),
    key("service[].image", "string", "none"),
    key("service[].ready", "string", "none"),
    key("service[].timeout", "string", "\"30s\""),
    key("service[].stop", "string", "none"),
    key("service[].env.*", "string", "none"),
    key("service[].data.cache", "string", "none"),
    key("service[].data.fixture", "string", "none"),
    key("service[].data.path", "string", "required"),
    key("snapshot.include", "array of strings", "[]"),
    key("snapshot.exclude", "array of strings", "[]"),
    key("snapshot.max_lfs", "string", "\"1G\""),
    key("snapshot.allow", "array of strings", "[]"),
    key("artifacts.collect[].path", "string", "required"),
    key("artifacts.collect[].type", "string", "required"),
];

/// Keys of the user's `config.toml`.
pub const USER: &[Key] = &[
    key("store", "string", "none"),
    key("registries.*.plain_http", "boolean", "on loopback only"),
    key("registries.*.ca", "string", "none"),
    key("registries.*.mirror", "string", "none"),
    key("registries.*.realm", "string", "none"),
    key("secrets.*", "string", "none"),
    key("url[].from", "string", "required"),
    key("url[].to", "string", "required"),
    key("artifacts.keep", "string", "\"90d\""),
    key("workspace.lifetime", "string", "the project's"),
    key("workspace.ttl", "string", "the project's"),
    key("workspace.keep", "string", "\"30d\""),
    key("workspace.max_fetch", "string", "\"64G\""),
    key("claims", "boolean", "true"),
    key("cache.max_size", "string", "none"),
    key("cache.max_age", "string", "\"30d\""),
    key("cache.min_free", "string", "\"2G\""),
    key("enter.timeout", "string", "none"),
    key("enter.idle", "string", "none"),
    key("limits.required", "boolean", "false"),
    key("cost.rate_per_hour", "number", "none"),
    key("cost.minimum_seconds", "integer", "0"),
    key("cost.target_per_task", "number", "0.10"),
    key("cost.cap", "number", "none"),
    key("build.timeout", "string", "\"1h\""),
    key("build.max_context", "string", "\"1G\""),
    key("repos.reference", "array of strings", "[]"),
    key("prefetch[].status", "string", "none"),
    key("prefetch[].agent", "string", "none"),
    key("prefetch[].message", "string", "none"),
    key("prefetch[].branch", "string", "none"),
    key("prefetch[].repository", "string", "none"),
];

/// Refuses the first key that is not known.
pub(super) fn check(table: &Table, keys: &[Key], name: &str) -> Result<(), Fault> {
    walk(table, "", "", keys, name)
}

/// `prefix` is where this table stands, `pattern` the same as the list of keys
/// writes it.
fn walk(table: &Table, prefix: &str, pattern: &str, keys: &[Key], name: &str) -> Result<(), Fault> {
    for (own, value) in table {
        let path = format!("{prefix}{own}");
        let spellings = [format!("{pattern}{own}"), format!("{pattern}*")];
        if spellings.iter().any(|spelling| keys.iter().any(|key| key.path == spelling)) {
            continue;
        }
        let leads_on = |end: &str| {
            let begun = spellings.iter().map(|spelling| format!("{spelling}{end}"));
            begun.into_iter().find(|begun| keys.iter().any(|key| key.path.starts_with(begun.as_str())))
        };
        match (value, leads_on("."), leads_on("[].")) {
            (Value::Table(inner), Some(pattern), _) => walk(inner, &format!("{path}."), &pattern, keys, name)?,
            (Value::Array(items), _, Some(pattern)) => {
                for item in items.iter().filter_map(Value::as_table) {
                    walk(item, &format!("{path}[]."), &pattern, keys, name)?;
                }
            }
            _ => return Err(unknown(&path, keys, name)),
        }
    }
    Ok(())
}

fn unknown(path: &str, keys: &[Key], name: &str) -> Fault {
    let fault = usage(format!("{name}: unknown key {path:?}"));
    let nearest =
        keys.iter().max_by(|a, b| strsim::jaro_winkler(a.path, path).total_cmp(&strsim::jaro_winkler(b.path, path)));
    match nearest {
        Some(key) => fault.hint(format!("the nearest known key is {}; `envctl help config` lists them all", key.path)),
        None => fault,
    }
}
