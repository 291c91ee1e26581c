//! What must be true whatever the network does.

use std::collections::{BTreeMap, BTreeSet};

use super::member::{CHAIN, Member, id};
use crate::types::chain::{BlockId, Height, ValidatorSet};
use crate::types::{Mono, NodeId};
use crate::wire::agreement::{Attested, Certificate, Evidence, Genuine, Message, Once};

/// Sees everything. What breaks a promise is noted, so that a harness beyond its bounds can see it too.
#[derive(Default)]
pub struct Judge {
    /// Whoever may break promises.
    pub guilty: BTreeSet<NodeId>,
    /// Blocks that are not valid.
    pub rubbish: BTreeSet<BlockId>,
    /// Blocks from the future, and when their time has come.
    pub unripe: BTreeMap<BlockId, Mono>,
    believed: BTreeMap<Vec<u8>, Genuine<Message>>,
    decisions: BTreeMap<Height, Certificate>,
    signed: BTreeMap<(NodeId, Once), Option<BlockId>>,
    pub disagreements: usize,
    pub second_signatures: usize,
    pub wrongly_accused: usize,
    pub accused: usize,
    /// The highest round in which something was decided.
    pub highest_round: u32,
    /// The round in which each height was decided.
    pub rounds: BTreeMap<Height, u32>,
}

impl Judge {
    pub fn decided(&mut self, n: usize, certificate: &Certificate, validators: &ValidatorSet) {
        assert_eq!(certificate.decides(validators), Ok(()), "node {n} decided without enough signatures");
        self.believe(Message::Certificate(certificate.clone()));
        assert!(!self.rubbish.contains(&certificate.value), "node {n} decided an invalid block");
        assert_eq!(Certificate::decode(&certificate.encode()).as_ref(), Ok(certificate));
        self.highest_round = self.highest_round.max(certificate.round);
        self.rounds.entry(certificate.height).or_insert(certificate.round);
        let first = self.decisions.entry(certificate.height).or_insert_with(|| certificate.clone());
        self.disagreements += usize::from(first.value != certificate.value);
    }

    /// Looks at what leaves a node: what it signed itself must not contradict what it signed before.
    pub fn hear(&mut self, member: &Member, message: &Message) {
        let me = id(member.who);
        let Some((once, value)) = message.said_by(me) else { return };
        let first = *self.signed.entry((me, once)).or_insert(value);
        if first != value && !self.guilty.contains(&me) {
            self.second_signatures += 1;
        }
    }

    pub fn evidence(&mut self, evidence: &Evidence) {
        assert!(evidence.holds(CHAIN), "evidence that is not signed");
        self.accused += 1;
        self.wrongly_accused += usize::from(!self.guilty.contains(&evidence.culprit()));
    }

    /// What honest nodes say is signed. Looked at once, for all who hear it.
    pub fn believe(&mut self, message: Message) -> Genuine<Message> {
        let checked = || Genuine::check(message.clone(), CHAIN).unwrap();
        self.believed.entry(message.encode()).or_insert_with(checked).clone()
    }

    /// Nothing was promised and broken.
    pub fn is_content(&self) -> bool {
        self.disagreements == 0 && self.second_signatures == 0 && self.wrongly_accused == 0
    }
}
