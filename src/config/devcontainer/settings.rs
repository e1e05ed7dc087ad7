//! What commands inside have: variables, ports, secrets, an account, folders that stay.

use serde_json::Value;

use super::values::{Substitutions, Value as Known, is_variable};
use super::{Devcontainer, FieldFate, Surroundings};
use crate::config::PRESETS;
use crate::config::project::is_user;
use crate::error::cut;

impl Devcontainer {
    pub(super) fn environment(&mut self, value: &Value, around: &Surroundings) -> (FieldFate, String) {
        let workdir = self.workdir.clone();
        let values = Substitutions { around, workdir: workdir.as_deref(), inside: true };
        let (mut hosts, mut left) = (Vec::new(), Vec::new());
        for (name, value) in value.as_object().into_iter().flatten() {
            match value.as_str().map(|text| values.of(text)) {
                Some(Known::Known(text)) if is_variable(name) => {
                    self.env.insert(name.clone(), text.into());
                }
                Some(Known::OfHost(variable)) => hosts.push(format!("{} ({})", cut(name), cut(&variable))),
                Some(Known::Unknown(variable)) => left.push(format!("{} ({})", cut(name), cut(&variable))),
                _ => left.push(cut(name)),
            }
        }
        if hosts.is_empty() && left.is_empty() {
            return (FieldFate::Taken, "runtime.env".into());
        }
        let mut how = "runtime.env".to_owned();
        if !hosts.is_empty() {
            let hosts = hosts.join(", ");
            how.push_str(&format!(", but for {hosts}: what your environment holds is one of runtime.secrets, by name"));
        }
        if !left.is_empty() {
            how.push_str(&format!(", but for {}: nobody knows it here", left.join(", ")));
        }
        (FieldFate::ByHand, how)
    }

    pub(super) fn ports(&mut self, value: &Value) -> (FieldFate, String) {
        let mut left = Vec::new();
        let one = [value.clone()];
        for port in value.as_array().map_or(&one[..], Vec::as_slice) {
            let text = match port {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            // Here the host's port is a free one; `localhost` is the runtime's own.
            let inside = match text.rsplit_once(':') {
                Some((host, inside)) if host == "localhost" || host.bytes().all(|c| c.is_ascii_digit()) => inside,
                Some(_) => "",
                None => &text,
            };
            match inside.parse::<u16>().ok().filter(|port| *port > 0) {
                Some(port) => self.ports.push(port),
                None => left.push(cut(&text)),
            }
        }
        self.ports.sort_unstable();
        self.ports.dedup();
        if left.is_empty() {
            return (FieldFate::Taken, "runtime.ports".into());
        }
        (FieldFate::ByHand, format!("runtime.ports, but for {}: other containers are services here", left.join(", ")))
    }

    pub(super) fn secrets(&mut self, value: &Value) -> (FieldFate, String) {
        let names = value.as_object().into_iter().flatten().map(|(name, _)| name);
        self.secrets.extend(names.filter(|name| is_variable(name)).cloned());
        (FieldFate::Taken, "runtime.secrets, each with your approval".into())
    }

    /// Who commands run as.
    pub(super) fn user(&mut self, value: &Value) -> (FieldFate, String) {
        match value.as_str() {
            Some(user) if is_user(user) && !user.contains('$') => {
                self.user = Some(user.to_owned());
                (FieldFate::Taken, "toolchain.user".into())
            }
            _ => (FieldFate::ByHand, "it depends on the machine: set toolchain.user".into()),
        }
    }

    /// A project's file in another notation.
    pub(super) fn customized(&mut self, value: &Value) -> (FieldFate, String) {
        let Some(own) = value.get("envctl") else {
            return (FieldFate::Left, "they are for an editor; extensions inside are not installed".into());
        };
        match toml::Table::try_from(own).map(|table| table.to_string()) {
            Ok(text) => {
                self.own = Some(text);
                (FieldFate::Taken, "envctl is taken as an envctl.toml; the others are for an editor".into())
            }
            Err(error) => (FieldFate::ByHand, format!("envctl is no envctl.toml: {}", cut(&error.to_string()))),
        }
    }

    /// What is mounted beside the workspace; each is named.
    pub(super) fn mounts(&self, value: &Value, around: &Surroundings) -> (FieldFate, String) {
        let values = Substitutions { around, workdir: self.workdir.as_deref(), inside: false };
        let (mut fate, mut told) = (FieldFate::Left, Vec::new());
        let one = [value.clone()];
        for mount in value.as_array().map_or(&one[..], Vec::as_slice) {
            let mount = Mount::of(mount);
            let target = match values.of(&mount.target) {
                Known::Known(target) => target,
                _ => mount.target.clone(),
            };
            let shown = cut(&target);
            let (worse, what) = match mount.kind.as_str() {
                "tmpfs" => {
                    (FieldFate::Left, format!("{shown} is empty at each start, as everything but the workspace is"))
                }
                "volume" => (FieldFate::ByHand, self.volume(&target)),
                "bind" => {
                    (FieldFate::Refused, format!("{} of this machine is not mounted at {shown}", cut(&mount.source)))
                }
                other => (FieldFate::Refused, format!("a mount of the kind {} at {shown}", cut(other))),
            };
            fate = fate.max(worse);
            told.push(what);
        }
        if told.is_empty() { (FieldFate::Left, "there are none".into()) } else { (fate, told.join("; ")) }
    }

    /// What stands for a folder that is kept from one container to the next.
    fn volume(&self, target: &str) -> String {
        let shown = cut(target);
        let inside = self.workdir.as_deref().and_then(|workdir| target.strip_prefix(workdir)?.strip_prefix('/'));
        let place = |path: &str| {
            path == inside.unwrap_or_default()
                || path.strip_prefix("~/").is_some_and(|path| {
                    let home = target
                        .strip_prefix("/root/")
                        .or_else(|| target.strip_prefix("/home/")?.split_once('/').map(|(_, rest)| rest));
                    home == Some(path)
                })
        };
        let presets: Vec<_> = PRESETS.iter().filter(|preset| place(preset.path)).map(|preset| preset.name).collect();
        match presets.is_empty() {
            true => format!("{shown}, a volume: what can be made again is a [[cache]] with that path"),
            false => format!("{shown} is the place of [[cache]] preset = {}", presets.join(", ")),
        }
    }
}

/// An element of `mounts`.
struct Mount {
    kind: String,
    source: String,
    target: String,
}

impl Mount {
    fn of(value: &Value) -> Self {
        let field = |names: &[&str]| -> Option<String> {
            match value {
                Value::String(text) => text.split(',').find_map(|part| {
                    let (name, value) = part.split_once('=')?;
                    names.contains(&name.trim()).then(|| value.trim().to_owned())
                }),
                other => names.iter().find_map(|name| Some(other.get(*name)?.as_str()?.to_owned())),
            }
        };
        Mount {
            kind: field(&["type"]).unwrap_or_else(|| "volume".into()),
            source: field(&["source", "src"]).unwrap_or_default(),
            target: field(&["target", "destination", "dst"]).unwrap_or_default(),
        }
    }
}
