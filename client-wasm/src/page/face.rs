//! What JavaScript calls: `Client`, `Share`, `View` (types: web/src/api.ts).

use super::stream::{Opening, PageStream, Side};
use super::{Emitter, Page, PageEvent, stats, tell, tell_with};
use crate::bridge::{
    FileSpec, Means, Meta, Problem, ProblemCode, ShareSpec, StreamNumber, ToWorker, folder_name,
};
use crate::door::{self, Handler};
use crate::inbox::Inbox;
use baton_content::Secret;
use baton_content::keys::PublisherKey;
use baton_content::link::{Link, LinkError};
use baton_content::manifest::ENTRIES_MAX;
use gloo_timers::callback::Interval;
use js_sys::{Function, Promise};
use std::cell::Cell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{File, HtmlVideoElement, MessageEvent, WebSocket, Worker};

type PageInbox = Rc<Inbox<PageEvent, Page>>;

/// Everything that this page has open, over one engine in one worker.
#[wasm_bindgen]
pub struct Client {
    inbox: PageInbox,
    worker: Worker,
    views: Cell<u32>,
    /// Opened by the page's script while the WASM was still loading; the first stream takes it.
    socket: Cell<Option<WebSocket>>,
    means: Means,
}

/// Lives in the page's core and not in [`Client`]: an embedder may keep a View only, and what JavaScript refers to no longer is collected.
pub struct Running {
    _handlers: Vec<Handler>,
    _tick: Interval,
}

#[wasm_bindgen]
impl Client {
    /// `{worker, server, socket?, storage?, means?}`: a worker that runs (or is about to run) `worker_main` of the same build, an `http(s)` origin,
    /// and perhaps a WebSocket to that origin's `/ws` that is open or opening.
    pub fn start(options: JsValue) -> Result<Client, JsValue> {
        let get = |key: &str| js_sys::Reflect::get(&options, &key.into());
        let worker: Worker = get("worker")?
            .dyn_into()
            .map_err(|_| js_sys::TypeError::new("no worker"))?;
        let server = get("server")?
            .as_string()
            .ok_or_else(|| js_sys::TypeError::new("no server"))?;
        let socket = get("socket")?.dyn_into().ok();
        let keep = get("storage")?.as_string().as_deref() != Some("memory");
        let small = get("means")?.as_string().as_deref() == Some("tv");
        Ok(Client::over(worker, server, socket, Means { keep, small }))
    }

    fn over(worker: Worker, server: String, socket: Option<WebSocket>, means: Means) -> Client {
        let inbox = Page::start(server.trim_end_matches('/').to_string());
        let messages = inbox.clone();
        let on_message = Handler::new(&worker, "message", move |event| {
            let data = event.unchecked_into::<MessageEvent>().data();
            if data.is_instance_of::<js_sys::Array>() {
                messages.push(PageEvent::Worker(data));
            }
        });
        let mut handlers = vec![on_message];
        for (name, of) in [("error", "message"), ("messageerror", "type")] {
            let stopped = inbox.clone();
            handlers.push(Handler::new(&worker, name, move |event| {
                let why = js_sys::Reflect::get(&event, &of.into());
                let why = why.ok().and_then(|why| why.as_string());
                stopped.push(PageEvent::EngineStopped(why.unwrap_or_default()));
            }));
        }
        let leaving = inbox.clone();
        let window: web_sys::EventTarget = js_sys::global().unchecked_into();
        let on_hide = Handler::new(&window, "pagehide", move |event| {
            // A page that is only put aside comes back with all it has.
            if js_sys::Reflect::get(&event, &"persisted".into()).is_ok_and(|kept| kept.is_truthy())
            {
                return;
            }
            leaving.with(|page| page.streams.values_mut().for_each(PageStream::hang_up));
        });
        let ticks = inbox.clone();
        let tick = Interval::new(TICK_MS, move || ticks.push(PageEvent::Tick));
        handlers.push(on_hide);
        inbox.with(|page| {
            page.running = Some(Running {
                _handlers: handlers,
                _tick: tick,
            })
        });
        Client {
            inbox,
            worker,
            views: Cell::new(0),
            socket: Cell::new(socket),
            means,
        }
    }

