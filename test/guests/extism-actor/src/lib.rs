//! An Extism filter by the Rust PDK. Its configuration says what it does: `greeting` is added to requests, `deny` is a path that
//! it answers itself (and `/error` then fails), `count` has it count requests in a variable.
use extism_pdk::*;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Request {
    path: String,
    headers: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    state: Option<String>,
}

#[derive(Serialize, Default)]
struct Edits {
    set: Vec<(String, String)>,
}

#[derive(Serialize)]
struct Own {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

#[derive(Serialize, Default)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Edits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    respond: Option<Own>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> &'a str {
    headers.iter().find(|(each, _)| each == name).map_or("none", |(_, value)| value)
}

fn setting(name: &str) -> Option<String> {
    config::get(name).ok().flatten()
}

#[plugin_fn]
pub fn on_configure(settings: String) -> FnResult<()> {
    if settings.contains("\"refuse\"") {
        return Err(WithReturnCode::new(Error::msg("these settings are not for me"), 1));
    }
    Ok(())
}

#[plugin_fn]
pub fn on_request(Json(request): Json<Request>) -> FnResult<Json<Answer>> {
    if let Some(path) = setting("deny") {
        if request.path == path {
            info!("denied {}", path);
            let headers = vec![("x-by".to_string(), "extism".to_string())];
            let respond = Some(Own { status: 403, headers, body: "denied".to_string() });
            return Ok(Json(Answer { respond, ..Default::default() }));
        }
        if request.path == "/error" {
            return Err(WithReturnCode::new(Error::msg("an error of the plug-in"), 1));
        }
    }
    let mut value = format!("{} {}", find(&request.headers, "user-agent"), find(&request.headers, "accept"));
    if let Some(greeting) = setting("greeting") {
        value = format!("{greeting} {value}");
    }
    if setting("count").is_some() {
        let count = var::get::<String>("count")?.and_then(|text| text.parse::<u32>().ok()).unwrap_or(0) + 1;
        var::set("count", count.to_string())?;
        value = format!("{value} {count}");
    }
    let headers = Some(Edits { set: vec![("x-seen".to_string(), value)] });
    Ok(Json(Answer { headers, state: Some("mine".to_string()), ..Default::default() }))
}

#[plugin_fn]
pub fn on_response(Json(response): Json<Response>) -> FnResult<Json<Answer>> {
    let kept = response.state.unwrap_or_default();
    let value = format!("{} {} {} {kept}", response.status, find(&response.headers, "content-type"), find(&response.headers, "content-length"));
    let headers = Some(Edits { set: vec![("x-seen".to_string(), value)] });
    Ok(Json(Answer { headers, ..Default::default() }))
}
