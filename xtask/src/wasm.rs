//! The client as WebAssembly, twice: `mvp` for TV engines of 2021 (WebAssembly 1.0) and `simd` for today's browsers; and what is loaded later, the remote
//! control, the reader of subtitles and tags, the decoder of AC-3, once, as `mvp` for all.
//!
//! rustc's precompiled standard library uses instructions that Chromium 79 lacks, whatever flags our own code gets.
//! So the mvp build lowers them with wasm-opt before wasm-bindgen looks at the module, and a validator that knows
//! WebAssembly 1.0 only has the last word.

use crate::stamp::Inputs;
use crate::{npm, run};
use anyhow::{Context, Result, anyhow, ensure};
use std::path::{Path, PathBuf};
use wasm_bindgen_cli_support::Bindgen;
use wasmparser::types::{EntityType, TypesRef};
use wasmparser::{Parser, Payload, ValType, Validator, WasmFeatures};

pub const TARGET: &str = "wasm32-unknown-unknown";

/// A crate that becomes a module of its own.
struct Module {
    package: &'static str,
    /// Of the files that it becomes, and of the folder for what there is once only.
    name: &'static str,
}

const CLIENT: Module = Module {
    package: "baton-client-wasm",
    name: "baton",
};

const REMOTE: Module = Module {
    package: "baton-remote-wasm",
    name: "remote",
};

const MEDIA: Module = Module {
    package: "baton-media-wasm",
    name: "media",
};

const AC3: Module = Module {
    package: "baton-ac3-wasm",
    name: "ac3",
};

const REMUX: Module = Module {
    package: "baton-remux-wasm",
    name: "remux",
};

/// One of the two builds; the page chooses when it starts.
#[derive(Clone, Copy, PartialEq)]
pub enum Flavour {
    Mvp,
    Simd,
}

/// What differs between the two.
struct Recipe {
    name: &'static str,
    rustflags: &'static [&'static str],
    features: &'static [&'static str],
    /// wasm-opt before wasm-bindgen.
    lower: &'static [&'static str],
    /// wasm-opt after wasm-bindgen.
    optimise: &'static [&'static str],
    allowed: WasmFeatures,
}

/// Runs on Chromium 79: WebAssembly 1.0, where exported globals may be mutable.
const MVP: Recipe = Recipe {
    name: "mvp",
    rustflags: &["-Ctarget-cpu=mvp", "-Ctarget-feature=+mutable-globals"],
    features: &[],
    lower: &[
        "--llvm-memory-copy-fill-lowering",
        "--llvm-nontrapping-fptoint-lowering",
        "--signext-lowering",
        "--strip-target-features",
    ],
    optimise: &["--mvp-features", "--enable-mutable-globals", "-Os"],
    allowed: WasmFeatures::WASM1,
};

/// Runs on what has SIMD and reference types: Chromium 96, Firefox 89, Safari 16.4.
const SIMD: Recipe = Recipe {
    name: "simd",
    rustflags: &["-Ctarget-feature=+simd128"],
    features: &["simd"],
    lower: &[],
    optimise: &[
        "--enable-simd",
        "--enable-bulk-memory",
        "--enable-bulk-memory-opt",
        "--enable-call-indirect-overlong",
        "--enable-mutable-globals",
        "--enable-nontrapping-float-to-int",
        "--enable-sign-ext",
        "--enable-reference-types",
        "--enable-multivalue",
        "-Os",
    ],
    allowed: WasmFeatures::WASM2,
};

impl Flavour {
    fn recipe(self) -> &'static Recipe {
        match self {
            Self::Mvp => &MVP,
            Self::Simd => &SIMD,
        }
    }
}

/// Where the web app imports the builds from: `web/src/wasm/{mvp,simd,remote,media,ac3}/`.
fn out_dir(folder: &str) -> PathBuf {
    run::root().join("web/src/wasm").join(folder)
}

