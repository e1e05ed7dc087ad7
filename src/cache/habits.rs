//! What the tool that built a folder remembers of how it did so, as the names of its
//! files tell. What it forgets it does not build again, however new a file is.

use serde::{Deserialize, Serialize};

/// By which tools keep the commands that they ran, and build again for another one.
const COMMANDS: [&[u8]; 5] = [b"CMakeCache.txt", b".ninja_log", b"build.ninja", b".rustc_info.json", b"meson-private"];

/// Ends of names in which compilers note the files that an object includes.
const INCLUDES: [&[u8]; 5] = [b".d", b".dep", b".Po", b".Plo", b".deps"];

/// Ends of names of what a compiler of scripts makes.
const SCRIPTS: [&[u8]; 4] = [b".js", b".mjs", b".cjs", b".d.ts"];

/// Of the folder of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Habits {
    commands: bool,
    includes: bool,
    scripts: bool,
}

impl Habits {
    /// Sees a name in the folder.
    pub fn note(&mut self, name: &[u8]) {
        let ends = |all: &[&[u8]]| all.iter().any(|end| name.ends_with(end));
        self.commands |= COMMANDS.contains(&name);
        self.includes |= ends(&INCLUDES);
        self.scripts |= ends(&SCRIPTS);
    }

    /// A change of a makefile alone builds nothing again.
    pub fn forgets_commands(self) -> bool {
        !self.commands
    }

    /// A change of a header alone may build nothing again.
    pub fn forgets_includes(self) -> bool {
        !(self.commands || self.includes)
    }

    /// A compiler of scripts wrote into it.
    pub fn has_scripts(self) -> bool {
        self.scripts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_known_by_what_it_leaves() {
        let of = |names: &[&str]| {
            let mut habits = Habits::default();
            names.iter().for_each(|name| habits.note(name.as_bytes()));
            (habits.forgets_commands(), habits.forgets_includes(), habits.has_scripts())
        };
        assert_eq!(of(&["a.o", "program"]), (true, true, false));
        assert_eq!(of(&["a.o", "a.d"]), (true, false, false));
        assert_eq!(of(&["a.o", "CMakeCache.txt"]), (false, false, false));
        assert_eq!(of(&["debug", ".rustc_info.json"]), (false, false, false));
        assert_eq!(of(&["main.js", ".tsbuildinfo"]), (true, true, true));
    }
}
