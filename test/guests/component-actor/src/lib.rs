//! A filter that does what its settings say, for the contract suite: `{"script": …}` with lines `callback: command; command`.
//!
//! ```text
//! request-head: show user-agent; set x-a 1; respond 403 denied
//! request-body: read; pause
//! ```
//!
//! What a command answers goes to the log as `command: answer`. A callback without a line is not asked for.

mod world {
    wit_bindgen::generate!({
        path: "../../../filters-wasm/wit",
        inline: "
            package selvedge:actor;
            world actor {
                include selvedge:filter/body-filter@0.1.0;
                include selvedge:filter/calling-filter@0.1.0;
                import selvedge:filter/clock@0.1.0;
                import selvedge:filter/random@0.1.0;
                import selvedge:filter/shared-data@0.1.0;
                import selvedge:filter/metrics@0.1.0;
                import selvedge:filter/nats@0.1.0;
            }
        ",
        world: "selvedge:actor/actor",
        generate_all,
    });
}

use std::cell::RefCell;
use std::collections::HashMap;
use world::selvedge::filter::call_out::{self, CallAnswer, CallId, CallRequest};
use world::selvedge::filter::http::{Body, Request, Response, Trailers};
use world::selvedge::filter::types::{Callbacks, EditError, ExchangeId, Header, LocalResponse, Verdict};
use world::exports::selvedge::filter::{bodies, call_answers, configuration, heads};
use world::selvedge::filter::{clock, log, metrics, nats, random, shared_data};

thread_local! {
    static SCRIPTS: RefCell<HashMap<String, Vec<Vec<String>>>> = RefCell::new(HashMap::new());
    static ALIVE: RefCell<Vec<ExchangeId>> = const { RefCell::new(Vec::new()) };
}

fn say(text: &str) {
    log::write(log::Level::Info, text);
}

/// What of the exchange is in hand.
struct Hands<'a> {
    exchange: ExchangeId,
    request: Option<&'a Request>,
    response: Option<&'a Response>,
    trailers: Option<&'a Trailers>,
    body: Option<&'a Body>,
    end: bool,
}

fn outcome<T>(result: Result<T, EditError>) -> String {
    match result {
        Ok(_) => "ok".into(),
        Err(EditError::NotNow) => "not-now".into(),
        Err(EditError::Invalid) => "invalid".into(),
        Err(EditError::OverBudget) => "over-budget".into(),
    }
}

fn text(bytes: Vec<u8>) -> String {
    bytes.into_iter().map(char::from).collect()
}

fn number(word: &str) -> u32 {
    word.parse().unwrap_or(0)
}

/// `%xx` stands for a character that a command cannot hold as it is.
fn unescape(word: &str) -> String {
    let mut out = String::new();
    let mut parts = word.split('%');
    out.push_str(parts.next().unwrap_or(""));
    for part in parts {
        let code = u32::from_str_radix(part.get(..4).unwrap_or("0"), 16).unwrap_or(0);
        out.push(char::from_u32(code).unwrap_or('?'));
        out.push_str(part.get(4..).unwrap_or(""));
    }
    out
}

fn header(hands: &Hands, name: &str) -> Option<String> {
    if let Some(trailers) = hands.trailers {
        return trailers.header(name);
    }
    match (hands.response, hands.request) {
        (Some(response), _) => response.header(name),
        (None, Some(request)) => request.header(name),
        _ => None,
    }
}

fn edit(hands: &Hands, verb: &str, name: &str, value: &str) -> String {
    if let Some(trailers) = hands.trailers {
        return match verb {
            "remove" => trailers.remove_header(name).map(|found| found.to_string()).unwrap_or_else(|e| outcome::<()>(Err(e))),
            _ => outcome(trailers.set_header(name, value)),
        };
    }
    match (hands.response, hands.request, verb) {
        (Some(to), _, "add") => outcome(to.add_header(name, value)),
        (Some(to), _, "set") => outcome(to.set_header(name, value)),
        (Some(to), _, _) => to.remove_header(name).map(|found| found.to_string()).unwrap_or_else(|e| outcome::<()>(Err(e))),
        (None, Some(to), "add") => outcome(to.add_header(name, value)),
        (None, Some(to), "set") => outcome(to.set_header(name, value)),
        (None, Some(to), _) => to.remove_header(name).map(|found| found.to_string()).unwrap_or_else(|e| outcome::<()>(Err(e))),
        _ => "nothing in hand".into(),
    }
}

fn list(headers: Vec<Header>) -> String {
    headers.into_iter().map(|h| format!("{}={}", h.name, h.value)).collect::<Vec<_>>().join(",")
}

