//! A person at a terminal.

use crate::support::{ImageBuilder, Lab, Terminal};

both!(a_shell_like_any_other);
fn a_shell_like_any_other(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let mut terminal = Terminal::open(&lab.dev, &["enter", &task], (24, 80));
    let before = terminal.modes();
    terminal.sees("Entering");
    terminal.sees("$ ");
    terminal.types("echo size $(stty size)\r");
    terminal.sees("size 24 80");
    terminal.resize((50, 132));
    terminal.types("echo size $(stty size) in $ENVCTL_TASK with $TERM\r");
    let (_, name) = task.rsplit_once(':').unwrap();
    terminal.sees(&format!("size 50 132 in {name} with xterm"));
    // Ctrl-C ends the command, not the shell.
    terminal.types("sh -c 'echo started-$((1+1)); sleep 1000'\r");
    terminal.sees("started-2");
    terminal.types("\x03");
    terminal.types("echo alive-$((2+3))\r");
    terminal.sees("alive-5");
    // Ctrl-Z stops it.
    terminal.types("sh -c 'echo started-$((3+4)); sleep 1000'\r");
    terminal.sees("started-7");
    terminal.types("\x1a");
    terminal.sees("Stopped");
    terminal.types("kill -9 %1; wait\r");
    terminal.types("exit 9\rexit 9\r");
    assert_eq!(terminal.ends(), Some(9));
    let after = terminal.modes();
    assert_eq!((before.local_modes, before.input_modes), (after.local_modes, after.input_modes));
    lab.assert_baseline();
}

both!(the_end_of_input_leaves);
fn the_end_of_input_leaves(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let mut terminal = Terminal::open(&lab.dev, &["enter", &task], (24, 80));
    terminal.sees("$ ");
    terminal.types("\x04");
    assert_eq!(terminal.ends(), Some(0));
    lab.assert_baseline();
}

both!(a_closed_window_leaves_nothing);
fn a_closed_window_leaves_nothing(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let mut terminal = Terminal::open(&lab.dev, &["enter", &task], (24, 80));
    terminal.sees("$ ");
    let marker = crate::support::Marker::new();
    terminal.types(&format!("(trap '' HUP; setsid sh -c 'sleep 1000; :' {} &); echo up-$((1+1))\r", marker.0));
    terminal.sees("up-2");
    crate::support::until("it runs", || !marker.processes().is_empty());
    let mut child = terminal.close();
    crate::support::until("envctl has ended", || child.try_wait().unwrap().is_some());
    marker.assert_gone();
    lab.dev.envctl(["status"]).ok();
    lab.assert_baseline();
}
