//! A row of the state, provable to anyone who knows the chain's validators at some height.
//!
//! ```text
//!   trusted set ──certificate──▶ header ──next set──▶ … ──certificate──▶ header ──state root──▶ row
//! ```

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::block::{BlockHeader, NotBlock};
use super::{binary, exactly};
use crate::types::Hash;
use crate::types::chain::{ValidatorSet, ValidatorSetError};
use crate::wire::kind::Blob;

/// A certificate, bytes.
pub const CERTIFICATE_BYTES: usize = 64 * 1024;
/// Decided headers in one proof: one for each change of validators since the trusted ones, and the last.
pub const PROOF_FINALITIES: usize = 1024;
/// Levels of the tree.
const LEVELS: usize = 256;

/// A header with what shows that it was decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finality {
    /// The header.
    pub header: BlockHeader,
    /// The validators that decided it.
    pub validators: ValidatorSet,
    /// Their certificate, as agreement writes it.
    pub certificate: Bytes,
}

/// The way from a row to the root of the state.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatePath {
    /// The leaf at the end of the way, if there is one: digests of key and value.
    pub leaf: Option<(Hash, Hash)>,
    /// Siblings, from the root down.
    pub siblings: Vec<Hash>,
}

/// A row of the state as it was at a decided height, or that there is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LedgerProof {
    /// From the first change of validators after the trusted ones to the header with the root.
    pub finalities: Vec<Finality>,
    /// The row's key.
    pub key: Vec<u8>,
    /// Its value; none shows that there is no such row.
    pub value: Option<Vec<u8>>,
    /// The way to the root.
    pub path: StatePath,
}

/// Why bytes or text are no proof.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotProof {
    #[error("not the form of a ledger proof")]
    Form,
    #[error("{0} headers; 1 to {PROOF_FINALITIES} are allowed")]
    Finalities(usize),
    #[error("a certificate of {0} bytes; at most {CERTIFICATE_BYTES} are allowed")]
    Certificate(usize),
    #[error("a path of {0} siblings; a tree has at most {LEVELS} levels")]
    Siblings(usize),
    #[error(transparent)]
    Header(#[from] NotBlock),
    #[error(transparent)]
    Validators(#[from] ValidatorSetError),
}

/// The form it is handed around in: JSON with hexadecimal, or binary.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    finalities: Vec<FinalityForm>,
    key: Blob,
    value: Option<Blob>,
    path: StatePath,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FinalityForm {
    header: Blob,
    validators: Blob,
    certificate: Blob,
}

impl LedgerProof {
    /// The bytes it is handed around in.
    pub fn to_bytes(&self) -> Vec<u8> {
        binary(&self.form())
    }

    /// Reads [`LedgerProof::to_bytes`]; nothing is verified.
    pub fn from_bytes(bytes: &[u8]) -> Result<LedgerProof, NotProof> {
        exactly::<Form>(bytes).ok_or(NotProof::Form)?.proof()
    }

    /// The JSON form.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(&self.form()).unwrap_or_default()
    }

    /// Reads [`LedgerProof::to_json`]; nothing is verified.
    pub fn from_json(text: &str) -> Result<LedgerProof, NotProof> {
        serde_json::from_str::<Form>(text).map_err(|_| NotProof::Form)?.proof()
    }

    fn form(&self) -> Form {
        Form {
            finalities: self.finalities.iter().map(FinalityForm::of).collect(),
            key: Blob(self.key.clone()),
            value: self.value.clone().map(Blob),
            path: self.path.clone(),
        }
    }
}

impl Form {
    fn proof(self) -> Result<LedgerProof, NotProof> {
        if !(1..=PROOF_FINALITIES).contains(&self.finalities.len()) {
            return Err(NotProof::Finalities(self.finalities.len()));
        }
        if self.path.siblings.len() > LEVELS {
            return Err(NotProof::Siblings(self.path.siblings.len()));
        }
        let finalities = self.finalities.into_iter().map(FinalityForm::finality).collect::<Result<_, _>>()?;
        let value = self.value.map(|value| value.0);
        Ok(LedgerProof { finalities, key: self.key.0, value, path: self.path })
    }
}

impl FinalityForm {
    pub(super) fn of(finality: &Finality) -> FinalityForm {
        FinalityForm {
            header: Blob(finality.header.encode()),
            validators: Blob(finality.validators.to_bytes()),
            certificate: Blob(finality.certificate.to_vec()),
        }
    }

    pub(super) fn finality(self) -> Result<Finality, NotProof> {
        if self.certificate.0.len() > CERTIFICATE_BYTES {
            return Err(NotProof::Certificate(self.certificate.0.len()));
        }
        Ok(Finality {
            header: BlockHeader::decode(&self.header.0)?,
            validators: ValidatorSet::from_bytes(&self.validators.0)?,
            certificate: self.certificate.0.into(),
        })
    }
}