    /// Shares files. The link is ready at once: nothing has been read yet. `options`: `{title?: string, keep?: boolean,
    /// resume?: Uint8Array}`, the latter being `Share.key` of a share that an earlier page began with these very files.
    pub fn share(&self, files: JsValue, options: JsValue) -> Result<Share, JsValue> {
        let option = |key: &str| js_sys::Reflect::get(&options, &key.into()).unwrap_or_default();
        let files = all_files(&files)?;
        let mut spec = spec(&files, option("title").as_string());
        let resume = option("resume");
        if resume.is_object() {
            go_on(&mut spec, &door::bytes(&resume))?;
        }
        let keep = spec.resumed || option("keep").is_truthy();
        let key = key_of(&spec);
        let publisher = PublisherKey::from_seed(spec.publisher_seed);
        let link = Link::new(publisher.id(), Secret(spec.secret));
        let swarm = link.keys().swarm.id();
        let peer_seed = door::random();
        let meta = Meta {
            title: spec.title.clone().unwrap_or_default(),
            size: spec.files.iter().map(|file| file.size).sum(),
            ..Meta::default()
        };
        let (worker, inbox) = (&self.worker, &self.inbox);
        let (stream, url, ticket) = inbox.with(|page| {
            let number = page.number();
            let url = format!("{}/#{}", page.server, link.encode());
            let mut whole = link.clone();
            // A ticket has no page whose address names the server. One that it cannot name must be given to the keeper.
            let _ = whole.add_server(&page.server);
            let ticket = whole.ticket().encode();
            let opening = Opening {
                side: Side::Share,
                number,
                server: page.server.clone(),
                keys: link.keys(),
                peer_seed,
                began_ms: door::now_ms(),
                early: self.socket.take(),
                small: false,
                apart: false,
            };
            let mut stream = PageStream::new(opening, worker.clone(), page.emitter());
            stream.meta(meta);
            tell_with(
                worker,
                &ToWorker::Share {
                    stream: number,
                    peer_seed,
                    spec,
                    keep: keep && self.means.keep,
                },
                &files,
            );
            page.add(number, stream);
            (number, url, ticket)
        });
        Ok(Share {
            inbox: inbox.clone(),
            stream,
            url,
            ticket,
            key,
            folder: folder_name(&swarm, true),
        })
    }

    /// Opens a link. One that is none gives a View with a problem, not an exception. `apart`: it joins nothing until `lead`.
    pub fn open(&self, url: String, apart: Option<bool>) -> View {
        let fragment = url
            .split_once('#')
            .map_or(url.as_str(), |(_, fragment)| fragment)
            .to_string();
        // The first picture of the first view is counted from navigation, which is the clock's zero.
        let began_ms = if self.views.replace(self.views.get() + 1) == 0 && url_is_ours(&url) {
            0.0
        } else {
            door::now_ms()
        };
        let worker = &self.worker;
        let mut folder = String::new();
        let stream = self.inbox.with(|page| {
            let number = page.number();
            let emitter = page.emitter();
            let stream = match Link::parse(&fragment) {
                Ok(link) => {
                    let peer_seed = door::random();
                    let keys = link.keys();
                    folder = folder_name(&keys.swarm.id(), false);
                    let server = link
                        .servers()
                        .first()
                        .cloned()
                        .unwrap_or_else(|| origin(&url, &page.server));
                    let ours = server == page.server;
                    tell(
                        worker,
                        &ToWorker::Open {
                            stream: number,
                            peer_seed,
                            fragment,
                            means: self.means,
                        },
                    );
                    let opening = Opening {
                        side: Side::View,
                        number,
                        server,
                        keys,
                        peer_seed,
                        began_ms,
                        early: self.socket.take().filter(|_| ours),
                        small: self.means.small,
                        apart: apart == Some(true),
                    };
                    PageStream::new(opening, worker.clone(), emitter)
                }
                Err(error) => {
                    let code = match error {
                        LinkError::UnknownVersion { .. } | LinkError::NeedsNewer { .. } => {
                            ProblemCode::WrongVersion
                        }
                        _ => ProblemCode::BadLink,
                    };
                    let problem = Problem { code, detail: None };
                    PageStream::broken(number, worker.clone(), emitter, problem)
                }
            };
            page.add(number, stream);
            number
        });
        View {
            inbox: self.inbox.clone(),
            stream,
            folder,
        }
    }

