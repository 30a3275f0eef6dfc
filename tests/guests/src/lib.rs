//! A component of the world that misbehaves on request: `connect` does what its first service field names, with the
//! other fields as arguments. Once told to `arm`, every other call of that organisation traps. A delivery is answered
//! with how many its instance was called for.
//!
//! It shares the plugin's runtime, so that what a test sees of an allocation or a panic here is what it would see
//! of the plugin. Everything that it is not asked for, it refuses.

#![cfg_attr(target_arch = "wasm32", no_std)]
#![cfg(target_arch = "wasm32")]

extern crate alloc;
// Its allocator.
extern crate koalr_codec as _;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use wit::exports::koalr::integration::connector as contract;
use wit::koalr::integration as imports;

mod net;
#[path = "../../../plugin/src/component/runtime.rs"]
mod runtime;

mod wit {
    #![allow(missing_docs, unsafe_code, unreachable_pub, reason = "generated from wit/")]

    wit_bindgen::generate!({
        path: "../../wit",
        world: "integration",
        with: {
            "wasi:clocks/monotonic-clock@0.2.12": wasi::clocks::monotonic_clock,
            "wasi:clocks/wall-clock@0.2.12": wasi::clocks::wall_clock,
            "wasi:http/outgoing-handler@0.2.12": wasi::http::outgoing_handler,
            "wasi:http/types@0.2.12": wasi::http::types,
            "wasi:io/error@0.2.12": wasi::io::error,
            "wasi:io/poll@0.2.12": wasi::io::poll,
            "wasi:io/streams@0.2.12": wasi::io::streams,
        },
    });

    use super::Guest;
    export!(Guest);
}

struct Guest;

fn misbehave(how: &str, with: &[String]) -> String {
    match how {
        "panic" => trap(),
        "arm" => {
            let armed = imports::storage::Change::SetState((ARMED.to_string(), Some(Vec::new())));
            alloc::format!("{:?}", imports::storage::commit(&[armed]).is_ok())
        }
        "spy" => spy(with),
        "get" => with.iter().map(|url| net::get(url) + " | ").collect(),
        "hoard-connections" => net::hoard(with.first().map(String::as_str).unwrap_or_default()),
        "send-without-end" => net::send_without_end(with.first().map(String::as_str).unwrap_or_default()),
        "compute" => loop {
            core::hint::black_box(());
        },
        "allocate" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(core::hint::black_box(Vec::<u8>::with_capacity(1 << 20)));
            }
        }
        "recurse" => recurse(0).to_string(),
        "storm" => loop {
            core::hint::black_box(imports::storage::get_state("anything").is_ok());
        },
        "commit-storm" => {
            for number in 0_u64.. {
                let value = Some(number.to_le_bytes().to_vec());
                let change = imports::storage::Change::SetState(("tiny".to_string(), value));
                core::hint::black_box(imports::storage::commit(&[change]).is_ok());
            }
            "counted to the end".to_string()
        }
        "log-flood" => {
            for number in 0..5_000 {
                imports::log::log(imports::log::Level::Info, &alloc::format!("flood {number}"), &[]);
            }
            "done".to_string()
        }
        "long-list" => long_list(with.first().map(String::as_str).unwrap_or_default()),
        "long-complaint" => "not this\n\u{1b}[2J".repeat(100_000),
        "long-answer" => "x".repeat(40 << 20),
        "state-flood" => {
            let mut stored = 0;
            loop {
                let change = imports::storage::Change::SetState((
                    alloc::format!("key {stored}"),
                    Some(alloc::vec![7; 900_000]),
                ));
                match imports::storage::commit(&[change]) {
                    Ok(_) => stored += 1,
                    Err(why) => return alloc::format!("{stored} stored, then {why:?}"),
                }
            }
        }
        _ => alloc::format!("no such misdeed: {how}"),
    }
}

/// More than a crossing may carry, to each import that takes a list or a text.
fn long_list(import: &str) -> String {
    const MANY: usize = 200_000;
    let text = || "y".repeat(100);
    let long = || "y".repeat(40 << 20);
    let taken = match import {
        "get-incidents" => {
            let key = || imports::types::IncidentKey { source: "x".to_string(), id: text() };
            imports::storage::get_incidents(&(0..MANY).map(|_| key()).collect::<Vec<_>>()).is_ok()
        }
        "commit" => {
            let change = |_| imports::storage::Change::SetState((text(), Some(alloc::vec![7; 1 << 20])));
            imports::storage::commit(&(0..20).map(change).collect::<Vec<_>>()).is_ok()
        }
        "get-state" => imports::storage::get_state(&long()).is_ok(),
        "to-revisit" => imports::storage::to_revisit(&long(), 1).is_ok(),
        "list-incidents" => imports::storage::list_incidents("x", Some(&long()), 1).is_ok(),
        "scan-samples" => imports::storage::scan_samples(0, 1, 1, Some(&long())).is_ok(),
        "users-by-email" => {
            imports::directory::users_by_email(&(0..MANY).map(|_| text()).collect::<Vec<_>>()).is_ok()
        }
        "services-by-name" => {
            let name =
                || imports::directory::ServiceName { external_id: None, name: text(), aliases: Vec::new() };
            imports::directory::services_by_name(&(0..MANY).map(|_| name()).collect::<Vec<_>>()).is_ok()
        }
        "reveal" => imports::credentials::reveal(&long()).is_empty(),
        "log" => {
            let fields: Vec<_> = (0..MANY).map(|_| (text(), text())).collect();
            imports::log::log(imports::log::Level::Info, "long", &fields);
            true
        }
        _ => return alloc::format!("no such import: {import}"),
    };
    alloc::format!("{import} took it: {taken}")
}

