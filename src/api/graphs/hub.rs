//! A graph in memory, for all who read or follow it: loaded when somebody asks, let go when nobody has for a while.
//!
//! It follows the events of replicated state, reads anew what they touch and tells the difference. Whoever reads
//! catches up first, so that a client finds what it has just written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::Duration;

use tokio::sync::broadcast;

use super::positions::Motion;
use super::too_large;
use crate::api::problem::{Cause, Problem};
use crate::api::reader::Timed;
use crate::api::state::ApiState;
use crate::crdt::{self, State};
use crate::graph::{Change, Graph, Subject, subject};
use crate::types::limits;

/// Frames of changes that a follower may fall behind.
const CHANGES: usize = 256;
/// Events of the state looked at in one reading.
const EVENTS: usize = 256;
/// Cells loaded in one reading.
const CELLS: usize = 500;
/// A graph that nobody reads or follows is let go after this long.
const IDLE: Duration = Duration::from_secs(60);

/// The graphs in memory, by name.
#[derive(Default)]
pub struct Graphs {
    hubs: Mutex<BTreeMap<String, Arc<Hub>>>,
}

/// What followers of a graph are told.
#[derive(Debug)]
pub enum Told {
    /// These changes, in this order.
    Changes(Vec<Change>),
    /// Too much has happened: the graph was read anew.
    Anew,
}

/// One graph.
pub struct Hub {
    pub name: String,
    graph: RwLock<Graph>,
    /// The next event to look at; none while the graph is not loaded. Whoever holds it catches up.
    next: tokio::sync::Mutex<Option<u64>>,
    told: broadcast::Sender<Arc<Told>>,
    /// Its nodes in motion, while somebody follows them.
    pub motion: Mutex<Weak<Motion>>,
}

enum Look {
    Level,
    On(u64, Vec<Change>),
    Behind,
}

impl ApiState {
    /// A graph as it is now.
    pub(super) async fn graph(&self, name: &str) -> Result<Arc<Hub>, Problem> {
        let hub = self.graphs.open(name, self)?;
        hub.catch_up(self).await?;
        Ok(hub)
    }

    /// What `read` finds in a graph and its collection, both as they are now.
    pub(super) async fn read_graph<T: Send + 'static>(
        &self,
        name: &str,
        read: impl FnOnce(&Graph, &State<'_>) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let hub = self.graph(name).await?;
        self.read(move |view| read(&hub.graph(), &State::of(&hub.name, view))).await
    }
}

impl Graphs {
    fn open(&self, name: &str, state: &ApiState) -> Result<Arc<Hub>, Problem> {
        let mut hubs = self.hubs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hub) = hubs.get(name) {
            return Ok(hub.clone());
        }
        if hubs.len() >= limits::GRAPHS {
            hubs.retain(|_, hub| Arc::strong_count(hub) > 1);
        }
        if hubs.len() >= limits::GRAPHS {
            let most = limits::GRAPHS;
            return Err(Problem::new(Cause::Unavailable, format!("{most} graphs are in use already; try again later")));
        }
        let hub = Arc::new(Hub {
            name: name.into(),
            graph: RwLock::default(),
            next: tokio::sync::Mutex::new(None),
            told: broadcast::channel(CHANGES).0,
            motion: Mutex::default(),
        });
        hubs.insert(name.into(), hub.clone());
        tokio::spawn(follow(Arc::downgrade(&hub), state.clone()));
        Ok(hub)
    }

    /// Lets a graph go that nobody holds. True when it is gone.
    fn close(&self, hub: &Arc<Hub>) -> bool {
        let mut hubs = self.hubs.lock().unwrap_or_else(PoisonError::into_inner);
        // One of them is in the map, one is the caller's.
        let idle = Arc::strong_count(hub) <= 2;
        if idle && hubs.get(&hub.name).is_some_and(|other| Arc::ptr_eq(other, hub)) {
            hubs.remove(&hub.name);
        }
        idle
    }
}

