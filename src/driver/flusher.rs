//! The thread that waits for the disk, so that the owner does not.

use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc as tokio_mpsc;

use crate::store::{Store, StoreError};

/// Flushes when asked; several waiting requests are one flush.
pub struct Flusher {
    requests: Option<mpsc::Sender<u64>>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    /// Starts the thread. Results come as the highest epoch that is on the disk.
    pub fn start(store: Arc<Store>, done: tokio_mpsc::UnboundedSender<Result<u64, StoreError>>) -> Flusher {
        let (requests, queue) = mpsc::channel::<u64>();
        let work = move || {
            while let Ok(first) = queue.recv() {
                let epoch = queue.try_iter().last().unwrap_or(first);
                if done.send(store.flush().map(|()| epoch)).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("flusher".into()).spawn(work).ok();
        Flusher { requests: Some(requests), thread }
    }

    /// Asks that everything committed so far be flushed; the answer names `epoch` or a later one.
    pub fn request(&self, epoch: u64) {
        if let Some(requests) = &self.requests {
            // The receiver lives as long as this thread does; if it died, the owner hears it from the closed results.
            let _ = requests.send(epoch);
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
