//! What agreement vouches for, as far as the ledger asks.

use super::execute::Guilt;
use crate::types::chain::{BlockId, ChainId, Height, ValidatorSet};
use crate::wire::agreement::{Attested, Certificate, Evidence};

/// Whoever can read what validators signed. The ledger keeps certificates and evidence as bytes.
pub trait Witness {
    /// Who is guilty, if the evidence proves it.
    fn guilty(&self, chain: ChainId, evidence: &[u8]) -> Option<Guilt>;

    /// Whether a certificate shows that these validators decided this block at this height.
    fn decided(&self, chain: ChainId, height: Height, id: BlockId, by: &ValidatorSet, certificate: &[u8]) -> bool;
}

/// The votes of this house's agreement.
#[derive(Clone, Copy, Debug, Default)]
pub struct Agreement;

impl Witness for Agreement {
    fn guilty(&self, chain: ChainId, evidence: &[u8]) -> Option<Guilt> {
        let evidence = Evidence::decode(evidence).ok().filter(|evidence| evidence.holds(chain))?;
        Some(Guilt { validator: evidence.culprit(), height: evidence.height() })
    }

    fn decided(&self, chain: ChainId, height: Height, id: BlockId, by: &ValidatorSet, certificate: &[u8]) -> bool {
        let Ok(certificate) = Certificate::decode(certificate) else { return false };
        // Counting comes before checking signatures: it costs nothing.
        (certificate.height, certificate.value) == (height, id)
            && certificate.decides(by).is_ok()
            && certificate.holds(chain)
    }
}
