//! Every command of the repository: `cargo xtask build | serve | test | soak | bench | image | media-matrix | fuzz | geo | deny | sim`.
//!
//! It finds or installs what a command needs, does nothing that is already done, and says how long each stage took.

mod bench;
mod browsers;
mod build;
mod deny;
mod engines;
mod fuzz;
mod geo;
mod image;
mod npm;
mod report;
mod run;
mod serve;
mod sim;
mod soak;
mod stamp;
mod test;
mod wasm;

use anyhow::{Result, bail};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  build [--release]           everything into target/dist/baton-server (the web app is embedded)
  serve [--port N] [--lan]    build, then serve on http://localhost:8080; --lan: on all addresses of this machine
  test [STAGE...]             install what the tests need and run them all, or only the stages named:
                              lint native wasm web browsers
  soak [--minutes N]          what takes too long, or root, for every run: 30 native peers, one killed each second, and the publisher too;
                              address translation with a real coturn; N minutes of one to one with the memory held (10), and of a server under all kinds of
                              clients
  bench [NAME...]             measure, us and the rivals in turn; without a name everything; `media` is the remuxer alone, `tv` a film in Chromium 79,
                              `signal` the server beside trackers;
                              --help lists the names
  image [--built]             build the Dockerfile with docker or buildah, start it, ask it how it is, say how big it is; --build-image, --node-image and
                              --run-image name other base images
  media-matrix                50 kinds of film, each with its pictures numbered and its sound timed, in both browsers
  fuzz [TARGET] [--rounds N]  feed hostile bytes to the parsers: mp4 mkv ts sound subtitles messages
  fuzz --libfuzzer SECONDS [BODY]   the same, led by coverage: media tags subtitles messages
  deny                        licences of all dependencies, and with cargo-deny their sources and advisories, as deny.toml has it
  geo                         fetch a free database of countries for `baton-server --geo`, and say where it is
  sim [SCENARIO...]           whole swarms on event queues from one seed; without a name every scenario; --help lists options

CHROMIUM and FIREFOX name other browsers than the system's. BATON_WASM=simd builds only that WASM (quicker turns).
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(code) => code,
        Err(error) => {
            // The causes say enough; a backtrace through xtask helps nobody.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<ExitCode> {
    let Some((command, rest)) = arguments.split_first() else {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    };
    std::env::set_current_dir(run::root())?;
    match command.as_str() {
        "build" => {
            let release = match rest {
                [] => false,
                [flag] if flag == "--release" => true,
                _ => bail!("`cargo xtask build` takes only --release"),
            };
            build::everything(build::Profile::of(release))?;
        }
        "serve" => serve::serve(rest)?,
        "test" => return test::test(rest),
        "soak" => soak::soak(rest)?,
        "bench" => bench::bench(rest)?,
        "image" => image::image(rest)?,
        "media-matrix" => return test::media_matrix(rest),
        "fuzz" => fuzz::fuzz(rest)?,
        "geo" => geo::geo()?,
        "sim" => return sim::sim(rest),
        "deny" => deny::deny()?,
        "help" | "--help" | "-h" => print!("{USAGE}"),
        other => bail!("no such command: {other}\n\n{USAGE}"),
    }
    Ok(ExitCode::SUCCESS)
}
