//! Sends what happened, signed as Svix signs it, until the receiver takes it or the schedule ends.
//!
//! | rule | as the real sender |
//! |---|---|
//! | success | any 2xx within 15 s; redirects are not followed |
//! | message id | the same on every attempt and on a resend |
//! | timestamp, signature | made anew for each attempt, by the wall clock |
//! | end | a 2xx, the last delay used up, or `webhook-delivery: abort-message` in the answer |
//! | order | none: a delivery that waits for its retry holds up nobody |
//!
//! Not copied: the jitter, the longer wait after a timeout, `Retry-After`, and the switching off of an
//! endpoint after five days. A test that depends on when a retry comes sets the delays itself.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::body::Bytes;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::{SimulatorError, account::Event, server::over};

const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
const CONCURRENT_ATTEMPTS: usize = 16;

/// Where webhooks go, and how.
#[derive(Debug, Clone)]
pub struct WebhookTarget {
    /// The receiver.
    pub url: String,
    /// The signing secret, `whsec_` and base64.
    pub secret: String,
    /// Under which names the headers go.
    pub family: HeaderFamily,
    /// The waits before the second, third, … attempt; empty means one attempt.
    pub retry_delays: Vec<Duration>,
}

impl WebhookTarget {
    /// A receiver with the documented header names and the schedule of Svix.
    pub fn new(url: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            secret: secret.into(),
            family: HeaderFamily::Webhook,
            retry_delays: Self::svix_schedule(),
        }
    }

    /// 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h.
    pub fn svix_schedule() -> Vec<Duration> {
        [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000].map(Duration::from_secs).to_vec()
    }
}

/// The names of the three headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeaderFamily {
    /// `webhook-id` and its siblings, which incident.io documents.
    #[default]
    Webhook,
    /// `svix-id` and its siblings, Svix's own.
    Svix,
    /// All six.
    Both,
}

impl HeaderFamily {
    fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Webhook => &["webhook"],
            Self::Svix => &["svix"],
            Self::Both => &["webhook", "svix"],
        }
    }
}

/// One webhook and what became of it so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentDelivery {
    /// The message id.
    pub id: String,
    /// For example `public_incident.incident_created_v2`.
    pub event_type: String,
    /// How often it was sent.
    pub attempts: u32,
    /// The answer to the latest attempt; `None` before the first, or when no answer came.
    pub last_status: Option<u16>,
    /// The body, byte for byte as signed.
    pub body: Vec<u8>,
}

