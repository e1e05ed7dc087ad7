//! What the developer gives a command or a shell along, by flags.

use std::str::FromStr;

use anyhow::Result;
use clap::Args;

use crate::env::Env;
use crate::error::{Fault, usage};
use crate::handoff::Extras;

/// A variable as it is typed: with a value, or with the one that it has here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    name: String,
    value: Option<String>,
}

impl FromStr for Variable {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(usage(format!("{text:?} names no variable")).hint("write -e NAME=VALUE, or -e NAME"));
        }
        Ok(Variable { name: name.to_owned(), value: value.map(str::to_owned) })
    }
}

/// Variables of a command.
#[derive(Debug, Args)]
pub(super) struct VariableFlags {
    /// Set a variable inside; without a value, as it is set here
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<Variable>,
}

impl VariableFlags {
    pub(super) fn extras(&self, env: &Env) -> Result<Extras, Fault> {
        let settle = |variable: &Variable| {
            let value = variable.value.clone().or_else(|| env.named(&variable.name));
            let name = variable.name.clone();
            value.map(|value| (name.clone(), value)).ok_or_else(|| {
                usage(format!("the variable {name} is not set here")).hint(format!("give it a value: -e {name}=VALUE"))
            })
        };
        Ok(Extras { env: self.env.iter().map(settle).collect::<Result<_, Fault>>()?, shell: None })
    }
}

/// The same, and the shell.
#[derive(Debug, Args)]
pub(super) struct SessionFlags {
    #[command(flatten)]
    variables: VariableFlags,
    /// The shell to open, a program of the image, instead of the account's
    #[arg(long, value_name = "PROGRAM", conflicts_with = "command")]
    shell: Option<String>,
}

impl SessionFlags {
    pub(super) fn extras(&self, env: &Env) -> Result<Extras, Fault> {
        Ok(Extras { shell: self.shell.clone(), ..self.variables.extras(env)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_has_a_name_and_may_have_a_value() {
        let read = |text: &str| text.parse::<Variable>().ok().map(|found| (found.name, found.value));
        assert_eq!(read("A=1=2"), Some(("A".into(), Some("1=2".into()))));
        assert_eq!(read("A="), Some(("A".into(), Some(String::new()))));
        assert_eq!(read("A"), Some(("A".into(), None)));
        for bad in ["", "=1", "a b=1", "a\n"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