/// Runs one command. `None`: go on with the next one.
fn obey(hands: &Hands, words: &[String]) -> Option<Verdict> {
    let word = |i: usize| words.get(i).map(|w| unescape(w)).unwrap_or_default();
    let verb = word(0);
    let tell = |answer: String| {
        say(&format!("{}: {}", words.join(" "), answer));
        None
    };
    match verb.as_str() {
        "continue" => Some(Verdict::Continue),
        "pause" => Some(Verdict::Pause),
        "pause-until-end" => (!hands.end).then_some(Verdict::Pause),
        "fail" => Some(Verdict::Fail(words[1..].join(" "))),
        "respond" => Some(Verdict::Respond(LocalResponse {
            status: number(&word(1)) as u16,
            headers: words[3..]
                .iter()
                .filter_map(|w| w.split_once('='))
                .map(|(name, value)| Header { name: name.into(), value: unescape(value) })
                .collect(),
            body: word(2).into_bytes(),
        })),
        "trap" => core::arch::wasm32::unreachable(),
        "panic" => panic!("as asked"),
        "loop" => loop {
            std::hint::spin_loop();
        },
        "recurse" => {
            std::hint::black_box(recurse(1));
            None
        }
        "grow" => tell(format!("{}", core::arch::wasm32::memory_grow(0, number(&word(1)) as usize) as isize)),
        "long-list" => Some(Verdict::Respond(LocalResponse {
            status: 200,
            headers: vec![Header { name: "x".into(), value: "".into() }; number(&word(1)) as usize],
            body: vec![],
        })),
        "calls" => {
            for _ in 0..number(&word(1)) {
                let _ = hands.request.map(Request::scheme);
            }
            None
        }
        "show" => tell(header(hands, &word(1)).unwrap_or("none".into())),
        "values" => tell(match (hands.response, hands.request) {
            (Some(from), _) => from.header_values(&word(1)),
            (None, Some(from)) => from.header_values(&word(1)),
            _ => vec![],
        }.join("|")),
        "all" => tell(list(match (hands.trailers, hands.response, hands.request) {
            (Some(from), _, _) => from.headers(),
            (None, Some(from), _) => from.headers(),
            (None, None, Some(from)) => from.headers(),
            _ => vec![],
        })),
        "add" | "set" | "remove" => tell(edit(hands, &verb, &word(1), &word(2))),
        "request-set" => tell(hands.request.map(|r| outcome(r.set_header(&word(1), &word(2)))).unwrap_or("no request".into())),
        "line" => tell(hands.request.map(|r| format!("{} {} {} {}", r.method(), r.scheme(), r.authority(), r.path())).unwrap_or_default()),
        "set-path" => tell(hands.request.map(|r| outcome(r.set_path(&word(1)))).unwrap_or_default()),
        "set-method" => tell(hands.request.map(|r| outcome(r.set_method(&word(1)))).unwrap_or_default()),
        "set-authority" => tell(hands.request.map(|r| outcome(r.set_authority(&word(1)))).unwrap_or_default()),
        "status" => tell(hands.response.map(|r| r.status().to_string()).unwrap_or_default()),
        "set-status" => tell(hands.response.map(|r| outcome(r.set_status(number(&word(1)) as u16))).unwrap_or_default()),
        "attribute" => {
            let path: Vec<String> = words[1..].iter().map(|w| unescape(w)).collect();
            tell(hands.request.and_then(|r| r.attribute(&path)).unwrap_or("none".into()))
        }
        "set-attribute" => {
            if let Some(request) = hands.request {
                request.set_attribute(&[word(1)], &word(2));
            }
            None
        }
        "end" => tell(hands.end.to_string()),
        "length" => tell(hands.body.map(|b| b.length().to_string()).unwrap_or_default()),
        "read" => tell(hands.body.map(|b| text(b.read(number(&word(1)), if words.len() > 2 { number(&word(2)) } else { u32::MAX }))).unwrap_or_default()),
        "replace" => tell(hands.body.map(|b| outcome(b.replace(number(&word(1)), number(&word(2)), word(3).as_bytes()))).unwrap_or_default()),
        "clock" => tell(format!("{} {}", clock::wall(), clock::monotonic())),
        "random" => tell(random::bytes(number(&word(1))).len().to_string()),
        "shared-get" => tell(shared_data::get(&word(1)).map(|e| format!("{} {}", text(e.value), e.version)).unwrap_or("none".into())),
        "shared-set" => {
            let version = words.get(3).map(|w| number(w));
            tell(match shared_data::set(&word(1), word(2).as_bytes(), version) {
                Ok(()) => "ok".into(),
                Err(shared_data::SetError::Conflict) => "conflict".into(),
                Err(shared_data::SetError::Full) => "full".into(),
            })
        }
        "count" => {
            if let Some(id) = metrics::define(metrics::Kind::Counter, &word(1)) {
                metrics::increment(id, number(&word(2)));
            } else {
                say("no metric");
            }
            None
        }
        "publish" => tell(match nats::publish(&word(1), word(2).as_bytes()) {
            Ok(()) => "ok".into(),
            Err(nats::PublishError::NotGranted) => "not-granted".into(),
            Err(nats::PublishError::TooLarge) => "too-large".into(),
            Err(nats::PublishError::TooMany) => "too-many".into(),
            Err(nats::PublishError::Unavailable) => "unavailable".into(),
        }),
        "increment" => {
            metrics::increment(number(&word(1)), 1);
            None
        }
        "call" => tell(match call_out::send(hands.exchange, &CallRequest {
            service: word(1),
            method: "GET".into(),
            path: word(2),
            authority: "callee".into(),
            headers: vec![Header { name: "X-Asked".into(), value: words.get(3).map(|w| unescape(w)).unwrap_or("1".into()) }],
            body: vec![],
            timeout_ms: 100,
        }) {
            Some(_) => "sent".into(),
            None => "refused".into(),
        }),
        "print" => {
            println!("printed {}", word(1));
            None
        }
        "log" => {
            say(&word(1));
            None
        }
        "alive" => tell(ALIVE.with_borrow(|alive| alive.len().to_string())),
        _ => tell("unknown command".into()),
    }
}

