//! Published ports, by both families, of several runtimes at once.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::Value;

use crate::support::{Alive, ImageBuilder, Lab, until};

fn serve(text: &str) -> String {
    format!("mkdir -p /tmp/www; echo {text} >/tmp/www/index.html; httpd -p 3000 -h /tmp/www")
}

fn get(address: &str, port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((address, port))?;
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// The host's port of port 3000 inside.
fn port(lab: &Lab, task: &str) -> u16 {
    let ports = lab.dev.envctl(["ports", "ls", "--json", task]).ok().json();
    let found = ports["ports"].as_array().unwrap().iter().find(|port| port["inside"] == 3000);
    found.unwrap_or_else(|| panic!("{ports}"))["host"].as_u64().unwrap() as u16
}

/// The inode numbers of the sockets that listen on a published port. Its number
/// may be somebody else's as soon as it is free.
#[track_caller]
fn sockets(lab: &Lab, port: u16) -> Vec<u64> {
    let leases = fs::read_dir(lab.dev.state().join("leases")).unwrap().flatten();
    let leases = leases.map(|lease| serde_json::from_slice::<Value>(&fs::read(lease.path()).unwrap()).unwrap());
    let ports: Vec<Value> = leases.flat_map(|lease| lease["ports"].as_array().unwrap().clone()).collect();
    let found = ports.iter().find(|published| published["host"] == port).expect("it is published");
    let sockets: Vec<u64> = found["sockets"].as_array().unwrap().iter().map(|inode| inode.as_u64().unwrap()).collect();
    assert!(sockets.len() == 2 && !closed(&sockets), "{sockets:?}");
    sockets
}

fn closed(sockets: &[u64]) -> bool {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap());
    let inode = |line: &str| line.split_whitespace().nth(9).and_then(|inode| inode.parse().ok());
    !tables.iter().flat_map(|table| table.lines().filter_map(inode)).any(|inode: u64| sockets.contains(&inode))
}

both!(two_servers_on_port_3000_at_once);
fn two_servers_on_port_3000_at_once(lab: Lab) {
    let image = ImageBuilder::busybox();
    let (one, two) = (lab.publish(&image), lab.publish(&image));
    let first = Alive::start_with(&lab, &["--publish", "3000"], &one, &serve("first"));
    let second = Alive::start_with(&lab, &["-p", "3000"], &two, &serve("second"));
    let ports = [port(&lab, &one), port(&lab, &two)];
    assert_ne!(ports[0], ports[1]);
    let sockets = ports.map(|port| sockets(&lab, port));
    for address in ["127.0.0.1", "::1"] {
        assert!(get(address, ports[0]).unwrap().ends_with("\r\n\r\nfirst\n"));
        assert!(get(address, ports[1]).unwrap().ends_with("\r\n\r\nsecond\n"));
    }
    let told = lab.dev.envctl(["exec", &one, "--", "sh", "-c", "echo $ENVCTL_PORT_3000"]).ok();
    assert_eq!(told.stdout.trim(), ports[0].to_string());
    let status = lab.dev.envctl(["status"]).ok().stdout;
    assert!(status.contains(&format!("3000 inside is localhost:{}", ports[1])), "{status}");
    let reset = lab.dev.envctl(["reset", "--json", &one]).ok().json();
    assert_eq!(reset["receipts"][0]["ports"]["left"], 0, "{reset}");
    // The server inside, and the host's two sockets.
    assert!(reset["receipts"][0]["ports"]["removed"].as_u64().unwrap() >= 2, "{reset}");
    assert!(closed(&sockets[0]));
    assert!(get("127.0.0.1", ports[1]).unwrap().contains("second"), "the other one goes on");
    first.marker.assert_gone();
    // Nobody cleans up after this owner; its ports are closed all the same.
    second.kill_owner().assert_gone();
    until("the ports are closed", || closed(&sockets[1]));
}

