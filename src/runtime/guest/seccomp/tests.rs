use super::*;

/// Runs the program as the kernel would.
fn verdict(architecture: u32, number: u32, arguments: [u32; 4]) -> u32 {
    run(&program(false), architecture, number, arguments)
}

fn run(program: &[sock_filter], architecture: u32, number: u32, arguments: [u32; 4]) -> u32 {
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
    let eperm = CallAnswer::Errno(libc::EPERM).code();
    let enosys = CallAnswer::Errno(libc::ENOSYS).code();
    for number in [libc::SYS_read, libc::SYS_execve, libc::SYS_ptrace, libc::SYS_chroot, libc::SYS_personality] {
        assert_eq!(asked(number, [0, 0]), libc::SECCOMP_RET_ALLOW, "{number}");
    }
    for number in REFUSED {
        assert_eq!(asked(*number, [0, 0]), eperm, "{number}");
    }
    assert_eq!(asked(libc::SYS_clone3, [0, 0]), enosys);
    assert_eq!(asked(libc::SYS_prlimit64, [1, libc::RLIMIT_NOFILE]), eperm, "pid 1 keeps its limits");
    assert_eq!(asked(libc::SYS_prlimit64, [0, libc::RLIMIT_NOFILE]), libc::SECCOMP_RET_ALLOW);
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
    let refused = CallAnswer::Errno(libc::EPERM).code();
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
    assert_eq!(asked(libc::SYS_openat2, [0, 0, 0, 0]), CallAnswer::Errno(libc::ENOSYS).code());
}

#[test]
fn case_35_nothing_can_be_typed_into_a_terminal() {
    assert_eq!(asked(libc::SYS_ioctl, [0, 0x5412]), CallAnswer::Errno(libc::EPERM).code());
    assert_eq!(asked(libc::SYS_ioctl, [0, libc::TIOCGWINSZ as u32]), libc::SECCOMP_RET_ALLOW);
}

#[test]
fn each_call_has_one_rule() {
    let mut numbers: Vec<_> =
        REFUSED.iter().chain(ABSENT).chain(CONDITIONAL.iter().map(|(number, ..)| number)).collect();
    let all = numbers.len();
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), all);
}

#[test]
fn flags_of_files_stay_as_they_are() {
    for request in REQUESTS {
        assert_eq!(asked(libc::SYS_ioctl, [0, *request]), CallAnswer::Errno(libc::EPERM).code(), "{request:x}");
    }
    // FS_IOC_GETFLAGS
    assert_eq!(asked(libc::SYS_ioctl, [0, 0x8008_6601]), libc::SECCOMP_RET_ALLOW);
}

#[test]
fn unusual_address_families_and_other_architectures() {
    for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK] {
        assert_eq!(asked(libc::SYS_socket, [family as u32, 0]), libc::SECCOMP_RET_ALLOW);
        assert_eq!(asked(libc::SYS_socketpair, [family as u32, 0]), libc::SECCOMP_RET_ALLOW);
    }
    for family in [libc::AF_VSOCK, libc::AF_ALG, libc::AF_PACKET, libc::AF_BLUETOOTH] {
        let refused = CallAnswer::Errno(libc::EAFNOSUPPORT).code();
        assert_eq!(asked(libc::SYS_socket, [family as u32, 0]), refused);
        assert_eq!(asked(libc::SYS_socketpair, [family as u32, 0]), refused);
    }
    let enosys = CallAnswer::Errno(libc::ENOSYS).code();
    assert_eq!(verdict(0x4000_0003, libc::SYS_read as u32, [0; 4]), enosys);
    assert_eq!(verdict(ARCHITECTURE, X32 | libc::SYS_read as u32, [0; 4]), enosys);
}

#[test]
fn pid_1_is_asked_about_folders_alone_and_only_where_it_wants_to_be() {
    let ask = CallAnswer::Ask.code();
    let program = program(true);
    let asked = |number: libc::c_long, arguments| run(&program, ARCHITECTURE, number as u32, arguments);
    for number in ASKED.iter().chain(MAKE_FOLDERS) {
        assert_eq!(asked(*number, [0; 4]), ask, "{number}");
        assert_eq!(verdict(ARCHITECTURE, *number as u32, [0; 4]), libc::SECCOMP_RET_ALLOW, "{number}");
    }
    assert_eq!(asked(libc::SYS_unlinkat, [0, 0, libc::AT_REMOVEDIR as u32, 0]), ask);
    assert_eq!(asked(libc::SYS_unlinkat, [0; 4]), libc::SECCOMP_RET_ALLOW);
    // What is refused is refused all the same.
    assert_eq!(asked(libc::SYS_mkdirat, [0, 0, 0o4755, 0]), CallAnswer::Errno(libc::EPERM).code());
    assert_eq!(asked(libc::SYS_mount, [0; 4]), CallAnswer::Errno(libc::EPERM).code());
    assert_eq!(asked(libc::SYS_openat, [0; 4]), libc::SECCOMP_RET_ALLOW);
}