/// Set in the state of an organisation whose calls are to trap.
const ARMED: &str = "armed";

fn trap_if_armed() {
    if matches!(imports::storage::get_state(ARMED), Ok(Some(_))) {
        trap();
    }
}

#[allow(clippy::panic, reason = "it is what was asked for")]
fn trap() -> ! {
    panic!("the guest was asked to panic")
}

/// Looks for what other organisations have by every name that might lead there, then writes under those names.
fn spy(names: &[String]) -> String {
    let mut found = 0;
    for name in names {
        found += u32::from(!matches!(imports::storage::get_state(name), Ok(None) | Err(_)));
        for (source, id) in [("incidentio", name.as_str()), (name, "01"), (name, name)] {
            let key = imports::types::IncidentKey { source: source.to_string(), id: id.to_string() };
            if let Ok(incidents) = imports::storage::get_incidents(&[key]) {
                found += u32::from(incidents.iter().any(Option::is_some));
            }
        }
        for after in [None, Some(name.as_str())] {
            for source in ["incidentio", name] {
                if let Ok(page) = imports::storage::list_incidents(source, after, 100) {
                    found += u32::from(!page.keys.is_empty());
                }
            }
        }
        if let Ok(page) = imports::storage::scan_samples(i64::MIN, i64::MAX, i64::MAX, Some(name)) {
            found += u32::from(!page.samples.is_empty());
        }
        let users = imports::directory::users_by_email(core::slice::from_ref(name));
        found += u32::from(users.is_ok_and(|users| users.iter().any(Option::is_some)));
        found += u32::from(!imports::credentials::reveal(name).is_empty());
        let written = imports::storage::Change::SetState((name.clone(), Some(b"was here".to_vec())));
        let _ = imports::storage::commit(&[written]);
    }
    alloc::format!("{found} found")
}

/// What verification may do besides computing, told as an event's type.
fn peek() -> contract::Verified {
    let written = imports::storage::Change::SetState(("peeked".to_string(), Some(Vec::new())));
    let done = [
        imports::storage::get_state("anything").is_ok(),
        imports::storage::list_incidents("guest", None, 1).is_ok(),
        imports::storage::commit(&[written]).is_ok(),
        imports::directory::users_by_email(&["a@example.com".to_string()]).is_ok(),
        net::get("https://api.guest.example/").starts_with("200"),
    ];
    contract::Verified {
        id: "peeked".to_string(),
        sent_at: 0,
        event_type: alloc::format!("{done:?}"),
        incident_id: None,
    }
}

/// Without an end, and not as a loop.
#[allow(unconditional_recursion, reason = "it is what was asked for")]
fn recurse(depth: u64) -> u64 {
    core::hint::black_box(recurse(core::hint::black_box(depth + 1))) + 1
}

fn nothing<T>() -> Result<T, contract::Error> {
    trap_if_armed();
    Err(contract::Error::Invalid("this component does nothing useful".to_string()))
}

impl contract::Guest for Guest {
    fn describe() -> contract::Descriptor {
        if cfg!(feature = "trap-in-describe") {
            trap();
        }
        contract::Descriptor {
            name: "guest".to_string(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            display_name: "Guest".to_string(),
            origins: alloc::vec!["https://api.guest.example".to_string(), "https://localhost".to_string()],
            injected: Vec::new(),
            revealed: Vec::new(),
            webhook_events: Vec::new(),
            poll_interval_seconds: 300,
            history_days: 90,
        }
    }

    fn connect(
        settings: contract::Settings,
        _: Option<String>,
    ) -> Result<contract::Connection, contract::Error> {
        let (how, with) =
            settings.service_fields.split_first().map_or(("", &[][..]), |(how, with)| (how, with));
        match how {
            "live" => Ok(contract::Connection {
                account: "guest".to_string(),
                account_url: None,
                key_name: String::new(),
                roles: Vec::new(),
                timestamps: Vec::new(),
                chosen: settings.timestamps,
                warnings: Vec::new(),
            }),
            how => Err(contract::Error::Invalid(misbehave(how, with))),
        }
    }

    fn verify_webhook(delivery: contract::Delivery) -> Result<contract::Verified, contract::Rejection> {
        if delivery.body == b"trap" {
            trap();
        }
        if delivery.body == b"peek" {
            return Ok(peek());
        }
        Err(contract::Rejection::TooLarge)
    }

    fn handle_event(delivery: contract::Delivery) -> Result<contract::Outcome, contract::Error> {
        static CALLS: AtomicU32 = AtomicU32::new(0);
        trap_if_armed();
        match delivery.body.as_slice() {
            b"trap" => trap(),
            b"keep" => core::mem::forget(core::hint::black_box(alloc::vec![1_u8; 5 << 20])),
            b"hold" => core::mem::forget(wasi::http::types::Fields::new()),
            b"refuse" => return nothing(),
            _ => {}
        }
        let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(contract::Outcome::Ignored(alloc::format!("call {calls}")))
    }

    fn poll() -> Result<contract::Step, contract::Error> {
        nothing()
    }

    fn rederive(_: Option<String>) -> Result<contract::Rederived, contract::Error> {
        nothing()
    }

    fn backfill(_: contract::BackfillRequest) -> Result<contract::Step, contract::Error> {
        nothing()
    }

    fn map_severity(_: contract::Severity) -> Result<contract::Mapping, contract::Error> {
        nothing()
    }

    fn compute_mttr(_: contract::MttrQuery) -> Result<contract::MttrReport, contract::Error> {
        nothing()
    }
}
