wit_bindgen::generate!({ path: "wit", world: "head-filter", generate_all });

use exports::selvedge::filter::{configuration, heads};
use selvedge::filter::http::{Request, Response};
use selvedge::filter::log::{write, Level};
use selvedge::filter::types::{Callbacks, ExchangeId, LocalResponse, Verdict};
use serde::Deserialize;
use std::sync::OnceLock;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    greeting: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { greeting: "hello".into() }
    }
}

/// An instance is configured once, before anything else.
static SETTINGS: OnceLock<Settings> = OnceLock::new();

struct Filter;

impl configuration::Guest for Filter {
    /// Reads the settings; an error refuses them. Answers which callbacks are wanted.
    fn configure(settings: String) -> Result<Callbacks, String> {
        let settings = serde_json::from_str(&settings).map_err(|error| format!("settings, greeting: {error}"))?;
        let _ = SETTINGS.set(settings);
        Ok(Callbacks::REQUEST_HEAD | Callbacks::RESPONSE_HEAD)
    }
}

impl heads::Guest for Filter {
    fn on_request_head(_: ExchangeId, request: &Request, _end: bool) -> Verdict {
        if request.header("x-block").is_none() {
            return Verdict::Continue;
        }
        write(Level::Info, "blocked");
        Verdict::Respond(LocalResponse { status: 403, headers: vec![], body: b"blocked\n".to_vec() })
    }

    fn on_response_head(_: ExchangeId, _: &Request, response: &Response, _end: bool) -> Verdict {
        let greeting = &SETTINGS.get_or_init(Settings::default).greeting;
        match response.set_header("x-greeting", greeting) {
            Ok(()) => Verdict::Continue,
            Err(error) => Verdict::Fail(format!("x-greeting: {error:?}")),
        }
    }

    fn on_done(_: ExchangeId, _: &Request) {}
}

export!(Filter);