    /// Leaves every swarm and ends the engine.
    pub fn close(&self) {
        self.inbox.with(|page| {
            for stream in page.streams.values_mut() {
                stream.close();
            }
        });
        // The goodbyes need a moment to leave through the page's channels.
        let (worker, inbox) = (self.worker.clone(), self.inbox.clone());
        let end = move || {
            worker.terminate();
            // Dropped outside: it holds the inbox, and one of its handlers may be the last to do so.
            let running = inbox.with(|page| {
                for stream in page.streams.values_mut() {
                    stream.hang_up();
                }
                page.running.take()
            });
            drop(running);
        };
        gloo_timers::callback::Timeout::new(GOODBYE_MS, end).forget();
    }
}

impl Page {
    fn number(&mut self) -> StreamNumber {
        self.next_stream += 1;
        self.next_stream - 1
    }

    /// Nobody asks for its numbers any more; what runs goes on.
    fn forget(&mut self, stream: StreamNumber) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.forgotten = true;
        }
    }

    fn emitter(&self) -> Rc<Emitter> {
        Rc::new(Emitter {
            inbox: self.inbox.clone(),
        })
    }
}

/// A stream that this page publishes.
#[wasm_bindgen]
pub struct Share {
    inbox: PageInbox,
    stream: StreamNumber,
    url: String,
    ticket: String,
    key: Vec<u8>,
    folder: String,
}

/// A stream that this page watches or fetches.
#[wasm_bindgen]
pub struct View {
    inbox: PageInbox,
    stream: StreamNumber,
    folder: String,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.inbox.with(|page| page.forget(self.stream));
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.inbox.with(|page| page.forget(self.stream));
    }
}

#[wasm_bindgen]
impl Share {
    /// The link.
    #[wasm_bindgen(getter)]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// For a keeper: enough to serve and verify the stream, not to read it.
    #[wasm_bindgen(getter)]
    pub fn ticket(&self) -> String {
        self.ticket.clone()
    }

    /// What `Client.share` needs to go on with this share in a later page. Whoever has it can publish under the link.
    #[wasm_bindgen(getter)]
    pub fn key(&self) -> Vec<u8> {
        self.key.clone()
    }

    /// The folder below `baton/` in the origin private file system that holds what `resume` needs.
    #[wasm_bindgen(getter)]
    pub fn folder(&self) -> String {
        self.folder.clone()
    }

    /// For the pages' tabs.ts: this stream's number and our PeerId.
    pub fn seat(&self) -> JsValue {
        in_stream(&self.inbox, self.stream, |s| s.seat())
    }

    /// The numbers of this moment.
    pub fn stats(&self) -> JsValue {
        in_stream(&self.inbox, self.stream, |s| stats::stats_object(s))
    }

    /// Leaves the swarm: what others have, they keep passing on.
    pub fn stop(&self) {
        in_stream(&self.inbox, self.stream, PageStream::close);
    }

    #[wasm_bindgen(getter)]
    pub fn onchange(&self) -> Option<Function> {
        in_stream(&self.inbox, self.stream, |s| s.onchange())
    }

    #[wasm_bindgen(setter)]
    pub fn set_onchange(&self, f: Option<Function>) {
        in_stream(&self.inbox, self.stream, |s| s.set_onchange(f));
    }

    /// `{paused?: boolean, bytesPerSecond?: number | null}`
    #[wasm_bindgen(js_name = setUpload)]
    pub fn set_upload(&self, options: JsValue) {
        set_upload(&self.inbox, self.stream, &options);
    }
}

#[wasm_bindgen]
impl View {
    /// Resolves with the `Meta` once the manifest is here.
    #[wasm_bindgen(getter)]
    pub fn meta(&self) -> Promise {
        Promise::new(&mut |resolve, reject| {
            in_stream(&self.inbox, self.stream, |s| s.when_meta(resolve, reject))
        })
    }

    /// Plays in this element: this file of `meta.files`, or the first that can be played.
    pub fn attach(&self, video: HtmlVideoElement, file: Option<u32>) {
        in_stream(&self.inbox, self.stream, |s| s.attach(video, file));
    }

    /// Gives the element back: the page plays the file by itself, from what it reads (web/src/raw.ts). What we said against it stays said.
    pub fn release(&self) {
        in_stream(&self.inbox, self.stream, PageStream::release);
    }