/// The signature header of one attempt: `v1,` and the base64 of an HMAC-SHA-256 over id, timestamp and body.
///
/// ```
/// let signature = koalr_simulator::sign(
///     "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
///     "msg_p5jXN8AQM9LWM0D4loKWxJek",
///     1614265330,
///     br#"{"test": 2432232314}"#,
/// )?;
/// assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
/// # Ok::<(), koalr_simulator::SimulatorError>(())
/// ```
pub fn sign(secret: &str, id: &str, timestamp: i64, body: &[u8]) -> Result<String, SimulatorError> {
    let encoded = secret.strip_prefix("whsec_").unwrap_or(secret);
    let key = STANDARD.decode(encoded).map_err(|_| SimulatorError::Secret)?;
    if key.is_empty() {
        return Err(SimulatorError::Secret);
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| SimulatorError::Secret)?;
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

/// A message id as Svix's server makes them: `msg_` and a KSUID, which is the second, a quarter of its milliseconds and 120
/// random bits in base 62. So ids sort by time. Here is that of Svix's own test vector, which is signed for the same second:
///
/// ```
/// let at = "2022-04-07T21:39:13.200Z".parse()?;
/// let id = koalr_simulator::message_id(at, 0x7d8eee3bdd38195a549b0e1a6ebef4);
/// assert_eq!(id, "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk");
/// # Ok::<(), chrono::ParseError>(())
/// ```
///
/// Source: `BaseId` in svix-server and `KsuidMs` in svix-ksuid, both by Svix.
pub fn message_id(at: DateTime<Utc>, random: u128) -> String {
    const EPOCH: i64 = 1_400_000_000;
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let second = u32::try_from(at.timestamp().saturating_sub(EPOCH)).unwrap_or(0);
    let payload = (u128::from(at.timestamp_subsec_millis() / 4) << 120) | (random & (u128::MAX >> 8));
    let bits = |from: u32| (payload >> from) as u32;
    // The number, the most significant word first.
    let mut rest = [second, bits(96), bits(64), bits(32), bits(0)];
    let mut digits = [0; 27];
    for digit in digits.iter_mut().rev() {
        let mut left = 0_u64;
        for word in &mut rest {
            let whole = (left << 32) | u64::from(*word);
            (*word, left) = ((whole / 62) as u32, whole % 62);
        }
        *digit = DIGITS.get(left as usize).copied().unwrap_or(b'0');
    }
    "msg_".chars().chain(digits.map(char::from)).collect()
}

/// The sending side: a ledger of deliveries and a task that works it off.
#[derive(Debug)]
pub(crate) struct Sender {
    shared: Arc<Shared>,
    queue: mpsc::UnboundedSender<Job>,
}

#[derive(Debug)]
struct Shared {
    book: Mutex<Book>,
    client: reqwest::Client,
    /// Deliveries that may still be sent.
    pending: watch::Sender<usize>,
    attempts: Semaphore,
}

#[derive(Debug)]
struct Book {
    target: Option<WebhookTarget>,
    rng: fastrand::Rng,
    sent: Vec<SentDelivery>,
}

#[derive(Debug)]
struct Job {
    entry: usize,
    id: String,
    body: Bytes,
    target: WebhookTarget,
}

impl Sender {
    /// Starts the task; it ends with `shutdown`, whatever still waits.
    pub(crate) fn start(
        target: Option<WebhookTarget>,
        seed: u64,
        shutdown: watch::Receiver<bool>,
    ) -> Result<Self, SimulatorError> {
        let client = reqwest::Client::builder()
            .timeout(ATTEMPT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(SimulatorError::Client)?;
        let rng = fastrand::Rng::with_seed(seed);
        let shared = Arc::new(Shared {
            book: Mutex::new(Book { target: None, rng, sent: Vec::new() }),
            client,
            pending: watch::Sender::new(0),
            attempts: Semaphore::new(CONCURRENT_ATTEMPTS),
        });
        let (queue, jobs) = mpsc::unbounded_channel();
        tokio::spawn(work(Arc::clone(&shared), jobs, shutdown));
        let sender = Self { shared, queue };
        sender.set_target(target)?;
        Ok(sender)
    }

    pub(crate) fn set_target(&self, target: Option<WebhookTarget>) -> Result<(), SimulatorError> {
        if let Some(target) = &target {
            sign(&target.secret, "", 0, b"")?;
        }
        self.shared.book().target = target;
        Ok(())
    }

    /// Queues events for the present target; without one they were never sent.
    pub(crate) fn enqueue(&self, events: Vec<Event>) {
        let mut book = self.shared.book();
        let Some(target) = book.target.clone() else { return };
        for event in events {
            let id = message_id(Utc::now(), book.rng.u128(..));
            let entry = book.sent.len();
            book.sent.push(SentDelivery {
                id: id.clone(),
                event_type: event.event_type.to_owned(),
                attempts: 0,
                last_status: None,
                body: event.body.to_vec(),
            });
            self.push(Job { entry, id, body: event.body, target: target.clone() });
        }
    }

    /// Sends a delivery once more, as the button in the dashboard does: same id, one attempt.
    pub(crate) fn resend(&self, id: &str) -> bool {
        let book = self.shared.book();
        let found = book.sent.iter().enumerate().find(|(_, sent)| sent.id == id);
        let (Some((entry, sent)), Some(target)) = (found, &book.target) else {
            return false;
        };
        let target = WebhookTarget { retry_delays: Vec::new(), ..target.clone() };
        self.push(Job { entry, id: id.to_owned(), body: Bytes::from(sent.body.clone()), target });
        true
    }

    pub(crate) fn deliveries(&self) -> Vec<SentDelivery> {
        self.shared.book().sent.clone()
    }

    pub(crate) async fn settle(&self) {
        // The sender of the channel lives as long as `self`, so the wait can only end at zero.
        let mut pending = self.shared.pending.subscribe();
        let _settled = pending.wait_for(|pending| *pending == 0).await;
    }

    fn push(&self, job: Job) {
        self.shared.pending.send_modify(|pending| *pending += 1);
        if self.queue.send(job).is_err() {
            // The task has ended, so nothing waits any more.
            self.shared.pending.send_replace(0);
        }
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn work(shared: Arc<Shared>, mut jobs: mpsc::UnboundedReceiver<Job>, shutdown: watch::Receiver<bool>) {
    let mut running = tokio::task::JoinSet::new();
    let mut over = std::pin::pin!(over(shutdown));
    loop {
        tokio::select! {
            () = &mut over => break,
            job = jobs.recv() => match job {
                Some(job) => {
                    running.spawn(deliver(Arc::clone(&shared), job));
                }
                None => break,
            },
            Some(_) = running.join_next() => {}
        }
    }
    running.shutdown().await;
    shared.pending.send_replace(0);
}

async fn deliver(shared: Arc<Shared>, job: Job) {
    let delays = job.target.retry_delays.iter().copied().map(Some).chain([None]);
    for delay in delays {
        let outcome = attempt(&shared, &job).await;
        if let Some(sent) = shared.book().sent.get_mut(job.entry) {
            sent.attempts += 1;
            sent.last_status = outcome.status;
        }
        let Some(delay) = delay else { break };
        if outcome.over {
            break;
        }
        tracing::debug!(id = %job.id, status = ?outcome.status, ?delay, "webhook not taken, will retry");
        tokio::time::sleep(delay).await;
    }
    shared.pending.send_modify(|pending| *pending = pending.saturating_sub(1));
}

struct Outcome {
    status: Option<u16>,
    over: bool,
}

async fn attempt(shared: &Shared, job: &Job) -> Outcome {
    let failed = Outcome { status: None, over: false };
    let Ok(_permit) = shared.attempts.acquire().await else {
        return failed;
    };
    let timestamp = Utc::now().timestamp();
    let Ok(signature) = sign(&job.target.secret, &job.id, timestamp, &job.body) else {
        return failed;
    };
    let mut request =
        shared.client.post(&job.target.url).header("content-type", "application/json").body(job.body.clone());
    for prefix in job.target.family.prefixes() {
        request = request
            .header(format!("{prefix}-id"), &job.id)
            .header(format!("{prefix}-timestamp"), timestamp.to_string())
            .header(format!("{prefix}-signature"), &signature);
    }
    match request.send().await {
        Ok(response) => {
            let aborted = response
                .headers()
                .get("webhook-delivery")
                .is_some_and(|value| value.as_bytes() == b"abort-message");
            Outcome {
                status: Some(response.status().as_u16()),
                over: aborted || response.status().is_success(),
            }
        }
        Err(error) => {
            tracing::debug!(id = %job.id, %error, "webhook attempt got no answer");
            failed
        }
    }
}
