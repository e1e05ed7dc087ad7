//! Variables of a runtime: the image's, then the project's, which may build on
//! what was there before: `PATH = "/workspace/.venv/bin:${PATH}"`.

use std::collections::BTreeMap;

use crate::error::{Fault, usage};
use crate::handoff::words::quote;
use crate::image::{MAX_ENVIRONMENT, MAX_VARIABLE};

/// Search path of an image that names none, as container engines have it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables in order; of two with one name the last counts.
pub(crate) type Variables = Vec<(String, String)>;

/// Those of an image.
pub(super) fn of_image<'a>(pairs: impl Iterator<Item = &'a String>) -> Variables {
    let mut all: Variables = vec![("PATH".into(), DEFAULT_PATH.into())];
    let pairs = pairs.filter_map(|pair| pair.split_once('=')).filter(|(name, value)| is_variable(name, value));
    all.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    all
}

fn is_variable(name: &str, value: &str) -> bool {
    !name.is_empty() && !name.contains('\0') && !value.contains('\0')
}

/// Adds a project's, which know those that are there already, where the workspace
/// is, and not each other.
///
/// # Errors
/// [`crate::error::Kind::Usage`] for one that is not there, and for what no program
/// can be started with.
pub(crate) fn add(
    all: &mut Variables,
    places: &[(&str, &str)],
    table: &str,
    more: &BTreeMap<String, String>,
) -> Result<(), Fault> {
    let known = |name: &str| {
        let place = places.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        place
            .or_else(|| all.iter().rev().find(|(known, _)| known == name).map(|(_, value)| &**value))
            .map(str::to_owned)
    };
    let mut bytes: usize = all.iter().map(|(name, value)| size(name, value)).sum();
    let mut built = Variables::new();
    for (name, value) in more {
        let value = expand(value, &known).map_err(|unusable| match unusable {
            Unusable::Unknown(unknown) => {
                let what = format!("{table}: {name} uses ${{{}}}, which the image does not set", quote(&unknown));
                usage(what).hint("write $${ for a dollar and a brace as they are")
            }
            Unusable::TooLong => usage(format!("{table}: {name} becomes longer than {MAX_VARIABLE} bytes")),
        })?;
        bytes += size(name, &value);
        if bytes > MAX_ENVIRONMENT {
            return Err(usage(format!("{table}: with {name} all variables are more than {MAX_ENVIRONMENT} bytes")));
        }
        built.push((name.clone(), value));
    }
    all.extend(built);
    Ok(())
}

/// As a program is given it: with `=`, and a NUL at its end.
fn size(name: &str, value: &str) -> usize {
    name.len() + value.len() + 2
}

/// Why a value is none.
enum Unusable {
    /// This name stands for nothing.
    Unknown(String),
    /// No program can be given it.
    TooLong,
}

/// A value with what `${NAME}` stands for.
fn expand(value: &str, known: &dyn Fn(&str) -> Option<String>) -> Result<String, Unusable> {
    let (mut text, mut rest) = (String::new(), value);
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            text.push_str(before);
            text.push_str("${");
            rest = &from[2..];
            continue;
        }
        text.push_str(before);
        let Some((name, after)) = from[2..].split_once('}') else {
            return Err(Unusable::Unknown(from[2..].to_owned()));
        };
        text.push_str(&known(name).ok_or_else(|| Unusable::Unknown(name.to_owned()))?);
        if text.len() > MAX_VARIABLE {
            return Err(Unusable::TooLong);
        }
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_builds_on_what_the_image_has() {
        let image = ["A=1".to_owned(), "PATH=/opt/bin".to_owned(), "=x".to_owned()];
        let mut all = of_image(image.iter());
        let mine = [("PATH", "${WORKDIR}/.venv/bin:${PATH}"), ("B", "${A}-$${A}-$A-$"), ("C", "${A}${A}")];
        let mine = mine.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        add(&mut all, &[("WORKDIR", "/w")], "runtime.env", &mine).unwrap();
        let value = |name: &str| all.iter().rev().find(|(known, _)| known == name).unwrap().1.clone();
        assert_eq!(
            (value("PATH"), value("B"), value("C")),
            ("/w/.venv/bin:/opt/bin".into(), "1-${A}-$A-$".into(), "11".into())
        );
        for bad in ["${NONE}", "${A", "${}"] {
            let error =
                add(&mut all.clone(), &[], "runtime.env", &[("X".to_owned(), bad.to_owned())].into()).unwrap_err();
            assert!(error.to_string().contains("which the image does not set"), "{error}");
        }
        // What would double again and again ends.
        let mut grown = vec![("A00".to_owned(), "x".repeat(1000))];
        let mut grow = |at: usize| {
            let twice = format!("${{A{:02}}}", at - 1).repeat(2);
            add(&mut grown, &[], "t", &BTreeMap::from([(format!("A{at:02}"), twice)]))
        };
        let first = (1..60).find_map(|at| grow(at).err()).unwrap();
        assert!(first.to_string().contains("becomes longer than"), "{first}");
        let many = (0..20).map(|at| (format!("B{at}"), "${A06}${A00}".to_owned())).collect();
        let error = add(&mut grown, &[], "t", &many).unwrap_err();
        assert!(error.to_string().contains("all variables are more than"), "{error}");
        // An image that names no search path has the usual one.
        assert_eq!(of_image(std::iter::empty()), [("PATH".to_owned(), DEFAULT_PATH.to_owned())]);
    }
}
