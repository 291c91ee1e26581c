//! Keys at rest: what is written opens again, and nothing else does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::*;
use crate::types::WallMs;

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(Zeroizing::new(text.into()), "the test").unwrap()
}

fn sealed(identity: &Identity) -> KeyFile {
    KeyFile::seal(identity, &passphrase("right"), KdfCost::weakest()).unwrap()
}

fn open(text: &str, words: &str, protection: Protection) -> Result<Identity, KeyError> {
    KeyFile::parse(text)?.open(protection, || Ok(passphrase(words)))
}

fn fault(outcome: Result<Identity, KeyError>) -> KeyError {
    outcome.expect_err("should have been refused")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn an_identity_is_named_by_its_public_key() {
    // The first key pair of RFC 8032, section 7.1.
    let seed = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
    let public = hex::decode("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").unwrap();
    let identity = Identity::from_seed(&seed.try_into().unwrap());
    assert_eq!(identity.node_id().as_bytes()[..], public);
    assert!(identity.node_id().to_string().starts_with("12D3Koo"));
    assert!(!format!("{identity:?}").contains("9d61b19d"), "the seed shows");
}

#[test]
fn a_sealed_key_survives_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/er/key.json");
    let identity = Identity::generate().unwrap();
    sealed(&identity).create(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    let loaded = Identity::load(&path, Protection::Required, || Ok(passphrase("right"))).unwrap();
    assert_eq!(loaded.seed(), identity.seed());
    let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "a temporary file is left: {left:?}");
}

#[test]
fn two_identities_and_two_seals_of_one_differ() {
    let identity = Identity::generate().unwrap();
    assert_ne!(identity.node_id(), Identity::generate().unwrap().node_id());
    assert_ne!(*sealed(&identity).to_json().unwrap(), *sealed(&identity).to_json().unwrap());
}

#[test]
fn the_default_cost_is_strong_and_written_down() {
    let KdfCost { memory_kib, passes, lanes } = KdfCost::default();
    assert_eq!((memory_kib, passes, lanes), (65_536, 3, 1));
    let json: serde_json::Value =
        serde_json::from_str(&sealed(&Identity::from_seed(&[7; 32])).to_json().unwrap()).unwrap();
    let fields: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(json["version"], 1);
    assert_eq!(json["kdf"]["name"], "argon2id");
    assert_eq!(json["kdf"]["memory_kib"], 8);
    assert_eq!(json["cipher"], "xchacha20poly1305");
    assert_eq!(json["ciphertext"].as_str().unwrap().len(), 96);
    assert_eq!(fields.len(), 6, "{fields:?}");
}

/// A file of the first version, for ever readable: seed 32 × 07, passphrase `right`. Computed with another argon2,
/// another ChaCha20-Poly1305 and an HChaCha20 written from the draft: the format is what it says it is.
const GOLDEN: &str = r#"{
  "version": 1,
  "node_id": "12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7",
  "kdf": {
    "name": "argon2id",
    "memory_kib": 8,
    "passes": 1,
    "lanes": 1,
    "salt": "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"
  },
  "cipher": "xchacha20poly1305",
  "nonce": "c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7",
  "ciphertext": "338549f32f9b5491cdf48ea1505d015829f77f213394e3f37387c8390e01c6be4756712327668fba9baf2a48fdff76ec"
}
"#;

#[test]
fn a_file_of_the_first_version_still_opens() {
    assert_eq!(*open(GOLDEN, "right", Protection::Required).unwrap().seed(), [7; 32]);
}

#[test]
fn a_wrong_passphrase_does_not_open() {
    let text = sealed(&Identity::from_seed(&[7; 32])).to_json().unwrap();
    for wrong in ["wrong", "Right", "right ", "righ", "right\n"] {
        assert!(matches!(fault(open(&text, wrong, Protection::Required)), KeyError::WrongPassphrase), "{wrong:?}");
    }
}

#[test]
fn no_flipped_bit_of_a_sealed_file_goes_unseen() {
    let text = sealed(&Identity::from_seed(&[7; 32])).to_json().unwrap();
    no_flipped_bit_goes_unseen(&text, Protection::Required);
}

