//! What may be believed: signatures that hold, by validators of a height that matters now.

use std::sync::Arc;

use super::super::refusal::Refusal;
use super::certificate::Certificate;
use super::message::{Message, Saying};
use crate::types::NodeId;
use crate::types::chain::{ChainId, Height, ValidatorSet};

/// Carries signatures that can be checked without knowing who the validators are: who signed is a key.
pub trait Attested {
    /// Whether every signature in it is that of whom it names, on this chain.
    fn holds(&self, chain: ChainId) -> bool;
}

/// Something whose every signature holds. There is one way to have it, so no check can be skipped or done twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Genuine<T>(T);

impl<T: Attested> Genuine<T> {
    /// Checks the signatures.
    pub fn check(attested: T, chain: ChainId) -> Result<Genuine<T>, Refusal> {
        if attested.holds(chain) { Ok(Genuine(attested)) } else { Err(Refusal::BadSignature) }
    }
}

impl<T> Genuine<T> {
    /// What was checked.
    pub fn get(&self) -> &T {
        &self.0
    }

    /// What was checked, out of its wrapping.
    pub fn take(self) -> T {
        self.0
    }
}

impl Genuine<Certificate> {
    /// The same as a message.
    pub fn into_message(self) -> Genuine<Message> {
        Genuine(Message::Certificate(self.0))
    }
}

/// Who may speak now: the doorkeeper's list, for whoever checks what comes from outside before the node's owner sees
/// it. Costs are in order: place, then membership, then signatures.
#[derive(Clone, Debug)]
pub struct Roster {
    /// The chain.
    pub chain: ChainId,
    /// The height that is agreed on now.
    pub height: Height,
    /// Its validators.
    pub current: Arc<ValidatorSet>,
    /// Those of the height after it.
    pub next: Arc<ValidatorSet>,
    /// Those of the height before it: who still votes there has missed its decision, and is to be told.
    pub before: Arc<ValidatorSet>,
}

impl Roster {
    /// The validators of a height, if it is this one or beside it.
    pub fn validators(&self, height: Height) -> Option<&ValidatorSet> {
        if height == self.height {
            Some(&self.current)
        } else if height == self.height.next() {
            Some(&self.next)
        } else if height.next() == self.height {
            Some(&self.before)
        } else {
            None
        }
    }

    /// Lets a message in: of this height or one beside it, by validators of it, signed by them.
    pub fn admit(&self, message: Message) -> Result<Genuine<Message>, Refusal> {
        let height = message.height();
        let validators = self.validators(height).ok_or(Refusal::Height { height: height.0, at: self.height.0 })?;
        let stranger = message.speakers().into_iter().find(|speaker| validators.index(*speaker).is_none());
        let refusal = match (stranger, message.suffices(validators)) {
            (Some(node), _) => Refusal::Stranger { node },
            (None, Err(short)) => Refusal::Agreement { reason: short.to_string() },
            (None, Ok(())) => return Genuine::check(message, self.chain),
        };
        // Who is a validator of the next height is known for good when this one is decided: an election may be in it.
        let is_next = height == self.height.next();
        Err(if is_next { Refusal::Height { height: height.0, at: self.height.0 } } else { refusal })
    }

    /// Lets a decision in that was asked for: of this height or a later one, by enough of the validators. None for one
    /// that is over, and for one of other validators than those of now, which can be judged when its height comes.
    /// Anyone can sign with keys of their own, so this is asked before any signature is checked.
    pub fn admit_decision(&self, certificate: Certificate) -> Result<Option<Genuine<Certificate>>, Refusal> {
        if certificate.height < self.height {
            return Ok(None);
        }
        match certificate.decides(&self.current) {
            Ok(()) => Genuine::check(certificate, self.chain).map(Some),
            Err(short) if certificate.height == self.height => Err(Refusal::Agreement { reason: short.to_string() }),
            Err(_) => Ok(None),
        }
    }

    /// Lets a message in as bytes.
    pub fn admit_bytes(&self, saying: &[u8]) -> Result<Genuine<Message>, Refusal> {
        self.admit(Saying::decode(saying)?.message)
    }

    /// Whether a node votes at this height.
    pub fn is_validator(&self, node: NodeId) -> bool {
        self.current.index(node).is_some()
    }
}
