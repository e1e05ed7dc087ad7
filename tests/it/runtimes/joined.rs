//! Several terminals in one runtime: who leaves first does not end the others
//! unasked, and what is typed at an end goes nowhere.

use rustix::termios::LocalModes;

use crate::support::{ImageBuilder, Lab, Terminal, in_time, until};

const SIZE: (u16, u16) = (24, 120);

/// Two shells in one runtime; the first is its owner's.
fn two(lab: &Lab) -> (Terminal, Terminal) {
    let task = lab.publish(&ImageBuilder::busybox());
    let mut first = Terminal::open(&lab.dev, &["enter", &task], SIZE);
    first.sees("$ ");
    // Without a command it is a shell.
    let script =
        format!("\"$0\" exec '{task}'; echo ended with $?; read -r line; echo \"the host's shell read: $line\"");
    let mut second = Terminal::shell(&lab.dev, &script, lab.dev.binary().to_str().unwrap());
    second.sees("$ ");
    (first, second)
}

fn leave(first: &mut Terminal) {
    first.types("exit 3\r");
    first.sees("1 other shell or command is joined");
    until("it is asked", || !first.modes().local_modes.contains(LocalModes::ICANON));
}

both!(who_leaves_first_may_wait_for_the_others);
fn who_leaves_first_may_wait_for_the_others(lab: Lab) {
    let (mut first, mut second) = two(&lab);
    leave(&mut first);
    first.types("\r");
    first.sees("until the others have left");
    second.types("echo still-$((1+1))\r");
    second.sees("still-2");
    second.types("exit 4\r");
    second.sees("ended with 4");
    second.types("\r");
    assert_eq!((first.ends(), second.ends()), (Some(3), Some(0)));
    lab.assert_baseline();
}

both!(ctrl_c_at_the_question_waits_too);
/// The same key ends the others only where it is pressed again.
fn ctrl_c_at_the_question_waits_too(lab: Lab) {
    let (mut first, mut second) = two(&lab);
    leave(&mut first);
    first.types("\x03");
    first.sees("until the others have left");
    second.types("echo still-$((1+1))\r");
    second.sees("still-2");
    first.types("\x03");
    second.sees("ended with 137");
    second.types("\r");
    assert_eq!((first.ends(), second.ends()), (Some(3), Some(0)));
    lab.assert_baseline();
}

#[test]
fn what_is_typed_at_an_end_that_nobody_asked_for_goes_nowhere() {
    // Only what is typed in the first moment: a busy machine may come too late for that.
    in_time(|_| {
        let lab = Lab::new();
        let (mut first, mut second) = two(&lab);
        leave(&mut first);
        first.types("\x1b[B");
        first.types("\r");
        assert_eq!(first.ends(), Some(3));
        second.types("rm -r everything\r");
        second.sees("ended with 137");
        second.types("on purpose\r");
        second.sees("the host's shell read: ");
        assert_eq!(second.ends(), Some(0));
        lab.assert_baseline();
        second.rest().starts_with("on purpose").then_some(())
    });
}

#[test]
fn nobody_is_asked_without_others_or_a_terminal() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let mut alone = Terminal::open(&lab.dev, &["enter", &task], SIZE);
    alone.sees("$ ");
    alone.types("exit 5\r");
    assert_eq!(alone.ends(), Some(5));
    assert!(!alone.rest().contains("joined"));
}

/// Words after the task are the command, with and without `--`.
#[test]
fn the_command_needs_no_dashes() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    assert_eq!(lab.dev.envctl(["enter", &task, "echo", "-n", "--json", "a"]).ok().stdout, "--json a");
    assert_eq!(lab.dev.envctl(["enter", "--quiet", &task, "--fresh", "--", "echo", "-n", "b"]).ok().stdout, "b");
    lab.dev.envctl(["enter", &task, "--no-such"]).code(2);
    lab.dev.envctl(["enter", "--no-runtime", &task, "true"]).code(2);
}
