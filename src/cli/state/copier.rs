//! Copying collections into chunks, and cutting anew what has changed since.

use std::path::Path;

use anyhow::{Context, bail};
use axum::http::HeaderMap;
use reqwest::{Method, StatusCode};

use super::files::keep;
use crate::api::checkpoints::{LAST, UNPROVED};
use crate::cli::client::{Client, plain};
use crate::node::Tally;
use crate::types::{Hash, NetworkName, Version};
use crate::wire::{Chunk, ChunkName, CollectionChunks};

/// A range of a collection's versions: what is retained of it, as it was cut.
pub struct Piece {
    /// After this version; none from the first on.
    after: Option<Version>,
    /// Before this one; none up to the last.
    before: Option<Version>,
    chunk: Option<ChunkName>,
    tally: Tally,
    unproved: u64,
}

/// What was copied of a collection.
pub struct Copy {
    /// Its name.
    pub name: String,
    /// One after the other, without a gap.
    pub pieces: Vec<Piece>,
}

impl Copy {
    /// What all of it comes to.
    pub fn tally(&self) -> Tally {
        self.pieces.iter().fold(Tally::default(), |sum, piece| sum.and(piece.tally))
    }

    /// Writes that are retained and cannot be proved.
    pub fn unproved(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.unproved).sum()
    }

    /// As a manifest has it.
    pub fn listed(&self) -> CollectionChunks {
        let tally = self.tally();
        CollectionChunks {
            name: self.name.clone(),
            writes: tally.writes,
            root: tally.hash(),
            clock: tally.clock(),
            chunks: self.pieces.iter().filter_map(|piece| piece.chunk).collect(),
        }
    }
}

/// Copies from a running node into a directory.
pub struct Copier<'a> {
    /// The node.
    pub client: &'a Client,
    /// The directory.
    pub out: &'a Path,
    /// The node's network.
    pub network: NetworkName,
}

impl Copier<'_> {
    /// Copies the versions after one and before another; proves each chunk before it is kept.
    pub async fn range(
        &self,
        name: &str,
        mut after: Option<Version>,
        before: Option<Version>,
    ) -> anyhow::Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        while let Some(piece) = self.next(name, after, before).await? {
            after = piece.before.map(previous);
            pieces.push(piece);
        }
        if before.is_none_or(|before| after.map(Version::next) != Some(before)) {
            pieces.push(Piece { after, before, chunk: None, tally: Tally::default(), unproved: 0 });
        }
        Ok(pieces)
    }

    /// The next chunk of a range; none if nothing is left.
    async fn next(&self, name: &str, after: Option<Version>, before: Option<Version>) -> anyhow::Result<Option<Piece>> {
        let request = self.client.request(Method::GET, &["state", name, "chunk"], &between(after, before));
        let response = self.client.send(request).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let strange = || format!("the node's answer about {name} is not a chunk");
        let last = header_of::<Version>(response.headers(), LAST.as_str()).with_context(strange)?;
        if after.is_some_and(|after| last <= after) {
            bail!("{}: it does not get further", strange());
        }
        let unproved = header_of::<u64>(response.headers(), UNPROVED.as_str()).with_context(strange)?;
        let bytes = response.bytes().await.with_context(strange)?;
        let proved = Chunk::decode(&bytes).and_then(|chunk| chunk.prove(self.network.id())).with_context(strange)?;
        let mut tally = Tally { last: after, ..Tally::default() };
        let writes = tally.add(name, &proved).map_err(anyhow::Error::msg).with_context(strange)?;
        let mut chunk = None;
        if writes > 0 {
            let hash = Hash(*blake3::hash(&bytes).as_bytes());
            keep(self.out, hash, &bytes)?;
            chunk = Some(ChunkName { hash, bytes: bytes.len() as u32, writes });
        }
        Ok(Some(Piece { after, before: Some(last.next()), chunk, tally, unproved }))
    }

    /// Cuts those pieces anew of which the node retains something else by now.
    pub async fn renew(&self, copy: &mut Copy) -> anyhow::Result<()> {
        let Some((first, last)) = copy.pieces.first().zip(copy.pieces.last()) else { return Ok(()) };
        if self.retains(&copy.name, first.after, last.before, copy.tally()).await? {
            return Ok(());
        }
        let mut pieces = Vec::new();
        for piece in std::mem::take(&mut copy.pieces) {
            if self.retains(&copy.name, piece.after, piece.before, piece.tally).await? {
                pieces.push(piece);
            } else {
                pieces.extend(self.range(&copy.name, piece.after, piece.before).await?);
            }
        }
        copy.pieces = pieces;
        Ok(())
    }

    async fn retains(
        &self,
        name: &str,
        after: Option<Version>,
        before: Option<Version>,
        tally: Tally,
    ) -> anyhow::Result<bool> {
        let request = self.client.request(Method::GET, &["state", name, "extent"], &between(after, before));
        let own = self.client.json(request).await?;
        Ok(own["writes"] == tally.writes && plain(&own["root"]) == tally.hash().to_string())
    }
}

/// The version before one.
pub fn previous(version: Version) -> Version {
    let number = u128::from_be_bytes(version.digest).checked_sub(1);
    match number {
        Some(digest) => Version { digest: digest.to_be_bytes(), ..version },
        None => Version { stamp: crate::types::Stamp(version.stamp.0.saturating_sub(1)), digest: [u8::MAX; 16] },
    }
}

fn between(after: Option<Version>, before: Option<Version>) -> Vec<(&'static str, String)> {
    let bound = |name, version: Option<Version>| version.map(|version| (name, version.to_string()));
    [bound("after", after), bound("before", before)].into_iter().flatten().collect()
}

fn header_of<T: std::str::FromStr>(headers: &HeaderMap, name: &str) -> Option<T> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Stamp;

    #[test]
    fn the_version_before_the_next_one_is_the_same() {
        for digest in [[0; 16], [7; 16], [u8::MAX; 16]] {
            let version = Version { stamp: Stamp(9), digest };
            assert_eq!(previous(version.next()), version);
        }
    }
}
