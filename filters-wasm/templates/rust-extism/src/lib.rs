use extism_pdk::*;
use serde::{Deserialize, Serialize};

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

/// What of a request this filter looks at; there is more (docs/filters.md).
#[derive(Deserialize)]
struct Request {
    headers: Vec<(String, String)>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Headers { set: Vec<(&'static str, String)> },
    Respond { status: u16, body: &'static str },
}

/// Called when an instance starts; an error refuses the settings.
#[plugin_fn]
pub fn on_configure(settings: String) -> FnResult<()> {
    match serde_json::from_str::<Settings>(&settings) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::msg(format!("settings, greeting: {error}")).into()),
    }
}

/// Nothing lets the request go on as it is.
#[plugin_fn]
pub fn on_request(Json(request): Json<Request>) -> FnResult<Option<Json<Answer>>> {
    if !request.headers.iter().any(|(name, _)| name == "x-block") {
        return Ok(None);
    }
    info!("blocked");
    Ok(Some(Json(Answer::Respond { status: 403, body: "blocked\n" })))
}

#[plugin_fn]
pub fn on_response(_: ()) -> FnResult<Json<Answer>> {
    let greeting = config::get("greeting")?.unwrap_or_else(|| Settings::default().greeting);
    Ok(Json(Answer::Headers { set: vec![("x-greeting", greeting)] }))
}
