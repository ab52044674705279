//! Compiles the crate again when the web app inside it has changed. While there is no `web/dist`, cargo takes that for a change each time.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../web/dist");
}
