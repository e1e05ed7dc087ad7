//! `envctl doctor`

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::call::VerbCall;
use crate::handoff::{Check, Health, doctor};

/// Check whether this machine can run envctl, and say what helps
#[derive(Debug, Args)]
pub(super) struct Arguments {}

#[derive(Serialize)]
struct Output {
    ok: bool,
    checks: Vec<Check>,
}

impl Arguments {
    /// `wrong` is what is wrong with the user's configuration.
    pub(super) fn run(&self, VerbCall { app, wrong, .. }: VerbCall<'_>) -> Result<u8> {
        let checks = doctor(app, wrong);
        let ok = checks.iter().all(|check| check.health != Health::Bad);
        if app.ui.is_json() {
            app.ui.json(&Output { ok, checks })?;
        } else {
            for check in &checks {
                let health = match check.health {
                    Health::Ok => "ok",
                    Health::Weak => "weak",
                    Health::Bad => "bad",
                };
                app.ui.data(&format!("{health:<5} {:<16} {}", check.name, check.found))?;
                if let Some(hint) = &check.hint {
                    app.ui.data(&format!("{:<23}{hint}", ""))?;
                }
            }
        }
        Ok(u8::from(!ok))
    }
}
