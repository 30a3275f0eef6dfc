//! Ceilings for guest calls. Each has a default that a well-behaved integration does not come near.

use std::time::Duration;

/// Ceilings for one call into a guest. Any value is legal, so the fields are public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory that the guest may grow to, in bytes. Default 64 MiB, which is also what a slot reserves.
    pub memory_bytes: usize,
    /// Time that the guest may compute, its waits for the host not counted. Default 20 s.
    pub compute: Duration,
    /// Wall clock for the whole call, host I/O included. Default 150 s.
    pub wall: Duration,
    /// Wall clock for verifying a webhook, which does no I/O but reading a secret. Default 2 s.
    pub verify_wall: Duration,
    /// Bytes that a guest may hand to the host in one crossing. Default 32 MiB.
    pub hostcall_bytes: usize,
    /// Resources, such as requests and streams, that a guest may hold. Default 1,000.
    pub handles: usize,
    /// Bytes of one HTTP request's body. Default 1 MiB.
    pub request_bytes: usize,
    /// Bytes of one HTTP answer. Default 32 MiB.
    pub response_bytes: usize,
    /// Wall clock for one HTTP request, its body included. Default 60 s.
    pub request: Duration,
    /// HTTP requests in flight in one call. Default 16.
    pub requests_in_flight: usize,
    /// HTTP requests that one call may make. Default 1,000.
    pub requests: u32,
    /// Log messages of one call; what exceeds it is counted and dropped. Default 200.
    pub log_messages: u32,
    /// Changes in one commit. Default 20,000.
    pub changes: usize,
    /// Deliveries that may wait to be applied, over all organisations, before new ones are refused. Default 500,000.
    pub pending: u64,
    /// The same of one organisation. Default 125,000.
    pub pending_each: u64,
    /// How long a call may wait for a free slot. Default 5 s.
    pub admission: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory_bytes: 64 << 20,
            compute: Duration::from_secs(20),
            wall: Duration::from_secs(150),
            verify_wall: Duration::from_secs(2),
            hostcall_bytes: 32 << 20,
            handles: 1_000,
            request_bytes: 1 << 20,
            response_bytes: 32 << 20,
            request: Duration::from_secs(60),
            requests_in_flight: 16,
            requests: 1_000,
            log_messages: 200,
            changes: 20_000,
            pending: 500_000,
            pending_each: 125_000,
            admission: Duration::from_secs(5),
        }
    }
}
