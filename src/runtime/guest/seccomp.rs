//! The filter of system calls: what a program inside cannot ask the kernel
//! for, whatever its user. Everything else is allowed.
//!
//! Refused are: new namespaces and mounts (a user namespace of its own would
//! give a program all capabilities back), what reaches the machine as a whole
//! (modules, clocks, swap, reboot), kernel interfaces with a record of holes
//! that development does not need, keyrings, typing into a terminal, the
//! limits of pid 1, flags of files, set-id bits (a set-id file in a workspace would
//! serve the other accounts of the machine), and address families beyond the usual ones, among them vsock,
//! which is not bounded by any namespace.

use std::io;
use std::os::fd::OwnedFd;

use libc::sock_filter;

use crate::runtime::sys;

/// What is answered instead.
#[derive(Clone, Copy)]
enum CallAnswer {
    Allow,
    Errno(i32),
    /// Pid 1 is asked.
    Ask,
}

impl CallAnswer {
    fn code(self) -> u32 {
        match self {
            CallAnswer::Allow => libc::SECCOMP_RET_ALLOW,
            CallAnswer::Errno(errno) => libc::SECCOMP_RET_ERRNO | errno as u32,
            CallAnswer::Ask => libc::SECCOMP_RET_USER_NOTIF,
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

/// The families of sockets that programs may have.
const FAMILIES: &[u32] = &[libc::AF_UNIX as u32, libc::AF_INET as u32, libc::AF_INET6 as u32, libc::AF_NETLINK as u32];

/// Requests of ioctl(2) that type into a terminal, and those that change how the host's file
/// system treats a file or folder: with them, a folder would take `.GIT` for `.git`, be
/// encrypted with a key that is gone afterwards, or be counted for another project.
const REQUESTS: &[u32] = &[
    0x5412,      // TIOCSTI
    0x541c,      // TIOCLINUX
    0x4008_6602, // FS_IOC_SETFLAGS
    0x4004_6602, // FS_IOC32_SETFLAGS
    0x401c_5820, // FS_IOC_FSSETXATTR
    0x800c_6613, // FS_IOC_SET_ENCRYPTION_POLICY
    0xc050_6617, // FS_IOC_ADD_ENCRYPTION_KEY
    0x4080_6685, // FS_IOC_ENABLE_VERITY
];

/// Refused for some arguments: number, which argument, what it must be, answer. Each number
/// stands here once: the filter looks no further.
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
    (libc::SYS_ioctl, 1, Test::OneOf(REQUESTS), libc::EPERM),
    (libc::SYS_socket, 0, Test::NoneOf(FAMILIES), libc::EAFNOSUPPORT),
    (libc::SYS_socketpair, 0, Test::NoneOf(FAMILIES), libc::EAFNOSUPPORT),
    // The limits of pid 1, which has the account of the programs where that is root's no
    // more: without descriptors it could hear nobody.
    (libc::SYS_prlimit64, 0, Test::OneOf(&[1]), libc::EPERM),
];

/// With which folders are removed, moved and made: pid 1 is asked where a tree
/// may be in the way ([`super::places`]).
const ASKED: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(not(target_arch = "riscv64"))]
    libc::SYS_renameat,
    libc::SYS_renameat2,
];

/// The same, where they are asked about otherwise.
const MAKE_FOLDERS: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
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

fn answer(answer: CallAnswer) -> sock_filter {
    sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: answer.code() }
}

/// What is to be done about one call.
enum CallRule {
    Answer(CallAnswer),
    /// Which argument, what it must be, the answer then, and else.
    Look(u32, Test, CallAnswer, CallAnswer),
}

/// The instructions that answer once the number is known.
fn body(rule: &CallRule) -> Vec<sock_filter> {
    let (argument, test, refuse, otherwise) = match rule {
        CallRule::Answer(reply) => return vec![answer(*reply)],
        CallRule::Look(argument, test, refuse, otherwise) => (argument, test, *refuse, *otherwise),
    };
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
                body.extend([jump(libc::BPF_JEQ, *value, 0, 1), answer(otherwise)]);
            }
            return [body, vec![answer(refuse)]].concat();
        }
    }
    // Nothing else is to be looked at for this call.
    body.push(answer(otherwise));
    body
}

/// Finds the number among the sorted calls by halves: the kernel walks the
/// program once for each system call that there is when it is put on, so its
/// depth is what starting costs.
fn search(calls: &[(u32, CallRule)]) -> Vec<sock_filter> {
    match calls {
        [] => vec![answer(CallAnswer::Allow)],
        [(number, rule)] => {
            let body = body(rule);
            let next = [jump(libc::BPF_JEQ, *number, 0, body.len() as u8)];
            [&next[..], &body, &[answer(CallAnswer::Allow)]].concat()
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
fn program(asking: bool) -> Vec<sock_filter> {
    let absent = CallAnswer::Errno(libc::ENOSYS);
    // Another architecture's numbers mean other calls.
    let mut program = vec![load(ARCH), jump(libc::BPF_JEQ, ARCHITECTURE, 1, 0), answer(absent), load(NUMBER)];
    program.extend([jump(libc::BPF_JGE, X32, 0, 1), answer(absent)]);
    let mut calls: Vec<(u32, CallRule)> = Vec::with_capacity(REFUSED.len() + ABSENT.len() + CONDITIONAL.len());
    calls.extend(REFUSED.iter().map(|number| (*number as u32, CallRule::Answer(CallAnswer::Errno(libc::EPERM)))));
    calls.extend(ABSENT.iter().map(|number| (*number as u32, CallRule::Answer(absent))));
    calls.extend(CONDITIONAL.iter().map(|(number, at, test, errno)| {
        let asked = asking && MAKE_FOLDERS.contains(number);
        let otherwise = if asked { CallAnswer::Ask } else { CallAnswer::Allow };
        (*number as u32, CallRule::Look(*at, *test, CallAnswer::Errno(*errno), otherwise))
    }));
    if asking {
        calls.extend(ASKED.iter().map(|number| (*number as u32, CallRule::Answer(CallAnswer::Ask))));
        let folder = Test::Bits(libc::AT_REMOVEDIR as u32);
        calls.push((libc::SYS_unlinkat as u32, CallRule::Look(2, folder, CallAnswer::Ask, CallAnswer::Allow)));
    }
    calls.sort_by_key(|(number, _)| *number);
    program.extend(search(&calls));
    program
}

/// Puts the filter on this process and all that come from it. Needs
/// `no_new_privs`. With `asking`, gives the descriptor at which pid 1 is asked.
pub(crate) fn apply(asking: bool) -> io::Result<Option<OwnedFd>> {
    sys::set_seccomp_filter(&program(asking), asking)
}

#[cfg(test)]
mod tests;