both!(more_ports_of_a_running_runtime);
fn more_ports_of_a_running_runtime(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let alive = Alive::start(&lab, &task, &serve("late"));
    let none = lab.dev.envctl(["ports", "ls", "--json", &task]).ok().json();
    assert_eq!(none["ports"], serde_json::json!([]));
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let fixed = format!("3000={free}");
    let added = lab.dev.envctl(["ports", "add", &task, &fixed, "3001"]).ok().stdout;
    assert!(added.contains("3001") && added.lines().last().unwrap().ends_with("nothing listens inside"), "{added}");
    assert!(added.contains(&format!("3000   localhost:{free}")), "{added}");
    assert!(get("::1", free).unwrap().contains("late"));
    lab.dev.envctl(["ports", "add", &task, &fixed]).ok();
    // Nobody listens there inside: the connection ends without a byte.
    let ports = lab.dev.envctl(["ports", "ls", "--json", &task]).ok().json();
    let idle = ports["ports"][1]["host"].as_u64().unwrap() as u16;
    assert!(!get("127.0.0.1", idle).is_ok_and(|text| !text.is_empty()));
    lab.dev.envctl(["ports", "add", &task, "3000=1"]).code(2).says(&["published already"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let wanted = format!("3002={}", taken.local_addr().unwrap().port());
    lab.dev.envctl(["ports", "add", &task, &wanted]).code(1).says(&["in use", "hint:"]);
    for bad in ["0", "x", "70000", "1=2=3"] {
        lab.dev.envctl(["ports", "add", &task, bad]).code(2);
    }
    // One that is published no longer is free, and no variable inside names it.
    lab.dev.envctl(["ports", "add", &task, "3005"]).ok();
    let short = lab.dev.envctl(["ports", "ls", "--json", &task]).ok().json()["ports"][2]["host"].as_u64().unwrap();
    let names = || lab.dev.envctl(["exec", &task, "--", "env"]).ok().stdout;
    assert!(names().contains(&format!("ENVCTL_PORT_3005={short}")));
    let left = lab.dev.envctl(["ports", "rm", &task, "3005"]).ok().stdout;
    assert!(left.lines().count() == 2 && !left.contains("3005"), "{left}");
    until("the port is free", || TcpListener::bind(("127.0.0.1", short as u16)).is_ok());
    assert!(!names().contains("ENVCTL_PORT_3005"));
    lab.dev.envctl(["ports", "rm", &task, "3005"]).code(2).says(&["is not published", "envctl ports ls"]);
    let sockets = [free, idle].map(|port| sockets(&lab, port)).concat();
    lab.dev.envctl(["reset", &task]).ok();
    assert!(closed(&sockets));
    drop(alive);
    lab.assert_baseline();
}

both!(much_goes_through_and_the_end_is_passed_on);
fn much_goes_through_and_the_end_is_passed_on(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let alive = Alive::start_with(&lab, &["-p", "3000"], &task, "nc -ll -p 3000 -e wc -c &");
    let host = port(&lab, &task);
    let bytes = vec![b'x'; 5 << 20];
    let count = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", host))?;
        stream.write_all(&bytes)?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let mut answer = String::new();
    until("somebody listens", || {
        answer = count().unwrap_or_default();
        !answer.is_empty()
    });
    assert_eq!(answer.trim(), bytes.len().to_string());
    alive.kill_owner().assert_gone();
}

both!(the_forwarder_cannot_be_looked_into);
/// The forwarder holds sockets of the host; nobody inside gets at them.
fn the_forwarder_cannot_be_looked_into(lab: Lab) {
    for user in ["dev", "0"] {
        let task = lab.publish(&ImageBuilder::busybox().user(user));
        let alive = Alive::start_with(&lab, &["-p", "3000"], &task, "");
        let script = "for process in /proc/[0-9]*; do
            case $process in /proc/1|/proc/$$|/proc/self) continue;; esac
            grep -q envctl $process/cmdline || continue
            ls -l $process/fd/ $process/root $process/ns/net 2>&1 | grep -e '->' && echo looked; done; :";
        let looked = lab.dev.envctl(["exec", &task, "--", "sh", "-c", script]).ok().stdout;
        assert!(!looked.contains("looked"), "{looked}");
        alive.kill_owner().assert_gone();
    }
}
