/** A JSON value, for settings and small bodies. */
export class Json {
  isText: bool = false;
  isNumber: bool = false;
  isBool: bool = false;
  isNull: bool = false;
  isList: bool = false;
  isObject: bool = false;
  text: string = "";
  number: f64 = 0;
  bool: bool = false;
  items: Json[] = [];
  names: string[] = [];

  /** A member of an object; null: there is none. */
  get(name: string): Json | null {
    const at = this.names.indexOf(name);
    return at < 0 ? null : this.items[at];
  }

  /** Null: it is not JSON. */
  static parse(text: string): Json | null {
    const reader = new Reader(text);
    const value = reader.value(0);
    reader.space();
    return reader.failed || reader.at != text.length ? null : value;
  }
}

const DEPTH_MAX = 64;

class Reader {
  at: i32 = 0;
  failed: bool = false;

  constructor(private text: string) {}

  space(): void {
    while (this.at < this.text.length) {
      const code = this.text.charCodeAt(this.at);
      if (code != 0x20 && code != 0x0a && code != 0x0d && code != 0x09) return;
      this.at++;
    }
  }

  private next(): i32 {
    this.space();
    return this.at < this.text.length ? this.text.charCodeAt(this.at) : -1;
  }

  private take(code: i32): bool {
    if (this.next() != code) return false;
    this.at++;
    return true;
  }

  private word(word: string): bool {
    if (!this.text.startsWith(word, this.at)) return false;
    this.at += word.length;
    return true;
  }

  value(depth: i32): Json {
    const value = new Json();
    const first = depth > DEPTH_MAX ? -1 : this.next();
    if (first == 0x22) {
      value.isText = true;
      value.text = this.string();
    } else if (first == 0x7b) this.object(value, depth);
    else if (first == 0x5b) this.list(value, depth);
    else if (this.word("true")) {
      value.isBool = true;
      value.bool = true;
    } else if (this.word("false")) value.isBool = true;
    else if (this.word("null")) value.isNull = true;
    else if (first == 0x2d || (first >= 0x30 && first <= 0x39)) this.number(value);
    else this.failed = true;
    return value;
  }

  private object(value: Json, depth: i32): void {
    value.isObject = true;
    this.at++;
    if (this.take(0x7d)) return;
    while (!this.failed) {
      if (this.next() != 0x22) break;
      const name = this.string();
      if (!this.take(0x3a)) break;
      value.names.push(name);
      value.items.push(this.value(depth + 1));
      if (this.take(0x7d)) return;
      if (!this.take(0x2c)) break;
    }
    this.failed = true;
  }

  private list(value: Json, depth: i32): void {
    value.isList = true;
    this.at++;
    if (this.take(0x5d)) return;
    while (!this.failed) {
      value.items.push(this.value(depth + 1));
      if (this.take(0x5d)) return;
      if (!this.take(0x2c)) break;
    }
    this.failed = true;
  }

  private number(value: Json): void {
    const from = this.at;
    while (this.at < this.text.length && "+-.eE0123456789".includes(this.text.charAt(this.at))) this.at++;
    value.isNumber = true;
    value.number = parseFloat(this.text.substring(from, this.at));
    if (isNaN(value.number)) this.failed = true;
  }

  private string(): string {
    this.at++;
    let out = "";
    let from = this.at;
    while (this.at < this.text.length) {
      const code = this.text.charCodeAt(this.at);
      if (code == 0x22) {
        out += this.text.substring(from, this.at++);
        return out;
      }
      if (code < 0x20) break;
      if (code == 0x5c) {
        out += this.text.substring(from, this.at++);
        out += this.escape();
        from = this.at;
      } else this.at++;
    }
    this.failed = true;
    return out;
  }

  private escape(): string {
    const code = this.at < this.text.length ? this.text.charCodeAt(this.at++) : 0;
    if (code == 0x6e) return "\n";
    if (code == 0x74) return "\t";
    if (code == 0x72) return "\r";
    if (code == 0x62) return "\b";
    if (code == 0x66) return "\f";
    if (code == 0x22 || code == 0x5c || code == 0x2f) return String.fromCharCode(code);
    if (code == 0x75 && this.at + 4 <= this.text.length) {
      const hex = this.text.substring(this.at, this.at + 4);
      this.at += 4;
      const unit = parseInt(hex, 16);
      if (!isNaN(unit)) return String.fromCharCode(<i32>unit);
    }
    this.failed = true;
    return "";
  }
}
