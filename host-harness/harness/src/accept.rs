//! Connections: taken, bounded in number, and let go when nothing comes of them.
//!
//! | what | what happens |
//! |---|---|
//! | no request, or half of its head, for [`Bounds::silence`]; also between two requests | closed |
//! | a peer that does not take its answer for [`Bounds::stall`] | closed |
//! | a peer that vanished | found by TCP's own probes, closed |
//! | more than [`Bounds::most`] connections | the newest is closed at once, counted and logged |
//! | no file descriptor left | the newest is closed at once, counted and logged |
//!
//! A request's body has a time of its own at the webhook's door; an answer may take as long as it is worked on.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Sleep;

use crate::seldom::Seldom;

/// Connections at most, where the system allows so many files.
const MOST: usize = 8_192;
/// How long the loop rests after it could neither take a connection nor turn one away.
const REST: Duration = Duration::from_millis(100);

/// How many connections there may be, and how patient they are treated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) most: usize,
    pub(crate) silence: Duration,
    pub(crate) stall: Duration,
}

impl Bounds {
    /// As many as three quarters of the files that this process may open, so that the database and requests to
    /// providers find some left.
    pub(crate) fn of_this_process() -> Bounds {
        // Raised as far as the system lets it; where that is not known, the least that is usual.
        let files = rlimit::increase_nofile_limit(2 * MOST as u64).unwrap_or(256);
        let most = usize::try_from(files - files / 4).unwrap_or(MOST).clamp(1, MOST);
        Bounds { most, silence: Duration::from_secs(30), stall: Duration::from_secs(30) }
    }
}

/// What became of connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections {
    pub(crate) open: Gauge,
    /// Closed unread, because there were too many or no descriptor was left.
    pub(crate) shed: Counter,
}

/// Serves these routes until `stop`, then lets requests in hand end.
pub(crate) async fn serve(
    listener: TcpListener,
    routes: Router,
    bounds: Bounds,
    counts: Connections,
    stop: impl Future<Output = ()>,
) {
    let service = TowerToHyperService::new(routes);
    let room = Arc::new(Semaphore::new(bounds.most));
    let (ending, ended) = watch::channel(false);
    let mut open = JoinSet::new();
    let (mut reserve, seldom) = (Reserve::new(), Seldom::default());
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            Some(_) = open.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match (accepted, Arc::clone(&room).try_acquire_owned()) {
            (Ok((stream, peer)), Ok(permit)) => {
                let (service, ended, counts) = (service.clone(), ended.clone(), counts.clone());
                open.spawn(async move {
                    counts.open.inc();
                    attend(stream, peer, service, bounds, ended).await;
                    counts.open.dec();
                    drop(permit);
                });
            }
            (Ok((stream, _)), Err(_)) => {
                drop(stream);
                counts.shed.inc();
                if let Some(untold) = seldom.tell("full", Instant::now()) {
                    let most = bounds.most;
                    tracing::warn!(
                        untold,
                        "{most} connections are open, as many as may be; a new one is closed"
                    );
                }
            }
            // Its peer went away before it was taken.
            (Err(error), _) if is_the_peers(&error) => {}
            (Err(error), _) => {
                if let Some(untold) = seldom.tell("accept", Instant::now()) {
                    tracing::error!(
                        untold,
                        "no connection can be taken: {error}; new ones are closed, raise the limit of open files"
                    );
                }
                match reserve.shed(&listener).await {
                    true => _ = counts.shed.inc(),
                    false => tokio::time::sleep(REST).await,
                }
            }
        }
    }
    drop(listener);
    let _ = ending.send(true);
    while open.join_next().await.is_some() {}
}

fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// A descriptor that is given up to take one more connection when there is none left, so that it can be closed. Without
/// it the connection would wait unheard.
struct Reserve(Option<std::fs::File>);

impl Reserve {
    fn new() -> Reserve {
        let null = if cfg!(windows) { "NUL" } else { "/dev/null" };
        Reserve(std::fs::File::open(null).ok())
    }

