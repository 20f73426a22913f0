use hmac::{Hmac, Mac};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use serde::Deserialize;
use sha2::Sha256;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::UNIX_EPOCH;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root { settings: None }));
}}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Sign,
    Verify,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Settings {
    mode: Mode,
    keys: BTreeMap<String, String>,
    sign_with: Option<String>,
    #[serde(default = "default_header")]
    header: String,
    #[serde(default = "default_tolerance")]
    tolerance_seconds: u64,
}

fn default_header() -> String {
    "x-signature".into()
}

fn default_tolerance() -> u64 {
    300
}

const SECRET_CHARS: usize = 16;

impl Settings {
    fn read(bytes: &[u8]) -> Result<Settings, String> {
        let settings: Settings = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if settings.keys.is_empty() {
            return Err("/keys: at least one key is needed".into());
        }
        for (id, secret) in &settings.keys {
            if id.is_empty() || id.contains(';') {
                return Err(format!("/keys: {id:?} is no key id"));
            }
            if secret.chars().count() < SECRET_CHARS {
                return Err(format!("/keys/{id}: at least {SECRET_CHARS} characters are needed"));
            }
        }
        if matches!(settings.mode, Mode::Sign) && settings.signing_key().is_none() {
            return Err("/signWith: must name one of the keys".into());
        }
        Ok(settings)
    }

    fn signing_key(&self) -> Option<(&String, &String)> {
        match &self.sign_with {
            Some(id) => self.keys.get_key_value(id),
            None if self.keys.len() == 1 => self.keys.iter().next(),
            None => None,
        }
    }
}

/// One for each Filter resource that names this module.
struct Root {
    settings: Option<Rc<Settings>>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let bytes = self.get_plugin_configuration().unwrap_or_default();
        match Settings::read(&bytes) {
            Ok(settings) => {
                self.settings = Some(Rc::new(settings));
                true
            }
            Err(error) => {
                log(LogLevel::Error, &format!("settings: {error}"));
                false
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        self.settings.clone().map(|settings| Box::new(Exchange { settings }) as Box<dyn HttpContext>)
    }
}

struct Exchange {
    settings: Rc<Settings>,
}

impl Context for Exchange {}

impl HttpContext for Exchange {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        match self.settings.mode {
            Mode::Sign => {
                self.sign();
                Action::Continue
            }
            Mode::Verify => match self.verify() {
                Ok(()) => Action::Continue,
                Err(reason) => {
                    log(LogLevel::Info, &format!("refused: {reason}"));
                    self.send_http_response(401, vec![], Some(b"a valid signature is required\n"));
                    Action::Pause
                }
            },
        }
    }
}

impl Exchange {
    /// What is under the signature. A line end cannot stand in any of the parts, so nobody can shift one into another.
    fn mac(&self, secret: &str, time: u64) -> Hmac<Sha256> {
        let part = |name| self.get_http_request_header(name).unwrap_or_default();
        let text = format!("v1\n{}\n{}\n{}\n{time}", part(":method"), part(":authority"), part(":path"));
        // A key of any length will do.
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes every key");
        mac.update(text.as_bytes());
        mac
    }

    fn now(&self) -> u64 {
        self.get_current_time().duration_since(UNIX_EPOCH).map(|time| time.as_secs()).unwrap_or(0)
    }

    fn sign(&self) {
        let Some((id, secret)) = self.settings.signing_key() else { return };
        let time = self.now();
        let signature = to_hex(&self.mac(secret, time).finalize().into_bytes());
        let header = &self.settings.header;
        // However many a caller sent: one is left.
        self.set_http_request_header(header, None);
        self.set_http_request_header(header, Some(&format!("{id};{time};{signature}")));
    }

    fn verify(&self) -> Result<(), &'static str> {
        let wanted = self.settings.header.to_lowercase();
        let headers = self.get_http_request_headers();
        let mut values = headers.iter().filter(|(name, _)| *name == wanted);
        let value = match (values.next(), values.next()) {
            (Some((_, value)), None) => value,
            (None, _) => return Err("it is not signed"),
            _ => return Err("there is more than one signature"),
        };
        let mut parts = value.split(';');
        let (Some(id), Some(time), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err("the signature is malformed");
        };
        let time: u64 = time.parse().map_err(|_| "the time is malformed")?;
        let signature = from_hex(signature).ok_or("the signature is malformed")?;
        if self.now().abs_diff(time) > self.settings.tolerance_seconds {
            return Err("the signature is too old, or from the future");
        }
        let secret = self.settings.keys.get(id).ok_or("the key is not known")?;
        // In a time that says nothing about where they differ.
        self.mac(secret, time).verify_slice(&signature).map_err(|_| "the signature does not fit")
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || text.len() % 2 != 0 || text.is_empty() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

fn log(level: LogLevel, text: &str) {
    let _ = proxy_wasm::hostcalls::log(level, text);
}
