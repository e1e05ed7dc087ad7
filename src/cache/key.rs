//! The key of a cache entry: a hash over everything that decides its content.
//! Keys are exact; there is no nearest match.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Version of what goes into a key. It changes when entries made before must
/// not be used any more.
const FORMAT: u32 = 1;

/// Everything that decides what an entry holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Components {
    /// Version of this list.
    pub format: u32,
    /// The entry's name in `envctl.toml`.
    pub name: String,
    /// Files of the workspace and the digests of what they hold; `None` for
    /// one that is not there.
    pub inputs: BTreeMap<String, Option<Digest>>,
    /// The image's manifest.
    pub image: Digest,
    /// The image's platform.
    pub platform: String,
    /// Where the workspace is inside.
    pub workdir: String,
    /// Where the entry is inside, as the project writes it.
    pub path: String,
    /// How it is filled.
    pub setup: String,
    /// Variables that the project declares.
    pub env: BTreeMap<String, String>,
    /// It is built from the files of the workspace, which are told apart from
    /// what it was made from wherever it is used.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub built: bool,
    /// The names of all files that it was made from, where an entry of another
    /// list of names does not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Digest>,
    /// Who the setup runs as, where that is not the image's own user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

impl Components {
    /// A list in the current format, of an entry that has nothing but a name and an
    /// image.
    pub fn new(name: &str, image: Digest, platform: String) -> Self {
        Components {
            format: FORMAT,
            name: name.to_owned(),
            inputs: BTreeMap::new(),
            image,
            platform,
            workdir: String::new(),
            path: String::new(),
            setup: String::new(),
            env: BTreeMap::new(),
            built: false,
            names: None,
            user: None,
        }
    }

    /// The same, filled by `setup` at `path` in a workspace at `workdir`.
    #[must_use]
    pub fn made(self, workdir: &str, path: &str, setup: &str) -> Self {
        Components { workdir: workdir.to_owned(), path: path.to_owned(), setup: setup.to_owned(), ..self }
    }

    /// The key.
    pub fn key(&self) -> Digest {
        // Texts, numbers and sorted maps: serialising them cannot fail.
        Digest::of(&serde_json::to_vec(&("envctl cache key", self)).unwrap_or_default())
    }

    /// Each component by name, as text.
    pub fn lines(&self) -> Vec<(String, String)> {
        let mut lines = vec![("format".to_owned(), self.format.to_string()), ("name".into(), self.name.clone())];
        let input = |(path, digest): (&String, &Option<Digest>)| {
            let digest = digest.map_or_else(|| "absent".into(), |digest| digest.to_string());
            (format!("input {path}"), digest)
        };
        lines.extend(self.inputs.iter().map(input));
        lines.extend([
            ("image".into(), self.image.to_string()),
            ("platform".into(), self.platform.clone()),
            ("workdir".into(), self.workdir.clone()),
            ("path".into(), self.path.clone()),
            ("setup".into(), self.setup.clone()),
        ]);
        lines.extend(self.env.iter().map(|(name, value)| (format!("env {name}"), value.clone())));
        if self.built {
            lines.push(("made from".into(), "the files of the workspace".into()));
        }
        lines.extend(self.names.map(|names| ("names of files".into(), names.to_string())));
        lines.extend(self.user.clone().map(|user| ("user".into(), user)));
        lines
    }

    /// Why two keys differ: component, here, there. Empty when they do not.
    pub fn difference(&self, other: &Components) -> Vec<(String, Option<String>, Option<String>)> {
        let (here, there): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (self.lines().into_iter().collect(), other.lines().into_iter().collect());
        let names: std::collections::BTreeSet<&String> = here.keys().chain(there.keys()).collect();
        let differing = names.into_iter().filter(|name| here.get(*name) != there.get(*name));
        differing.map(|name| (name.clone(), here.get(name).cloned(), there.get(name).cloned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Components {
        let mut sample = Components::new("npm", Digest::of(b"image"), "linux/amd64".into()).made(
            "/workspace",
            "node_modules",
            "npm ci",
        );
        sample.inputs.insert("package-lock.json".into(), Some(Digest::of(b"lock")));
        sample.env.insert("NODE_ENV".into(), "development".into());
        sample
    }

    #[test]
    fn case_25_every_input_that_decides_the_content_is_in_the_key() {
        let base = sample();
        assert_eq!(base.key(), sample().key());
        let changes: [fn(&mut Components); 14] = [
            |c| c.format += 1,
            |c| c.name.push('x'),
            |c| c.inputs.extend([("package-lock.json".into(), Some(Digest::of(b"other")))]),
            |c| c.inputs.extend([("package-lock.json".into(), None)]),
            |c| c.inputs.extend([("more".into(), None)]),
            |c| c.image = Digest::of(b"another image"),
            |c| c.platform = "linux/arm64".into(),
            |c| c.workdir.push('x'),
            |c| c.path.push('x'),
            |c| c.setup.push_str(" --omit=dev"),
            |c| c.env.extend([("NODE_ENV".into(), "production".into())]),
            |c| c.built = true,
            |c| c.names = Some(Digest::of(b"names")),
            |c| c.user = Some("vscode".into()),
        ];
        let mut seen = vec![base.key()];
        for (n, change) in changes.iter().enumerate() {
            let mut other = sample();
            change(&mut other);
            assert!(!seen.contains(&other.key()), "change {n}");
            assert_eq!(base.difference(&other).len(), 1, "change {n}");
            seen.push(other.key());
        }
    }

    #[test]
    fn components_cannot_be_shifted_into_each_other() {
        let (mut a, mut b) = (sample(), sample());
        (a.path, a.setup) = ("ab".into(), "c".into());
        (b.path, b.setup) = ("a".into(), "bc".into());
        assert_ne!(a.key(), b.key());
    }
}
