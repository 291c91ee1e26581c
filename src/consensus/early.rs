//! Messages about a height that has not begun here: few, because anyone who may speak could send many.

use std::collections::BTreeMap;

use crate::types::NodeId;
use crate::types::chain::Height;
use crate::wire::agreement::{Genuine, Message, Step};

/// Rounds of a height that has not begun of which messages are kept.
const ROUNDS: u32 = 4;

/// One message of each validator for each place.
type Place = (Height, u32, u8, NodeId);

/// Messages that wait for their height.
#[derive(Debug, Default)]
pub struct Early(BTreeMap<Place, (NodeId, Genuine<Message>)>);

impl Early {
    /// Keeps a vote, a proposal, or a decision. What other proofs there are will be made again when they are needed.
    pub fn keep(&mut self, from: NodeId, message: Genuine<Message>) {
        let place = match message.get() {
            Message::Proposal(said) => (said.said.height, said.said.round, 0, said.said.proposer),
            Message::Vote(said) => {
                let step = match said.said.step {
                    Step::Prevote => 1,
                    Step::Precommit => 2,
                };
                (said.said.height, said.said.round, step, said.said.voter)
            }
            // One of a height will do, of whichever round.
            Message::Certificate(said) => (said.height, 0, 3, NodeId([0; 32])),
            Message::Polka(_) | Message::Round(_) => return,
        };
        if place.1 < ROUNDS {
            self.0.entry(place).or_insert((from, message));
        }
    }

    /// Whether anything waits for a height.
    pub fn has(&self, height: Height) -> bool {
        self.0.keys().any(|place| place.0 == height)
    }

    /// What waits for a height, proposals of a round first; what is older is let go.
    pub fn take(&mut self, height: Height) -> Vec<(NodeId, Genuine<Message>)> {
        let later = self.0.split_off(&(height.next(), 0, 0, NodeId([0; 32])));
        let taken = std::mem::replace(&mut self.0, later);
        taken.into_iter().filter(|(place, _)| place.0 == height).map(|(_, kept)| kept).collect()
    }
}
