//! What the patterns take for secrets, and people do not: measures that hold
//! for any project, counted over large source trees (`tests/secret-alarms`).

use super::candidate::Candidate;

/// Whether what follows a name, such as `token = ...`, is code and no secret.
/// Only rules that know a secret by the name in front of it are doubted.
pub(super) fn is_code(text: &[u8], found: &Candidate) -> bool {
    let secret = &text[found.secret.clone()];
    is_made_of_words(secret) || is_expression(secret)
}

/// Whether it is an example, or only names something. A rule that knows the
/// service knows better.
pub(super) fn is_no_secret(text: &[u8], found: &Candidate) -> bool {
    let secret = &text[found.secret.clone()];
    let name = &text[found.whole.start..found.secret.start];
    counts_up(secret)
        || names_an_id(name)
        || (is_uuid(secret) && !says_secret(name))
        || (is_digest(secret) && is_file(name))
}

/// Whether a private key's armour holds a key: documentation and error texts
/// quote its first and last line.
pub(super) fn holds_a_key(armour: &[u8]) -> bool {
    let is_data = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let runs = armour.split(|byte| !is_data(byte)).map(<[u8]>::len).filter(|length| *length >= 32);
    runs.sum::<usize>() >= 64
}

/// The 150 most frequent pairs of letters in the words of source code.
const PAIRS: &[u8] =
    b"aa ab ac ad ag ai al am an ap ar as at au ba be bl ca ce ch ci ck cl co cr ct da dd de di do ds \
    ea ec ed ee ef el em en ep er es et ex fe ff fi fo ge gr ha he hi ho ia ic id ie ig il im in io ir is it iv iz ke \
    la ld le li ll lo lt ly ma me mi mo mp na nc nd ne ng ni no ns nt oc od ol om on oo op or os ot ou pa pe pi pl po \
    pr pt qu ra rd re ri rm ro rr rs rt sa sc se sh si so sp ss st su ta te th ti to tr ts tt tu ty ub ul um un ur us \
    ut va ve zz";

/// Identifiers of code: mostly letters, in the pairs of words. Of random
/// values with 16 characters one in a hundred looks like that, of those with
/// 32 one in a thousand.
fn is_made_of_words(value: &[u8]) -> bool {
    let letters = value.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    let counted = value.iter().filter(|byte| byte.is_ascii_alphanumeric()).count();
    let mut pairs = 0;
    let mut common = 0;
    for pair in value.windows(2) {
        let begins_word = pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase();
        if pair.iter().all(u8::is_ascii_alphabetic) && !begins_word {
            let lower = [pair[0].to_ascii_lowercase(), pair[1].to_ascii_lowercase()];
            pairs += 1;
            common += usize::from(PAIRS.chunks(3).any(|known| known[..2] == lower));
        }
    }
    pairs >= 5 && common * 3 >= pairs * 2 && letters * 10 >= counted * 6
}

/// `object.member` of code, whose object has a short name in small letters.
fn is_expression(value: &[u8]) -> bool {
    let mut parts = value.split(|byte| *byte == b'.');
    let object = parts.next().unwrap_or_default();
    let short = (1..=12).contains(&object.len()) && object.iter().all(|byte| !byte.is_ascii_uppercase());
    let begins = |part: &[u8]| part.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
    let mut members = parts.peekable();
    members.peek().is_some() && short && begins(object) && members.all(|part| begins(part) && part.len() <= 30)
}

/// `12345678`, `abcdef` and the like, as people write examples.
fn counts_up(value: &[u8]) -> bool {
    let mut steps = 0;
    value.windows(2).any(|pair| {
        let next = if pair[0] == b'9' { b'0' } else { pair[0].wrapping_add(1) };
        steps = if pair[1] == next { steps + 1 } else { 0 };
        steps >= 5
    })
}

/// The last word of a name says that the value only names something.
fn names_an_id(name: &[u8]) -> bool {
    let name = name.trim_ascii_end();
    let end = name.iter().rposition(u8::is_ascii_alphanumeric).map_or(0, |at| at + 1);
    let name = &name[..end];
    ["id", "ids", "arn", "alias", "hash", "digest", "fingerprint", "checksum"].iter().any(|word| {
        let Some(before) = name.len().checked_sub(word.len()) else { return false };
        let (rest, last) = name.split_at(before);
        // `KeyId`, `key_id`, `KEY ID`, but not `valid`.
        let own_word = last[0].is_ascii_uppercase() || rest.last().is_none_or(|byte| !byte.is_ascii_alphanumeric());
        own_word && last.eq_ignore_ascii_case(word.as_bytes())
    })
}

