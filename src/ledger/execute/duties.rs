//! What is due when epochs are over: votes decided, stake set free, bills paid, records gone.

use super::{DUTIES, Execution, Stakes};
use crate::ledger::fault::Fault;
use crate::ledger::rows::{Due, Duty, Leaving, Row, Unbonding};
use crate::types::{NodeId, Tokens};
use crate::wire::ledger::Event;

impl Execution<'_> {
    /// Does what was due at the end of epochs that are over, with this block included, at most [`DUTIES`].
    pub(super) fn duties(&mut self) -> Result<(), Fault> {
        let over = self.epoch() + u64::from(self.params.ends_epoch(self.height.0));
        for (key, _) in self.state.scan(&[Duty::SORT as u8], DUTIES) {
            let (epoch, due) = Due::from_key(&key).ok_or(Fault::Corrupt("a duty that is none"))?;
            if epoch >= over {
                break;
            }
            self.state.clear::<Duty>(&(epoch, due.clone()));
            match due {
                Due::Tally(number) => self.tally(number)?,
                Due::Release { validator, account } => self.release(validator, epoch, account)?,
                Due::Bill(number) => self.bill(number)?,
                Due::Expire { owner, name } => self.expire(owner, name),
            }
        }
        Ok(())
    }

    /// Stake that was taken back is free: what is left of it after punishments.
    fn release(&mut self, validator: NodeId, epoch: u64, account: NodeId) -> Result<(), Fault> {
        let leaving: Leaving = self.state.must(&(validator, epoch, account))?;
        let mut heap: Unbonding = self.state.must(&(validator, epoch))?;
        let amount: Tokens = heap.take(leaving.shares)?;
        self.state.clear::<Leaving>(&(validator, epoch, account));
        if heap.shares == 0 {
            self.state.clear::<Unbonding>(&(validator, epoch));
        } else {
            self.state.write(&(validator, epoch), &heap);
        }
        self.credit(account, amount)?;
        self.event(Event::Released { account, validator, amount });
        Ok(())
    }
}