    /// `Film`, or `null` until the film's index is here.
    pub fn film(&self) -> JsValue {
        in_stream(&self.inbox, self.stream, |s| s.film_object())
    }

    /// Another sound track (`"audio"`), or other subtitles (`"subtitles"`; `null`: none).
    pub fn select(&self, kind: String, id: Option<u32>) {
        in_stream(&self.inbox, self.stream, |s| s.select(kind == "audio", id));
    }

    /// Resolves with a `Still`, or `null` where none is here.
    pub fn still(&self, at_s: f64) -> Promise {
        Promise::new(&mut |resolve, _| {
            in_stream(&self.inbox, self.stream, |s| s.ask_still(at_s, resolve))
        })
    }

    /// Resolves when every block is here and verified, without a player.
    #[wasm_bindgen(js_name = fetchAll)]
    pub fn fetch_all(&self) -> Promise {
        Promise::new(&mut |resolve, reject| {
            in_stream(&self.inbox, self.stream, |s| {
                s.when_complete(resolve, reject)
            })
        })
    }

    /// The folder below `baton/` in the origin private file system that holds what of it is kept; empty where the link is none.
    #[wasm_bindgen(getter)]
    pub fn folder(&self) -> String {
        self.folder.clone()
    }

    /// Resolves with the bytes of one piece (1 MiB) of a file, once they are here and verified; past the last one with the plain BLAKE3
    /// of what this reader has read, piece by piece from the first. What `download` and `stream` are made of (web/src/whole.ts).
    pub fn read(&self, reader: u32, file: u32, piece: u32) -> Promise {
        Promise::new(&mut |resolve, reject| {
            in_stream(&self.inbox, self.stream, |s| {
                s.read((reader, file, piece), resolve, reject)
            })
        })
    }

    /// For the pages' tabs.ts: this stream's number and our PeerId.
    pub fn seat(&self) -> JsValue {
        in_stream(&self.inbox, self.stream, |s| s.seat())
    }

    /// For the pages' tabs.ts: joins the swarm for all tabs of this browser, or leaves that to another one.
    pub fn lead(&self, leads: bool) {
        in_stream(&self.inbox, self.stream, |s| s.lead(leads));
    }

    /// The numbers of this moment.
    pub fn stats(&self) -> JsValue {
        in_stream(&self.inbox, self.stream, |s| stats::stats_object(s))
    }

    /// Leaves the swarm and gives the element back.
    pub fn close(&self) {
        in_stream(&self.inbox, self.stream, PageStream::close);
    }

    #[wasm_bindgen(getter)]
    pub fn onchange(&self) -> Option<Function> {
        in_stream(&self.inbox, self.stream, |s| s.onchange())
    }

    #[wasm_bindgen(setter)]
    pub fn set_onchange(&self, f: Option<Function>) {
        in_stream(&self.inbox, self.stream, |s| s.set_onchange(f));
    }

    /// `{paused?: boolean, bytesPerSecond?: number | null}`
    #[wasm_bindgen(js_name = setUpload)]
    pub fn set_upload(&self, options: JsValue) {
        set_upload(&self.inbox, self.stream, &options);
    }
}

fn in_stream<R>(
    inbox: &PageInbox,
    stream: StreamNumber,
    f: impl FnOnce(&mut PageStream) -> R,
) -> R {
    inbox.with(|page| {
        f(page
            .streams
            .get_mut(&stream)
            .expect("a page keeps its streams"))
    })
}

fn set_upload(inbox: &PageInbox, stream: StreamNumber, options: &JsValue) {
    let get = |key: &str| js_sys::Reflect::get(options, &key.into()).unwrap_or(JsValue::UNDEFINED);
    let rate = get("bytesPerSecond");
    let rate = match rate.as_f64() {
        Some(rate) if rate >= 0.0 => Some(Some(rate as u64)),
        None if rate.is_null() => Some(None),
        _ => None,
    };
    let paused = get("paused").as_bool();
    in_stream(inbox, stream, |s| {
        s.set_upload(paused, rate);
    });
}

