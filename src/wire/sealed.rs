//! Payloads sealed for one reader: HPKE (RFC 9180) in base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
//! ChaCha20Poly1305.
//!
//! ```text
//!   info = "metanode v1 sealed" ‖ network ‖ author ‖ reader ‖ key id
//!   aad  = the message's bytes with zeros for its id, no encryption, no payload
//!   SetupBaseS(reader's key, info) → ephemeral key, context      ciphertext = context.Seal(aad, payload)
//! ```
//!
//! So a ciphertext opens only in this network, as said by this author, for this reader, under this key, with this kind,
//! destination, conversation, expiry, tags and headers. The message's id is not in it: it is given when the message is
//! signed, after sealing, and the author's signature binds the two. Only the author itself could sign the ciphertext
//! under another id, and it knows the payload anyway.
//!
//! Pure: randomness is handed in. Secrets are wiped when dropped.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem as _, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

use super::draft::Draft;
use super::message::{Encryption, Message};
use crate::types::{Domain, Hash, MessageId, NetworkId, NodeId, WallMs};

type Kem = X25519HkdfSha256;

/// The channel under which nodes announce their sealing keys (KeyExchange).
pub const SEALING_CHANNEL: &str = "sealing";
const LABEL: &[u8] = b"metanode v1 sealed";

/// Why a sealed message stays closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Unopened {
    #[error("it is sealed for another node")]
    WrongReader,
    #[error("it is sealed for a key that this node does not have, or has no more")]
    UnknownKey,
    #[error("it was said after its key had expired")]
    ExpiredKey,
    #[error("it was altered, or sealed for other circumstances than it came in")]
    Altered,
    #[error("what was in it is no payload of its kind")]
    Malformed,
}

impl Unopened {
    /// Stable name, for programs and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Unopened::WrongReader => "wrong_reader",
            Unopened::UnknownKey => "unknown_key",
            Unopened::ExpiredKey => "expired_key",
            Unopened::Altered => "altered",
            Unopened::Malformed => "malformed",
        }
    }
}

/// The id of a node's sealing key.
pub fn key_id(owner: NodeId, public: &[u8; 32]) -> Hash {
    Domain::SealingKey.hash(&[owner.as_bytes(), public])
}

/// A node's key to open what was sealed for it.
pub struct SealingKey {
    owner: NodeId,
    secret: <Kem as hpke::Kem>::PrivateKey,
    public: [u8; 32],
    id: Hash,
}

impl SealingKey {
    /// The key of a secret seed (RFC 9180, section 7.1.3).
    pub fn from_seed(owner: NodeId, seed: &[u8; 32]) -> SealingKey {
        let (secret, public) = Kem::derive_keypair(seed);
        let public: [u8; 32] = public.to_bytes().into();
        SealingKey { owner, secret, public, id: key_id(owner, &public) }
    }

    /// Its public half.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// Its id.
    pub fn id(&self) -> Hash {
        self.id
    }

    /// The payload of a message of `author`; `expires` is when this key expires.
    pub fn open(
        &self,
        message: &Message<'_>,
        author: NodeId,
        network: NetworkId,
        expires: WallMs,
    ) -> Result<Zeroizing<Vec<u8>>, Unopened> {
        let encryption = message.encryption.as_ref().filter(|e| e.key_id == self.id).ok_or(Unopened::UnknownKey)?;
        if message.id.stamp().wall() > expires {
            return Err(Unopened::ExpiredKey);
        }
        let ephemeral = <Kem as hpke::Kem>::EncappedKey::from_bytes(&encryption.ephemeral);
        let ephemeral = ephemeral.map_err(|_| Unopened::Altered)?;
        let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
            &OpModeR::Base,
            &self.secret,
            &ephemeral,
            &info(network, author, self.owner, self.id),
            message.payload,
            &circumstances(message),
        );
        opened.map(Zeroizing::new).map_err(|_| Unopened::Altered)
    }
}

/// Seals a draft's payload for `reader`, whose key is `public`, as said by `author`. `random` is fresh for each draft.
/// False when the key is none that anything can be sealed for.
pub fn seal_for(
    draft: &mut Draft,
    author: NodeId,
    network: NetworkId,
    reader: NodeId,
    public: &[u8; 32],
    random: &Zeroizing<[u8; 32]>,
) -> bool {
    let Ok(key) = <Kem as hpke::Kem>::PublicKey::from_bytes(public) else { return false };
    let id = key_id(reader, public);
    let sealed = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &OpModeS::Base,
        &key,
        &info(network, author, reader, id),
        draft.payload(),
        &circumstances(&draft.message(MessageId([0; 16]))),
        &mut Stretched::of(random),
    );
    let Ok((ephemeral, ciphertext)) = sealed else { return false };
    draft.close(Encryption { key_id: id, ephemeral: ephemeral.to_bytes().into() }, ciphertext);
    true
}

fn info(network: NetworkId, author: NodeId, reader: NodeId, key: Hash) -> Vec<u8> {
    [LABEL, network.0.as_bytes(), author.as_bytes(), reader.as_bytes(), key.as_bytes()].concat()
}

/// Everything a message says around its payload, but for its id.
fn circumstances(message: &Message<'_>) -> Vec<u8> {
    Message { id: MessageId([0; 16]), encryption: None, payload: &[], ..message.clone() }.encode()
}

/// As many random bytes as are asked for, out of 32.
struct Stretched(blake3::OutputReader);

impl Stretched {
    fn of(random: &Zeroizing<[u8; 32]>) -> Stretched {
        let mut hasher = Domain::SealingRandom.hasher();
        hasher.update(&random[..]);
        Stretched(hasher.finalize_xof())
    }
}

impl hpke::rand_core::TryRng for Stretched {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl hpke::rand_core::TryCryptoRng for Stretched {}
