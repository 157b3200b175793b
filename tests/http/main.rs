//! The HTTP server as clients see it, over real sockets.

#![expect(clippy::unwrap_used, reason = "a test that fails says so by panicking")]
#![expect(unreachable_pub, reason = "what the modules of a test share is nobody else's")]

mod api;
mod counter;
mod endpoints;
mod events;
mod harness;
mod hostile;
mod layers;
mod pages;
mod patch;
mod pitfalls;
mod protocols;
mod refusals;
mod webhooks;
