//! A plug-in of Extism that does what its settings say, in the language of component-actor as far as a plug-in can: `{"script": …}`
//! with lines `callback: command; command`. What a command reads goes to the log as `command: answer`; changes are the answer of the
//! callback, and nobody tells a plug-in what became of them.
use extism_pdk::*;
use serde_json::{json, Map, Value};

mod wasi {
    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    extern "C" {
        pub fn random_get(at: *mut u8, size: usize) -> u16;
        pub fn clock_time_get(id: u32, precision: u64, at: *mut u64) -> u16;
    }
}

/// A callback's answer while it is made.
#[derive(Default)]
struct Answer {
    members: Map<String, Value>,
    remove: Vec<Value>,
    set: Vec<Value>,
    add: Vec<Value>,
}

impl Answer {
    fn json(mut self) -> String {
        if self.remove.len() + self.set.len() + self.add.len() > 0 {
            self.members.insert("headers".into(), json!({ "remove": self.remove, "set": self.set, "add": self.add }));
        }
        Value::Object(self.members).to_string()
    }
}

/// `%xxxx` stands for a character that a command cannot hold as it is.
fn unescape(word: &str) -> String {
    let mut parts = word.split('%');
    let mut out = String::from(parts.next().unwrap_or(""));
    for part in parts {
        let code = u32::from_str_radix(part.get(..4).unwrap_or("0"), 16).unwrap_or(0);
        out.push(char::from_u32(code).unwrap_or('?'));
        out.push_str(part.get(4..).unwrap_or(""));
    }
    out
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn number(word: &str) -> usize {
    word.parse().unwrap_or(0)
}

fn fields(message: &Value) -> Vec<(&str, &str)> {
    let pairs = message["headers"].as_array().map(Vec::as_slice).unwrap_or(&[]);
    pairs.iter().map(|pair| (pair[0].as_str().unwrap_or(""), pair[1].as_str().unwrap_or(""))).collect()
}

fn values<'a>(message: &'a Value, name: &str) -> Vec<&'a str> {
    let name = name.to_ascii_lowercase();
    fields(message).into_iter().filter(|(each, _)| *each == name).map(|(_, value)| value).collect()
}

#[allow(unconditional_recursion)]
fn recurse(depth: u32) -> u32 {
    recurse(std::hint::black_box(depth + 1)) + 1
}

fn own(words: &[String]) -> Value {
    let headers: Vec<Value> =
        words[3..].iter().filter_map(|word| word.split_once('=')).map(|(name, value)| json!([name, unescape(value)])).collect();
    json!({ "status": number(&words[1]), "headers": headers, "body": unescape(&words[2]) })
}

/// What a command reads.
fn look(words: &[String], message: &Value, body: &[u8]) -> Option<String> {
    let word = |i: usize| words.get(i).map(|word| unescape(word)).unwrap_or_default();
    Some(match words[0].as_str() {
        "show" => match values(message, &word(1)).as_slice() {
            [] => "none".into(),
            found => found.join(","),
        },
        "values" => values(message, &word(1)).join("|"),
        "all" => fields(message).iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(","),
        "line" => ["method", "scheme", "authority", "path"].map(|name| message[name].as_str().unwrap_or("")).join(" "),
        "status" => message["status"].to_string(),
        "source" => message["source"].as_str().unwrap_or("").into(),
        "end" => message["end"].to_string(),
        "length" => body.len().to_string(),
        "read" => {
            let from = body.get(number(&word(1)).min(body.len())..).unwrap_or(&[]);
            latin1(if words.len() > 2 { &from[..number(&word(2)).min(from.len())] } else { from })
        }
        "shared-get" => var::get::<String>(word(1)).ok().flatten().unwrap_or("none".into()),
        "shared-set" => {
            let _ = var::set(word(1), word(2));
            "ok".into()
        }
        "grow" => format!("{}", core::arch::wasm32::memory_grow(0, number(&word(1))) as isize),
        "random" => {
            let mut bytes = vec![0; number(&word(1))];
            match unsafe { wasi::random_get(bytes.as_mut_ptr(), bytes.len()) } {
                0 => bytes.len().to_string(),
                _ => "denied".into(),
            }
        }
        "clock" => [0, 1].map(|id| {
            let mut nanos = 0;
            unsafe { wasi::clock_time_get(id, 1, &mut nanos) };
            nanos.to_string()
        }).join(" "),
        _ => return None,
    })
}

/// What a command does. True: nothing after it is done.
fn act(words: &[String], answer: &mut Answer, body: &mut Vec<u8>) -> bool {
    let word = |i: usize| words.get(i).map(|word| unescape(word)).unwrap_or_default();
    let pair = || json!([word(1), word(2)]);
    match words[0].as_str() {
        "continue" => return true,
        "fail" => {
            answer.members.insert("fail".into(), json!(words[1..].join(" ")));
            return true;
        }
        "respond" => {
            answer.members.insert("respond".into(), own(words));
            return true;
        }
        "add" => answer.add.push(pair()),
        "set" => answer.set.push(pair()),
        "remove" => answer.remove.push(json!(word(1))),
        "set-status" => _ = answer.members.insert("status".into(), json!(number(&word(1)))),
        name @ ("set-path" | "set-method" | "set-authority") => _ = answer.members.insert(name[4..].into(), json!(word(1))),
        "replace" => {
            let from = number(&word(1)).min(body.len());
            let to = from.saturating_add(number(&word(2))).min(body.len());
            body.splice(from..to, word(3).bytes());
            answer.members.insert("body".into(), json!(latin1(body)));
        }
        "log" => info!("{}", word(1)),
        "trap" => core::arch::wasm32::unreachable(),
        "loop" => loop {
            std::hint::spin_loop();
        },
        "recurse" => _ = std::hint::black_box(recurse(1)),
        other => info!("unknown command {}", other),
    }
    false
}

fn play(callback: &str, message: &Value, mut body: Vec<u8>) -> String {
    let script = config::get("script").ok().flatten().unwrap_or_default();
    let mut answer = Answer::default();
    let lines = script.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| *name == callback);
    for command in lines.flat_map(|(_, commands)| commands.split(';')) {
        let words: Vec<String> = command.split_ascii_whitespace().map(String::from).collect();
        if words.is_empty() {
            continue;
        }
        if let Some(text) = look(&words, message, &body) {
            info!("{}: {}", words.join(" "), text);
        } else if act(&words, &mut answer, &mut body) {
            break;
        }
    }
    answer.json()
}

#[plugin_fn]
pub fn on_configure(_settings: String) -> FnResult<()> {
    let answer: Value = serde_json::from_str(&play("configure", &Value::Null, vec![])).unwrap_or_default();
    match answer["fail"].as_str() {
        Some(reason) => Err(WithReturnCode::new(Error::msg(String::from(reason)), 1)),
        None => Ok(()),
    }
}

#[plugin_fn]
pub fn on_request(Json(request): Json<Value>) -> FnResult<String> {
    Ok(play("request-head", &request, vec![]))
}

#[plugin_fn]
pub fn on_request_body(body: Vec<u8>) -> FnResult<String> {
    Ok(play("request-body", &Value::Null, body))
}

#[plugin_fn]
pub fn on_response(Json(response): Json<Value>) -> FnResult<String> {
    Ok(play("response-head", &response, vec![]))
}

#[plugin_fn]
pub fn on_response_body(body: Vec<u8>) -> FnResult<String> {
    Ok(play("response-body", &Value::Null, body))
}
