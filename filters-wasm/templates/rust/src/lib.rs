use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use serde::Deserialize;
use std::rc::Rc;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root { settings: Rc::default() }));
}}

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

/// One for each Filter resource that names this module.
struct Root {
    settings: Rc<Settings>,
}

impl Context for Root {}

impl RootContext for Root {
    /// False refuses the settings; the last log line is the reason that people see.
    fn on_configure(&mut self, _size: usize) -> bool {
        let bytes = self.get_plugin_configuration().unwrap_or_else(|| b"{}".to_vec());
        match serde_json::from_slice(&bytes) {
            Ok(settings) => {
                self.settings = Rc::new(settings);
                true
            }
            Err(error) => {
                log(LogLevel::Error, &format!("settings, greeting: {error}"));
                false
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Greeting { settings: self.settings.clone() }))
    }
}

/// One request and its answer.
struct Greeting {
    settings: Rc<Settings>,
}

impl Context for Greeting {}

impl HttpContext for Greeting {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        if self.get_http_request_header("x-block").is_none() {
            return Action::Continue;
        }
        log(LogLevel::Info, "blocked");
        self.send_http_response(403, vec![], Some(b"blocked\n"));
        Action::Pause
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.set_http_response_header("x-greeting", Some(&self.settings.greeting));
        Action::Continue
    }
}

fn log(level: LogLevel, text: &str) {
    let _ = proxy_wasm::hostcalls::log(level, text);
}
