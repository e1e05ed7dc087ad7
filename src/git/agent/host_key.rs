//! Whether a server has signed with a host key: the kinds of keys that git servers
//! have (RFC 4253, RFC 5656, RFC 8332, RFC 8709). Certificates and others are unknown.

use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};

use super::packet::Parts;

/// Whether `signed`, in ssh's form, is the signature over `data` by the owner of `key`.
pub(super) fn has_signed(key: &[u8], signed: &[u8], data: &[u8]) -> bool {
    verified(key, signed, data).is_some()
}

fn verified(key: &[u8], signed: &[u8], data: &[u8]) -> Option<()> {
    let (mut key, mut signed) = (Parts(key), Parts(signed));
    let (kind, name, bytes) = (key.text()?, signed.text()?, signed.string()?);
    signed.end()?;
    match kind {
        "ssh-ed25519" => {
            let point = key.string()?;
            key.end()?;
            (name == kind).then_some(())?;
            UnparsedPublicKey::new(&signature::ED25519, point).verify(data, bytes).ok()
        }
        "ecdsa-sha2-nistp256" => curve(&signature::ECDSA_P256_SHA256_FIXED, 32, key, (name == kind, bytes), data),
        "ecdsa-sha2-nistp384" => curve(&signature::ECDSA_P384_SHA384_FIXED, 48, key, (name == kind, bytes), data),
        "ssh-rsa" => {
            let (e, n) = (key.large()?, key.large()?);
            key.end()?;
            let how = match name {
                "rsa-sha2-256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                "rsa-sha2-512" => &signature::RSA_PKCS1_2048_8192_SHA512,
                _ => return None,
            };
            let padded = [&vec![0; n.len().checked_sub(bytes.len())?][..], bytes].concat();
            RsaPublicKeyComponents { n, e }.verify(how, data, &padded).ok()
        }
        _ => None,
    }
}

/// The same for a point of a curve whose numbers have `size` bytes.
fn curve(
    how: &'static dyn VerificationAlgorithm,
    size: usize,
    mut key: Parts<'_>,
    (fits, bytes): (bool, &[u8]),
    data: &[u8],
) -> Option<()> {
    let (_name, point) = (key.string()?, key.string()?);
    key.end()?;
    fits.then_some(())?;
    let mut numbers = Parts(bytes);
    let mut both = Vec::new();
    for _ in 0..2 {
        let number = numbers.large()?;
        both.extend(vec![0; size.checked_sub(number.len())?]);
        both.extend(number);
    }
    numbers.end()?;
    UnparsedPublicKey::new(how, point).verify(data, &both).ok()
}
