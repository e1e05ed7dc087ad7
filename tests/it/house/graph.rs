//! Which file of `src` uses which, read from `use` lines and from the paths in
//! the code. A name that a `mod.rs` hands on counts for the file that defines it.
//! Tests beside the code do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The names of a module, from the crate's root downwards.
pub type Module = Vec<String>;

/// Who uses whom, each with one of the names that are used.
pub type Arrows = BTreeMap<Module, BTreeMap<Module, String>>;

/// A name that a `use` line brings in.
struct Import {
    alias: String,
    path: Vec<String>,
    public: bool,
}

/// What one file says.
#[derive(Default)]
struct Source {
    imports: Vec<Import>,
    paths: BTreeSet<Vec<String>>,
}

type Sources = BTreeMap<Module, Source>;

/// The arrows between the files of a crate.
pub fn arrows(root: &Path) -> Arrows {
    let mut sources = Sources::new();
    collect(root, &[], &mut sources);
    let arrows_of = |(module, source): (&Module, &Source)| {
        // What a door hands on, it does not use.
        let imported = source.imports.iter().filter(|import| !import.public).map(|import| &import.path);
        let mut targets = BTreeMap::new();
        for path in imported.chain(&source.paths) {
            if let Some(target) = resolve(&sources, module, path, 0).filter(|target| target != module) {
                targets.entry(target).or_insert_with(|| path.join("::"));
            }
        }
        (module.clone(), targets)
    };
    sources.iter().map(arrows_of).collect()
}

/// The arrows between what lies in a folder: its files and its folders as they
/// are seen from outside. The folder's own `mod.rs` counts as a file of it.
pub fn within(arrows: &Arrows, folder: &[String]) -> Arrows {
    let part =
        |module: &Module| module.starts_with(folder).then(|| module[..module.len().min(folder.len() + 1)].to_vec());
    let mut parts = Arrows::new();
    for (from, targets) in arrows {
        let Some(from) = part(from) else { continue };
        let found = parts.entry(from.clone()).or_default();
        for (to, name) in targets {
            if let Some(to) = part(to).filter(|to| *to != from) {
                found.entry(to).or_insert_with(|| name.clone());
            }
        }
    }
    parts
}

/// Groups of nodes of which each leads to each other.
pub fn circles(arrows: &Arrows) -> Vec<Vec<Module>> {
    let reach: BTreeMap<&Module, BTreeSet<&Module>> = arrows.keys().map(|from| (from, reached(arrows, from))).collect();
    let mut found: BTreeSet<Vec<Module>> = BTreeSet::new();
    for (from, there) in &reach {
        let back = there.iter().filter(|to| reach.get(**to).is_some_and(|from_there| from_there.contains(from)));
        let circle: Vec<Module> = back.map(|to| (*to).clone()).collect();
        if !circle.is_empty() {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

fn reached<'a>(arrows: &'a Arrows, from: &'a Module) -> BTreeSet<&'a Module> {
    let mut seen = BTreeSet::new();
    let mut next = vec![from];
    while let Some(here) = next.pop() {
        let targets = arrows.get(here).into_iter().flat_map(BTreeMap::keys);
        next.extend(targets.filter(|target| seen.insert(*target)));
    }
    seen
}

fn collect(folder: &Path, module: &[String], sources: &mut Sources) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let below = [module, &[stem.to_owned()]].concat();
        if path.is_dir() {
            collect(&path, &below, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !["main", "tests"].contains(&stem) {
            let module = if ["mod", "lib"].contains(&stem) { module.to_vec() } else { below };
            let tokens: TokenStream = fs::read_to_string(&path).unwrap().parse().unwrap();
            let mut source = Source::default();
            read(tokens, &mut source);
            sources.insert(module, source);
        }
    }
}

/// Reads one group of tokens and those in it.
fn read(tokens: TokenStream, source: &mut Source) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    let mut public = false;
    while at < tokens.len() {
        if is_for_tests(&tokens[at..]) {
            at = after_item(&tokens, at + 2);
            continue;
        }
        match &tokens[at] {
            TokenTree::Ident(word) if word == "use" => {
                let end = (at..tokens.len()).find(|at| is_punct(&tokens[*at], ';')).unwrap_or(tokens.len());
                imports(&tokens[at + 1..end], &[], public, &mut source.imports);
                at = end;
            }
            TokenTree::Ident(word) if word == "pub" => {
                public = true;
                at += 1;
                // `pub(in crate::handoff)` names a module, and uses nothing of it.
                if matches!(tokens.get(at), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis)
                {
                    at += 1;
                }
                continue;
            }
            TokenTree::Ident(_) => {
                let (path, end) = path(&tokens, at);
                let goes_on = at > 1 && tokens[at - 2..at].iter().all(|token| is_punct(token, ':'));
                if path.len() > 1 && !goes_on {
                    source.paths.insert(path);
                }
                at = end - 1;
            }
            TokenTree::Group(group) => read(group.stream(), source),
            _ => {}
        }
        public = false;
        at += 1;
    }
}

pub fn is_punct(token: &TokenTree, c: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == c)
}

/// Whether an attribute says that what follows is for tests.
pub fn is_for_tests(tokens: &[TokenTree]) -> bool {
    let [hash, TokenTree::Group(group), ..] = tokens else { return false };
    is_punct(hash, '#') && group.stream().to_string().replace(' ', "") == "cfg(test)"
}

/// The place after the item that begins here.
pub fn after_item(tokens: &[TokenTree], at: usize) -> usize {
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        token => is_punct(token, ';'),
    };
    (at..tokens.len()).find(|at| ends(&tokens[*at])).map_or(tokens.len(), |end| end + 1)
}

