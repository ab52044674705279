//! `cargo xtask image`: builds the Dockerfile with docker or buildah, whichever is there, starts what came out and asks it how it is.

use crate::run;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// `--build-image`, `--node-image` and `--run-image` name other base images than the Dockerfile's, where only local ones exist; `--built` checks
/// the image that is there.
pub fn image(arguments: &[String]) -> Result<()> {
    let wanted = Wanted::read(arguments)?;
    let engine = Engine::find()?;
    if !wanted.built {
        run::stage("image", || engine.build(&wanted).map(|()| true))?;
    }
    let megabytes = size(engine, &wanted)? as f64 / 1e6;
    println!("{NAME}: {megabytes:.1} MB compressed without its base image");
    run::stage("healthz", || check(engine).map(|()| true))?;
    if megabytes > SIZE_MAX_MB {
        bail!("more than {SIZE_MAX_MB} MB");
    }
    Ok(())
}

/// What the command line asks for.
#[derive(Default)]
struct Wanted {
    built: bool,
    /// `BUILD_IMAGE=…` and so on.
    bases: Vec<String>,
    run_image: Option<String>,
}

impl Wanted {
    fn read(arguments: &[String]) -> Result<Wanted> {
        let mut wanted = Wanted::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let name = match word.as_str() {
                "--built" => {
                    wanted.built = true;
                    continue;
                }
                "--build-image" => "BUILD_IMAGE",
                "--node-image" => "NODE_IMAGE",
                "--run-image" => "RUN_IMAGE",
                other => bail!("`cargo xtask image` does not know {other}"),
            };
            let image = words.next().with_context(|| format!("{word} IMAGE"))?;
            wanted.bases.push(format!("{name}={image}"));
            if name == "RUN_IMAGE" {
                wanted.run_image = Some(image.clone());
            }
        }
        Ok(wanted)
    }
}

/// What builds and runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Engine {
    Docker,
    Buildah,
}

