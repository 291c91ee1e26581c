//! Reading the ledger: any row as it is or was, and its proof.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::chain::{self, Head};
use super::fault::Fault;
use super::rows::{self, Pool, Row};
use super::state::State;
use super::tree;
use crate::types::chain::Height;
use crate::types::storage::View;
use crate::types::{Hash, Tokens};
use crate::wire::ledger::{AnchorProof, Finality, LedgerProof, PROOF_FINALITIES};

/// Why something cannot be proved here.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoProof {
    #[error("there is no decided block yet")]
    NoBlock,
    #[error("height {have} cannot be proved; this node can prove {oldest} to {newest}")]
    Height { have: Height, oldest: Height, newest: Height },
    #[error(
        "this node came to the chain by a block that its operator trusts, and knows validators from height {0} on: \
         prove to one who trusts those (trusted={0}), or ask a node that has the whole chain"
    )]
    Before(Height),
    #[error("validators changed too often since height {0}: prove from a later one")]
    TooFar(Height),
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A row as it is now.
pub fn row<R: Row>(name: &R::Name, view: &dyn View) -> Result<Option<R>, Fault> {
    State::new(view).read(name)
}

/// Up to `most` rows of a sort whose keys go on with `prefix`, after the key `after`, with the rest of their keys.
pub fn rows_of<R: Row>(
    prefix: &[u8],
    after: Option<&[u8]>,
    most: usize,
    view: &dyn View,
) -> Result<Vec<(Vec<u8>, R)>, Fault> {
    let all = super::books::state_row(&[&[R::SORT as u8], prefix].concat());
    let from = match after {
        // The shortest key that is greater.
        Some(after) => super::books::state_row(&[&[R::SORT as u8], after, &[0]].concat()),
        None => all.clone(),
    };
    let mut found = Vec::new();
    view.scan(&from, &all.after_prefix(), &mut |key, value| {
        found.push((key.get(2..).unwrap_or_default().to_vec(), value.clone()));
        if found.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    found.truncate(most);
    found.into_iter().map(|(key, value)| Ok((key, rows::decode(&value)?))).collect()
}

/// Up to `most` rows whose keys go on with `prefix`, a sort and maybe more, after the key `after`: keys and values.
pub fn any_rows(prefix: &[u8], after: Option<&[u8]>, most: usize, view: &dyn View) -> Vec<(Vec<u8>, Bytes)> {
    let all = super::books::state_row(prefix);
    let from = after.map_or(all.clone(), |after| super::books::state_row(&[after, &[0]].concat()));
    let mut found = Vec::new();
    view.scan(&from, &all.after_prefix(), &mut |key, value| {
        found.push((key.get(1..).unwrap_or_default().to_vec(), value.clone()));
        if found.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    found.truncate(most);
    found
}

/// What a staker's shares of a validator's pool are worth.
pub fn worth(pool: &Pool, shares: u64) -> Tokens {
    pool.tokens.share(shares, pool.shares).unwrap_or_default()
}

/// The proof of a row as it was after the block at `height` (the last, if none), for one who trusts the validators that
/// decide from height `trusted` on; 1 is genesis.
pub fn prove(key: &[u8], height: Option<Height>, trusted: Height, view: &dyn View) -> Result<LedgerProof, NoProof> {
    let Head { height: newest, oldest, .. } = chain::head(view)?.ok_or(NoProof::NoBlock)?;
    let oldest = oldest.max(Height(1));
    let have = height.unwrap_or(newest);
    if newest == Height::GENESIS {
        return Err(NoProof::NoBlock);
    }
    if have < oldest || have > newest {
        return Err(NoProof::Height { have, oldest, newest });
    }
    let root = chain::root(have, view)?.ok_or(Fault::Corrupt("the root of the state is missing"))?;
    let path = tree::path(root, &rows::place(key), view)?;
    let value = value_at(key, have, view)?.map(|value| value.to_vec());
    Ok(LedgerProof { finalities: finalities(trusted, have, view)?, key: key.to_vec(), value, path })
}

/// The root over the state, worked out anew from all its rows: what a head must say.
pub fn recount(view: &dyn View) -> Result<Hash, Fault> {
    let (mut leaves, all) = (Vec::new(), super::books::state_row(&[]));
    view.scan(&all, &all.after_prefix(), &mut |key, value| {
        leaves.push((rows::place(key.get(1..).unwrap_or_default()), rows::digest(value)));
        ControlFlow::Continue(())
    });
    leaves.sort_unstable();
    Ok(tree::grown(Vec::new(), &leaves, Height::GENESIS, view)?.root.hash())
}

/// What a row was after a height: before the first change that came later.
pub(super) fn value_at(key: &[u8], height: Height, view: &dyn View) -> Result<Option<Bytes>, Fault> {
    let place = rows::place(key);
    let from = chain::before_row(&place, height.next());
    let to = chain::before_row(&place, Height(u64::MAX));
    let mut before = None;
    view.scan(&from, &to, &mut |_, value| {
        before = Some(value.clone());
        ControlFlow::Break(())
    });
    match before {
        None => Ok(view.get(&super::books::state_row(key))),
        Some(was) => match was.first() {
            Some(0) => Ok(None),
            Some(1) => Ok(Some(was.slice(1..))),
            _ => Err(Fault::Corrupt("what a row was is neither something nor nothing")),
        },
    }
}

/// The decided headers that lead from trusted validators to a height: those after which others decide, and the last.
pub fn finalities(trusted: Height, height: Height, view: &dyn View) -> Result<Vec<Finality>, NoProof> {
    let (mut found, mut from) = (Vec::new(), trusted.max(Height(1)));
    if from < chain::base(view) {
        return Err(NoProof::Before(chain::base(view)));
    }
    while let Some(change) = chain::next_change(from, view).filter(|change| *change < height) {
        if found.len() + 1 >= PROOF_FINALITIES {
            return Err(NoProof::TooFar(trusted));
        }
        found.push(finality(change, view)?);
        from = change.next();
    }
    found.push(finality(height, view)?);
    Ok(found)
}

/// The proof of the anchors of the block at `height`, for one who trusts the validators that decide from height
/// `trusted` on. None where the block is not here.
pub fn prove_anchors(height: Height, trusted: Height, view: &dyn View) -> Result<Option<AnchorProof>, NoProof> {
    let Some(block) = chain::block(height, view)? else { return Ok(None) };
    let finalities = finalities(trusted, height, view)?;
    Ok(Some(AnchorProof { finalities, anchors: block.anchors().to_vec() }))
}

/// The first of the decided headers that lead from the validators of a height to the last block, up to `most`, and
/// whether there are more. None where this node does not know them all.
pub fn trail(from: Height, most: usize, view: &dyn View) -> Result<Option<(Vec<Finality>, bool)>, Fault> {
    let Some(head) = chain::head(view)? else { return Ok(None) };
    if from > head.height || from < chain::base(view) {
        return Ok(None);
    }
    let (mut found, mut next) = (Vec::new(), from);
    while let Some(change) = chain::next_change(next, view).filter(|change| *change < head.height) {
        if found.len() == most {
            return Ok(Some((found, true)));
        }
        found.push(finality(change, view)?);
        next = change.next();
    }
    if found.len() == most {
        return Ok(Some((found, true)));
    }
    found.push(finality(head.height, view)?);
    Ok(Some((found, false)))
}

/// A decided header with its validators and their certificate.
pub fn finality(height: Height, view: &dyn View) -> Result<Finality, Fault> {
    let header = chain::header(height, view)?.ok_or(Fault::Corrupt("a decided block is missing"))?;
    let validators = chain::validators(&header.validators, view)?;
    Ok(Finality {
        validators: validators.ok_or(Fault::Corrupt("the validators of a block are missing"))?,
        certificate: chain::certificate(height, view).ok_or(Fault::Corrupt("a certificate is missing"))?,
        header,
    })
}