/// Both builds side by side: linking is one thread's work. Returns whether anything changed.
///
/// `BATON_WASM=simd` (or `mvp`) leaves the other as it was: half the time while one is trying things out.
pub fn build() -> Result<bool> {
    add_target()?;
    check_bindgen_version()?;
    npm::install(&run::root().join("xtask/npm"))?;
    let wanted = |flavour: Flavour| {
        let only = std::env::var("BATON_WASM").unwrap_or_default();
        let named = only.is_empty() || only == flavour.recipe().name;
        // The web app imports both, so an old one has to do, but not none.
        named
            || !out_dir(flavour.recipe().name)
                .join("baton_bg.wasm")
                .is_file()
    };
    let one = |flavour| {
        if wanted(flavour) {
            let recipe = flavour.recipe();
            build_one(&CLIENT, recipe, recipe.name)
        } else {
            Ok(false)
        }
    };
    std::thread::scope(|scope| {
        let simd = scope.spawn(|| one(Flavour::Simd));
        // Behind the client's, in whose folder its dependencies are compiled already.
        let mvp = one(Flavour::Mvp).and_then(|client| {
            let remote = build_one(&REMOTE, &MVP, REMOTE.name)?;
            let media = build_one(&MEDIA, &MVP, MEDIA.name)?;
            Ok(build_one(&AC3, &MVP, AC3.name)? | media | remote | client)
        });
        let simd = simd
            .join()
            .map_err(|_| anyhow!("the simd build panicked"))?;
        Ok(mvp.context("mvp")? | simd.context("simd")?)
    })
}

/// Adds rustc's WASM target where rustup keeps it and it is missing.
pub fn add_target() -> Result<()> {
    let rustc = || run::command(&std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into()));
    let libraries = run::output(rustc().args(["--print", "target-libdir", "--target", TARGET]))?;
    if Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    run::run(run::command("rustup").args(["target", "add", TARGET]))
        .with_context(|| format!("the Rust target {TARGET} is missing and rustup could not add it"))
}

/// wasm-bindgen's macro and this program must be of one version.
fn check_bindgen_version() -> Result<()> {
    let lock = std::fs::read_to_string(run::root().join("Cargo.lock"))?;
    let version = |name: &str| {
        let entry = format!("name = \"{name}\"\nversion = \"");
        lock.split_once(&entry)
            .and_then(|(_, rest)| rest.split('"').next())
            .map(str::to_owned)
    };
    if let Some(macros) = version("wasm-bindgen") {
        let ours = version("wasm-bindgen-cli-support").unwrap_or_default();
        ensure!(
            macros == ours,
            "Cargo.lock has wasm-bindgen {macros}, xtask has wasm-bindgen-cli-support {ours}: pin both to one version"
        );
    }
    Ok(())
}

/// The media engine alone, for bench/pages/remux.js: in `target/remux-wasm/`.
pub fn build_to_measure() -> Result<bool> {
    add_target()?;
    check_bindgen_version()?;
    npm::install(&run::root().join("xtask/npm"))?;
    let out = run::root().join("target/remux-wasm");
    build_to(&REMUX, Flavour::Simd.recipe(), REMUX.name, out)
}

fn build_one(module: &Module, recipe: &Recipe, folder: &str) -> Result<bool> {
    build_to(module, recipe, folder, out_dir(folder))
}

fn build_to(module: &Module, recipe: &Recipe, folder: &str, out: PathBuf) -> Result<bool> {
    let built = compile(module, recipe)?;
    let glue = out.join(format!("{}.js", module.name));
    let binary = out.join(format!("{}_bg.wasm", module.name));
    let words = format!(
        "3 {:?} {:?} {:?}",
        recipe.lower, recipe.optimise, recipe.allowed
    );
    Inputs::new(&words)
        .file(&built)?
        .file(&run::root().join("xtask/npm/package-lock.json"))?
        .unless_done(&format!("wasm-{folder}"), &[&glue, &binary], || {
            finish(module, recipe, &built, &out)
        })
}

/// rustc, in a target folder of its own: RUSTFLAGS of the two never meet.
fn compile(module: &Module, recipe: &Recipe) -> Result<PathBuf> {
    let target = run::target().join(format!("wasm-{}", recipe.name));
    let mut cargo = run::cargo();
    cargo
        .args([
            "build",
            "--quiet",
            "--package",
            module.package,
            "--lib",
            "--profile",
            "wasm",
            "--target",
            TARGET,
        ])
        .args(["--features", &recipe.features.join(",")])
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", recipe.rustflags.join("\u{1f}"))
        .env_remove("RUSTFLAGS");
    run::run(&mut cargo)?;
    Ok(target
        .join(TARGET)
        .join("wasm")
        .join(format!("{}.wasm", module.package.replace('-', "_"))))
}

