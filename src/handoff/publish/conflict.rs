//! Whether a checkout may publish over a task: only where the task still is what
//! the checkout was made from, or what it published itself. Otherwise somebody at
//! a terminal is told and asked, and whatever nobody answers for goes beside it.

use anyhow::Result;

use crate::clock::age;
use crate::digest::Digest;
use crate::error::{failure, integrity, policy, usage};
use crate::handoff::app::App;
use crate::handoff::task::{Line, Located, Pin, lines, read_at};
use crate::handoff::words::quote;
use crate::identity::{Identity, StoreRef, Target, TaskId};
use crate::oci::{Descriptor, MAX_METADATA, Manifest, media};
use crate::store::Store;

/// A publish that is about to happen.
pub(crate) struct Intent<'a> {
    pub(crate) app: &'a App,
    pub(crate) store: &'a dyn Store,
    pub(crate) name: &'a StoreRef,
    /// The task that is to be moved.
    pub(crate) task: &'a TaskId,
    /// What its tag points at.
    pub(crate) before: Option<&'a Descriptor>,
    /// The workspace that is published, where it is one.
    pub(crate) origin: Option<&'a Pin>,
    /// Otherwise what the checkout published last as this task, as far as this
    /// machine knows; and what it was about to, where that was cut short.
    pub(crate) remembered: &'a [Digest],
    /// The task that a fork leaves alone.
    pub(crate) forked: Option<&'a TaskId>,
    /// Whether somebody may be asked.
    pub(crate) ask: bool,
}

/// Where a publish goes.
pub(crate) enum Course {
    /// The task's tag moves. A line goes that the checkout went on from.
    Over { parent: Option<Digest>, line: Option<Box<Line>> },
    /// Beside what the task is now; on a line that is the checkout's already.
    Beside { parent: Option<Digest>, line: Option<Box<Line>>, theirs: String },
}

impl Course {
    /// What the new identity continues.
    pub(crate) fn parent(&self) -> Option<Digest> {
        match self {
            Course::Over { parent, .. } | Course::Beside { parent, .. } => *parent,
        }
    }
}

/// What the developer wants to be done where the task has moved.
enum CourseWish {
    /// Both states stay, side by side.
    Beside,
    /// This one takes the place of the other.
    Over,
    /// Nothing is published.
    Nothing,
}

