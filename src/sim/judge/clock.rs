//! Wrong clocks are not catching: a node says nothing that its peers would put off because another's clock was wrong.

use super::Verdict;
use crate::types::{Stamp, WallMs, limits};

/// An honest node lets out something with this stamp, and its own wall clock never showed more than that.
pub fn stamps(said: Stamp, showed: WallMs) -> Verdict {
    let most = showed.plus(limits::MAX_FUTURE);
    if said.ms() <= most.0 {
        return Ok(());
    }
    Err(format!("it says something at {} ms, and its clock never showed more than {} ms", said.ms(), showed.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_further_ahead_than_others_take_is_objected_to() {
        let most = limits::MAX_FUTURE.as_millis() as u64;
        assert!(stamps(Stamp::new(1_000 + most, 9), WallMs(1_000)).is_ok());
        assert!(stamps(Stamp::new(1_001 + most, 0), WallMs(1_000)).is_err());
    }
}
