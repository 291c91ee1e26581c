//! Shares of a common heap of stake: tokens come and go by shares, and what befalls the heap befalls every share.

use crate::ledger::rows::{Pool, Unbonding};
use crate::types::{Overflow, Tokens};

/// A heap of stake and the shares of it.
pub trait Stakes {
    /// The heap and its shares.
    fn heap(&mut self) -> (&mut Tokens, &mut u64);

    /// Shares for up to `amount`, and what they cost: what buys no whole share is not taken.
    fn buy(&mut self, amount: Tokens) -> Result<(u64, Tokens), Overflow> {
        let (tokens, shares) = self.heap();
        let (bought, cost) = if *shares == 0 || tokens.is_zero() {
            (amount.0, amount)
        } else {
            let bought = Tokens(*shares).share(amount.0, tokens.0)?.0;
            (bought, tokens.share_up(bought, *shares)?)
        };
        *tokens = tokens.plus(cost)?;
        *shares = shares.checked_add(bought).ok_or(Overflow)?;
        Ok((bought, cost))
    }

    /// What so many shares are worth.
    fn worth(&mut self, shares: u64) -> Result<Tokens, Overflow> {
        let (tokens, all) = self.heap();
        tokens.share(shares, *all)
    }

    /// The fewest shares that are worth `amount`.
    fn shares_for(&mut self, amount: Tokens) -> Result<u64, Overflow> {
        let (tokens, all) = self.heap();
        if tokens.is_zero() { Err(Overflow) } else { Ok(Tokens(*all).share_up(amount.0, tokens.0)?.0) }
    }

    /// Takes shares out, with what they are worth; the last ones take all that is left.
    fn take(&mut self, shares: u64) -> Result<Tokens, Overflow> {
        let worth = self.worth(shares)?;
        let (tokens, all) = self.heap();
        *tokens = tokens.minus(worth)?;
        *all = all.checked_sub(shares).ok_or(Overflow)?;
        Ok(worth)
    }

    /// Takes so many thousandths off the heap.
    fn cut(&mut self, permille: u16) -> Result<Tokens, Overflow> {
        let (tokens, _) = self.heap();
        let cut = tokens.permille(permille);
        *tokens = tokens.minus(cut)?;
        Ok(cut)
    }
}

impl Stakes for Pool {
    fn heap(&mut self) -> (&mut Tokens, &mut u64) {
        (&mut self.tokens, &mut self.shares)
    }
}

impl Stakes for Unbonding {
    fn heap(&mut self) -> (&mut Tokens, &mut u64) {
        (&mut self.tokens, &mut self.shares)
    }
}