/// Keeps a graph up to date while somebody holds it.
async fn follow(hub: Weak<Hub>, state: ApiState) {
    let (mut end, mut stop) = (state.watch.state_end.clone(), state.stopping());
    let mut idle = tokio::time::interval(IDLE);
    idle.tick().await;
    loop {
        let looks = tokio::select! {
            changed = end.changed() => if changed.is_err() { return } else { false },
            _ = stop.changed() => return,
            _ = idle.tick() => true,
        };
        let Some(hub) = hub.upgrade() else { return };
        if looks {
            if state.graphs.close(&hub) {
                return;
            }
            continue;
        }
        if Arc::strong_count(&hub) > 2
            && let Err(problem) = hub.catch_up(&state).await
        {
            tracing::debug!(graph = hub.name, %problem, "a graph cannot be followed");
        }
    }
}

impl Hub {
    /// The graph, for reading.
    pub fn graph(&self) -> RwLockReadGuard<'_, Graph> {
        self.graph.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn graph_mut(&self) -> RwLockWriteGuard<'_, Graph> {
        self.graph.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in everything that has happened.
    pub async fn catch_up(self: &Arc<Hub>, state: &ApiState) -> Result<(), Problem> {
        let mut next = self.next.lock().await;
        self.level(&mut next, state).await
    }

    /// What is told from now on, and what `read` finds in the graph as it is now: nothing happens between them.
    pub async fn begin<T: Send + 'static>(
        self: &Arc<Hub>,
        state: &ApiState,
        read: impl FnOnce(&Graph, &State<'_>) -> T + Send + 'static,
    ) -> Result<(broadcast::Receiver<Arc<Told>>, T), Problem> {
        let mut next = self.next.lock().await;
        self.level(&mut next, state).await?;
        let (told, hub) = (self.told.subscribe(), self.clone());
        let found = state.read(move |view| read(&hub.graph(), &State::of(&hub.name, view))).await?;
        drop(next);
        Ok((told, found))
    }

    async fn level(self: &Arc<Hub>, next: &mut Option<u64>, state: &ApiState) -> Result<(), Problem> {
        loop {
            let Some(from) = *next else {
                *next = Some(self.load(state).await?);
                continue;
            };
            let hub = self.clone();
            match state.read(move |view| hub.look(from, view)).await? {
                Look::Level => return Ok(()),
                Look::On(on, changes) => {
                    *next = Some(on);
                    if !changes.is_empty() {
                        // Nobody may be listening.
                        let _ = self.told.send(Arc::new(Told::Changes(changes)));
                    }
                }
                Look::Behind => {
                    *next = None;
                    *next = Some(self.load(state).await?);
                    let _ = self.told.send(Arc::new(Told::Anew));
                }
            }
        }
    }

    /// Looks at some events and takes them in.
    fn look(&self, from: u64, view: &Timed<'_>) -> Look {
        if crdt::first_event(view) > from {
            return Look::Behind;
        }
        let events = crdt::events(from, EVENTS, view);
        let Some(last) = events.last() else { return Look::Level };
        let next = last.number + 1;
        let here = events.iter().map(crdt::Event::place).filter(|(collection, _)| *collection == self.name);
        let touched: BTreeSet<Subject> = here.filter_map(|(_, path)| subject(path)).collect();
        if touched.is_empty() {
            return Look::On(next, Vec::new());
        }
        if touched.contains(&Subject::All) {
            return Look::Behind;
        }
        let changes = self.graph_mut().observe(&touched, &State::of(&self.name, view));
        match changes {
            Ok(changes) if !view.cut.get() => Look::On(next, changes),
            // What was cut short is not the truth, and what is too large is found to be so when it is loaded.
            Ok(_) | Err(_) => Look::Behind,
        }
    }

    /// Loads the graph; the number of the next event.
    async fn load(self: &Arc<Hub>, state: &ApiState) -> Result<u64, Problem> {
        let next = state.read(|view| crdt::events_end(view)).await?;
        let (mut graph, mut more) = (Graph::default(), true);
        while more {
            let name = self.name.clone();
            let read = state.read(move |view| {
                let more = graph.load_on(&State::of(&name, view), CELLS);
                (graph, more.map(|more| (more, view.cut.get())))
            });
            let (on, loaded) = read.await?;
            graph = on;
            let (again, cut) = loaded.map_err(too_large)?;
            if cut {
                return Err(Problem::new(Cause::Unavailable, "the disk is too slow to read the graph; try again"));
            }
            more = again;
        }
        *self.graph_mut() = graph;
        Ok(next)
    }
}
