// What `cargo xtask build` puts into src/wasm, for when it has not run yet.
declare module '*/baton.js';
declare module '*.wasm?url' {
  const url: string;
  export default url;
}
