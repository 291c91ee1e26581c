//! Everything that can happen to agreement, and everything it can want.

use std::sync::Arc;

use super::record::Record;
use crate::types::chain::{BlockId, Height, ValidatorSet};
use crate::types::{Mono, NodeId};
use crate::wire::agreement::{Certificate, Evidence, Genuine, Message, Short};

/// A height to agree on.
#[derive(Clone, Debug)]
pub struct Start {
    /// The height after the last that was decided and applied.
    pub height: Height,
    /// Its validators.
    pub validators: Arc<ValidatorSet>,
    /// It begins no earlier than this: the cadence of blocks.
    pub not_before: Mono,
    /// It begins when there is something to agree on: [`Input::Work`] here, or a message of a validator who has some.
    /// Until then no node waits for a proposer, so none is passed over for having nothing to propose.
    pub idle: bool,
}

/// Everything that can happen to agreement.
#[derive(Clone, Debug)]
pub enum Input {
    /// The next height may begin: the one before is decided, applied and on the disk.
    Start(Start),
    /// A message came, from a peer that need not be who signed it.
    Heard { from: NodeId, message: Genuine<Message> },
    /// The body of a block that was asked for, or came unasked, is here, and is what its id says.
    Body { block: BlockId },
    /// The body of a block that is to be checked is not here any more, because there were too many.
    Lost { block: BlockId },
    /// What was wanted by [`Output::WantBlock`]: a block that is valid and is kept.
    Built { height: Height, round: u32, block: BlockId },
    /// What was wanted by [`Output::Check`].
    Checked { block: BlockId, valid: bool },
    /// There is something to agree on.
    Work,
    /// Time has passed.
    Tick,
}

/// Everything agreement can want, in the order in which it wants it. What is said must not leave before every record
/// that came before it is on the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Write this to the log of a height.
    Log { height: Height, record: Record },
    /// Write the body of this block, which is here, to the log of a height, as [`Record::Body`]. What comes later rests
    /// on it.
    Keep { height: Height, block: BlockId },
    /// Tell all validators.
    Say { message: Message },
    /// Build a block to propose, and answer with [`Input::Built`]; too late is no harm.
    WantBlock {
        height: Height,
        round: u32,
        /// The block this node made for the same place before it crashed: to be given again if it is still there.
        made: Option<BlockId>,
    },
    /// Ask this node for a block's body, and for proposals of it.
    WantBody { block: BlockId, from: NodeId },
    /// Ask this node for the decision of a height: certificate and body.
    WantDecision { height: Height, from: NodeId },
    /// Say whether a block, whose body is here, may follow the last that was decided. The answer may be late, but not
    /// another one tomorrow: a block from the future is not invalid, it waits for its time. When two thirds have voted
    /// for it (`quorum`, asked again when that becomes known) its time has been judged, and is no question any more.
    Check { height: Height, block: BlockId, quorum: bool },
    /// A block is final. Nothing more is done at this height; the next begins with [`Input::Start`].
    Decided { certificate: Certificate },
    /// Someone said two things. Local: other nodes may have seen only one.
    Evidence(Evidence),
    /// A peer brought something that proves nothing.
    Refused { from: NodeId, why: Short },
    /// Nothing is said or done any more.
    Halt { fault: Fault },
}

/// Why agreement cannot go on. All of these need a person.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    #[error(
        "replaying the log of height {height} came to another {what} in round {round} than was said before the crash; \
         the log and this program do not fit together. Do not delete the log: what it holds was said"
    )]
    Diverged { height: Height, round: u32, what: String },
    #[error(
        "height {height}, round {round}: about to sign a second, different {what}; this is a defect of the program, \
         and signing would be punished"
    )]
    SecondSignature { height: Height, round: u32, what: &'static str },
    #[error(
        "two thirds of the validators decided block {block} at height {height}, and this node finds it invalid: its \
         state or its version differs from theirs"
    )]
    Rejected { height: Height, block: BlockId },
    #[error("height {height}: {what}")]
    Core { height: Height, what: String },
}
