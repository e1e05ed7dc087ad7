//! The filter of system calls: what a program inside cannot ask the kernel
//! for, whatever its user. Everything else is allowed.
//!
//! Refused are: new namespaces and mounts (a user namespace of its own would
//! give a program all capabilities back), what reaches the machine as a whole
//! (modules, clocks, swap, reboot), kernel interfaces with a record of holes
//! that development does not need, keyrings, typing into a terminal, set-id
//! bits (a set-id file in a workspace would serve the other accounts of the
//! machine), and address families beyond the usual ones, among them vsock,
//! which is not bounded by any namespace.

use std::io;

use libc::sock_filter;

use crate::runtime::sys;

/// What is answered instead.
#[derive(Clone, Copy)]
enum Answer {
    Allow,
    Errno(i32),
}

impl Answer {
    fn code(self) -> u32 {
        match self {
            Answer::Allow => libc::SECCOMP_RET_ALLOW,
            Answer::Errno(errno) => libc::SECCOMP_RET_ERRNO | errno as u32,
        }
    }
}

/// The word of an argument that is looked at, and what it must be.
#[derive(Clone, Copy)]
enum Test {
    /// Any of these bits is set.
    Bits(u32),
    /// Any of these bits is set, and the flags in the argument of this number
    /// say that a file is made: without that the mode is whatever was in the
    /// register.
    Made(u32, u32),
    /// It is one of these.
    OneOf(&'static [u32]),
    /// It is none of these.
    NoneOf(&'static [u32]),
}

const NAMESPACES: u32 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP) as u32
    // CLONE_NEWTIME, for unshare(2) only.
    | 0x80;

/// Refused whatever their arguments are.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_setns,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_fanotify_init,
    libc::SYS_open_by_handle_at,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    QUOTACTL_FD,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_sysfs,
    #[cfg(target_arch = "x86_64")]
    libc::SYS__sysctl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];

/// Said not to exist, so that programs take their older way: the flags of
/// clone3, and the mode that openat2 gives to a new file, lie where a filter
/// cannot look.
const ABSENT: &[libc::c_long] = &[
    libc::SYS_clone3,
    libc::SYS_openat2,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// `S_ISUID` and `S_ISGID`, inode(7).
const SET_ID: u32 = 0o6000;

/// Flags of open(2) with which it makes a file: `O_CREAT`, and what `O_TMPFILE`
/// has beyond `O_DIRECTORY`.
const MAKES: u32 = (libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u32;

/// `fchmodat2(2)` and `quotactl_fd(2)`: the same numbers on every architecture.
const FCHMODAT2: libc::c_long = 452;
const QUOTACTL_FD: libc::c_long = 443;

/// Refused for some arguments: number, which argument, what it must be, answer.
const CONDITIONAL: &[(libc::c_long, u32, Test, i32)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, 1, Test::Bits(SET_ID), libc::EPERM),
    (libc::SYS_fchmod, 1, Test::Bits(SET_ID), libc::EPERM),
    (libc::SYS_fchmodat, 2, Test::Bits(SET_ID), libc::EPERM),
    (FCHMODAT2, 2, Test::Bits(SET_ID), libc::EPERM),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, 1, Test::Bits(SET_ID), libc::EPERM),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, 1, Test::Bits(SET_ID), libc::EPERM),
    (libc::SYS_mkdirat, 2, Test::Bits(SET_ID), libc::EPERM),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, 1, Test::Bits(SET_ID), libc::EPERM),
    (libc::SYS_mknodat, 2, Test::Bits(SET_ID), libc::EPERM),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 2, Test::Made(1, SET_ID), libc::EPERM),
    (libc::SYS_openat, 3, Test::Made(2, SET_ID), libc::EPERM),
    (libc::SYS_clone, 0, Test::Bits(NAMESPACES & !0x80), libc::EPERM),
    (libc::SYS_unshare, 0, Test::Bits(NAMESPACES), libc::EPERM),
    // TIOCSTI and TIOCLINUX.
    (libc::SYS_ioctl, 1, Test::OneOf(&[0x5412, 0x541c]), libc::EPERM),
    (
        libc::SYS_socket,
        0,
        Test::NoneOf(&[libc::AF_UNIX as u32, libc::AF_INET as u32, libc::AF_INET6 as u32, libc::AF_NETLINK as u32]),
        libc::EAFNOSUPPORT,
    ),
];

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
#[cfg(target_arch = "riscv64")]
const ARCHITECTURE: u32 = 0xc000_00f3;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Numbers from here on are those of the x32 ABI.
const X32: u32 = 0x4000_0000;

fn load(offset: u32) -> sock_filter {
    sock_filter { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k: offset }
}

fn jump(kind: u32, k: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter { code: (libc::BPF_JMP | kind | libc::BPF_K) as u16, jt: yes, jf: no, k }
}

fn answer(answer: Answer) -> sock_filter {
    sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: answer.code() }
}

/// What is to be done about one call.
enum Rule {
    Answer(Answer),
    Look(u32, Test, i32),
}

