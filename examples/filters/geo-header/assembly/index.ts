import { Address, parseAddress, parseRange, Range } from "./address";
import { Action, Exchange, Filter, property, register } from "./proxy-wasm/filter";
import { Json } from "./proxy-wasm/json";
// The functions that a proxy calls.
export * from "./proxy-wasm/exports";

/** A range of the table with its value. */
class Row {
  constructor(
    public range: Range,
    public value: string,
  ) {}
}

class GeoTable extends Filter {
  header: string = "x-geo";
  fallback: string | null = null;
  /** Longest ranges first: the first that fits is the one. */
  rows: Row[] = [];

  configure(settings: string): string {
    const json = Json.parse(settings);
    if (json === null) return "settings are not JSON";
    const header = json.get("header");
    if (header !== null) this.header = header.text.toLowerCase();
    if (this.header == "") return "settings /header: must be the name of a header";
    const fallback = json.get("default");
    if (fallback !== null) this.fallback = fallback.text;
    const table = json.get("table");
    if (table === null || !table.isObject) return "settings /table: must map ranges to values";
    for (let i = 0; i < table.names.length; i++) {
      const range = parseRange(table.names[i]);
      if (range === null) return "settings /table: " + table.names[i] + " is no range like 10.0.0.0/8 or 2001:db8::/32";
      if (!table.items[i].isText) return "settings /table: the value of " + table.names[i] + " must be text";
      this.rows.push(new Row(range, table.items[i].text));
    }
    this.rows.sort((a, b) => b.range.bits - a.range.bits);
    return "";
  }

  open(): Exchange {
    return new GeoExchange(this);
  }

  find(address: Address): string | null {
    for (let i = 0; i < this.rows.length; i++) if (this.rows[i].range.has(address)) return this.rows[i].value;
    return this.fallback;
  }
}

class GeoExchange extends Exchange {
  constructor(private table: GeoTable) {
    super();
  }

  onRequestHeaders(end: bool): Action {
    let value = this.table.fallback;
    const source = property("source.address");
    if (source !== null) {
      const address = parseAddress(source);
      if (address !== null) value = this.table.find(address);
    }
    if (value === null) this.removeRequestHeader(this.table.header);
    else this.setRequestHeader(this.table.header, value);
    return Action.Continue;
  }
}

register(() => new GeoTable());