    /// Whether a connection was closed.
    async fn shed(&mut self, listener: &TcpListener) -> bool {
        self.0 = None;
        // What waited may have gone meanwhile.
        let taken = tokio::time::timeout(Duration::from_millis(1), listener.accept()).await;
        let shed = matches!(taken, Ok(Ok(_)));
        drop(taken);
        *self = Reserve::new();
        shed
    }
}

/// One connection, to its end.
async fn attend(
    stream: TcpStream,
    peer: SocketAddr,
    service: TowerToHyperService<Router>,
    bounds: Bounds,
    mut ended: watch::Receiver<bool>,
) {
    // Where the system knows no such option, the time-outs below are what there is.
    let _ = stream.set_nodelay(true);
    let probes =
        TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    let _ = SockRef::from(&stream).set_tcp_keepalive(&probes);
    let io = TokioIo::new(Patient { stream, stall: bounds.stall, stalled: None });
    // Guesses of the console's token are bounded for each address.
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        service.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.silence)
        .serve_connection(io, service);
    tokio::pin!(connection);
    let done = tokio::select! {
        done = connection.as_mut() => done,
        () = async { drop(ended.wait_for(|ended| *ended).await) } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = done {
        tracing::debug!("a connection ended: {error}");
    }
}

/// A stream whose peer must take what it is sent within some time.
struct Patient {
    stream: TcpStream,
    stall: Duration,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    /// What a write came to, or that its time is over.
    fn judge<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stall = self.stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const PATIENT: Bounds =
        Bounds { most: 100, silence: Duration::from_secs(600), stall: Duration::from_secs(600) };

    async fn serving(bounds: Bounds) -> (SocketAddr, Connections, tokio::sync::oneshot::Sender<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, counts) = (listener.local_addr().unwrap(), Connections::default());
        let large = || async { vec![b'x'; 64 << 20] };
        let routes = Router::new().route("/", get(|| async { "ok" })).route("/large", get(large));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let stopped = async move { drop(stopped.await) };
        tokio::spawn(serve(listener, routes, bounds, counts.clone(), stopped));
        (address, counts, stop)
    }

    async fn said(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// What comes until the connection is closed; a reset closes it as well.
    async fn rest(mut stream: TcpStream) -> String {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
        String::from_utf8(all).unwrap()
    }

    #[tokio::test]
    async fn a_connection_of_which_nothing_comes_is_closed() {
        let (address, counts, _stop) =
            serving(Bounds { silence: Duration::from_millis(20), ..PATIENT }).await;
        for silent in ["", "GET / HTTP/1.1\r\nhost: x\r\nx-slow: "] {
            assert_eq!(rest(said(address, silent).await).await, "", "{silent:?}");
        }
        let answered = rest(said(address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await).await;
        assert!(answered.ends_with("\r\n\r\nok"), "between two requests it is closed too: {answered}");
        while counts.open.get() > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_peer_that_does_not_take_its_answer_is_let_go() {
        let (address, counts, _stop) = serving(Bounds { stall: Duration::from_millis(20), ..PATIENT }).await;
        let unread = said(address, "GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
        unread.readable().await.unwrap();
        while counts.open.get() > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn one_connection_too_many_is_closed_and_counted_and_the_others_go_on() {
        let (address, counts, _stop) = serving(Bounds { most: 2, ..PATIENT }).await;
        let (mut first, second) = (said(address, "").await, said(address, "").await);
        while counts.open.get() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(rest(TcpStream::connect(address).await.unwrap()).await, "");
        assert_eq!(counts.shed.get(), 1);
        first.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        assert!(rest(first).await.ends_with("ok"));
        drop(second);
    }

    #[tokio::test]
    async fn what_is_asked_to_stop_closes_what_is_idle_and_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let routes = Router::new().route("/", get(|| async { "ok" }));
        let stopped = async move { drop(stopped.await) };
        let server = tokio::spawn(serve(listener, routes, PATIENT, Connections::default(), stopped));
        let mut idle = said(address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut answer = [0; 15];
        idle.read_exact(&mut answer).await.unwrap();
        stop.send(()).unwrap();
        server.await.unwrap();
        assert!(rest(idle).await.ends_with("ok"));
    }
}