/// What is to be shared, under fresh keys. Files of one folder are called as it is; other files are called together what the person says.
fn spec(files: &js_sys::Array, title: Option<String>) -> ShareSpec {
    let mut list: Vec<FileSpec> = files
        .iter()
        .map(|file| file_spec(file.unchecked_ref()))
        .collect();
    let folder = list[0]
        .path
        .split_once('/')
        .map(|(folder, _)| format!("{folder}/"));
    let folder = folder.filter(|folder| list.iter().all(|file| file.path.starts_with(folder)));
    for file in &mut list {
        file.path.drain(..folder.as_ref().map_or(0, String::len));
    }
    let is_folder = folder.is_some() || list.len() > 1;
    let name = match folder {
        Some(folder) => folder.trim_end_matches('/').to_owned(),
        None if is_folder => "files".to_owned(),
        None => list[0].path.clone(),
    };
    ShareSpec {
        publisher_seed: door::random(),
        secret: door::random(),
        content_key: door::random(),
        slot_nonce: door::random(),
        resumed: false,
        title: Some(title.unwrap_or(name)),
        folder: is_folder,
        files: list,
    }
}

/// Where it was in the folder that was chosen is what a browser says, or who collected the files.
fn file_spec(file: &File) -> FileSpec {
    let path = js_sys::Reflect::get(file, &"webkitRelativePath".into());
    let path = path.ok().and_then(|path| path.as_string());
    FileSpec {
        path: path
            .filter(|path| !path.is_empty())
            .unwrap_or_else(|| file.name()),
        mime: file.type_(),
        size: file.size() as u64,
    }
}

/// What a later page needs to go on with a share: its secrets, and what tells other files at once.
fn key_of(spec: &ShareSpec) -> Vec<u8> {
    let sizes: Vec<u8> = spec
        .files
        .iter()
        .flat_map(|file| file.size.to_le_bytes())
        .collect();
    let sizes = blake3::hash(&sizes);
    [
        &spec.publisher_seed[..],
        &spec.secret,
        &spec.content_key,
        &spec.slot_nonce,
        &sizes.as_bytes()[..16],
    ]
    .concat()
}

/// Takes the keys of a share that an earlier page began, if it is about these files.
fn go_on(spec: &mut ShareSpec, key: &[u8]) -> Result<(), JsValue> {
    let (seed, rest) = key.split_first_chunk().ok_or_else(no_key)?;
    let (secret, rest) = rest.split_first_chunk().ok_or_else(no_key)?;
    let (content, rest) = rest.split_first_chunk().ok_or_else(no_key)?;
    let (nonce, _) = rest.split_first_chunk().ok_or_else(no_key)?;
    (spec.publisher_seed, spec.secret) = (*seed, *secret);
    (spec.content_key, spec.slot_nonce) = (*content, *nonce);
    spec.resumed = true;
    match key_of(spec) == key {
        true => Ok(()),
        false => Err(js_sys::RangeError::new("not the files that were shared").into()),
    }
}

fn no_key() -> JsValue {
    js_sys::TypeError::new("resume is no key of a share").into()
}

/// What was given: a `File`, or anything iterable that holds nothing else.
fn all_files(files: &JsValue) -> Result<js_sys::Array, JsValue> {
    let list = match files.is_instance_of::<File>() {
        true => js_sys::Array::of1(files),
        false => js_sys::Array::from(files),
    };
    if list.length() == 0 {
        return Err(js_sys::TypeError::new("no file to share").into());
    }
    if !list.iter().all(|file| file.is_instance_of::<File>()) {
        return Err(js_sys::TypeError::new("share() takes files").into());
    }
    if list.length() > ENTRIES_MAX as u32 {
        return Err(js_sys::RangeError::new("more files than a link takes").into());
    }
    Ok(list)
}

/// The origin of an absolute link, or the page's own server.
fn origin(url: &str, fallback: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return fallback.to_string();
    };
    let host = rest.split(['/', '#', '?']).next().unwrap_or_default();
    match (scheme, host) {
        ("http" | "https", host) if !host.is_empty() => format!("{scheme}://{host}"),
        _ => fallback.to_string(),
    }
}

/// Whether this link is the one that the page was navigated to.
fn url_is_ours(url: &str) -> bool {
    let location = js_sys::Reflect::get(&js_sys::global(), &"location".into()).ok();
    let href = location
        .and_then(|l| js_sys::Reflect::get(&l, &"href".into()).ok())
        .and_then(|h| h.as_string());
    href.as_deref() == Some(url)
}

/// How often the page looks at itself, milliseconds.
const TICK_MS: u32 = 500;
/// How long the goodbyes may take, milliseconds.
const GOODBYE_MS: u32 = 500;
