//! The checks, one function per clause, one file per subject. To add one: write the function, name it in its file's
//! `cases`, with an id of the clause table.

mod abuse;
mod auth;
mod consent;
mod cors;
mod counter;
mod events;
mod http;
mod ice;
mod layers;
mod legacy;
mod lifetime;
mod links;
mod media;
mod presenters;
mod redirect;
mod restart;
mod rtp;
mod sdp;
mod session;
mod simulcast;
pub(crate) mod switch;
mod transport;
mod trickle;
mod whep;
mod whip;

use crate::case::Case;
use crate::http::{Exchange, Response};

/// Every check, in the order of the table's sections.
pub(crate) fn all() -> Vec<Case> {
    [
        http::cases(),
        session::cases(),
        cors::cases(),
        auth::cases(),
        sdp::cases(),
        transport::cases(),
        whip::cases(),
        whep::cases(),
        trickle::cases(),
        restart::cases(),
        ice::cases(),
        consent::cases(),
        media::cases(),
        rtp::cases(),
        simulcast::cases(),
        abuse::cases(),
        lifetime::cases(),
        links::cases(),
        counter::cases(),
        presenters::cases(),
        events::cases(),
        layers::cases(),
        switch::cases(),
        legacy::cases(),
        redirect::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// `405, Allow: GET` for reports.
fn seen(exchange: &Exchange, header: &str) -> String {
    match exchange.response.header(header) {
        Some(value) => format!("{}, {header}: {value}", exchange.line()),
        None => format!("{}, no {header}", exchange.line()),
    }
}

/// True when a response that means "no content" has none.
fn is_empty(response: &Response) -> bool {
    response.body.is_empty()
}

#[cfg(test)]
mod tests;
