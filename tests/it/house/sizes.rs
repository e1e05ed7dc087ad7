//! How long the functions of a folder are, and how many parameters they take. Tests
//! beside the code do not count.

use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use super::graph::{after_item, is_for_tests, is_punct};

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub file: PathBuf,
    pub name: String,
    /// From `fn` to the end of its body.
    pub lines: usize,
    /// Without `self`.
    pub parameters: usize,
}

/// The functions of every file below a folder.
pub fn functions(folder: &Path) -> Vec<Function> {
    let mut found = Vec::new();
    for (file, text) in super::texts(folder) {
        if file.file_stem().is_some_and(|stem| stem != "tests") {
            read(text.parse().unwrap(), &file, &mut found);
        }
    }
    found
}

/// How many lines each file below a folder has.
pub fn lines(folder: &Path) -> Vec<(PathBuf, usize)> {
    super::texts(folder).into_iter().map(|(file, text)| (file, text.lines().count())).collect()
}

fn read(tokens: TokenStream, file: &Path, found: &mut Vec<Function>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        if is_for_tests(&tokens[at..]) {
            at = after_item(&tokens, at + 2);
            continue;
        }
        match &tokens[at..] {
            [TokenTree::Ident(word), TokenTree::Ident(name), rest @ ..] if word == "fn" => {
                if let Some((parameters, body)) = parts(rest) {
                    let lines = body.span_close().end().line - word.span().start().line + 1;
                    let parameters = count(parameters);
                    found.push(Function { file: file.to_owned(), name: name.to_string(), lines, parameters });
                }
            }
            [TokenTree::Group(group), ..] => read(group.stream(), file, found),
            _ => {}
        }
        at += 1;
    }
}

/// The parameters and the body of a function, from what follows its name; `None` for
/// one without a body.
fn parts(rest: &[TokenTree]) -> Option<(&Group, &Group)> {
    let mut parameters = None;
    let mut depth = Depth::default();
    for token in rest {
        depth.pass(token);
        match token {
            _ if depth.open > 0 => {}
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return Some((parameters?, group)),
            TokenTree::Group(group) => parameters = parameters.or(Some(group)),
            token if is_punct(token, ';') => return None,
            _ => {}
        }
    }
    None
}

fn count(parameters: &Group) -> usize {
    let tokens: Vec<TokenTree> = parameters.stream().into_iter().collect();
    let mut depth = Depth::default();
    let mut is_end = |token: &TokenTree| {
        depth.pass(token);
        depth.open == 0 && is_punct(token, ',')
    };
    let is_own = |one: &[TokenTree]| {
        let name = one.iter().take_while(|token| !is_punct(token, ':'));
        name.last().is_some_and(|token| matches!(token, TokenTree::Ident(word) if word == "self"))
    };
    tokens.split(|token| is_end(token)).filter(|one| !one.is_empty() && !is_own(one)).count()
}

/// How many angle brackets are open.
#[derive(Default)]
struct Depth {
    open: usize,
    after_dash: bool,
}

impl Depth {
    fn pass(&mut self, token: &TokenTree) {
        match token {
            token if is_punct(token, '<') => self.open += 1,
            // That of `->` closes nothing.
            token if is_punct(token, '>') && !self.after_dash => self.open -= 1,
            _ => {}
        }
        self.after_dash = is_punct(token, '-');
    }
}
