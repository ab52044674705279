// Runs before anything else in every page that is measured, ours and the rivals': the same instrument for all.
(() => {
  const marks = {};
  /** What all channels had brought when a mark was set, bytes. */
  const arrived = {};
  let received = 0;
  /** Everything that was said and done to connect, each time and not only the first: a publisher meets many. */
  const events = [];
  /** After a seek each channel message is worth a line. */
  let detailed = false;
  const log = (name) => {
    if (events.length < 2000) events.push({ name: received > 0 ? `${name} [${received} B here]` : name, at: performance.now() });
  };
  const mark = (name) => {
    if (name in marks) return;
    marks[name] = performance.now();
    arrived[name] = received;
  };

  // The first picture: navigation to the first requestVideoFrameCallback of the first <video>.
  let video = null;
  let stalls = 0;
  let shown;
  const firstPicture = new Promise((resolve) => (shown = resolve));
  const look = () => {
    if (video) return;
    video = document.querySelector('video');
    if (!video) return;
    observer.disconnect();
    for (const name of ['loadedmetadata', 'loadeddata', 'playing']) {
      video.addEventListener(name, () => mark(`video ${name}`), { once: true });
    }
    const next = () => {
      mark('first picture');
      shown(marks['first picture']);
      video.addEventListener('waiting', () => {
        if (!video.seeking && !video.ended) stalls += 1;
      });
    };
    video.requestVideoFrameCallback(next);
  };
  const observer = new MutationObserver(look);
  observer.observe(document, { childList: true, subtree: true });

  /** Resolves with the milliseconds until the picture of that time is shown. */
  const seek = (to_s) =>
    new Promise((resolve) => {
      const began = performance.now();
      const next = (_, frame) => {
        // The picture at a time began up to one frame earlier: 42 ms at 24 pictures a second.
        log(`picture of ${frame.mediaTime.toFixed(2)} s`);
        if (Math.abs(frame.mediaTime - to_s) < 0.1) resolve(performance.now() - began);
        else video.requestVideoFrameCallback(next);
      };
      events.length = 0;
      detailed = true;
      log('seek');
      video.requestVideoFrameCallback(next);
      video.currentTime = to_s;
    });

  // What happens on the way, for the breakdown.
  const after = (promise, name) =>
    promise.then(
      () => {
        mark(name);
        log(name);
      },
      (error) => log(`${name}: ${error}`),
    );
  for (const name of ['compileStreaming', 'compile']) {
    const original = WebAssembly[name];
    if (!original) continue;
    WebAssembly[name] = (...args) => {
      mark('wasm asked for');
      const compiled = original.apply(WebAssembly, args);
      after(compiled, 'wasm compiled');
      return compiled;
    };
  }
  const made = (name, seen) => {
    const Original = window[name];
    if (!Original) return;
    window[name] = new Proxy(Original, {
      construct(target, args, self) {
        const object = Reflect.construct(target, args, self);
        seen(object);
        return object;
      },
    });
  };
  made('WebSocket', (socket) => {
    mark('socket made');
    socket.addEventListener('open', () => mark('socket open'), { once: true });
    socket.addEventListener('message', (event) => {
      mark('socket first message');
      log(`server says ${event.data.byteLength ?? event.data.size} B`);
    });
    socket.addEventListener('close', (event) => log(`socket closed ${event.code}`));
    const { send } = socket;
    socket.send = function (data) {
      log(`to the server ${data.byteLength} B`);
      return send.call(this, data);
    };
  });
  made('Worker', (worker) => {
    mark('worker made');
    worker.addEventListener('message', () => mark('worker first message'), { once: true });
  });
  made('MediaSource', (source) => {
    mark('media source made');
    source.addEventListener('sourceopen', () => mark('media source open'), { once: true });
  });
  const connections = [];
  const channel = (it) => {
    it.addEventListener('open', () => {
      mark('channel open');
      log('channel open');
    });
    it.addEventListener('close', () => log('channel closed'));
    const { send } = it;
    it.send = function (data) {
      if (detailed) log(`  to a peer ${data.byteLength ?? data.length} B`);
      return send.call(this, data);
    };
    it.addEventListener('message', () => log('channel’s first message'), { once: true });
    it.addEventListener('message', () => mark('channel first message'), { once: true });
    it.addEventListener('message', (event) => {
      const bytes = event.data.byteLength ?? event.data.length ?? 0;
      received += bytes;
      if (detailed) log(`  from a peer ${bytes} B`);
      for (const kib of [16, 64, 256]) if (received >= kib * 1024) mark(`channel ${kib} KiB`);
    });
  };
  made('RTCPeerConnection', (connection) => {
    mark('connection made');
    log('connection made');
    connections.push({ connection, sent: 0, received: 0 });
    connection.addEventListener('datachannel', (event) => channel(event.channel));
    connection.addEventListener('iceconnectionstatechange', () => {
      mark(`ice ${connection.iceConnectionState}`);
      log(`ice ${connection.iceConnectionState}`);
    });
    connection.addEventListener('connectionstatechange', () => mark(`connection ${connection.connectionState}`));
    connection.addEventListener('icecandidate', () => {
      mark('first candidate');
      log('candidate');
    });
  });
  if (window.RTCPeerConnection) {
    const prototype = Object.getPrototypeOf(RTCPeerConnection.prototype) === EventTarget.prototype
      ? RTCPeerConnection.prototype
      : Object.getPrototypeOf(RTCPeerConnection.prototype);
    const create = prototype.createDataChannel;
    prototype.createDataChannel = function (...args) {
      const made = create.apply(this, args);
      channel(made);
      return made;
    };
    for (const name of ['setLocalDescription', 'setRemoteDescription']) {
      const original = prototype[name];
      prototype[name] = function (...args) {
        const done = original.apply(this, args);
        after(done, name);
        return done;
      };
    }
  }
  if (window.SourceBuffer) {
    const append = SourceBuffer.prototype.appendBuffer;
    let appends = 0;
    SourceBuffer.prototype.appendBuffer = function (...args) {
      appends += 1;
      if (appends <= 6) mark(`append ${appends} (${args[0].byteLength} B)`);
      log(`append ${args[0].byteLength} B`);
      return append.apply(this, args);
    };
  }
  const busy = [];
  new PerformanceObserver((list) => {
    for (const task of list.getEntries()) busy.push({ start: task.startTime, ms: task.duration });
  }).observe({ type: 'longtask', buffered: true });
  document.addEventListener('DOMContentLoaded', () => mark('document parsed'), { once: true });

  // What the channels carried, by the browser's own count. A closed connection keeps its last reading.
  const read = async (entry) => {
    let stats;
    try {
      stats = await entry.connection.getStats();
    } catch {
      return;
    }
    let sent = 0;
    let received = 0;
    for (const one of stats.values()) {
      if (one.type !== 'data-channel') continue;
      sent += one.bytesSent;
      received += one.bytesReceived;
    }
    entry.sent = Math.max(entry.sent, sent);
    entry.received = Math.max(entry.received, received);
  };
  let counting = false;
  const channelBytes = async () => {
    if (!counting) {
      counting = true;
      setInterval(() => connections.forEach(read), 250);
    }
    await Promise.all(connections.map(read));
    const sum = (field) => connections.reduce((total, entry) => total + entry[field], 0);
    return { sent: sum('sent'), received: sum('received') };
  };

  /** Every mark and every file that was loaded, in order of time. */
  const timeline = () => {
    const files = performance.getEntriesByType('resource').map((it) => ({
      name: `${new URL(it.name).pathname.split('/').pop()} loaded (${it.encodedBodySize} B, asked at ${it.startTime.toFixed(0)})`,
      at: it.responseEnd,
    }));
    const [page] = performance.getEntriesByType('navigation');
    const all = Object.entries(marks).map(([name, at]) => ({ name: arrived[name] > 0 ? `${name} [${arrived[name]} B here]` : name, at }));
    for (const { start, ms } of busy) all.push({ name: `the page’s thread was busy for ${ms.toFixed(0)} ms`, at: start });
    all.push({ name: 'page loaded', at: page.responseEnd }, ...files);
    return all.sort((a, b) => a.at - b.at);
  };

  /** How often playing stopped for want of data after the first picture. */
  const stalled = () => stalls;

  /** What was done since then; times are milliseconds after it. `since` is a `performance.timeOrigin`. */
  const eventsSince = (since) => {
    const shift = performance.timeOrigin - since;
    return events.map(({ name, at }) => ({ name, at: at + shift })).filter(({ at }) => at >= 0);
  };

  window.__bench = { eventsSince, firstPicture, seek, stalled, channelBytes, timeline };
})();