/// The instructions that answer once the number is known.
fn body(rule: &Rule) -> Vec<sock_filter> {
    let (argument, test, errno) = match rule {
        Rule::Answer(reply) => return vec![answer(*reply)],
        Rule::Look(argument, test, errno) => (argument, test, errno),
    };
    let refuse = Answer::Errno(*errno);
    // The low word: all of these are 32 bits wide, or have nothing above.
    let mut body = vec![load(ARGUMENTS + 8 * argument)];
    match test {
        Test::Bits(bits) => body.extend([jump(libc::BPF_JSET, *bits, 0, 1), answer(refuse)]),
        Test::Made(flags, bits) => body.extend([
            jump(libc::BPF_JSET, *bits, 0, 3),
            load(ARGUMENTS + 8 * flags),
            jump(libc::BPF_JSET, MAKES, 0, 1),
            answer(refuse),
        ]),
        Test::OneOf(values) => {
            for value in *values {
                body.extend([jump(libc::BPF_JEQ, *value, 0, 1), answer(refuse)]);
            }
        }
        Test::NoneOf(values) => {
            for value in *values {
                body.extend([jump(libc::BPF_JEQ, *value, 0, 1), answer(Answer::Allow)]);
            }
            return [body, vec![answer(refuse)]].concat();
        }
    }
    // Nothing else is to be looked at for this call.
    body.push(answer(Answer::Allow));
    body
}

/// Finds the number among the sorted calls by halves: the kernel walks the
/// program once for each system call that there is when it is put on, so its
/// depth is what starting costs.
fn search(calls: &[(u32, Rule)]) -> Vec<sock_filter> {
    match calls {
        [] => vec![answer(Answer::Allow)],
        [(number, rule)] => {
            let body = body(rule);
            let next = [jump(libc::BPF_JEQ, *number, 0, body.len() as u8)];
            [&next[..], &body, &[answer(Answer::Allow)]].concat()
        }
        _ => {
            let (low, high) = calls.split_at(calls.len() / 2);
            let (first, low, high) = (high[0].0, search(low), search(high));
            // A jump that depends on something goes no farther than 255.
            let (near, always) = (u8::try_from(low.len()), libc::BPF_JMP | libc::BPF_JA);
            let next = match near {
                Ok(length) => vec![jump(libc::BPF_JGE, first, length, 0)],
                Err(_) => vec![
                    jump(libc::BPF_JGE, first, 0, 1),
                    sock_filter { code: always as u16, jt: 0, jf: 0, k: low.len() as u32 },
                ],
            };
            [next, low, high].concat()
        }
    }
}

/// The program, in classic BPF as `seccomp(2)` takes it.
fn program() -> Vec<sock_filter> {
    let absent = Answer::Errno(libc::ENOSYS);
    // Another architecture's numbers mean other calls.
    let mut program = vec![load(ARCH), jump(libc::BPF_JEQ, ARCHITECTURE, 1, 0), answer(absent), load(NUMBER)];
    program.extend([jump(libc::BPF_JGE, X32, 0, 1), answer(absent)]);
    let mut calls: Vec<(u32, Rule)> = Vec::with_capacity(REFUSED.len() + ABSENT.len() + CONDITIONAL.len());
    calls.extend(REFUSED.iter().map(|number| (*number as u32, Rule::Answer(Answer::Errno(libc::EPERM)))));
    calls.extend(ABSENT.iter().map(|number| (*number as u32, Rule::Answer(absent))));
    calls.extend(CONDITIONAL.iter().map(|(number, at, test, errno)| (*number as u32, Rule::Look(*at, *test, *errno))));
    calls.sort_by_key(|(number, _)| *number);
    program.extend(search(&calls));
    program
}

