//! Being asked to stop: one watch, made before anything else that takes time, which every part is handed.
//!
//! A part that began to listen for itself after its first work would miss a signal that comes before.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::sync::watch;

use crate::out::note;

/// How long the process takes to stop at most.
const MOST: Duration = Duration::from_secs(30);

/// A signal that asks a process to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// What service managers send.
    Terminate,
}

impl Signal {
    /// What a shell reports of a process that this signal killed.
    fn exit_code(self) -> u8 {
        match self {
            Signal::Interrupt => 130,
            Signal::Terminate => 143,
        }
    }
}

/// A verb was stopped before its end, and ended orderly.
#[derive(Debug, thiserror::Error)]
#[error("stopped; the program keeps what it has read so far, and the next run goes on from there")]
pub(crate) struct Stopped(pub(crate) Signal);

impl Stopped {
    /// That of the signal.
    pub(crate) fn exit_code(&self) -> u8 {
        self.0.exit_code()
    }
}

/// Whether the process was asked to stop. Clones share the answer.
#[derive(Clone)]
pub(crate) struct Shutdown(Arc<watch::Sender<Asked>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Not,
    ByItself,
    By(Signal),
}

impl Shutdown {
    /// Listens from now on for Ctrl-C and for the signal that service managers send. Whatever the process does, it ends
    /// at the second signal, and half a minute after the first.
    pub(crate) fn listen() -> Result<Shutdown> {
        let shutdown = Shutdown(Arc::new(watch::Sender::new(Asked::Not)));
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
        self.0.send_replace(Asked::ByItself);
    }

    /// Whether it was asked to stop.
    pub(crate) fn is_asked(&self) -> bool {
        *self.0.borrow() != Asked::Not
    }

    /// The signal that asked it to stop, if one did.
    pub(crate) fn signal(&self) -> Option<Signal> {
        match *self.0.borrow() {
            Asked::By(signal) => Some(signal),
            Asked::Not | Asked::ByItself => None,
        }
    }

    /// Ends once the process is asked to stop, also when it was before.
    pub(crate) fn asked(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut asked = self.0.subscribe();
        // It is held for as long as somebody waits, so that its end means nothing.
        let held = Arc::clone(&self.0);
        async move {
            let _ = asked.wait_for(|asked| *asked != Asked::Not).await;
            drop(held);
        }
    }
}

struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
        Ok(Signals { interrupt: signal(interrupt)?, terminate: signal(terminate)? })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

async fn end(mut signals: Signals, shutdown: &Shutdown) {
    tokio::select! {
        signal = signals.next() => {
            shutdown.0.send_replace(Asked::By(signal));
        }
        // By itself; a signal that comes then is the first, and the process is about to end.
        () = shutdown.asked() => {}
    }
    let code = tokio::select! {
        signal = signals.next() => i32::from(signal.exit_code()),
        () = tokio::time::sleep(MOST) => {
            note!("error: what was in hand did not end within {} s; it is done again by the next process", MOST.as_secs());
            1
        }
    };
    std::process::exit(code);
}