#[test]
fn no_flipped_bit_of_a_plain_file_goes_unseen() {
    let text = KeyFile::plain(&Identity::from_seed(&[7; 32])).to_json().unwrap();
    no_flipped_bit_goes_unseen(&text, Protection::PlainAllowed);
}

fn no_flipped_bit_goes_unseen(text: &str, protection: Protection) {
    assert!(open(text, "right", protection).is_ok());
    for place in 0..text.trim_end().len() {
        for bit in 0..8 {
            let mut bytes = text.as_bytes().to_vec();
            bytes[place] ^= 1 << bit;
            let Ok(flipped) = String::from_utf8(bytes) else { continue };
            assert!(open(&flipped, "right", protection).is_err(), "bit {bit} of byte {place}: {flipped}");
        }
    }
}

#[test]
fn each_changed_field_is_refused_for_its_own_reason() {
    type Check = fn(&KeyError) -> bool;
    let malformed: Check = |e| matches!(e, KeyError::Malformed(_));
    let algorithm: Check = |e| matches!(e, KeyError::UnknownAlgorithm { .. });
    let cost: Check = |e| matches!(e, KeyError::Cost { .. });
    let closed: Check = |e| matches!(e, KeyError::WrongPassphrase);
    let other = format!("\"{}\"", Identity::from_seed(&[8; 32]).node_id());
    let upper = |json: &serde_json::Value| serde_json::json!(json.as_str().unwrap().to_uppercase()).to_string();
    let original: serde_json::Value = serde_json::from_str(GOLDEN).unwrap();
    let cases: Vec<(&str, String, Check)> = vec![
        ("/version", "2".into(), |e| matches!(e, KeyError::UnknownVersion(2))),
        ("/version", "\"1\"".into(), malformed),
        ("/node_id", other, closed),
        ("/node_id", "\"12D3KooW\"".into(), malformed),
        ("/kdf/name", "\"argon2i\"".into(), algorithm),
        ("/kdf/memory_kib", "7".into(), cost),
        ("/kdf/memory_kib", "1048577".into(), cost),
        ("/kdf/memory_kib", "4294967295".into(), cost),
        ("/kdf/memory_kib", "4294967296".into(), malformed),
        ("/kdf/memory_kib", "16".into(), closed),
        ("/kdf/passes", "0".into(), cost),
        ("/kdf/passes", "17".into(), cost),
        ("/kdf/passes", "2".into(), closed),
        ("/kdf/lanes", "0".into(), cost),
        ("/kdf/lanes", "17".into(), cost),
        ("/kdf/lanes", "4294967295".into(), cost),
        ("/kdf/salt", "\"00\"".into(), malformed),
        ("/kdf/salt", upper(&original["kdf"]["salt"]), malformed),
        ("/cipher", "\"none\"".into(), algorithm),
        ("/nonce", "\"\"".into(), malformed),
        ("/ciphertext", upper(&original["ciphertext"]), malformed),
        ("/ciphertext", format!("\"{}\"", "00".repeat(48)), closed),
        ("/ciphertext", format!("\"{}\"", "00".repeat(49)), malformed),
    ];
    for (pointer, value, check) in cases {
        let mut json = original.clone();
        *json.pointer_mut(pointer).unwrap() = serde_json::from_str(&value).unwrap();
        let error = fault(open(&json.to_string(), "right", Protection::Required));
        assert!(check(&error), "{pointer} = {value}: {error:?}");
    }
}

#[test]
fn what_is_not_a_key_file_is_refused() {
    for text in ["", "{}", "[]", "null", "{\"version\":1}", "{\"version\":1,\"plain\":\"00\"}", "key = 1"] {
        let error = fault(open(text, "right", Protection::PlainAllowed));
        assert!(matches!(error, KeyError::Malformed(_)), "{text}: {error:?}");
    }
    let mut json: serde_json::Value = serde_json::from_str(GOLDEN).unwrap();
    json["comment"] = "more".into();
    assert!(matches!(fault(open(&json.to_string(), "right", Protection::Required)), KeyError::Malformed(_)));
}

