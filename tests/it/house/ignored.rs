//! What a call returns is ignored in one way, so that whoever looks for what nobody
//! looked at finds all of it.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::{root, texts};

/// The lines on which `drop` takes what a call returns.
fn dropped_calls(tokens: TokenStream, found: &mut Vec<usize>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        let before = |back: usize| at.checked_sub(back).map(|at| tokens[at].to_string());
        // A declaration is none, nor is a method of that name.
        let is_drop = before(1).as_deref() == Some("drop") && !matches!(before(2).as_deref(), Some("fn" | "."));
        if is_drop && calls(group.stream()) {
            found.push(group.span_open().start().line);
        }
        dropped_calls(group.stream(), found);
    }
}

fn calls(tokens: TokenStream) -> bool {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    tokens.windows(2).any(|pair| match pair {
        [TokenTree::Ident(_), TokenTree::Group(group)] => group.delimiter() == Delimiter::Parenthesis,
        _ => false,
    })
}

#[test]
fn drop_ends_what_has_a_name_and_results_are_ignored_by_let() {
    let mut found = Vec::new();
    for (path, text) in texts(&root().join("src")) {
        let mut lines = Vec::new();
        dropped_calls(text.parse().unwrap(), &mut lines);
        found.extend(lines.into_iter().map(|line| format!("{}:{line}", path.display())));
    }
    assert!(found.is_empty(), "write `let _ = ...;` for a result, and `...;` for a value: {found:#?}");
}

#[test]
fn the_reader_of_drops_sees_calls_alone() {
    let text = "impl Drop for A { fn drop(&mut self) { drop((a, self.b)); a.drop(f()); } }\n\
        fn f() { x.map(drop); for_each(|y| drop(y.end()));\n\
        std::mem::drop(g(1)); }";
    let mut found = Vec::new();
    dropped_calls(text.parse().unwrap(), &mut found);
    assert_eq!(found, [2, 3]);
}
