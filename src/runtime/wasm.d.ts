/** With `{ type: "file" }` a module is the path of the file. */
declare module "*.wasm" {
  const path: string;
  export default path;
}

/** Texts in one file (dist/filters/templates.bundle, JSON: path → text), imported by path likewise. */
declare module "*.bundle" {
  const path: string;
  export default path;
}