impl Intent<'_> {
    /// Where it goes.
    ///
    /// # Errors
    /// [`crate::error::Kind::Policy`] when the task has moved since, and somebody
    /// does not want to publish over what it is now.
    pub(crate) fn course(&self) -> Result<Course> {
        let over = |parent| Ok(Course::Over { parent, line: None });
        let origin = self.origin.filter(|pin| pin.store == self.name.to_string());
        if let Some(forked) = self.forked {
            if self.before.is_some() {
                return Err(usage(format!("there is a task {} in {} already", self.task, self.name))
                    .hint("name a task that does not exist yet: --fork NEW-TASK")
                    .into());
            }
            let current = || self.store.resolve(forked.as_str());
            return match origin {
                Some(pin) => over(Some(pin.latest())),
                None => match current()? {
                    Some(descriptor) => over(Some(self.read(forked, &descriptor)?.0)),
                    None => Err(usage(format!("there is no task {forked} in {} to fork", self.name)).into()),
                },
            };
        }
        let own = origin.and_then(|pin| self.continued(pin));
        // One that was removed meanwhile goes on; one that is new begins.
        let Some(before) = self.before else { return over(own) };
        let (current, theirs) = self.read(self.task, before)?;
        let known: Vec<Digest> = own.iter().chain(self.remembered).copied().collect();
        if known.contains(&current) {
            return over(Some(current));
        }
        let located = Located { store: self.name.clone(), target: Target::Task(self.task.clone()) };
        let mut lines = lines(self.app, self.store, &located)?.into_iter();
        let line = lines.find(|line| known.contains(&line.digest)).map(Box::new);
        let parent = line.as_ref().map(|line| line.digest).or(known.first().copied());
        let beside = |line| Course::Beside { parent, line, theirs: self.side(current, &theirs) };
        let here = self.here(origin, known.first());
        match self.wish(&here, &self.side(current, &theirs))? {
            CourseWish::Over => {
                Ok(Course::Over { parent: Some(line.as_ref().map_or(current, |line| line.digest)), line })
            }
            CourseWish::Nothing => Err(self.moved(origin, known.first(), here, current, &theirs)),
            CourseWish::Beside => Ok(beside(line)),
        }
    }

    /// What the developer wants to be done about a task that has moved: `here` and `now`
    /// say what both are. Where nobody can be asked, both stay.
    fn wish(&self, here: &str, now: &str) -> Result<CourseWish> {
        let (ui, options) = (self.app.ui, &self.app.options);
        match (options.yes, options.interactive) {
            _ if !self.ask => return Ok(CourseWish::Beside),
            (true, _) => return Ok(CourseWish::Over),
            (false, false) => return Ok(CourseWish::Beside),
            (false, true) => {}
        }
        ui.status("Moved", &format!("{} is not what this checkout has seen of it", self.task));
        ui.status("", here);
        ui.status("", &format!("the task now: {now}"));
        let answers = [
            "beside: publish this next to it; both are there to enter",
            "replace: make this what the task is; the other stays in its history",
            "stop: publish nothing",
        ];
        Ok(match ui.choose("What do you want to do?", &answers)? {
            Some(0) => CourseWish::Beside,
            Some(1) => CourseWish::Over,
            _ => CourseWish::Nothing,
        })
    }

    /// What a workspace must find to go on from: what was last published from it as
    /// this task, or what it was made from, where that is of this task.
    fn continued(&self, pin: &Pin) -> Option<Digest> {
        let made_from = || {
            let identity = self.app.pins().identity(&pin.identity).ok().flatten();
            identity.filter(|identity| identity.task_id == *self.task).map(|_| pin.identity)
        };
        pin.continues(self.task.as_str()).or_else(made_from)
    }

    fn read(&self, task: &TaskId, descriptor: &Descriptor) -> Result<(Digest, Identity)> {
        let manifest = Manifest::parse(&self.store.read_small(descriptor, MAX_METADATA)?)?;
        if manifest.artifact_type.as_deref() != Some(media::IDENTITY) {
            return Err(integrity(format!("the tag {task} of this store is in use by something else"))
                .hint("choose another task ID")
                .into());
        }
        let located = Located { store: self.name.clone(), target: Target::Task(task.clone()) };
        let (artifact, identity) = read_at(self.store, &located, descriptor)?;
        Ok((Digest::of(&artifact.identity), identity))
    }

    /// What the checkout is, in the same words.
    fn here(&self, pin: Option<&Pin>, ours: Option<&Digest>) -> String {
        let known = |ours: &Digest| match self.app.pins().identity(ours).ok().flatten() {
            Some(identity) => self.side(*ours, &identity),
            None => ours.to_string(),
        };
        match (pin, ours) {
            (Some(pin), Some(ours)) => {
                format!("this workspace: entered {}, {}", age(pin.pinned_at, self.app.clock.now()), known(ours))
            }
            (None, Some(ours)) => format!("this checkout: {}", known(ours)),
            (_, None) => "this checkout: it has neither published nor entered the task".into(),
        }
    }

    fn moved(
        &self,
        pin: Option<&Pin>,
        ours: Option<&Digest>,
        here: String,
        current: Digest,
        theirs: &Identity,
    ) -> anyhow::Error {
        let quoted = quote(&format!("{}:{}", self.name, self.task));
        let (since, way) = match (pin, ours) {
            (Some(_), Some(_)) => {
                ("since this workspace was made from it", "take theirs, which sets this workspace aside")
            }
            (None, Some(_)) => ("since this checkout published it", "go on from theirs, in a workspace"),
            (_, None) => ("beyond what this checkout has seen", "go on from theirs, in a workspace"),
        };
        let both = ours.map_or_else(String::new, |ours| {
            format!("; or look at both: envctl diff {} {quoted}", quote(&format!("{}@{ours}", self.name)))
        });
        let fault = policy(format!("{} has moved {since}; nothing was published", self.task)).hint(format!(
            "publish beside it: answer beside, or add --no-input; or --fork NEW-TASK{both}; or {way}: envctl enter {quoted} --refresh",
        ));
        anyhow::Error::new(failure(format!("the task now: {}", self.side(current, theirs))))
            .context(here)
            .context(fault)
    }

    fn side(&self, digest: Digest, identity: &Identity) -> String {
        let who = identity.agent_identity.as_ref().map_or_else(String::new, |agent| format!(" by {agent}"));
        let when = age(identity.created_at, self.app.clock.now());
        let (status, commit) = (identity.handoff.status, identity.repo.commit.short());
        let message = identity.handoff.message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
        format!("published{who} {when}, {status}, commit {commit}, {digest}{message}")
    }
}