#[test]
fn a_plain_key_is_refused_unless_allowed_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key.json");
    let identity = Identity::generate().unwrap();
    KeyFile::plain(&identity).create(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    let never = || -> Result<Passphrase, KeyError> { panic!("a plain key needs no passphrase") };
    let error = fault(Identity::load(&path, Protection::Required, never));
    assert!(matches!(error.fault(), KeyError::PlainRefused), "{error:?}");
    assert!(error.to_string().contains("--insecure-plain-key"), "{error}");
    let loaded = Identity::load(&path, Protection::PlainAllowed, never).unwrap();
    assert_eq!(loaded.seed(), identity.seed());
}

#[test]
fn a_plain_key_under_another_name_is_refused() {
    let other = Identity::from_seed(&[8; 32]).node_id().to_string();
    let identity = Identity::from_seed(&[7; 32]);
    let text = KeyFile::plain(&identity).to_json().unwrap().replace(&identity.node_id().to_string(), &other);
    assert!(matches!(fault(open(&text, "", Protection::PlainAllowed)), KeyError::OtherNode { .. }));
}

#[test]
fn a_key_is_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key.json");
    let first = KeyFile::plain(&Identity::generate().unwrap());
    first.create(&path).unwrap();
    let error = KeyFile::plain(&Identity::generate().unwrap()).create(&path).unwrap_err();
    assert!(matches!(error.fault(), KeyError::Exists), "{error:?}");
    assert_eq!(KeyFile::read(&path).unwrap().node_id(), first.node_id());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "a temporary file is left");
}

#[test]
fn a_file_open_to_others_is_refused_with_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key.json");
    sealed(&Identity::generate().unwrap()).create(&path).unwrap();
    for open in [0o640, 0o604, 0o644, 0o620, 0o602, 0o666] {
        chmod(&path, open);
        let error = KeyFile::read(&path).map(|_| ()).unwrap_err();
        assert!(matches!(error.fault(), KeyError::Exposed { mode } if *mode == open), "{open:o}: {error:?}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    for closed in [0o600, 0o400, 0o700] {
        chmod(&path, closed);
        assert!(KeyFile::read(&path).is_ok(), "{closed:o}");
    }
}

#[test]
fn files_that_are_missing_or_too_large_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key.json");
    assert!(matches!(KeyFile::read(&path).map(|_| ()).unwrap_err().fault(), KeyError::Missing));
    fs::write(&path, vec![b' '; 20_000]).unwrap();
    chmod(&path, 0o600);
    assert!(matches!(KeyFile::read(&path).map(|_| ()).unwrap_err().fault(), KeyError::TooLarge { .. }));
}

#[test]
fn secrets_of_other_programs_are_taken_in_three_forms() {
    let identity = Identity::from_seed(&[0x5a; 32]);
    let seed = hex::encode([0x5a; 32]);
    let pair = identity.signing_key().to_keypair_bytes();
    let mut wrong_half = pair;
    wrong_half[40] ^= 1;
    let cases: Vec<(Vec<u8>, bool)> = vec![
        (seed.clone().into_bytes(), true),
        (format!(" {}\r\n", seed.to_uppercase()).into_bytes(), true),
        (hex::encode(pair).into_bytes(), true),
        (pair.to_vec(), true),
        ([&pair[..], b"\n"].concat(), true),
        (wrong_half.to_vec(), false),
        (hex::encode(wrong_half).into_bytes(), false),
        (seed[..63].into(), false),
        (vec![], false),
        (vec![1; 32], false),
    ];
    for (input, good) in cases {
        let outcome = Identity::from_secret(&input);
        assert_eq!(outcome.is_ok(), good, "{input:02x?}: {outcome:?}");
        match outcome {
            Ok(found) => assert_eq!(found.node_id(), identity.node_id()),
            Err(error) => assert!(matches!(error, KeyError::Seed(_)), "{error:?}"),
        }
    }
}

