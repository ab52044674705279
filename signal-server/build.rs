//! Compiles the crate again when the web app inside it has changed. Debug builds read the app from the disk when they start.

fn main() {
    let embeds = std::env::var("DEBUG").is_ok_and(|debug| debug == "false") || std::env::var("PROFILE").is_ok_and(|p| p == "release");
    println!("cargo:rerun-if-changed=build.rs");
    if embeds {
        // A path that does not exist would mean "always".
        let dist = std::path::Path::new("../web/dist");
        println!("cargo:rerun-if-changed={}", if dist.exists() { "../web/dist" } else { ".." });
    }
}