/// The names of a path that begins here, and where it ends.
fn path(tokens: &[TokenTree], mut at: usize) -> (Vec<String>, usize) {
    let mut names = Vec::new();
    while let Some(TokenTree::Ident(name)) = tokens.get(at) {
        names.push(name.to_string());
        at += 1;
        match tokens.get(at..at + 3) {
            Some([a, b, TokenTree::Ident(_)]) if is_punct(a, ':') && is_punct(b, ':') => at += 2,
            _ => break,
        }
    }
    (names, at)
}

/// The names that a `use` tree brings in.
fn imports(tokens: &[TokenTree], above: &[String], public: bool, found: &mut Vec<Import>) {
    for branch in tokens.split(|token| is_punct(token, ',')).filter(|branch| !branch.is_empty()) {
        let (names, end) = path(branch, 0);
        let mut full = [above, &names].concat();
        let rest = &branch[end..];
        if let Some(TokenTree::Group(group)) = rest.last() {
            imports(&group.stream().into_iter().collect::<Vec<_>>(), &full, public, found);
            continue;
        }
        if full.last().is_some_and(|last| last == "self") && full.len() > 1 {
            full.pop();
        }
        let alias = match rest {
            [_, TokenTree::Ident(alias)] => alias.to_string(),
            _ => full.last().cloned().unwrap_or_default(),
        };
        found.push(Import { alias, path: full, public });
    }
}

/// The file that defines what a path of a module names; `None` for what is no
/// part of the crate, and for a module that is only named.
fn resolve(sources: &Sources, module: &[String], path: &[String], depth: usize) -> Option<Module> {
    assert!(depth < 20, "{} in {} leads in a circle", path.join("::"), module.join("::"));
    let (first, rest) = path.split_first()?;
    let (mut here, mut rest) = match first.as_str() {
        "crate" => (Vec::new(), rest),
        "self" => (module.to_vec(), rest),
        "super" => (module[..module.len().checked_sub(1)?].to_vec(), rest),
        _ => (module.to_vec(), path),
    };
    while let Some((name, after)) = rest.split_first() {
        if name == "super" {
            here.pop();
            rest = after;
            continue;
        }
        let below = [&here[..], std::slice::from_ref(name)].concat();
        let import = sources.get(&here)?.imports.iter().find(|import| import.alias == *name && import.path != path);
        let is_module = sources.contains_key(&below);
        if is_module && !(after.is_empty() && import.is_some()) {
            here = below;
            rest = after;
            continue;
        }
        if let Some(import) = import {
            let path = [&import.path[..], after].concat();
            return resolve(sources, &here, &path, depth + 1);
        }
        // Without a prefix it is a name of the language, or of another crate.
        return (here != module || ["crate", "self", "super"].contains(&first.as_str())).then_some(here);
    }
    None
}
