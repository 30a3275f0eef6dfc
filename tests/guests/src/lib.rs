//! A component of the world that misbehaves on request: `connect` does what its first service field names.
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

use wit::exports::koalr::integration::connector as contract;
use wit::koalr::integration as imports;

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

fn misbehave(how: &str) -> String {
    match how {
        #[allow(clippy::panic, reason = "it is what was asked for")]
        "panic" => panic!("the guest was asked to panic"),
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
        "commit-storm" => loop {
            core::hint::black_box(imports::storage::commit(&[]).is_ok());
        },
        "log-flood" => {
            for number in 0..5_000 {
                imports::log::log(imports::log::Level::Info, &alloc::format!("flood {number}"), &[]);
            }
            "done".to_string()
        }
        "long-list" => {
            let key = || imports::types::IncidentKey { source: "x".to_string(), id: "y".to_string() };
            let keys: Vec<_> = (0..400_000).map(|_| key()).collect();
            alloc::format!("{:?}", imports::storage::get_incidents(&keys).is_ok())
        }
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

/// Without an end, and not as a loop.
#[allow(unconditional_recursion, reason = "it is what was asked for")]
fn recurse(depth: u64) -> u64 {
    core::hint::black_box(recurse(core::hint::black_box(depth + 1))) + 1
}

fn nothing<T>() -> Result<T, contract::Error> {
    Err(contract::Error::Invalid("this component does nothing useful".to_string()))
}

impl contract::Guest for Guest {
    fn describe() -> contract::Descriptor {
        contract::Descriptor {
            name: "guest".to_string(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            display_name: "Guest".to_string(),
            origins: Vec::new(),
            injected: Vec::new(),
            revealed: Vec::new(),
            webhook_events: Vec::new(),
            poll_interval_seconds: 300,
            history_days: 90,
        }
    }

    fn connect(settings: contract::Settings) -> Result<contract::Connection, contract::Error> {
        let how = settings.service_fields.first().map(String::as_str).unwrap_or_default();
        Err(contract::Error::Invalid(misbehave(how)))
    }

    fn verify_webhook(_: contract::Delivery) -> Result<contract::Verified, contract::Rejection> {
        Err(contract::Rejection::MalformedBody)
    }

    fn handle_event(_: contract::Delivery) -> Result<contract::Outcome, contract::Error> {
        nothing()
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
