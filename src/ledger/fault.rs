//! What must never happen. The ledger stops rather than go on from it.

use crate::types::Overflow;
use crate::types::chain::{Height, ValidatorSetError};

/// The ledger cannot go on: its store is broken, or it is.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    #[error("the ledger's store is broken: {0}")]
    Corrupt(&'static str),
    #[error(
        "supply is not conserved at height {height}: rows grew by {grown}, but {made} were made and {burned} burned"
    )]
    Supply { height: Height, grown: i128, made: u64, burned: u64 },
    #[error("amounts of the whole chain do not add up within 64 bits")]
    Overflow,
    #[error("no validators can be seated: {0}")]
    Validators(#[from] ValidatorSetError),
    #[error("height {have} cannot follow height {head}")]
    Order { head: Height, have: Height },
}

impl From<Overflow> for Fault {
    fn from(Overflow: Overflow) -> Fault {
        Fault::Overflow
    }
}
