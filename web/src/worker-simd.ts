/** Entry of the worker that runs the `simd` build. Built as a classic script: Chromium 79 has no module workers. */
import { initSync, worker_main } from './wasm/simd/baton.js';
import { runWorker } from './worker-main';

runWorker({ initSync, worker_main });
