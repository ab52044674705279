/** The `mvp` build's script. Built as a classic script: Chromium 79 has no module workers. */
import init, { Client, View, initSync, worker_main } from './wasm/mvp/baton.js';
import { run } from './worker-main';

run({ default: init, Client, View, initSync, worker_main } as Parameters<typeof run>[0], 'mvp');
