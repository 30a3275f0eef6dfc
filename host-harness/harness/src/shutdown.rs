//! Being asked to stop: one watch, made before anything else that takes time, which every part is handed.
//!
//! A part that began to listen for itself after its first work would miss a signal that comes before.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How long the process takes to stop at most.
const MOST: Duration = Duration::from_secs(30);

/// Whether the process was asked to stop. Clones share the answer.
#[derive(Clone)]
pub(crate) struct Shutdown(Arc<watch::Sender<bool>>);

impl Shutdown {
    /// Listens from now on for Ctrl-C and for the signal that service managers send. Whatever the process does, it ends
    /// at the second signal, and half a minute after the first.
    pub(crate) fn listen() -> Result<Shutdown> {
        let shutdown = Shutdown(Arc::new(watch::Sender::new(false)));
        let asked = shutdown.clone();
        // A thread of its own, because all others may be waiting for a database.
        let listening = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let signals = {
                let _within = runtime.enter();
                Signals::new()?
            };
            let listen = move || runtime.block_on(end(signals, &asked));
            std::thread::Builder::new().name("signals".into()).spawn(listen)
        };
        listening().context("cannot listen for signals")?;
        Ok(shutdown)
    }

    /// Asks the process itself to stop.
    pub(crate) fn ask(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was asked to stop.
    pub(crate) fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends once the process is asked to stop, also when it was before.
    pub(crate) fn asked(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut asked = self.0.subscribe();
        // It is held for as long as somebody waits, so that its end means nothing.
        let held = Arc::clone(&self.0);
        async move {
            let _ = asked.wait_for(|asked| *asked).await;
            drop(held);
        }
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Signals { interrupt: signal(interrupt)?, terminate: signal(terminate)? })
    }

    /// The exit code that says which came.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}

async fn end(mut signals: Signals, shutdown: &Shutdown) {
    tokio::select! {
        _ = signals.next() => shutdown.ask(),
        // By itself; a signal that comes then is the first, and the process is about to end.
        () = shutdown.asked() => {}
    }
    let code = tokio::select! {
        code = signals.next() => code,
        () = tokio::time::sleep(MOST) => {
            eprintln!("error: what was in hand did not end within {} s; it is done again by the next process", MOST.as_secs());
            1
        }
    };
    std::process::exit(code);
}