/// Puts the filter on this process and all that come from it. Needs
/// `no_new_privs`.
pub(crate) fn apply() -> io::Result<()> {
    sys::set_seccomp_filter(&program())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    fn verdict(architecture: u32, number: u32, arguments: [u32; 4]) -> u32 {
        let program = program();
        let (mut at, mut word) = (0, 0u32);
        loop {
            let step = program[at];
            at += 1;
            let code = u32::from(step.code);
            match code & 0x07 {
                libc::BPF_LD => {
                    word = match step.k {
                        NUMBER => number,
                        ARCH => architecture,
                        at if at >= ARGUMENTS => arguments[(at - ARGUMENTS) as usize / 8],
                        other => panic!("offset {other}"),
                    };
                }
                libc::BPF_JMP => {
                    let yes = match code & 0xf0 {
                        libc::BPF_JEQ => word == step.k,
                        libc::BPF_JGE => word >= step.k,
                        libc::BPF_JSET => word & step.k != 0,
                        libc::BPF_JA => {
                            at += step.k as usize;
                            continue;
                        }
                        other => panic!("jump {other}"),
                    };
                    at += usize::from(if yes { step.jt } else { step.jf });
                }
                libc::BPF_RET => return step.k,
                other => panic!("class {other}"),
            }
        }
    }

    fn asked<const N: usize>(number: libc::c_long, arguments: [u32; N]) -> u32 {
        let mut all = [0; 4];
        all[..N].copy_from_slice(&arguments);
        verdict(ARCHITECTURE, number as u32, all)
    }

    #[test]
    fn ordinary_work_is_allowed_and_the_rest_is_not() {
        let eperm = Answer::Errno(libc::EPERM).code();
        let enosys = Answer::Errno(libc::ENOSYS).code();
        for number in [libc::SYS_read, libc::SYS_execve, libc::SYS_ptrace, libc::SYS_chroot, libc::SYS_personality] {
            assert_eq!(asked(number, [0, 0]), libc::SECCOMP_RET_ALLOW, "{number}");
        }
        for number in REFUSED {
            assert_eq!(asked(*number, [0, 0]), eperm, "{number}");
        }
        assert_eq!(asked(libc::SYS_clone3, [0, 0]), enosys);
        let thread = (libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND) as u32;
        assert_eq!(asked(libc::SYS_clone, [thread, 0]), libc::SECCOMP_RET_ALLOW);
        assert_eq!(asked(libc::SYS_clone, [thread | libc::CLONE_NEWUSER as u32, 0]), eperm);
        assert_eq!(asked(libc::SYS_unshare, [libc::CLONE_NEWNS as u32, 0]), eperm);
        assert_eq!(asked(libc::SYS_unshare, [libc::CLONE_FILES as u32, 0]), libc::SECCOMP_RET_ALLOW);
    }

    #[test]
    fn every_other_call_is_allowed() {
        let special: Vec<u32> = REFUSED.iter().chain(ABSENT).map(|number| *number as u32).collect();
        let allowed = (0..1000).filter(|number| !special.contains(number));
        let looked_at: Vec<u32> = CONDITIONAL.iter().map(|(number, ..)| *number as u32).collect();
        for number in allowed.filter(|number| !looked_at.contains(number)) {
            assert_eq!(verdict(ARCHITECTURE, number, [u32::MAX; 4]), libc::SECCOMP_RET_ALLOW, "{number}");
        }
    }

    #[test]
    fn no_call_that_takes_a_mode_sets_a_set_id_bit() {
        let refused = Answer::Errno(libc::EPERM).code();
        for bit in [0o4000, 0o2000, 0o6755] {
            for (number, arguments) in [
                (libc::SYS_fchmod, [0, bit, 0, 0]),
                (libc::SYS_fchmodat, [0, 0, bit, 0]),
                (FCHMODAT2, [0, 0, bit, 0]),
                (libc::SYS_mkdirat, [0, 0, bit, 0]),
                (libc::SYS_mknodat, [0, 0, bit, 0]),
                (libc::SYS_openat, [0, 0, libc::O_CREAT as u32 | 1, bit]),
                (libc::SYS_openat, [0, 0, libc::O_TMPFILE as u32 | 2, bit]),
            ] {
                assert_eq!(asked(number, arguments), refused, "{number} {bit:o}");
                let plain = arguments.map(|argument| if argument == bit { 0o1755 } else { argument });
                assert_eq!(asked(number, plain), libc::SECCOMP_RET_ALLOW, "{number}");
            }
        }
        // Without a file to make the mode means nothing.
        for flags in [0, libc::O_DIRECTORY as u32, libc::O_RDWR as u32 | libc::O_TRUNC as u32] {
            assert_eq!(asked(libc::SYS_openat, [0, 0, flags, 0o6755]), libc::SECCOMP_RET_ALLOW);
        }
        assert_eq!(asked(libc::SYS_openat2, [0, 0, 0, 0]), Answer::Errno(libc::ENOSYS).code());
    }

    #[test]
    fn case_35_nothing_can_be_typed_into_a_terminal() {
        assert_eq!(asked(libc::SYS_ioctl, [0, 0x5412]), Answer::Errno(libc::EPERM).code());
        assert_eq!(asked(libc::SYS_ioctl, [0, libc::TIOCGWINSZ as u32]), libc::SECCOMP_RET_ALLOW);
    }

    #[test]
    fn unusual_address_families_and_other_architectures() {
        for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK] {
            assert_eq!(asked(libc::SYS_socket, [family as u32, 0]), libc::SECCOMP_RET_ALLOW);
        }
        for family in [libc::AF_VSOCK, libc::AF_ALG, libc::AF_PACKET, libc::AF_BLUETOOTH] {
            assert_eq!(asked(libc::SYS_socket, [family as u32, 0]), Answer::Errno(libc::EAFNOSUPPORT).code());
        }
        let enosys = Answer::Errno(libc::ENOSYS).code();
        assert_eq!(verdict(0x4000_0003, libc::SYS_read as u32, [0; 4]), enosys);
        assert_eq!(verdict(ARCHITECTURE, X32 | libc::SYS_read as u32, [0; 4]), enosys);
    }
}
