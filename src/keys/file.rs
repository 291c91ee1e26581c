//! The key file: JSON, version 1, encrypted or, when asked for by name, plain.

use std::path::Path;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::seal::{self, CIPHERTEXT_BYTES, Circumstances, KdfCost, NONCE_BYTES, SALT_BYTES};
use super::{Identity, KeyError, Passphrase, disk};
use crate::types::NodeId;

/// The one version of the format.
const VERSION: u32 = 1;
const KDF: &str = "argon2id";
const CIPHER: &str = "xchacha20poly1305";
/// A key file is smaller than this, bytes.
const FILE_BYTES: u64 = 16 * 1024;

/// Which key files a caller accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Only encrypted ones.
    Required,
    /// Plain ones too: `--insecure-plain-key`, `key.allow_plain = true`. For test networks.
    PlainAllowed,
}

impl Protection {
    /// Plain keys only if `plain_allowed`.
    pub fn from_flag(plain_allowed: bool) -> Protection {
        if plain_allowed { Protection::PlainAllowed } else { Protection::Required }
    }
}

/// A key file, parsed: every field has its size and canonical form, the cost is within bounds. Whether the key inside
/// is the claimed one shows only when it is opened.
pub struct KeyFile {
    body: Body,
}

enum Body {
    Sealed(Sealed),
    Plain(Plain),
}

/// Read first, to tell an unknown version or a plain key from damage.
#[derive(Deserialize)]
struct Probe {
    version: u64,
    plain: Option<IgnoredAny>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    version: u32,
    node_id: NodeId,
    kdf: Kdf,
    cipher: String,
    nonce: String,
    ciphertext: String,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kdf {
    name: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {
    version: u32,
    node_id: NodeId,
    plain: String,
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.plain.zeroize();
    }
}

impl KeyFile {
    /// `identity` under `passphrase`, with fresh salt and nonce.
    pub fn seal(identity: &Identity, passphrase: &Passphrase, cost: KdfCost) -> Result<KeyFile, KeyError> {
        cost.check()?;
        let (salt, nonce) = (random::<SALT_BYTES>()?, random::<NONCE_BYTES>()?);
        let KdfCost { memory_kib, passes, lanes } = cost;
        let mut sealed = Sealed {
            version: VERSION,
            node_id: identity.node_id(),
            kdf: Kdf { name: KDF.into(), memory_kib, passes, lanes, salt: hex::encode(salt) },
            cipher: CIPHER.into(),
            nonce: hex::encode(nonce),
            ciphertext: String::new(),
        };
        let associated = sealed.associated();
        let circumstances = Circumstances { cost, salt, nonce, associated: associated.as_bytes() };
        sealed.ciphertext = hex::encode(seal::encrypt(&identity.seed(), passphrase, &circumstances)?);
        Ok(KeyFile { body: Body::Sealed(sealed) })
    }

    /// `identity` for everyone to read who can read the file. For test networks.
    pub fn plain(identity: &Identity) -> KeyFile {
        let plain = hex::encode(&identity.seed()[..]);
        KeyFile { body: Body::Plain(Plain { version: VERSION, node_id: identity.node_id(), plain }) }
    }

    /// The key file in `text`.
    pub fn parse(text: &str) -> Result<KeyFile, KeyError> {
        let probe: Probe = serde_json::from_str(text).map_err(malformed)?;
        if probe.version != u64::from(VERSION) {
            return Err(KeyError::UnknownVersion(probe.version));
        }
        if probe.plain.is_some() {
            let plain: Plain = serde_json::from_str(text).map_err(malformed)?;
            digits::<32>("plain", &plain.plain)?.zeroize();
            return Ok(KeyFile { body: Body::Plain(plain) });
        }
        let sealed: Sealed = serde_json::from_str(text).map_err(malformed)?;
        sealed.check()?;
        Ok(KeyFile { body: Body::Sealed(sealed) })
    }

    /// The key file at `path`. Refused when other users can read or write it.
    pub fn read(path: &Path) -> Result<KeyFile, KeyError> {
        let read = || {
            let text = disk::read_private(path, FILE_BYTES)?;
            let text = std::str::from_utf8(&text).map_err(|e| KeyError::Malformed(e.to_string()))?;
            KeyFile::parse(text)
        };
        read().map_err(|e| e.at(path))
    }

    /// Writes a new file at `path`, mode 0600, whole or not at all. An existing file is left as it is and refused.
    pub fn create(&self, path: &Path) -> Result<(), KeyError> {
        disk::write_new(path, self.to_json()?.as_bytes(), 0o600).map_err(|e| e.at(path))
    }

