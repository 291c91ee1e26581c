//! How subscriptions are kept.
//!
//! ```text
//!  Subscription  name                → its spec, JSON
//!  Progress      name                → version 1 │ scanned │ reason of a pause │ open positions: distance, leases
//!  Failure       name, 0, position 8 → how an open message failed
//! ```
//!
//! The numbers of a progress row are bincode's; an open position is its distance from the one before.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::spec::{Name, Spec};
use super::subscription::{Failure, Subscription};
use crate::types::row::{decode, encode};
use crate::types::storage::{Key, Table, Txn, View};

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Progress {
    version: u8,
    scanned: u64,
    paused: Option<String>,
    open: Vec<(u64, u32)>,
}

/// Writes what has changed.
pub(super) fn save(name: &Name, subscription: &mut Subscription, tx: &mut Txn<'_>) {
    for position in std::mem::take(&mut subscription.failures_changed) {
        let key = failure_key(name, position);
        match subscription.open.get(&position).filter(|open| open.failure.times > 0) {
            Some(open) => tx.put(key, encode(&open.failure)),
            None => tx.delete(key),
        }
    }
    if !std::mem::take(&mut subscription.changed) {
        return;
    }
    let mut before = 0;
    let open = subscription.open.iter().map(|(position, open)| {
        let distance = position - std::mem::replace(&mut before, *position);
        (distance, open.leases)
    });
    subscription.scanned_saved = subscription.scanned;
    let progress = Progress {
        version: VERSION,
        scanned: subscription.scanned,
        paused: subscription.paused.clone(),
        open: open.collect(),
    };
    tx.put(progress_key(name), encode(&progress));
}

/// Writes what a subscription is to be.
pub(super) fn save_spec(name: &Name, spec: &Spec, tx: &mut Txn<'_>) {
    let row = serde_json::to_vec(spec);
    debug_assert!(row.is_ok(), "a spec is plain data");
    tx.put(spec_key(name), row.unwrap_or_default());
}

/// Removes all rows of a subscription.
pub(super) fn remove(name: &Name, subscription: &Subscription, tx: &mut Txn<'_>) {
    tx.delete(spec_key(name));
    tx.delete(progress_key(name));
    for position in subscription.open.keys() {
        tx.delete(failure_key(name, *position));
    }
}

/// Every subscription of the store. A row that cannot be read is a fault of ours or of the disk, and is named.
pub(super) fn load_all(view: &dyn View) -> Result<Vec<(Name, Subscription)>, String> {
    let start = Key::new(Table::Subscription, &[]);
    let mut found = Vec::new();
    view.scan(&start, &start.after_prefix(), &mut |key, value| {
        found.push((key.to_vec(), value.clone()));
        ControlFlow::Continue(())
    });
    found.iter().map(|(key, value)| load(key, value, view)).collect()
}

fn load(key: &[u8], value: &[u8], view: &dyn View) -> Result<(Name, Subscription), String> {
    let text = key.get(1..).and_then(|name| std::str::from_utf8(name).ok());
    let label = text.map_or_else(|| hex::encode(key), String::from);
    let broken = |what: &str| format!("the {what} of the subscription {label} cannot be read");
    let name: Name = text.and_then(|name| name.parse().ok()).ok_or_else(|| broken("name"))?;
    let spec: Spec = serde_json::from_slice(value).map_err(|_| broken("spec"))?;
    let row = view.get(&progress_key(&name)).ok_or_else(|| broken("progress"))?;
    let progress: Progress = decode(&row).ok_or_else(|| broken("progress"))?;
    if progress.version != VERSION {
        return Err(format!("the subscription {name} was kept by a newer version; start that one"));
    }
    let mut subscription = Subscription::new(spec, progress.scanned);
    subscription.paused = progress.paused;
    let mut position = 0u64;
    for (distance, leases) in progress.open {
        let again = distance == 0 && !subscription.open.is_empty();
        position = position
            .checked_add(distance)
            .filter(|position| *position < progress.scanned && !again)
            .ok_or_else(|| broken("progress"))?;
        let failure = match view.get(&failure_key(&name, position)) {
            Some(row) => decode(&row).ok_or_else(|| broken("history of failures"))?,
            None => Failure::default(),
        };
        subscription.open_at(position, leases, failure);
    }
    subscription.changed = false;
    Ok((name, subscription))
}

fn spec_key(name: &Name) -> Key {
    Key::new(Table::Subscription, &[name.as_str().as_bytes()])
}

fn progress_key(name: &Name) -> Key {
    Key::new(Table::Progress, &[name.as_str().as_bytes()])
}

fn failure_key(name: &Name, position: u64) -> Key {
    Key::new(Table::Failure, &[name.as_str().as_bytes(), &[0], &position.to_be_bytes()])
}