#[allow(unconditional_recursion)]
fn recurse(depth: u32) -> u32 {
    recurse(std::hint::black_box(depth + 1)) + 1
}

fn play(name: &str, hands: &Hands) -> Verdict {
    let script = SCRIPTS.with_borrow(|scripts| scripts.get(name).cloned().unwrap_or_default());
    for words in &script {
        if let Some(verdict) = obey(hands, words) {
            return verdict;
        }
    }
    Verdict::Continue
}

const NOTHING: Hands<'static> = Hands { exchange: 0, request: None, response: None, trailers: None, body: None, end: false };

struct Actor;

impl configuration::Guest for Actor {
    fn configure(settings: String) -> Result<Callbacks, String> {
        let mut wanted = Callbacks::empty();
        let (_, script) = settings.split_once("\"script\":\"").unwrap_or(("", ""));
        let settings = script.trim_end_matches("\"}").replace("\\n", "\n");
        for line in settings.lines() {
            let (name, script) = line.split_once(':').unwrap_or((line, ""));
            wanted = wanted | match name {
                "request-head" => Callbacks::REQUEST_HEAD,
                "request-body" => Callbacks::REQUEST_BODY,
                "request-trailers" => Callbacks::REQUEST_TRAILERS,
                "response-head" => Callbacks::RESPONSE_HEAD,
                "response-body" => Callbacks::RESPONSE_BODY,
                "response-trailers" => Callbacks::RESPONSE_TRAILERS,
                "done" => Callbacks::DONE,
                _ => Callbacks::empty(),
            };
            let commands = script.split(';').map(|c| c.split_whitespace().map(String::from).collect::<Vec<_>>());
            SCRIPTS.with_borrow_mut(|scripts| scripts.insert(name.into(), commands.filter(|c| !c.is_empty()).collect()));
        }
        match play("configure", &NOTHING) {
            Verdict::Fail(reason) => Err(reason),
            _ => Ok(wanted),
        }
    }
}

impl heads::Guest for Actor {
    fn on_request_head(exchange: ExchangeId, request: &Request, end: bool) -> Verdict {
        ALIVE.with_borrow_mut(|alive| alive.push(exchange));
        play("request-head", &Hands { exchange, request: Some(request), end, ..NOTHING })
    }
    fn on_response_head(exchange: ExchangeId, request: &Request, response: &Response, end: bool) -> Verdict {
        play("response-head", &Hands { exchange, request: Some(request), response: Some(response), end, ..NOTHING })
    }
    fn on_done(exchange: ExchangeId, request: &Request) {
        ALIVE.with_borrow_mut(|alive| alive.retain(|each| *each != exchange));
        play("done", &Hands { exchange, request: Some(request), ..NOTHING });
    }
}

impl bodies::Guest for Actor {
    fn on_request_body(exchange: ExchangeId, body: &Body, end: bool) -> Verdict {
        play("request-body", &Hands { exchange, body: Some(body), end, ..NOTHING })
    }
    fn on_request_trailers(exchange: ExchangeId, trailers: &Trailers) -> Verdict {
        play("request-trailers", &Hands { exchange, trailers: Some(trailers), ..NOTHING })
    }
    fn on_response_body(exchange: ExchangeId, body: &Body, end: bool) -> Verdict {
        play("response-body", &Hands { exchange, body: Some(body), end, ..NOTHING })
    }
    fn on_response_trailers(exchange: ExchangeId, trailers: &Trailers) -> Verdict {
        play("response-trailers", &Hands { exchange, trailers: Some(trailers), ..NOTHING })
    }
}

impl call_answers::Guest for Actor {
    fn on_call_answer(exchange: ExchangeId, _call: CallId, answer: Option<CallAnswer>, request: &Request) -> Verdict {
        say(&match answer {
            Some(answer) => format!("answer {} {} {}", answer.status, list(answer.headers), text(answer.body)),
            None => "no answer".into(),
        });
        play("call-answer", &Hands { exchange, request: Some(request), ..NOTHING })
    }
}

world::export!(Actor with_types_in world);
