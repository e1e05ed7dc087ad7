//! What every test builds on. Each file is one subject.

/// Makes two tests of a function: for whoever runs the tests, which is root, and for an
/// account without privilege. It is given a [`Lab`], or what `made` makes of one.
macro_rules! both {
    ($name:ident) => {
        mod $name {
            #[test]
            fn as_root() {
                super::$name($crate::support::Lab::new());
            }

            #[test]
            fn unprivileged() {
                super::$name($crate::support::Lab::unprivileged());
            }
        }
    };
    ($name:ident, $made:path) => {
        mod $name {
            use super::*;

            #[test]
            fn as_root() {
                super::$name($made($crate::support::Lab::new()));
            }

            #[test]
            fn unprivileged() {
                super::$name($made($crate::support::Lab::unprivileged()));
            }
        }
    };
}

mod alive;
mod busybox;
mod call;
mod cases;
mod crowd;
mod engine;
mod facts;
mod forge;
mod home;
mod image;
mod lab;
mod layer;
mod layout;
mod liar;
mod modern;
mod outcomes;
mod outside;
mod planted;
mod pty;
mod real;
mod registry;
mod repo;
mod small;
mod stopped;
mod tar;
mod trip;

pub use alive::{Alive, Marker};
pub use busybox::busybox;
pub use call::{Call, Run, in_time, until, until_it_heeds};
pub use cases::{cases, explore};
pub use crowd::Crowd;
pub use engine::RealDocker;
pub use facts::{Facts, tree};
pub use forge::{Forged, Objects, forge, forge_text};
pub use home::Home;
pub use image::{ImageBuilder, architecture, foreign_architecture};
pub use lab::{Lab, publish};
pub use layer::{Layer, gzip, sha256};
pub use layout::{Layout, Written};
pub use liar::{Answer, Asked, Liar, Way};
pub use modern::{Habits, Modern};
pub use outcomes::Outcomes;
pub use outside::Outside;
pub use planted::Planter;
pub use pty::Terminal;
pub use real::{copy, prepared};
pub use registry::{PASSWORD, RealRegistry, USER, Wants};
pub use repo::Repo;
pub use small::Small;
pub use stopped::{Stopped, ended};
pub use tar::{Entry, pax_record};
pub use trip::Trip;