#[test]
fn a_passphrase_comes_from_the_file_before_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("passphrase");
    let from = |file: Option<&Path>, environment: Option<&str>| {
        PassphraseSource::second(file.map(Into::into), "nothing")
            .with_environment(environment.map(String::from))
            .passphrase(Purpose::Open, "a test")
    };
    for (content, expected) in [("one", "one"), ("one\n", "one"), ("one\r\n", "one"), ("one two \n\n", "one two \n")] {
        fs::write(&path, content).unwrap();
        chmod(&path, 0o600);
        assert_eq!(from(Some(&path), Some("other")).unwrap().as_bytes(), expected.as_bytes(), "{content:?}");
    }
    assert_eq!(from(None, Some("other")).unwrap().as_bytes(), b"other");
    assert!(matches!(from(None, Some("")).unwrap_err(), KeyError::EmptyPassphrase("METANODE_PASSPHRASE")));
    chmod(&path, 0o644);
    assert!(matches!(from(Some(&path), None).unwrap_err().fault(), KeyError::Exposed { .. }));
    assert!(from(Some(&directory.path().join("none")), Some("other")).is_err(), "a missing file is not passed over");
    assert!(!format!("{:?}", from(None, Some("other")).unwrap()).contains("other"));
}

fn ring(folder: &Path, identity: &Identity, now: u64) -> Result<KeyRing, KeyError> {
    KeyRing::open(&folder.join("sealing.json"), identity, WallMs(now))
}

fn seeds(ring: &KeyRing) -> Vec<[u8; 32]> {
    ring.keys().iter().map(|key| *key.seed().unwrap()).collect()
}

#[test]
fn a_ring_survives_the_disk_and_tells_nothing_there() {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::generate().unwrap();
    let mut first = ring(folder.path(), &identity, 5).unwrap();
    first.rotate(WallMs(9)).unwrap();
    let again = ring(folder.path(), &identity, 10).unwrap();
    assert_eq!((seeds(&first), seeds(&again).len()), (seeds(&again), 2));
    assert_eq!((again.keys()[0].replaced_ms, again.keys()[1].replaced_ms), (Some(WallMs(9)), None));
    let path = folder.path().join("sealing.json");
    assert_eq!(mode(&path), 0o600);
    let text = fs::read_to_string(&path).unwrap();
    assert!(seeds(&again).iter().all(|seed| !text.contains(&hex::encode(seed))));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file is left");
}

#[test]
fn a_ring_that_was_altered_or_belongs_to_another_is_refused_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (identity, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    ring(folder.path(), &identity, 5).unwrap();
    let path = folder.path().join("sealing.json");
    let whole = fs::read_to_string(&path).unwrap();
    assert!(matches!(ring(folder.path(), &other, 5), Err(KeyError::Ring(_))));
    let renamed = whole.replace(&identity.node_id().to_string(), &other.node_id().to_string());
    let flipped: String = whole
        .lines()
        .map(|line| if line.contains("ciphertext") { line.replace('0', "1") } else { line.into() })
        .collect::<Vec<_>>()
        .join("\n");
    for damaged in [renamed.as_str(), flipped.as_str(), &whole[..whole.len() / 2], "{}", ""] {
        fs::write(&path, damaged).unwrap();
        for who in [&identity, &other] {
            assert!(matches!(ring(folder.path(), who, 5), Err(KeyError::Ring(_))), "{damaged}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), damaged, "what cannot be read is not overwritten");
    }
    fs::write(&path, &whole).unwrap();
    chmod(&path, 0o644);
    assert!(matches!(ring(folder.path(), &identity, 5), Err(KeyError::Exposed { .. })));
}

#[test]
fn keys_are_replaced_before_they_expire_and_erased_when_their_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::generate().unwrap();
    let mut keys = ring(folder.path(), &identity, 0).unwrap();
    let first = seeds(&keys);
    let renew = WallMs(0).plus(SEALING_LIFE).minus(SEALING_RENEW);
    assert!(!keys.tend(WallMs(renew.0 - 1)).unwrap());
    assert!(keys.tend(renew).unwrap());
    assert_eq!(
        (seeds(&keys).len(), seeds(&keys)[0], keys.keys()[1].expires_ms),
        (2, first[0], renew.plus(SEALING_LIFE))
    );
    let erased = keys.keys()[0].erased_ms().unwrap();
    assert_eq!(erased, renew.plus(SEALING_KEEP));
    keys.tend(WallMs(erased.0 - 1)).unwrap();
    assert!(seeds(&keys).contains(&first[0]));
    keys.tend(erased).unwrap();
    assert!(!seeds(&keys).contains(&first[0]), "the first key is gone");
    assert_eq!(seeds(&keys), seeds(&ring(folder.path(), &identity, erased.0).unwrap()), "on the disk too");
}
