//! Between git's library and zlib. The library goes on to ask for the rest of a loose
//! object that ends too early, for ever (`git_zstream_get_output` of its `zstream.c`,
//! 1.9.7): a file that was cut by a full disk, or by a program in a workspace, would hold
//! up whoever looks. The linker leads its calls here (`--wrap=inflate`, see the build
//! script).

#![allow(unsafe_code)]

use std::ffi::c_int;

use libz_sys::{Z_BUF_ERROR, Z_DATA_ERROR, z_streamp};

unsafe extern "C" {
    fn __real_inflate(stream: z_streamp, flush: c_int) -> c_int;
}

/// `inflate` of zlib, but that it is an error to ask again where there is no more to read
/// and nothing came of it.
///
/// SAFETY: as zlib's own: the stream was made by `inflateInit`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_inflate(stream: z_streamp, flush: c_int) -> c_int {
    // SAFETY: whoever calls this hands over a stream of zlib's, for this call alone.
    unsafe {
        let (input, room) = ((*stream).avail_in, (*stream).avail_out);
        let code = __real_inflate(stream, flush);
        let is_stuck = code == Z_BUF_ERROR && input == 0 && room > 0 && (*stream).avail_out == room;
        if is_stuck { Z_DATA_ERROR } else { code }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    #[test]
    fn a_loose_object_that_ends_too_early_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let repo = git2::Repository::init(dir.path()).unwrap();
        let content: Vec<u8> = (0..100_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let blob = repo.blob(&content).unwrap().to_string();
        let path = repo.path().join("objects").join(&blob[..2]).join(&blob[2..]);
        let whole = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        for length in [0, 1, 10, 20, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            let again = git2::Repository::open(dir.path()).unwrap();
            assert!(again.find_blob(git2::Oid::from_str(&blob).unwrap()).is_err(), "{length}");
        }
        fs::write(&path, &whole).unwrap();
        let again = git2::Repository::open(dir.path()).unwrap();
        assert_eq!(again.find_blob(git2::Oid::from_str(&blob).unwrap()).unwrap().content(), content);
    }
}
