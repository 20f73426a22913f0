//! What a typical filter costs (bench/component.ts): it reads two headers and adds one, in each direction.

mod world {
    wit_bindgen::generate!({
        path: "../../../filters-wasm/wit",
        world: "selvedge:filter/head-filter",
        generate_all,
    });
}

use world::exports::selvedge::filter::{configuration, heads};
use world::selvedge::filter::http::{Request, Response};
use world::selvedge::filter::types::{Callbacks, ExchangeId, Verdict};

struct Typical;

impl configuration::Guest for Typical {
    fn configure(_settings: String) -> Result<Callbacks, String> {
        Ok(Callbacks::REQUEST_HEAD | Callbacks::RESPONSE_HEAD)
    }
}

impl heads::Guest for Typical {
    fn on_request_head(_: ExchangeId, request: &Request, _end: bool) -> Verdict {
        let length = request.header("user-agent").map_or(0, |value| value.len()) + request.header("accept").map_or(0, |value| value.len());
        match request.add_header("x-filtered", if length > 0 { "yes" } else { "no" }) {
            Ok(()) => Verdict::Continue,
            Err(_) => Verdict::Fail("the header was refused".into()),
        }
    }

    fn on_response_head(_: ExchangeId, _: &Request, response: &Response, _end: bool) -> Verdict {
        let length = response.header("content-type").map_or(0, |value| value.len()) + response.header("server").map_or(0, |value| value.len());
        match response.add_header("x-filtered", if length > 0 { "yes" } else { "no" }) {
            Ok(()) => Verdict::Continue,
            Err(_) => Verdict::Fail("the header was refused".into()),
        }
    }

    fn on_done(_: ExchangeId, _: &Request) {}
}

world::export!(Typical with_types_in world);
