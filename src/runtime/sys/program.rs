//! Exchanging the file behind the program that this process runs, while it
//! runs, and executing another through a descriptor.

use std::ffi::{CStr, CString};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::check;

/// Addresses of the parts of the running program that its loader or it itself
/// may have written to.
pub(in super::super) fn written_segments() -> Vec<Range<usize>> {
    // SAFETY: asks for entries of the auxiliary vector, which is read-only.
    let (headers, count) = unsafe { (libc::getauxval(libc::AT_PHDR) as usize, libc::getauxval(libc::AT_PHNUM)) };
    let headers = std::ptr::with_exposed_provenance::<libc::Elf64_Phdr>(headers);
    let count = usize::try_from(count).unwrap_or(0);
    if headers.is_null() || count == 0 {
        return Vec::new();
    }
    // SAFETY: the kernel tells where the program's own headers are mapped and
    // how many there are, getauxval(3); they are never unmapped.
    let headers = unsafe { std::slice::from_raw_parts(headers, count) };
    let own = headers.as_ptr() as usize;
    let named = headers.iter().find(|header| header.p_type == libc::PT_PHDR).map_or(0, |header| header.p_vaddr);
    let base = own.wrapping_sub(named as usize);
    let written = headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W != 0);
    written
        .map(|header| {
            let start = base.wrapping_add(header.p_vaddr as usize);
            start..start.wrapping_add(header.p_memsz as usize)
        })
        .collect()
}

/// A mapping of this process.
pub(in super::super) struct ProgramMapping {
    pub(in super::super) addresses: Range<usize>,
    /// `PROT_*`.
    pub(in super::super) protection: libc::c_int,
    /// Where in the file it begins.
    pub(in super::super) offset: u64,
}

/// Maps the same part of `file` where another file's was.
///
/// The content must be the same to the byte, because this process goes on to
/// run it, and nothing in it may have been written to.
pub(in super::super) fn map_over(mapped: &ProgramMapping, file: BorrowedFd<'_>) -> io::Result<()> {
    let offset = libc::off_t::try_from(mapped.offset).map_err(io::Error::other)?;
    let start = std::ptr::with_exposed_provenance_mut(mapped.addresses.start);
    // SAFETY: replaces a private mapping of a file by one of equal content and
    // protection, in one step: whoever reads or runs it sees no difference.
    let result = unsafe {
        libc::mmap(
            start,
            mapped.addresses.len(),
            mapped.protection,
            libc::MAP_PRIVATE | libc::MAP_FIXED,
            file.as_raw_fd(),
            offset,
        )
    };
    if result == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Replaces a mapping by memory with the same content.
///
/// This process must have one thread.
pub(in super::super) fn copy_over(mapped: &ProgramMapping) -> io::Result<()> {
    let length = mapped.addresses.len();
    let start: *mut libc::c_void = std::ptr::with_exposed_provenance_mut(mapped.addresses.start);
    // All of it is written to at once.
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
    // SAFETY: the copy is memory of its own until it takes the place of what it
    // is a copy of. Nothing else runs in between that could write there, and
    // the kernel exchanges both in one step.
    unsafe {
        let copy = libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        if copy == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        std::ptr::copy_nonoverlapping(start.cast::<u8>(), copy.cast::<u8>(), length);
        check(libc::mprotect(copy, length, mapped.protection).into())?;
        let moved = libc::mremap(copy, length, length, libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, start);
        if moved == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// `struct prctl_mm_map` of `linux/prctl.h`.
#[repr(C)]
struct MemoryMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// Makes `file` what `/proc/self/exe` leads to, `PR_SET_MM_MAP(2const)`. No
/// part of the file before may be mapped any more. `stat` is the content of
/// `/proc/self/stat`.
pub(in super::super) fn set_program(stat: &str, file: BorrowedFd<'_>) -> io::Result<()> {
    // The name in parentheses may hold anything. Fields count from one.
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| {
        let text = fields.get(number - 3).copied().unwrap_or_default();
        text.parse::<u64>().map_err(|_| io::Error::other("/proc/self/stat cannot be read"))
    };
    // SAFETY: brk(2) with zero changes nothing and says where the heap ends.
    let brk = unsafe { libc::syscall(libc::SYS_brk, 0) };
    let map = MemoryMap {
        start_code: field(26)?,
        end_code: field(27)?,
        start_data: field(45)?,
        end_data: field(46)?,
        start_brk: field(47)?,
        brk: brk as u64,
        start_stack: field(28)?,
        arg_start: field(48)?,
        arg_end: field(49)?,
        env_start: field(50)?,
        env_end: field(51)?,
        auxv: 0,
        auxv_size: 0,
        exe_fd: file.as_raw_fd() as u32,
    };
    // SAFETY: everything but the file is as the kernel has just told it; the
    // structure and its true size are passed.
    check(
        unsafe {
            libc::prctl(
                libc::PR_SET_MM,
                libc::PR_SET_MM_MAP as libc::c_ulong,
                std::ptr::from_ref(&map),
                std::mem::size_of::<MemoryMap>() as libc::c_ulong,
                0 as libc::c_ulong,
            )
        }
        .into(),
    )?;
    Ok(())
}

/// Executes the file `name` in `folder`, `execveat(2)`; a link is not followed.
/// Returns only the failure.
pub(in super::super) fn execute(folder: impl AsFd, name: &CStr, words: &[CString], env: &[CString]) -> io::Error {
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (words, env) = (pointers(words), pointers(env));
    // SAFETY: both lists end with a null pointer, and they and their texts live
    // through the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            folder.as_fd().as_raw_fd(),
            name.as_ptr(),
            words.as_ptr(),
            env.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
        );
    }
    io::Error::last_os_error()
}
