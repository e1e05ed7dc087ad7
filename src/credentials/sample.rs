//! Texts that match a pattern, for tests: made at random, always the same.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

/// A source of samples.
pub(super) struct Samples(u64);

impl Default for Samples {
    fn default() -> Self {
        Samples(0x9e37_79b9_7f4a_7c15)
    }
}

impl Samples {
    /// A text that most likely matches: what stands around it is not minded.
    pub(super) fn of(&mut self, pattern: &str) -> Vec<u8> {
        let parsed = ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern).unwrap();
        let mut text = Vec::new();
        self.write(&parsed, &mut text);
        text
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    fn write(&mut self, pattern: &Hir, text: &mut Vec<u8>) {
        match pattern.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => text.extend_from_slice(&literal.0),
            HirKind::Class(class) => text.push(self.pick(class)),
            HirKind::Repetition(repeated) => {
                let most = repeated.max.unwrap_or(repeated.min + 20).min(repeated.min + 20);
                let count = repeated.min as usize + self.below((most - repeated.min) as usize + 1);
                (0..count).for_each(|_| self.write(&repeated.sub, text));
            }
            HirKind::Capture(group) => self.write(&group.sub, text),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.write(part, text)),
            HirKind::Alternation(choices) => {
                let chosen = self.below(choices.len());
                self.write(&choices[chosen], text);
            }
        }
    }

    /// A letter or digit where the class has them, or else printable.
    fn pick(&mut self, class: &Class) -> u8 {
        let all: Vec<u8> = match class {
            Class::Bytes(class) => class.iter().flat_map(|range| range.start()..=range.end()).collect(),
            // Literals in both cases.
            Class::Unicode(class) => {
                let chars = class.iter().flat_map(|range| range.start()..=range.end());
                chars.filter(char::is_ascii).map(|c| c as u8).collect()
            }
        };
        let of = |kind: fn(&u8) -> bool| all.iter().copied().filter(kind).collect::<Vec<u8>>();
        let choices = [of(u8::is_ascii_alphanumeric), of(u8::is_ascii_graphic), all.clone()];
        let from = choices.into_iter().find(|choice| !choice.is_empty()).unwrap();
        from[self.below(from.len())]
    }
}
