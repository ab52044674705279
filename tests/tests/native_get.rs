//! What `baton get` and `baton info` promise (docs/cli.md), over real sockets and the real server.

use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use baton_tests::http;
use baton_tests::native::{PATIENCE, Peer, be_a_peer, command, film, half_file, link_of, spoil};
use baton_tests::signalling::server;

#[test]
#[ignore = "becomes a peer of the other tests"]
fn a_process_of_the_other_tests() {
    be_a_peer();
}

/// A publisher of `film.bin`, and its link.
fn publisher(folder: &Path, origin: &str, bytes: &[u8], more: &[&str]) -> (Peer, String) {
    std::fs::write(folder.join("film.bin"), bytes).expect("a film");
    let seed = [&["seed", "film.bin", "--server", origin][..], more].concat();
    let mut publisher = Peer::start(folder, &seed);
    let (link, _) = link_of(&mut publisher);
    (publisher, link)
}

/// Leaves a whole, verified download as a kill just before the last step does: all blocks, the log, no name.
fn leave_unfinished(folder: &Path, link: &str) {
    let mut viewer = Peer::start(folder, &["get", link, "-o", "copy.bin", "--seed"]);
    viewer.wait("done", PATIENCE);
    viewer.kill();
    let index = std::fs::read_dir(folder)
        .expect("a folder")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .find(|name| name.starts_with(".copy.bin-") && name.ends_with(".index"))
        .expect("the log stays where it is seeded from");
    let id = &index[".copy.bin-".len()..index.len() - ".index".len()];
    let part = folder.join(format!("copy.bin.{id}.part"));
    std::fs::rename(folder.join("copy.bin"), part).expect("it is ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_killed_when_all_was_here_is_finished_with_nobody_there() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = film(3 << 20);
    let (publisher, link) = publisher(folder.path(), &origin, &bytes, &[]);
    leave_unfinished(folder.path(), &link);
    drop(publisher);
    // Nothing has to come, so the patience for it does not run.
    let get = ["get", &link, "-o", "copy.bin", "--timeout", "1s"];
    let mut viewer = Peer::start(folder.path(), &get);
    viewer.wait("done", PATIENCE);
    assert_eq!(viewer.end(), Some(0));
    assert_eq!(
        viewer.log.iter().filter(|e| e["event"] == "done").count(),
        1
    );
    assert!(std::fs::read(folder.path().join("copy.bin")).expect("the copy") == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_never_sees_what_the_disk_spoilt_between_two_runs() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = film(6 << 20);
    let (_publisher, link) = publisher(folder.path(), &origin, &bytes, &[]);
    leave_unfinished(folder.path(), &link);
    spoil(&half_file(folder.path()), 2 << 20);
    let mut viewer = Peer::start(folder.path(), &["get", &link, "-o", "copy.bin", "--serve"]);
    let url = viewer.wait("serving", PATIENCE)["url"].to_string();
    let address = url.trim_matches('"').trim_start_matches("http://");
    let address: SocketAddr = address.trim_end_matches('/').parse().expect("an address");
    let range = [("range", "bytes=1000000-4999999")];
    let answer = http::request(address, "GET", "/film.bin", &range).await;
    assert_eq!(answer.status, 206);
    assert!(answer.body == bytes[1_000_000..5_000_000]);
    viewer.wait("done", PATIENCE);
    assert!(std::fs::read(folder.path().join("copy.bin")).expect("the copy") == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_download_is_seeded_again_by_the_same_command() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let album = folder.path().join("album");
    std::fs::create_dir(&album).expect("a folder");
    std::fs::write(album.join("one.bin"), film(2_000_000)).expect("a file");
    std::fs::write(album.join("two.bin"), film(300_000)).expect("a file");
    let seed = ["seed", "album", "--server", &origin];
    let mut publisher = Peer::start(folder.path(), &seed);
    let (link, _) = link_of(&mut publisher);
    let get = ["get", &link, "-o", "copy", "--seed"];
    let mut seeder = Peer::start(folder.path(), &get);
    seeder.wait("done", PATIENCE);
    seeder.kill();
    drop(publisher);
    let mut seeder = Peer::start(folder.path(), &get);
    let done = seeder.wait("done", PATIENCE);
    assert_eq!(done["received_bytes"], 0);
    let mut viewer = Peer::start(folder.path(), &["get", &link, "-o", "another"]);
    viewer.wait("done", PATIENCE);
    for (name, len) in [("one.bin", 2_000_000), ("two.bin", 300_000)] {
        let copy = std::fs::read(folder.path().join("another").join(name)).expect("it came");
        assert!(copy == film(len), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_name_a_killed_download_goes_on_and_a_finished_one_is_seeded_again() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let album = folder.path().join("album");
    std::fs::create_dir(&album).expect("a folder");
    for (name, len) in [("one.bin", 6_000_000), ("two.bin", 300_000)] {
        std::fs::write(album.join(name), film(len)).expect("a file");
    }
    let seed = ["seed", "album", "--server", &origin, "--upload", "2000000"];
    let mut publisher = Peer::start(folder.path(), &seed);
    let (link, _) = link_of(&mut publisher);
    let here = tempfile::tempdir().expect("a folder");
    let get = ["get", &link, "--seed"];
    let mut viewer = Peer::start(here.path(), &get);
    while viewer.wait("progress", PATIENCE)["received_bytes"].as_u64() < Some(2 << 20) {}
    viewer.kill();
    let mut viewer = Peer::start(here.path(), &get);
    let done = viewer.wait("done", PATIENCE);
    assert!(done["received_bytes"].as_u64() < Some(5_500_000), "{done}");
    viewer.kill();
    drop(publisher);
    let mut viewer = Peer::start(here.path(), &get);
    assert_eq!(viewer.wait("done", PATIENCE)["received_bytes"], 0);
    let copy = std::fs::read(here.path().join("album").join("one.bin")).expect("it came");
    assert!(copy == film(6_000_000));
    assert!(!here.path().join("one.bin").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_somebody_elses_is_not_seeded_over() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let (_publisher, link) = publisher(folder.path(), &origin, &film(3 << 20), &[]);
    let here = tempfile::tempdir().expect("a folder");
    let own = here.path().join("film.bin");
    // As long as the other, and there before anything of that came.
    for mine in [&film(3 << 20)[1..], &vec![7; 3 << 20][..], b"mine"] {
        std::fs::write(&own, mine).expect("a file");
        let mut viewer = Peer::start(here.path(), &["get", &link, "--seed"]);
        assert_eq!(viewer.end(), Some(5));
        assert!(std::fs::read(&own).expect("it is there") == mine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_output_has_the_film_and_nothing_else() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = film(3 << 20);
    let (_publisher, link) = publisher(folder.path(), &origin, &bytes, &[]);
    let output = command(folder.path(), &["get", &link, "--stdout"])
        .stderr(Stdio::piped())
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(0));
    // The test harness of the child says its line first.
    let film_begins = output.stdout.len() - bytes.len();
    assert!(output.stdout[film_begins..] == bytes);
    let harness = String::from_utf8_lossy(&output.stdout[..film_begins]);
    assert_eq!(harness.trim(), "running 1 test");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains(r#""event":"done""#), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn info_tells_what_is_behind_a_link_and_who_has_it_and_fetches_none_of_it() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let album = folder.path().join("album");
    std::fs::create_dir(&album).expect("a folder");
    // More files than are ever kept open at once.
    for n in 0..200 {
        std::fs::write(album.join(format!("{n:03}.txt")), film(1000 + n)).expect("a file");
    }
    let mut limited = command(folder.path(), &["seed", "album", "--server", &origin]);
    let mut publisher = Peer::run(with_few_handles(&mut limited));
    let (link, _) = link_of(&mut publisher);
    publisher.wait("hashed", PATIENCE);
    let mut info = Peer::start(folder.path(), &["info", &link]);
    let told = info.wait("info", PATIENCE);
    assert_eq!(info.end(), Some(0));
    assert_eq!(told["title"], "album");
    assert_eq!(told["files"].as_array().map(Vec::len), Some(200));
    assert_eq!(told["files"][7]["path"], "007.txt");
    assert_eq!(told["files"][7]["size"], 1007);
    assert!(told["files"][7]["blake3"].is_string(), "it was hashed");
    assert_eq!(told["peers"][0]["role"], "publisher");
    assert_eq!(told["near"].as_array().map(Vec::len), Some(1));
    let left = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 1, "only the album is there");
}

/// With as many handles as sockets and the log need, and not 200 more.
fn with_few_handles(command: &mut std::process::Command) -> &mut std::process::Command {
    let shell = format!(
        "ulimit -n 150; exec {} \"$@\"",
        std::env::current_exe().expect("this program").display()
    );
    let (folder, arguments) = (
        command.get_current_dir().map(Path::to_path_buf),
        command
            .get_args()
            .map(Into::into)
            .collect::<Vec<std::ffi::OsString>>(),
    );
    let variables: Vec<_> = command
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    *command = std::process::Command::new("sh");
    command
        .arg("-c")
        .arg(shell)
        .arg("sh")
        .args(arguments)
        .envs(variables);
    command.current_dir(folder.expect("it was given"));
    command.stdin(Stdio::null()).stdout(Stdio::piped())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_all_works_on_a_host_that_has_ipv6_only() {
    let server = server(|config| config.listen = "[::1]:0".parse().expect("an address")).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = film(1 << 20);
    let (_publisher, link) = publisher(folder.path(), &origin, &bytes, &["--bind", "::1"]);
    let get = ["get", &link, "-o", "copy.bin", "--bind", "::1"];
    let mut viewer = Peer::start(folder.path(), &get);
    viewer.wait("done", PATIENCE);
    assert!(std::fs::read(folder.path().join("copy.bin")).expect("the copy") == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_may_use_nothing_but_the_servers_relay_get_it_all() {
    let server = server(|config| {
        config.turn.turn_listen = Some("127.0.0.1:0".parse().expect("an address"));
        // Both peers are on this machine, which no relay leads to unless it is told so.
        let here = "127.0.0.0/8".parse().expect("a network");
        config.turn.turn_allow_peers = vec![here];
    })
    .await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = film(1 << 20);
    let (_publisher, link) = publisher(folder.path(), &origin, &bytes, &["--relay"]);
    let get = ["get", &link, "-o", "copy.bin", "--relay"];
    let mut viewer = Peer::start(folder.path(), &get);
    viewer.wait("done", PATIENCE);
    assert!(std::fs::read(folder.path().join("copy.bin")).expect("the copy") == bytes);
    let metrics = http::get(server.address(), "/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    let mut lines = metrics.lines();
    let relayed = lines.find_map(|line| line.strip_prefix("baton_turn_bytes_total "));
    let relayed: f64 = relayed.and_then(|n| n.parse().ok()).expect("it counts");
    assert!(relayed > bytes.len() as f64, "{relayed} bytes were relayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_says_goodbye_to_the_neighbours() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let slow = ["--upload", "200K"];
    let (mut publisher, link) = publisher(folder.path(), &origin, &film(8 << 20), &slow);
    let mut viewer = Peer::start(folder.path(), &["get", &link, "-o", "copy.bin"]);
    viewer.wait_until(PATIENCE, |e| e["have_bytes"].as_u64() > Some(0));
    viewer.interrupt();
    assert_eq!(viewer.end(), Some(130), "it was not done");
    let left = publisher.wait("left", PATIENCE);
    assert_eq!(left["reason"], "goodbye");
    publisher.interrupt();
    assert_eq!(
        publisher.end(),
        Some(0),
        "a seeder is stopped by the person"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_fail_has_its_exit_code() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let code = |arguments: &[&str]| {
        let mut peer = Peer::start(folder.path(), arguments);
        let code = peer.wait("error", PATIENCE)["code"].as_i64();
        assert_eq!(peer.end().map(i64::from), code, "{arguments:?}");
        code.expect("a number")
    };
    let (seeder, link) = publisher(folder.path(), &origin, &film(100_000), &[]);
    // 1: something else. The port is the server's.
    let taken = server.address().to_string();
    assert_eq!(code(&["get", &link, "-o", "1.bin", "--serve", &taken]), 1);
    // 2: arguments that are wrong.
    assert_eq!(code(&["get", "https://host/#nonsense"]), 2);
    assert_eq!(
        code(&["get", &link, "-o", "2.bin", "--bind", "192.0.2.1"]),
        2
    );
    assert_eq!(code(&["keep", "nonsense"]), 2);
    // 5: files.
    assert_eq!(code(&["get", &link, "-o", "film.bin"]), 5);
    assert_eq!(code(&["seed", "no such film", "--server", &origin]), 5);
    assert_eq!(code(&["get", &link, "-o", "no/such/folder/film.bin"]), 5);
    // 3: nobody is there.
    drop(seeder);
    assert_eq!(code(&["get", &link, "-o", "3.bin", "--timeout", "1s"]), 3);
    assert_eq!(code(&["info", &link, "--timeout", "1s"]), 3);
    // 7: it has expired.
    let expired = ["seed", "film.bin", "--server", &origin, "--expires", "0s"];
    assert_eq!(code(&expired), 7);
    // 4: no server. A port that was free a moment ago.
    let nowhere = link.replace(&taken, "127.0.0.1:1");
    assert_eq!(
        code(&["get", &nowhere, "-o", "4.bin", "--timeout", "1s"]),
        4
    );
    // None of them left anything behind that is of no use to the next one. (What came before a port turned out to be taken is of use.)
    let files = std::fs::read_dir(folder.path()).expect("a folder");
    let mut names = files
        .flatten()
        .map(|file| file.file_name().to_string_lossy().into_owned());
    let litter = |name: &String| name.ends_with(".index") && !name.starts_with(".1.bin");
    assert_eq!(names.find(litter), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_of_two_truths_is_found_out() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    // More than is asked of one of them before the other is there: whoever hears one truth only finds nothing.
    let bytes = film(8 << 20);
    let slow = ["--key", "film.key", "--upload", "500K"];
    let (mut first, link) = publisher(folder.path(), &origin, &bytes, &slow);
    // The same key in another folder, with a file that looks the same from outside.
    let other = tempfile::tempdir().expect("another folder");
    let (here, there) = (folder.path(), other.path());
    std::fs::copy(here.join("film.key"), there.join("film.key")).expect("the key");
    let modified = std::fs::metadata(here.join("film.bin")).and_then(|m| m.modified());
    std::fs::write(there.join("film.bin"), vec![7; bytes.len()]).expect("another film");
    let liar = std::fs::File::options()
        .write(true)
        .open(there.join("film.bin"));
    liar.expect("it is ours")
        .set_modified(modified.expect("a time"))
        .expect("it is ours");
    let seed = [&["seed", "film.bin", "--server", &origin][..], &slow].concat();
    let mut second = Peer::start(there, &seed);
    assert_eq!(link_of(&mut second).0, link);
    // By now each has named its own hash, too.
    first.wait("hashed", PATIENCE);
    second.wait("hashed", PATIENCE);
    let mut viewer = Peer::start(here, &["get", &link, "-o", "copy.bin"]);
    let error = viewer.wait("error", PATIENCE);
    assert_eq!(error["code"], 6);
    assert_eq!(viewer.end(), Some(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_one_key_do_not_sign_at_once() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let key = ["--key", "film.key"];
    let (_publisher, _) = publisher(folder.path(), &origin, &film(1000), &key);
    let seed = ["seed", "film.bin", "--server", &origin, "--key", "film.key"];
    let mut second = Peer::start(folder.path(), &seed);
    assert_eq!(second.wait("error", PATIENCE)["code"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_fifty_gigabytes_is_there_before_they_are_read() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let file = std::fs::File::create(folder.path().join("film.bin")).expect("a film");
    file.set_len(50 << 30).expect("sparse");
    let end = film(100_000);
    let place = (50 << 30) - end.len() as u64;
    file.write_all_at(&end, place).expect("it is ours");
    let seed = ["seed", "film.bin", "--server", &origin];
    let mut publisher = Peer::start(folder.path(), &seed);
    let event = publisher.wait("link", PATIENCE);
    assert_eq!(event["size"], 50u64 << 30);
    let io = std::fs::read_to_string(format!("/proc/{}/io", publisher.id())).expect("Linux");
    let read = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    let read: u64 = read.and_then(|n| n.parse().ok()).expect("a number");
    assert!(read < 5 << 30, "{read} bytes were read by then");
    // And it is served at once.
    let mut info = Peer::start(
        folder.path(),
        &["info", event["link"].as_str().expect("a link")],
    );
    assert_eq!(info.wait("info", PATIENCE)["size"], 50u64 << 30);
    // A player that jumps to the end has it at once, of a file that has no room for it before.
    let link = event["link"].as_str().expect("a link");
    let mut viewer = Peer::start(folder.path(), &["get", link, "--serve"]);
    let address = serving(&mut viewer);
    let range = [("range", "bytes=-100000")];
    let answer = http::request(address, "GET", "/film.bin", &range).await;
    assert_eq!(answer.status, 206);
    assert!(answer.body == end);
}

/// Where `--serve` is.
fn serving(viewer: &mut Peer) -> SocketAddr {
    let event = viewer.wait("serving", PATIENCE);
    let url = event["url"].as_str().expect("a URL");
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    address.parse().expect("an address")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_a_page_of_every_file_and_a_player_the_first() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let album = folder.path().join("album");
    std::fs::create_dir(&album).expect("a folder");
    std::fs::write(album.join("one & two.mp4"), film(100_000)).expect("a file");
    std::fs::write(album.join("notes.txt"), film(1000)).expect("a file");
    let mut publisher = Peer::start(folder.path(), &["seed", "album", "--server", &origin]);
    let (link, _) = link_of(&mut publisher);
    let get = ["get", &link, "--serve", "0.0.0.0:0"];
    let mut viewer = Peer::start(folder.path(), &get);
    let event = viewer.wait("serving", PATIENCE);
    let urls = event["urls"].as_array().expect("a list");
    // This machine's own addresses, so that one of them can be typed into a television.
    assert!(!urls.is_empty());
    assert_eq!(event["url"], urls[0]);
    for url in urls.iter().filter_map(serde_json::Value::as_str) {
        let address = url.trim_start_matches("http://").trim_end_matches('/');
        let address: SocketAddr = address.parse().expect("an address");
        assert!(!address.ip().is_unspecified());
        let asked = [("accept", "text/html,*/*")];
        let page = http::request(address, "GET", "/", &asked).await;
        assert!(page.header("content-type").starts_with("text/html"));
        let page = String::from_utf8_lossy(&page.body).into_owned();
        assert!(page.contains("/one%20%26%20two.mp4") && page.contains("notes.txt"));
        let list = http::get(address, "/playlist.m3u").await;
        let film_at = format!("http://{address}/one%20%26%20two.mp4");
        assert!(String::from_utf8_lossy(&list.body).contains(&film_at));
        // The first of the folder, by name.
        let first = http::get(address, "/").await;
        assert!(first.body == film(1000));
        let film_itself = http::get(address, "/one%20%26%20two.mp4").await;
        assert!(film_itself.body == film(100_000));
        assert!(
            film_itself
                .header("contentfeatures.dlna.org")
                .contains("OP=01")
        );
        assert_eq!(http::get(address, "/three.mp4").await.status, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_uploaded_in_a_time_than_the_rate_allows() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let began = Instant::now();
    let slow = ["--upload", "300K"];
    let (mut publisher, link) = publisher(folder.path(), &origin, &film(8 << 20), &slow);
    let _viewer = Peer::start(folder.path(), &["get", &link, "-o", "copy.bin"]);
    let _another = Peer::start(folder.path(), &["get", &link, "-o", "another.bin"]);
    let mut sent = 0;
    while sent < 2 << 20 {
        let event = publisher.wait("progress", PATIENCE);
        sent = event["sent_bytes"].as_u64().expect("a number");
        // One-sided: a machine that is slow sends less.
        let allowed = 300.0 * 1024.0 * began.elapsed().as_secs_f64() + BURST_BYTES;
        assert!(sent as f64 <= allowed, "{sent} of {allowed} bytes");
    }
}

/// What may leave at once after a pause.
const BURST_BYTES: f64 = 512.0 * 1024.0;

#[tokio::test(flavor = "multi_thread")]
async fn uploads_end_when_the_total_is_spent() {
    let server = server(|_| {}).await;
    let origin = format!("http://{}", server.address());
    let folder = tempfile::tempdir().expect("a folder");
    let limits = ["--upload", "1M", "--total", "1M"];
    let (mut publisher, link) = publisher(folder.path(), &origin, &film(8 << 20), &limits);
    let _viewer = Peer::start(folder.path(), &["get", &link, "-o", "copy.bin"]);
    let sent = |event: &serde_json::Value| event["sent_bytes"].as_u64().unwrap_or(0);
    publisher.wait_until(PATIENCE, |event| sent(event) >= 1 << 20);
    publisher.wait("progress", PATIENCE);
    let then = sent(&publisher.wait("progress", PATIENCE));
    let later = sent(&publisher.wait("progress", PATIENCE));
    assert_eq!(then, later, "nothing more leaves");
    // What a quarter of a second carries, and what was on its way.
    assert!(later < 3 << 20, "{later} bytes of one megabyte");
}
