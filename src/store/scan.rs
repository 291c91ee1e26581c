//! Scans over what is in memory and what is in sled, as if it were one.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

use super::layer::{Layer, Walk};
use super::record::Value;
use super::{Shared, settle};
use crate::types::storage::Visit;

enum RowKey {
    Recent(Vec<u8>),
    Settled(sled::IVec),
}

impl Deref for RowKey {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            RowKey::Recent(key) => key,
            RowKey::Settled(key) => key,
        }
    }
}

type Found = (RowKey, Option<Value>);
type Pair = sled::Result<(sled::IVec, sled::IVec)>;

/// Something with rows in order, and the next of them.
struct Source<'a> {
    next: Option<Found>,
    rest: Box<dyn Iterator<Item = Result<Found, String>> + 'a>,
}

impl<'a> Source<'a> {
    fn new(mut rest: Box<dyn Iterator<Item = Result<Found, String>> + 'a>) -> Result<Source<'a>, String> {
        Ok(Source { next: rest.next().transpose()?, rest })
    }

    fn advance(&mut self) -> Result<Option<Found>, String> {
        let after = self.rest.next().transpose()?;
        Ok(std::mem::replace(&mut self.next, after))
    }
}

impl Shared {
    /// Calls `visit` for every row with `from <= key < to`, or the same from the end, until it breaks.
    pub(super) fn scan(&self, from: &[u8], to: &[u8], back: bool, visit: &mut Visit<'_>) {
        if from >= to {
            return;
        }
        // The layers come first: what is settled meanwhile is in them all the same.
        let layers = self.layers();
        if let Err(e) = self.merged(layers, from, to, back, visit) {
            self.poisoned_by("reading", &e);
        }
    }

    fn merged(
        &self,
        layers: [Option<Arc<Layer>>; 2],
        from: &[u8],
        to: &[u8],
        back: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), String> {
        let mut sources = Vec::with_capacity(3);
        for layer in layers.into_iter().flatten() {
            let rows = Walk::new(layer, from, to, back).map(|(key, value)| Ok((RowKey::Recent(key), value)));
            let source = Source::new(Box::new(rows))?;
            sources.extend(source.next.is_some().then_some(source));
        }
        let range = self.rows.range(from..to);
        if sources.is_empty() {
            return if back { self.settled(range.rev(), visit) } else { self.settled(range, visit) };
        }
        let settled = |pair: Pair| {
            let (key, value) = pair.map_err(|e| e.to_string())?;
            Ok((RowKey::Settled(key), Some(settle::untagged(value)?)))
        };
        let range: Box<dyn Iterator<Item = _>> =
            if back { Box::new(range.rev().map(settled)) } else { Box::new(range.map(settled)) };
        sources.push(Source::new(range)?);
        while let Some((key, value)) = newest(&mut sources, back)? {
            let Some(value) = self.shown(&key, value)? else { continue };
            if visit(&key, &value).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The same where nothing is newer than sled.
    fn settled(&self, pairs: impl Iterator<Item = Pair>, visit: &mut Visit<'_>) -> Result<(), String> {
        for pair in pairs {
            let (key, value) = pair.map_err(|e| e.to_string())?;
            let Some(value) = self.shown(&key, Some(settle::untagged(value)?))? else { continue };
            if visit(&key, &value).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn shown(&self, key: &[u8], value: Option<Value>) -> Result<Option<Bytes>, String> {
        match value {
            None => Ok(None),
            Some(Value::Here(value)) => Ok(Some(value)),
            Some(Value::Apart(place)) => match self.files.body(&place).map_err(|e| e.to_string())? {
                Some(body) => Ok(Some(body)),
                None => self.value(key),
            },
        }
    }
}

/// Takes the next row of all sources; of several of one key the first source's, the newest.
fn newest(sources: &mut [Source<'_>], back: bool) -> Result<Option<Found>, String> {
    let mut best: Option<(usize, &[u8])> = None;
    for (i, source) in sources.iter().enumerate() {
        let Some((key, _)) = &source.next else { continue };
        if best.is_none_or(|(_, least)| if back { **key > *least } else { **key < *least }) {
            best = Some((i, key));
        }
    }
    let Some((chosen, _)) = best else { return Ok(None) };
    let (_, later) = sources.split_at_mut(chosen);
    let Some((first, older)) = later.split_first_mut() else { return Ok(None) };
    let Some(found) = first.advance()? else { return Ok(None) };
    for source in older {
        if source.next.as_ref().is_some_and(|(key, _)| **key == *found.0) {
            source.advance()?;
        }
    }
    Ok(Some(found))
}