    /// The text of the file, with a newline at its end.
    pub fn to_json(&self) -> Result<Zeroizing<String>, KeyError> {
        // The capacity is enough for either form, so no partial copy of a plain seed is left behind by growing.
        let mut json = Zeroizing::new(Vec::with_capacity(2048));
        let written = match &self.body {
            Body::Sealed(sealed) => serde_json::to_writer_pretty(&mut *json, sealed),
            Body::Plain(plain) => serde_json::to_writer_pretty(&mut *json, plain),
        };
        written.map_err(malformed)?;
        json.push(b'\n');
        String::from_utf8(std::mem::take(&mut *json)).map(Zeroizing::new).map_err(|_| KeyError::Primitive("JSON"))
    }

    /// The node whose key this is, by the file's own word until the key is opened.
    pub fn node_id(&self) -> NodeId {
        match &self.body {
            Body::Sealed(sealed) => sealed.node_id,
            Body::Plain(plain) => plain.node_id,
        }
    }

    /// Whether the key is encrypted.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.body, Body::Sealed(_))
    }

    /// The key. `passphrase` is called only when one is needed.
    pub fn open(
        &self,
        protection: Protection,
        passphrase: impl FnOnce() -> Result<Passphrase, KeyError>,
    ) -> Result<Identity, KeyError> {
        let seed = match (&self.body, protection) {
            (Body::Sealed(sealed), Protection::Required | Protection::PlainAllowed) => sealed.open(&passphrase()?)?,
            (Body::Plain(plain), Protection::PlainAllowed) => Zeroizing::new(digits::<32>("plain", &plain.plain)?),
            (Body::Plain(_), Protection::Required) => return Err(KeyError::PlainRefused),
        };
        let identity = Identity::from_seed(&seed);
        let (claimed, found) = (self.node_id(), identity.node_id());
        if claimed == found { Ok(identity) } else { Err(KeyError::OtherNode { claimed, found }) }
    }
}

impl Identity {
    /// The identity in the key file at `path`: [`KeyFile::read`], then [`KeyFile::open`].
    pub fn load(
        path: &Path,
        protection: Protection,
        passphrase: impl FnOnce() -> Result<Passphrase, KeyError>,
    ) -> Result<Identity, KeyError> {
        KeyFile::read(path)?.open(protection, passphrase).map_err(|e| e.at(path))
    }
}

impl Sealed {
    fn cost(&self) -> KdfCost {
        KdfCost { memory_kib: self.kdf.memory_kib, passes: self.kdf.passes, lanes: self.kdf.lanes }
    }

    /// What must hold of a file before its numbers are used.
    fn check(&self) -> Result<(), KeyError> {
        known("kdf.name", &self.kdf.name, KDF)?;
        known("cipher", &self.cipher, CIPHER)?;
        self.cost().check()?;
        digits::<SALT_BYTES>("kdf.salt", &self.kdf.salt)?;
        digits::<NONCE_BYTES>("nonce", &self.nonce)?;
        digits::<CIPHERTEXT_BYTES>("ciphertext", &self.ciphertext)?;
        Ok(())
    }

    /// The header, one way to write it: all fields but the ciphertext, in the order of the file, one a line.
    fn associated(&self) -> String {
        let Sealed { version, node_id, kdf, cipher, nonce, ciphertext: _ } = self;
        let Kdf { name, memory_kib, passes, lanes, salt } = kdf;
        format!(
            "metanode key file\n{version}\n{node_id}\n{name}\n{memory_kib}\n{passes}\n{lanes}\n{salt}\n\
             {cipher}\n{nonce}\n"
        )
    }

    fn open(&self, passphrase: &Passphrase) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        let associated = self.associated();
        let circumstances = Circumstances {
            cost: self.cost(),
            salt: digits("kdf.salt", &self.kdf.salt)?,
            nonce: digits("nonce", &self.nonce)?,
            associated: associated.as_bytes(),
        };
        seal::decrypt(&digits::<CIPHERTEXT_BYTES>("ciphertext", &self.ciphertext)?, passphrase, &circumstances)
    }
}

fn malformed(error: serde_json::Error) -> KeyError {
    KeyError::Malformed(error.to_string())
}

fn known(field: &'static str, found: &str, known: &'static str) -> Result<(), KeyError> {
    if found == known { Ok(()) } else { Err(KeyError::UnknownAlgorithm { field, found: found.into(), known }) }
}

/// `N` bytes from exactly `2 N` lower-case digits. One value has one text, so that no change of the file goes unseen.
fn digits<const N: usize>(field: &str, text: &str) -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    match hex::decode_to_slice(text, &mut bytes) {
        Ok(()) if lower => Ok(bytes),
        _ => Err(KeyError::Malformed(format!("`{field}` is not {} lower-case hexadecimal digits", 2 * N))),
    }
}

fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(KeyError::Randomness)?;
    Ok(bytes)
}