fn finish(module: &Module, recipe: &Recipe, built: &Path, out: &Path) -> Result<()> {
    let folder = out.file_name().expect("a folder below web/src/wasm");
    let work = run::root().join("target/wasm").join(folder);
    std::fs::create_dir_all(&work)?;
    let mut input = built.to_owned();
    if !recipe.lower.is_empty() {
        input = work.join("lowered.wasm");
        wasm_opt(built, &input, recipe.lower)?;
        let mut bytes = std::fs::read(&input)?;
        bytes.extend(mutable_globals_only());
        std::fs::write(&input, bytes)?;
    }
    Bindgen::new()
        .input_path(&input)
        .out_name(module.name)
        .web(true)?
        .typescript(true)
        // The page names the module itself: Vite gives it a hashed address, and page and worker share one compilation.
        .omit_default_module_path(true)
        .remove_producers_section(true)
        .generate(&work)
        .context("wasm-bindgen")?;
    let binary = work.join(format!("{}_bg.wasm", module.name));
    wasm_opt(
        &binary,
        &binary,
        &[recipe.optimise, &SMALL_FUNCTIONS].concat(),
    )?;
    check(&std::fs::read(&binary)?, recipe)?;
    std::fs::create_dir_all(out)?;
    for ending in ["_bg.wasm", ".d.ts", ".js"] {
        let name = format!("{}{ending}", module.name);
        std::fs::copy(work.join(&name), out.join(&name)).with_context(|| name)?;
    }
    Ok(())
}

fn wasm_opt(input: &Path, output: &Path, passes: &[&str]) -> Result<()> {
    let program = run::root().join("xtask/npm/node_modules/binaryen/bin/wasm-opt");
    run::run(
        run::command("node")
            .arg(program)
            .arg(input)
            .args(passes)
            .arg("-o")
            .arg(output),
    )
}

/// What is called from one place only stays a function, unless it is tiny. Browsers compile a function as a whole when it is first called,
/// and one of 66 KB held half of the media crate: 5 ms of the first picture. It also packs better, by 3 % of the page.
const SMALL_FUNCTIONS: [&str; 1] = ["--one-caller-inline-max-function-size=40"];

/// The custom section `target_features` with one entry, as in the tool conventions' Linking.md:
/// wasm-bindgen reads it and then generates nothing newer.
fn mutable_globals_only() -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let content = [
        text("target_features"),
        vec![1, b'+'],
        text("mutable-globals"),
    ]
    .concat();
    [&[0, content.len() as u8], &content[..]].concat()
}

fn check(module: &[u8], recipe: &Recipe) -> Result<()> {
    let types = Validator::new_with_features(recipe.allowed)
        .validate_all(module)
        .with_context(|| {
            format!(
                "the {} build uses more WebAssembly than its engines have",
                recipe.name
            )
        })?;
    no_bigint(module, types.as_ref())
}

/// An engine of 2019 throws a TypeError when an `i64` crosses, and WebAssembly 1.0 allows one in a signature.
fn no_bigint(module: &[u8], types: TypesRef) -> Result<()> {
    let crosses = |entity: Option<EntityType>| match entity {
        Some(EntityType::Func(id)) => {
            let function = types[id].unwrap_func();
            function
                .params()
                .iter()
                .chain(function.results())
                .any(|it| *it == ValType::I64)
        }
        _ => false,
    };
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let entity = types.entity_type_from_import(&import);
                    ensure!(
                        !crosses(entity),
                        "the import {} takes or gives a BigInt",
                        import.name
                    );
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    let entity = types.entity_type_from_export(&export);
                    ensure!(
                        !crosses(entity),
                        "the export {} takes or gives a BigInt",
                        export.name
                    );
                }
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x01\0\0\0";

    #[test]
    fn the_features_section_is_a_section() {
        let module = [EMPTY, &mutable_globals_only()].concat();
        assert!(check(&module, &MVP).is_ok());
    }

    #[test]
    fn an_instruction_newer_than_2017_is_refused_for_mvp() {
        // (func (param i32) (result i32) local.get 0 i32.extend8_s)
        let body: &[u8] = &[
            0x01, 0x06, 0x01, 0x60, 0x01, 0x7f, 0x01, 0x7f, 0x03, 0x02, 0x01, 0x00, 0x0a, 0x07,
            0x01, 0x05, 0x00, 0x20, 0x00, 0xc0, 0x0b,
        ];
        let module = [EMPTY, body].concat();
        assert!(check(&module, &MVP).is_err());
        assert!(check(&module, &SIMD).is_ok());
    }

    #[test]
    fn a_bigint_at_the_border_is_refused() {
        // (func (export "f") (param i64))
        let body: &[u8] = &[
            0x01, 0x05, 0x01, 0x60, 0x01, 0x7e, 0x00, 0x03, 0x02, 0x01, 0x00, 0x07, 0x05, 0x01,
            0x01, 0x66, 0x00, 0x00, 0x0a, 0x04, 0x01, 0x02, 0x00, 0x0b,
        ];
        let error = check(&[EMPTY, body].concat(), &MVP).unwrap_err();
        assert!(error.to_string().contains("the export f"), "{error}");
    }
}
