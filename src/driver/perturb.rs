//! Perturbation: what is put wrong with a node on purpose, for a time, to see what becomes of it.
//!
//! A node that was started for it holds both ends of a channel: the API sets what is wrong at one, the network and the
//! clocks look at the other. A node that was not has neither, and nothing can put it wrong.
//!
//! Invariant: everything that is wrong says until when, and whoever looks later does not find it; so it ends by itself,
//! whatever becomes of the one who asked for it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::types::NodeId;

/// Something that is so until then.
#[derive(Clone, Debug)]
pub struct Spell<T> {
    pub what: T,
    pub until: Instant,
}

impl<T> Spell<T> {
    /// It, if it still is so.
    fn now(&self) -> Option<&T> {
        (Instant::now() < self.until).then_some(&self.what)
    }
}

/// How late bytes come from the sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delay {
    /// At the least.
    pub by: Duration,
    /// And up to so much more.
    pub jitter: Duration,
}

/// What is wrong with a node on purpose, each thing by itself.
#[derive(Clone, Debug, Default)]
pub struct Perturbation {
    /// It reaches none of these, and none of these reaches it.
    pub cut: Option<Spell<BTreeSet<NodeId>>>,
    /// What comes over its connections comes late.
    pub delay: Option<Spell<Delay>>,
    /// So many packets of a hundred that come are lost, and come when they are sent again.
    pub loss: Option<Spell<u8>>,
    /// Its wall clock is ahead by so many milliseconds, or behind.
    pub clock_ms: Option<Spell<i64>>,
}

impl Perturbation {
    /// What still is so.
    fn standing(mut self) -> Perturbation {
        self.cut = self.cut.filter(|spell| spell.now().is_some());
        self.delay = self.delay.filter(|spell| spell.now().is_some());
        self.loss = self.loss.filter(|spell| spell.now().is_some());
        self.clock_ms = self.clock_ms.filter(|spell| spell.now().is_some());
        self
    }
}

/// The power to put a node wrong.
#[derive(Clone, Debug)]
pub struct Perturber {
    told: watch::Sender<Perturbation>,
    /// All its connections are TCP, whose bytes can be held up.
    holds_up: bool,
}

/// Where a part of the node looks what is wrong with it.
#[derive(Clone, Debug)]
pub struct Perturbed(watch::Receiver<Perturbation>);

/// Both ends. `holds_up` says whether what comes over the node's connections can be held up.
pub fn perturbation(holds_up: bool) -> (Perturber, Perturbed) {
    let (told, looked) = watch::channel(Perturbation::default());
    (Perturber { told, holds_up }, Perturbed(looked))
}

impl Perturber {
    /// Whether bytes can be late and lost at this node.
    pub fn holds_up(&self) -> bool {
        self.holds_up
    }

    /// What is wrong now.
    pub fn standing(&self) -> Perturbation {
        self.told.borrow().clone().standing()
    }

    /// Puts something wrong; what else is wrong stays so.
    pub fn change(&self, change: impl FnOnce(&mut Perturbation)) -> Perturbation {
        self.told.send_modify(change);
        self.standing()
    }
}

impl Perturbed {
    /// Whom the node is cut off from, and until when.
    pub fn cut(&self) -> Option<(BTreeSet<NodeId>, Instant)> {
        let told = self.0.borrow();
        told.cut.as_ref().and_then(|spell| Some((spell.now()?.clone(), spell.until)))
    }

    /// How late bytes come.
    pub fn delay(&self) -> Option<Delay> {
        self.0.borrow().delay.as_ref().and_then(Spell::now).copied()
    }

    /// How many packets of a hundred are lost.
    pub fn loss(&self) -> u8 {
        self.0.borrow().loss.as_ref().and_then(Spell::now).copied().unwrap_or_default()
    }

    /// How far ahead the wall clock is, milliseconds.
    pub fn clock_ms(&self) -> i64 {
        self.0.borrow().clock_ms.as_ref().and_then(Spell::now).copied().unwrap_or_default()
    }

    /// Waits until something is told; for ever when nobody is left to tell.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_ends_by_itself_and_at_once_when_told_to() {
        let (perturber, perturbed) = perturbation(true);
        let (past, later) = (Instant::now(), Instant::now() + Duration::from_secs(600));
        perturber.change(|p| p.loss = Some(Spell { what: 9, until: past }));
        perturber.change(|p| p.clock_ms = Some(Spell { what: -5, until: later }));
        perturber.change(|p| p.cut = Some(Spell { what: [NodeId([1; 32])].into(), until: later }));
        assert_eq!((perturbed.loss(), perturbed.clock_ms(), perturbed.delay()), (0, -5, None));
        assert_eq!(perturbed.cut(), Some(([NodeId([1; 32])].into(), later)));
        let standing = perturber.standing();
        assert!(standing.loss.is_none() && standing.clock_ms.is_some());
        perturber.change(|p| *p = Perturbation::default());
        assert_eq!((perturbed.clock_ms(), perturbed.cut()), (0, None));
    }
}