impl Engine {
    fn find() -> Result<Engine> {
        let quiet = |command: &mut Command| {
            let command = command.stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        // The client alone is no use.
        if quiet(run::command("docker").arg("info")) {
            return Ok(Engine::Docker);
        }
        if quiet(run::command("buildah").arg("--version")) {
            return Ok(Engine::Buildah);
        }
        bail!("neither docker nor buildah is here (Debian: apt-get install buildah)")
    }

    /// buildah works without a kernel that lets it mount or make namespaces.
    fn command(self) -> Command {
        match self {
            Engine::Docker => run::command("docker"),
            Engine::Buildah => {
                let mut buildah = run::command("buildah");
                buildah
                    .env("BUILDAH_ISOLATION", "chroot")
                    .env("STORAGE_DRIVER", "vfs");
                buildah
            }
        }
    }

    fn build(self, wanted: &Wanted) -> Result<()> {
        let mut build = self.command();
        build.args(["build", "--network", "host", "--tag", NAME]);
        if self == Engine::Buildah {
            // It would ask a registry for a newer one even of a local image.
            build.arg("--pull=false");
        }
        for base in &wanted.bases {
            build.args(["--build-arg", base]);
        }
        run::run(build.arg("."))
    }

    /// Writes the image with all its layers to a file.
    fn save(self, file: &Path) -> Result<()> {
        let mut save = self.command();
        match self {
            Engine::Docker => save.args(["save", "--output"]).arg(file).arg(NAME),
            Engine::Buildah => save
                .args(["push", "--quiet", NAME])
                .arg(format!("docker-archive:{}:{NAME}:latest", file.display())),
        };
        run::run(&mut save)
    }

    /// How many layers an image has.
    fn layers(self, image: &str) -> Result<usize> {
        let mut inspect = self.command();
        let (command, place) = match self {
            Engine::Docker => (["image", "inspect", image], "/0/RootFS/Layers"),
            Engine::Buildah => (["inspect", "--type=image", image], "/OCIv1/rootfs/diff_ids"),
        };
        let text = run::output(inspect.args(command))?;
        let value: Value = serde_json::from_str(&text)?;
        let layers = value.pointer(place).and_then(Value::as_array);
        Ok(layers.context("an image has layers")?.len())
    }
}

/// Bytes of what stands over the base image, compressed as registries have it.
fn size(engine: Engine, wanted: &Wanted) -> Result<u64> {
    let base = match &wanted.run_image {
        Some(image) => image.clone(),
        None => run_image_of_the_dockerfile()?,
    };
    let below = engine.layers(&base)?;
    let archive = Scratch(std::env::temp_dir().join(format!("{NAME}-{}.tar", std::process::id())));
    engine.save(&archive.0)?;
    let manifest = run::output(
        run::command("tar")
            .arg("-xOf")
            .arg(&archive.0)
            .arg("manifest.json"),
    )?;
    let manifest: Value = serde_json::from_str(&manifest)?;
    let layers = manifest.pointer("/0/Layers").and_then(Value::as_array);
    let own = layers.context("an archive has layers")?.iter().skip(below);
    own.filter_map(Value::as_str)
        .map(|layer| compressed(&archive.0, layer))
        .sum()
}

fn run_image_of_the_dockerfile() -> Result<String> {
    let text = std::fs::read_to_string(run::root().join("Dockerfile"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("ARG RUN_IMAGE="));
    Ok(line.context("Dockerfile has ARG RUN_IMAGE=")?.to_owned())
}

/// Bytes of one layer of an archive as gzip makes them.
fn compressed(archive: &Path, layer: &str) -> Result<u64> {
    let mut tar = run::command("tar")
        .arg("-xOf")
        .arg(archive)
        .arg(layer)
        .stdout(Stdio::piped())
        .spawn()?;
    let plain = tar.stdout.take().context("it is piped")?;
    let mut gzip = run::command("gzip")
        .arg("-c")
        .stdin(plain)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut out = gzip.stdout.take().context("it is piped")?;
    let bytes = std::io::copy(&mut out, &mut std::io::sink())?;
    let fine = tar.wait()?.success() & gzip.wait()?.success();
    if !fine {
        bail!("{layer} cannot be read");
    }
    Ok(bytes)
}

/// Starts the server and the command line in the image as compose does: as its own user, over a root that cannot be written to.
fn check(engine: Engine) -> Result<()> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let listen = format!("BATON_LISTEN=127.0.0.1:{port}");
    let mut container = Container::start(engine, &listen)?;
    let until = Instant::now() + START_PATIENCE;
    while !is_well(port) {
        if let Some(status) = container.child.try_wait()? {
            bail!("the server in the image ended: {status}");
        }
        if Instant::now() > until {
            bail!("the server in the image does not answer at /healthz");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    // What the image's own health check does, and the keeper that compose runs of the same image.
    for words in [["baton-server", "--check-health"], ["baton", "--version"]] {
        run::run(&mut container.inside(&listen, &words))?;
    }
    let who = run::output(&mut container.inside(&listen, &["id", "-u"]))?;
    if who.trim() == "0" {
        bail!("the server in the image is root");
    }
    let write = [
        "sh",
        "-c",
        "for it in /written /var/lib/baton/written /tmp/written; do touch \"$it\" && exit 1; done; exit 0",
    ];
    run::run(&mut container.inside(&listen, &write)).context("its root can be written to")?;
    println!(
        "{NAME}: runs as user {}, over a root that cannot be written to",
        who.trim()
    );
    let status = container.stop()?;
    if !status.success() {
        bail!("the server in the image did not end well: {status}");
    }
    Ok(())
}

fn is_well(port: u16) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let host = format!("127.0.0.1:{port}");
        write!(
            stream,
            "GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

/// A container that runs the server, removed on drop.
struct Container {
    engine: Engine,
    name: String,
    /// Where buildah has its files.
    folder: String,
    /// As whom the image wants to be run.
    user: String,
    child: Child,
}

impl Container {
    fn start(engine: Engine, listen: &str) -> Result<Container> {
        let name = format!("{NAME}-check-{}", std::process::id());
        let (mut folder, mut user) = (String::new(), String::new());
        let mut command = match engine {
            Engine::Docker => {
                let mut docker = engine.command();
                docker
                    .args(["run", "--rm", "--network", "host", "--name", &name])
                    .args(["--read-only", "--cap-drop", "ALL", "--env", listen, NAME]);
                docker
            }
            Engine::Buildah => {
                let buildah = |words: &[&str]| run::output(engine.command().args(words));
                buildah(&["from", "--pull=false", "--name", &name, NAME])?;
                let about = || -> Result<(String, String)> {
                    let folder = buildah(&["mount", &name])?.trim().to_owned();
                    let about: Value =
                        serde_json::from_str(&buildah(&["inspect", "--type=image", NAME])?)?;
                    let user = about.pointer("/OCIv1/config/User").and_then(Value::as_str);
                    let user = user.context("the image names a user")?.to_owned();
                    Ok((folder, user))
                };
                (folder, user) = about().inspect_err(|_| {
                    // Nobody has it yet who would remove it.
                    let _ = buildah(&["rm", &name]);
                })?;
                within(&folder, &user, listen, &["baton-server"])
            }
        };
        let child = command.stdout(Stdio::null()).spawn()?;
        Ok(Container {
            engine,
            name,
            folder,
            user,
            child,
        })
    }

    /// A command beside the server.
    fn inside(&self, listen: &str, words: &[&str]) -> Command {
        match self.engine {
            Engine::Docker => {
                let mut docker = self.engine.command();
                docker.args(["exec", "--env", listen, &self.name]);
                docker.args(words);
                docker
            }
            Engine::Buildah => within(&self.folder, &self.user, listen, words),
        }
    }

    /// As whoever runs it stops it.
    fn stop(&mut self) -> Result<ExitStatus> {
        match self.engine {
            Engine::Docker => run::run(
                self.engine
                    .command()
                    .args(["stop", &self.name])
                    .stdout(Stdio::null()),
            )?,
            Engine::Buildah => {
                let pid = self.child.id().to_string();
                run::run(run::command("kill").args(["-TERM", &pid]))?;
            }
        }
        Ok(self.child.wait()?)
    }
}

/// A command in a folder as its root, which it cannot write to, as this user: what `buildah run` does without being able to do the latter two
/// where it cannot make all the namespaces that it wants.
fn within(folder: &str, user: &str, listen: &str, words: &[&str]) -> Command {
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && root=$1 user=$2 && shift 2 && \
                  exec chroot --userspec=\"$user\" \"$root\" env \"$@\"";
    let mut command = run::command("unshare");
    command
        .args(["--mount", "sh", "-c", script, "sh", folder, user])
        .arg("PATH=/usr/local/bin:/usr/bin:/bin")
        .arg(listen)
        .args(words);
    command
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let word = match self.engine {
            Engine::Docker => ["rm", "--force"].as_slice(),
            Engine::Buildah => &["rm"],
        };
        let _ = self
            .engine
            .command()
            .args(word)
            .arg(&self.name)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// Removed on drop.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const NAME: &str = "baton";
const SIZE_MAX_MB: f64 = 60.0;
const START_PATIENCE: Duration = Duration::from_secs(60);
