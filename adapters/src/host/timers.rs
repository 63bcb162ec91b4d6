//! Timers that the machine armed: one task, one heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use vellum_core::words::TimerId;

use super::clock;

/// The end of the timer task that arms timers.
pub(super) type Arm = UnboundedSender<(TimerId, u64)>;

/// Starts the timer task on `runtime`. It calls `due` for each timer, at or after its time, and
/// ends when the sender it answers is dropped.
pub(super) fn start(
    runtime: &tokio::runtime::Handle,
    due: impl Fn(TimerId) + Send + 'static,
) -> Arm {
    let (sender, receiver) = unbounded_channel();
    runtime.spawn(run(receiver, due));
    sender
}

async fn run(mut armed: UnboundedReceiver<(TimerId, u64)>, due: impl Fn(TimerId)) {
    let mut heap = BinaryHeap::new();
    loop {
        let wait = heap.peek().map(|Reverse((at, _))| remaining(*at));
        let new = match wait {
            None => armed.recv().await,
            Some(Duration::ZERO) => {
                if let Some(Reverse((_, id))) = heap.pop() {
                    due(id);
                }
                continue;
            }
            Some(wait) => match tokio::time::timeout(wait, armed.recv()).await {
                Ok(new) => new,
                Err(_) => continue,
            },
        };
        match new {
            Some((id, at_ns)) => heap.push(Reverse((at_ns, id))),
            None => return,
        }
    }
}

fn remaining(at_ns: u64) -> Duration {
    Duration::from_nanos(at_ns.saturating_sub(clock::mono_ns()))
}