/// As long as a digest, in hexadecimal.
fn is_digest(value: &[u8]) -> bool {
    matches!(value.len(), 32 | 40 | 64 | 96 | 128) && value.iter().all(u8::is_ascii_hexdigit)
}

/// A name that ends like that of a file, `token.rs`: lists of checksums have
/// these. An ending such as `.key` may be the last part of a setting's name.
fn is_file(name: &[u8]) -> bool {
    let end = name.iter().rposition(u8::is_ascii_alphanumeric).map_or(0, |at| at + 1);
    let Some(dot) = name[..end].iter().rposition(|byte| *byte == b'.') else { return false };
    let ending = name[dot + 1..end].to_ascii_lowercase();
    let words: [&[u8]; 5] = [b"key", b"token", b"auth", b"api", b"creds"];
    (1..=5).contains(&ending.len()) && ending.iter().all(u8::is_ascii_alphanumeric) && !words.contains(&&ending[..])
}

fn is_uuid(value: &[u8]) -> bool {
    let dashes = [8, 13, 18, 23];
    value.len() == 36
        && value.iter().enumerate().all(
            |(at, byte)| {
                if dashes.contains(&at) { *byte == b'-' } else { byte.is_ascii_hexdigit() }
            },
        )
}

/// A token may be a mere handle; what is called a secret is one.
fn says_secret(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name).to_lowercase();
    ["secret", "passw", "api", "credential", "private"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn harmless(text: &str, secret: &str) -> bool {
        let start = text.find(secret).unwrap();
        let found = Candidate { whole: 0..text.len(), secret: start..start + secret.len() };
        is_code(text.as_bytes(), &found) || is_no_secret(text.as_bytes(), &found)
    }

    #[test]
    fn names_and_examples_are_no_secrets() {
        for (text, secret) in [
            ("key_attributes = nl80211_key_attributes", "nl80211_key_attributes"),
            ("Access = ICfnDomainNameAccessAssociation", "ICfnDomainNameAccessAssociation"),
            ("CustomKeyStoreId: cks-1a9f0c7e55d", "cks-1a9f0c7e55d"),
            ("Key ID: 7f3a9c51-12ab-94cd-56ef-8f2e6a7d9b0c", "7f3a9c51-12ab-94cd-56ef-8f2e6a7d9b0c"),
            ("ClientToken: 7f3a9c51-12ab-94cd-56ef-8f2e6a7d9b0c", "7f3a9c51-12ab-94cd-56ef-8f2e6a7d9b0c"),
            ("token = x9-1234567890q", "x9-1234567890q"),
            ("token.rs\":\"2d773be37adb1e4d683bf0075e79c4ee", "2d773be37adb1e4d683bf0075e79c4ee"),
            ("apiRef, cdk.ITggblV2x", "cdk.ITggblV2x"),
        ] {
            assert!(harmless(text, secret), "{text}");
        }
    }

    #[test]
    fn what_is_in_no_order_is_a_secret() {
        for (text, secret) in [
            ("token = k3J9xQ2mZr7Lp0Vw", "k3J9xQ2mZr7Lp0Vw"),
            ("key = 2d773be37adb1e4d683bf0075e79c4ee", "2d773be37adb1e4d683bf0075e79c4ee"),
            ("service.key: 2d773be37adb1e4d683bf0075e79c4ee", "2d773be37adb1e4d683bf0075e79c4ee"),
            ("api_key = 7f3a9c51-12ab-94cd-56ef-8f2e6a7d9b0c", "7f3a9c51-12ab-94cd-56ef-8f2e6a7d9b0c"),
            ("is_valid_token = k3J9xQ2mZr7Lp0Vw", "k3J9xQ2mZr7Lp0Vw"),
        ] {
            assert!(!harmless(text, secret), "{text}");
        }
    }

    #[test]
    fn few_random_values_look_like_words() {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let lost = |length: usize| {
            let value = |n: usize| -> Vec<u8> {
                let hash = crate::digest::Digest::of(format!("{length} {n}").as_bytes()).hex();
                let bytes = crate::digest::unhex::<32>(&hash).unwrap();
                bytes[..length].iter().map(|byte| LETTERS[usize::from(*byte) % LETTERS.len()]).collect()
            };
            (0..5000).filter(|n| is_made_of_words(&value(*n))).count()
        };
        assert!(lost(16) < 100 && lost(32) < 10, "{} and {} of 5000", lost(16), lost(32));
    }

    #[test]
    fn armour_without_a_key() {
        let data = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7";
        assert!(holds_a_key(format!("BEGIN PRIVATE KEY\n{data}\n{data}\nEND PRIVATE KEY").as_bytes()));
        assert!(!holds_a_key(b"BEGIN PRIVATE KEY is how such a file begins, and END PRIVATE KEY is how it ends"));
    }
}
