//! An Extism filter by the Rust PDK that asks a service about each request and each answer: `ask` of its configuration is the URL.
//! Who the service says it is goes on in `x-user`; what it refuses is refused.
use extism_pdk::*;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Request {
    path: String,
    headers: Vec<(String, String)>,
}

#[derive(Serialize, Default)]
struct Edits {
    set: Vec<(String, String)>,
}

#[derive(Serialize)]
struct Own {
    status: u16,
    body: String,
}

#[derive(Serialize, Default)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Edits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    respond: Option<Own>,
}

fn ask(method: &str, path: &str, token: &str, body: Option<String>) -> Result<HttpResponse, Error> {
    let url = format!("{}{path}", config::get("ask")?.unwrap_or_default());
    let request = HttpRequest::new(url).with_method(method).with_header("x-token", token);
    http::request::<String>(&request, body)
}

#[plugin_fn]
pub fn on_request(Json(request): Json<Request>) -> FnResult<Json<Answer>> {
    let token = request.headers.iter().find(|(name, _)| name == "x-token").map_or("", |(_, value)| value);
    let answer = ask("POST", "/who?b=1", token, Some(request.path))?;
    if answer.status_code() != 200 {
        let body = format!("the service says {}", answer.status_code());
        return Ok(Json(Answer { respond: Some(Own { status: 403, body }), ..Default::default() }));
    }
    let name = String::from_utf8_lossy(&answer.body()).into_owned();
    let kind = answer.header("x-kind").unwrap_or("none").to_string();
    let set = vec![("x-user".to_string(), name), ("x-kind".to_string(), kind)];
    Ok(Json(Answer { headers: Some(Edits { set }), ..Default::default() }))
}

#[plugin_fn]
pub fn on_response(_: String) -> FnResult<Json<Answer>> {
    let answer = ask("GET", "/told", "", None)?;
    let set = vec![("x-told".to_string(), answer.status_code().to_string())];
    Ok(Json(Answer { headers: Some(Edits { set }), ..Default::default() }))
}
