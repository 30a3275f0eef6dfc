//! What `wit/` says, as Rust. On wasm the imports call the host; elsewhere only the types are of use, and a call
//! would stop the program.

#![allow(missing_docs, unsafe_code, unreachable_pub, reason = "generated from wit/")]

wit_bindgen::generate!({
    path: "../wit",
    world: "integration",
    additional_derives: [PartialEq],
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
