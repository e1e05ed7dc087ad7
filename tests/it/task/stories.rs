//! Random stories of people who publish one task without looking: nobody's work is
//! lost, nothing goes over what its publisher has not seen, and what is offered is
//! what was published.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use crate::evidence::Shop;
use crate::support::{Home, Repo, explore, tree};

/// Three who know of nobody: an agent, one on another machine, and somebody who
/// works in a workspace.
const AGENTS: usize = 2;
const HUMAN: usize = 2;

#[derive(Clone, Debug)]
enum Act {
    /// A change of one's own, which nobody else makes.
    Edit(usize),
    Commit(usize),
    Publish(usize),
    /// Over whatever the task is.
    Insist(usize),
    /// The human takes the task as it is now, or a line beside it.
    Enter,
    TakeLine,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let who = || select(vec![0, 1, HUMAN]);
    let act = prop_oneof![
        3 => who().prop_map(Act::Edit),
        1 => who().prop_map(Act::Commit),
        5 => who().prop_map(Act::Publish),
        1 => who().prop_map(Act::Insist),
        2 => Just(Act::Enter),
        1 => Just(Act::TakeLine),
    ];
    vec(act, 3..12)
}

type Files = BTreeMap<Vec<u8>, String>;

/// One of them.
struct Person {
    home: Home,
    /// The human has none before the first `enter`.
    checkout: Option<Repo>,
    /// What each checkout published or entered last, and what it was made from.
    seen: BTreeMap<PathBuf, String>,
    made: BTreeMap<PathBuf, String>,
}

impl Person {
    fn new(home: Home, checkout: Option<Repo>) -> Self {
        Person { home, checkout, seen: BTreeMap::new(), made: BTreeMap::new() }
    }
}

/// A task, and the people who work on it.
struct Story<'a> {
    shop: &'a Shop,
    task: String,
    people: Vec<Person>,
    /// Every identity that was published: files, and what it goes on from.
    published: BTreeMap<String, (Files, Option<String>)>,
    /// What somebody went over knowingly.
    buried: BTreeSet<String>,
    edits: usize,
}

impl<'a> Story<'a> {
    fn new(shop: &'a Shop, n: usize) -> Self {
        let agents = (0..AGENTS).map(|who| {
            let checkout = shop.trip.lab.repo.clone_to(&format!("story-{n}-{who}"), &[]);
            Person::new(Home::new(), Some(checkout))
        });
        let human = Person::new(shop.trip.lab.dev.clone(), None);
        let people = agents.chain([human]).collect();
        let (published, buried) = (BTreeMap::new(), BTreeSet::new());
        Story { shop, task: format!("story-{n}"), people, published, buried, edits: 0 }
    }

    fn show(&self) -> Option<Value> {
        let run = self.shop.dev(["show", &self.shop.reference(&self.task), "--json"]).run();
        (run.code == 0).then(|| run.json())
    }

    fn perform(&mut self, act: &Act) {
        match act {
            Act::Edit(who) => {
                self.edits += 1;
                let (name, text) = (format!("own-{who}-{}", self.edits), format!("{}\n", self.edits));
                self.people[*who].checkout.iter().for_each(|checkout| checkout.write(&name, &text));
            }
            Act::Commit(who) => self.people[*who].checkout.iter().for_each(|checkout| drop(checkout.commit("own"))),
            Act::Publish(who) => self.publish(*who, false),
            Act::Insist(who) => self.publish(*who, true),
            Act::Enter => self.enter(self.shop.reference(&self.task), &["--refresh"]),
            Act::TakeLine => {
                let line = self.show().and_then(|shown| shown["beside"][0]["reference"].as_str().map(str::to_owned));
                line.into_iter().for_each(|line| self.enter(line, &[]));
            }
        }
    }

    fn publish(&mut self, who: usize, insist: bool) {
        let before = self.show().map(|shown| shown["digest"].as_str().unwrap().to_owned());
        let person = &mut self.people[who];
        let Some(checkout) = &person.checkout else { return };
        let args = ["publish", &self.task, "--store", &self.shop.store, "--image", &self.shop.trip.image, "--json"];
        let yes: &[&str] = if insist { &["--yes"] } else { &[] };
        let json = person.home.envctl(args).args(yes).cwd(&checkout.path).ok().json();
        let digest = json["identity"].as_str().unwrap().to_owned();
        let unseen = before.as_ref().is_some_and(|before| person.seen.get(&checkout.path) != Some(before));
        let files = tree(&checkout.path);
        // What says the same as the task has nothing to stand beside.
        let is_same = before.as_ref() == Some(&digest);
        assert!(!is_same || self.published[&digest].0 == files, "{}", json["enter"]);
        assert_eq!(!json["beside"].is_null(), unseen && !insist && !is_same, "{}", json["enter"]);
        if insist && unseen {
            self.buried.extend(before);
        }
        person.seen.insert(checkout.path.clone(), digest.clone());
        let located = format!("{}@{digest}", self.shop.store);
        let shown = self.shop.dev(["show", &located, "--json"]).ok().json();
        let parent = shown["identity"]["parent"].as_str().map(str::to_owned);
        self.published.insert(digest, (files, parent));
    }

    /// The human's workspace of what is offered; it is what was published.
    fn enter(&mut self, reference: String, args: &[&str]) {
        if self.show().is_none() {
            return;
        }
        let shown = self.shop.dev(["show", &reference, "--json"]).ok().json();
        let digest = shown["digest"].as_str().unwrap().to_owned();
        let human = &mut self.people[HUMAN];
        let fresh = human.home.envctl(["enter", &reference, "--no-runtime"]).args(args).ok().stdout;
        let workspace = self.shop.trip.lab.repo.seen_by(&human.home, fresh.trim_end());
        // One's own workspace goes on where it was left, with what was added.
        let now = tree(&workspace.path);
        let lost = self.published[&digest].0.iter().filter(|(path, content)| now.get(*path) != Some(*content)).count();
        assert_eq!(lost, 0, "{reference} is not what was published");
        if human.made.insert(workspace.path.clone(), digest.clone()) != Some(digest.clone()) {
            human.seen.insert(workspace.path.clone(), digest);
        }
        human.checkout = Some(workspace);
    }

    /// Everything is offered that nothing offered goes on from, unless somebody
    /// went over it knowingly.
    fn check(&self) {
        let Some(shown) = self.show() else { return };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let mut reached: Vec<String> = vec![text(&shown["digest"])];
        reached.extend(shown["beside"].as_array().unwrap().iter().map(|line| text(&line["identity"])));
        let mut all: BTreeSet<String> = self.buried.clone();
        reached.extend(self.buried.iter().cloned());
        while let Some(digest) = reached.pop() {
            let parent = self.published.get(&digest).and_then(|(_, parent)| parent.clone());
            all.insert(digest);
            reached.extend(parent);
        }
        let missing: Vec<&String> = self.published.keys().filter(|digest| !all.contains(*digest)).collect();
        assert!(missing.is_empty(), "nobody is offered {missing:?}");
    }
}

#[test]
fn stories_of_several_who_publish_one_task() {
    let shop = Shop::new();
    explore(15, acts(), |n, acts| {
        let mut story = Story::new(&shop, n);
        for act in &acts {
            story.perform(act);
        }
        story.check();
    });
}
