/** With `{ type: "file" }` a module is the path of the file. */
declare module "*.wasm" {
  const path: string;
  export default path;
}
